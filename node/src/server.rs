//! A server: its replica groups, which share its disk, its journal, its clock and their beats.
//!
//! A server with several groups may *report*: from time to time it lets the service of each tell other groups
//! how it stands, and does what they answer (PD's heartbeats, whose answers are its operators).

use std::rc::Rc;
use std::time::Duration;

use contract::{
    Address, Control, Engine, Env, GroupId, Membership, NodeId, Packet, Rejection, Replica, Role, Service,
    StreamId, TimerId, View,
};

use crate::addressees::Addressees;
use crate::apply::Work;
use crate::host::{Host, HostError, HostStats, PacketOf, Setup};
use crate::shared::SharedJournal;
use crate::together::{TimerOf, Together};

/// One server. Group `g` is the `g`th of its hosts.
pub struct Server<R: Replica, S: Service, E: Engine, V> {
    groups: Vec<Host<R, S, E, V>>,
    journal: SharedJournal<E::Fs>,
    together: Together<R::Message>,
    report_every: Option<Duration>,
    addressees: Addressees,
}

/// For each group: whom a server that reports takes for its leader.
pub(crate) type Leaders = Vec<Option<NodeId>>;

impl<R, S, E, V> Server<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    /// Starts its groups, numbered from 0, on what its disk holds. If it has several, it reports once in so
    /// long.
    ///
    /// # Panics
    /// If there is none.
    pub fn start(
        groups: impl ExactSizeIterator<Item = (Setup<R, E, V>, S)>,
        report_every: Option<Duration>,
    ) -> Self {
        let journal = SharedJournal::new();
        let count = u32::try_from(groups.len()).expect("a server has few groups");
        let together = Together::new(count);
        let groups = (0..).map(GroupId).zip(groups).map(|(group, (setup, service))| {
            assert_eq!(setup.cluster.group, group, "groups are numbered from 0");
            Host::start(setup, service, journal.clone(), together.clone())
        });
        let groups: Vec<_> = groups.collect();
        let report_every = report_every.filter(|_| together.is_shared());
        let addressees = Addressees::default();
        let server = Self { groups, journal, together, report_every, addressees };
        server.await_report();
        server
    }

    fn await_report(&self) {
        if let Some(every) = self.report_every {
            self.together.await_report(every, &self.groups[0].inner.setup.env);
        }
    }

    /// Has each group report.
    fn report(&self) {
        let leader = |host: &Host<R, S, E, V>| {
            let (cluster, view) = (&host.inner.setup.cluster, host.view());
            let leads = view.is_some_and(|view| view.role == Role::Leader);
            let followed = if leads { Some(cluster.me) } else { view.and_then(|view| view.leader) };
            self.addressees.of(cluster.group, followed, &cluster.founders)
        };
        let leaders: Rc<Leaders> = Rc::new(self.groups.iter().map(leader).collect());
        self.groups.iter().for_each(|host| host.inner.work.push(Work::Report(Rc::clone(&leaders))));
    }

    /// A packet arrived.
    pub fn on_packet(&self, from: Address, packet: PacketOf<R, S>) {
        match (packet, from) {
            (Packet::Peer { group, message }, Address::Node(peer)) => self.on_message(group, peer, message),
            (Packet::Peers(messages), Address::Node(peer)) => self.act_together(|| {
                messages.into_iter().for_each(|(group, message)| self.on_message(group, peer, message));
            }),
            (Packet::Request { group, request }, _) => {
                if let Some(host) = self.host(group) {
                    host.on_request(from, request);
                }
            }
            (Packet::Response { group, response }, Address::Node(from)) => {
                self.on_answer(group, from, response.result);
            }
            (Packet::Peer { .. } | Packet::Peers(_) | Packet::Response { .. }, _) => {
                unreachable!("{from} sent a server what only a server sends, or only a client receives")
            }
        }
    }

    fn on_message(&self, group: GroupId, peer: NodeId, message: R::Message) {
        if let Some(host) = self.host(group) {
            host.on_message(peer, message);
        }
    }

    /// A report was answered. One that was refused comes again.
    fn on_answer(&self, group: GroupId, from: NodeId, answer: Result<S::Ret, Rejection>) {
        self.addressees.answered(group, from, answer.as_ref().err().copied());
        if let Ok(answer) = answer
            && let Some((group, control)) = S::advice(&answer)
            && let Some(host) = self.host(group)
        {
            host.control(control);
        }
    }

    /// What is for a group that this server does not have was sent by mistake.
    fn host(&self, group: GroupId) -> Option<&Host<R, S, E, V>> {
        self.groups.get(group.0 as usize)
    }

    /// Lets groups act, and sends what they say to a peer in one packet.
    fn act_together(&self, act: impl FnOnce()) {
        for (peer, mut messages) in self.together.gather(act) {
            let packet = match messages.len() {
                1 => {
                    let (group, message) = messages.remove(0);
                    Packet::Peer { group, message }
                }
                _ => Packet::Peers(messages),
            };
            self.groups[0].send_packet(peer, packet);
        }
    }

    /// A group's stream to a peer broke.
    pub fn on_disconnect(&self, peer: NodeId, stream: StreamId) {
        self.groups[stream.0 as usize].on_disconnect(peer);
    }

    /// A timer fired.
    pub fn on_timer(&self, timer: TimerId) {
        match self.together.whose(timer) {
            TimerOf::Group(group, place) => self.groups[group.0 as usize].on_timer(place),
            TimerOf::Beat(due) => self.act_together(|| {
                due.into_iter().for_each(|group| self.groups[group.0 as usize].on_beat());
            }),
            TimerOf::Report => {
                self.report();
                self.await_report();
            }
        }
    }

    /// An operator asks something of every group that this server leads.
    pub fn control(&self, control: &Control) {
        self.groups.iter().for_each(|host| host.control(control.clone()));
    }

    /// What the replica of each group looks like from outside.
    pub fn views(&self) -> impl Iterator<Item = (GroupId, View)> {
        let groups = (0..).map(GroupId).zip(&self.groups);
        groups.filter_map(|(group, host)| Some((group, host.view()?)))
    }

    /// What the replica of a group looks like; `None` while it recovers or after it failed.
    pub fn view(&self, group: GroupId) -> Option<View> {
        self.groups[group.0 as usize].view()
    }

    /// Who takes part in a group, as far as its replica knows.
    pub fn membership(&self, group: GroupId) -> Option<Membership> {
        self.groups[group.0 as usize].membership()
    }

    /// Why it stopped, if a group of it did.
    pub fn failure(&self) -> Option<HostError> {
        self.groups.iter().find_map(Host::failure)
    }

    /// What it has done since it started.
    pub fn stats(&self) -> HostStats {
        let of_journal = HostStats { journal: self.journal.stats(), ..HostStats::default() };
        self.groups.iter().map(Host::stats).chain([of_journal]).sum()
    }
}

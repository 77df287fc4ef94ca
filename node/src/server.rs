//! A server: its replica groups, which share its disk, its journal, its clock and their beats.

use contract::{
    Address, Control, Engine, Env, GroupId, Membership, NodeId, Packet, Replica, Service, StreamId, TimerId,
    View,
};

use crate::host::{Host, HostError, HostStats, PacketOf, Setup};
use crate::shared::SharedJournal;
use crate::together::{TimerOf, Together};

/// One server. Group `g` is the `g`th of its hosts.
pub struct Server<R: Replica, S: Service, E: Engine, V> {
    groups: Vec<Host<R, S, E, V>>,
    journal: SharedJournal<E::Fs>,
    together: Together<R::Message>,
}

impl<R, S, E, V> Server<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    /// Starts its groups, numbered from 0, on what its disk holds.
    ///
    /// # Panics
    /// If there is none.
    pub fn start(groups: impl ExactSizeIterator<Item = (Setup<R, E, V>, S)>) -> Self {
        let journal = SharedJournal::new();
        let count = u32::try_from(groups.len()).expect("a server has few groups");
        let together = Together::new(count);
        let groups = (0..).map(GroupId).zip(groups).map(|(group, (setup, service))| {
            assert_eq!(setup.cluster.group, group, "groups are numbered from 0");
            Host::start(setup, service, journal.clone(), together.clone())
        });
        Self { groups: groups.collect(), journal, together }
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
            TimerOf::Beat(place) => {
                let due = self.together.beat(place);
                self.act_together(|| {
                    due.into_iter().for_each(|group| self.groups[group.0 as usize].on_beat())
                });
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

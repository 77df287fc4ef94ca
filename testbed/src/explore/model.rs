//! The adapter: any [`Replica`] within bounds as a model that stateright explores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use contract::kv::Op;
use contract::{Bugs, Channel, Cluster, NodeId, Rejection, Replica, RequestId, Role};
use stateright::{Model, Property};

use super::bounds::Bounds;
use super::clients::Clients;
use super::laws::{Broken, Law, Past, broken, log_matching};
use super::memo::Memo;
use super::network::{Network, Packet, Printed, print};
use super::node::{Hosting, Input, Node, Output, Sent};
use super::state::{Action, Left, Outcome, Site, State};
use crate::panics;

/// A protocol within bounds.
pub(super) struct System<R: Replica> {
    hosting: Hosting<R>,
    bounds: Bounds,
    pub(super) memo: Memo<R>,
    /// No more states are wanted.
    pub(super) stop: AtomicBool,
    /// Which [`SITUATIONS`] came about, one bit each.
    reached: AtomicU32,
    /// Per law, the first state that was seen to break it: where the search goes by depth, the nearest.
    first: [AtomicU64; Law::ALL.len()],
}

/// What shows that an exploration came somewhere: laws hold in a world without leaders too.
pub(super) const SITUATIONS: [&str; 9] = [
    "leader-elected",
    "two-leaders-at-once",
    "entry-committed",
    "write-answered",
    "read-answered",
    "write-lost-in-crash",
    "log-truncated",
    "snapshot-installed",
    "led-twice",
];

impl<R: Replica> System<R> {
    pub(super) fn new(options: R::Options, bugs: Bugs, bounds: Bounds, operations: Vec<Op>) -> Self {
        let nodes = bounds.nodes;
        let cluster = |number| {
            let cluster = Cluster::new(NodeId::new(number), nodes, options.clone());
            Cluster { bugs, ..cluster }
        };
        let hosting = Hosting {
            clusters: (1..=nodes).map(cluster).collect(),
            operations,
            slow_service: bounds.slow_service,
            chunk_bytes: bounds.chunk_bytes as usize,
        };
        let first = Default::default();
        Self {
            hosting,
            bounds,
            memo: Memo::new(),
            stop: AtomicBool::new(false),
            reached: AtomicU32::new(0),
            first,
        }
    }

    /// Which situations came about, and which did not.
    pub(super) fn situations(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let reached = self.reached.load(Ordering::Relaxed);
        let numbered = SITUATIONS.iter().enumerate();
        let (yes, no): (Vec<_>, Vec<_>) = numbered.partition(|(place, _)| reached & (1 << place) != 0);
        let names = |list: Vec<(usize, &&'static str)>| list.into_iter().map(|(_, name)| *name).collect();
        (names(yes), names(no))
    }

    /// Whether a law holds, or was seen to be broken in another state before: the nearest is told.
    fn holds(&self, state: &State<R>, law: Law) -> bool {
        if state.broken.as_ref().is_none_or(|broken| broken.law != law) {
            return true;
        }
        let mine = print(state) | 1;
        let slot = Law::ALL.iter().position(|each| *each == law).expect("every law is listed");
        match self.first[slot].compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => false,
            Err(first) => first != mine,
        }
    }

    /// What comes of something that happens to a node.
    fn outcome(&self, site: &Arc<Site<R>>, me: NodeId, input: &Input<R>) -> Arc<Outcome<R>> {
        self.memo.outcome((site.print, print(&(me, input))), || {
            let done = panics::catch(|| {
                let mut out = Output::default();
                let node = site.node.clone().take(input, me, &self.hosting, &mut out);
                (Site::new(node), out)
            });
            match done {
                Ok((after, out)) => {
                    let idle = after.print == site.print && out.sent.is_empty() && out.answers.is_empty();
                    Outcome { site: self.memo.site(after), idle, out: Ok(out) }
                }
                Err(caught) => {
                    Outcome { site: Arc::clone(site), idle: false, out: Err(asserted(me, &caught)) }
                }
            }
        })
    }

    /// Lets something happen to a node, and the others know. `None`: it changed nothing.
    fn happens(&self, next: &mut State<R>, me: NodeId, input: &Input<R>) -> Option<()> {
        let before = Arc::clone(&next.sites[me.slot()]);
        let outcome = self.outcome(&before, me, input);
        next.sites[me.slot()] = Arc::clone(&outcome.site);
        match &outcome.out {
            Ok(out) => self.spread(next, me, &before, out),
            Err(broken) => next.broken = Some(broken.clone()),
        }
        (!outcome.idle).then_some(())
    }

    /// What came of something for everyone else.
    fn spread(&self, next: &mut State<R>, me: NodeId, before: &Site<R>, out: &Output<R>) {
        let State { sites, past, .. } = next;
        let site = &sites[me.slot()];
        if Past::concerns(out) {
            next.broken = past.change(|past| past.look(me, site, out));
        }
        next.broken = next.broken.take().or_else(|| log_matching(me, &next.sites));
        self.note(next, me, before, out);
        for (to, sent) in &out.sent {
            match sent {
                Sent::Message(message) => next.network.send(R::CHANNEL, me, *to, message.clone()),
                Sent::Close => next.network.close(me, *to),
            }
        }
        if out.answers.is_empty() {
            return;
        }
        let news = out.answers.iter().any(|(_, result)| result.is_ok());
        next.clients.change(|clients| {
            for (request, result) in &out.answers {
                match result {
                    Ok(ret) => clients.returned(*request, ret.clone()),
                    // It may still take effect, by another leader's doing.
                    Err(Rejection::Lost) => {}
                    Err(_) => clients.refused(*request),
                }
            }
        });
        if news && next.broken.is_none() {
            let judged = next.clients.value.judge(&self.hosting.operations);
            next.broken = judged.map(|message| broken(Law::Linearizable, message));
        }
    }

    /// Notes the situations that came about.
    fn note(&self, next: &State<R>, me: NodeId, before: &Site<R>, out: &Output<R>) {
        let leads = |site: &Arc<Site<R>>| site.view.role == Role::Leader;
        let answered = |read: bool| {
            let is_it = |request: &RequestId| self.hosting.operation(*request).is_read() == read;
            out.answers.iter().any(|(request, result)| result.is_ok() && is_it(request))
        };
        let after = &next.sites[me.slot()];
        let came = [
            leads(after),
            leads(after) && next.sites.iter().filter(|site| leads(site)).count() > 1,
            !out.committed.is_empty(),
            answered(false),
            answered(true),
            out.lost_writes,
            after.view.last < before.view.last && !out.lost_writes,
            out.installed.is_some(),
            next.past.value.reigns() > 1,
        ];
        let bits = came.iter().zip(0..).fold(0, |bits, (came, place)| bits | (u32::from(*came) << place));
        if bits & !self.reached.load(Ordering::Relaxed) != 0 {
            self.reached.fetch_or(bits, Ordering::Relaxed);
        }
    }

    fn node_actions(&self, state: &State<R>, node: NodeId, actions: &mut Vec<Action<R>>) {
        let Site { node: server, .. } = &*state.sites[node.slot()];
        if server.is_writing() {
            actions.push(Action::Written { node });
        }
        if server.is_working() {
            actions.push(Action::Worked { node });
        }
        if state.left.timers > 0 {
            actions.extend(server.timers().map(|timer| Action::Fire { node, timer }));
        }
        if state.left.flushes > 0 && !server.is_flushed() {
            actions.push(Action::Flushed { node });
        }
        actions.extend(self.crash(state, node));
    }

    /// The crash of a node, if there may be one. Of those that keep in memory what they promised only so
    /// many may be without it.
    fn crash(&self, state: &State<R>, node: NodeId) -> Option<Action<R>> {
        let lost = |site: &&Arc<Site<R>>| site.view.role == Role::Recovering;
        let survives = R::FAILURES.stable_storage
            || state.sites.iter().filter(lost).count() < R::FAILURES.tolerated(state.sites.len())
            || lost(&&state.sites[node.slot()]);
        (state.left.crashes > 0 && survives).then_some(Action::Crash { node })
    }

    /// Clients that ask the same, or write, are alike but for their names: they begin in order.
    fn client_actions(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        let mut begun = [false; 2];
        for (request, op) in (1..).map(RequestId).zip(&self.hosting.operations) {
            if state.clients.value.has_returned(request) {
                continue;
            }
            let again = state.clients.value.has_invoked(request);
            if !again && std::mem::replace(&mut begun[usize::from(op.is_read())], true) {
                continue;
            }
            if again && state.left.retries == 0 {
                continue;
            }
            for (node, site) in (1..).map(NodeId).zip(&state.sites) {
                if !site.node.waits_for(request) {
                    actions.push(Action::Ask { request, op: op.clone(), node, again });
                }
            }
        }
    }

    /// Where an action leads, if it changes anything.
    fn after(&self, state: &State<R>, action: Action<R>) -> Option<State<R>> {
        let mut next = state.clone();
        next.depth += 1;
        if let Some(node) = action.node() {
            if self.bounds.symmetric {
                next.awake = next.awake.max(node.0);
            }
            let overtakes = state.sites[node.slot()].node.is_writing() && !action.is_of_writes();
            next.left.overtakes -= u8::from(overtakes);
        }
        match action {
            Action::Deliver { place, from, to, message, stays } => {
                match stays {
                    true => next.left.duplicates -= 1,
                    false => next.network.take(place),
                }
                let happened = self.happens(&mut next, to, &Input::Message(from, message));
                // A datagram that changes nothing might as well not have come: with it still under way
                // all that could follow can follow too.
                if R::CHANNEL == Channel::Datagram {
                    happened?;
                }
            }
            Action::Hangup { place, from, to } => {
                match place {
                    Some(place) => next.network.take(place),
                    None => next.network.overtake(from, to),
                }
                self.happens(&mut next, to, &Input::Disconnect(from));
            }
            Action::Disconnect { one, other } => {
                next.left.disconnects -= 1;
                next.network.disconnect(one, other);
            }
            Action::Fire { node, timer } => {
                next.left.timers -= 1;
                self.happens(&mut next, node, &Input::Timer(timer));
            }
            Action::Written { node } => drop(self.happens(&mut next, node, &Input::Written)),
            Action::Worked { node } => drop(self.happens(&mut next, node, &Input::Worked)),
            Action::Flushed { node } => {
                next.left.flushes -= 1;
                self.happens(&mut next, node, &Input::Flushed);
            }
            Action::Crash { node } => {
                next.left.crashes -= 1;
                next.network.crash(R::CHANNEL, node);
                self.happens(&mut next, node, &Input::Restart);
            }
            Action::Ask { request, node, again, .. } => {
                next.left.retries -= u8::from(again);
                next.clients.change(|clients| clients.invoke(request));
                self.happens(&mut next, node, &Input::Request(request));
            }
        }
        // What changes nothing and leaves less to come leads nowhere new.
        next.differs(state).then_some(next)
    }
}

fn asserted(me: NodeId, caught: &panics::Caught) -> Broken {
    broken(Law::Asserts, format!("{me} failed at {}: {}", caught.place, caught.message))
}

impl<R: Replica> Model for System<R> {
    type State = State<R>;
    type Action = Action<R>;

    fn init_states(&self) -> Vec<State<R>> {
        let mut state = State {
            sites: Vec::new(),
            network: Network::default(),
            clients: Printed::new(Clients::default()),
            left: Left::of(&self.bounds),
            awake: 0,
            past: Printed::new(Past::default()),
            broken: None,
            depth: 0,
        };
        let mut outs = Vec::new();
        for me in (1..=self.bounds.nodes).map(NodeId) {
            let mut out = Output::default();
            let site = Site::new(Node::begin(&self.hosting, me, &mut out));
            state.sites.push(self.memo.site(site));
            outs.push((me, out));
        }
        for (me, out) in &outs {
            let site = Arc::clone(&state.sites[me.slot()]);
            self.spread(&mut state, *me, &site, out);
        }
        vec![state]
    }

    fn actions(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        let too_deep = self.bounds.depth.is_some_and(|depth| state.depth >= depth);
        if state.broken.is_some() || too_deep || self.stop.load(Ordering::Relaxed) {
            return;
        }
        if state.left.overtakes == 0 {
            let writing = |node: &NodeId| state.sites[node.slot()].node.is_writing();
            if let Some(node) = (1..=self.bounds.nodes).map(NodeId).find(writing) {
                actions.push(Action::Written { node });
                actions.extend(self.crash(state, node));
                return;
            }
        }
        for place in state.network.next(R::CHANNEL) {
            let flight = &state.network.flights()[place];
            let (from, to) = (flight.from, flight.to);
            match &flight.packet {
                Packet::Message(message) => {
                    let message = message.clone();
                    if state.left.duplicates > 0 {
                        let message = message.clone();
                        actions.push(Action::Deliver { place, from, to, message, stays: true });
                    }
                    actions.push(Action::Deliver { place, from, to, message, stays: false });
                }
                Packet::End => actions.push(Action::Hangup { place: Some(place), from, to }),
            }
        }
        let impatient = state.network.impatient().into_iter();
        actions.extend(impatient.map(|(from, to)| Action::Hangup { place: None, from, to }));
        if state.left.disconnects > 0 {
            actions.extend(state.network.open().map(|(one, other)| Action::Disconnect { one, other }));
        }
        for node in (1..=self.bounds.nodes).map(NodeId) {
            self.node_actions(state, node, actions);
        }
        self.client_actions(state, actions);
        if self.bounds.symmetric {
            actions.retain(|action| action.node().is_none_or(|node| node.0 <= state.awake + 1));
        }
    }

    fn next_state(&self, state: &State<R>, action: Action<R>) -> Option<State<R>> {
        self.after(state, action)
    }

    fn format_action(&self, action: &Action<R>) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = |law: Law, holds: fn(&Self, &State<R>) -> bool| Property::always(law.name(), holds);
        vec![
            always(Law::OneLeader, |system, state| system.holds(state, Law::OneLeader)),
            always(Law::LogMatching, |system, state| system.holds(state, Law::LogMatching)),
            always(Law::LeaderCompleteness, |system, state| system.holds(state, Law::LeaderCompleteness)),
            always(Law::StateMachineSafety, |system, state| system.holds(state, Law::StateMachineSafety)),
            always(Law::CommitMonotonic, |system, state| system.holds(state, Law::CommitMonotonic)),
            always(Law::ProtocolLaws, |system, state| system.holds(state, Law::ProtocolLaws)),
            always(Law::Linearizable, |system, state| system.holds(state, Law::Linearizable)),
            always(Law::Asserts, |system, state| system.holds(state, Law::Asserts)),
        ]
    }

    fn within_boundary(&self, state: &State<R>) -> bool {
        let known = |epoch: u64| state.sites.iter().all(|site| site.view.epoch.0 <= epoch);
        self.bounds.epochs.is_none_or(known)
    }
}

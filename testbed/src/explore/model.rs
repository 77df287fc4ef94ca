//! The adapter: any [`Replica`] within bounds as a model that stateright explores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use contract::{Bugs, Cluster, NodeId, Replica};
use stateright::{Model, Property};

use super::bounds::{Bounds, Request};
use super::clients::Clients;
use super::laws::{Law, Past};
use super::memo::Memo;
use super::network::{Network, Printed, print};
use super::node::{Hosting, Node, Output};
use super::state::{Action, Left, Site, State};

/// A protocol within bounds.
pub(super) struct System<R: Replica> {
    pub(super) hosting: Hosting<R>,
    pub(super) bounds: Bounds,
    pub(super) memo: Memo<R>,
    /// Whether what nobody notices is put off until it makes a difference (`quiet.rs`).
    pub(super) puts_off: bool,
    /// No more states are wanted.
    pub(super) stop: AtomicBool,
    /// Which [`SITUATIONS`] came about, one bit each.
    pub(super) reached: AtomicU32,
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
    pub(super) fn new(options: R::Options, bugs: Bugs, bounds: Bounds, requests: Vec<Request>) -> Self {
        let cluster = |number| {
            let (me, founders) = (NodeId::new(number), bounds.group());
            Cluster { founders, bugs, ..Cluster::new(me, bounds.nodes, options.clone()) }
        };
        let hosting = Hosting {
            clusters: (1..=bounds.nodes).map(cluster).collect(),
            requests,
            slow_service: bounds.slow_service,
            chunk_bytes: bounds.chunk_bytes as usize,
        };
        Self {
            hosting,
            // An order of nodes and an order of what is quiet were not shown to go together.
            puts_off: !bounds.symmetric,
            bounds,
            memo: Memo::new(),
            stop: AtomicBool::new(false),
            reached: AtomicU32::new(0),
            first: Default::default(),
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<R> {
        (1..=self.bounds.nodes).map(NodeId)
    }

    /// Which situations came about, and which did not.
    pub(super) fn situations(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let reached = self.reached.load(Ordering::Relaxed);
        let numbered = (0..).zip(SITUATIONS);
        let (yes, no): (Vec<_>, Vec<_>) = numbered.partition(|(place, _)| reached & (1 << *place) != 0);
        let names = |list: Vec<(u32, &'static str)>| list.into_iter().map(|(_, name)| name).collect();
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
}

impl<R: Replica> Model for System<R> {
    type State = State<R>;
    type Action = Action<R>;

    fn init_states(&self) -> Vec<State<R>> {
        let mut outputs: Vec<Output<R>> = self.nodes().map(|_| Output::default()).collect();
        let begin = |(me, out)| self.memo.site(Site::new(Node::begin(&self.hosting, me, out)));
        let mut state = State {
            sites: self.nodes().zip(&mut outputs).map(begin).collect(),
            network: Network::default(),
            clients: Printed::new(Clients::default()),
            left: Left::of(&self.bounds),
            awake: 0,
            past: Printed::new(Past::default()),
            broken: None,
            quiet: None,
            depth: 0,
        };
        for (me, out) in self.nodes().zip(&outputs) {
            let site = Arc::clone(&state.sites[me.slot()]);
            self.spread(&mut state, me, &site, out);
        }
        vec![state]
    }

    fn actions(&self, state: &State<R>, actions: &mut Vec<Action<R>>) {
        let too_deep = self.bounds.depth.is_some_and(|depth| state.depth >= depth);
        if !(state.broken.is_some() || too_deep || self.stop.load(Ordering::Relaxed)) {
            self.possible(state, actions);
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
            always(Law::PromisesKept, |system, state| system.holds(state, Law::PromisesKept)),
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

//! The eyes of a run: counts what replicas do, feeds the monitors, and tells the nemesis when a
//! state that it waits for has come.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use contract::{
    Address, Control, Effect, Entry, Index, JournalRecord, LogShape, Mark, NodeId, Observer, Rejection,
    Replica, Role, Time, View, WireSize,
};

use crate::client::Records;
use crate::monitor::{self, Monitor};
use crate::order::Order;
use crate::plan::{Event, Predicate};
use crate::report::Finding;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    /// Times that a node became leader.
    pub elections: u64,
    /// Times that another node became leader than before.
    pub leader_changes: u64,
    /// Entries applied, over all nodes.
    pub entries_applied: u64,
    /// Snapshots installed.
    pub snapshots_installed: u64,
    /// Times that another node became leader while a client waited for a write.
    pub leader_changes_with_write_in_flight: u64,
    /// Times that a node became leader while another one that was up still took itself for one.
    pub two_leaders_at_once: u64,
    /// Times that a node cut its log.
    pub logs_truncated: u64,
    /// Times that an operator's change of the membership was done.
    pub reconfigurations: u64,
    /// Times that an operator's request for another leader was done.
    pub transfers: u64,
    /// Messages that servers sent to each other.
    pub peer_messages: u64,
    /// Bytes of these on the wire.
    pub peer_bytes: u64,
    /// Bytes of the largest snapshot that was received.
    pub snapshot_bytes: u64,
    /// How long no node that was up led, until the last time that one became leader.
    pub leaderless: Duration,
    /// The longest such time, without that before the first leader.
    pub longest_leaderless: Duration,
}

impl Seen {
    /// What was seen of two groups.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            elections: self.elections + other.elections,
            leader_changes: self.leader_changes + other.leader_changes,
            entries_applied: self.entries_applied + other.entries_applied,
            snapshots_installed: self.snapshots_installed + other.snapshots_installed,
            leader_changes_with_write_in_flight: self.leader_changes_with_write_in_flight
                + other.leader_changes_with_write_in_flight,
            two_leaders_at_once: self.two_leaders_at_once + other.two_leaders_at_once,
            logs_truncated: self.logs_truncated + other.logs_truncated,
            reconfigurations: self.reconfigurations + other.reconfigurations,
            transfers: self.transfers + other.transfers,
            peer_messages: self.peer_messages + other.peer_messages,
            peer_bytes: self.peer_bytes + other.peer_bytes,
            snapshot_bytes: self.snapshot_bytes.max(other.snapshot_bytes),
            leaderless: self.leaderless.max(other.leaderless),
            longest_leaderless: self.longest_leaderless.max(other.longest_leaderless),
        }
    }
}

struct State<R: Replica> {
    monitors: BTreeMap<String, Box<dyn Monitor<R>>>,
    finding: Option<Finding>,
    seen: Seen,
    last_leader: Option<NodeId>,
    /// Who is up and leads.
    leading: BTreeSet<NodeId>,
    /// Since when nobody does.
    leaderless_since: Option<Time>,
    /// Per node: up to where it has applied, and below where its journal forgot the log.
    logs: Vec<(Index, Index)>,
    /// Not collected where it is not wanted.
    order: Option<Order>,
}

/// Watches all replicas of a run.
pub struct Watch<R: Replica> {
    state: RefCell<State<R>>,
    /// The conditions that faults wait for.
    awaited: Vec<Predicate>,
    records: Rc<RefCell<Records>>,
    world: RefCell<Option<Surroundings>>,
}

/// What the nemesis wants to know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A node has reached a condition, by its place among the awaited ones.
    Reached(usize, NodeId),
    /// A node has stopped by itself.
    Stopped(NodeId),
}

/// What a watch needs of the world around it.
pub struct Surroundings {
    /// Called at an alert.
    pub alarm: Box<dyn Fn(Alert)>,
    /// Tells simulated time.
    pub clock: Box<dyn Fn() -> Time>,
}

impl<R: Replica> Watch<R> {
    /// Watches with the named monitors; each name stands in the registry.
    pub fn new(
        monitors: &[String],
        nodes: usize,
        awaited: Vec<Predicate>,
        records: Rc<RefCell<Records>>,
        world: Surroundings,
    ) -> Self {
        // A law that is none of the protocol's is not watched.
        let monitors =
            monitors.iter().filter_map(|name| Some((name.clone(), monitor::by_name(name, nodes)?)));
        let state = State {
            monitors: monitors.collect(),
            finding: None,
            seen: Seen::default(),
            last_leader: None,
            leading: BTreeSet::new(),
            leaderless_since: Some(Time::ZERO),
            logs: vec![(Index::ZERO, Index::ZERO); nodes],
            order: Some(Order::default()),
        };
        Self { state: RefCell::new(state), awaited, records, world: RefCell::new(Some(world)) }
    }

    /// Takes the order in which operations took effect, or keeps it from being collected.
    pub(crate) fn take_order(&self) -> Option<Order> {
        self.state.borrow_mut().order.take()
    }

    fn now(&self) -> Time {
        (self.world.borrow().as_ref().expect("nothing happens once the watch is closed").clock)()
    }

    /// A node went down.
    pub fn went_down(&self, node: NodeId) {
        self.leads_no_more(node);
    }

    fn leads_no_more(&self, node: NodeId) {
        let state = &mut *self.state.borrow_mut();
        if state.leading.remove(&node) && state.leading.is_empty() {
            state.leaderless_since = Some(self.now());
        }
    }

    /// Up to where a node has applied entries, and how many its log holds if it ends at `last`.
    pub(crate) fn log_of(&self, node: NodeId, last: Index) -> (Index, u64) {
        let (applied, below) = self.state.borrow().logs[node.slot()];
        (applied, (last.0 + 1).saturating_sub(below.0.max(1)))
    }

    /// The first broken law, if one was.
    pub fn finding(&self) -> Option<Finding> {
        self.state.borrow().finding.clone()
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.state.borrow().seen
    }

    /// Raises no more alarms. They know the world, whose tasks know this watch: without this,
    /// neither would ever be freed.
    pub fn close(&self) {
        *self.world.borrow_mut() = None;
    }

    fn raise(&self, alert: Alert) {
        if let Some(world) = &*self.world.borrow() {
            (world.alarm)(alert);
        }
    }

    /// Tells which awaited conditions a step reached.
    fn reach(&self, node: NodeId, before: &View, after: &View, events: &[Event]) {
        for (place, condition) in self.awaited.iter().enumerate() {
            if condition.is_reached(node, before, after, events) {
                self.raise(Alert::Reached(place, node));
            }
        }
    }

    /// Counts what became of leaders and logs.
    fn count(&self, node: NodeId, after: &View, elected: bool) {
        if after.role != Role::Leader {
            self.leads_no_more(node);
        }
        let state = &mut *self.state.borrow_mut();
        let seen = &mut state.seen;
        if !elected {
            return;
        }
        seen.elections += 1;
        state.leading.insert(node);
        if let Some(since) = state.leaderless_since.take() {
            let without = self.now().since(since);
            seen.leaderless += without;
            if since > Time::ZERO {
                seen.longest_leaderless = seen.longest_leaderless.max(without);
            }
        }
        seen.two_leaders_at_once += u64::from(state.leading.len() > 1);
        if state.last_leader.replace(node).is_some_and(|previous| previous != node) {
            seen.leader_changes += 1;
            let writing = self.records.borrow().writes_in_flight > 0;
            seen.leader_changes_with_write_in_flight += u64::from(writing);
        }
    }

    fn tally(&self, node: NodeId, before: &View, after: &View, effects: &[Effect<R>]) {
        let state = &mut *self.state.borrow_mut();
        // In a chain an entry replaces what stood at its index and beyond; or the end is all that changes.
        let mut cuts = after.last.index < before.last.index;
        for effect in effects {
            match effect {
                Effect::Send { message, .. } => {
                    state.seen.peer_messages += 1;
                    state.seen.peer_bytes += message.wire_size() as u64;
                }
                Effect::Stage(chunk) => {
                    let end = chunk.offset + chunk.data.len() as u64;
                    state.seen.snapshot_bytes = state.seen.snapshot_bytes.max(end);
                }
                Effect::Persist { records, .. } => {
                    let first = records.iter().find_map(JournalRecord::entry);
                    cuts |= first.is_some_and(|entry| entry.mark.index <= before.last.index);
                }
                Effect::Purge { below } => state.logs[node.slot()].1 = *below,
                _ => {}
            }
        }
        state.seen.logs_truncated += u64::from(cuts && R::LOG == LogShape::Chain);
    }

    fn ask(&self, question: impl Fn(&mut dyn Monitor<R>) -> Result<(), monitor::Broken>) {
        let state = &mut *self.state.borrow_mut();
        for (name, monitor) in &mut state.monitors {
            if let Err(message) = question(monitor.as_mut()) {
                state.finding.get_or_insert_with(|| Finding::of_monitor(name, message));
            }
        }
    }
}

impl<R: Replica> Observer<R> for Watch<R> {
    fn started(&self, node: NodeId, view: &View, recovered: &[R::Record], applied: Mark) {
        self.state.borrow_mut().logs[node.slot()].0 = applied.index;
        self.ask(|monitor| monitor.started(node, view, recovered));
    }

    fn stepped(&self, node: NodeId, before: &View, after: &View, effects: &[Effect<R>]) {
        if before == after && effects.is_empty() {
            return;
        }
        self.ask(|monitor| monitor.stepped(node, before, after, effects));
        self.tally(node, before, after, effects);
        let elected =
            after.role == Role::Leader && (before.role != Role::Leader || before.epoch != after.epoch);
        self.count(node, after, elected);
        if self.awaited.is_empty() {
            return;
        }
        let mut events = Vec::new();
        if elected {
            events.push(Event::LeaderElected);
        }
        for effect in effects {
            match effect {
                Effect::Persist { records, .. } if records.iter().any(JournalRecord::is_hard_state) => {
                    events.push(Event::HardStateWritePending);
                }
                Effect::Commit(_) if after.role == Role::Leader => events.push(Event::LeaderAboutToCommit),
                Effect::Install { .. } => events.push(Event::SnapshotInstalling),
                _ => {}
            }
        }
        self.reach(node, before, after, &events);
    }

    fn applied(&self, node: NodeId, entry: &Entry) {
        {
            let state = &mut *self.state.borrow_mut();
            state.seen.entries_applied += 1;
            state.logs[node.slot()].0 = entry.mark.index;
            if let Some(order) = &mut state.order {
                order.applied(entry);
            }
        }
        self.ask(|monitor| monitor.applied(node, entry));
    }

    fn queried(&self, _node: NodeId, client: Address, seq: u64, at: Index) {
        if let Some(order) = &mut self.state.borrow_mut().order {
            order.queried(client, seq, at);
        }
    }

    fn controlled(&self, _node: NodeId, control: &Control, result: Result<(), Rejection>) {
        let seen = &mut self.state.borrow_mut().seen;
        match control {
            Control::Reconfigure { .. } => seen.reconfigurations += u64::from(result.is_ok()),
            Control::Transfer { .. } => seen.transfers += u64::from(result.is_ok()),
            Control::Campaign | Control::Compact => {}
        }
    }

    fn installed(&self, node: NodeId, snapshot: Mark) {
        {
            let state = &mut *self.state.borrow_mut();
            state.seen.snapshots_installed += 1;
            state.logs[node.slot()].0 = snapshot.index;
        }
        self.ask(|monitor| monitor.installed(node, snapshot));
    }

    fn stopped(&self, node: NodeId) {
        self.went_down(node);
        self.raise(Alert::Stopped(node));
        let stopped = Predicate::Event(Event::NodeStopped);
        if let Some(place) = self.awaited.iter().position(|condition| *condition == stopped) {
            self.raise(Alert::Reached(place, node));
        }
    }
}

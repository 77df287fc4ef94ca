//! The eyes of a run: counts what replicas do, feeds the monitors, and tells the nemesis when a
//! state that it waits for has come.

use std::cell::RefCell;
use std::collections::BTreeMap;

use contract::{Effect, Entry, JournalRecord, Mark, NodeId, Observer, Replica, Role, View};

use crate::monitor::{self, Monitor};
use crate::plan::Condition;
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
}

struct State<R: Replica> {
    monitors: BTreeMap<String, Box<dyn Monitor<R>>>,
    finding: Option<Finding>,
    seen: Seen,
    last_leader: Option<NodeId>,
}

/// Watches all replicas of a run.
pub struct Watch<R: Replica> {
    state: RefCell<State<R>>,
    alarm: RefCell<Option<Alarm>>,
}

/// Called when a condition of a state-aware fault holds at a node.
pub type Alarm = Box<dyn Fn(Condition, NodeId)>;

impl<R: Replica> Watch<R> {
    /// Watches with the named monitors; each name stands in the registry.
    pub fn new(monitors: &[String], nodes: usize, alarm: Alarm) -> Self {
        let monitors = monitors.iter().map(|name| {
            (name.clone(), monitor::by_name(name, nodes).expect("a plan names only registered monitors"))
        });
        let state =
            State { monitors: monitors.collect(), finding: None, seen: Seen::default(), last_leader: None };
        Self { state: RefCell::new(state), alarm: RefCell::new(Some(alarm)) }
    }

    /// The first broken law, if one was.
    pub fn finding(&self) -> Option<Finding> {
        self.state.borrow().finding.clone()
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.state.borrow().seen
    }

    /// Raises no more alarms. The alarm knows the world, whose tasks know this watch: without this,
    /// neither would ever be freed.
    pub fn close(&self) {
        *self.alarm.borrow_mut() = None;
    }

    fn raise(&self, condition: Condition, node: NodeId) {
        if let Some(alarm) = &*self.alarm.borrow() {
            alarm(condition, node);
        }
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
    fn started(&self, node: NodeId, view: &View, recovered: &[R::Record], _applied: Mark) {
        self.ask(|monitor| monitor.started(node, view, recovered));
    }

    fn stepped(&self, node: NodeId, before: &View, after: &View, effects: &[Effect<R>]) {
        if before == after && effects.is_empty() {
            return;
        }
        self.ask(|monitor| monitor.stepped(node, before, after, effects));
        let elected =
            after.role == Role::Leader && (before.role != Role::Leader || before.epoch != after.epoch);
        if elected {
            let state = &mut *self.state.borrow_mut();
            state.seen.elections += 1;
            let previous = state.last_leader.replace(node);
            state.seen.leader_changes += u64::from(previous.is_some_and(|previous| previous != node));
        }
        if elected {
            self.raise(Condition::LeaderElected, node);
        }
        let hard_state = effects.iter().any(|effect| match effect {
            Effect::Persist { records, .. } => records.iter().any(JournalRecord::is_hard_state),
            _ => false,
        });
        if hard_state {
            self.raise(Condition::HardStateWritePending, node);
        }
    }

    fn applied(&self, node: NodeId, entry: &Entry) {
        self.state.borrow_mut().seen.entries_applied += 1;
        self.ask(|monitor| monitor.applied(node, entry));
    }

    fn installed(&self, node: NodeId, snapshot: Mark) {
        self.state.borrow_mut().seen.snapshots_installed += 1;
        self.ask(|monitor| monitor.installed(node, snapshot));
    }
}

//! A plan: a scenario with every choice about the world made from a seed.
//!
//! The plan is plain data. What a run does is a function of it alone; what it leaves open are only
//! the draws of the world (keyed by the same seed) and the moments at which state-aware faults fire.
//! The mapping from scenario and seed to plan is in `make.rs`.

mod fault;
mod kind;
pub(crate) mod make;
mod predicate;
mod schedule;
mod transactions;

use std::time::Duration;

use contract::{Bugs, ClientId, Membership, NodeId, Seed, Time};
use serde::{Deserialize, Serialize};
use sim::config::WorldConfig;

use crate::measure::Expectation;

pub use self::fault::{Action, Aim, Cause, Measures, PlannedFault, Settings, Shape, Target, Trigger};
pub use self::kind::{KINDS, Kind, KindInfo, Length, Measure, Scope, Setting, Word};
pub(crate) use self::predicate::words;
pub use self::predicate::{Compare, Event, Field, NoPredicate, Predicate};
pub use self::transactions::{CommitMode, Isolation, TransactionPlan};
pub use crate::scenario::draw::{Draw, Drawable};

/// A scenario with every choice made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What every choice was drawn from.
    pub seed: Seed,
    /// Planted bugs.
    pub bugs: Bugs,
    /// The replication protocol's name.
    pub protocol: String,
    /// The storage engine's name.
    pub engine: String,
    /// The protocol's own options.
    pub options: serde_json::Value,
    /// How much a node keeps in memory before it writes a table, in bytes.
    pub memtable_bytes: usize,
    /// Network, disks and clocks.
    pub world: WorldConfig,
    /// What clients do; at least one.
    pub workloads: Vec<WorkloadPlan>,
    /// If clients run transactions: over which store, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<TransactionPlan>,
    /// If given, only these operations are invoked: a client, and the number of its arrival from 0.
    /// The others arrive, and nothing comes of it, so that these stay what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<(ClientId, u64)>>,
    /// What the nemesis does; timed faults first, in order of time.
    pub faults: Vec<PlannedFault>,
    /// How far it may go.
    #[serde(default)]
    pub limits: Limits,
    /// Which nodes are in which zone; nodes in none are in zones of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Vec<NodeId>>,
    /// Who takes part at first; everyone, if not given, and votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founders: Option<Membership>,
    /// What is judged.
    pub checks: Checks,
    /// What is expected of the run's numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Expectation>,
    /// The end of the run.
    pub until: Time,
    /// No fault strikes or lasts beyond this moment.
    pub quiet_from: Time,
    /// How many events the run may take.
    pub events: u64,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadPlan {
    /// The workload's name.
    pub kind: String,
    /// Operations per second, over all clients.
    pub rate: f64,
    /// How many keys are used.
    pub keys: u32,
    /// The share of each operation.
    pub mix: KvMix,
    /// After how long a client gives an operation up.
    pub timeout: Duration,
    /// How long it waits for a server before it asks the next one, at the least and at the most.
    #[serde(default = "WorkloadPlan::usual_retry_after")]
    pub retry_after: (Duration, Duration),
    /// How long a written value is at least, in bytes.
    pub value_size: usize,
    /// Of transactions over lists: how many lists one touches, at the least and at the most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub actions: (u32, u32),
    /// Of transactions: the share that only reads, or the share of reads within one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reads: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The share of each operation of a key-value workload; they sum to 1 but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvMix {
    /// Reads of a key.
    pub get: f64,
    /// Writes of a key.
    pub put: f64,
    /// Additions behind a key's value.
    pub append: f64,
    /// Compare-and-sets.
    pub cas: f64,
    /// Removals.
    pub delete: f64,
    /// Reads of a range of keys.
    pub scan: f64,
    /// Write-once writes.
    #[serde(default)]
    pub decide: f64,
}

impl WorkloadPlan {
    fn usual_retry_after() -> (Duration, Duration) {
        (Duration::from_millis(200), Duration::from_millis(300))
    }
}

impl KvMix {
    /// The mix of these shares, in the order of [`contract::kv::Op::NAMES`].
    pub fn of([get, put, append, cas, delete, scan, decide]: [f64; 7]) -> Self {
        Self { get, put, append, cas, delete, scan, decide }
    }

    /// The shares, in the order of [`contract::kv::Op::NAMES`].
    pub fn shares(&self) -> [f64; 7] {
        [self.get, self.put, self.append, self.cas, self.delete, self.scan, self.decide]
    }
}

/// What is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// What the clients' history is judged by.
    pub history: String,
    /// How many steps that judgement may take before it gives up.
    pub steps: u64,
    /// The monitors that watch the run, by name.
    pub monitors: Vec<String>,
    /// What progress the quiet tail must bring; `None` asks for none.
    pub liveness: Option<Liveness>,
    /// What must be reached in some of the seeds of a sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sometimes: Vec<Sometimes>,
    /// Whether the run ends as soon as its history is seen to be wrong.
    #[serde(default)]
    pub stop_at_first: bool,
}

/// A situation that a sweep must reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sometimes {
    /// Its name, as in [`crate::report::SITUATIONS`].
    pub situation: String,
    /// In which share of the seeds at least, 0 to 1; 0: in one.
    pub share: f64,
}

/// How far the nemesis may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limits {
    /// What the protocol promises to survive: a durable record that may count towards a quorum is
    /// never silently taken. A node whose disk may have lost one is doomed: once it goes down it stays
    /// down, and no more than a minority is ever doomed.
    #[default]
    Survivable,
    /// Everything.
    Any,
}

/// Progress once the faults are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// The length of the quiet tail.
    pub after_heal: Duration,
    /// How many operations must be answered in it at least.
    pub operations: u64,
    /// Whose faults end.
    #[serde(default)]
    pub core: Core,
}

/// Whose faults end with the quiet tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Core {
    /// Everyone's.
    #[default]
    All,
    /// Those of a majority, drawn per seed, and of the links within it. The others stay as they are:
    /// down, cut off, or a nuisance.
    Majority,
}

impl Plan {
    /// The states that faults of this plan wait for, each once.
    pub fn conditions(&self) -> Vec<Predicate> {
        let mut conditions: Vec<Predicate> = Vec::new();
        for fault in &self.faults {
            let condition = match &fault.trigger {
                Trigger::When { condition, .. } | Trigger::Nth(Cause { condition, .. }) => condition,
                Trigger::At(_) => continue,
            };
            if !conditions.contains(condition) {
                conditions.push(condition.clone());
            }
        }
        conditions
    }

    /// Who takes part at first.
    pub fn founders(&self) -> Membership {
        let all = || Membership::of((1..=self.world.nodes).map(NodeId));
        self.founders.clone().unwrap_or_else(all)
    }

    /// How many clients share the workload at a place: clients take the workloads in turn.
    pub fn clients_of(&self, workload: usize) -> usize {
        let clients = usize::from(self.world.clients);
        (0..clients).filter(|client| client % self.workloads.len() == workload).count()
    }
}

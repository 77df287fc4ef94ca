//! A plan: a scenario with every choice about the world made from a seed.
//!
//! The plan is plain data. What a run does is a function of it alone; what it leaves open are only
//! the draws of the world (keyed by the same seed) and the moments at which state-aware faults fire.
//! The mapping from scenario and seed to plan is in `make.rs`.

pub(crate) mod make;

use std::fmt;
use std::time::Duration;

use contract::{Bugs, ClientId, NodeId, Seed, Time};
use serde::{Deserialize, Serialize};
use sim::config::WorldConfig;

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
    /// If given, only these operations are invoked: a client, and the number of its arrival from 0.
    /// The others arrive, and nothing comes of it, so that these stay what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<(ClientId, u64)>>,
    /// What the nemesis does; timed faults first, in order of time.
    pub faults: Vec<PlannedFault>,
    /// What is judged.
    pub checks: Checks,
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
    /// How long a written value is at least, in bytes.
    pub value_size: usize,
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
}

/// A fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// What draws at run time are keyed by: a function of the fault's name alone, so that another
    /// fault in the scenario does not change them.
    pub id: u32,
    /// The scenario's name for it; occurrences of a repeated fault are numbered, as in `cut#3`.
    pub name: String,
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// At a moment.
    At(Time),
    /// When a node reaches a state.
    When {
        /// The state.
        condition: Condition,
        /// How likely it strikes each time, 0 to 1.
        probability: f64,
        /// How often it strikes at most.
        at_most: u32,
    },
}

/// A state of a node that a fault can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It has just become leader.
    LeaderElected,
    /// It has a vote or a term on its way to the disk.
    HardStateWritePending,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 2] = [Self::LeaderElected, Self::HardStateWritePending];

    /// The name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeaderElected => "leader-elected",
            Self::HardStateWritePending => "hard-state-write-pending",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a fault does. Timed faults have fixed magnitudes; those of state-aware faults are drawn each
/// time they strike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nodes of different groups cannot reach each other for a while.
    Partition {
        /// The groups; at least two.
        groups: Vec<Vec<Target>>,
        /// How long.
        lasts: Draw<Duration>,
    },
    /// A node loses its power and what it had not flushed, and comes back later.
    Crash {
        /// Which node.
        target: Target,
        /// After how long it starts again.
        restart_after: Draw<Duration>,
    },
}

/// Whom a fault strikes. Roles are resolved when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This node.
    Node(NodeId),
    /// The leader at that moment.
    Leader,
    /// The node whose state the fault waited for; in state-aware faults only.
    Subject,
    /// A node that no other target of the fault stands for, drawn at that moment; in state-aware
    /// faults only.
    Random,
    /// Everyone that no other target of the fault stands for; in partitions only.
    Rest,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Leader => f.write_str("@leader"),
            Self::Subject => f.write_str("@subject"),
            Self::Random => f.write_str("@random"),
            Self::Rest => f.write_str("*"),
        }
    }
}

/// What is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// What the clients' history is judged by.
    pub history: String,
    /// How many steps that judgement may take before it gives up.
    pub steps: u64,
    /// The monitors that watch the run, by name.
    pub monitors: Vec<String>,
    /// What progress the quiet tail must bring; `None` asks for none.
    pub liveness: Option<Liveness>,
}

/// Progress once the faults are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// The length of the quiet tail.
    pub after_heal: Duration,
    /// How many operations must be answered in it at least.
    pub operations: u64,
}

impl Plan {
    /// The states that faults of this plan wait for.
    pub fn conditions(&self) -> Vec<Condition> {
        let awaited = self.faults.iter().filter_map(|fault| match fault.trigger {
            Trigger::When { condition, .. } => Some(condition),
            Trigger::At(_) => None,
        });
        awaited.collect()
    }

    /// How many clients share the workload at a place: clients take the workloads in turn.
    pub fn clients_of(&self, workload: usize) -> usize {
        let clients = usize::from(self.world.clients);
        (0..clients).filter(|client| client % self.workloads.len() == workload).count()
    }
}

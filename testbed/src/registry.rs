//! Where names are bound to what they stand for, once.

use contract::Replica;
use protocols::raft::{self, Raft};
use sim::SimFs;
use storage::lsm::Compaction;
use storage::{BTree, BTreeOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode};

use crate::plan::Plan;
use crate::run::{self, Run, RunOptions};

/// A name that a scenario or a command line may use, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
}

/// What servers say to each other.
pub const PROTOCOLS: &[Named] = &[Named { name: "raft", about: "Raft with ReadIndex and snapshots" }];

/// Where servers keep their state.
pub const ENGINES: &[Named] = &[
    Named { name: "lsm", about: "log-structured merge tree with leveled compaction" },
    Named { name: "lsm-tiered", about: "log-structured merge tree with size-tiered compaction" },
    Named { name: "btree", about: "B+tree with a write-ahead log" },
    Named { name: "btree-rollback", about: "B+tree with a rollback journal" },
    Named { name: "log", about: "log-structured store with an index in memory" },
];

/// What clients do.
pub const WORKLOADS: &[Named] =
    &[Named { name: "kv", about: "get, put, append, delete, cas and scan on a few keys, unique values" }];

/// What a history is judged by.
pub const HISTORY_CHECKS: &[Named] = &[Named {
    name: "linearizable",
    about: "each operation takes effect at one moment between invocation and return",
}];

/// What is watched during a run.
pub const MONITORS: &[Named] = &[
    Named { name: "one-leader-per-term", about: "no two nodes lead the same term" },
    Named { name: "log-matching", about: "an index and a term identify one entry and one prefix" },
    Named { name: "state-machine-safety", about: "no two nodes apply different entries at one index" },
    Named { name: "commit-monotonic", about: "a commit index never goes back while its node is up" },
    Named { name: "protocol-laws", about: "no replica is told what contradicts a law of its protocol" },
];

/// Whether a protocol takes these options; what is wrong with them otherwise.
pub fn check_options(protocol: &str, options: &serde_json::Value) -> Result<(), String> {
    match protocol {
        "raft" => raft_options(options).map(|_| ()),
        other => Err(format!("`{other}` is no protocol")),
    }
}

fn raft_options(options: &serde_json::Value) -> Result<raft::Options, String> {
    let options: raft::Options =
        serde_json::from_value(options.clone()).map_err(|error| error.to_string())?;
    options.check().map_err(|error| error.to_string())?;
    Ok(options)
}

/// Carries out a plan.
///
/// # Panics
/// If the plan names what is not registered: scenarios and replays are checked when they are read.
pub fn run(plan: &Plan, options: RunOptions) -> Run {
    match plan.protocol.as_str() {
        "raft" => {
            let raft = raft_options(&plan.options).expect("a plan's options were checked");
            on_engine::<Raft>(plan, raft, options)
        }
        other => panic!("the protocol {other} is not registered"),
    }
}

fn on_engine<R: Replica>(plan: &Plan, protocol: R::Options, options: RunOptions) -> Run {
    let memory = plan.memtable_bytes;
    let lsm = |compaction| LsmOptions {
        memtable_bytes: memory,
        compaction,
        bugs: plan.bugs,
        ..LsmOptions::default()
    };
    let btree = |mode| BTreeOptions {
        mode,
        wal_bytes: memory.max(BTREE_LOG_BYTES) as u64,
        bugs: plan.bugs,
        ..BTreeOptions::default()
    };
    match plan.engine.as_str() {
        "lsm" => run::run::<R, Lsm<SimFs>>(plan, protocol, lsm(Compaction::Leveled), options),
        "lsm-tiered" => run::run::<R, Lsm<SimFs>>(plan, protocol, lsm(Compaction::Tiered), options),
        "btree" => run::run::<R, BTree<SimFs>>(plan, protocol, btree(Mode::Wal), options),
        "btree-rollback" => run::run::<R, BTree<SimFs>>(plan, protocol, btree(Mode::Rollback), options),
        "log" => {
            let log = LogStoreOptions {
                segment_bytes: memory as u64,
                bugs: plan.bugs,
                ..LogStoreOptions::default()
            };
            run::run::<R, LogStore<SimFs>>(plan, protocol, log, options)
        }
        other => panic!("the engine {other} is not registered"),
    }
}

/// The least size of a B-tree's write-ahead log: a few batches of pages.
const BTREE_LOG_BYTES: usize = 64 << 10;

//! Where names are bound to what they stand for, once.

use std::sync::OnceLock;

use contract::{Answers, FailureModel, ProtocolOptions, Replica};
use protocols::{Abd, MultiPaxos, Paxos, Raft, Solo, Vr, Zab};
use storage::lsm::Compaction;
use storage::{BTreeOptions, LogStoreOptions, LsmOptions, Mode};

use crate::engine::AnyOptions;
use crate::explore::{self, Exploration, Explored};
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

/// A replication protocol, and what the testbed has to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// Its name.
    pub named: Named,
    /// The operations that it serves, by their names.
    pub operations: &'static [&'static str],
    /// Whether it replicates a log of commands for any service.
    pub replicates: bool,
    /// What it promises to survive.
    pub failures: FailureModel,
    check: fn(&serde_json::Value, Option<usize>) -> Result<(), String>,
    run: fn(&Plan, RunOptions) -> Run,
    explore: fn(&Exploration) -> Result<Box<dyn Explored>, String>,
}

/// What servers say to each other.
pub const PROTOCOLS: &[Protocol] = &[
    protocol::<Raft>("Raft with ReadIndex and snapshots"),
    protocol::<MultiPaxos>("Multi-Paxos with flexible quorums, snapshots and reconfiguration"),
    protocol::<Zab>("ZAB 1.0 with fast leader election, over streams"),
    protocol::<Vr>("Viewstamped Replication Revisited: memory for a disk"),
    protocol::<Paxos>("single-decree Paxos for every key: write-once values"),
    protocol::<Abd>("Attiya, Bar-Noy and Dolev's atomic registers, without consensus"),
    protocol::<Solo>("no replication: one node serves alone"),
];

/// Protocols of other crates: see [`invite`].
static GUESTS: OnceLock<Vec<Protocol>> = OnceLock::new();

/// Lets scenarios, replays and explorations of this process name protocols of other crates, beside
/// [`PROTOCOLS`]. To be called before anything else is, and once: what a name means must not change.
///
/// # Panics
/// If guests were invited before, or one goes by a name that is taken.
pub fn invite(guests: Vec<Protocol>) {
    let named = |name| PROTOCOLS.iter().chain(&guests).filter(|known| known.named.name == name).count();
    for guest in &guests {
        let name = guest.named.name;
        assert_eq!(named(name), 1, "a name stands for one protocol: {name}");
    }
    assert!(GUESTS.set(guests).is_ok(), "guests are invited once");
}

/// A protocol, and one line about it.
pub const fn protocol<R: Replica>(about: &'static str) -> Protocol {
    Protocol {
        named: Named { name: R::NAME, about },
        operations: R::OPERATIONS,
        replicates: matches!(R::ANSWERS, Answers::Service),
        failures: R::FAILURES,
        check: |options, voters| {
            let options = options_of::<R>(options)?;
            voters.map_or(Ok(()), |voters| options.check_for(voters))
        },
        run: |plan, options| {
            let protocol = options_of::<R>(&plan.options).expect("a plan's options were checked");
            run::run::<R>(plan, protocol, engine(plan), options)
        },
        explore: |exploration| explore::ready::<R>(exploration, options_of::<R>(&exploration.options)?),
    }
}

fn options_of<R: Replica>(options: &serde_json::Value) -> Result<R::Options, String> {
    let options: R::Options = serde_json::from_value(options.clone()).map_err(|error| error.to_string())?;
    options.check()?;
    Ok(options)
}

/// All protocols: [`PROTOCOLS`], then the guests.
fn all() -> impl Iterator<Item = &'static Protocol> {
    PROTOCOLS.iter().chain(GUESTS.get().into_iter().flatten())
}

/// The protocol of a name.
pub fn by_name(name: &str) -> Option<&'static Protocol> {
    all().find(|protocol| protocol.named.name == name)
}

/// The names of the protocols.
pub fn protocols() -> Vec<Named> {
    all().map(|protocol| protocol.named).collect()
}

/// Where servers keep their state.
pub const ENGINES: &[Named] = &[
    Named { name: "lsm", about: "log-structured merge tree with leveled compaction" },
    Named { name: "lsm-tiered", about: "log-structured merge tree with size-tiered compaction" },
    Named { name: "btree", about: "B+tree with a write-ahead log" },
    Named { name: "btree-rollback", about: "B+tree with a rollback journal" },
    Named { name: "log", about: "log-structured store with an index in memory" },
];

/// What clients do.
pub const WORKLOADS: &[Named] = &[
    Named { name: "kv", about: "get, put, append, delete, cas and scan on a few keys, unique values" },
    Named { name: "list-append", about: "transactions that read lists and append to them" },
    Named { name: "rw-register", about: "transactions that read registers and write them" },
    Named { name: "long-fork", about: "transactions that append to one list or read two" },
    Named { name: "timestamps", about: "transactions that only ask the oracle when they begin" },
    Named { name: "write-skew", about: "transactions that read two lists and append to one of them" },
    Named { name: "bank", about: "transactions that move amounts between accounts, or sum them all up" },
];

/// What a history is judged by.
pub const HISTORY_CHECKS: &[Named] = &[
    Named {
        name: "linearizable",
        about: "each operation takes effect at one moment between invocation and return",
    },
    Named { name: "read-committed", about: "transactions read what was committed" },
    Named { name: "snapshot-isolation", about: "transactions read one snapshot, and no update is lost" },
    Named {
        name: "strong-snapshot-isolation",
        about: "the same, and the snapshot is no older than the transaction",
    },
    Named { name: "serializable", about: "as if one transaction ran after the other" },
    Named { name: "strict-serializable", about: "the same, in the order in which they began and ended" },
];

/// What is watched during a run.
pub const MONITORS: &[Named] = &[
    Named { name: "one-leader-per-term", about: "no two nodes lead the same term" },
    Named { name: "log-matching", about: "an index and a term identify one entry and one prefix" },
    Named { name: "state-machine-safety", about: "no two nodes apply different entries at one index" },
    Named { name: "commit-monotonic", about: "a commit index never goes back while its node is up" },
    Named {
        name: "promises-kept",
        about: "no Paxos acceptor accepts below its promise, no ballot proposes two values",
    },
    Named {
        name: "primary-integrity",
        about: "a leader's log holds what is committed of earlier terms before it adds to it",
    },
    Named { name: "protocol-laws", about: "no replica is told what contradicts a law of its protocol" },
];

/// Whether a protocol takes these options, in a group of so many voters if that is known; what is wrong
/// with them otherwise.
pub fn check_options(
    protocol: &str,
    options: &serde_json::Value,
    voters: Option<usize>,
) -> Result<(), String> {
    let protocol = by_name(protocol).ok_or_else(|| format!("`{protocol}` is no protocol"))?;
    (protocol.check)(options, voters)
}

/// Carries out a plan.
///
/// # Panics
/// If the plan names what is not registered: scenarios and replays are checked when they are read.
pub fn run(plan: &Plan, options: RunOptions) -> Run {
    let protocol = by_name(&plan.protocol);
    (protocol.unwrap_or_else(|| panic!("the protocol {} is not registered", plan.protocol)).run)(
        plan, options,
    )
}

/// Makes a protocol ready to be explored.
///
/// # Errors
/// If there is no such protocol, or it does not take its options or the bounds.
pub fn explore(exploration: &Exploration) -> Result<Box<dyn Explored>, String> {
    let name = &exploration.protocol;
    let protocol = by_name(name).ok_or_else(|| format!("`{name}` is no protocol"))?;
    (protocol.explore)(exploration)
}

fn engine(plan: &Plan) -> AnyOptions {
    let memory = plan.memtable_bytes;
    let bugs = plan.bugs;
    let lsm = |compaction| {
        AnyOptions::Lsm(LsmOptions { memtable_bytes: memory, compaction, bugs, ..LsmOptions::default() })
    };
    let btree = |mode| {
        let wal_bytes = memory.max(BTREE_LOG_BYTES) as u64;
        AnyOptions::BTree(BTreeOptions { mode, wal_bytes, bugs, ..BTreeOptions::default() })
    };
    match plan.engine.as_str() {
        "lsm" => lsm(Compaction::Leveled),
        "lsm-tiered" => lsm(Compaction::Tiered),
        "btree" => btree(Mode::Wal),
        "btree-rollback" => btree(Mode::Rollback),
        "log" => {
            let segment_bytes = memory as u64;
            AnyOptions::Log(LogStoreOptions { segment_bytes, bugs, ..LogStoreOptions::default() })
        }
        other => panic!("the engine {other} is not registered"),
    }
}

/// The least size of a B-tree's write-ahead log: a few batches of pages.
const BTREE_LOG_BYTES: usize = 64 << 10;

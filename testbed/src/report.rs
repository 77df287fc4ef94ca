//! What a run came to: the verdict, the numbers, and the evidence.

use std::fmt;
use std::time::Duration;

use contract::{Bug, NodeId, Seed, Time};
use serde::{Deserialize, Serialize};
use sim::{Digest, WorldStats};

use crate::plan::{Action, Cause, Limits};
use crate::transaction::record::TransactionCounts;
use crate::watch::Seen;

/// Whether everything that was asked for held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All checks hold.
    Ok,
    /// A check does not hold.
    Violation(Finding),
    /// A check or the run itself ran out of something before it could tell.
    Inconclusive {
        /// What ran out.
        what: String,
    },
}

impl Verdict {
    /// Whether another run came to the same: all held, or it failed in the same way. How a failure is
    /// told does not count.
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Violation(mine), Self::Violation(theirs)) => mine.signature == theirs.signature,
            (mine, theirs) => mine == theirs,
        }
    }
}

/// A check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What shows it, line by line.
    pub evidence: Vec<String>,
    /// What all findings of this kind share: the check and the shape of what broke it.
    pub signature: String,
}

impl Finding {
    /// A monitor saw a law broken.
    pub fn of_monitor(name: &str, message: String) -> Self {
        Self { check: name.to_owned(), message, evidence: Vec::new(), signature: name.to_owned() }
    }

    /// The run itself showed that something is broken.
    pub fn of_run(check: &str, message: String, evidence: Vec<String>) -> Self {
        Self { check: check.to_owned(), message, evidence, signature: check.to_owned() }
    }
}

/// Latencies of answered operations, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the operations took less.
    pub p50: u64,
    /// 9 of 10 took less.
    pub p90: u64,
    /// 99 of 100 took less.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// Operations by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// Sent by clients.
    pub invoked: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Given up: they may have taken effect, or still may.
    pub unknown: u64,
    /// Still under way when the run ended.
    pub open: u64,
    /// Answered of those invoked after the faults ended.
    pub answered_in_quiet: u64,
}

/// How long clients waited in vain. A service is *unavailable* while operations are under way and none is
/// answered for more than 100 ms; the whole of such a time counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// The longest such time.
    pub longest: Duration,
    /// All of them together.
    pub total: Duration,
}

/// What the storage of all nodes did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Flushes of the journals, each for a group of writes.
    pub journal_flushes: u64,
    /// Records in the journals.
    pub journal_records: u64,
    /// Memtables written out.
    pub engine_flushes: u64,
    /// Compactions.
    pub engine_compactions: u64,
}

/// A fault that fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    /// When.
    pub at: Time,
    /// The fault's name in the scenario.
    pub name: String,
    /// What made it fire: its time, or the state that it waited for.
    pub because: String,
    /// What happened, in words.
    pub what: String,
    /// What happened, with roles resolved and nothing left to draw; `None` if nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The event that made it fire, if it was not its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// How far the nemesis went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// How far it may go.
    pub limits: Limits,
    /// How often it was held back from taking one more disk, or one more memory, than the protocol survives.
    pub withheld: u64,
    /// Whose disk may have lost what it promised to hold.
    pub damaged: Vec<NodeId>,
    /// How often a node that had stopped by itself was rebooted.
    pub reboots: u64,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.damaged.iter().map(NodeId::to_string).collect();
        match (self.limits, nodes.is_empty()) {
            (Limits::Survivable, true) => f.write_str("within what the protocol promises to survive")?,
            (Limits::Survivable, false) => write!(
                f,
                "within what the protocol promises to survive: the disks of {} were damaged, they do not come back",
                nodes.join(" ")
            )?,
            (Limits::Any, true) => {
                f.write_str("anything goes, and nothing went beyond what is survivable")?
            }
            (Limits::Any, false) => write!(
                f,
                "beyond what the protocol promises to survive: the disks of {} were damaged and they go on",
                nodes.join(" ")
            )?,
        }
        if self.withheld > 0 {
            write!(f, "; withheld {} times: one more would have been too many", self.withheld)?;
        }
        if self.reboots > 0 {
            write!(f, "; {} reboots of nodes whose disk had failed them", self.reboots)?;
        }
        Ok(())
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// The bug that was planted, if one was.
    pub bug: Option<Bug>,
    /// Whether everything held.
    pub verdict: Verdict,
    /// Covers every event of the run.
    pub digest: Digest,
    /// How much time was simulated.
    pub simulated: Time,
    /// Events, messages, disk requests and crashes.
    pub world: WorldStats,
    /// What replicas did.
    pub seen: Seen,
    /// What clients did.
    pub operations: Operations,
    /// How long they waited.
    pub latency: Latency,
    /// How long they waited in vain.
    pub availability: Availability,
    /// What the storage did.
    pub storage: Storage,
    /// What became of transactions, if clients ran any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<TransactionCounts>,
    /// The faults that fired, in order.
    pub fired: Vec<Fired>,
    /// How far they went.
    pub extent: Extent,
}

/// Something that a run can come to, and that a sweep should.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Its name in `check.sometimes`.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// How often a run came to it; `None` if it was not one that could.
    pub count: fn(&Report) -> Option<u64>,
}

macro_rules! situations {
    ($($name:literal $about:literal |$r:ident| $count:expr;)* transactions $($t:literal $t_about:literal $field:ident;)*) => {
        /// What a sweep counts, to show that things really happened.
        pub const SITUATIONS: &[Situation] = &[
            $(Situation { name: $name, about: $about, count: |$r| Some($count) },)*
            $(Situation { name: $t, about: $t_about, count: |r| Some(r.transactions?.$field) },)*
        ];
    };
}

situations! {
    "crash" "a node lost its power" |r| r.world.crashes;
    "kill" "a node's process died" |r| r.world.kills;
    "leader-changed" "another node became leader" |r| r.seen.leader_changes;
    "leader-changed-with-write-in-flight" "another node became leader while a client waited for a write"
        |r| r.seen.leader_changes_with_write_in_flight;
    "two-leaders-at-once" "a node became leader while another still took itself for one"
        |r| r.seen.two_leaders_at_once;
    "log-truncated" "a node cut entries off its log that another leader did not have" |r| r.seen.logs_truncated;
    "sector-lost" "a power loss took a sector that had not been flushed"
        |r| r.world.lost.sectors_dropped + r.world.lost.sectors_torn + r.world.lost.sectors_garbage;
    "sector-torn" "a power loss left half a sector" |r| r.world.lost.sectors_torn;
    "directory-change-lost" "a power loss undid a creation, a renaming or a removal"
        |r| r.world.lost.directory_changes_lost;
    "disk-trouble" "a disk failed, lied or did something else" |r| r.world.disk_troubles;
    "node-rebooted" "a node stopped because its disk failed it, and came back" |r| r.extent.reboots;
    "disk-damaged" "a disk may have lost what it promised to hold" |r| r.extent.damaged.len() as u64;
    "message-lost" "a link lost a message" |r| r.world.messages_lost;
    "message-repeated" "a link repeated a message" |r| r.world.messages_duplicated;
    "message-cut" "a partition was in a message's way" |r| r.world.messages_partitioned;
    "memtable-flushed" "a memtable, or the log of a B-tree, was written out" |r| r.storage.engine_flushes;
    "compaction" "a compaction, a merge or a step of a vacuum was carried out" |r| r.storage.engine_compactions;
    "snapshot-installed" "a snapshot replaced a node's state" |r| r.seen.snapshots_installed;
    "membership-changed" "an operator's change of the membership was done" |r| r.seen.reconfigurations;
    "leadership-transferred" "a leader handed over at an operator's request" |r| r.seen.transfers;
    "outcome-unknown" "a client gave an operation up" |r| r.operations.unknown;
    "fault-fired" "a fault struck" |r| r.fired.iter().filter(|fired| fired.action.is_some()).count() as u64;
    "operation-answered" "a client had its answer" |r| r.operations.answered;
    transactions
    "committed" "a transaction took effect" committed;
    "aborted" "a transaction took no effect" aborted;
    "conflict" "another transaction had written what one was to write" conflicts;
    "lock-met" "a transaction met the lock of another" locks_met;
    "lock-resolved" "a transaction cleared away the lock of another" locks_resolved;
    "region-moved" "a region was brought from one group to another" regions_moved;
    "region-split" "a region was split because it had become large" regions_split;
    "garbage-collected" "old versions were forgotten on every shard" collections;
    "misdirected" "a request came to a shard that did not hold the region" misdirected;
    "client-gone" "a client went away in the middle of a commit" clients_gone;
    "write-skew" "two transactions wrote what the other one had read" write_skews;
}

impl Report {
    /// How often this run came to each of the [`SITUATIONS`].
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SITUATIONS.iter().filter_map(|situation| Some((situation.name, (situation.count)(self)?)))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::Violation(finding) => write!(f, "Violation of {}", finding.check),
            Self::Inconclusive { what } => write!(f, "Unknown: {what}"),
        }
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}): {}", self.at, self.name, self.because, self.what)
    }
}

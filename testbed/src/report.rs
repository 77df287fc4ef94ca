//! What a run came to: the verdict, the numbers, and the evidence.

use std::fmt;

use contract::{Bug, Seed, Time};
use serde::{Deserialize, Serialize};
use sim::{Digest, WorldStats};

use crate::plan::Action;
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
    /// What the storage did.
    pub storage: Storage,
    /// The faults that fired, in order.
    pub fired: Vec<Fired>,
}

impl Report {
    /// What a sweep counts, to show that things really happened: a name, and how often.
    pub fn counts(&self) -> [(&'static str, u64); 11] {
        [
            ("crashes", self.world.crashes),
            ("leader changes", self.seen.leader_changes),
            ("un-flushed sectors lost", self.world.lost.sectors_dropped + self.world.lost.sectors_torn),
            ("messages lost", self.world.messages_lost),
            ("messages cut by a partition", self.world.messages_partitioned),
            ("memtable flushes", self.storage.engine_flushes),
            ("compactions", self.storage.engine_compactions),
            ("snapshots installed", self.seen.snapshots_installed),
            ("operations of unknown outcome", self.operations.unknown),
            ("faults fired", self.fired.len() as u64),
            ("operations answered", self.operations.answered),
        ]
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

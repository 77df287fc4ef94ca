//! Real bugs, planted by name, so that the testbed's power to find bugs is a number.
//!
//! To plant one more: a variant here, its row in [`Bug::ALL`], one `if` at its place, and a test
//! that turns red.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A documented bug of real systems that can be planted with `--bug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// The journal reports a write as durable before it is flushed.
    AckBeforeFsync,
    /// A Raft server answers a vote request before its vote is durable (Raft, Fig. 2).
    VoteNotDurable,
    /// A Raft leader serves a linearizable read without hearing from a quorum (d-engine #381).
    ReadWithoutQuorum,
    /// A reordered AppendEntries truncates entries that already match (RaftOS #26).
    StaleAppendTruncates,
    /// A service takes a command that comes twice for two commands (Raft, §8).
    CommandAppliedTwice,
    /// A service drops a write whose leader's clock is behind that of an earlier write's leader
    /// (Cassandra's last write wins).
    LastWriteWinsByClock,
    /// The journal acknowledges an append whose write failed.
    WriteErrorIgnored,
    /// The journal tries a failed flush again and believes it (PostgreSQL's fsyncgate, 2018).
    SyncRetriedAfterFailure,
    /// A recovering journal takes less than it asked for to be all there is.
    ShortReadAsEnd,
    /// A recovering journal takes what cannot be read for its end.
    ReadErrorAsEnd,
    /// A recovering journal believes a record whose last byte is there, whatever its checksum says.
    ChecksumIgnored,
    /// A recovering journal cuts itself off at damage that had been durable, as at a torn tail
    /// (Alagappan et al., FAST'18).
    CorruptInteriorCut,
    /// A Paxos acceptor does not write its promise down, and has forgotten it after a restart (Michael et
    /// al., *Recovering Shared Objects Without Stable Storage*, DISC'17).
    PromiseForgotten,
    /// A Paxos proposer asks for promises before its ballot is durable, and takes it again after a restart.
    BallotReused,
    /// A Paxos leader takes one acceptor too few for a quorum of Phase 2, so that the quorums of the two
    /// phases need not meet (openraft d60f1e85; Flexible Paxos, §3).
    PhaseQuorumsDisjoint,
    /// A Paxos proposer adopts the first accepted value that it hears of, not the one of the highest ballot
    /// (Paxos Made Simple, §2.2, P2c).
    AnyAcceptedAdopted,
    /// A Paxos learner that lacks a slot takes it for a no-op and applies what stands behind it.
    HoleSkipped,
    /// A Paxos proposer counts an acceptor that has not yet told all that it accepted.
    PhaseOneUnfinished,
    /// A Paxos acceptor compares a proposal with what it accepted in the slot, not with its promise.
    AcceptBelowPromise,
    /// A Paxos leader counts its lease from the answers, not from when it asked (Gray and Cheriton, *Leases*,
    /// SOSP'89, §2: a lease is shortened by the time that its grant took).
    LeaseFromAnswer,
}

impl Bug {
    /// Each bug with its name on the command line, where it lives and what it breaks.
    pub const ALL: [(Self, &'static str, &'static str); 20] = [
        (
            Self::AckBeforeFsync,
            "ack-before-fsync",
            "journal: a write counts as durable before its flush; breaks durability at a power loss",
        ),
        (
            Self::VoteNotDurable,
            "vote-not-durable",
            "raft: a vote is sent before it is durable; breaks election safety at a power loss",
        ),
        (
            Self::ReadWithoutQuorum,
            "read-without-quorum",
            "raft: a leader reads without a quorum; breaks linearizability under a partition",
        ),
        (
            Self::StaleAppendTruncates,
            "stale-append-truncates",
            "raft: a late append cuts off entries that matched; breaks durability under reordering",
        ),
        (
            Self::CommandAppliedTwice,
            "command-applied-twice",
            "kv: a command that comes twice takes effect twice; breaks linearizability under retries",
        ),
        (
            Self::LastWriteWinsByClock,
            "last-write-wins-by-clock",
            "kv: a write with an older time stamp is dropped; breaks linearizability when clocks disagree",
        ),
        (
            Self::WriteErrorIgnored,
            "write-error-ignored",
            "journal: a write that failed is acknowledged; breaks durability on a failing or full disk",
        ),
        (
            Self::SyncRetriedAfterFailure,
            "sync-retried-after-failure",
            "journal: a failed flush is tried again and believed; breaks durability at a power loss",
        ),
        (
            Self::ShortReadAsEnd,
            "short-read-as-end",
            "journal: a read that was cut short ends the log; breaks durability at a restart",
        ),
        (
            Self::ReadErrorAsEnd,
            "read-error-as-end",
            "journal: an unreadable sector ends the log; breaks durability at a restart",
        ),
        (
            Self::ChecksumIgnored,
            "checksum-ignored",
            "journal: a record of the right length is believed; breaks log matching when sectors change",
        ),
        (
            Self::CorruptInteriorCut,
            "corrupt-interior-cut",
            "journal: damage inside the log is cut off as a torn tail; breaks durability at a restart",
        ),
        (
            Self::PromiseForgotten,
            "promise-forgotten",
            "multi-paxos: a promise is not written down; breaks agreement at a restart",
        ),
        (
            Self::BallotReused,
            "ballot-reused",
            "multi-paxos: a ballot is used before it is durable; breaks agreement at a power loss",
        ),
        (
            Self::PhaseQuorumsDisjoint,
            "phase-quorums-disjoint",
            "multi-paxos: a quorum of Phase 2 is one too small; breaks agreement under a partition",
        ),
        (
            Self::AnyAcceptedAdopted,
            "any-accepted-adopted",
            "multi-paxos: not the value of the highest ballot is adopted; breaks agreement under churn",
        ),
        (
            Self::HoleSkipped,
            "hole-skipped",
            "multi-paxos: a slot that is missing is taken for a no-op; breaks agreement under loss",
        ),
        (
            Self::PhaseOneUnfinished,
            "phase-one-unfinished",
            "multi-paxos: a proposer does not wait for all of a promise; breaks agreement under churn",
        ),
        (
            Self::AcceptBelowPromise,
            "accept-below-promise",
            "multi-paxos: an acceptor accepts below its promise; breaks agreement under churn",
        ),
        (
            Self::LeaseFromAnswer,
            "lease-from-answer",
            "multi-paxos: a lease is counted from its grant; breaks linearizability when links are slow",
        ),
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(bug, ..)| *bug == self).expect("every bug is listed").1
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is no planted bug's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown bug `{0}`")]
pub struct UnknownBug(pub String);

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        let found = Self::ALL.iter().find(|(_, n, _)| *n == name);
        found.map(|(bug, ..)| *bug).ok_or_else(|| UnknownBug(name.to_owned()))
    }
}

/// Which bugs are planted in this run: none or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bugs(pub Option<Bug>);

impl Bugs {
    /// Nothing planted.
    pub const NONE: Self = Self(None);

    /// Whether `bug` is planted.
    pub fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }
}

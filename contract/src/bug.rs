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
    /// An ABD server answers a read with what it found, before a majority holds it (Attiya, Bar-Noy and
    /// Dolev, 1995: without the second round a register is regular, not atomic).
    ReadWithoutWriteBack,
    /// An ABD server says that it holds a copy before the copy and its tag are durable (Guerraoui and
    /// Levy, 2004).
    TagNotDurable,
    /// A Paxos acceptor does not write its promises down, and restarts without them (Michael and others,
    /// DISC 2017: diskless recovery).
    PromiseForgotten,
    /// A Paxos proposer counts its ballots in memory alone, and uses them again after a restart (folklore).
    BallotReused,
    /// A Paxos proposer adopts any value that was accepted, not the one of the highest ballot (Lamport,
    /// *Paxos Made Simple*, 2001: P2c).
    AnyAcceptedAdopted,
    /// A VR replica recovers with the first log that it is sent, not with that of the latest view which a
    /// quorum tells of (Liskov and Cowling, 2012, §4.3; Michael and others, DISC 2017).
    RecoveryFromAnyView,
    /// A VR replica counts in a view change what others said before they lost their memory (the published
    /// protocol; Michael and others, DISC 2017).
    DeadVotesCounted,
    /// A VR replica that hears of a later view cuts off what it has acknowledged, before it has anything in
    /// its place (Liskov and Cowling, 2012, §5.2).
    StateTransferTruncates,
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
            Self::ReadWithoutWriteBack,
            "read-without-write-back",
            "abd: a read does not store what it returns; breaks linearizability when writes reach few",
        ),
        (
            Self::TagNotDurable,
            "tag-not-durable",
            "abd: a copy is acknowledged before it is durable; breaks linearizability at a power loss",
        ),
        (
            Self::PromiseForgotten,
            "promise-forgotten",
            "paxos: an acceptor forgets its promises at a restart; breaks agreement",
        ),
        (
            Self::BallotReused,
            "ballot-reused",
            "paxos: a proposer counts its ballots anew after a restart; breaks agreement",
        ),
        (
            Self::AnyAcceptedAdopted,
            "any-accepted-adopted",
            "paxos: a proposer adopts another value than that of the highest ballot; breaks agreement",
        ),
        (
            Self::RecoveryFromAnyView,
            "recovery-from-any-view",
            "vr: a replica recovers without a quorum or the latest view; breaks durability at a crash",
        ),
        (
            Self::DeadVotesCounted,
            "dead-votes-counted",
            "vr: a view change counts what was said before a crash; breaks durability",
        ),
        (
            Self::StateTransferTruncates,
            "state-transfer-truncates",
            "vr: a replica that lags behind drops what it acknowledged; breaks durability",
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

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
}

impl Bug {
    /// Each bug with its name on the command line, where it lives and what it breaks.
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
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

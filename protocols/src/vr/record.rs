//! The little that a journal holds. It is not the protocol's memory: that is lost in a crash.

use std::fmt;

use contract::{Entry, JournalRecord, Mark};
use serde::{Deserialize, Serialize};

use super::group::Group;

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The node starts.
    Start {
        /// For the how manyth time, counted from 1.
        number: u64,
    },
    /// The node takes part in a new epoch's group, or is no longer in it.
    Group(Group),
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        None
    }

    fn log_start(&self) -> Option<Mark> {
        None
    }

    fn is_hard_state(&self) -> bool {
        true
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { number } => write!(f, "start {number}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

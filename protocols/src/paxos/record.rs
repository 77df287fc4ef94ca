//! What an acceptor's journal holds.

use std::fmt;

use contract::{Bytes, Entry, JournalRecord, Mark};
use serde::{Deserialize, Serialize};

use super::acceptor::Acceptor;
use super::{Ballot, Proposal};

/// All that an acceptor remembers of a key. It replaces what was written before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// Nothing of lower ballots is accepted.
    pub promised: Ballot,
    /// What was accepted last.
    pub accepted: Option<Proposal>,
}

impl Record {
    pub(super) fn of(key: &Bytes, acceptor: &Acceptor) -> Self {
        Self { key: key.clone(), promised: acceptor.promised, accepted: acceptor.accepted.clone() }
    }
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
        write!(f, "{} promised={}", self.key, self.promised)?;
        self.accepted.as_ref().map_or(Ok(()), |last| write!(f, " accepted={last}"))
    }
}

//! Memberships, and where in the log each came into force.

use std::fmt;

use contract::{Entry, Index, Membership, Payload, WireSize};
use serde::{Deserialize, Serialize};

/// A membership, and the slot by whose decision it came into force: it decides all slots behind that one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Config {
    /// The slot in which it was decided; 0 of the founders.
    pub since: Index,
    /// Who takes part.
    pub members: Membership,
}

impl Config {
    pub(super) fn founding(members: Membership) -> Self {
        Self { since: Index::ZERO, members }
    }

    /// Takes in a decided entry.
    pub(super) fn apply(&mut self, entry: &Entry) {
        if let Payload::Membership(members) = &entry.payload {
            assert!(entry.mark.index > self.since, "memberships come into force in the order of their slots");
            *self = Self { since: entry.mark.index, members: members.clone() };
        }
    }
}

impl WireSize for Config {
    fn wire_size(&self) -> usize {
        8 + self.members.wire_size()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}", self.members, self.since)
    }
}

//! What replicas say to each other (§2.2), each about one key.

use std::fmt;

use contract::{Bytes, WireSize};

use super::{Ballot, Proposal};

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Phase 1a: promise this ballot.
    Prepare {
        /// Of which key.
        key: Bytes,
        /// What is to be promised.
        ballot: Ballot,
    },
    /// Phase 1b: nothing of lower ballots is accepted any more. Durable.
    Promise {
        /// Of which key.
        key: Bytes,
        /// What is promised.
        ballot: Ballot,
        /// What was accepted last.
        accepted: Option<Proposal>,
    },
    /// Phase 2a: accept this.
    Accept {
        /// Of which key.
        key: Bytes,
        /// What is to be accepted.
        proposal: Proposal,
    },
    /// Phase 2b: it is accepted. Durable.
    Accepted {
        /// Of which key.
        key: Bytes,
        /// What is accepted.
        proposal: Proposal,
    },
    /// A higher ballot was promised.
    Refused {
        /// Of which key.
        key: Bytes,
        /// Which ballot is refused.
        ballot: Ballot,
        /// What was promised.
        promised: Ballot,
    },
}

impl Message {
    fn key(&self) -> &Bytes {
        match self {
            Self::Prepare { key, .. }
            | Self::Promise { key, .. }
            | Self::Accept { key, .. }
            | Self::Accepted { key, .. }
            | Self::Refused { key, .. } => key,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare { key, ballot } => write!(f, "prepare {key} {ballot}"),
            Self::Promise { key, ballot, accepted: None } => write!(f, "promise {key} {ballot}"),
            Self::Promise { key, ballot, accepted: Some(last) } => {
                write!(f, "promise {key} {ballot} accepted={last}")
            }
            Self::Accept { key, proposal } => write!(f, "accept {key}={proposal}"),
            Self::Accepted { key, proposal } => write!(f, "accepted {key}={proposal}"),
            Self::Refused { key, ballot, promised } => {
                write!(f, "refused {key} {ballot} promised={promised}")
            }
        }
    }
}

/// Kind and key, and the fields at their full width: a ballot is 10 bytes.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        let of = |proposal: &Proposal| 11 + proposal.value.len();
        2 + self.key().len()
            + match self {
                Self::Prepare { .. } => 10,
                Self::Promise { accepted, .. } => 11 + accepted.as_ref().map_or(0, of),
                Self::Accept { proposal, .. } | Self::Accepted { proposal, .. } => of(proposal),
                Self::Refused { .. } => 20,
            }
    }
}

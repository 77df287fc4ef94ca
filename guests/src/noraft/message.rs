//! What replicas say to each other: the crate's four messages with the commands that it does not carry, and the
//! transfer of snapshots, which it leaves to its user.

use std::fmt;

use contract::{Entry, Epoch, Index, Mark, SnapshotChunk, WireSize};

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// `RequestVoteCall`.
    RequestVote {
        /// The candidate's term.
        term: Epoch,
        /// The last entry of its log.
        last: Mark,
    },
    /// `RequestVoteReply`.
    Vote {
        /// The voter's term.
        term: Epoch,
        /// Whether the candidate has the vote.
        granted: bool,
    },
    /// `AppendEntriesCall`.
    Append {
        /// The leader's term.
        term: Epoch,
        /// What the entries stand behind.
        prev: Mark,
        /// The entries, with their commands.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
        /// The latest read that had arrived when this was sent; echoed.
        round: u64,
    },
    /// `AppendEntriesReply`.
    AppendReply {
        /// The follower's term.
        term: Epoch,
        /// The last entry of its log.
        last: Mark,
        /// That of the append.
        round: u64,
    },
    /// A part of a snapshot.
    Snapshot(SnapshotChunk),
    /// Which part is lacking.
    SnapshotWanted {
        /// Of which snapshot.
        snapshot: Mark,
        /// Its first byte.
        offset: u64,
    },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestVote { term, last } => write!(f, "request-vote {term} last={last}"),
            Self::Vote { term, granted } => write!(f, "vote {term} granted={granted}"),
            Self::Append { term, prev, entries, commit, round } => {
                write!(f, "append {term} prev={prev} +{} commit={commit} round={round}", entries.len())
            }
            Self::AppendReply { term, last, round } => {
                write!(f, "append-reply {term} last={last} round={round}")
            }
            Self::Snapshot(chunk) => {
                write!(f, "snapshot {} from {} +{}", chunk.snapshot, chunk.offset, chunk.data.len())
            }
            Self::SnapshotWanted { snapshot, offset } => {
                write!(f, "snapshot-wanted {snapshot} from {offset}")
            }
        }
    }
}

impl WireSize for Message {
    fn wire_size(&self) -> usize {
        match self {
            Self::RequestVote { .. } | Self::SnapshotWanted { .. } => 25,
            Self::Vote { .. } => 10,
            Self::Append { entries, .. } => 41 + entries.iter().map(WireSize::wire_size).sum::<usize>(),
            Self::AppendReply { .. } => 33,
            Self::Snapshot(chunk) => 1 + chunk.wire_size(),
        }
    }
}

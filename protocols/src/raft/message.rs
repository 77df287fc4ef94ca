//! What replicas say to each other (Raft Fig. 2 and Fig. 13, the rounds of dissertation §6.4, pre-votes of
//! §9.6, and the handover of §3.10).

use std::fmt;
use std::sync::Arc;

use contract::{Entry, Epoch, Index, Mark, Membership, SnapshotChunk, WireSize};

/// A message between two replicas. Each carries its sender's term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Someone asks who would vote for it in the next term (dissertation §9.6). It changes nothing.
    RequestPreVote {
        /// The term that it has not left yet.
        term: Epoch,
        /// The last entry of its log.
        last: Mark,
    },
    /// The answer to [`Message::RequestPreVote`].
    PreVote {
        /// The asker's term.
        term: Epoch,
        /// Whether it would have the vote.
        granted: bool,
    },
    /// A candidate asks for a vote (§5.2).
    RequestVote {
        /// The term it stands for.
        term: Epoch,
        /// The last entry of its log, all of it durable (§5.4.1).
        last: Mark,
        /// The leader itself told it to stand ([`Message::TimeoutNow`]): followers owe it no loyalty.
        appointed: bool,
    },
    /// The answer to [`Message::RequestVote`].
    Vote {
        /// The voter's term.
        term: Epoch,
        /// Whether the candidate has the vote.
        granted: bool,
    },
    /// A leader sends entries; without entries, a heartbeat (§5.3).
    Append {
        /// The leader's term.
        term: Epoch,
        /// What the follower's log must hold before the entries.
        prev: Mark,
        /// The entries behind `prev`, without a gap.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
        /// The latest round of reads that had begun when this was sent; echoed.
        round: u64,
    },
    /// The follower durably holds the leader's log up to `matched`.
    AppendAck {
        /// The follower's term.
        term: Epoch,
        /// Up to where, and no further than the append that is acknowledged reached.
        matched: Index,
        /// The append's round.
        round: u64,
        /// The service's state does not reach the log, for this is or was a witness: a snapshot that makes up for
        /// it must reach this index at least.
        lacks: Option<Index>,
    },
    /// The follower's log does not hold what the append was to stand behind.
    AppendReject {
        /// The follower's term.
        term: Epoch,
        /// The index of the append's `prev`: tells stale rejections from current ones.
        rejected: Index,
        /// The last place at which the follower's log may still agree with the leader's.
        hint: Mark,
        /// The append's round.
        round: u64,
    },
    /// A leader sends a part of a snapshot (Fig. 13).
    InstallSnapshot {
        /// The leader's term.
        term: Epoch,
        /// The part.
        chunk: SnapshotChunk,
        /// The group's membership as of the snapshot.
        membership: Arc<Membership>,
        /// The latest round of reads that had begun when this was sent; echoed.
        round: u64,
    },
    /// How much of a snapshot the follower has put aside.
    SnapshotAck {
        /// The follower's term.
        term: Epoch,
        /// Which snapshot.
        snapshot: Mark,
        /// The first byte that it lacks.
        offset: u64,
        /// The round of the message that is answered.
        round: u64,
    },
    /// A leader to a witness: what the witness lacks has left the leader's log, and its own may begin there
    /// too.
    SkipTo {
        /// The leader's term.
        term: Epoch,
        /// Where the leader's log begins.
        mark: Mark,
        /// The group's membership as of there.
        membership: Arc<Membership>,
        /// The latest round of reads that had begun when this was sent; echoed.
        round: u64,
    },
    /// A leader to a witness: all who keep the state hold the log durably up to here, so that the witness need
    /// not.
    Trim {
        /// The leader's term.
        term: Epoch,
        /// Up to where.
        index: Index,
    },
    /// The leader appoints its successor, who stands for election at once (dissertation §3.10).
    TimeoutNow {
        /// The leader's term.
        term: Epoch,
    },
    /// The sender of a leader's message is of a term that is over (§5.1).
    Outdated {
        /// The term it has to join.
        term: Epoch,
    },
}

impl Message {
    /// The sender's term.
    pub fn term(&self) -> Epoch {
        match self {
            Self::RequestPreVote { term, .. }
            | Self::PreVote { term, .. }
            | Self::RequestVote { term, .. }
            | Self::Vote { term, .. }
            | Self::Append { term, .. }
            | Self::AppendAck { term, .. }
            | Self::AppendReject { term, .. }
            | Self::InstallSnapshot { term, .. }
            | Self::SnapshotAck { term, .. }
            | Self::SkipTo { term, .. }
            | Self::Trim { term, .. }
            | Self::TimeoutNow { term }
            | Self::Outdated { term } => *term,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestPreVote { term, last } => write!(f, "request-pre-vote {term} last={last}"),
            Self::PreVote { term, granted: true } => write!(f, "pre-vote {term} granted"),
            Self::PreVote { term, granted: false } => write!(f, "pre-vote {term} refused"),
            Self::RequestVote { term, last, appointed } => {
                let appointed = if *appointed { " appointed" } else { "" };
                write!(f, "request-vote {term} last={last}{appointed}")
            }
            Self::Vote { term, granted: true } => write!(f, "vote {term} granted"),
            Self::Vote { term, granted: false } => write!(f, "vote {term} refused"),
            Self::Append { term, prev, entries, commit, round } => {
                write!(f, "append {term} prev={prev} +{} commit={commit} round={round}", entries.len())
            }
            Self::AppendAck { term, matched, round, lacks } => {
                write!(f, "append-ack {term} matched={matched} round={round}")?;
                lacks.map_or(Ok(()), |index| write!(f, " lacks={index}"))
            }
            Self::AppendReject { term, rejected, hint, round } => {
                write!(f, "append-reject {term} rejected={rejected} hint={hint} round={round}")
            }
            Self::InstallSnapshot { term, chunk, round, .. } => {
                let last = if chunk.last { " last" } else { "" };
                write!(
                    f,
                    "snapshot {term} at={} offset={} +{}{last} round={round}",
                    chunk.snapshot,
                    chunk.offset,
                    chunk.data.len()
                )
            }
            Self::SnapshotAck { term, snapshot, offset, round } => {
                write!(f, "snapshot-ack {term} at={snapshot} offset={offset} round={round}")
            }
            Self::SkipTo { term, mark, membership, round } => {
                write!(f, "skip-to {term} mark={mark} membership={membership} round={round}")
            }
            Self::Trim { term, index } => write!(f, "trim {term} index={index}"),
            Self::TimeoutNow { term } => write!(f, "timeout-now {term}"),
            Self::Outdated { term } => write!(f, "outdated {term}"),
        }
    }
}

/// Kind, term, and the fields at their full width: a mark is 16 bytes, an index or a round 8.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        9 + match self {
            Self::RequestPreVote { .. } => 16,
            Self::RequestVote { .. } => 17,
            Self::PreVote { .. } | Self::Vote { .. } => 1,
            Self::Append { entries, .. } => 34 + entries.iter().map(WireSize::wire_size).sum::<usize>(),
            Self::AppendAck { lacks, .. } => 17 + if lacks.is_some() { 8 } else { 0 },
            Self::AppendReject { .. } => 32,
            Self::InstallSnapshot { chunk, membership, .. } => 8 + chunk.wire_size() + membership.wire_size(),
            Self::SnapshotAck { .. } => 32,
            Self::SkipTo { membership, .. } => 24 + membership.wire_size(),
            Self::Trim { .. } => 8,
            Self::TimeoutNow { .. } | Self::Outdated { .. } => 0,
        }
    }
}

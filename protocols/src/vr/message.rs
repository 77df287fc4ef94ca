//! What replicas say to each other (§4 to §7).

use std::fmt;

use contract::{Entry, Epoch, Index, Mark, SnapshotChunk, WireSize};

use super::group::Group;
use super::log::Suffix;
use super::starts::Starts;

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A primary sends operations; without any, the paper's COMMIT (§4.1).
    Prepare {
        /// The primary's view.
        view: Epoch,
        /// The op-number before the entries.
        prev: Index,
        /// The entries behind it, without a gap.
        entries: Vec<Entry>,
        /// The primary's commit-number.
        commit: Index,
        /// The latest round of reads that had begun when this was sent; echoed.
        round: u64,
    },
    /// A backup holds the view's log up to `op` (§4.1).
    PrepareOk {
        /// The backup's view.
        view: Epoch,
        /// Its op-number.
        op: Index,
        /// The round of the message that is answered.
        round: u64,
    },
    /// A replica wants, or has joined, another view (§4.2).
    StartViewChange {
        /// Which.
        view: Epoch,
        /// Whose word counts.
        starts: Starts,
    },
    /// A replica tells the primary of a new view what it holds (§4.2).
    DoViewChange {
        /// The new view.
        view: Epoch,
        /// The latest view in which the sender's log was that view's.
        last_normal: Epoch,
        /// The sender's log.
        log: Suffix,
        /// Its commit-number.
        commit: Index,
        /// Whose word counts.
        starts: Starts,
    },
    /// The log with which a view begins (§4.2).
    StartView {
        /// The view.
        view: Epoch,
        /// The log.
        log: Suffix,
        /// The primary's commit-number.
        commit: Index,
    },
    /// A replica that lost its memory asks for it (§4.3).
    Recovery {
        /// The first view of the epoch in which it last took part.
        view: Epoch,
        /// Tells the answers to this start from those to an earlier one.
        nonce: u64,
        /// Up to where its checkpoint includes the log.
        after: Index,
        /// Whose word counts.
        starts: Starts,
    },
    /// The answer to [`Message::Recovery`] of a replica in normal operation (§4.3).
    RecoveryResponse {
        /// Its view.
        view: Epoch,
        /// That of the question.
        nonce: u64,
        /// From the view's primary: the log that the checkpoint lacks, and the commit-number.
        log: Option<(Suffix, Index)>,
        /// Whose word counts.
        starts: Starts,
    },
    /// A replica that lags behind asks for what it lacks (§5.2).
    GetState {
        /// The view that it has heard of.
        view: Epoch,
        /// Up to where it holds the log of that view.
        after: Index,
    },
    /// The answer to [`Message::GetState`] of a replica in normal operation (§5.2).
    NewState {
        /// Its view.
        view: Epoch,
        /// The view's log, as far back as it was asked for.
        log: Suffix,
        /// Its commit-number.
        commit: Index,
    },
    /// Asks for a part of a checkpoint (§5.1).
    GetSnapshot {
        /// Of which; the latest, if not given.
        snapshot: Option<Mark>,
        /// The first byte that is lacking.
        offset: u64,
    },
    /// A part of a checkpoint (§5.1).
    Snapshot {
        /// The sender's view. What is in the checkpoint was committed in views up to there.
        view: Epoch,
        /// The part.
        chunk: SnapshotChunk,
        /// The group, which is that as of the checkpoint.
        group: Group,
    },
    /// An epoch has begun of which the receiver does not know (§7.1).
    StartEpoch {
        /// Its first view.
        view: Epoch,
    },
    /// The sender takes part in an epoch (§7.1).
    EpochStarted {
        /// Its first view.
        view: Epoch,
    },
}

impl Message {
    /// The view that a message is about; with checkpoints a receiver of any epoch can do something.
    pub fn view(&self) -> Option<Epoch> {
        match self {
            Self::Prepare { view, .. }
            | Self::PrepareOk { view, .. }
            | Self::StartViewChange { view, .. }
            | Self::DoViewChange { view, .. }
            | Self::StartView { view, .. }
            | Self::Recovery { view, .. }
            | Self::RecoveryResponse { view, .. }
            | Self::GetState { view, .. }
            | Self::NewState { view, .. }
            | Self::StartEpoch { view }
            | Self::EpochStarted { view } => Some(*view),
            Self::GetSnapshot { .. } | Self::Snapshot { .. } => None,
        }
    }

    /// Whose word counts, as its sender knows it.
    pub(super) fn starts(&self) -> Option<&Starts> {
        match self {
            Self::StartViewChange { starts, .. }
            | Self::DoViewChange { starts, .. }
            | Self::Recovery { starts, .. }
            | Self::RecoveryResponse { starts, .. } => Some(starts),
            _ => None,
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log={}..{}", self.start, self.last())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare { view, prev, entries, commit, round } => {
                write!(f, "prepare {view} behind={prev} +{} commit={commit} round={round}", entries.len())
            }
            Self::PrepareOk { view, op, round } => write!(f, "prepare-ok {view} op={op} round={round}"),
            Self::StartViewChange { view, .. } => write!(f, "start-view-change {view}"),
            Self::DoViewChange { view, last_normal, log, commit, .. } => {
                write!(f, "do-view-change {view} last-normal={last_normal} {log} commit={commit}")
            }
            Self::StartView { view, log, commit } => write!(f, "start-view {view} {log} commit={commit}"),
            Self::Recovery { nonce, after, .. } => write!(f, "recovery nonce={nonce} after={after}"),
            Self::RecoveryResponse { view, nonce, log: None, .. } => {
                write!(f, "recovery-response {view} nonce={nonce}")
            }
            Self::RecoveryResponse { view, nonce, log: Some((log, commit)), .. } => {
                write!(f, "recovery-response {view} nonce={nonce} {log} commit={commit}")
            }
            Self::GetState { view, after } => write!(f, "get-state {view} after={after}"),
            Self::NewState { view, log, commit } => write!(f, "new-state {view} {log} commit={commit}"),
            Self::GetSnapshot { snapshot: None, .. } => f.write_str("get-snapshot"),
            Self::GetSnapshot { snapshot: Some(snapshot), offset } => {
                write!(f, "get-snapshot at={snapshot} offset={offset}")
            }
            Self::Snapshot { view, chunk, .. } => {
                let last = if chunk.last { " last" } else { "" };
                let (at, offset, length) = (chunk.snapshot, chunk.offset, chunk.data.len());
                write!(f, "snapshot {view} at={at} offset={offset} +{length}{last}")
            }
            Self::StartEpoch { view } => write!(f, "start-epoch {view}"),
            Self::EpochStarted { view } => write!(f, "epoch-started {view}"),
        }
    }
}

/// Kind, view, and the fields at their full width: a mark is 16 bytes, an index or a round 8.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        9 + match self {
            Self::Prepare { entries, .. } => 26 + entries.iter().map(WireSize::wire_size).sum::<usize>(),
            Self::PrepareOk { .. } => 16,
            Self::StartViewChange { starts, .. } => starts.wire_size(),
            Self::DoViewChange { log, starts, .. } => 16 + log.wire_size() + starts.wire_size(),
            Self::StartView { log, .. } | Self::NewState { log, .. } => 8 + log.wire_size(),
            Self::Recovery { starts, .. } => 16 + starts.wire_size(),
            Self::RecoveryResponse { log, starts, .. } => {
                9 + log.as_ref().map_or(0, |(log, _)| 8 + log.wire_size()) + starts.wire_size()
            }
            Self::GetState { .. } => 8,
            Self::GetSnapshot { .. } => 25,
            Self::Snapshot { chunk, group, .. } => chunk.wire_size() + 16 + group.members.wire_size(),
            Self::StartEpoch { .. } | Self::EpochStarted { .. } => 0,
        }
    }
}

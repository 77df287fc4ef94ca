//! What replicas say to each other: the names are those of the Zab 1.0 specification.

use std::fmt;

use contract::{Entry, Epoch, Index, Mark, Membership, NodeId, SnapshotChunk, WireSize};

/// How recent a history is: what an election and a discovery go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Summary {
    /// `currentEpoch`: the last epoch whose leader's history this server took over.
    pub current: Epoch,
    /// The last transaction of the history: marks are ordered as zxids are.
    pub last: Mark,
}

/// A vote: a server, and what the voter knows of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// Its history.
    pub summary: Summary,
    /// For whom (the sid).
    pub leader: NodeId,
}

/// What the sender of a vote is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// It looks for a leader, and votes.
    Looking,
    /// It looks for a leader, and has no vote that it knows of.
    Asking,
    /// It follows whom it votes for.
    Following,
    /// It leads.
    Leading,
    /// It has no candidate of its own, and would follow the receiver's: it has no vote that it knows of, or in
    /// another group, or has chosen somebody of whom nothing has come.
    Resting,
}

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Election: a server's vote.
    Notification {
        /// The sender's round of elections (its logical clock).
        round: u64,
        /// Its vote.
        vote: Vote,
        /// What it is about.
        state: PeerState,
    },
    /// Discovery: a learner tells the leader that it follows which epoch it accepted last (FOLLOWERINFO).
    CEpoch {
        /// `acceptedEpoch`.
        accepted: Epoch,
    },
    /// Discovery: the leader proposes an epoch (LEADERINFO). Its own acceptance is durable.
    NewEpoch {
        /// The epoch: above all that a quorum had accepted.
        epoch: Epoch,
    },
    /// Discovery: the learner will accept no older epoch.
    AckEpoch {
        /// The learner's history.
        summary: Summary,
        /// Whether it accepts the epoch for the first time: only then is it a promise that counts.
        fresh: bool,
        /// A snapshot of this leader of which the learner has put parts aside, and how many bytes.
        staged: Option<(Mark, u64)>,
    },
    /// Synchronisation: what stands behind `to` is not in the leader's history.
    Trunc {
        /// The last transaction that stays.
        to: Mark,
    },
    /// Synchronisation: what the learner lacks; may be empty.
    Diff {
        /// The learner's last transaction.
        prev: Mark,
        /// Those that follow it, without a gap.
        entries: Vec<Entry>,
    },
    /// Synchronisation: a part of the service's state, for a learner that lacks what has left the log.
    Snap {
        /// The part.
        chunk: SnapshotChunk,
        /// Who took part as of the snapshot.
        membership: Membership,
    },
    /// How much of a snapshot the learner has put aside.
    SnapAck {
        /// Which snapshot.
        snapshot: Mark,
        /// The first byte that it lacks.
        offset: u64,
    },
    /// The snapshot has replaced the learner's state and history.
    Installed {
        /// Which snapshot.
        snapshot: Mark,
    },
    /// Synchronisation: all of the leader's history was sent.
    NewLeader {
        /// The epoch.
        epoch: Epoch,
        /// Where the history ends.
        last: Mark,
    },
    /// The learner durably holds that history, and that it is the epoch's (ACK of NEWLEADER).
    AckLeader {
        /// The epoch.
        epoch: Epoch,
        /// Where the history ends.
        last: Mark,
    },
    /// Synchronisation is over: a quorum has acknowledged the leader.
    UpToDate {
        /// Up to where the learner's history is committed.
        commit: Index,
    },
    /// Broadcast: a transaction, behind the last one that was sent.
    Propose {
        /// The transaction.
        entry: Entry,
    },
    /// Broadcast: the follower durably holds all up to here.
    Ack {
        /// Up to where.
        index: Index,
    },
    /// Broadcast: all up to here is committed.
    Commit {
        /// Up to where.
        index: Index,
    },
    /// Broadcast, to an observer: transactions that are committed.
    Inform {
        /// Those that it was not sent yet.
        entries: Vec<Entry>,
        /// Up to where all is committed.
        commit: Index,
    },
    /// The leader lives.
    Ping {
        /// The latest round of reads that had begun; echoed.
        round: u64,
    },
    /// The learner lives, and follows the leader's epoch.
    Pong {
        /// The ping's round.
        round: u64,
    },
    /// A learner asks up to where it must have delivered before it serves a read.
    Sync {
        /// The learner's number for the read.
        number: u64,
    },
    /// The answer, confirmed by a quorum.
    Synced {
        /// Which read.
        number: u64,
        /// The leader's commit index after the question arrived.
        index: Index,
    },
    /// The sender leads, or is about to, and asks for a follower: one that looks for a leader, takes no
    /// part yet, has chosen a leader and heard nothing from it, or follows the leader of `epoch`, who handed over
    /// to the sender.
    Invite {
        /// The epoch that the sender leads, or that it was handed; none if it was elected, and has yet to find out
        /// which will be its own.
        epoch: Option<Epoch>,
    },
    /// Election: the sender has no vote, and tells one that looks what it knows to be committed: a change of
    /// who votes may be in that.
    Known {
        /// The last transaction that is.
        commit: Mark,
    },
    /// The leader asks a follower to take over.
    HandOver {
        /// The leader's epoch.
        epoch: Epoch,
    },
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "current={} last={}", self.current, self.last)
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.leader, self.summary)
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looking => "looking",
            Self::Asking => "asking",
            Self::Following => "following",
            Self::Leading => "leading",
            Self::Resting => "resting",
        })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notification { round, vote, state } => {
                write!(f, "notification {state} round={round} vote={vote}")
            }
            Self::CEpoch { accepted } => write!(f, "cepoch {accepted}"),
            Self::NewEpoch { epoch } => write!(f, "new-epoch {epoch}"),
            Self::AckEpoch { summary, fresh, staged } => {
                write!(f, "ack-epoch {summary}{}", if *fresh { "" } else { " again" })?;
                staged.map_or(Ok(()), |(mark, bytes)| write!(f, " staged={mark}+{bytes}"))
            }
            Self::Trunc { to } => write!(f, "trunc to={to}"),
            Self::Diff { prev, entries } => write!(f, "diff prev={prev} +{}", entries.len()),
            Self::Snap { chunk, .. } => {
                let last = if chunk.last { " last" } else { "" };
                let SnapshotChunk { snapshot, offset, data, .. } = chunk;
                write!(f, "snap at={snapshot} offset={offset} +{}{last}", data.len())
            }
            Self::SnapAck { snapshot, offset } => write!(f, "snap-ack at={snapshot} offset={offset}"),
            Self::Installed { snapshot } => write!(f, "installed at={snapshot}"),
            Self::NewLeader { epoch, last } => write!(f, "new-leader {epoch} last={last}"),
            Self::AckLeader { epoch, last } => write!(f, "ack-leader {epoch} last={last}"),
            Self::UpToDate { commit } => write!(f, "up-to-date commit={commit}"),
            Self::Propose { entry } => write!(f, "propose {}", entry.mark),
            Self::Ack { index } => write!(f, "ack {index}"),
            Self::Commit { index } => write!(f, "commit {index}"),
            Self::Inform { entries, commit } => write!(f, "inform +{} commit={commit}", entries.len()),
            Self::Ping { round } => write!(f, "ping round={round}"),
            Self::Pong { round } => write!(f, "pong round={round}"),
            Self::Sync { number } => write!(f, "sync #{number}"),
            Self::Synced { number, index } => write!(f, "synced #{number} index={index}"),
            Self::Invite { epoch: Some(epoch) } => write!(f, "invite {epoch}"),
            Self::Invite { epoch: None } => f.write_str("invite"),
            Self::Known { commit } => write!(f, "known commit={commit}"),
            Self::HandOver { epoch } => write!(f, "hand-over {epoch}"),
        }
    }
}

/// Kind and the fields at their full width: a mark is 16 bytes, an epoch, an index or a number 8.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        let sum = |entries: &[Entry]| entries.iter().map(WireSize::wire_size).sum::<usize>();
        1 + match self {
            Self::Notification { .. } => 35,
            Self::CEpoch { .. }
            | Self::NewEpoch { .. }
            | Self::UpToDate { .. }
            | Self::Ack { .. }
            | Self::Commit { .. }
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Sync { .. }
            | Self::Invite { .. }
            | Self::HandOver { .. } => 8,
            Self::AckEpoch { staged, .. } => 26 + if staged.is_some() { 24 } else { 0 },
            Self::Trunc { .. } | Self::Installed { .. } | Self::Synced { .. } | Self::Known { .. } => 16,
            Self::Diff { entries, .. } => 20 + sum(entries),
            Self::Snap { chunk, membership } => chunk.wire_size() + membership.wire_size(),
            Self::SnapAck { .. } | Self::NewLeader { .. } | Self::AckLeader { .. } => 24,
            Self::Propose { entry } => entry.wire_size(),
            Self::Inform { entries, .. } => 12 + sum(entries),
        }
    }
}

//! What replicas say to each other.

use std::fmt;

use contract::{Entry, Epoch, Index, Mark, SnapshotChunk, WireSize};

use super::config::Config;

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Should I stand? Nothing is promised by it, on either side.
    Probe {
        /// What the sender has promised; echoed.
        ballot: Epoch,
        /// Up to where it knows all slots to be decided.
        commit: Index,
    },
    /// The answer to [`Message::Probe`].
    Support {
        /// The probe's ballot.
        ballot: Epoch,
        /// Whether the sender trusts no leader, and takes the other for a voter.
        granted: bool,
        /// What the sender has promised.
        promised: Epoch,
        /// Up to where it knows all slots to be decided.
        commit: Index,
    },
    /// Phase 1a, for all slots from `from` on.
    Prepare {
        /// The ballot to promise.
        ballot: Epoch,
        /// The first slot of which the sender wants to hear.
        from: Index,
        /// Up to where it knows all slots to be decided.
        commit: Index,
        /// Whether the leader asked it to stand, so that nobody's trust in that one is betrayed.
        by_leave: bool,
    },
    /// Phase 1b: nothing below the ballot will be accepted, and this is what was. In parts, if it is much.
    Promise {
        /// The ballot.
        ballot: Epoch,
        /// The slot with which this part begins.
        from: Index,
        /// What was accepted from there on, each in the ballot of its mark.
        entries: Vec<Entry>,
        /// Whether nothing was accepted behind that.
        last: bool,
        /// All slots up to here are decided and no longer at hand.
        start: Index,
        /// All slots up to here are decided, as the entries say.
        commit: Index,
    },
    /// A higher ballot has been promised (Paxos Made Simple, §2.3: an optimisation, and the end of a
    /// proposer that would wait in vain).
    Nack {
        /// What is refused.
        ballot: Epoch,
        /// What has been promised.
        promised: Epoch,
    },
    /// Phase 2a, of any number of slots in their order; of none, a heartbeat.
    Accept {
        /// The ballot in which the entries are proposed, as their marks say.
        ballot: Epoch,
        /// What is proposed.
        entries: Vec<Entry>,
        /// The leader knows all slots up to here to be decided.
        commit: Index,
        /// The latest round of reads that had begun when this was sent; echoed.
        round: u64,
    },
    /// Phase 2b.
    Accepted {
        /// The ballot.
        ballot: Epoch,
        /// The slots that were accepted.
        slots: Vec<Index>,
        /// Up to where the sender knows all slots to be decided.
        commit: Index,
        /// The round of the message that is answered; 0 if none is.
        round: u64,
    },
    /// A leader asks the receiver to take its place.
    Stand {
        /// The leader's ballot.
        ballot: Epoch,
    },
    /// What was decided from this slot on?
    Learn {
        /// The first slot that the sender does not know to be decided.
        from: Index,
    },
    /// The answer to [`Message::Learn`].
    Decided {
        /// What was decided, from the slot asked for on, without a gap.
        entries: Vec<Entry>,
        /// All slots up to here are decided and no longer at hand: they are in a snapshot.
        start: Index,
        /// Up to where the sender knows all slots to be decided.
        commit: Index,
    },
    /// Asks for a part of a snapshot.
    Pull {
        /// Of which; `None`: of a new one.
        snapshot: Option<Mark>,
        /// The first byte that the sender lacks.
        offset: u64,
    },
    /// A part of a snapshot.
    Part {
        /// The part.
        chunk: SnapshotChunk,
        /// The membership behind the snapshot.
        config: Config,
    },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe { ballot, commit } => write!(f, "probe {ballot} commit={commit}"),
            Self::Support { ballot, granted, promised, commit } => {
                let granted = if *granted { "granted" } else { "refused" };
                write!(f, "support {ballot} {granted} promised={promised} commit={commit}")
            }
            Self::Prepare { ballot, from, commit, by_leave } => {
                let leave = if *by_leave { " by leave" } else { "" };
                write!(f, "prepare {ballot} from={from} commit={commit}{leave}")
            }
            Self::Promise { ballot, from, entries, last, start, commit } => {
                write!(f, "promise {ballot} from={from} [")?;
                marks(f, entries)?;
                let last = if *last { " last" } else { "" };
                write!(f, "]{last} start={start} commit={commit}")
            }
            Self::Nack { ballot, promised } => write!(f, "nack {ballot} promised={promised}"),
            Self::Accept { ballot, entries, commit, round } => {
                write!(f, "accept {ballot} [")?;
                marks(f, entries)?;
                write!(f, "] commit={commit} round={round}")
            }
            Self::Accepted { ballot, slots, commit, round } => {
                write!(f, "accepted {ballot} [")?;
                separated(f, slots.iter())?;
                write!(f, "] commit={commit} round={round}")
            }
            Self::Stand { ballot } => write!(f, "stand {ballot}"),
            Self::Learn { from } => write!(f, "learn from={from}"),
            Self::Decided { entries, start, commit } => {
                f.write_str("decided [")?;
                marks(f, entries)?;
                write!(f, "] start={start} commit={commit}")
            }
            Self::Pull { snapshot: Some(snapshot), offset } => write!(f, "pull {snapshot} offset={offset}"),
            Self::Pull { snapshot: None, .. } => f.write_str("pull a new snapshot"),
            Self::Part { chunk, config } => {
                let last = if chunk.last { " last" } else { "" };
                let (snapshot, offset, length) = (chunk.snapshot, chunk.offset, chunk.data.len());
                write!(f, "part {snapshot} offset={offset} +{length}{last} of {config}")
            }
        }
    }
}

fn separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (place, item) in items.enumerate() {
        let space = if place > 0 { " " } else { "" };
        write!(f, "{space}{item}")?;
    }
    Ok(())
}

fn marks(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    separated(f, entries.iter().map(|entry| entry.mark))
}

/// A kind, and the fields at their full width: a ballot, an index or a round is 8 bytes, a mark 16.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        let entries = |entries: &[Entry]| 2 + entries.iter().map(WireSize::wire_size).sum::<usize>();
        1 + match self {
            Self::Probe { .. } => 16,
            Self::Support { .. } | Self::Prepare { .. } => 25,
            Self::Promise { entries: accepted, .. } => 33 + entries(accepted),
            Self::Nack { .. } => 16,
            Self::Accept { entries: proposed, .. } => 24 + entries(proposed),
            Self::Accepted { slots, .. } => 26 + 8 * slots.len(),
            Self::Stand { .. } | Self::Learn { .. } => 8,
            Self::Decided { entries: decided, .. } => 16 + entries(decided),
            Self::Pull { .. } => 25,
            Self::Part { chunk, config } => chunk.wire_size() + config.wire_size(),
        }
    }
}

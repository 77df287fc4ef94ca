//! What a replica's journal holds, and how a log is folded from it at a start.

use std::fmt;

use contract::{Entry, Epoch, Index, JournalRecord, Mark, NodeId};
use serde::{Deserialize, Serialize};

use super::log::Log;

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The hard state of Fig. 2.
    State {
        /// `currentTerm`.
        term: Epoch,
        /// `votedFor`.
        vote: Option<NodeId>,
    },
    /// An entry. It replaces whatever the log held from its index on.
    Entry(Entry),
    /// The log now begins behind `mark`: all up to there is in the service's durable state. What
    /// stands behind it stays.
    Compacted {
        /// The last entry that left.
        mark: Mark,
    },
    /// The log is empty and begins behind `mark`: a snapshot took the place of all it held.
    Reset {
        /// What the snapshot includes.
        mark: Mark,
    },
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::State { .. } | Self::Compacted { .. } | Self::Reset { .. } => None,
        }
    }

    fn log_start(&self) -> Option<Mark> {
        match self {
            Self::Compacted { mark } | Self::Reset { mark } => Some(*mark),
            Self::State { .. } | Self::Entry(_) => None,
        }
    }

    fn is_hard_state(&self) -> bool {
        matches!(self, Self::State { .. })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { term, vote: Some(vote) } => write!(f, "state {term} vote={vote}"),
            Self::State { term, vote: None } => write!(f, "state {term}"),
            Self::Entry(entry) => write!(f, "entry {}", entry.mark),
            Self::Compacted { mark } => write!(f, "compacted {mark}"),
            Self::Reset { mark } => write!(f, "reset {mark}"),
        }
    }
}

/// What a journal and the service's durable state amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) term: Epoch,
    pub(super) vote: Option<NodeId>,
    pub(super) log: Log,
    /// The service is beyond the log, or beside it: a snapshot was installed whose
    /// [`Record::Reset`] was lost, and has to be written again.
    pub(super) was_reset: bool,
}

/// A journal as far as it has been read.
#[derive(Default)]
struct Fold {
    term: Epoch,
    vote: Option<NodeId>,
    /// Behind which index the entries begin.
    start: Index,
    /// The epoch at `start`; unknown after the oldest segments were purged, until a record tells.
    start_epoch: Option<Epoch>,
    entries: Vec<Entry>,
}

/// Replays a journal whose oldest segments may be gone, and settles it with the service's state.
pub(super) fn fold(records: Vec<Record>, applied: Mark) -> Folded {
    let mut fold = Fold { start_epoch: Some(Epoch::ZERO), ..Fold::default() };
    for record in records {
        fold.replay(record);
    }
    fold.settle(applied)
}

impl Fold {
    fn last(&self) -> Index {
        Index(self.start.0 + self.entries.len() as u64)
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::State { term, vote } => {
                assert!(term >= self.term, "terms never fall (Fig. 2): {} is followed by {term}", self.term);
                (self.term, self.vote) = (term, vote);
            }
            Record::Entry(entry) => self.replace_from(entry),
            // An older compaction, whose suffix went in a later one: only that tells the start.
            Record::Compacted { mark } if mark.index < self.start => {
                assert!(self.start_epoch.is_none(), "a log's start only moves forward");
            }
            Record::Compacted { mark } => {
                let left = (mark.index.0 - self.start.0) as usize;
                if let Some(entry) = left.checked_sub(1).and_then(|last| self.entries.get(last)) {
                    assert_eq!(entry.mark, mark, "a log is compacted at an entry that it holds");
                }
                self.entries.drain(..left.min(self.entries.len()));
                self.start_behind(mark);
            }
            Record::Reset { mark } => {
                self.entries.clear();
                self.start_behind(mark);
            }
        }
    }

    fn start_behind(&mut self, mark: Mark) {
        (self.start, self.start_epoch) = (mark.index, Some(mark.epoch));
    }

    fn replace_from(&mut self, entry: Entry) {
        let index = entry.mark.index;
        assert!(index > Index::ZERO, "the first entry has index 1");
        // What stood between was purged, or what is left of the log so far was itself replaced.
        let follows_purged = self.entries.is_empty() && index > self.start.next();
        if follows_purged || (index <= self.start && self.start_epoch.is_none()) {
            self.entries.clear();
            self.start = index.prev();
            self.start_epoch = (index.prev() == Index::ZERO).then_some(Epoch::ZERO);
        }
        assert!(index > self.start, "{index} is in the service's state and cannot be replaced");
        assert!(index <= self.last().next(), "a log has no holes: {index} follows {}", self.last());
        self.entries.truncate((index.0 - self.start.0 - 1) as usize);
        self.entries.push(entry);
    }

    fn settle(mut self, applied: Mark) -> Folded {
        // Without a known start the epoch of `applied` stands in: all up to there is in the service.
        if self.start_epoch.is_none() && applied.index == self.start {
            self.start_epoch = Some(applied.epoch);
        }
        let held = match applied.index.0.checked_sub(self.start.0) {
            Some(0) => self.start_epoch,
            Some(place) => self.entries.get(place as usize - 1).map(|entry| entry.mark.epoch),
            None => panic!("what left the log is in the service: {} is beyond {applied}", self.start),
        };
        let was_reset = held != Some(applied.epoch);
        if was_reset {
            self.entries.clear();
        }
        if was_reset || self.start_epoch.is_none() {
            let covered = (applied.index.0 - self.start.0) as usize;
            self.entries.drain(..covered.min(self.entries.len()));
            self.start_behind(applied);
        }
        let start = Mark { epoch: self.start_epoch.expect("settled above"), index: self.start };
        let log = Log::recovered(start, self.entries);
        assert!(was_reset || self.term >= log.last().epoch, "a term is durable before its entries");
        // A term that was learnt but not durable was never promised to anyone: no vote was cast in it.
        if log.last().epoch > self.term {
            (self.term, self.vote) = (log.last().epoch, None);
        }
        Folded { term: self.term, vote: self.vote, log, was_reset }
    }
}

//! What a replica's journal holds, and what a start makes of it.

use std::collections::BTreeMap;

use contract::{Entry, Epoch, Index, JournalRecord, Mark, NodeId};
use serde::{Deserialize, Serialize};

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// `SaveCurrentTerm` and `SaveVotedFor`.
    State {
        /// The term.
        term: Epoch,
        /// Who has the vote in it.
        vote: Option<NodeId>,
    },
    /// One of `AppendLogEntries`. It replaces whatever the log held from its index on.
    Entry(Entry),
    /// The log now begins behind a mark: all up to it is in the service's durable state.
    Start {
        /// The mark.
        mark: Mark,
        /// Whether what stood behind it stays.
        keeps: bool,
    },
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::State { .. } | Self::Start { .. } => None,
        }
    }

    fn log_start(&self) -> Option<Mark> {
        match self {
            Self::Start { mark, .. } => Some(*mark),
            Self::State { .. } | Self::Entry(_) => None,
        }
    }

    fn is_hard_state(&self) -> bool {
        matches!(self, Self::State { .. })
    }
}

/// What a journal and the service's durable state amount to.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) term: Epoch,
    pub(super) vote: Option<NodeId>,
    /// Behind what the log begins.
    pub(super) start: Mark,
    pub(super) entries: BTreeMap<Index, Entry>,
    /// The service holds a snapshot that the log does not know of: the record that tells was lost.
    pub(super) was_reset: bool,
}

/// Replays a journal whose oldest segments may be gone.
pub(super) fn fold(records: Vec<Record>, applied: Mark) -> Folded {
    let mut fold = Folded::default();
    for record in records {
        match record {
            Record::State { term, vote } => (fold.term, fold.vote) = (term, vote),
            Record::Entry(entry) => replace_from(&mut fold.entries, entry),
            Record::Start { mark, keeps } => {
                fold.entries =
                    if keeps { fold.entries.split_off(&mark.index.next()) } else { BTreeMap::new() };
                fold.start = mark;
            }
        }
    }
    assert!(applied.index >= fold.start.index, "what left the log is in the service");
    let held = fold.entries.get(&applied.index).map_or(fold.start, |entry| entry.mark);
    if held != applied {
        (fold.start, fold.was_reset) = (applied, true);
        fold.entries.clear();
    }
    let behind = (fold.start.index.0 + 1..).map(Index);
    assert!(fold.entries.keys().copied().zip(behind).all(|(held, due)| held == due), "a log has no gaps");
    fold
}

/// Puts an entry into a log, in place of what stood at its index and beyond.
pub(super) fn replace_from(log: &mut BTreeMap<Index, Entry>, entry: Entry) {
    log.split_off(&entry.mark.index);
    log.insert(entry.mark.index, entry);
}

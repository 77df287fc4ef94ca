//! The part of the log that is in memory, which is all the log there is: everything behind a mark up to
//! which the service's state includes it (§5.1).
//!
//! Invariants:
//! - Op-numbers have no gaps; views never fall along the log.
//! - If two logs hold an entry of the same view and op-number they are the same up to it: in a view only
//!   its primary gives op-numbers out, and the view begins with one log.

use std::collections::VecDeque;

use contract::{Entry, Epoch, Index, Mark, WireSize};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    start: Mark,
    entries: VecDeque<Entry>,
}

/// A log from some mark on, as replicas send it to each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suffix {
    /// What stands before the entries. All up to there is committed, or held by the receiver.
    pub start: Mark,
    /// The entries behind it, without a gap.
    pub entries: Vec<Entry>,
}

impl Suffix {
    /// The last entry's mark.
    pub fn last(&self) -> Mark {
        self.entries.last().map_or(self.start, |entry| entry.mark)
    }
}

impl WireSize for Suffix {
    fn wire_size(&self) -> usize {
        18 + self.entries.iter().map(WireSize::wire_size).sum::<usize>()
    }
}

impl Log {
    /// An empty log behind a mark.
    pub(super) fn behind(start: Mark) -> Self {
        Self { start, entries: VecDeque::new() }
    }

    /// The mark behind which the entries begin.
    pub(super) fn start(&self) -> Mark {
        self.start
    }

    pub(super) fn last(&self) -> Mark {
        self.entries.back().map_or(self.start, |entry| entry.mark)
    }

    pub(super) fn last_entry(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn epoch_at(&self, index: Index) -> Option<Epoch> {
        match index.0.checked_sub(self.start.index.0 + 1) {
            Some(place) => self.entries.get(usize::try_from(place).ok()?).map(|entry| entry.mark.epoch),
            None => (index == self.start.index).then_some(self.start.epoch),
        }
    }

    /// The mark at an index that the log holds.
    pub(super) fn mark_at(&self, index: Index) -> Mark {
        let epoch = self.epoch_at(index).expect("the log holds the index");
        Mark { epoch, index }
    }

    /// Whether this log is the same as any other that holds `mark`, up to there.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.epoch_at(mark.index) == Some(mark.epoch)
    }

    /// Whether another log says something else about what this one holds up to `index`.
    pub(super) fn contradicts(&self, other: &Suffix, index: Index) -> bool {
        let marks = std::iter::once(other.start).chain(other.entries.iter().map(|entry| entry.mark));
        let mut known = marks.filter(|mark| mark.index <= index);
        known.any(|mark| self.epoch_at(mark.index).is_some_and(|epoch| epoch != mark.epoch))
    }

    /// The entries behind `after` up to `to`.
    pub(super) fn between(&self, after: Index, to: Index) -> Vec<Entry> {
        assert!(after >= self.start.index && after <= to && to <= self.last().index, "the log holds them");
        let place = |index: Index| usize::try_from(index.0 - self.start.index.0).expect("it is in memory");
        self.entries.range(place(after)..place(to)).cloned().collect()
    }

    /// All behind `after`, as far back as it goes.
    pub(super) fn suffix(&self, after: Index) -> Suffix {
        let after = after.clamp(self.start.index, self.last().index);
        Suffix { start: self.mark_at(after), entries: self.between(after, self.last().index) }
    }

    /// Adds an entry behind the last one.
    pub(super) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.mark.index, self.last().index.next(), "a log has no gaps");
        assert!(entry.mark.epoch >= self.last().epoch, "views never fall along a log");
        self.entries.push_back(entry);
    }

    /// Cuts off everything behind `last`.
    pub(super) fn truncate(&mut self, last: Index) {
        assert!(last >= self.start.index, "what left the log is committed and cannot be cut off");
        self.entries.truncate(usize::try_from(last.0 - self.start.index.0).expect("it is in memory"));
    }

    /// Drops the entries up to `mark`, which the service's state includes.
    pub(super) fn compact(&mut self, mark: Mark) {
        assert!(self.holds(mark), "a log is compacted at an entry that it holds");
        self.entries.drain(..usize::try_from(mark.index.0 - self.start.index.0).expect("it is in memory"));
        self.start = mark;
    }
}

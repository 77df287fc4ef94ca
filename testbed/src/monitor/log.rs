//! A node's log as its journal's records tell of it: which term stands at which index.

use contract::{Entry, Epoch, Index, JournalRecord, Mark};

/// The terms of one node's log. The first one is that of the mark behind which the log begins; it is
/// unknown while a recovered journal has not told it.
#[derive(Clone)]
pub(super) struct Log {
    start: Index,
    epochs: Vec<Option<Epoch>>,
}

/// An entry that cannot stand where it was written.
#[derive(Debug)]
pub(super) enum Misplaced {
    BelowStart,
    BehindHole,
}

impl Log {
    /// The log of a disk that was never written.
    pub(super) fn empty() -> Self {
        Self::beginning_behind(Index::ZERO, Some(Epoch::ZERO))
    }

    fn beginning_behind(start: Index, epoch: Option<Epoch>) -> Self {
        Self { start, epochs: vec![epoch] }
    }

    /// Before the records of a recovered journal are written. Its older segments may be gone: what is left
    /// then begins behind its first entry.
    pub(super) fn before(records: &[impl JournalRecord]) -> Self {
        let first = records.iter().find_map(JournalRecord::entry).map_or(Index(1), |entry| entry.mark.index);
        let epoch = (first == Index(1)).then_some(Epoch::ZERO);
        Self::beginning_behind(first.prev(), epoch)
    }

    pub(super) fn start(&self) -> Index {
        self.start
    }

    fn place(&self, index: Index) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.start.0)?).ok()
    }

    pub(super) fn begin_behind(&mut self, mark: Mark) {
        // A recovered journal may tell of a start whose entries went with later ones.
        if mark.index < self.start {
            return;
        }
        let held =
            |place: &usize| self.epochs.get(*place).is_some_and(|held| held.is_none_or(|e| e == mark.epoch));
        match self.place(mark.index).filter(held) {
            Some(place) => {
                self.epochs.drain(..place);
                self.epochs[0] = Some(mark.epoch);
                self.start = mark.index;
            }
            None => *self = Self::beginning_behind(mark.index, Some(mark.epoch)),
        }
    }

    /// Writes an entry, in place of what stood at its index and beyond. The term of the one before it,
    /// where it is known.
    pub(super) fn write(&mut self, entry: &Entry) -> Result<Option<Epoch>, Misplaced> {
        // What is left of a recovered journal may begin with entries that were soon replaced.
        if entry.mark.index <= self.start && self.epochs[0].is_none() {
            *self = Self::beginning_behind(entry.mark.index.prev(), None);
        }
        let place = self.place(entry.mark.index).filter(|place| *place > 0).ok_or(Misplaced::BelowStart)?;
        let before = self.epochs.get(place - 1).copied().ok_or(Misplaced::BehindHole)?;
        self.epochs.truncate(place);
        self.epochs.push(Some(entry.mark.epoch));
        Ok(before)
    }

    /// Whether it may hold an entry, and with it all before: an entry that has left it, or whose term is
    /// unknown, may have been that one.
    pub(super) fn may_hold(&self, mark: Mark) -> bool {
        match self.place(mark.index) {
            None => true,
            Some(place) => self.epochs.get(place).is_some_and(|held| held.is_none_or(|e| e == mark.epoch)),
        }
    }
}

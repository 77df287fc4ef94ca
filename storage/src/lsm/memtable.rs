//! The newest writes, sorted, in memory.
//!
//! Each key holds its newest version, and beside it those older ones that an open view may still
//! read: a view of sequence number `s` reads the newest version at or below `s`. A view pins its
//! number here while it lives; without one an overwritten version is dropped at once.
//!
//! Deleting a range takes the keys in it away and leaves a range tombstone for what is older (see
//! `ranges`): so a key of a memtable always counts, and only then its tombstones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use super::ranges::RangeSet;
use crate::batch::{KeyChange, Mutation, Mutations};
use crate::ordered::OrderedMap;

#[derive(Debug)]
struct Version {
    seq: u64,
    value: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Versions {
    newest: Version,
    /// Ascending; all below `newest`.
    older: Vec<Version>,
}

impl Versions {
    fn at(&self, seq: u64) -> Option<&Version> {
        if self.newest.seq <= seq {
            return Some(&self.newest);
        }
        self.older.iter().rfind(|version| version.seq <= seq)
    }

    fn replace(&mut self, newer: Version, pinned: Option<u64>) {
        assert!(self.newest.seq <= newer.seq, "writes come in the order of their numbers");
        assert!(
            self.older.last().is_none_or(|last| last.seq < self.newest.seq),
            "versions stand in the order of their numbers"
        );
        let old = std::mem::replace(&mut self.newest, newer);
        match pinned {
            None => self.older.clear(),
            Some(pinned) if pinned >= old.seq => self.older.push(old),
            Some(_) => {}
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Memtable {
    entries: RefCell<OrderedMap<Versions>>,
    /// Copied when it changes while a view shares it.
    ranges: RefCell<Rc<RangeSet>>,
    /// Sequence numbers of open views, with how many of each.
    pins: RefCell<BTreeMap<u64, usize>>,
    last_seq: Cell<u64>,
}

impl Memtable {
    /// The last batch in it; 0 if there is none.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq.get()
    }

    /// Whether no batch was applied to it.
    pub(super) fn is_empty(&self) -> bool {
        self.last_seq() == 0
    }

    /// Applies batch number `seq`.
    pub(super) fn apply(&self, seq: u64, batch: Mutations) {
        assert!(seq > self.last_seq.replace(seq), "batches come in the order of their numbers");
        let pinned = self.pins.borrow().last_key_value().map(|(pin, _)| *pin);
        assert!(pinned.is_none_or(|pin| pin < seq), "a view never sees what is written later");
        let mut entries = self.entries.borrow_mut();
        for mutation in batch {
            match mutation {
                Mutation::Key((key, value)) => {
                    let first = Versions { newest: Version { seq, value }, older: Vec::new() };
                    entries.upsert(key, first, |versions, first| versions.replace(first.newest, pinned));
                }
                Mutation::Range((from, to)) => {
                    remove_range(&mut entries, &from, &to, seq, pinned);
                    Rc::make_mut(&mut self.ranges.borrow_mut()).insert(&from, &to);
                }
            }
        }
    }

    /// The newest that is known of a key; `Some(None)`: it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if let Some(versions) = self.entries.borrow().get(key) {
            return Some(versions.newest.value.clone());
        }
        self.ranges.borrow().covering(key).map(|_| None)
    }

    /// All keys in order with their newest values.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        for (key, versions) in self.entries.borrow().iter() {
            visit(key, versions.newest.value.as_deref());
        }
    }

    /// The ranges that were deleted.
    pub(super) fn ranges(&self) -> Rc<RangeSet> {
        Rc::clone(&self.ranges.borrow())
    }
}

/// Takes the keys from `from` up to `to` away; what a view reads stays below a tombstone.
fn remove_range(entries: &mut OrderedMap<Versions>, from: &[u8], to: &[u8], seq: u64, pinned: Option<u64>) {
    if pinned.is_some() {
        for versions in entries.values_between(from, to) {
            versions.replace(Version { seq, value: None }, pinned);
        }
        return;
    }
    assert!(from < to, "a range that is deleted holds a key");
    let doomed = entries.range(Bound::Included(from), Bound::Excluded(to));
    let doomed: Vec<_> = doomed.map(|(key, _)| key.to_vec()).collect();
    for key in doomed {
        entries.remove(&key);
    }
}

/// A memtable as of a sequence number. What it reads stays while it lives.
#[derive(Debug)]
pub(super) struct View {
    table: Rc<Memtable>,
    seq: u64,
    ranges: Rc<RangeSet>,
}

impl Drop for View {
    fn drop(&mut self) {
        let mut pins = self.table.pins.borrow_mut();
        let count = pins.get_mut(&self.seq).expect("what is unpinned was pinned");
        *count -= 1;
        if *count == 0 {
            pins.remove(&self.seq);
        }
    }
}

impl View {
    pub(super) fn new(table: &Rc<Memtable>, seq: u64) -> Self {
        assert!(seq >= table.last_seq(), "a view is of now, not of the past");
        *table.pins.borrow_mut().entry(seq).or_default() += 1;
        Self { table: Rc::clone(table), seq, ranges: table.ranges() }
    }

    /// What is known of a key; `Some(None)`: it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let entries = self.table.entries.borrow();
        if let Some(version) = entries.get(key).and_then(|versions| versions.at(self.seq)) {
            return Some(version.value.clone());
        }
        self.ranges.covering(key).map(|_| None)
    }

    /// Up to `limit` pairs from `from` on.
    pub(super) fn after(&self, from: Bound<&[u8]>, limit: usize) -> Vec<KeyChange> {
        let entries = self.table.entries.borrow();
        self.visible(entries.range(from, Bound::Unbounded), limit)
    }

    /// Up to `limit` pairs before `to`, the last one first.
    pub(super) fn before(&self, to: &[u8], limit: usize) -> Vec<KeyChange> {
        let entries = self.table.entries.borrow();
        self.visible(entries.range(Bound::Unbounded, Bound::Excluded(to)).rev(), limit)
    }

    fn visible<'a>(
        &self,
        entries: impl Iterator<Item = (&'a [u8], &'a Versions)>,
        limit: usize,
    ) -> Vec<KeyChange> {
        assert!(limit > 0, "an empty chunk would look like the end");
        let visible = entries.filter_map(|(key, versions)| Some((key, versions.at(self.seq)?)));
        visible.take(limit).map(|(key, version)| (key.to_vec(), version.value.clone())).collect()
    }

    pub(super) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// The last batch that it shows.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Memtable, seq: u64, value: &str) {
        table.apply(seq, vec![Mutation::Key((b"k".to_vec(), Some(value.as_bytes().to_vec())))]);
    }

    #[test]
    fn a_version_lives_as_long_as_a_view_reads_it() {
        let table = Rc::new(Memtable::default());
        let older = || table.entries.borrow().get(b"k").map_or(0, |versions| versions.older.len());
        put(&table, 1, "one");
        let first = View::new(&table, 1);
        put(&table, 2, "two");
        put(&table, 3, "three");
        let third = View::new(&table, 3);
        put(&table, 4, "four");
        assert_eq!(first.get(b"k"), Some(Some(b"one".to_vec())));
        assert_eq!(third.get(b"k"), Some(Some(b"three".to_vec())));
        assert_eq!(table.get(b"k"), Some(Some(b"four".to_vec())));
        assert_eq!(older(), 2, "nobody reads version 2");
        drop((first, third));
        put(&table, 5, "five");
        assert_eq!(older(), 0);
    }

    #[test]
    fn a_deleted_range_hides_what_was_there_and_nothing_that_comes() {
        let table = Rc::new(Memtable::default());
        put(&table, 1, "one");
        let before = View::new(&table, 1);
        table.apply(2, vec![Mutation::Range((b"a".to_vec(), b"z".to_vec()))]);
        let after = View::new(&table, 2);
        put(&table, 3, "three");
        assert_eq!(before.get(b"k"), Some(Some(b"one".to_vec())));
        assert_eq!(before.get(b"b"), None, "the table knew nothing of it then");
        assert_eq!((after.get(b"k"), after.get(b"b")), (Some(None), Some(None)));
        assert_eq!(table.get(b"k"), Some(Some(b"three".to_vec())));
        drop((before, after));
        table.apply(4, vec![Mutation::Range((b"a".to_vec(), b"z".to_vec()))]);
        assert!(table.entries.borrow().iter().next().is_none(), "without a view a range takes its keys away");
    }
}

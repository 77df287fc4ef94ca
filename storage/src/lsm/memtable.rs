//! The newest writes, sorted, in memory.
//!
//! Each key holds its newest version, and beside it those older ones that an open snapshot may still
//! read: a snapshot of sequence number `s` reads the newest version at or below `s`. A snapshot pins
//! its number here while it lives; without one an overwritten version is dropped at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A key with its value; no value is a tombstone.
pub(super) type Pair = (Vec<u8>, Option<Vec<u8>>);

/// The changes of a batch.
pub(super) type Changes = Vec<Pair>;

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
    entries: RefCell<BTreeMap<Vec<u8>, Versions>>,
    /// Sequence numbers of open snapshots, with how many of each.
    pins: RefCell<BTreeMap<u64, usize>>,
    last_seq: Cell<u64>,
}

impl Memtable {
    /// The last batch in it; 0 if there is none.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq.get()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Applies batch number `seq`.
    pub(super) fn apply(&self, seq: u64, batch: Changes) {
        assert!(seq > self.last_seq.replace(seq), "batches come in the order of their numbers");
        let pinned = self.pins.borrow().last_key_value().map(|(pin, _)| *pin);
        assert!(pinned.is_none_or(|pin| pin < seq), "a snapshot never sees what is written later");
        let mut entries = self.entries.borrow_mut();
        for (key, value) in batch {
            let version = Version { seq, value };
            if let Some(versions) = entries.get_mut(&key) {
                versions.replace(version, pinned);
            } else {
                entries.insert(key, Versions { newest: version, older: Vec::new() });
            }
        }
    }

    /// The newest value of a key; `Some(None)` is a tombstone.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.entries.borrow().get(key).map(|versions| versions.newest.value.clone())
    }

    /// The value of a key at a snapshot.
    pub(super) fn get_at(&self, key: &[u8], seq: u64) -> Option<Option<Vec<u8>>> {
        let entries = self.entries.borrow();
        entries.get(key)?.at(seq).map(|version| version.value.clone())
    }

    /// Up to `limit` pairs from `from` on at a snapshot.
    pub(super) fn range_at(&self, from: Bound<&[u8]>, seq: u64, limit: usize) -> Vec<Pair> {
        assert!(limit > 0, "an empty chunk would look like the end");
        let entries = self.entries.borrow();
        let range = entries.range::<[u8], _>((from, Bound::Unbounded));
        let visible = range.filter_map(|(key, versions)| Some((key, versions.at(seq)?)));
        visible.take(limit).map(|(key, version)| (key.clone(), version.value.clone())).collect()
    }

    /// All keys in order with their newest values.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        for (key, versions) in &*self.entries.borrow() {
            visit(key, versions.newest.value.as_deref());
        }
    }

    /// Keeps what a snapshot at `seq` reads, until [`Memtable::unpin`].
    pub(super) fn pin(&self, seq: u64) {
        assert!(seq >= self.last_seq(), "a snapshot is of now, not of the past");
        *self.pins.borrow_mut().entry(seq).or_default() += 1;
    }

    pub(super) fn unpin(&self, seq: u64) {
        let mut pins = self.pins.borrow_mut();
        let count = pins.get_mut(&seq).expect("what is unpinned was pinned");
        *count -= 1;
        if *count == 0 {
            pins.remove(&seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Memtable, seq: u64, value: &str) {
        table.apply(seq, vec![(b"k".to_vec(), Some(value.as_bytes().to_vec()))]);
    }

    #[test]
    fn a_version_lives_as_long_as_a_snapshot_reads_it() {
        let table = Memtable::default();
        put(&table, 1, "one");
        table.pin(1);
        put(&table, 2, "two");
        put(&table, 3, "three");
        table.pin(3);
        put(&table, 4, "four");
        assert_eq!(table.get_at(b"k", 1), Some(Some(b"one".to_vec())));
        assert_eq!(table.get_at(b"k", 3), Some(Some(b"three".to_vec())));
        assert_eq!(table.get(b"k"), Some(Some(b"four".to_vec())));
        assert_eq!(table.entries.borrow()[&b"k"[..]].older.len(), 2, "nobody reads version 2");
        table.unpin(1);
        table.unpin(3);
        put(&table, 5, "five");
        assert!(table.entries.borrow()[&b"k"[..]].older.is_empty());
    }
}

//! What a workload asks of a store.

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 150;

/// A key.
pub type Key = [u8; KEY_BYTES];
/// A value.
pub type Value = [u8; VALUE_BYTES];
/// A key with its new value; without one it is removed.
pub type Change = (Key, Option<Value>);

/// Changes that a merge tree gets at once where there are many.
pub const MANY: usize = 20_000;

/// How much memory a store may use, the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For blocks or pages that were read.
    pub cache_bytes: usize,
    /// For writes that no table has yet, where there are such.
    pub memtable_bytes: usize,
    /// What the uppermost level of sorted tables may hold, where there are levels.
    pub level_bytes: usize,
}

impl Budget {
    /// For a million rows the cache that redb has by default, a GiB, 16 MiB of memtable, which is a tenth of the
    /// rows, and the 256 MiB that fjall and RocksDB have by default.
    pub fn of(rows: u64) -> Self {
        let rows = rows as usize;
        let memtable_bytes = (rows * 16).max(1 << 20);
        Self { cache_bytes: (rows << 10).max(16 << 20), memtable_bytes, level_bytes: memtable_bytes * 16 }
    }
}

/// A view of a store.
pub trait Reader {
    /// The sum of a value's bytes, so that it must be looked at; `None` if the key has none.
    fn get(&self, key: &Key) -> Option<u64>;
    /// The same of up to `limit` rows from a key on, and how many there were.
    fn scan(&self, from: &Key, limit: usize) -> (usize, u64);
}

/// A store.
pub trait Store {
    /// Applies changes in the way that is fastest for many; all are durable when it returns.
    fn load(&mut self, changes: &mut dyn Iterator<Item = Change>);
    /// Applies changes together.
    fn write(&mut self, changes: &[Change], durable: bool);
    /// Reads, in one view where that is cheaper.
    fn read(&self, work: &mut dyn FnMut(&dyn Reader));
    /// Does, or waits for, what was put off: flushes and compactions in other threads, or steps of maintenance.
    fn settle(&mut self) {}
    /// How many flushes it has asked for, if that is known.
    fn flushes(&self) -> Option<u64> {
        None
    }
    /// How many commits so many writers make of so many writes each, per flush; `None` if it has no such writers.
    fn commits_per_flush(&mut self, _writers: usize, _writes: usize) -> Option<f64> {
        None
    }
}

/// Hands over many changes, so many at once.
pub fn in_batches(changes: &mut dyn Iterator<Item = Change>, mut write: impl FnMut(&[Change])) {
    loop {
        let batch: Vec<Change> = changes.take(MANY).collect();
        if batch.is_empty() {
            return;
        }
        write(&batch);
    }
}

/// What is looked at of a value.
pub fn sum(value: &[u8]) -> u64 {
    value.iter().map(|byte| u64::from(*byte)).sum()
}

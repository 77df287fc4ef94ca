//! An ordered key-value store on a file system.

use std::fmt;
use std::ops::AddAssign;
use std::rc::Rc;

use crate::fs::{Fs, FsError};

/// What an engine can answer instead of doing its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file does not hold what was written into it.
    #[error("{file}: corrupt at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: Rc<str>,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// The end of a log that was cut off when it was opened: what stands there is no record whose flush is
/// known to have finished. A write that was under way at a crash looks so, and so does damage to what was
/// flushed last: only what was flushed later can tell them apart (Alagappan et al., FAST'18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The log's file.
    pub file: Rc<str>,
    /// Where the records that count end, in bytes.
    pub offset: u64,
    /// Why what stands there does not count.
    pub what: &'static str,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: torn at byte {}: {}", self.file, self.offset, self.what)
    }
}

/// One of the key spaces of a store; each orders its keys by itself, and a batch may change several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(pub u8);

impl Family {
    /// The family of whoever needs only one.
    pub const DEFAULT: Self = Self(0);
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put {
        /// Where.
        family: Family,
        /// Which key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a key.
    Delete {
        /// Where.
        family: Family,
        /// Which key.
        key: Vec<u8>,
    },
    /// Removes every key with `from <= key`, and `key < to` where `to` is given.
    DeleteRange {
        /// Where.
        family: Family,
        /// The first key that is removed.
        from: Vec<u8>,
        /// The first key behind it that stays; with `None` none does.
        to: Option<Vec<u8>>,
    },
}

/// Changes that take effect together or not at all, in order: the last one to a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Sets a key of the default family.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.put_in(Family::DEFAULT, key, value);
    }

    /// Sets a key.
    pub fn put_in(&mut self, family: Family, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put { family, key: key.into(), value: value.into() });
    }

    /// Removes a key of the default family.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.delete_in(Family::DEFAULT, key);
    }

    /// Removes a key.
    pub fn delete_in(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete { family, key: key.into() });
    }

    /// Removes the keys with `from <= key`, and `key < to` where `to` is given.
    pub fn delete_range(&mut self, family: Family, from: impl Into<Vec<u8>>, to: Option<Vec<u8>>) {
        self.changes.push(Change::DeleteRange { family, from: from.into(), to });
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        let bytes = |change: &Change| match change {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { key, .. } => key.len(),
            Change::DeleteRange { from, to, .. } => from.len() + to.as_ref().map_or(0, Vec::len),
        };
        self.changes.iter().map(bytes).sum()
    }
}

/// The order in which a scan returns pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    #[default]
    Ascending,
    /// Largest key first.
    Descending,
}

/// Which keys a scan returns, and in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range<'a> {
    /// Of which family.
    pub family: Family,
    /// No key before this one.
    pub from: &'a [u8],
    /// Neither this key nor one behind it; with `None` there is no end.
    pub to: Option<&'a [u8]>,
    /// In which order.
    pub order: Order,
}

impl<'a> Range<'a> {
    /// All keys of the default family, ascending.
    pub fn all() -> Self {
        Self::default()
    }

    /// The keys of the default family from `from` up to `to`, without `to`, ascending.
    pub fn between(from: &'a [u8], to: &'a [u8]) -> Self {
        Self { from, to: Some(to), ..Self::default() }
    }

    /// The same keys of another family.
    #[must_use]
    pub fn of(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// The same keys, largest first.
    #[must_use]
    pub fn descending(self) -> Self {
        Self { order: Order::Descending, ..self }
    }
}

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What a write must have survived when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it may be lost at any crash until [`Engine::sync`], but only together with all that
    /// was written after it.
    Lazy,
    /// A power loss.
    Synced,
}

/// What an engine has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Memtables (or dirty pages) written out.
    pub flushes: u64,
    /// Compactions (or vacuum steps) completed.
    pub compactions: u64,
    /// Bytes of keys and values that callers wrote.
    pub bytes_written_by_callers: u64,
    /// Bytes written to files.
    pub bytes_written_to_files: u64,
    /// Bytes read from files.
    pub bytes_read_from_files: u64,
    /// Blocks (or pages) found in the cache.
    pub cache_hits: u64,
    /// Blocks (or pages) that had to be read.
    pub cache_misses: u64,
}

impl AddAssign for EngineStats {
    fn add_assign(&mut self, other: Self) {
        let Self {
            flushes,
            compactions,
            bytes_written_by_callers,
            bytes_written_to_files,
            bytes_read_from_files,
            cache_hits,
            cache_misses,
        } = other;
        self.flushes += flushes;
        self.compactions += compactions;
        self.bytes_written_by_callers += bytes_written_by_callers;
        self.bytes_written_to_files += bytes_written_to_files;
        self.bytes_read_from_files += bytes_read_from_files;
        self.cache_hits += cache_hits;
        self.cache_misses += cache_misses;
    }
}

/// Reads of an engine, or of a snapshot of one.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
pub trait ReadStore {
    /// The value of a key of the default family.
    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.get_in(Family::DEFAULT, key).await
    }
    /// The value of a key.
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;
    /// Shows the first `limit` pairs of a range, key and value, in its order; how many there were. They are
    /// shown where they lie: whoever keeps one copies it. An error may come behind some of them.
    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError>;
    /// The first `limit` pairs of a range, in its order.
    async fn scan(&self, range: Range<'_>, limit: usize) -> Result<Vec<Pair>, EngineError> {
        let mut pairs = Vec::new();
        self.visit(range, limit, &mut |key, value| pairs.push((key.to_vec(), value.to_vec()))).await?;
        Ok(pairs)
    }
}

/// An ordered store. A clone is another handle on the same one.
///
/// After a crash the store holds a prefix of the batches in write order: every batch whole, and all
/// that was synced.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
pub trait Engine: ReadStore + Clone + 'static {
    /// Where it is kept.
    type Fs: Fs;
    /// How it is tuned.
    type Options: Clone + 'static;
    /// Its content at one moment, readable while writes go on.
    type Snapshot: ReadStore + 'static;

    /// Opens the store in `dir`, creating it if it is missing and recovering it if it crashed.
    async fn open(fs: &Self::Fs, dir: &str, options: &Self::Options) -> Result<Self, EngineError>;
    /// What opening cut off, the oldest log first. What was promised is among it only if it was damaged.
    fn torn_tails(&self) -> &[TornTail];
    /// Applies a batch.
    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError>;
    /// Makes every write before this call durable.
    async fn sync(&self) -> Result<(), EngineError>;
    /// The content now.
    fn snapshot(&self) -> Self::Snapshot;
    /// Writes the content of this moment into the new directory `dir`, durably, as a store that
    /// [`Engine::open`] opens. Files that never change again are shared, where the file system has
    /// hard links.
    async fn checkpoint(&self, dir: &str) -> Result<(), EngineError>;
    /// One bounded step of background work; `true` if there is more to do.
    async fn maintain(&self) -> Result<bool, EngineError>;
    /// Whether [`Engine::maintain`] has something to do.
    fn needs_maintenance(&self) -> bool;
    /// Reads everything and checks it against its checksums and order.
    async fn verify(&self) -> Result<(), EngineError>;
    /// What it has done since it was opened.
    fn stats(&self) -> EngineStats;
}

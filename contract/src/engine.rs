//! An ordered key-value store on a file system.

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

/// Changes that take effect together or not at all, in order: the last one to a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key, and the new value; `None` deletes.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), None));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

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
}

/// Reads of an engine, or of a snapshot of one.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
pub trait ReadStore {
    /// The value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;
    /// Up to `limit` pairs with `from <= key`, and `key < to` where `to` is given, in key order.
    async fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, EngineError>;
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
    /// Applies a batch.
    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError>;
    /// Makes every write before this call durable.
    async fn sync(&self) -> Result<(), EngineError>;
    /// The content now.
    fn snapshot(&self) -> Self::Snapshot;
    /// One bounded step of background work; `true` if there is more to do.
    async fn maintain(&self) -> Result<bool, EngineError>;
    /// Whether [`Engine::maintain`] has something to do.
    fn needs_maintenance(&self) -> bool;
    /// Reads everything and checks it against its checksums and order.
    async fn verify(&self) -> Result<(), EngineError>;
    /// What it has done since it was opened.
    fn stats(&self) -> EngineStats;
}

//! The only way to a disk.
//!
//! Everything that stores something is written against [`Fs`] and [`File`]: the simulated disk is
//! one implementation, a folder of a real machine another. Paths are relative to the node's root,
//! with `/` between names. Buffers are passed in and handed back, as completion-based I/O needs.

use std::rc::Rc;

/// What a file system can answer instead of doing its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// No such file or directory.
    #[error("{path}: not found")]
    NotFound {
        /// What was asked for.
        path: Rc<str>,
    },
    /// The device failed.
    #[error("{path}: input/output error during {action}: {cause}")]
    Io {
        /// The file.
        path: Rc<str>,
        /// What was being done: `read`, `write`, `sync` …
        action: &'static str,
        /// What the device or the operating system said.
        cause: Rc<str>,
    },
    /// The device is full.
    #[error("{path}: no space left on the device")]
    NoSpace {
        /// The file.
        path: Rc<str>,
    },
}

/// How [`Fs::open`] treats what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist.
    Existing,
    /// Create the file if it is missing; keep its content if it is not.
    Create,
    /// Create the file, or cut an existing one to nothing.
    Truncate,
}

/// A file system. A clone is another handle on the same one.
///
/// Nothing is durable before a sync: file content by [`File::sync_data`], and the existence, name
/// or removal of a file by [`Fs::sync_dir`] of its directory. What was not synced *may* survive a
/// power loss, in any subset.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
pub trait Fs: Clone + 'static {
    /// An open file.
    type File: File;

    /// Opens a file. Its directory must exist.
    async fn open(&self, path: &str, mode: OpenMode) -> Result<Self::File, FsError>;
    /// Whether a file or directory of this name exists.
    async fn exists(&self, path: &str) -> Result<bool, FsError>;
    /// Creates a directory and those above it. No error if it exists.
    async fn create_dir(&self, path: &str) -> Result<(), FsError>;
    /// Removes a directory and all below it. No error if it is missing.
    async fn remove_dir(&self, path: &str) -> Result<(), FsError>;
    /// Gives a file another name, replacing what had that name, atomically.
    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError>;
    /// Gives a file a second name, which must be free: a hard link.
    async fn link(&self, from: &str, to: &str) -> Result<(), FsError>;
    /// Removes a name of a file; with the last one, the file.
    async fn remove(&self, path: &str) -> Result<(), FsError>;
    /// The names in a directory, sorted, without their path.
    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError>;
    /// Makes the directory's entries durable: creations, renames and removals before this call.
    async fn sync_dir(&self, dir: &str) -> Result<(), FsError>;
}

/// An open file. A clone shares it. Dropping one does no I/O.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
#[expect(clippy::len_without_is_empty, reason = "nobody asks a file whether it is empty")]
pub trait File: Clone + 'static {
    /// Reads up to `buf.len()` bytes at `offset`. Returns how many, and the buffer. There may be more
    /// than it returns; only where it returns none, the file has ended.
    async fn read_at(&self, offset: u64, buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>);
    /// Writes all of `buf` at `offset`, growing the file if needed, and hands the buffer back.
    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>);
    /// Makes every write that completed before this call durable, and the size needed to read it.
    async fn sync_data(&self) -> Result<(), FsError>;
    /// Reserves `len` bytes, zeros where nothing was written, so that writes below it do not change
    /// the file's size (a sync that must write the size too costs more).
    async fn allocate(&self, len: u64) -> Result<(), FsError>;
    /// Cuts or extends (with zeros) the file.
    async fn set_len(&self, len: u64) -> Result<(), FsError>;
    /// The file's size in bytes.
    async fn len(&self) -> Result<u64, FsError>;
}

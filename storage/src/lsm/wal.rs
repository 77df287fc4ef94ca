//! The write-ahead log of one memtable.
//!
//! A file named by its number in ten digits and `.wal`: a log (see the crate's `log` module) with
//! magic `SBlsmwl2`, whose records are batches (see the crate's `batch` module). Each log goes on where
//! the one before it ended.
//!
//! What a crash loses is a suffix of the batches: logs are written and flushed in their order, and
//! recovery stops at the first sequence number that is missing.

use contract::Fs;

use crate::batch::{self, Mutations};
use crate::log::LogIdentity;
use crate::log_file::LogFile;

pub(super) fn identity(number: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBlsmwl2", number }
}

fn name(number: u64) -> String {
    format!("{number:010}.wal")
}

pub(super) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{}", name(number))
}

pub(super) type Wal<F> = LogFile<F>;

pub(super) fn create<F: Fs>(dir: &str, number: u64) -> Wal<F> {
    LogFile::new(identity(number), dir, &name(number))
}

/// Encodes a batch behind those before it.
pub(super) fn push<F: Fs>(wal: &Wal<F>, seq: u64, batch: &Mutations) {
    assert!(seq > 0 && !batch.is_empty(), "what is logged is a batch with a number");
    let tag = u32::try_from(batch.len()).expect("a batch has below 2^32 changes");
    wal.push(tag, |buffer| batch::encode(buffer, seq, batch, |_| {}));
}

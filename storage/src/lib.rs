//! Where servers keep what they must not lose: a journal, and storage engines.
//!
//! All of it is written against [`contract::Fs`], so the same code runs on a simulated disk and on a
//! real folder ([`StdFs`], the only code that opens real files of a store). Reading order: the
//! framing of logs in `log` and `log_file`, then [`journal`]; the batches of the engines in `batch`, and
//! how they are read back in `replay`; then the engines, [`logstore`] (the baseline), [`lsm`] and
//! [`btree`]. Each file format is described field by field in the module that owns it; [`inspect`] tells what
//! is in a file.
//!
//! ```
//! # use seedbed_storage as storage;
//! use contract::{Batch, Durability, Engine, EngineError, Fs, ReadStore};
//! use storage::{Lsm, LsmOptions};
//!
//! async fn example(fs: &impl Fs) -> Result<(), EngineError> {
//!     let store = Lsm::open(fs, "store", &LsmOptions::default()).await?;
//!     let mut batch = Batch::default();
//!     batch.put("key", "value");
//!     store.write(batch, Durability::Synced).await?;
//!     assert_eq!(store.get(b"key").await?.as_deref(), Some(&b"value"[..]));
//!     Ok(())
//! }
//! ```

mod batch;
pub mod btree;
mod encoding;
pub mod inspect;
pub mod journal;
mod latch;
mod log;
mod log_file;
pub mod logstore;
pub mod lsm;
mod ordered;
mod paths;
mod read;
mod replay;
mod std_fs;
mod turn;

pub use btree::{BTree, BTreeOptions, BTreeSnapshot, Mode};
pub use journal::{
    Journal, JournalEntry, JournalError, JournalOptions, JournalRecovery, JournalStats, SegmentId,
};
pub use logstore::{LogStore, LogStoreOptions, LogStoreSnapshot};
pub use lsm::{Lsm, LsmOptions, LsmSnapshot};
pub use read::read_at;
pub use std_fs::{StdFile, StdFs};

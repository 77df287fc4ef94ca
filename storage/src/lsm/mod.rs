//! A log-structured merge tree (O'Neil et al., 1996), with leveled compaction as in LevelDB, or
//! size-tiered compaction.
//!
//! A batch goes to a write-ahead log and a memtable. A full memtable is written out as a sorted table
//! of level 0; compactions merge tables downwards, so that each deeper level is some times as large
//! and free of overlaps. A read asks the memtables, then the levels from the top: the first that
//! knows the key decides. Deleting a range writes one range tombstone, which hides what is older.
//!
//! **After a power loss** the store holds a prefix of the batches, each whole, with all that was
//! synced. Why:
//!
//! - Logs are flushed in their order, and recovery stops at the first sequence number that is
//!   missing: what is lost is a suffix.
//! - A table and its name are durable before the manifest's edit that names it; the edit is durable
//!   before the tables that it replaces are removed, and a later one before the log is. So damage of the
//!   last edit, which looks like a torn one, takes nothing with it, or is told.
//! - Memtables are written out oldest first: what is in tables is a prefix too.
//! - What is recovered from logs is written out as a table before the store opens, and a fresh
//!   manifest begins: nothing is ever written behind a tail that may be torn, and no file of the
//!   time before is needed but tables.
//!
//! After a failed write or flush of a log or the manifest, the engine refuses all later writes with
//! the same error, and still reads.
//!
//! When maintenance does not keep up, writers help: with too many full memtables, or too many tables of
//! level 0, each write first does one bounded step itself. So memory and the depth of reads are bounded.
//!
//! Reading order: the crate's `batch`, `ranges`, `memtable`, `wal`, `table`, `version`, `manifest`, `source`, `merge`,
//! `compaction` (the choice, pure), `maintain` (carrying it out), `recovery`, `checkpoint`. A future that was begun and is dropped
//! half-way stops the engine if it was writing a log or the manifest.

mod cache;
mod checkpoint;
mod compaction;
mod counters;
mod inspect;
mod maintain;
mod manifest;
mod memtable;
mod merge;
mod ranges;
mod recovery;
mod snapshot;
mod source;
mod table;
mod verify;
mod version;
mod wal;

use std::cell::RefCell;
use std::rc::Rc;

use contract::{
    Batch, Bugs, Durability, Engine, EngineError, EngineStats, Family, Fs, Range, ReadStore, TornTail,
};
use futures::lock::Mutex;
use serde::{Deserialize, Serialize};

use crate::batch::{self, Mutations};
use crate::latch::Latch;
use crate::log_file;
use crate::turn::yield_once;
use cache::BlockCache;
use compaction::Choice;
use counters::Counters;
pub(crate) use inspect::{dump_current, dump_table, tell_edit};
use maintain::Upkeep;
use memtable::{Memtable, View};
pub use snapshot::LsmSnapshot;
use table::Table;
use version::Version;
use wal::Wal;

/// Bytes of lazy batches that may wait in memory before they are handed to the log's file, a page; of a small
/// memtable, a quarter.
const LAZY_BYTES: usize = 4 << 10;
/// Full memtables that may wait; with more, a writer writes one out itself.
const FULL_MEMTABLES: usize = 2;
/// Level 0 may hold so many times the tables that make its compaction due; with more, each write
/// carries the compaction on by a step.
const L0_SLACK: usize = 3;

/// What is written to disk in place of a block of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// The block itself.
    #[default]
    None,
    /// An LZ4 block, where it is shorter.
    Lz4,
}

/// Which tables are merged, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compaction {
    /// Each level is a fixed number of times as large as the one above: few bytes to read, many to write.
    #[default]
    Leveled,
    /// Runs of similar size are merged: few bytes to write, more runs to read.
    Tiered,
}

/// How an [`Lsm`] is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsmOptions {
    /// A memtable is written out once its batches take this many bytes.
    pub memtable_bytes: usize,
    /// The size of a block of a table, about.
    pub block_bytes: usize,
    /// How many tables of level 0 make a compaction due.
    pub l0_tables: usize,
    /// How many bytes the uppermost level below level 0 may hold, if compaction is leveled.
    pub level_bytes: u64,
    /// The size of a table that a compaction writes, about.
    pub table_bytes: usize,
    /// How many times more each level may hold than the one above it, if compaction is leveled; how many runs of
    /// similar size become one, if it is tiered. At least 2.
    pub fanout: u64,
    /// Bits per key of the filters of tables that are written from now on; 0: none have filters.
    pub filter_bits: usize,
    /// Bytes that a compaction reads with one request. An arm wants as many as pass below it while it could
    /// seek.
    pub readahead_bytes: usize,
    /// Bytes of blocks that are kept in memory.
    pub block_cache_bytes: usize,
    /// How blocks of tables that are written from now on are stored.
    pub compression: Compression,
    /// How tables are merged.
    pub compaction: Compaction,
    /// Bugs planted in it.
    pub bugs: Bugs,
}

impl Default for LsmOptions {
    fn default() -> Self {
        Self {
            memtable_bytes: 1 << 20,
            block_bytes: 4 << 10,
            l0_tables: 4,
            level_bytes: 8 << 20,
            table_bytes: 2 << 20,
            fanout: 10,
            filter_bits: 10,
            readahead_bytes: 128 << 10,
            block_cache_bytes: 1 << 20,
            compression: Compression::None,
            compaction: Compaction::Leveled,
            bugs: Bugs::NONE,
        }
    }
}

/// A log-structured merge tree. A clone is another handle on the same one.
pub struct Lsm<F: Fs>(Rc<Shared<F>>);

impl<F: Fs> Clone for Lsm<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Shared<F: Fs> {
    fs: F,
    dir: Rc<str>,
    options: LsmOptions,
    cache: Rc<BlockCache>,
    state: RefCell<State<F>>,
    latch: Latch,
    /// What opening cut off.
    torn_tails: Vec<TornTail>,
    /// Whoever holds it writes and flushes logs.
    logging: Mutex<()>,
    /// Whoever holds it changes the version. Taken before `logging` where both are needed.
    upkeep: Mutex<Upkeep<F>>,
    counters: Rc<Counters>,
}

struct State<F: Fs> {
    /// The last batch that was applied.
    seq: u64,
    /// All batches up to here survive a power loss.
    durable: u64,
    /// All batches up to here are in tables.
    flushed: u64,
    active: Generation<F>,
    /// Oldest first.
    full: Vec<Generation<F>>,
    version: Rc<Version<F>>,
    /// The compaction that the version makes due.
    choice: Option<Choice>,
    /// Tables that the version no longer names; removed once nobody else reads them.
    obsolete: Vec<Rc<Table<F>>>,
    next_file: u64,
}

/// A memtable with its log.
struct Generation<F: Fs> {
    memtable: Rc<Memtable>,
    wal: Rc<Wal<F>>,
}

impl<F: Fs> Clone for Generation<F> {
    fn clone(&self) -> Self {
        Self { memtable: Rc::clone(&self.memtable), wal: Rc::clone(&self.wal) }
    }
}

impl<F: Fs> Generation<F> {
    fn new(dir: &str, number: u64) -> Self {
        Self { memtable: Rc::default(), wal: Rc::new(wal::create(dir, number)) }
    }
}

impl<F: Fs> State<F> {
    fn take_file_number(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// Applies a batch, and begins a new memtable behind it if this one is full.
    fn apply(&mut self, batch: Mutations, dir: &str, memtable_bytes: usize) -> u64 {
        assert!(!batch.is_empty(), "a batch that changes nothing has no number");
        self.seq += 1;
        wal::push(&self.active.wal, self.seq, &batch);
        self.active.memtable.apply(self.seq, batch);
        // The log's bytes count, not the memtable's: overwriting one key fills a log too.
        if self.active.wal.bytes() >= memtable_bytes as u64 {
            let fresh = Generation::new(dir, self.take_file_number());
            assert_eq!(self.active.memtable.last_seq(), self.seq, "a memtable ends with the last batch");
            assert!(self.active.wal.number() < fresh.wal.number(), "numbers of files ascend");
            self.full.push(std::mem::replace(&mut self.active, fresh));
        }
        self.seq
    }
}

impl<F: Fs> Lsm<F> {
    fn count(&self, change: impl FnOnce(&mut EngineStats)) {
        self.0.counters.count(change);
    }

    fn snapshot_now(&self) -> LsmSnapshot<F> {
        let state = self.0.state.borrow();
        let newest_first = [&state.active].into_iter().chain(state.full.iter().rev());
        LsmSnapshot::new(
            newest_first.map(|each| Rc::new(View::new(&each.memtable, state.seq))).collect(),
            Rc::clone(&state.version),
            Rc::clone(&self.0.cache),
        )
    }

    /// Bytes of the tables of each level, level 0 first: what the store takes on the disk, but for logs
    /// and manifest. Compared with the bytes of its pairs, that is the space amplification.
    pub fn level_bytes(&self) -> Vec<u64> {
        let state = self.0.state.borrow();
        let bytes = |level: &Vec<Rc<Table<F>>>| level.iter().map(|table| table.meta.bytes).sum();
        state.version.levels().iter().map(bytes).collect()
    }

    /// Where maintenance does not keep up, whoever writes helps: so memory and reads stay bounded.
    async fn help(&self) -> Result<(), EngineError> {
        let (full, l0_tables) = {
            let state = self.0.state.borrow();
            (state.full.len(), state.version.levels()[0].len())
        };
        if full > FULL_MEMTABLES {
            self.flush_beyond(FULL_MEMTABLES).await?;
        }
        if l0_tables >= self.0.options.l0_tables * L0_SLACK { self.step().await } else { Ok(()) }
    }

    /// Hands all that is buffered to the logs' files, and flushes them if it must. Needs `logging`.
    async fn write_out(
        &self,
        generations: &[Generation<F>],
        durability: Durability,
    ) -> Result<(), EngineError> {
        let logs = generations.iter().map(|generation| &*generation.wal);
        let bytes = log_file::write_out(&self.0.fs, logs, durability).await?;
        self.count(|stats| stats.bytes_written_to_files += bytes);
        Ok(())
    }

    /// The last batch, and the memtables and logs that hold batches up to it, oldest first.
    fn generations(&self) -> Result<(u64, Vec<Generation<F>>), EngineError> {
        let state = self.0.state.borrow();
        self.0.latch.check()?;
        Ok((state.seq, state.full.iter().chain([&state.active]).cloned().collect()))
    }

    /// Hands lazy batches to the log's file once they are many.
    async fn write_out_if_many(&self) -> Result<(), EngineError> {
        let lazy_bytes = LAZY_BYTES.min(self.0.options.memtable_bytes / 4);
        let many = || self.0.state.borrow().active.wal.buffered() >= lazy_bytes;
        if !many() {
            return Ok(());
        }
        let _logging = self.0.logging.lock().await;
        if !many() {
            return Ok(());
        }
        let (_, generations) = self.generations()?;
        self.0.latch.or_shut(self.write_out(&generations, Durability::Lazy)).await
    }

    /// Makes all batches up to `seq` durable. Callers that wait at the same time share a flush.
    async fn sync_up_to(&self, seq: u64) -> Result<(), EngineError> {
        let is_durable = || self.0.state.borrow().durable >= seq;
        if is_durable() {
            return Ok(());
        }
        yield_once().await;
        let _logging = self.0.logging.lock().await;
        if is_durable() {
            return Ok(());
        }
        let (last, generations) = self.generations()?;
        self.0.latch.or_shut(self.write_out(&generations, Durability::Synced)).await?;
        let mut state = self.0.state.borrow_mut();
        state.durable = state.durable.max(last);
        assert!(seq <= state.durable, "a flush covers those who waited for it");
        assert!(state.durable <= state.seq, "what is durable was written");
        Ok(())
    }
}

impl<F: Fs> ReadStore for Lsm<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let key = &batch::inner(family, key)[..];
        let version = {
            let state = self.0.state.borrow();
            if let Some(found) = state.active.memtable.get(key) {
                return Ok(found);
            }
            if let Some(found) = state.full.iter().rev().find_map(|full| full.memtable.get(key)) {
                return Ok(found);
            }
            Rc::clone(&state.version)
        };
        version.get(key, &self.0.cache).await
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        self.snapshot_now().visit(range, limit, pair).await
    }
}

impl<F: Fs> Engine for Lsm<F> {
    type Fs = F;
    type Options = LsmOptions;
    type Snapshot = LsmSnapshot<F>;

    async fn open(fs: &F, dir: &str, options: &LsmOptions) -> Result<Self, EngineError> {
        assert!(options.l0_tables > 0 && options.level_bytes > 0, "a level of no size is always due");
        assert!(options.fanout > 1, "a deeper level holds more than the one above it");
        recovery::open(fs, dir, *options).await
    }

    fn torn_tails(&self) -> &[TornTail] {
        &self.0.torn_tails
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        self.help().await?;
        let seq = {
            let mut state = self.0.state.borrow_mut();
            self.0.latch.check()?;
            let bytes = batch.bytes() as u64;
            let mutations = batch::mutations(batch);
            if mutations.is_empty() {
                state.seq
            } else {
                self.count(|stats| stats.bytes_written_by_callers += bytes);
                state.apply(mutations, &self.0.dir, self.0.options.memtable_bytes)
            }
        };
        match durability {
            Durability::Synced => self.sync_up_to(seq).await,
            Durability::Lazy => self.write_out_if_many().await,
        }
    }

    async fn sync(&self) -> Result<(), EngineError> {
        self.0.latch.check()?;
        let seq = self.0.state.borrow().seq;
        self.sync_up_to(seq).await
    }

    fn snapshot(&self) -> LsmSnapshot<F> {
        self.snapshot_now()
    }

    async fn checkpoint(&self, dir: &str) -> Result<(), EngineError> {
        self.checkpoint_into(dir).await
    }

    async fn maintain(&self) -> Result<bool, EngineError> {
        self.step().await?;
        Ok(self.needs_maintenance())
    }

    fn needs_maintenance(&self) -> bool {
        let state = self.0.state.borrow();
        let unread = |table: &Rc<Table<F>>| Rc::strong_count(table) == 1;
        !state.full.is_empty() || state.choice.is_some() || state.obsolete.iter().any(unread)
    }

    async fn verify(&self) -> Result<(), EngineError> {
        self.verify_all().await
    }

    fn stats(&self) -> EngineStats {
        self.0.counters.stats()
    }
}

//! A log-structured store with an index in memory (Bitcask; Sheehy and Smith, 2010).
//!
//! A batch is appended to the active segment, and an ordered index in memory says where each key's
//! value is: a write costs one append, a read at most one request, and memory grows with the number of
//! keys. It is the baseline that the other engines are measured against.
//!
//! Segments follow each other and hold batches (see the crate's `batch` module), numbered without
//! gaps. Once most of the sealed segments is stale, all of them become one *merged* segment with what
//! still lives, step by step beside readers and writers. It stands for every segment up to its own
//! number, so deletions need not outlive a merge; a *hint* beside it says what it holds, so that opening
//! need not read the values.
//!
//! **After a power loss** the store holds a prefix of the batches, each whole, with all that was
//! synced. Why:
//!
//! - Segments are flushed in their order, and recovery stops at the first batch that is missing; what
//!   stands behind is removed, durably, before anything is written.
//! - A merged segment is complete and durable, and so is every batch that made one of its inputs' values
//!   stale, before a rename gives it its name; only then the inputs go.
//! - A fresh segment begins when a store is opened: nothing is written behind a tail that may be torn.
//!   What was read of the segments before is made durable first, whatever became of earlier flushes.
//!
//! After a failed write or flush the store refuses all later writes with the same error, and still
//! reads.
//!
//! | File | Content |
//! |---|---|
//! | `N.segment` | a log (see the crate's `log` module) of batches, magic `SBlogseg` |
//! | `N.merged` | see `merged` |
//! | `N.hint` | see `merged` |
//! | `N.merging` | a merge that was not completed |
//!
//! Reading order: `index`, `segment`, `recovery`, `merged` (the format), `merge`, `checkpoint`.

mod checkpoint;
mod index;
mod merge;
mod merged;
mod recovery;
mod segment;
mod snapshot;

use std::cell::{Cell, RefCell};
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
use index::{Index, Place};
use merge::Running;
use segment::{Kind, Segment};
pub use snapshot::LogStoreSnapshot;

/// Bytes of lazy batches that may wait in memory before they are handed to the segment's file, a page;
/// of a small segment, a quarter.
const LAZY_BYTES: usize = 4 << 10;

/// How a [`LogStore`] is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStoreOptions {
    /// A segment is sealed once it has this many bytes.
    pub segment_bytes: u64,
    /// Bytes of keys and values that one step of a merge copies.
    pub step_bytes: usize,
    /// Bugs planted in it.
    pub bugs: Bugs,
}

impl Default for LogStoreOptions {
    fn default() -> Self {
        Self { segment_bytes: 1 << 20, step_bytes: 256 << 10, bugs: Bugs::NONE }
    }
}

/// A log-structured store. A clone is another handle on the same one.
pub struct LogStore<F: Fs>(Rc<Shared<F>>);

impl<F: Fs> Clone for LogStore<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Shared<F: Fs> {
    fs: F,
    dir: Rc<str>,
    options: LogStoreOptions,
    state: RefCell<State<F>>,
    latch: Latch,
    /// What opening cut off.
    torn_tails: Vec<TornTail>,
    /// Whoever holds it writes and flushes segments.
    logging: Mutex<()>,
    /// Whoever holds it merges. Taken before `logging` where both are needed.
    merging: Mutex<Option<Running<F>>>,
    stats: Cell<EngineStats>,
}

type Segments<F> = Vec<Rc<Segment<F>>>;

struct State<F: Fs> {
    /// The last batch that was applied.
    seq: u64,
    /// All batches up to here survive a power loss.
    durable: u64,
    /// Copied when it changes while a snapshot shares it.
    index: Rc<Index<F>>,
    active: Rc<Segment<F>>,
    /// Segments that get no more batches, oldest first. The first one may be merged.
    sealed: Segments<F>,
    /// Those of them that may not be durable, oldest first.
    unsynced: Segments<F>,
    /// Segments that a merged one stands for; removed once nobody reads them.
    obsolete: Segments<F>,
    /// Whether a merge is under way.
    merging: bool,
}

impl<F: Fs> State<F> {
    /// Appends a batch, and seals the segment if it is full.
    fn apply(&mut self, batch: Mutations, dir: &str, segment_bytes: u64) -> (u64, bool) {
        assert!(!batch.is_empty(), "a batch that changes nothing has no number");
        self.seq += 1;
        let places = self.active.push(self.seq, &batch);
        Rc::make_mut(&mut self.index).apply(&self.active, batch, places);
        assert!(self.durable < self.seq, "what was just applied is not durable yet");
        let full = self.active.bytes() >= segment_bytes;
        if full {
            let fresh = Rc::new(Segment::new(dir, self.active.number() + 1, segment_bytes));
            let sealed = std::mem::replace(&mut self.active, fresh);
            assert_eq!(sealed.last_seq(), self.seq, "a segment ends with the last batch");
            self.sealed.push(Rc::clone(&sealed));
            self.unsynced.push(sealed);
        }
        (self.seq, full)
    }

    /// Bytes of the sealed segments, and how many of them still live.
    fn sealed_bytes(&self) -> (u64, u64) {
        let bytes = self.sealed.iter().map(|segment| segment.bytes()).sum();
        (bytes, self.sealed.iter().map(|segment| segment.live()).sum())
    }

    /// Whether more than half of the sealed segments is stale, and more than a segment of it.
    fn merge_is_due(&self, options: &LogStoreOptions) -> bool {
        let (bytes, live) = self.sealed_bytes();
        let unmerged = self.sealed.last().is_some_and(|segment| segment.kind() == Kind::Plain);
        unmerged && bytes > live * 2 + options.segment_bytes
    }
}

impl<F: Fs> LogStore<F> {
    fn count(&self, change: impl FnOnce(&mut EngineStats)) {
        let mut stats = self.0.stats.get();
        change(&mut stats);
        self.0.stats.set(stats);
    }

    /// The last batch, and the segments that may not be durable up to it, oldest first.
    fn unsynced(&self) -> Result<(u64, Segments<F>), EngineError> {
        let state = self.0.state.borrow();
        self.0.latch.check()?;
        Ok((state.seq, state.unsynced.iter().chain([&state.active]).cloned().collect()))
    }

    /// Hands all that is buffered to the segments' files, and flushes them if it must. Needs `logging`.
    async fn write_out(
        &self,
        segments: &[Rc<Segment<F>>],
        durability: Durability,
    ) -> Result<(), EngineError> {
        let logs = segments.iter().map(|segment| segment.log());
        let bytes = log_file::write_out(&self.0.fs, logs, durability).await?;
        self.count(|stats| stats.bytes_written_to_files += bytes);
        Ok(())
    }

    /// Hands lazy batches to the segment's file once they are many.
    async fn write_out_if_many(&self) -> Result<(), EngineError> {
        let lazy_bytes = LAZY_BYTES.min(self.0.options.segment_bytes as usize / 4);
        let many = || self.0.state.borrow().active.log().buffered() >= lazy_bytes;
        if !many() {
            return Ok(());
        }
        let _logging = self.0.logging.lock().await;
        if !many() {
            return Ok(());
        }
        let (_, segments) = self.unsynced()?;
        self.0.latch.or_shut(self.write_out(&segments, Durability::Lazy)).await
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
        let (last, segments) = self.unsynced()?;
        self.0.latch.or_shut(self.write_out(&segments, Durability::Synced)).await?;
        let mut state = self.0.state.borrow_mut();
        state.durable = state.durable.max(last);
        let durable = state.durable;
        state.unsynced.retain(|segment| segment.last_seq() > durable);
        assert!(state.unsynced.is_sorted_by_key(|segment| segment.number()), "segments are flushed in order");
        assert!(seq <= durable && durable <= state.seq, "a flush covers those who waited for it");
        Ok(())
    }

    /// The value at a place.
    async fn read(&self, place: &Place<F>) -> Result<Vec<u8>, EngineError> {
        if let Some(value) = place.unwritten() {
            return Ok(value);
        }
        if !place.is_in_file() {
            // It is on its way: whoever writes it holds the lock.
            let _logging = self.0.logging.lock().await;
            if !place.is_in_file() {
                return Err(self.0.latch.check().expect_err("only a failed write stays away"));
            }
        }
        self.count(|stats| stats.bytes_read_from_files += place.len() as u64);
        place.read(&self.0.dir).await
    }

    async fn read_pairs(
        &self,
        found: Vec<(Vec<u8>, Place<F>)>,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        for (key, place) in &found {
            pair(key, &self.read(place).await?);
        }
        Ok(found.len())
    }

    /// Bytes of the store's segments: what it takes on the disk, but for hints.
    pub fn segment_bytes(&self) -> u64 {
        let state = self.0.state.borrow();
        state.sealed_bytes().0 + state.active.bytes()
    }
}

impl<F: Fs> ReadStore for LogStore<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let place = self.0.state.borrow().index.get(&batch::inner(family, key));
        match place {
            Some(place) => self.read(&place).await.map(Some),
            None => Ok(None),
        }
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        let found = self.0.state.borrow().index.scan(range, limit);
        self.read_pairs(found, pair).await
    }
}

impl<F: Fs> Engine for LogStore<F> {
    type Fs = F;
    type Options = LogStoreOptions;
    type Snapshot = LogStoreSnapshot<F>;

    async fn open(fs: &F, dir: &str, options: &LogStoreOptions) -> Result<Self, EngineError> {
        assert!(options.segment_bytes > 0 && options.step_bytes > 0, "a merge of no size never ends");
        recovery::open(fs, dir, *options).await
    }

    fn torn_tails(&self) -> &[TornTail] {
        &self.0.torn_tails
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        let (seq, sealed) = {
            let mut state = self.0.state.borrow_mut();
            self.0.latch.check()?;
            let bytes = batch.bytes() as u64;
            let mutations = batch::mutations(batch);
            if mutations.is_empty() {
                (state.seq, false)
            } else {
                self.count(|stats| stats.bytes_written_by_callers += bytes);
                state.apply(mutations, &self.0.dir, self.0.options.segment_bytes)
            }
        };
        if sealed {
            self.count(|stats| stats.flushes += 1);
        }
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

    fn snapshot(&self) -> LogStoreSnapshot<F> {
        LogStoreSnapshot::new(self.clone(), Rc::clone(&self.0.state.borrow().index))
    }

    async fn checkpoint(&self, dir: &str) -> Result<(), EngineError> {
        self.checkpoint_into(dir).await
    }

    async fn maintain(&self) -> Result<bool, EngineError> {
        self.merge_step().await?;
        Ok(self.needs_maintenance())
    }

    fn needs_maintenance(&self) -> bool {
        let state = self.0.state.borrow();
        let unread = |segment: &Rc<Segment<F>>| Rc::strong_count(segment) == 1;
        state.merging || state.merge_is_due(&self.0.options) || state.obsolete.iter().any(unread)
    }

    async fn verify(&self) -> Result<(), EngineError> {
        // What is not in a file yet cannot be damaged; what is, is checked through the index.
        let places = self.0.state.borrow().index.all();
        for place in places {
            self.read(&place).await?;
        }
        let _logging = self.0.logging.lock().await;
        let segments: Vec<_> = {
            let state = self.0.state.borrow();
            state.sealed.iter().chain([&state.active]).cloned().collect()
        };
        for segment in segments {
            let read = segment.verify(&self.0.dir).await?;
            self.count(|stats| stats.bytes_read_from_files += read);
            if segment.kind() == Kind::Merged {
                self.verify_hint(&segment).await?;
            }
        }
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        self.0.stats.get()
    }
}

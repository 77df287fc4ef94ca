//! A B+tree (Bayer and McCreight, 1972) of pages in one file, with a rollback journal or a write-ahead
//! log, as in SQLite.
//!
//! A batch changes pages in memory, all at once. From time to time all pages that were changed since
//! the last time are written as one *group*: when somebody wants a batch durable, when most of the
//! pool is changed, or by maintenance. A group is of whole batches and in their order, and it is there
//! after a crash as a whole or not at all: so the store is always that of a prefix of the batches. A
//! lazy batch costs memory only; many that change the same page cost one write of it.
//!
//! **Invariants**
//!
//! - A page is used once (by a tree, a chain, or as a page of a fixed place), or is free in the map.
//! - Each tree orders its keys; its leaves have one depth; its branches have two children at least.
//! - A page has its own number and the group that wrote it under its checksum.
//! - A page that was changed stays in memory until a group has written it.
//! - An un-flushed write never touches a sector with anything in it that was promised and is needed:
//!   a sector may turn into anything when the power fails. Pages are whole sectors, and records of logs
//!   are filled up to whole ones.
//!
//! **After a power loss, [`Mode::Rollback`].** A group goes through three flushes: the pages' contents
//! before it, into the journal; the pages, into the data file; the meta page, which has the group's
//! number. Before the first is complete the data file was not touched. Before the third is complete,
//! the meta page is that of the group before or no page at all, and the journal is complete: recovery
//! copies it back. Afterwards the meta page is the new one, and the journal, which is of no later group
//! than the meta page, means nothing. A journal that was damaged is not taken for one that was never
//! complete: then some page in the data file is of a later group than the meta page, and recovery looks
//! for one. A group is promised after its third flush; then the journal is struck out, without a flush,
//! so that a meta page that is damaged later is not taken for one that was torn. Where a process died before
//! that, its last flush may have failed: recovery writes the group again, as the next one.
//!
//! **After a power loss, [`Mode::Wal`].** A group is one record of a log, under one checksum. Logs are
//! flushed in their order, and recovery stops at the first group that is missing: what is lost is a
//! suffix, and nothing of it was promised. Pages of a log go to the data file once the log is full, and
//! flushed, and the log goes once the data file is flushed: until then recovery copies them again, so
//! it matters to nobody what a crash made of them in the data file. Recovery makes durable what it read from
//! logs before it trusts it, copies all of it into the data file, and begins new logs: nothing is written
//! behind a torn tail. A log's header says so if the one before it was durable when it began. When a store is idle, maintenance writes a record that says how much is durable:
//! then damage of the last group is not taken for a torn tail either.
//!
//! **Snapshots** are kept in memory, in both modes; see `snapshot` for why.
//!
//! After a failed write or flush, or one that was dropped half-way, the engine refuses all later writes
//! with the same error, and still reads. A batch whose reading failed is not applied, and the engine goes on.
//!
//! A page is always 512 bytes at least, a sector. A lazy batch never flushes in mode `Wal`; in mode
//! `Rollback` it must when three quarters of the pool are changed, since a page can only be overwritten after its
//! content is safe.
//!
//! Reading order: `page`, `cell`, `header`: what is in the data file, field by field; `pool`, `history`,
//! `load`: what is in memory; `search`, `txn`, `grow`, `shrink`: the tree; `snapshot`: reading;
//! `commit`: groups; `rollback` and `wal`: what makes them durable, with their formats; `recovery`;
//! `maintain`, `vacuum`, `verify`.

mod cell;
mod commit;
mod copy;
mod grow;
mod header;
mod history;
mod inspect;
mod load;
mod maintain;
mod page;
mod pool;
mod recovery;
mod rollback;
mod search;
mod shrink;
mod snapshot;
mod txn;
mod vacuum;
mod verify;
mod wal;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use contract::{
    Batch, Bugs, Change, Durability, Engine, EngineError, EngineStats, Family, Fs, Range, ReadStore, TornTail,
};
use futures::lock::Mutex;
use serde::{Deserialize, Serialize};

use crate::latch::Latch;
use crate::turn::yield_once;
use commit::Bell;
use header::Header;
use history::History;
pub(crate) use inspect::{dump_pages, dump_spent_journal};
use load::{DataFile, Loads};
use page::{Page, PageNo};
use pool::Pool;
use rollback::Rollback;
pub use snapshot::BTreeSnapshot;
use txn::Txn;
use vacuum::Sweep;
use wal::Wals;

/// Changes of a batch that are worth being sorted.
const MANY_CHANGES: usize = 1000;

/// How a [`BTree`] makes its groups durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Pages are written in place, and what they replace goes to a journal before.
    Rollback,
    /// Pages are written to a log, and from there into their places later.
    #[default]
    Wal,
}

/// How a [`BTree`] is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BTreeOptions {
    /// The size of a page in bytes, a power of two from 512 to 32768. A store that exists keeps its own.
    pub page_bytes: usize,
    /// Bytes of pages that are kept in memory; up to three quarters may be changed and not written yet.
    pub pool_bytes: usize,
    /// How groups are made durable. A store may be opened in another mode than before.
    pub mode: Mode,
    /// In mode [`Mode::Wal`], the size in bytes at which a log is full.
    pub wal_bytes: u64,
    /// Bugs planted in it.
    pub bugs: Bugs,
}

impl Default for BTreeOptions {
    fn default() -> Self {
        Self {
            page_bytes: 4 << 10,
            pool_bytes: 8 << 20,
            mode: Mode::default(),
            wal_bytes: 4 << 20,
            bugs: Bugs::NONE,
        }
    }
}

/// A B+tree. A clone is another handle on the same one.
pub struct BTree<F: Fs>(Rc<Shared<F>>);

impl<F: Fs> Clone for BTree<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Shared<F: Fs> {
    fs: F,
    dir: Rc<str>,
    options: BTreeOptions,
    data: DataFile<F>,
    state: RefCell<State<F>>,
    latch: Latch,
    /// What opening cut off.
    torn_tails: Vec<TornTail>,
    /// Whoever holds it applies a batch. Taken last.
    writing: Mutex<()>,
    /// Whoever holds it writes groups and flushes them. The bell rings when somebody lets go of it.
    committing: Mutex<Rollback<F>>,
    bell: Bell,
    /// Whoever holds it does background work. Taken first.
    maintaining: Mutex<Sweep>,
    stats: Cell<EngineStats>,
}

struct State<F: Fs> {
    /// The last batch that was applied.
    seq: u64,
    /// All batches up to here survive a power loss.
    durable: u64,
    /// The last group that was taken.
    group: u64,
    header: Rc<Header>,
    /// The header as of the last group.
    grouped: Rc<Header>,
    pool: Pool,
    /// Pages that were changed since the last group.
    dirty: BTreeSet<PageNo>,
    /// In mode `Rollback`, what the data file has of pages that were changed since the last group.
    originals: Option<BTreeMap<PageNo, Page>>,
    history: History,
    loads: Loads,
    wals: Wals<F>,
}

impl<F: Fs> State<F> {
    /// Whether so much was changed that it must be written before more is.
    fn is_full(&self) -> bool {
        self.dirty.len() >= self.pool.capacity() / 4 * 3
    }
}

/// The changes of a batch in an order that does the same. Many are sorted by their keys: then those of one
/// page come one after the other, and find the page in the processor's caches. What deletes a range stays
/// where it is, between those before it and those behind it.
fn in_key_order(mut changes: Vec<Change>) -> Vec<Change> {
    fn place(change: &Change) -> Option<(Family, &[u8])> {
        match change {
            Change::Put { family, key, .. } | Change::Delete { family, key } => Some((*family, key)),
            Change::DeleteRange { .. } => None,
        }
    }
    if changes.len() >= MANY_CHANGES {
        for run in changes.chunk_by_mut(|a, b| place(a).is_some() && place(b).is_some()) {
            // Changes of one key keep their order: the last one counts.
            run.sort_by(|a, b| place(a).cmp(&place(b)));
        }
    }
    changes
}

impl<F: Fs> BTree<F> {
    fn count(&self, change: impl FnOnce(&mut EngineStats)) {
        let mut stats = self.0.stats.get();
        change(&mut stats);
        self.0.stats.set(stats);
    }

    /// Applies a batch in memory; its number.
    async fn apply(&self, batch: Batch) -> Result<u64, EngineError> {
        let _writing = self.0.writing.lock().await;
        self.0.latch.check()?;
        let bytes = batch.bytes() as u64;
        let mut txn = Txn::new(self);
        for change in in_key_order(batch.changes) {
            match change {
                Change::Put { family, key, value } => txn.put(family, &key, &value).await?,
                Change::Delete { family, key } => txn.delete(family, &key).await?,
                Change::DeleteRange { family, from, to } => {
                    txn.delete_range(family, &from, to.as_deref()).await?;
                }
            }
        }
        txn.commit();
        self.count(|stats| stats.bytes_written_by_callers += bytes);
        Ok(self.0.state.borrow().seq)
    }

    /// Makes all batches up to `seq` durable. Callers that wait at the same time share a flush.
    async fn sync_up_to(&self, seq: u64) -> Result<(), EngineError> {
        let is_durable = || self.0.state.borrow().durable >= seq;
        if is_durable() {
            return Ok(());
        }
        // So that all who are about to write have written.
        yield_once().await;
        while !is_durable() {
            self.0.latch.check()?;
            match self.try_committing() {
                Some(mut committing) => {
                    self.commit(&mut committing, Durability::Synced).await?;
                    assert!(is_durable(), "a flush covers those who waited for it");
                }
                None => self.0.bell.next().await,
            }
        }
        Ok(())
    }
}

impl<F: Fs> ReadStore for BTree<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let at_once = {
            let state = self.0.state.borrow();
            let hits = Cell::new(0);
            let cached = |no| {
                hits.set(hits.get() + 1);
                state.pool.get(no)
            };
            let found = search::get_at_once(state.header.root(family), key, cached);
            // What is not answered is asked again below, and counted there.
            found.inspect(|_| self.count(|stats| stats.cache_hits += hits.get()))
        };
        match at_once {
            Some(found) => Ok(found),
            None => self.snapshot().get_in(family, key).await,
        }
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        self.snapshot().visit(range, limit, pair).await
    }
}

impl<F: Fs> Engine for BTree<F> {
    type Fs = F;
    type Options = BTreeOptions;
    type Snapshot = BTreeSnapshot<F>;

    async fn open(fs: &F, dir: &str, options: &BTreeOptions) -> Result<Self, EngineError> {
        assert!(page::is_page_size(options.page_bytes), "page_bytes is a power of two from 512 to 32768");
        recovery::open(fs, dir, *options).await
    }

    fn torn_tails(&self) -> &[TornTail] {
        &self.0.torn_tails
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        self.catch_up().await?;
        let seq = if batch.is_empty() {
            let state = self.0.state.borrow();
            self.0.latch.check()?;
            state.seq
        } else {
            self.read_ways(&batch).await?;
            self.apply(batch).await?
        };
        match durability {
            Durability::Synced => self.sync_up_to(seq).await,
            Durability::Lazy => Ok(()),
        }
    }

    async fn sync(&self) -> Result<(), EngineError> {
        self.0.latch.check()?;
        let seq = self.0.state.borrow().seq;
        self.sync_up_to(seq).await
    }

    fn snapshot(&self) -> BTreeSnapshot<F> {
        BTreeSnapshot::new(self)
    }

    async fn checkpoint(&self, dir: &str) -> Result<(), EngineError> {
        copy::copy(self, &self.snapshot(), dir).await
    }

    async fn maintain(&self) -> Result<bool, EngineError> {
        self.step().await?;
        Ok(self.needs_maintenance())
    }

    fn needs_maintenance(&self) -> bool {
        self.next_step().is_some()
    }

    async fn verify(&self) -> Result<(), EngineError> {
        verify::verify(self, &self.snapshot()).await
    }

    fn stats(&self) -> EngineStats {
        self.0.stats.get()
    }
}

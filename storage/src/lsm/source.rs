//! One sorted source of a merge: a memtable, or tables in sequence; read in either direction.
//!
//! Ascending, a source is sought to the first key at or behind a bound; descending, to the last key
//! before it.

use std::collections::VecDeque;
use std::ops::Bound;
use std::rc::Rc;

use contract::{EngineError, Fs, Order};

use super::cache::BlockCache;
use super::memtable::View;
use super::ranges::RangeSet;
use super::table::{Block, BlockCursor, ReverseCursor};
use super::version::Run;
use crate::batch::KeyChange;

/// Pairs taken out of a memtable at once: at first, and at most. Each chunk is twice the one before, so that a
/// short scan copies few that it does not return.
const FIRST_CHUNK: usize = 2;
const LARGEST_CHUNK: usize = 256;
/// So many blocks a scan takes one at a time out of each source; then it reads ahead too.
const SINGLE_BLOCKS: usize = 8;
/// Bytes that such a scan reads with one request.
const SCAN_READAHEAD_BYTES: usize = 32 << 10;

/// How a source gets its blocks.
#[derive(Clone)]
pub(super) enum Blocks {
    /// At first one at a time through the cache: for scans. What a long one reads passes the cache by.
    Cached(Rc<BlockCache>),
    /// So many bytes at once and beside the cache: for compactions, which ascend.
    Ahead(usize),
}

pub(super) enum Source<F: Fs> {
    Memory(MemorySource),
    Tables(TableSource<F>),
}

/// A memtable as of a sequence number.
pub(super) struct MemorySource {
    view: Rc<View>,
    order: Order,
    chunk: VecDeque<KeyChange>,
    /// How many pairs the next chunk has.
    next_chunk: usize,
}

impl MemorySource {
    fn seek(&mut self, bound: &[u8]) {
        self.next_chunk = FIRST_CHUNK;
        self.take(Bound::Included(bound));
    }

    /// Takes a chunk from a bound on or, descending, before it.
    fn take(&mut self, bound: Bound<&[u8]>) {
        let pairs = match self.order {
            Order::Ascending => self.view.after(bound, self.next_chunk),
            Order::Descending => {
                let (Bound::Included(to) | Bound::Excluded(to)) = bound else {
                    unreachable!("there is a bound")
                };
                self.view.before(to, self.next_chunk)
            }
        };
        self.chunk = pairs.into();
        self.next_chunk = LARGEST_CHUNK.min(self.next_chunk * 2);
    }

    fn advance(&mut self) {
        let Some((last, _)) = self.chunk.pop_front() else { return };
        if self.chunk.is_empty() {
            self.take(Bound::Excluded(&last));
        }
    }
}

/// A place in a block, for either direction.
enum Cursor {
    Forward(BlockCursor),
    Backward(ReverseCursor),
}

type Malformed = &'static str;

impl Cursor {
    fn at_end(&self) -> bool {
        match self {
            Self::Forward(cursor) => cursor.at_end(),
            Self::Backward(cursor) => cursor.at_end(),
        }
    }

    fn entry<'a>(&'a self, block: &'a Block) -> (&'a [u8], Option<&'a [u8]>) {
        match self {
            Self::Forward(cursor) => (cursor.key(), cursor.value(block)),
            Self::Backward(cursor) => (cursor.key(), cursor.value(block)),
        }
    }

    /// Goes to the end of a block where its direction begins.
    fn enter(&mut self, block: &Block) -> Result<(), Malformed> {
        match self {
            Self::Forward(cursor) => cursor.first(block),
            Self::Backward(cursor) => cursor.last(block),
        }
    }

    fn seek(&mut self, block: &Block, bound: &[u8]) -> Result<(), Malformed> {
        match self {
            Self::Forward(cursor) => cursor.seek(block, bound),
            Self::Backward(cursor) => cursor.seek(block, bound),
        }
    }

    fn advance(&mut self, block: &Block) -> Result<(), Malformed> {
        match self {
            Self::Forward(cursor) => cursor.advance(block),
            Self::Backward(cursor) => cursor.advance(block),
        }
    }
}

/// The tables of a run.
pub(super) struct TableSource<F: Fs> {
    run: Rc<Run<F>>,
    blocks: Blocks,
    order: Order,
    /// The table that is being read, while `fetched` holds blocks of it.
    table: usize,
    /// Consecutive blocks of it; the first one is being read. Empty once all is read.
    fetched: VecDeque<Rc<Block>>,
    /// The number of the block that is being read.
    block: usize,
    /// Blocks that were fetched one at a time.
    singles: usize,
    cursor: Cursor,
}

impl<F: Fs> TableSource<F> {
    /// Fetches the current block, where one at a time or many.
    async fn fetch(&mut self) -> Result<(), EngineError> {
        let table = &self.run.tables[self.table];
        assert!(self.block < table.blocks(), "a block that is fetched exists");
        let ahead = match &self.blocks {
            Blocks::Cached(cache) if self.singles < SINGLE_BLOCKS || self.order == Order::Descending => {
                self.singles += 1;
                self.fetched.push_back(table.block(self.block, cache).await?);
                return Ok(());
            }
            Blocks::Cached(_) => SCAN_READAHEAD_BYTES,
            Blocks::Ahead(bytes) => *bytes,
        };
        self.fetched.extend(table.run(self.block, ahead).await?);
        Ok(())
    }

    fn malformed(&self, what: Malformed) -> EngineError {
        self.run.tables[self.table].corrupt_block(self.block, what)
    }

    /// Table and block where the bound is, if the source goes so far.
    fn place_of(&self, bound: &[u8]) -> Option<(usize, usize)> {
        match self.order {
            Order::Ascending => {
                let table = self.run.tables.partition_point(|table| table.meta.end.as_slice() <= bound);
                let block = self.run.tables.get(table)?.block_of(bound);
                // Behind a table's last key there may be a range tombstone of it.
                if block < self.run.tables[table].blocks() {
                    Some((table, block))
                } else {
                    self.table_from(table + 1)
                }
            }
            Order::Descending => {
                let behind = self.run.tables.partition_point(|table| table.meta.smallest.as_slice() < bound);
                let table = behind.checked_sub(1)?;
                let last = self.run.tables[table].blocks().checked_sub(1);
                match last {
                    Some(last) => Some((table, self.run.tables[table].block_of(bound).min(last))),
                    None => self.table_before(table),
                }
            }
        }
    }

    /// The first block of the first table from `table` on that has any.
    fn table_from(&self, table: usize) -> Option<(usize, usize)> {
        let table = (table..self.run.tables.len()).find(|table| self.run.tables[*table].blocks() > 0)?;
        Some((table, 0))
    }

    /// The last block of the last table before `table` that has any.
    fn table_before(&self, table: usize) -> Option<(usize, usize)> {
        let table = (0..table).rev().find(|table| self.run.tables[*table].blocks() > 0)?;
        Some((table, self.run.tables[table].blocks() - 1))
    }

    async fn seek(&mut self, bound: &[u8]) -> Result<(), EngineError> {
        let Some((table, block)) = self.place_of(bound) else {
            self.fetched.clear();
            return Ok(());
        };
        let ahead = block.wrapping_sub(self.block);
        if table == self.table && block >= self.block && ahead < self.fetched.len() {
            self.fetched.drain(..ahead);
        } else {
            self.fetched.clear();
        }
        (self.table, self.block) = (table, block);
        if self.fetched.is_empty() {
            self.fetch().await?;
        }
        let sought = self.cursor.seek(&self.fetched[0], bound);
        sought.map_err(|what| self.malformed(what))?;
        self.skip_ends().await
    }

    async fn advance(&mut self) -> Result<(), EngineError> {
        assert!(!self.cursor.at_end(), "a source that stands at an entry can leave it");
        let advanced = self.cursor.advance(&self.fetched[0]);
        advanced.map_err(|what| self.malformed(what))?;
        self.skip_ends().await
    }

    /// The place behind the current block, in the source's direction.
    fn next_place(&self) -> Option<(usize, usize)> {
        match self.order {
            Order::Ascending if self.block + 1 < self.run.tables[self.table].blocks() => {
                Some((self.table, self.block + 1))
            }
            Order::Ascending => self.table_from(self.table + 1),
            Order::Descending if self.block > 0 => Some((self.table, self.block - 1)),
            Order::Descending => self.table_before(self.table),
        }
    }

    /// At the end of a block, goes to the next one.
    async fn skip_ends(&mut self) -> Result<(), EngineError> {
        while self.cursor.at_end() {
            self.fetched.pop_front();
            let Some((table, block)) = self.next_place() else {
                assert!(self.fetched.is_empty(), "no block is fetched beyond the last");
                return Ok(());
            };
            assert!(table == self.table || self.fetched.is_empty(), "no block is fetched beyond its table");
            (self.table, self.block) = (table, block);
            if self.fetched.is_empty() {
                self.fetch().await?;
            }
            let entered = self.cursor.enter(&self.fetched[0]);
            entered.map_err(|what| self.malformed(what))?;
        }
        Ok(())
    }

    fn covering(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let table = self.run.tables.partition_point(|table| table.meta.end.as_slice() <= key);
        self.run.tables.get(table)?.ranges().covering(key)
    }
}

impl<F: Fs> Source<F> {
    pub(super) fn memory(view: Rc<View>, order: Order) -> Self {
        Self::Memory(MemorySource { view, order, chunk: VecDeque::new(), next_chunk: FIRST_CHUNK })
    }

    pub(super) fn tables(run: Rc<Run<F>>, blocks: Blocks, order: Order) -> Self {
        let cursor = match order {
            Order::Ascending => Cursor::Forward(BlockCursor::default()),
            Order::Descending => {
                assert!(matches!(blocks, Blocks::Cached(_)), "compactions ascend");
                Cursor::Backward(ReverseCursor::default())
            }
        };
        let fetched = VecDeque::new();
        Self::Tables(TableSource { run, blocks, order, table: 0, fetched, block: 0, singles: 0, cursor })
    }

    /// The entry it stands at; no value is a tombstone.
    pub(super) fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        match self {
            Self::Memory(memory) => {
                memory.chunk.front().map(|(key, value)| (key.as_slice(), value.as_deref()))
            }
            Self::Tables(tables) => tables.fetched.front().map(|block| tables.cursor.entry(block)),
        }
    }

    pub(super) async fn seek(&mut self, bound: &[u8]) -> Result<(), EngineError> {
        match self {
            Self::Memory(memory) => {
                memory.seek(bound);
                Ok(())
            }
            Self::Tables(tables) => tables.seek(bound).await,
        }
    }

    pub(super) async fn advance(&mut self) -> Result<(), EngineError> {
        match self {
            Self::Memory(memory) => {
                memory.advance();
                Ok(())
            }
            Self::Tables(tables) => tables.advance().await,
        }
    }

    /// Whether it has any range tombstone.
    pub(super) fn has_ranges(&self) -> bool {
        match self {
            Self::Memory(memory) => !memory.view.ranges().is_empty(),
            Self::Tables(tables) => tables.run.has_ranges,
        }
    }

    /// The range tombstone of this source that covers a key.
    pub(super) fn covering(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Memory(memory) => memory.view.ranges().covering(key),
            Self::Tables(tables) => tables.covering(key),
        }
    }

    /// Adds its range tombstones to a set.
    pub(super) fn collect_ranges(&self, set: &mut RangeSet) {
        match self {
            Self::Memory(memory) => set.extend(memory.view.ranges()),
            Self::Tables(tables) => tables.run.tables.iter().for_each(|table| set.extend(table.ranges())),
        }
    }
}

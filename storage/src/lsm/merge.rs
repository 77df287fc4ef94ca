//! Many sorted sources read as one: of equal keys the newest source's entry counts.

use std::collections::VecDeque;
use std::ops::Bound;
use std::rc::Rc;

use contract::{EngineError, Fs};

use super::cache::BlockCache;
use super::memtable::{Memtable, Pair};
use super::table::{Block, BlockCursor, Table};

/// Pairs taken out of a memtable at once.
const MEMORY_CHUNK: usize = 64;
/// Bytes that a compaction reads with one request.
const READAHEAD_BYTES: usize = 128 << 10;

/// How a source gets its blocks.
#[derive(Clone)]
pub(super) enum Blocks {
    /// One at a time through the cache: for scans.
    Cached(Rc<BlockCache>),
    /// Many at once and beside the cache: for compactions.
    Ahead,
}

/// One sorted source.
pub(super) enum Source<F: Fs> {
    Memory(MemorySource),
    Tables(TableSource<F>),
}

/// A memtable as of a sequence number.
pub(super) struct MemorySource {
    table: Rc<Memtable>,
    seq: u64,
    chunk: VecDeque<Pair>,
}

/// Tables with disjoint ranges, in key order.
pub(super) struct TableSource<F: Fs> {
    tables: Vec<Rc<Table<F>>>,
    blocks: Blocks,
    /// The table that is being read; all are read if it is none of them.
    table: usize,
    /// Blocks of it that were fetched; the first one is being read.
    fetched: VecDeque<Rc<Block>>,
    /// The number of the block that is being read.
    block: usize,
    cursor: BlockCursor,
}

impl MemorySource {
    fn refill(&mut self, from: Bound<&[u8]>) {
        self.chunk = self.table.range_at(from, self.seq, MEMORY_CHUNK).into();
    }

    fn advance(&mut self) {
        let Some((last, _)) = self.chunk.pop_front() else { return };
        if self.chunk.is_empty() {
            self.refill(Bound::Excluded(&last));
        }
    }
}

impl<F: Fs> TableSource<F> {
    /// Fetches block `block` of the current table, where one at a time or many.
    async fn fetch(&mut self) -> Result<(), EngineError> {
        let table = &self.tables[self.table];
        assert!(self.block < table.blocks(), "a block that is fetched exists");
        match &self.blocks {
            Blocks::Cached(cache) => self.fetched.push_back(table.block(self.block, cache).await?),
            Blocks::Ahead => self.fetched.extend(table.run(self.block, READAHEAD_BYTES).await?),
        }
        Ok(())
    }

    fn malformed(&self, what: &'static str) -> EngineError {
        self.tables[self.table].corrupt_block(self.block, what)
    }

    async fn seek(&mut self, from: &[u8]) -> Result<(), EngineError> {
        self.fetched.clear();
        self.table = self.tables.partition_point(|table| table.meta.largest.as_slice() < from);
        let Some(table) = self.tables.get(self.table) else { return Ok(()) };
        self.block = table.block_of(from);
        if self.block == table.blocks() {
            return Err(self.malformed("the index ends before the table's largest key"));
        }
        self.fetch().await?;
        let sought = self.cursor.seek(&self.fetched[0], from);
        sought.map_err(|what| self.malformed(what))?;
        self.skip_ends().await
    }

    async fn advance(&mut self) -> Result<(), EngineError> {
        assert!(!self.cursor.at_end(), "a source that stands at an entry can leave it");
        let advanced = self.cursor.advance(&self.fetched[0]);
        advanced.map_err(|what| self.malformed(what))?;
        self.skip_ends().await
    }

    /// At the end of a block, goes to the first entry of the next one.
    async fn skip_ends(&mut self) -> Result<(), EngineError> {
        while self.cursor.at_end() {
            self.fetched.pop_front();
            self.block += 1;
            if self.block == self.tables[self.table].blocks() {
                assert!(self.fetched.is_empty(), "no block is fetched beyond its table");
                (self.table, self.block) = (self.table + 1, 0);
                if self.table == self.tables.len() {
                    return Ok(());
                }
            }
            if self.fetched.is_empty() {
                self.fetch().await?;
            }
            let first = self.cursor.first(&self.fetched[0]);
            first.map_err(|what| self.malformed(what))?;
        }
        Ok(())
    }
}

impl<F: Fs> Source<F> {
    pub(super) fn memory(table: Rc<Memtable>, seq: u64) -> Self {
        Self::Memory(MemorySource { table, seq, chunk: VecDeque::new() })
    }

    pub(super) fn tables(tables: Vec<Rc<Table<F>>>, blocks: Blocks) -> Self {
        assert!(
            tables.is_sorted_by(|a, b| a.meta.largest < b.meta.smallest),
            "tables that are read in sequence stand in key order"
        );
        Self::Tables(TableSource {
            tables,
            blocks,
            table: 0,
            fetched: VecDeque::new(),
            block: 0,
            cursor: BlockCursor::default(),
        })
    }

    fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        match self {
            Self::Memory(memory) => {
                memory.chunk.front().map(|(key, value)| (key.as_slice(), value.as_deref()))
            }
            Self::Tables(tables) => {
                tables.fetched.front().map(|block| (tables.cursor.key(), tables.cursor.value(block)))
            }
        }
    }

    async fn seek(&mut self, from: &[u8]) -> Result<(), EngineError> {
        match self {
            Self::Memory(memory) => {
                memory.refill(Bound::Included(from));
                Ok(())
            }
            Self::Tables(tables) => tables.seek(from).await,
        }
    }

    async fn advance(&mut self) -> Result<(), EngineError> {
        match self {
            Self::Memory(memory) => {
                memory.advance();
                Ok(())
            }
            Self::Tables(tables) => tables.advance().await,
        }
    }
}

/// The sources as one, tombstones included.
pub(super) struct Merge<F: Fs> {
    /// Newest first.
    sources: Vec<Source<F>>,
    /// The first of the sources that stand at the smallest key.
    lead: Option<usize>,
}

impl<F: Fs> Merge<F> {
    /// Begins at the first key at or behind `from`. `sources` are newest first.
    pub(super) async fn new(mut sources: Vec<Source<F>>, from: &[u8]) -> Result<Self, EngineError> {
        for source in &mut sources {
            source.seek(from).await?;
        }
        let mut merge = Self { sources, lead: None };
        merge.choose();
        Ok(merge)
    }

    fn choose(&mut self) {
        let keys = self.sources.iter().enumerate().filter_map(|(i, s)| Some((s.current()?.0, i)));
        self.lead = keys.min().map(|(_, source)| source);
    }

    /// The entry it stands at; no value is a tombstone.
    pub(super) fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.sources[self.lead?].current()
    }

    /// Goes to the next key.
    pub(super) async fn advance(&mut self) -> Result<(), EngineError> {
        let lead = self.lead.expect("only who stands at an entry can leave it");
        assert!(lead < self.sources.len(), "the lead is a source");
        let (newer, older) = self.sources.split_at_mut(lead + 1);
        let passed = newer[lead].current().expect("the lead stands at an entry").0;
        for source in older {
            // A source holds a key once.
            if source.current().is_some_and(|(key, _)| key == passed) {
                source.advance().await?;
            }
        }
        newer[lead].advance().await?;
        self.choose();
        Ok(())
    }
}

//! Sorted tables: immutable files of keys in order, one version of each.
//!
//! A table needs no sequence numbers: it is older than every table and memtable above it, and a
//! snapshot pins the tables it reads. A file is named by its number in ten digits and `.table`.
//! All fixed numbers are little-endian.
//!
//! | Section | Bytes | |
//! |---|---|---|
//! | blocks | … | see the `block` module; back to back from offset 0 |
//! | range tombstones | … | per range, ascending: its first key, the first key behind it, each behind its length (varint) |
//! | their checksum | 4 | CRC32C of them, started from (table number, their offset) |
//! | filter | … | see the `filter` module |
//! | filter checksum | 4 | CRC32C of the filter, started from (table number, its offset) |
//! | index | … | per block: its last key behind its length (varint), its length with checksum (varint) |
//! | index checksum | 4 | as the filter's |
//! | footer | 64 | |
//!
//! | Footer | | |
//! |---|---|---|
//! | 0 | 8 | offset of the range tombstones = end of the blocks |
//! | 8 | 8 | offset of the filter |
//! | 16 | 8 | offset of the index |
//! | 24 | 8 | entries, tombstones included |
//! | 32 | 8 | tombstones of single keys |
//! | 40 | 4 | blocks |
//! | 44 | 4 | format version, 3 |
//! | 48 | 8 | magic `SBtable\n` |
//! | 56 | 4 | zero |
//! | 60 | 4 | CRC32C of bytes 0 to 60, started from (table number, footer offset) |

mod block;
mod builder;
mod dump;
mod filter;

use std::rc::Rc;

use contract::{EngineError, File, Fs, FsError, OpenMode};

use crate::encoding::Input;
use crate::lsm::cache::{BlockCache, Slots};
use crate::lsm::counters::Counters;
use crate::lsm::ranges::RangeSet;
use crate::read::read_at;
use block::placed_checksum;
pub(in crate::lsm) use block::{Block, BlockCursor, ReverseCursor};
use builder::successor;
pub(in crate::lsm) use builder::{BuiltTable, TableBuilder};
pub(in crate::lsm) use dump::dump;
pub(in crate::lsm) use filter::hash as filter_hash;

const FOOTER_BYTES: usize = 64;
const FORMAT_VERSION: u32 = 3;
const MAGIC: &[u8; 8] = b"SBtable\n";

/// What the manifest says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lsm) struct TableMeta {
    pub(in crate::lsm) number: u64,
    pub(in crate::lsm) bytes: u64,
    /// Of keys and of ranges.
    pub(in crate::lsm) tombstones: u64,
    /// The first key, or where a range tombstone begins before it.
    pub(in crate::lsm) smallest: Vec<u8>,
    /// Behind the last key and the last range tombstone.
    pub(in crate::lsm) end: Vec<u8>,
}

/// Where a table is kept.
pub(in crate::lsm) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{number:010}.table")
}

/// Which block holds which keys. All last keys stand in one piece of memory: a search touches little of it.
struct Index {
    keys: Vec<u8>,
    entries: Vec<IndexEntry>,
}

struct IndexEntry {
    /// Where the block's last key ends in `keys`; it begins where the one before it ends.
    key_end: usize,
    offset: u64,
    len: usize,
}

impl Index {
    fn last_key(&self, block: usize) -> &[u8] {
        let start = block.checked_sub(1).map_or(0, |before| self.entries[before].key_end);
        &self.keys[start..self.entries[block].key_end]
    }

    /// The first block whose last key is not before `key`; behind the last one if all are.
    fn block_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.last_key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// An open table.
pub(in crate::lsm) struct Table<F: Fs> {
    pub(in crate::lsm) meta: TableMeta,
    path: Rc<str>,
    file: F::File,
    ranges: RangeSet,
    filter: Vec<u8>,
    index: Index,
    slots: Slots,
    entries: u64,
    key_tombstones: u64,
    counters: Rc<Counters>,
}

fn corrupt(path: &Rc<str>, offset: u64, what: &'static str) -> EngineError {
    EngineError::Corrupt { file: Rc::clone(path), offset, what }
}

async fn read_exactly(
    file: &impl File,
    path: &Rc<str>,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, EngineError> {
    let bytes = read_at(file, offset, len).await?;
    if bytes.len() != len {
        return Err(corrupt(path, offset, "file is cut short"));
    }
    Ok(bytes)
}

impl<F: Fs> Table<F> {
    /// Opens a table and reads its range tombstones, filter and index.
    pub(in crate::lsm) async fn open(
        fs: &F,
        dir: &str,
        meta: TableMeta,
        counters: &Rc<Counters>,
    ) -> Result<Self, EngineError> {
        let path: Rc<str> = path(dir, meta.number).into();
        let file = match fs.open(&path, OpenMode::Existing).await {
            Ok(file) => file,
            Err(FsError::NotFound { .. }) => return Err(corrupt(&path, 0, "table is missing")),
            Err(error) => return Err(error.into()),
        };
        let Some(footer_at) = meta.bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(corrupt(&path, 0, "file is cut short"));
        };
        let footer = read_exactly(&file, &path, footer_at, FOOTER_BYTES).await?;
        let footer =
            Footer::parse(meta.number, footer_at, &footer).map_err(|what| corrupt(&path, footer_at, what))?;
        let tail =
            read_exactly(&file, &path, footer.ranges_at, (footer_at - footer.ranges_at) as usize).await?;
        counters.count(|stats| stats.bytes_read_from_files += (tail.len() + FOOTER_BYTES) as u64);
        let section = |from: u64, to: u64, what| {
            let section = &tail[(from - footer.ranges_at) as usize..(to - footer.ranges_at) as usize];
            checked_section(meta.number, from, section).ok_or_else(|| corrupt(&path, from, what))
        };
        let ranges =
            section(footer.ranges_at, footer.filter_at, "checksum of range tombstones does not match")?;
        let filter = section(footer.filter_at, footer.index_at, "filter checksum does not match")?.to_vec();
        let index = section(footer.index_at, footer_at, "index checksum does not match")?;
        let ranges = parse_ranges(ranges)
            .ok_or_else(|| corrupt(&path, footer.ranges_at, "range tombstones are malformed"))?;
        if !filter::is_sound(&filter) {
            return Err(corrupt(&path, footer.filter_at, "filter is malformed"));
        }
        let index = parse_index(index, footer.ranges_at, footer.blocks)
            .ok_or_else(|| corrupt(&path, footer.index_at, "index is malformed"))?;
        let (entries, key_tombstones) = (footer.entries, footer.key_tombstones);
        let table = Self {
            meta,
            path,
            file,
            ranges,
            filter,
            slots: Slots::new(index.entries.len()),
            index,
            entries,
            key_tombstones,
            counters: Rc::clone(counters),
        };
        match table.flaw() {
            Some(what) => Err(corrupt(&table.path, footer_at, what)),
            None => Ok(table),
        }
    }

    /// What contradicts the manifest in all but the blocks.
    fn flaw(&self) -> Option<&'static str> {
        let last = self.blocks().checked_sub(1);
        let keys_end = last.map(|last| successor(self.index.last_key(last)));
        let ranges = self.ranges.hull();
        let end = keys_end.as_deref().into_iter().chain(ranges.map(|(_, to)| to)).max();
        if end != Some(self.meta.end.as_slice()) {
            return Some("the table ends elsewhere than the manifest says");
        }
        if ranges.is_some_and(|(from, _)| from < self.meta.smallest.as_slice()) {
            return Some("a range tombstone begins before the table");
        }
        let tombstones = self.key_tombstones + self.ranges.len() as u64;
        (tombstones != self.meta.tombstones).then_some("the manifest counts other tombstones")
    }

    /// Its range tombstones; they hide nothing of this table.
    pub(in crate::lsm) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    pub(in crate::lsm) fn key_tombstones(&self) -> u64 {
        self.key_tombstones
    }

    pub(in crate::lsm) fn blocks(&self) -> usize {
        self.index.entries.len()
    }

    pub(in crate::lsm) fn entries(&self) -> u64 {
        self.entries
    }

    pub(in crate::lsm) fn may_contain(&self, hash: u64) -> bool {
        filter::may_contain(&self.filter, hash)
    }

    /// An error that names this table.
    pub(in crate::lsm) fn corrupt_block(&self, block: usize, what: &'static str) -> EngineError {
        corrupt(&self.path, self.index.entries.get(block).map_or(0, |entry| entry.offset), what)
    }

    /// The block that holds `key` if any does; `blocks()` if all keys are smaller.
    pub(in crate::lsm) fn block_of(&self, key: &[u8]) -> usize {
        self.index.block_of(key)
    }

    /// Reads a block through the cache.
    pub(in crate::lsm) async fn block(
        &self,
        block: usize,
        cache: &BlockCache,
    ) -> Result<Rc<Block>, EngineError> {
        if let Some(cached) = cache.get(&self.slots, block) {
            return Ok(cached);
        }
        let mut run = self.run(block, 0).await?;
        let read = run.pop().expect("a run has at least one block");
        cache.insert(&self.slots, block, &read);
        Ok(read)
    }

    /// Reads consecutive blocks from `first` on with one request: at least one, and no more once
    /// `bytes` are reached.
    pub(in crate::lsm) async fn run(
        &self,
        first: usize,
        bytes: usize,
    ) -> Result<Vec<Rc<Block>>, EngineError> {
        let index = &self.index.entries;
        assert!(first < index.len(), "a block that is read exists");
        let start = index[first].offset;
        let mut end = first + 1;
        while end < index.len() && index[end].offset - start < bytes as u64 {
            end += 1;
        }
        let entries = &index[first..end];
        let len = entries.iter().map(|entry| entry.len).sum();
        assert!(start + len as u64 <= self.meta.bytes, "blocks are inside their file");
        let read = read_exactly(&self.file, &self.path, start, len).await?;
        self.counters.count(|stats| stats.bytes_read_from_files += len as u64);
        if let [only] = entries {
            return self.checked_block(only, read).map(|block| vec![block]);
        }
        let blocks = entries.iter().map(|entry| {
            let at = (entry.offset - start) as usize;
            self.checked_block(entry, read[at..at + entry.len].to_vec())
        });
        blocks.collect()
    }

    fn checked_block(&self, entry: &IndexEntry, bytes: Vec<u8>) -> Result<Rc<Block>, EngineError> {
        Block::new(self.meta.number, entry.offset, bytes)
            .map(Rc::new)
            .map_err(|what| corrupt(&self.path, entry.offset, what))
    }

    /// The value of a key in this table: `Some(None)` is a tombstone.
    pub(in crate::lsm) async fn get(
        &self,
        key: &[u8],
        hash: u64,
        cache: &BlockCache,
    ) -> Result<Option<Option<Vec<u8>>>, EngineError> {
        if key < self.meta.smallest.as_slice() || key >= self.meta.end.as_slice() {
            return Ok(None);
        }
        if let Some(found) = self.get_key(key, hash, cache).await? {
            return Ok(Some(found));
        }
        // A key of this table was written after its range tombstones.
        Ok(self.ranges.covering(key).map(|_| None))
    }

    async fn get_key(
        &self,
        key: &[u8],
        hash: u64,
        cache: &BlockCache,
    ) -> Result<Option<Option<Vec<u8>>>, EngineError> {
        if !self.may_contain(hash) {
            return Ok(None);
        }
        let number = self.block_of(key);
        if number == self.blocks() {
            return Ok(None);
        }
        let block = self.block(number, cache).await?;
        let found = block.get(key).map_err(|what| self.corrupt_block(number, what))?;
        Ok(found.map(|value| value.map(<[u8]>::to_vec)))
    }
}

struct Footer {
    ranges_at: u64,
    filter_at: u64,
    index_at: u64,
    entries: u64,
    key_tombstones: u64,
    blocks: usize,
}

impl Footer {
    /// Checks the footer of table `number` as read from offset `at`.
    fn parse(number: u64, at: u64, footer: &[u8]) -> Result<Self, &'static str> {
        let checked = FOOTER_BYTES - 4;
        if Input::new(footer, checked).u32() != Some(placed_checksum(number, at, &footer[..checked])) {
            return Err("footer checksum does not match");
        }
        if footer[48..56] != *MAGIC {
            return Err("footer is no table's");
        }
        let mut input = Input::new(footer, 0);
        let mut number = || input.u64().ok_or("footer is cut short");
        let (ranges_at, filter_at, index_at) = (number()?, number()?, number()?);
        let (entries, key_tombstones) = (number()?, number()?);
        let (Some(blocks), Some(version)) = (input.u32(), input.u32()) else {
            return Err("footer is cut short");
        };
        if version != FORMAT_VERSION {
            return Err("table has another format version");
        }
        if ranges_at > filter_at || filter_at > index_at || index_at > at || key_tombstones > entries {
            return Err("footer has impossible numbers");
        }
        let blocks = blocks as usize;
        Ok(Self { ranges_at, filter_at, index_at, entries, key_tombstones, blocks })
    }
}

fn parse_ranges(section: &[u8]) -> Option<RangeSet> {
    let mut input = Input::new(section, 0);
    let mut ranges = RangeSet::default();
    let mut last: Option<&[u8]> = None;
    while !input.is_empty() {
        let (from, to) = (input.bytes()?, input.bytes()?);
        if from >= to || last.is_some_and(|last| last >= from) {
            return None;
        }
        ranges.insert(from, to);
        last = Some(to);
    }
    Some(ranges)
}

fn checked_section(number: u64, offset: u64, section: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = section.split_at_checked(section.len().checked_sub(4)?)?;
    let expected = placed_checksum(number, offset, content).to_le_bytes();
    (checksum == expected).then_some(content)
}

fn parse_index(bytes: &[u8], blocks_end: u64, blocks: usize) -> Option<Index> {
    let mut input = Input::new(bytes, 0);
    let mut index = Index { keys: Vec::new(), entries: Vec::new() };
    let mut offset = 0;
    while !input.is_empty() {
        index.keys.extend_from_slice(input.bytes()?);
        let len = input.length()?;
        index.entries.push(IndexEntry { key_end: index.keys.len(), offset, len });
        offset += len as u64;
    }
    (offset == blocks_end && index.entries.len() == blocks).then_some(index)
}

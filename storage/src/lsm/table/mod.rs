//! Sorted tables: immutable files of keys in order, one version of each.
//!
//! A table needs no sequence numbers: it is older than every table and memtable above it, and a
//! snapshot pins the tables it reads. A file is named by its number in ten digits and `.table`.
//! All fixed numbers are little-endian.
//!
//! | Section | Bytes | |
//! |---|---|---|
//! | blocks | … | see the `block` module; back to back from offset 0 |
//! | filter | … | see the `filter` module |
//! | filter checksum | 4 | CRC32C of the filter, started from (table number, its offset) |
//! | index | … | per block: its last key behind its length (varint), its length with checksum (varint) |
//! | index checksum | 4 | as the filter's |
//! | footer | 48 | |
//!
//! | Footer | | |
//! |---|---|---|
//! | 0 | 8 | offset of the filter = end of the blocks |
//! | 8 | 8 | offset of the index |
//! | 16 | 8 | entries, tombstones included |
//! | 24 | 4 | blocks |
//! | 28 | 4 | format version, 1 |
//! | 32 | 8 | magic `SBtable\n` |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC32C of bytes 0 to 44, started from (table number, footer offset) |

mod block;
mod builder;
mod filter;

use std::rc::Rc;

use contract::{EngineError, File, Fs, FsError, OpenMode};

use crate::encoding::Input;
use crate::lsm::cache::BlockCache;
use crate::read::read_at;
use block::placed_checksum;
pub(in crate::lsm) use block::{Block, BlockCursor};
pub(in crate::lsm) use builder::{BuiltTable, TableBuilder};
pub(in crate::lsm) use filter::hash as filter_hash;

const FOOTER_BYTES: usize = 48;
const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"SBtable\n";

/// What the manifest says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lsm) struct TableMeta {
    pub(in crate::lsm) number: u64,
    pub(in crate::lsm) bytes: u64,
    pub(in crate::lsm) smallest: Vec<u8>,
    pub(in crate::lsm) largest: Vec<u8>,
}

/// Where a table is kept.
pub(in crate::lsm) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{number:010}.table")
}

struct IndexEntry {
    last_key: Vec<u8>,
    offset: u64,
    len: usize,
}

/// An open table.
pub(in crate::lsm) struct Table<F: Fs> {
    pub(in crate::lsm) meta: TableMeta,
    path: Rc<str>,
    file: F::File,
    filter: Vec<u8>,
    index: Vec<IndexEntry>,
    entries: u64,
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
    /// Opens a table and reads its filter and index.
    pub(in crate::lsm) async fn open(fs: &F, dir: &str, meta: TableMeta) -> Result<Self, EngineError> {
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
        let (filter_at, index_at, entries, blocks) =
            parse_footer(meta.number, footer_at, &footer).map_err(|what| corrupt(&path, footer_at, what))?;
        let tail = read_exactly(&file, &path, filter_at, (footer_at - filter_at) as usize).await?;
        let (filter, index) = tail.split_at((index_at - filter_at) as usize);
        let filter = checked_section(meta.number, filter_at, filter)
            .ok_or_else(|| corrupt(&path, filter_at, "filter checksum does not match"))?;
        let index = checked_section(meta.number, index_at, index)
            .ok_or_else(|| corrupt(&path, index_at, "index checksum does not match"))?;
        let index = parse_index(index, filter_at, blocks)
            .ok_or_else(|| corrupt(&path, index_at, "index is malformed"))?;
        Ok(Self { filter: filter.to_vec(), index, entries, meta, path, file })
    }

    pub(in crate::lsm) fn blocks(&self) -> usize {
        self.index.len()
    }

    pub(in crate::lsm) fn entries(&self) -> u64 {
        self.entries
    }

    pub(in crate::lsm) fn may_contain(&self, hash: u64) -> bool {
        filter::may_contain(&self.filter, hash)
    }

    /// An error that names this table.
    pub(in crate::lsm) fn corrupt_block(&self, block: usize, what: &'static str) -> EngineError {
        corrupt(&self.path, self.index.get(block).map_or(0, |entry| entry.offset), what)
    }

    /// The block that holds `key` if any does; `blocks()` if all keys are smaller.
    pub(in crate::lsm) fn block_of(&self, key: &[u8]) -> usize {
        self.index.partition_point(|entry| entry.last_key.as_slice() < key)
    }

    /// Reads a block through the cache.
    pub(in crate::lsm) async fn block(
        &self,
        block: usize,
        cache: &BlockCache,
    ) -> Result<Rc<Block>, EngineError> {
        if let Some(cached) = cache.get(self.meta.number, block) {
            return Ok(cached);
        }
        let mut run = self.run(block, 0).await?;
        let read = run.pop().expect("a run has at least one block");
        cache.insert(self.meta.number, block, &read);
        Ok(read)
    }

    /// Reads consecutive blocks from `first` on with one request: at least one, and no more once
    /// `bytes` are reached.
    pub(in crate::lsm) async fn run(
        &self,
        first: usize,
        bytes: usize,
    ) -> Result<Vec<Rc<Block>>, EngineError> {
        assert!(first < self.index.len(), "a block that is read exists");
        let start = self.index[first].offset;
        let mut end = first + 1;
        while end < self.index.len() && self.index[end].offset - start < bytes as u64 {
            end += 1;
        }
        let entries = &self.index[first..end];
        let len = entries.iter().map(|entry| entry.len).sum();
        assert!(start + len as u64 <= self.meta.bytes, "blocks are inside their file");
        let read = read_exactly(&self.file, &self.path, start, len).await?;
        let blocks = entries.iter().map(|entry| {
            let at = (entry.offset - start) as usize;
            Block::new(self.meta.number, entry.offset, read[at..at + entry.len].to_vec())
                .map(Rc::new)
                .map_err(|what| corrupt(&self.path, entry.offset, what))
        });
        blocks.collect()
    }

    /// The value of a key in this table: `Some(None)` is a tombstone.
    pub(in crate::lsm) async fn get(
        &self,
        key: &[u8],
        hash: u64,
        cache: &BlockCache,
    ) -> Result<Option<Option<Vec<u8>>>, EngineError> {
        if key < self.meta.smallest.as_slice()
            || key > self.meta.largest.as_slice()
            || !self.may_contain(hash)
        {
            return Ok(None);
        }
        let number = self.block_of(key);
        if number == self.blocks() {
            return Err(self.corrupt_block(number, "the index ends before the table's largest key"));
        }
        let block = self.block(number, cache).await?;
        let found = block.get(key).map_err(|what| self.corrupt_block(number, what))?;
        Ok(found.map(|value| value.map(<[u8]>::to_vec)))
    }
}

/// Filter offset, index offset, entries and blocks.
fn parse_footer(number: u64, at: u64, footer: &[u8]) -> Result<(u64, u64, u64, usize), &'static str> {
    let mut input = Input::new(footer, 44);
    if input.u32() != Some(placed_checksum(number, at, &footer[..44])) {
        return Err("footer checksum does not match");
    }
    if footer[32..40] != *MAGIC {
        return Err("footer is no table's");
    }
    let mut input = Input::new(footer, 0);
    let fields = (input.u64(), input.u64(), input.u64(), input.u32(), input.u32());
    let (Some(filter_at), Some(index_at), Some(entries), Some(blocks), Some(version)) = fields else {
        return Err("footer is cut short");
    };
    if version != FORMAT_VERSION {
        return Err("table has another format version");
    }
    if filter_at > index_at || index_at > at {
        return Err("footer has impossible offsets");
    }
    Ok((filter_at, index_at, entries, blocks as usize))
}

fn checked_section(number: u64, offset: u64, section: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = section.split_at_checked(section.len().checked_sub(4)?)?;
    let expected = placed_checksum(number, offset, content).to_le_bytes();
    (checksum == expected && !content.is_empty()).then_some(content)
}

fn parse_index(bytes: &[u8], blocks_end: u64, blocks: usize) -> Option<Vec<IndexEntry>> {
    let mut input = Input::new(bytes, 0);
    let mut index = Vec::new();
    let mut offset = 0;
    while !input.is_empty() {
        let last_key = input.bytes()?.to_vec();
        let len = input.length()?;
        index.push(IndexEntry { last_key, offset, len });
        offset += len as u64;
    }
    (offset == blocks_end && index.len() == blocks && blocks > 0).then_some(index)
}

//! Writes a table into memory. It does no I/O: a table is at most a few MiB, and one write of the
//! whole file is what a disk likes best.

use super::block::{BlockBuilder, placed_checksum};
use super::{FOOTER_BYTES, FORMAT_VERSION, MAGIC, TableMeta, filter};
use crate::encoding::{put_bytes, put_varint};

/// Takes entries in key order and lays out a table.
pub(in crate::lsm) struct TableBuilder {
    number: u64,
    block_bytes: usize,
    file: Vec<u8>,
    block: BlockBuilder,
    index: Vec<u8>,
    blocks: u32,
    hashes: Vec<u64>,
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

/// A finished table that no file holds yet.
pub(in crate::lsm) struct BuiltTable {
    pub(in crate::lsm) meta: TableMeta,
    pub(in crate::lsm) content: Vec<u8>,
}

impl TableBuilder {
    /// A builder of table `number` with blocks of about `block_bytes`.
    pub(in crate::lsm) fn new(number: u64, block_bytes: usize) -> Self {
        Self {
            number,
            block_bytes,
            file: Vec::new(),
            block: BlockBuilder::default(),
            index: Vec::new(),
            blocks: 0,
            hashes: Vec::new(),
            smallest: Vec::new(),
            largest: Vec::new(),
        }
    }

    pub(in crate::lsm) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The size so far, without filter and index.
    pub(in crate::lsm) fn size(&self) -> usize {
        self.file.len() + self.block.size()
    }

    /// Adds an entry behind all others; no value is a tombstone.
    pub(in crate::lsm) fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.is_empty() {
            self.smallest = key.to_vec();
        } else {
            assert!(self.largest.as_slice() < key, "a table's keys ascend");
        }
        self.largest.clear();
        self.largest.extend_from_slice(key);
        self.hashes.push(filter::hash(key));
        self.block.add(key, value);
        if self.block.size() >= self.block_bytes {
            self.finish_block();
        }
    }

    fn finish_block(&mut self) {
        assert_eq!(self.block.last_key(), self.largest, "a block is finished at the table's end");
        put_bytes(&mut self.index, self.block.last_key());
        let start = self.file.len();
        self.block.finish_into(self.number, &mut self.file);
        put_varint(&mut self.index, (self.file.len() - start) as u64);
        self.blocks += 1;
    }

    /// Lays out what stands behind the blocks.
    pub(in crate::lsm) fn finish(mut self) -> BuiltTable {
        assert!(!self.is_empty(), "no table is empty");
        if !self.block.is_empty() {
            self.finish_block();
        }
        let filter_at = self.file.len() as u64;
        let filter = filter::build(&self.hashes);
        self.put_section(&filter);
        let index_at = self.file.len() as u64;
        let index = std::mem::take(&mut self.index);
        self.put_section(&index);
        let footer_at = self.file.len();
        self.file.extend_from_slice(&filter_at.to_le_bytes());
        self.file.extend_from_slice(&index_at.to_le_bytes());
        self.file.extend_from_slice(&(self.hashes.len() as u64).to_le_bytes());
        self.file.extend_from_slice(&self.blocks.to_le_bytes());
        self.file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        self.file.extend_from_slice(MAGIC);
        self.file.extend_from_slice(&[0; 4]);
        self.put_checksum(footer_at);
        assert_eq!(self.file.len() - footer_at, FOOTER_BYTES, "the footer is where readers look for it");
        assert!(self.smallest <= self.largest, "a range runs upward");
        let meta = TableMeta {
            number: self.number,
            bytes: self.file.len() as u64,
            smallest: self.smallest,
            largest: self.largest,
        };
        BuiltTable { meta, content: self.file }
    }

    fn put_section(&mut self, section: &[u8]) {
        let start = self.file.len();
        self.file.extend_from_slice(section);
        self.put_checksum(start);
    }

    fn put_checksum(&mut self, start: usize) {
        let checksum = placed_checksum(self.number, start as u64, &self.file[start..]);
        self.file.extend_from_slice(&checksum.to_le_bytes());
    }
}

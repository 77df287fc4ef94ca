//! Writes a table into memory. It does no I/O: a table is at most a few MiB, and one write of the
//! whole file is what a disk likes best.

use super::block::{BlockBuilder, placed_checksum};
use super::{FOOTER_BYTES, FORMAT_VERSION, MAGIC, TableMeta, filter};
use crate::encoding::{put_bytes, put_varint};
use crate::lsm::memtable::Memtable;
use crate::lsm::ranges::RangeSet;
use crate::lsm::{Compression, LsmOptions};

/// Takes entries in key order and lays out a table.
pub(in crate::lsm) struct TableBuilder {
    number: u64,
    block_bytes: usize,
    compression: Compression,
    filter_bits: usize,
    file: Vec<u8>,
    block: BlockBuilder,
    index: Vec<u8>,
    blocks: u32,
    hashes: Vec<u64>,
    smallest: Vec<u8>,
    largest: Vec<u8>,
    tombstones: u64,
    ranges: RangeSet,
}

/// A finished table that no file holds yet.
pub(in crate::lsm) struct BuiltTable {
    pub(in crate::lsm) meta: TableMeta,
    pub(in crate::lsm) content: Vec<u8>,
}

impl TableBuilder {
    /// A builder of table `number`.
    pub(in crate::lsm) fn new(number: u64, options: &LsmOptions) -> Self {
        Self {
            number,
            block_bytes: options.block_bytes,
            compression: options.compression,
            filter_bits: options.filter_bits,
            file: Vec::new(),
            block: BlockBuilder::default(),
            index: Vec::new(),
            blocks: 0,
            hashes: Vec::new(),
            smallest: Vec::new(),
            largest: Vec::new(),
            tombstones: 0,
            ranges: RangeSet::default(),
        }
    }

    fn has_keys(&self) -> bool {
        !self.hashes.is_empty()
    }

    pub(in crate::lsm) fn is_empty(&self) -> bool {
        !self.has_keys() && self.ranges.is_empty()
    }

    /// Adds range tombstones, which hide nothing of this table.
    pub(in crate::lsm) fn add_ranges(&mut self, ranges: &RangeSet) {
        self.ranges.extend(ranges);
    }

    /// The size so far, without filter and index.
    pub(in crate::lsm) fn size(&self) -> usize {
        self.file.len() + self.block.size()
    }

    /// Adds an entry behind all others; no value is a tombstone.
    pub(in crate::lsm) fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        if !self.has_keys() {
            self.smallest = key.to_vec();
        } else {
            assert!(self.largest.as_slice() < key, "a table's keys ascend");
        }
        self.largest.clear();
        self.largest.extend_from_slice(key);
        self.hashes.push(filter::hash(key));
        self.tombstones += u64::from(value.is_none());
        self.block.add(key, value);
        if self.block.size() >= self.block_bytes {
            self.finish_block();
        }
    }

    /// Adds the newest of all that a memtable holds, its range tombstones included.
    pub(in crate::lsm) fn add_memtable(&mut self, memtable: &Memtable) {
        memtable.for_each(|key, value| self.add(key, value));
        self.add_ranges(&memtable.ranges());
    }

    fn finish_block(&mut self) {
        assert_eq!(self.block.last_key(), self.largest, "a block is finished at the table's end");
        put_bytes(&mut self.index, self.block.last_key());
        let start = self.file.len();
        self.block.finish_into(self.number, self.compression, &mut self.file);
        put_varint(&mut self.index, (self.file.len() - start) as u64);
        self.blocks += 1;
    }

    /// Lays out what stands behind the blocks.
    pub(in crate::lsm) fn finish(mut self) -> BuiltTable {
        assert!(!self.is_empty(), "no table is empty");
        if !self.block.is_empty() {
            self.finish_block();
        }
        let ranges_at = self.file.len() as u64;
        let mut ranges = Vec::new();
        for (from, to) in self.ranges.iter() {
            put_bytes(&mut ranges, from);
            put_bytes(&mut ranges, to);
        }
        self.put_section(&ranges);
        let filter_at = self.file.len() as u64;
        let filter = filter::build(&self.hashes, self.filter_bits);
        self.put_section(&filter);
        let index_at = self.file.len() as u64;
        let index = std::mem::take(&mut self.index);
        self.put_section(&index);
        let footer_at = self.file.len();
        for number in [ranges_at, filter_at, index_at, self.hashes.len() as u64, self.tombstones] {
            self.file.extend_from_slice(&number.to_le_bytes());
        }
        self.file.extend_from_slice(&self.blocks.to_le_bytes());
        self.file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        self.file.extend_from_slice(MAGIC);
        self.file.extend_from_slice(&[0; 4]);
        self.put_checksum(footer_at);
        assert_eq!(self.file.len() - footer_at, FOOTER_BYTES, "the footer is where readers look for it");
        let (smallest, end) = self.bounds();
        assert!(smallest < end, "a range runs upward");
        let tombstones = self.tombstones + self.ranges.len() as u64;
        let meta =
            TableMeta { number: self.number, bytes: self.file.len() as u64, tombstones, smallest, end };
        BuiltTable { meta, content: self.file }
    }

    /// The first key, and one behind the last; ranges count like keys.
    fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        let keys = self.has_keys().then(|| (self.smallest.clone(), successor(&self.largest)));
        let ranges = self.ranges.hull().map(|(from, to)| (from.to_vec(), to.to_vec()));
        let join = |a: (Vec<u8>, Vec<u8>), b: (Vec<u8>, Vec<u8>)| (a.0.min(b.0), a.1.max(b.1));
        keys.into_iter().chain(ranges).reduce(join).expect("no table is empty")
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

/// The first key behind `key`.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

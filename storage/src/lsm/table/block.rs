//! Data blocks: sorted entries with shared prefixes, and restart points for binary search.
//!
//! | Field | Bytes | |
//! |---|---|---|
//! | entries | … | per entry: bytes shared with the key before (varint), bytes of its own (varint), value's length + 1 or 0 for a tombstone (varint), the key's own bytes, the value |
//! | restarts | 4 each | offsets of entries that share nothing, the first being 0 |
//! | restart count | 4 | |
//!
//! So far as in memory. In the file stands this, or an LZ4 block of it where that is shorter, and then:
//!
//! | Trailer | Bytes | |
//! |---|---|---|
//! | size | 4 | of what the LZ4 block holds; 0 if it is none |
//! | checksum | 4 | CRC32C of all above, started from (table number, block offset) |
//!
//! The checksum's start binds a block to its place: a block that was written elsewhere by mistake, or
//! belongs to another table, does not pass.

use std::cmp::Ordering;
use std::ops::Range;

use crate::encoding::{Input, put_varint};
use crate::lsm::Compression;

/// Entries between two restart points.
const RESTART_INTERVAL: usize = 16;
/// Size and checksum.
const TRAILER_BYTES: usize = 8;
/// The restart count.
const COUNT_BYTES: usize = 4;
/// How much longer than its LZ4 block a content can be at most.
const LARGEST_RATIO: usize = 255;

/// CRC32C that holds only at `offset` of table `number`.
pub(super) fn placed_checksum(number: u64, offset: u64, bytes: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(place, bytes)
}

/// Collects the entries of one block.
#[derive(Default)]
pub(super) struct BlockBuilder {
    buffer: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    entries: usize,
}

impl BlockBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The size so far, without the trailer.
    pub(super) fn size(&self) -> usize {
        self.buffer.len() + self.restarts.len() * 4
    }

    pub(super) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    pub(super) fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        assert!(self.is_empty() || self.last_key.as_slice() < key, "a block's keys ascend");
        let shared = if self.entries.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(u32::try_from(self.buffer.len()).expect("a block is below 4 GiB"));
            0
        } else {
            self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count()
        };
        put_varint(&mut self.buffer, shared as u64);
        put_varint(&mut self.buffer, (key.len() - shared) as u64);
        put_varint(&mut self.buffer, value.map_or(0, |value| value.len() as u64 + 1));
        self.buffer.extend_from_slice(&key[shared..]);
        self.buffer.extend_from_slice(value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.entries += 1;
    }

    /// Appends the finished block to `file`, the content of table `number` so far, and begins anew.
    pub(super) fn finish_into(&mut self, number: u64, compression: Compression, file: &mut Vec<u8>) {
        assert!(!self.is_empty(), "no block is empty");
        assert_eq!(self.restarts.len(), self.entries.div_ceil(RESTART_INTERVAL), "restarts are regular");
        assert_eq!(self.restarts[0], 0, "the first entry shares nothing");
        for restart in &self.restarts {
            self.buffer.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).expect("a block is below 4 GiB");
        self.buffer.extend_from_slice(&count.to_le_bytes());
        let start = file.len();
        let size = match compression {
            Compression::None => None,
            Compression::Lz4 => self.compress_into(file),
        };
        if size.is_none() {
            file.extend_from_slice(&self.buffer);
        }
        self.buffer.clear();
        file.extend_from_slice(&size.unwrap_or(0).to_le_bytes());
        let checksum = placed_checksum(number, start as u64, &file[start..]);
        file.extend_from_slice(&checksum.to_le_bytes());
        self.restarts.clear();
        self.last_key.clear();
        self.entries = 0;
    }

    /// Appends the LZ4 block of the buffer, and returns the buffer's size, if that gains anything.
    fn compress_into(&self, file: &mut Vec<u8>) -> Option<u32> {
        let compressed = lz4_flex::block::compress(&self.buffer);
        if compressed.len() >= self.buffer.len() {
            return None;
        }
        file.extend_from_slice(&compressed);
        Some(u32::try_from(self.buffer.len()).expect("a block is below 4 GiB"))
    }
}

/// A block in memory whose checksum was right.
#[derive(Debug)]
pub(in crate::lsm) struct Block {
    bytes: Vec<u8>,
    /// Where the restarts begin.
    entries_end: usize,
}

impl Block {
    /// Checks a block of table `number` as read from `offset`.
    pub(super) fn new(number: u64, offset: u64, mut bytes: Vec<u8>) -> Result<Self, &'static str> {
        let Some(stored) = bytes.len().checked_sub(TRAILER_BYTES) else { return Err("block is cut short") };
        let mut trailer = Input::new(&bytes, stored);
        let (size, checksum) = (trailer.u32(), trailer.u32());
        let (size, checksum) =
            (size.expect("inside the block") as usize, checksum.expect("inside the block"));
        if placed_checksum(number, offset, &bytes[..stored + 4]) != checksum {
            return Err("block checksum does not match");
        }
        bytes.truncate(stored);
        if size > 0 {
            bytes = decompress(&bytes, size).ok_or("block does not decompress")?;
        }
        let entries_end = bytes.len().checked_sub(COUNT_BYTES).and_then(|count_at| {
            let count = Input::new(&bytes, count_at).u32()? as usize;
            (count > 0).then_some(())?;
            count_at.checked_sub(count.checked_mul(4)?)
        });
        match entries_end {
            Some(entries_end) => Ok(Self { bytes, entries_end }),
            None => Err("block has impossible restarts"),
        }
    }

    /// Bytes in memory.
    pub(in crate::lsm) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::lsm) fn slice(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    fn restarts(&self) -> usize {
        (self.bytes.len() - COUNT_BYTES - self.entries_end) / 4
    }

    fn restart(&self, index: usize) -> usize {
        assert!(index < self.restarts(), "a restart is one of the block's");
        let offset = Input::new(&self.bytes, self.entries_end + index * 4).u32();
        offset.expect("inside the block") as usize
    }

    /// The key at a restart point: it shares nothing.
    fn restart_key(&self, index: usize) -> Option<&[u8]> {
        let mut input = Input::new(&self.bytes[..self.entries_end], self.restart(index));
        let (_shared, own, _value) = (input.length()?, input.length()?, input.length()?);
        input.take(own)
    }

    /// The last restart point whose key is at or before `key`, or the first of all.
    fn interval_of(&self, key: &[u8]) -> Result<usize, &'static str> {
        let (mut low, mut high) = (0, self.restarts());
        while high - low > 1 {
            let middle = low.midpoint(high);
            match self.restart_key(middle).ok_or(MALFORMED)?.cmp(key) {
                Ordering::Greater => high = middle,
                _ => low = middle,
            }
        }
        Ok(low)
    }

    /// The value of a key: `Some(None)` is a tombstone. Keys on the way are compared, and not put together: of
    /// an entry before `key` it is enough to know how many bytes the two have in common.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Option<&[u8]>>, &'static str> {
        let start = self.restart(self.interval_of(key)?);
        let mut input = Input::new(&self.bytes[..self.entries_end], start);
        let mut common = 0;
        while !input.is_empty() {
            let fields = (input.length(), input.length(), input.length());
            let (Some(shared), Some(own), Some(value)) = fields else { return Err(MALFORMED) };
            let suffix = input.take(own).ok_or(MALFORMED)?;
            let value = match value.checked_sub(1) {
                Some(len) => Some(input.take(len).ok_or(MALFORMED)?),
                None => None,
            };
            match shared.cmp(&common) {
                // It differs from `key` where the one before it does, and in the same way.
                Ordering::Greater => continue,
                Ordering::Less => return Ok(None),
                Ordering::Equal => {}
            }
            let rest = &key[common..];
            let more = suffix.iter().zip(rest).take_while(|(a, b)| a == b).count();
            match suffix[more..].cmp(&rest[more..]) {
                Ordering::Less => common += more,
                Ordering::Equal => return Ok(Some(value)),
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn decompress(compressed: &[u8], size: usize) -> Option<Vec<u8>> {
    if size / LARGEST_RATIO > compressed.len() {
        return None;
    }
    let content = lz4_flex::block::decompress(compressed, size).ok()?;
    (content.len() == size).then_some(content)
}

/// A place in a block. It does not own the block, so that it can be kept beside it.
#[derive(Clone, Debug, Default)]
pub(in crate::lsm) struct BlockCursor {
    key: Vec<u8>,
    value: Option<Range<usize>>,
    next: usize,
    ended: bool,
}

const MALFORMED: &str = "block entry is malformed";

impl BlockCursor {
    pub(in crate::lsm) fn at_end(&self) -> bool {
        self.ended
    }

    pub(in crate::lsm) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(in crate::lsm) fn value<'b>(&self, block: &'b Block) -> Option<&'b [u8]> {
        self.value.as_ref().map(|range| block.slice(range))
    }

    /// Goes to the first entry.
    pub(in crate::lsm) fn first(&mut self, block: &Block) -> Result<(), &'static str> {
        self.restart(0);
        self.advance(block)
    }

    /// Goes to the first entry at or behind `key`.
    pub(in crate::lsm) fn seek(&mut self, block: &Block, key: &[u8]) -> Result<(), &'static str> {
        self.restart(block.restart(block.interval_of(key)?));
        self.advance(block)?;
        while !self.ended && self.key.as_slice() < key {
            self.advance(block)?;
        }
        assert!(self.ended || self.key.as_slice() >= key, "a seek never stops before its key");
        Ok(())
    }

    fn restart(&mut self, at: usize) {
        self.key.clear();
        self.next = at;
        self.ended = false;
    }

    /// Goes to the next entry.
    pub(in crate::lsm) fn advance(&mut self, block: &Block) -> Result<(), &'static str> {
        if self.next >= block.entries_end {
            self.ended = true;
            return Ok(());
        }
        let mut input = Input::new(&block.bytes[..block.entries_end], self.next);
        let fields = (input.length(), input.length(), input.length());
        let (Some(shared), Some(own), Some(value)) = fields else { return Err(MALFORMED) };
        let suffix = input.take(own).ok_or(MALFORMED)?;
        if shared > self.key.len() {
            return Err(MALFORMED);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.value = match value.checked_sub(1) {
            None => None,
            Some(len) => {
                let start = input.at();
                input.take(len).ok_or(MALFORMED)?;
                Some(start..start + len)
            }
        };
        self.next = input.at();
        Ok(())
    }
}

/// A place in a block that is read backward. Entries only say how they continue the one before, so
/// it unfolds one restart interval at a time.
#[derive(Clone, Debug, Default)]
pub(in crate::lsm) struct ReverseCursor {
    /// The keys of the interval, back to back.
    keys: Vec<u8>,
    /// Where in `keys` each entry's key is, and its value; the last one is where the cursor stands.
    entries: Vec<(Range<usize>, Option<Range<usize>>)>,
    /// The restart point where the interval begins.
    interval: usize,
    unfolding: BlockCursor,
}

impl ReverseCursor {
    pub(in crate::lsm) fn at_end(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self) -> &(Range<usize>, Option<Range<usize>>) {
        self.entries.last().expect("only who stands at an entry can read it")
    }

    pub(in crate::lsm) fn key(&self) -> &[u8] {
        &self.keys[self.entry().0.clone()]
    }

    pub(in crate::lsm) fn value<'b>(&self, block: &'b Block) -> Option<&'b [u8]> {
        self.entry().1.as_ref().map(|range| block.slice(range))
    }

    /// Goes to the last entry.
    pub(in crate::lsm) fn last(&mut self, block: &Block) -> Result<(), &'static str> {
        self.unfold(block, block.restarts() - 1)
    }

    /// Goes to the last entry before `key`.
    pub(in crate::lsm) fn seek(&mut self, block: &Block, key: &[u8]) -> Result<(), &'static str> {
        // How many restart points have a key before `key`.
        let (mut low, mut high) = (0, block.restarts());
        while low < high {
            let middle = low.midpoint(high);
            match block.restart_key(middle).ok_or(MALFORMED)?.cmp(key) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(interval) = low.checked_sub(1) else {
            self.entries.clear();
            return Ok(());
        };
        self.unfold(block, interval)?;
        while self.entries.pop_if(|(place, _)| &self.keys[place.clone()] >= key).is_some() {}
        assert!(!self.at_end(), "the interval begins before the key");
        Ok(())
    }

    /// Goes to the entry before.
    pub(in crate::lsm) fn advance(&mut self, block: &Block) -> Result<(), &'static str> {
        self.entries.pop();
        match self.interval.checked_sub(1) {
            Some(before) if self.entries.is_empty() => self.unfold(block, before),
            _ => Ok(()),
        }
    }

    fn unfold(&mut self, block: &Block, interval: usize) -> Result<(), &'static str> {
        let last = interval + 1 == block.restarts();
        let end = if last { block.entries_end } else { block.restart(interval + 1) };
        self.keys.clear();
        self.entries.clear();
        self.interval = interval;
        self.unfolding.restart(block.restart(interval));
        while self.unfolding.next < end {
            self.unfolding.advance(block)?;
            let start = self.keys.len();
            self.keys.extend_from_slice(&self.unfolding.key);
            self.entries.push((start..self.keys.len(), self.unfolding.value.clone()));
        }
        if self.entries.is_empty() || self.unfolding.next != end { Err(MALFORMED) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        found_both_ways(Compression::None);
        found_both_ways(Compression::Lz4);
    }

    fn found_both_ways(compression: Compression) {
        let mut builder = BlockBuilder::default();
        for i in (0..200u32).step_by(2) {
            let value = (i % 3 != 0).then(|| i.to_string());
            builder.add(format!("key{i:05}").as_bytes(), value.as_ref().map(String::as_bytes));
        }
        let mut file = b"in front of it".to_vec();
        let offset = file.len();
        builder.finish_into(9, compression, &mut file);
        let bytes = file.split_off(offset);
        let block = Block::new(9, offset as u64, bytes.clone()).expect("intact");
        for i in 0..200u32 {
            let expected = (i % 2 == 0).then(|| (i % 3 != 0).then(|| i.to_string().into_bytes()));
            let found = block.get(format!("key{i:05}").as_bytes()).expect("intact");
            assert_eq!(found.map(|v| v.map(<[u8]>::to_vec)), expected);
        }
        let mut cursor = BlockCursor::default();
        cursor.seek(&block, b"key00100x").expect("intact");
        assert_eq!(cursor.key(), b"key00102");
        cursor.seek(&block, b"z").expect("intact");
        assert!(cursor.at_end());
        backward_is_forward_reversed(&block);
        assert!(Block::new(9, 0, bytes.clone()).is_err(), "a block holds only in its place");
        assert!(Block::new(8, offset as u64, bytes).is_err(), "a block holds only in its table");
    }

    fn backward_is_forward_reversed(block: &Block) {
        let mut forward = Vec::new();
        let mut cursor = BlockCursor::default();
        cursor.first(block).expect("intact");
        while !cursor.at_end() {
            forward.push((cursor.key().to_vec(), cursor.value(block).map(<[u8]>::to_vec)));
            cursor.advance(block).expect("intact");
        }
        let mut reverse = ReverseCursor::default();
        for i in 0..=200u32 {
            let bound = format!("key{i:05}").into_bytes();
            reverse.seek(block, &bound).expect("intact");
            for expected in forward.iter().rev().filter(|(key, _)| *key < bound) {
                assert_eq!((reverse.key(), reverse.value(block)), (&expected.0[..], expected.1.as_deref()));
                reverse.advance(block).expect("intact");
            }
            assert!(reverse.at_end());
        }
        reverse.last(block).expect("intact");
        assert_eq!(Some(reverse.key()), forward.last().map(|(key, _)| &key[..]));
    }
}

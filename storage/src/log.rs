//! The framing of every append-only file: the journal's segments, write-ahead logs, the segments of the
//! log-structured store, the manifest of the LSM and the rollback journal of the B-tree.
//!
//! A log is a header, records without gaps, and then zeros (or the end of the file). All numbers are
//! little-endian.
//!
//! | Header, 32 bytes | | |
//! |---|---|---|
//! | 0 | 8 | magic: which kind of log |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | how many bytes of the log before this one were known to be durable when this one began, or 0 |
//! | 16 | 8 | the file's number, also in its name |
//! | 24 | 4 | zero |
//! | 28 | 4 | CRC32C of bytes 0 to 28 |
//!
//! | Record | | |
//! |---|---|---|
//! | 0 | 4 | CRC32C of bytes 4 to `length`, started as told below |
//! | 4 | 4 | `length` in bytes, these 16 included, so that it is never zero |
//! | 8 | 4 | `durable`: how many bytes of this file were known to be durable when this was written |
//! | 12 | 4 | tag: the owner's own |
//! | 16 | … | payload |
//!
//! The checksum is started from the CRC32C of magic and number, XOR the record's offset. So it holds in one
//! place only: stale bytes of a recycled or misdirected block never pass for a record.
//!
//! **Torn or corrupt?** A bad record is a torn tail if its flush may never have finished, and
//! corruption if it had. After Alagappan et al. (FAST'18) each record carries the offset known to be
//! durable. Reading stops at the first bad record; if any intact record behind it says that the bad
//! place had been durable, the log is corrupt, and otherwise its tail is torn. (An intact record
//! behind a bad one proves nothing by itself: unflushed sectors survive a power loss in any subset.)
//! Where logs follow each other the next one's header says the same of the end of the one before it.

use contract::{File, FsError};

use crate::read::read_at;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
const FORMAT_VERSION: u32 = 1;

/// What a log is: its kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogIdentity {
    pub(crate) magic: [u8; 8],
    pub(crate) number: u64,
}

impl LogIdentity {
    fn salt(self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.magic), &self.number.to_le_bytes())
    }

    /// The log's header, where the log before it is durable up to `previous_end`.
    pub(crate) fn header(self, previous_end: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&previous_end.to_le_bytes());
        header[16..24].copy_from_slice(&self.number.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..28]);
        header[28..].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

/// What is wrong with a log, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

fn checksum(salt: u32, offset: u64, checked: &[u8]) -> u32 {
    crc32c::crc32c_append(salt ^ offset as u32, checked)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The end of a log that is being written: what is encoded but not yet handed to the file.
#[derive(Debug)]
pub(crate) struct Tail {
    salt: u32,
    /// Where in the file `buffer` belongs.
    offset: u64,
    buffer: Vec<u8>,
    /// The buffer of the last write, to be used again.
    spare: Vec<u8>,
    durable: u64,
}

impl Tail {
    /// The tail of a log that has no bytes yet. Its header is the first thing to write.
    pub(crate) fn new(identity: LogIdentity, previous_end: u32) -> Self {
        assert!(previous_end == 0 || previous_end as usize >= HEADER_BYTES, "a log ends behind its header");
        Self {
            salt: identity.salt(),
            offset: 0,
            buffer: identity.header(previous_end).to_vec(),
            spare: Vec::new(),
            durable: 0,
        }
    }

    /// Puts another header in the place of the one that has not left yet; if it has, it stays.
    pub(crate) fn set_header(&mut self, header: [u8; HEADER_BYTES]) {
        if self.offset == 0 {
            assert!(self.buffer[..8] == header[..8], "a log's kind does not change");
            self.buffer[..HEADER_BYTES].copy_from_slice(&header);
        }
    }

    /// Where the next record will begin.
    pub(crate) fn position(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Bytes that are encoded and not yet taken.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The tail of a log that ends at `offset` and gets no more records.
    pub(crate) fn ended(identity: LogIdentity, offset: u64) -> Self {
        Self { offset, buffer: Vec::new(), ..Self::new(identity, 0) }
    }

    /// A part of what is encoded and not yet taken; `None` if it was taken.
    pub(crate) fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        self.buffer.get(start..start + len)
    }

    /// Encodes a record; `payload` appends its bytes.
    pub(crate) fn push(&mut self, tag: u32, payload: impl FnOnce(&mut Vec<u8>)) {
        let (start, offset) = (self.buffer.len(), self.position());
        assert!(offset >= HEADER_BYTES as u64, "a record stands behind its log's header");
        assert!(self.durable <= offset, "what is not written yet cannot be durable");
        self.buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        payload(&mut self.buffer);
        assert!(self.buffer.len() >= start + RECORD_HEADER_BYTES, "a payload is appended, and cuts nothing");
        let record = &mut self.buffer[start..];
        let length = u32::try_from(record.len()).expect("a record is below 4 GiB");
        let durable = u32::try_from(self.durable).expect("a log is below 4 GiB");
        record[4..8].copy_from_slice(&length.to_le_bytes());
        record[8..12].copy_from_slice(&durable.to_le_bytes());
        record[12..16].copy_from_slice(&tag.to_le_bytes());
        let sum = checksum(self.salt, offset, &record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
    }

    /// Takes what is encoded, to be written at the returned offset.
    pub(crate) fn take(&mut self) -> (u64, Vec<u8>) {
        let offset = self.offset;
        self.offset = self.position();
        (offset, std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare)))
    }

    /// Hands back the buffer of a finished write, to be used again.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        assert!(buffer.len() as u64 <= self.offset, "what comes back was taken");
        buffer.clear();
        if buffer.capacity() > self.spare.capacity() {
            self.spare = buffer;
        }
    }

    /// A flush that was issued after all below `position` was written has succeeded.
    pub(crate) fn set_durable(&mut self, position: u64) {
        assert!(position <= self.offset, "a flush covers only what was written before it");
        self.durable = self.durable.max(position);
    }
}

/// A record of a log that is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRecord<'a> {
    pub(crate) tag: u32,
    /// How many bytes of the log were known to be durable when this was written.
    pub(crate) durable: u64,
    pub(crate) payload: &'a [u8],
}

/// Reads a log's records in order, up to the first that is not intact.
pub(crate) struct LogReader<'a> {
    bytes: &'a [u8],
    salt: u32,
    at: usize,
    durable: u64,
    credulous: bool,
}

impl<'a> LogReader<'a> {
    /// A reader of the log's whole content, header included. The header is not looked at: see
    /// [`LogReader::header`].
    pub(crate) fn new(identity: LogIdentity, bytes: &'a [u8]) -> Self {
        Self { bytes, salt: identity.salt(), at: HEADER_BYTES, durable: 0, credulous: false }
    }

    /// Checks the header; `previous_end` is the answer.
    pub(crate) fn header(identity: LogIdentity, bytes: &[u8]) -> Result<u32, Flaw> {
        let bad = |what| Err(Flaw { offset: 0, what });
        let Some(header) = bytes.get(..HEADER_BYTES) else { return bad("header is cut short") };
        let previous_end = u32_at(header, 12);
        if header != identity.header(previous_end) {
            return bad("header is not this file's");
        }
        Ok(previous_end)
    }

    /// The record that fills `bytes`, which were read at `offset`.
    pub(crate) fn single(identity: LogIdentity, offset: u64, bytes: &'a [u8]) -> Option<LogRecord<'a>> {
        if bytes.len() < RECORD_HEADER_BYTES || u32_at(bytes, 4) as usize != bytes.len() {
            return None;
        }
        let ours = checksum(identity.salt(), offset, &bytes[4..]) == u32_at(bytes, 0);
        ours.then(|| LogRecord {
            tag: u32_at(bytes, 12),
            durable: u64::from(u32_at(bytes, 8)),
            payload: &bytes[RECORD_HEADER_BYTES..],
        })
    }

    /// A reader of a log whose header is bad: it has no records, only an end.
    pub(crate) fn headless(identity: LogIdentity, bytes: &'a [u8]) -> Self {
        Self { bytes, salt: identity.salt(), at: 0, durable: 0, credulous: false }
    }

    /// Planted: [`contract::Bug::ChecksumIgnored`]. A record whose last byte was written counts as
    /// whole: writes are taken to reach the disk from front to back.
    pub(crate) fn credulous(self) -> Self {
        Self { credulous: true, ..self }
    }

    fn record_at(&self, at: usize) -> Result<LogRecord<'a>, &'static str> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.len() < RECORD_HEADER_BYTES {
            return Err("record header is cut short");
        }
        let length = u32_at(rest, 4) as usize;
        if length < RECORD_HEADER_BYTES || length > rest.len() {
            return Err("record length is impossible");
        }
        let record = &rest[..length];
        let intact = checksum(self.salt, at as u64, &record[4..]) == u32_at(record, 0);
        if !(intact || self.credulous && record[length - 1] != 0) {
            return Err("record checksum does not match");
        }
        let durable = u64::from(u32_at(record, 8));
        Ok(LogRecord { tag: u32_at(record, 12), durable, payload: &record[RECORD_HEADER_BYTES..] })
    }

    /// Whether an intact record begins anywhere in `bytes`: asked where the header is bad.
    pub(crate) fn any_record(identity: LogIdentity, bytes: &'a [u8]) -> bool {
        let reader = Self::new(identity, bytes);
        let used = bytes.len() - trailing_zeros(bytes);
        (HEADER_BYTES..used).any(|at| reader.record_at(at).is_ok())
    }

    /// Where the next record begins, or after the last one: where the log ends.
    pub(crate) fn position(&self) -> u64 {
        self.at as u64
    }

    /// What is in the log: all but the zeros behind its records, or behind what is no record.
    pub(crate) fn used(&self) -> &'a [u8] {
        &self.bytes[..self.at.max(self.bytes.len() - trailing_zeros(self.bytes))]
    }

    /// Up to where the records that were read say that the log was durable; 0 if they say nothing.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// What stands at the end of the intact records: `Ok(None)` for zeros, `Ok(Some)` for a torn
    /// tail, `Err` where something behind proves that the place had been durable.
    pub(crate) fn end(&self) -> Result<Option<Flaw>, Flaw> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let used = rest.len() - trailing_zeros(rest);
        assert!(used == 0 || rest[used - 1] != 0, "behind the used bytes there are zeros alone");
        if used == 0 {
            return Ok(None);
        }
        let strict = Self { credulous: false, ..*self };
        let what = strict.record_at(self.at).expect_err("reading stopped at a record that is not intact");
        let flaw = Flaw { offset: self.at as u64, what };
        let vouched = (self.at + 1..self.at + used).any(|at| {
            let claim = self.bytes.get(at + 8..at + 12).map_or(0, |field| u32_at(field, 0));
            claim as usize > self.at && claim as usize <= at && strict.record_at(at).is_ok()
        });
        if vouched { Err(flaw) } else { Ok(Some(flaw)) }
    }
}

impl<'a> Iterator for LogReader<'a> {
    type Item = LogRecord<'a>;

    fn next(&mut self) -> Option<LogRecord<'a>> {
        let record = self.record_at(self.at).ok()?;
        self.at += RECORD_HEADER_BYTES + record.payload.len();
        self.durable = self.durable.max(record.durable);
        assert!(self.at <= self.bytes.len(), "an intact record is inside its file");
        Some(record)
    }
}

fn trailing_zeros(bytes: &[u8]) -> usize {
    const STRIDE: usize = 64;
    let strides = bytes.rchunks_exact(STRIDE).take_while(|chunk| **chunk == [0; STRIDE]).count();
    let rest = &bytes[..bytes.len() - strides * STRIDE];
    strides * STRIDE + rest.iter().rev().take_while(|byte| **byte == 0).count()
}

/// A file's whole content.
pub(crate) async fn read_whole(file: &impl File) -> Result<Vec<u8>, FsError> {
    let len = usize::try_from(file.len().await?).expect("a log fits into memory");
    read_at(file, 0, len).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: LogIdentity = LogIdentity { magic: *b"test log", number: 7 };

    /// Three records; all before the third is known to be durable when it is written.
    fn sample() -> (Vec<u8>, Vec<usize>) {
        let mut tail = Tail::new(IDENTITY, 0);
        let mut starts = Vec::new();
        let mut bytes = Vec::new();
        for (tag, payload) in [(1, &b"one"[..]), (2, b""), (3, b"three")] {
            starts.push(tail.position() as usize);
            tail.push(tag, |buffer| buffer.extend_from_slice(payload));
            let (offset, buffer) = tail.take();
            assert_eq!(offset as usize, bytes.len());
            bytes.extend_from_slice(&buffer);
            tail.recycle(buffer);
            tail.set_durable(tail.position());
        }
        bytes.resize(bytes.len() + 100, 0);
        (bytes, starts)
    }

    fn tags(bytes: &[u8]) -> (Vec<u32>, Result<Option<Flaw>, Flaw>) {
        let mut reader = LogReader::new(IDENTITY, bytes);
        let tags = reader.by_ref().map(|record| record.tag).collect();
        (tags, reader.end())
    }

    #[test]
    fn reads_back_what_was_written() {
        let (bytes, starts) = sample();
        assert_eq!(LogReader::header(IDENTITY, &bytes), Ok(0));
        let mut reader = LogReader::new(IDENTITY, &bytes);
        let third = reader.by_ref().last().expect("three records");
        assert_eq!(third, LogRecord { tag: 3, durable: starts[2] as u64, payload: b"three" });
        assert_eq!(reader.end(), Ok(None));
    }

    /// Whatever bit is flipped: what is read is a prefix, and the flaw is told where there is one.
    #[test]
    fn every_flipped_bit_ends_the_log() {
        let (bytes, starts) = sample();
        for bit in HEADER_BYTES * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let hit = starts.iter().rposition(|start| *start <= bit / 8).expect("behind the header");
            let (tags, end) = tags(&flipped);
            let data_end = starts[2] + RECORD_HEADER_BYTES + 5;
            if bit / 8 >= data_end {
                assert_eq!((tags.len(), end.is_ok_and(|e| e.is_some())), (3, true), "bit {bit}");
                continue;
            }
            assert_eq!(tags.len(), hit, "bit {bit}");
            // The third record vouches for the first two, and nothing for the third.
            assert_eq!(end.is_err(), hit < 2, "bit {bit}: {end:?}");
        }
    }

    #[test]
    fn a_record_holds_only_in_its_place() {
        let (bytes, starts) = sample();
        let other = LogIdentity { number: 8, ..IDENTITY };
        assert_eq!(LogReader::new(other, &bytes).count(), 0);
        assert!(LogReader::header(other, &bytes).is_err());
        let mut moved = bytes.clone();
        moved.copy_within(starts[1]..starts[2], starts[0]);
        assert_eq!(tags(&moved).0, [] as [u32; 0]);
    }

    #[test]
    fn a_lost_write_before_a_durable_one_is_corruption() {
        let (mut bytes, starts) = sample();
        bytes[starts[1]..starts[2]].fill(0);
        let (tags, end) = tags(&bytes);
        assert_eq!(tags, [1]);
        assert_eq!(end.map_err(|flaw| flaw.offset), Err(starts[1] as u64));
    }
}

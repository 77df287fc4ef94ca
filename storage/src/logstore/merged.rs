//! What a merge writes: a merged segment, and a hint beside it.
//!
//! A merged segment is a log with magic `SBlogmg2` whose records are batches of values alone, in key
//! order, and whose last record is a trailer. It has its name only once it is complete.
//!
//! | Trailer (tag 2^32 − 1) | Bytes | |
//! |---|---|---|
//! | last batch | 8 | that the segment stands for |
//! | entries | 8 | how many values it holds |
//! | hint checksum | 4 | CRC32C of the hint's entries |
//! | durable | 8 | the last batch that had been durable when the merge was completed |
//!
//! A merge drops values that batches behind its inputs have replaced. So it vouches for those: if one that had
//! been durable is missing, that is corruption, and no torn tail.
//!
//! A hint is a log with magic `SBloghin`. It binds itself to the merged segment by the trailer: its
//! entries must be those that the trailer counts and sums. A hint that is not is not used; then the
//! segment is read.
//!
//! | Hint (tag = entries) | Bytes | |
//! |---|---|---|
//! | per entry | … | key behind its length (varint), offset (varint), length (varint), CRC32C of the value (4) |
//!
//! | End of the hint (tag 2^32 − 1) | Bytes | |
//! |---|---|---|
//! | trailer | 8 | where in the merged segment the trailer begins |

use contract::{EngineError, Fs, FsError, OpenMode};

use super::LogStore;
use super::segment::{Kind, Segment, Written, name};
use crate::encoding::{Input, put_bytes, put_varint};
use crate::log::{LogIdentity, LogReader, RECORD_HEADER_BYTES, read_whole};
use crate::read::read_at;

/// The tag of a trailer, and of the end of a hint.
pub(super) const TRAILER: u32 = u32::MAX;
const TRAILER_BYTES: usize = 28;

pub(super) fn hint_identity(number: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBloghin", number }
}

pub(super) fn hint_name(number: u64) -> String {
    name(number, ".hint")
}

/// The last record of a merged segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) last_seq: u64,
    pub(super) entries: u64,
    pub(super) hint_checksum: u32,
    pub(super) durable: u64,
}

impl Trailer {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.last_seq.to_le_bytes());
        buffer.extend_from_slice(&self.entries.to_le_bytes());
        buffer.extend_from_slice(&self.hint_checksum.to_le_bytes());
        buffer.extend_from_slice(&self.durable.to_le_bytes());
        assert!(self.last_seq > 0, "a merge stands for batches");
        assert!(self.durable >= self.last_seq, "what a merge stands for is durable");
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut input = Input::new(payload, 0);
        let (last_seq, entries, hint_checksum) = (input.u64()?, input.u64()?, input.u32()?);
        let trailer = Self { last_seq, entries, hint_checksum, durable: input.u64()? };
        input.is_empty().then_some(trailer)
    }
}

/// A value of a merged segment.
pub(super) struct HintEntry {
    pub(super) key: Vec<u8>,
    pub(super) written: Written,
    pub(super) len: usize,
}

pub(super) fn encode_entry(buffer: &mut Vec<u8>, key: &[u8], (at, checksum): Written, len: usize) {
    assert!(at as usize >= RECORD_HEADER_BYTES, "a value stands in a record");
    put_bytes(buffer, key);
    put_varint(buffer, at);
    put_varint(buffer, len as u64);
    buffer.extend_from_slice(&checksum.to_le_bytes());
}

fn decode_entries(count: u32, payload: &[u8], entries: &mut Vec<HintEntry>) -> Option<()> {
    let mut input = Input::new(payload, 0);
    for _ in 0..count {
        let key = input.bytes()?.to_vec();
        let (at, len) = (input.varint()?, input.length()?);
        entries.push(HintEntry { key, written: (at, input.u32()?), len });
    }
    input.is_empty().then_some(())
}

impl<F: Fs> LogStore<F> {
    /// Checks that the hint beside a merged segment, if there is one, would be believed.
    pub(super) async fn verify_hint(&self, segment: &Segment<F>) -> Result<(), EngineError> {
        let (fs, dir) = (&self.0.fs, &self.0.dir);
        let hint = format!("{dir}/{}", hint_name(segment.number()));
        if !fs.exists(&hint).await? {
            return Ok(());
        }
        let merged = segment.log().file_up_to(segment.bytes()).expect("a merged segment is in a file");
        match read_hint(fs, dir, segment.number(), &merged).await? {
            Some(_) => Ok(()),
            None => {
                let what = "hint is not whole, or not of its segment";
                Err(EngineError::Corrupt { file: hint.into(), offset: 0, what })
            }
        }
    }
}

/// What a merged segment holds, as its hint says, with its trailer and its end; `None` if the hint is
/// not whole or not of this segment.
pub(super) async fn read_hint<F: Fs>(
    fs: &F,
    dir: &str,
    number: u64,
    merged: &F::File,
) -> Result<Option<(Vec<HintEntry>, Trailer, u64)>, FsError> {
    let file = match fs.open(&format!("{dir}/{}", hint_name(number)), OpenMode::Existing).await {
        Err(FsError::NotFound { .. }) => return Ok(None),
        file => file?,
    };
    let bytes = read_whole(&file).await?;
    let Some((entries, checksum, trailer_at)) = parse_hint(number, &bytes) else { return Ok(None) };
    let record = read_at(merged, trailer_at, RECORD_HEADER_BYTES + TRAILER_BYTES).await?;
    let end = trailer_at.saturating_add(record.len() as u64);
    if record.len() != RECORD_HEADER_BYTES + TRAILER_BYTES {
        return Ok(None);
    }
    let trailer = LogReader::single(Kind::Merged.identity(number), trailer_at, &record)
        .filter(|record| record.tag == TRAILER)
        .and_then(|record| Trailer::decode(record.payload));
    let bound =
        |trailer: &Trailer| trailer.hint_checksum == checksum && trailer.entries == entries.len() as u64;
    Ok(trailer.filter(bound).map(|trailer| (entries, trailer, end)))
}

fn parse_hint(number: u64, bytes: &[u8]) -> Option<(Vec<HintEntry>, u32, u64)> {
    LogReader::header(hint_identity(number), bytes).ok()?;
    let (mut entries, mut checksum) = (Vec::new(), 0);
    for record in LogReader::new(hint_identity(number), bytes) {
        if record.tag == TRAILER {
            return Some((entries, checksum, Input::new(record.payload, 0).u64()?));
        }
        checksum = crc32c::crc32c_append(checksum, record.payload);
        decode_entries(record.tag, record.payload, &mut entries)?;
    }
    None
}

//! A segment: a log of batches, or what a merge left of many.

use std::cell::Cell;
use std::rc::Rc;

use contract::{EngineError, Fs};

use super::merged;
use crate::batch::{self, Mutations};
use crate::log::{HEADER_BYTES, LogIdentity, RECORD_HEADER_BYTES};
use crate::log_file::LogFile;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Batches in their order.
    Plain,
    /// What lived of all segments up to this number when it was written.
    Merged,
}

impl Kind {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Plain => ".segment",
            Self::Merged => ".merged",
        }
    }

    pub(super) fn identity(self, number: u64) -> LogIdentity {
        let magic = match self {
            Self::Plain => *b"SBlogseg",
            Self::Merged => *b"SBlogmg2",
        };
        LogIdentity { magic, number }
    }

    pub(super) fn path(self, dir: &str, number: u64) -> String {
        format!("{dir}/{}", name(number, self.suffix()))
    }
}

pub(super) fn name(number: u64, suffix: &str) -> String {
    format!("{number:010}{suffix}")
}

pub(super) struct Segment<F: Fs> {
    kind: Kind,
    log: LogFile<F>,
    /// The last batch that is in it, or that it stands for.
    last_seq: Cell<u64>,
    /// Bytes of it that the index leads to, about.
    live: Cell<u64>,
}

/// Where a value is in its segment: its offset and its checksum.
pub(super) type Written = (u64, u32);

impl<F: Fs> Segment<F> {
    /// A segment that has no batches yet, and is to have about so many bytes.
    pub(super) fn new(dir: &str, number: u64, bytes: u64) -> Self {
        let name = name(number, Kind::Plain.suffix());
        let log = LogFile::new(Kind::Plain.identity(number), dir, &name).with_extent(bytes);
        Self { kind: Kind::Plain, log, last_seq: Cell::new(0), live: Cell::new(0) }
    }

    /// A segment that is being merged, under the name it has until it is complete; it grows in steps of
    /// about so many bytes.
    pub(super) fn merging(dir: &str, number: u64, last_seq: u64, bytes: u64) -> Self {
        let name = name(number, ".merging");
        let log = LogFile::new(Kind::Merged.identity(number), dir, &name).with_extent(bytes);
        Self { kind: Kind::Merged, log, last_seq: Cell::new(last_seq), live: Cell::new(0) }
    }

    /// A segment that gets no more batches; all of it up to `end` is in `file`, and durable.
    pub(super) fn sealed(dir: &str, kind: Kind, number: u64, file: F::File, end: u64) -> Self {
        assert!(end >= HEADER_BYTES as u64, "a segment ends behind its header");
        let log = LogFile::ended(kind.identity(number), dir, &name(number, kind.suffix()), file, end);
        Self { kind, log, last_seq: Cell::new(0), live: Cell::new(0) }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn number(&self) -> u64 {
        self.log.number()
    }

    pub(super) fn log(&self) -> &LogFile<F> {
        &self.log
    }

    pub(super) fn path(&self, dir: &str) -> Rc<str> {
        self.kind.path(dir, self.number()).into()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    pub(super) fn live(&self) -> u64 {
        self.live.get()
    }

    pub(super) fn add_live(&self, bytes: u64) {
        self.live.set(self.live() + bytes);
    }

    pub(super) fn remove_live(&self, bytes: u64) {
        let live = self.live().checked_sub(bytes);
        self.live.set(live.expect("what is no longer live was live"));
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq.get()
    }

    pub(super) fn set_last_seq(&self, seq: u64) {
        assert!(self.last_seq() <= seq, "batches come in the order of their numbers");
        self.last_seq.set(seq);
    }

    /// Appends a batch; says where its values are, in their order.
    pub(super) fn push(&self, seq: u64, batch: &Mutations) -> Vec<Written> {
        self.set_last_seq(seq);
        assert!(seq > 0 && !batch.is_empty(), "what a segment takes is a batch with a number");
        let tag = u32::try_from(batch.len()).expect("a batch has below 2^32 changes");
        let (mut begins, mut offsets) = (0, Vec::new());
        let record_at = self.log.push(tag, |buffer| {
            begins = buffer.len();
            batch::encode(buffer, seq, batch, |at| offsets.push(at));
        });
        let payload_at = record_at + RECORD_HEADER_BYTES as u64;
        let values = batch.iter().filter_map(batch::Mutation::value);
        assert_eq!(offsets.len(), values.clone().count(), "every value has a place");
        let written = offsets.iter().zip(values);
        written.map(|(at, value)| (payload_at + (at - begins) as u64, crc32c::crc32c(value))).collect()
    }
}

impl<F: Fs> Segment<F> {
    /// Reads it again, as far as it was handed to its file, and checks every record. Nobody may be writing
    /// it. Returns how many bytes were read.
    pub(super) async fn verify(&self, dir: &str) -> Result<u64, EngineError> {
        let is_sound = |tag, payload: &[u8]| match (self.kind, tag) {
            (Kind::Merged, merged::TRAILER) => merged::Trailer::decode(payload).is_some(),
            (_, changes) => batch::decode(changes, payload, |_| {}).is_some(),
        };
        self.log.verify(&self.path(dir), is_sound).await
    }
}

//! Batches read back from logs that follow each other.
//!
//! Logs are written and flushed in their order, and batches are numbered without gaps over all of
//! them. So what a crash loses is a suffix: reading stops at the first number that is missing. A torn
//! tail that a later log goes on behind was cut by an earlier recovery, and takes nothing away. Where
//! something behind a gap had been durable, so had the gap: that is corruption.

use std::rc::Rc;

use contract::{EngineError, Fs, OpenMode};

use crate::batch::{self, Mutations};
use crate::log::{LogIdentity, LogReader, RECORD_HEADER_BYTES, read_whole};

/// A batch, and where it was found.
pub(crate) struct Found {
    pub(crate) seq: u64,
    pub(crate) batch: Mutations,
    /// Where in the log each value begins.
    pub(crate) values: Vec<u64>,
}

/// A log to be read.
pub(crate) struct Log {
    pub(crate) identity: LogIdentity,
    pub(crate) path: Rc<str>,
}

/// Reads the batches behind batch `last`, up to the first that is missing.
pub(crate) struct Replay {
    last: u64,
    gap: Option<EngineError>,
    bytes_read: u64,
}

impl Replay {
    pub(crate) fn new(last: u64) -> Self {
        Self { last, gap: None, bytes_read: 0 }
    }

    /// The last batch so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Reads the next log; returns whether it holds any batch that counts, and where these end.
    pub(crate) async fn read<F: Fs>(
        &mut self,
        fs: &F,
        log: &Log,
        mut apply: impl FnMut(Found),
    ) -> Result<(bool, u64), EngineError> {
        let bytes = read_whole(&fs.open(&log.path, OpenMode::Existing).await?).await?;
        self.bytes_read += bytes.len() as u64;
        let corrupt = |offset, what| EngineError::Corrupt { file: Rc::clone(&log.path), offset, what };
        let mut reader = match LogReader::header(log.identity, &bytes) {
            Ok(_) => LogReader::new(log.identity, &bytes),
            Err(_) => LogReader::headless(log.identity, &bytes),
        };
        let (mut counts, mut end) = (false, reader.position());
        loop {
            let offset = reader.position();
            let Some(record) = reader.next() else { break };
            let mut values = Vec::new();
            let payload_at = offset + RECORD_HEADER_BYTES as u64;
            let decoded = batch::decode(record.tag, record.payload, |at| values.push(payload_at + at as u64));
            let (seq, batch) = decoded.ok_or_else(|| corrupt(offset, "batch is malformed"))?;
            if seq <= self.last {
                return Err(corrupt(offset, "batches are out of order"));
            }
            if seq == self.last + 1 {
                assert!(!counts || self.gap.is_none(), "a log has no gap inside its intact records");
                self.gap = None;
                self.last = seq;
                (counts, end) = (true, reader.position());
                apply(Found { seq, batch, values });
                continue;
            }
            let gap = self.gap.get_or_insert_with(|| corrupt(offset, "batches before this one are missing"));
            // A log is flushed only after those before it.
            if record.durable > 0 {
                return Err(gap.clone());
            }
        }
        let torn = reader.end().map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
        if let Some(flaw) = torn {
            self.gap.get_or_insert_with(|| corrupt(flaw.offset, flaw.what));
        }
        Ok((counts, end))
    }
}

//! Batches read back from logs that follow each other.
//!
//! Logs are written and flushed in their order, and batches are numbered without gaps over all of
//! them. So what a crash loses is a suffix: reading stops at the first number that is missing. A torn
//! tail that a later log goes on behind was cut by an earlier recovery, and takes nothing away. Where
//! something behind a gap had been durable, so had the gap: that is corruption.

use std::rc::Rc;

use contract::{Bug, Bugs, EngineError, Fs, OpenMode, TornTail};

use crate::batch::{self, Mutations};
use crate::log::{LogIdentity, LogReader, RECORD_HEADER_BYTES, read_whole};
use crate::paths;

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

/// What a log held.
pub(crate) struct Read<F: Fs> {
    pub(crate) file: F::File,
    /// Where its last batch that counts ends; `None` if none does.
    pub(crate) end: Option<u64>,
}

/// The end of a log that was read.
struct End {
    path: Rc<str>,
    offset: u64,
    torn: Option<TornTail>,
}

/// Reads the batches behind batch `last`, up to the first that is missing.
pub(crate) struct Replay {
    last: u64,
    /// The end of the log before the next one.
    before: Option<End>,
    /// Where the first batch is missing.
    gap: Option<TornTail>,
    /// Where each log was cut, from the gap on.
    torn: Vec<TornTail>,
    /// Logs with batches that count, and what they held, of which nothing says that it was durable to the end.
    unvouched: Vec<(Rc<str>, Vec<u8>)>,
    bytes_read: u64,
}

fn corrupt(place: &TornTail) -> EngineError {
    EngineError::Corrupt { file: Rc::clone(&place.file), offset: place.offset, what: place.what }
}

impl Replay {
    pub(crate) fn new(last: u64) -> Self {
        Self { last, before: None, gap: None, torn: Vec::new(), unvouched: Vec::new(), bytes_read: 0 }
    }

    /// The last batch so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// What does not count of the logs that were read.
    pub(crate) fn into_torn(self) -> Vec<TornTail> {
        self.torn
    }

    /// `file` says that batch `seq` had been durable: if the logs end before it, something is damaged.
    pub(crate) fn check_reaches(&self, seq: u64, file: &Rc<str>) -> Result<(), EngineError> {
        if self.last >= seq {
            return Ok(());
        }
        let (file, offset) = self.before.as_ref().map_or((file, 0), |end| (&end.path, end.offset));
        let missing =
            || TornTail { file: Rc::clone(file), offset, what: "batches behind this one are missing" };
        Err(corrupt(&self.gap.clone().unwrap_or_else(missing)))
    }

    /// Makes the batches that count durable: what is read may be in the page cache alone. Returns the files
    /// that have another log's content now, by their paths.
    pub(crate) async fn make_durable<F: Fs>(
        &self,
        fs: &F,
        bugs: Bugs,
    ) -> Result<Vec<(Rc<str>, F::File)>, EngineError> {
        let mut files = Vec::new();
        if bugs.has(Bug::RecoveryNotDurable) {
            return Ok(files);
        }
        for (path, bytes) in &self.unvouched {
            files.push((Rc::clone(path), paths::rewrite(fs, path, bytes).await?));
        }
        Ok(files)
    }

    /// Reads the next log.
    pub(crate) async fn read<F: Fs>(
        &mut self,
        fs: &F,
        log: &Log,
        mut apply: impl FnMut(Found),
    ) -> Result<Read<F>, EngineError> {
        let file = fs.open(&log.path, OpenMode::Existing).await?;
        let bytes = read_whole(&file).await?;
        self.bytes_read += bytes.len() as u64;
        let at = |offset, what| TornTail { file: Rc::clone(&log.path), offset, what };
        let (mut reader, vouched) = match LogReader::header(log.identity, &bytes) {
            Ok(before) => (LogReader::new(log.identity, &bytes), u64::from(before)),
            Err(_) => (LogReader::headless(log.identity, &bytes), 0),
        };
        if vouched > 0 {
            self.check_before(vouched)?;
        }
        let (mut end, mut cut) = (None, None);
        loop {
            let offset = reader.position();
            let Some(record) = reader.next() else { break };
            let mut values = Vec::new();
            let payload_at = offset + RECORD_HEADER_BYTES as u64;
            let decoded = batch::decode(record.tag, record.payload, |at| values.push(payload_at + at as u64));
            let (seq, batch) = decoded.ok_or_else(|| corrupt(&at(offset, "batch is malformed")))?;
            if seq <= self.last {
                return Err(corrupt(&at(offset, "batches are out of order")));
            }
            if seq == self.last + 1 {
                assert!(end.is_none() || self.gap.is_none(), "a log has no gap inside its intact records");
                (self.gap, self.last) = (None, seq);
                self.torn.clear();
                end = Some(reader.position());
                apply(Found { seq, batch, values });
                continue;
            }
            let here = at(offset, "batches before this one are missing");
            let gap = self.gap.get_or_insert_with(|| here.clone());
            // A log is flushed only after those before it.
            if record.durable > 0 || vouched > 0 {
                return Err(corrupt(gap));
            }
            cut.get_or_insert(here);
        }
        let offset = reader.position();
        let torn = reader.end().map_err(|flaw| corrupt(&at(flaw.offset, flaw.what)))?;
        let torn = torn.map(|flaw| at(flaw.offset, flaw.what));
        if let Some(flaw) = &torn {
            self.gap.get_or_insert_with(|| flaw.clone());
            cut.get_or_insert_with(|| flaw.clone());
        }
        self.torn.extend(cut);
        assert!(self.torn.is_empty() || self.gap.is_some(), "nothing is cut where nothing is missing");
        if vouched > 0 || reader.durable() > 0 {
            self.unvouched.clear();
        }
        if end.is_some_and(|end| end > reader.durable()) {
            self.unvouched.push((Rc::clone(&log.path), reader.used().to_vec()));
        }
        self.before = Some(End { path: Rc::clone(&log.path), offset, torn });
        Ok(Read { file, end })
    }

    /// The next log says that the one before it was durable up to here, and all logs before that.
    fn check_before(&mut self, durable: u64) -> Result<(), EngineError> {
        let Some(before) = &self.before else { return Ok(()) };
        if before.offset < durable {
            let what = before.torn.as_ref().map_or("records are missing at the log's end", |torn| torn.what);
            return Err(corrupt(&TornTail { file: Rc::clone(&before.path), offset: before.offset, what }));
        }
        // Its torn tail was cut by an earlier recovery, which went on behind it.
        match &self.gap {
            Some(gap) if before.torn.as_ref() != Some(gap) => Err(corrupt(gap)),
            _ => {
                self.gap = None;
                self.torn.clear();
                Ok(())
            }
        }
    }
}

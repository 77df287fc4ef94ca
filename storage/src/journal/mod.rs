//! The journal: what a server's replicas must not forget, in order, on one disk.
//!
//! The model is a segmented write-ahead log with group commit. Many streams (replica groups) append;
//! the records of all that wait are written by one write and made durable by one flush, led by one
//! of the waiting callers. (DeWitt et al., 1984; the leader among the waiting as in RocksDB.)
//!
//! - Order of calls = order on disk, whichever caller leads.
//! - A segment's space is reserved, and its size and name made durable, when it is created; so a
//!   commit is one write and one flush of data alone.
//! - After a failed write or flush nothing more is acknowledged: what the device then holds is not
//!   known, and a flush that is tried again may lie (Rebello et al., ATC'20).
//! - Recovery makes durable what it read before it hands it on: what a process crash left in the page
//!   cache is not durable yet, and after a failed flush it never becomes so by another. So the last segment
//!   is written anew where no later record vouches for it. Then a fresh segment begins; nothing is ever
//!   written behind a tail that may be torn.
//!
//! # Format
//!
//! One folder; a segment is a file named by its number in ten digits and `.journal`. A segment is a
//! log (see the crate's `log` module): magic `SBjournl`, tag = stream, payload = the caller's. The
//! header says where the segment before it ends, so the end of every segment but the last is known,
//! and so is where a torn tail was cut: no byte of a cut segment needs to change. Segments are
//! numbered without gaps; purging removes them from the oldest on.
//!
//! Each opening begins a segment, so its number is the journal's epoch, and stands in every record's checksum. A
//! stream's suffix is taken back by a later record that says so in its payload: no record is ever changed.

mod commit;
mod recovery;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::AddAssign;
use std::rc::Rc;
use std::task::Waker;

use contract::{Bugs, Fs, FsError, TornTail};
use futures::lock::Mutex;
use serde::{Deserialize, Serialize};

use crate::log::{HEADER_BYTES, LogIdentity};
use commit::{Active, Request, Slot};

/// A segment of a journal, numbered from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// The segment after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    fn identity(self) -> LogIdentity {
        LogIdentity { magic: *b"SBjournl", number: self.0 }
    }

    fn path(self, dir: &str) -> String {
        format!("{dir}/{:010}.journal", self.0)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// How a journal is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalOptions {
    /// The size of a segment in bytes. A group of records that is larger gets a larger segment.
    pub segment_bytes: u64,
    /// Bugs planted in it.
    pub bugs: Bugs,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 1 << 20, bugs: Bugs::NONE }
    }
}

/// What a journal can answer instead of doing its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file system failed. This was the first failure of the journal, or one that changed
    /// nothing in it.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Something that had been durable is no longer there.
    #[error("{file}: corrupt at byte {offset}: {what}")]
    Corrupt {
        /// The segment's file.
        file: Rc<str>,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The journal stopped at an earlier failure and acknowledges nothing more.
    #[error("the journal has stopped: {cause}")]
    Stopped {
        /// That failure.
        cause: FsError,
    },
    /// The caller that led a commit was dropped in the middle of it, so the journal stopped.
    #[error("the journal has stopped: a commit was abandoned")]
    Abandoned,
}

impl JournalError {
    /// Whether what was read is not what was written.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Whose.
    pub stream: u32,
    /// What.
    pub payload: Vec<u8>,
    /// Where it is kept.
    pub segment: SegmentId,
}

/// What a journal held when it was opened. All of it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalRecovery {
    /// The records, in the order of their appends.
    pub entries: Vec<JournalEntry>,
    /// What had to be cut off behind them.
    pub torn: Option<TornTail>,
}

/// What a journal has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Calls of [`Journal::append`] that were committed.
    pub appends: u64,
    /// Records in them.
    pub records: u64,
    /// Flushes of segments. `appends / flushes` is the mean size of a group.
    pub flushes: u64,
    /// Bytes written, framing and headers included.
    pub bytes: u64,
    /// The most appends that one flush committed.
    pub largest_group: u64,
    /// Segments created.
    pub segments: u64,
}

impl AddAssign for JournalStats {
    fn add_assign(&mut self, other: Self) {
        let Self { appends, records, flushes, bytes, largest_group, segments } = other;
        self.appends += appends;
        self.records += records;
        self.flushes += flushes;
        self.bytes += bytes;
        self.largest_group = self.largest_group.max(largest_group);
        self.segments += segments;
    }
}

/// A journal. A clone is another handle on the same one.
pub struct Journal<F: Fs>(Rc<Shared<F>>);

impl<F: Fs> Clone for Journal<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Shared<F: Fs> {
    fs: F,
    dir: Rc<str>,
    options: JournalOptions,
    state: RefCell<State<F>>,
    stats: Cell<JournalStats>,
    /// The oldest segment that exists. Locked by whoever purges.
    oldest: Mutex<SegmentId>,
}

struct State<F: Fs> {
    active: Active<F>,
    /// What the next group will hold, in the order of the calls.
    requests: Vec<Request>,
    slots: Vec<Rc<Slot>>,
    /// Whether a caller leads a commit now.
    led: bool,
    /// Callers that wait for a commit to end.
    waiting: Vec<Waker>,
    stopped: Option<JournalError>,
}

impl<F: Fs> Journal<F> {
    /// Opens the journal in folder `dir` of `fs`, creating it if it is missing, and reads what it
    /// holds.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] if something that had been durable is damaged; a torn tail is no
    /// error.
    pub async fn open(
        fs: F,
        dir: &str,
        options: JournalOptions,
    ) -> Result<(Self, JournalRecovery), JournalError> {
        assert!(u32::try_from(options.segment_bytes).is_ok(), "a segment is below 4 GiB");
        assert!(options.segment_bytes >= HEADER_BYTES as u64, "a segment holds its header");
        let found = recovery::recover(&fs, dir, options.bugs).await?;
        assert!(found.oldest <= found.next, "a fresh segment stands behind all others");
        let active = Active::create(&fs, dir, found.next, options.segment_bytes, found.previous_end).await?;
        let stats = JournalStats { segments: 1, ..JournalStats::default() };
        let journal = Self(Rc::new(Shared {
            fs,
            dir: dir.into(),
            options,
            state: RefCell::new(State {
                active,
                requests: Vec::new(),
                slots: Vec::new(),
                led: false,
                waiting: Vec::new(),
                stopped: None,
            }),
            stats: Cell::new(stats),
            oldest: Mutex::new(found.oldest),
        }));
        Ok((journal, found.recovery))
    }

    /// Appends records of a stream; ready once they are durable, with the segment that holds them.
    /// A record becomes durable together with all that was appended before it.
    ///
    /// The order of the *calls* counts, not of the first polls. But nothing is written unless one of
    /// the waiting callers polls; and if the one that leads is dropped in the middle of its commit
    /// the journal stops.
    pub fn append(
        &self,
        stream: u32,
        payloads: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<SegmentId, JournalError>> + use<F> {
        let slot = self.enqueue(stream, payloads);
        let journal = self.clone();
        async move { journal.committed(slot).await }
    }

    /// Removes the segments below `below`, never the active one; durable when it returns.
    ///
    /// # Errors
    /// If the file system fails. The journal still appends, and a later purge tries again.
    pub async fn purge(&self, below: SegmentId) -> Result<(), JournalError> {
        let mut oldest = self.0.oldest.lock().await;
        assert!(*oldest <= self.active_segment(), "the active segment is never removed");
        while *oldest < below.min(self.active_segment()) {
            // One at a time, each made durable before the next: so a gap between segments is never
            // an interrupted purge.
            match self.0.fs.remove(&oldest.path(&self.0.dir)).await {
                Ok(()) | Err(FsError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.0.fs.sync_dir(&self.0.dir).await?;
            *oldest = oldest.next();
        }
        Ok(())
    }

    /// The segment that appends go to now.
    pub fn active_segment(&self) -> SegmentId {
        self.0.state.borrow().active.id
    }

    /// What it has done since it was opened.
    pub fn stats(&self) -> JournalStats {
        self.0.stats.get()
    }
}

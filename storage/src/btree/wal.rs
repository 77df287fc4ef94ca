//! The write-ahead log: groups of pages, until the data file has them.
//!
//! A file named by its number in ten digits and `.wal`, the number of its first group: a log (see the
//! crate's `log` module) with magic `SBbtrwal`, tag = number of pages, and as payload:
//!
//! | Field | Bytes | |
//! |---|---|---|
//! | group | 8 | its number; each group is the one before it plus one, across logs |
//! | per page | page size | the page as it will be in the data file; the meta page is first |
//! | filling | … | zeros up to a whole sector |
//!
//! A record of no pages is a mark: it only says, as each record does, how much of the log is durable.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use contract::{EngineError, File, Fs, OpenMode};

use super::BTree;
use super::commit::Group;
use super::page::{Page, PageNo};
use super::rollback::{SECTOR, decode as decode_pages, fill_sector};
use crate::log::{LogIdentity, LogReader, RECORD_HEADER_BYTES, Tail};
use crate::read::read_at;

/// Space is reserved in steps of this many pages, so that most flushes are of data alone.
const EXTENT_PAGES: u64 = 64;

pub(super) fn identity(number: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBbtrwal", number }
}

pub(super) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{number:010}.wal")
}

/// An error about a write-ahead log's file.
pub(super) fn corrupt(dir: &str, number: u64, offset: u64, what: &'static str) -> EngineError {
    EngineError::Corrupt { file: Rc::from(path(dir, number)), offset, what }
}

/// The logs of a store that is open.
pub(super) struct Wals<F: Fs> {
    /// Oldest first. Groups are appended to the last; the others are full.
    pub(super) logs: VecDeque<Rc<Wal<F>>>,
    /// Where the last content of a page is, if not in the data file: log and offset.
    places: BTreeMap<PageNo, (Rc<Wal<F>>, u64)>,
}

impl<F: Fs> Default for Wals<F> {
    fn default() -> Self {
        Self { logs: VecDeque::new(), places: BTreeMap::new() }
    }
}

impl<F: Fs> Wals<F> {
    /// The file that has a page's last content, and where, if it is not the data file.
    pub(super) fn file_of(&self, no: PageNo) -> Option<(F::File, u64)> {
        let (log, offset) = self.places.get(&no)?;
        Some((log.file(), *offset))
    }

    /// The number of the log that has a page's last content, and where.
    pub(super) fn place_of(&self, no: PageNo) -> Option<(u64, u64)> {
        self.places.get(&no).map(|(log, offset)| (log.number, *offset))
    }

    /// The data file has all that the oldest log has.
    pub(super) fn forget_oldest(&mut self) {
        let oldest = self.logs.pop_front().expect("a log goes that was there");
        assert!(!self.logs.is_empty(), "the log that groups are appended to stays");
        self.places.retain(|_, (log, _)| log.number != oldest.number);
    }
}

pub(super) struct Wal<F: Fs> {
    pub(super) number: u64,
    file: F::File,
    pub(super) state: RefCell<State>,
}

pub(super) struct State {
    tail: Tail,
    named: bool,
    reserved: u64,
    written: u64,
    flushed: u64,
    /// Where its last group ends.
    groups_end: u64,
    /// How much of it some record says to be durable.
    marked: u64,
    /// Where the last content of each page in it is.
    pub(super) pages: BTreeMap<PageNo, u64>,
    /// How many pages the store has after its last group.
    pub(super) store_pages: u32,
    /// Pages before this one are in the data file.
    pub(super) copied: PageNo,
}

impl<F: Fs> Wal<F> {
    /// A log behind another, whose end its header vouches for if that is durable.
    async fn create(fs: &F, dir: &str, number: u64, before: Option<&Self>) -> Result<Self, EngineError> {
        let file = fs.open(&path(dir, number), OpenMode::Truncate).await?;
        let durable = before.filter(|log| log.is_flushed()).map_or(0, |log| log.state.borrow().flushed);
        let durable = u32::try_from(durable).expect("a log is below 4 GiB");
        let state = State {
            tail: Tail::new(identity(number), durable),
            named: false,
            reserved: 0,
            written: 0,
            flushed: 0,
            groups_end: 0,
            marked: 0,
            pages: BTreeMap::new(),
            store_pages: 0,
            copied: PageNo(0),
        };
        Ok(Self { number, file, state: RefCell::new(state) })
    }

    pub(super) fn file(&self) -> F::File {
        self.file.clone()
    }

    fn bytes(&self) -> u64 {
        self.state.borrow().tail.position()
    }

    /// Whether all groups in it are durable.
    pub(super) fn is_flushed(&self) -> bool {
        let state = self.state.borrow();
        state.flushed >= state.groups_end
    }

    /// Whether all groups in it are durable and no record says so.
    pub(super) fn lacks_mark(&self) -> bool {
        self.is_flushed() && self.state.borrow().marked < self.state.borrow().groups_end
    }

    /// Encodes a record; where its payload begins.
    fn push(&self, group: u64, pages: &[Page]) -> u64 {
        let state = &mut *self.state.borrow_mut();
        let position = state.tail.position();
        let count = u32::try_from(pages.len()).expect("fewer pages than a store can have");
        state.tail.push(count, |buffer| {
            let from = buffer.len();
            buffer.reserve(8 + pages.iter().map(Page::size).sum::<usize>() + SECTOR);
            buffer.extend_from_slice(&group.to_le_bytes());
            pages.iter().for_each(|page| buffer.extend_from_slice(page.bytes()));
            fill_sector(position, from, buffer);
        });
        position + RECORD_HEADER_BYTES as u64
    }

    /// Hands what was encoded to the file; returns how many bytes. One caller at a time.
    async fn write_out(&self, extent: u64) -> Result<u64, EngineError> {
        let ((offset, buffer), reserved) = {
            let mut state = self.state.borrow_mut();
            (state.tail.take(), state.reserved)
        };
        let end = offset + buffer.len() as u64;
        let (written, buffer) = self.file.write_at(offset, buffer).await;
        written?;
        if end > reserved {
            // Behind what is written now: to reserve that too would be to write it twice.
            let reserved = end.next_multiple_of(extent);
            self.file.allocate(reserved).await?;
            self.state.borrow_mut().reserved = reserved;
        }
        let mut state = self.state.borrow_mut();
        assert_eq!(state.written, offset, "a log is written without gaps");
        state.written = end;
        state.tail.recycle(buffer);
        Ok(end - offset)
    }

    /// Makes all that was written durable. One caller at a time.
    pub(super) async fn sync(&self, fs: &F, dir: &str) -> Result<(), EngineError> {
        let (written, named) = {
            let state = self.state.borrow();
            assert!(state.flushed <= state.written, "a flush covers only what was written before it");
            if state.flushed >= state.groups_end {
                return Ok(());
            }
            (state.written, state.named)
        };
        self.file.sync_data().await?;
        if !named {
            fs.sync_dir(dir).await?;
        }
        let mut state = self.state.borrow_mut();
        state.named = true;
        state.flushed = written;
        state.tail.set_durable(written);
        Ok(())
    }
}

impl<F: Fs> Wal<F> {
    /// Reads again what was handed to the file and checks every record. Nobody may be writing it. Returns
    /// how many bytes were read.
    pub(super) async fn verify(&self, dir: &str) -> Result<u64, EngineError> {
        let written = self.state.borrow().written;
        let bytes = read_at(&self.file, 0, written as usize).await?;
        let corrupt = |offset, what| corrupt(dir, self.number, offset, what);
        let identity = identity(self.number);
        LogReader::header(identity, &bytes).map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
        let mut reader = LogReader::new(identity, &bytes);
        while reader.position() < written {
            let offset = reader.position();
            let record = reader.next().ok_or_else(|| corrupt(offset, "record checksum does not match"))?;
            decode(record.tag, record.payload).ok_or_else(|| corrupt(offset, "group is malformed"))?;
        }
        Ok(written)
    }
}

impl<F: Fs> BTree<F> {
    /// Appends a group to the last log, or begins another behind one that is full.
    pub(super) async fn append(&self, group: Group) -> Result<(), EngineError> {
        let last = self.0.state.borrow().wals.logs.back().cloned();
        let log = match last {
            Some(log) if log.bytes() < self.0.options.wal_bytes => log,
            before => {
                let (fs, dir) = (&self.0.fs, &self.0.dir);
                let log = Rc::new(Wal::create(fs, dir, group.number, before.as_deref()).await?);
                self.0.state.borrow_mut().wals.logs.push_back(Rc::clone(&log));
                log
            }
        };
        let page_bytes = group.pages[0].size() as u64;
        let payload = log.push(group.number, &group.pages);
        let written = log.write_out(EXTENT_PAGES * page_bytes).await?;
        self.count(|stats| stats.bytes_written_to_files += written);
        let state = &mut *self.0.state.borrow_mut();
        let log_state = &mut *log.state.borrow_mut();
        log_state.store_pages = group.store_pages;
        (log_state.groups_end, log_state.marked) = (log_state.written, log_state.flushed);
        for (page, place) in group.pages.iter().zip(0..) {
            let offset = payload + 8 + place * page_bytes;
            log_state.pages.insert(page.no(), offset);
            state.wals.places.insert(page.no(), (Rc::clone(&log), offset));
        }
        Ok(())
    }

    /// Flushes all logs, oldest first: a later one must never outlive an earlier one.
    pub(super) async fn sync_logs(&self) -> Result<(), EngineError> {
        let logs: Vec<_> = self.0.state.borrow().wals.logs.iter().cloned().collect();
        for log in logs {
            log.sync(&self.0.fs, &self.0.dir).await?;
        }
        Ok(())
    }

    /// Says in a log that all of it is durable. Not flushed: it is for later damage only.
    pub(super) async fn mark(&self, log: &Wal<F>) -> Result<(), EngineError> {
        assert!(log.is_flushed(), "a mark says what is so");
        log.push(0, &[]);
        let written = log.write_out(EXTENT_PAGES * self.0.options.page_bytes as u64).await?;
        self.count(|stats| stats.bytes_written_to_files += written);
        let mut state = log.state.borrow_mut();
        state.marked = state.flushed;
        Ok(())
    }
}

/// What a record says.
pub(super) enum Recorded {
    Mark,
    Group(u64, Vec<Page>),
}

/// Reads a record.
pub(super) fn decode(count: u32, payload: &[u8]) -> Option<Recorded> {
    let (group, pages) = payload.split_first_chunk::<8>()?;
    if count == 0 {
        return Some(Recorded::Mark);
    }
    Some(Recorded::Group(u64::from_le_bytes(*group), decode_pages(count, pages)?))
}

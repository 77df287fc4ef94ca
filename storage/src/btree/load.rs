//! Reading pages from files, while others change them.
//!
//! A page is read from the log that has its last content, or from the data file. While it is read, it
//! may be changed, written and evicted, or its log may go: a load that began before such a change starts
//! again, and what it read is not looked at.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Batch, Change, EngineError, File, Fs};
use futures::future::join_all;

use super::BTree;
use super::page::{Page, PageNo};
use super::pool::Hold;
use super::search::{LEVELS_MAX, child_at_once};
use super::wal::corrupt as wal_corrupt;
use crate::read::read_at;

/// The data file grows in steps of this many pages, or of an eighth of it.
const EXTENT_PAGES: u64 = 16;
/// Bytes of neighbouring pages that are written with one request.
const RUN_BYTES: usize = 256 << 10;

/// Loads under way: which page, and whether it changed since.
#[derive(Default)]
pub(super) struct Loads {
    next: u64,
    under_way: BTreeMap<u64, (PageNo, bool)>,
}

impl Loads {
    fn begin(&mut self, no: PageNo) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, (no, false));
        self.next
    }

    /// A page changes, or its content moves to another place.
    pub(super) fn changed(&mut self, no: PageNo) {
        self.under_way.values_mut().filter(|(page, _)| *page == no).for_each(|(_, stale)| *stale = true);
    }

    /// A file that pages are read from is about to go.
    pub(super) fn all_changed(&mut self) {
        self.under_way.values_mut().for_each(|(_, stale)| *stale = true);
    }
}

struct Load<'a, F: Fs> {
    engine: &'a BTree<F>,
    ticket: u64,
}

impl<F: Fs> Load<'_, F> {
    fn is_stale(&self) -> bool {
        self.engine.0.state.borrow().loads.under_way[&self.ticket].1
    }
}

impl<F: Fs> Drop for Load<'_, F> {
    fn drop(&mut self) {
        self.engine.0.state.borrow_mut().loads.under_way.remove(&self.ticket);
    }
}

/// The file that has all pages, but for those that only a log has.
pub(super) struct DataFile<F: Fs> {
    pub(super) path: Rc<str>,
    pub(super) file: F::File,
    /// Its size, at least.
    reserved: Cell<u64>,
}

pub(super) fn data_path(dir: &str) -> String {
    format!("{dir}/data")
}

impl<F: Fs> DataFile<F> {
    pub(super) fn new(path: String, file: F::File, len: u64) -> Self {
        Self { path: path.into(), file, reserved: Cell::new(len) }
    }

    pub(super) fn corrupt(&self, no: PageNo, page_bytes: usize, what: &'static str) -> EngineError {
        EngineError::Corrupt {
            file: Rc::clone(&self.path),
            offset: u64::from(no.0) * page_bytes as u64,
            what,
        }
    }

    /// Writes pages, in ascending order, neighbours together; returns how many bytes.
    pub(super) async fn write(&self, pages: &[Page]) -> Result<u64, EngineError> {
        assert!(pages.is_sorted_by(|a, b| a.no() < b.no()), "pages are written once and in order");
        let Some(last) = pages.last() else { return Ok(0) };
        let page_bytes = last.size() as u64;
        let end = (u64::from(last.no().0) + 1) * page_bytes;
        if end > self.reserved.get() {
            let extent = EXTENT_PAGES.max(end / page_bytes / 8) * page_bytes;
            let reserved = end.next_multiple_of(extent);
            // Its space is not reserved: that would be to write all of it twice, and nobody waits for its flush.
            self.file.set_len(reserved).await?;
            self.reserved.set(reserved);
        }
        let follows = |a: &Page, b: &Page| a.no().0 + 1 == b.no().0;
        assert!(end <= self.reserved.get(), "pages are written where space is reserved");
        let runs = pages.chunk_by(follows).flat_map(|run| run.chunks(RUN_BYTES / page_bytes as usize));
        // All at once: a device may have more than one unit.
        let writes = runs.map(|run| async {
            let mut buffer = Vec::with_capacity(run.len() * page_bytes as usize);
            run.iter().for_each(|page| buffer.extend_from_slice(page.bytes()));
            self.file.write_at(u64::from(run[0].no().0) * page_bytes, buffer).await.0
        });
        join_all(writes).await.into_iter().collect::<Result<(), _>>()?;
        Ok(pages.len() as u64 * page_bytes)
    }

    /// Makes what was written durable where a log that has it too is about to go. Some file systems tell
    /// of a failed flush only when the next one is asked for (ext4 with journalled data; Rebello et al.,
    /// ATC'20): so another is.
    pub(super) async fn sync_for_good(&self) -> Result<(), EngineError> {
        self.file.sync_data().await?;
        self.file.sync_data().await?;
        Ok(())
    }

    /// Cuts off what lies behind `pages` pages, if it is much. None of it may be needed after a crash.
    pub(super) async fn trim(&self, pages: u32, page_bytes: usize) -> Result<(), EngineError> {
        let (needed, extent) = (u64::from(pages), EXTENT_PAGES.max(u64::from(pages) / 8));
        let kept = needed.next_multiple_of(extent) * page_bytes as u64;
        if self.reserved.get() > kept + extent * page_bytes as u64 {
            self.file.set_len(kept).await?;
            self.reserved.set(kept);
        }
        Ok(())
    }
}

impl<F: Fs> BTree<F> {
    /// Reads the pages on the ways to a batch's keys, if the store is larger than the pool. Whoever applies a
    /// batch keeps others from doing so: what it waits for would be read one page at a time, however many write.
    ///
    /// # Errors
    /// If the file system refuses a read. What is damaged is told by who needs it: the tree may change meanwhile,
    /// and then it is not what it was taken for.
    pub(super) async fn read_ways(&self, batch: &Batch) -> Result<(), EngineError> {
        let fits = {
            let state = self.0.state.borrow();
            state.header.pages() as usize <= state.pool.capacity()
        };
        if fits {
            return Ok(());
        }
        for change in &batch.changes {
            if let Change::Put { family, key, .. } | Change::Delete { family, key } = change {
                let mut no = self.0.state.borrow().header.root(*family);
                for _ in 0..LEVELS_MAX {
                    let is_there = no.exists() && no.0 < self.0.state.borrow().header.pages();
                    if !is_there {
                        break;
                    }
                    let page = match self.load(no).await {
                        Err(EngineError::Corrupt { .. }) => break,
                        page => page?,
                    };
                    let Some(child) = child_at_once(&page, key) else { break };
                    no = child;
                }
            }
        }
        Ok(())
    }

    /// The page as it is now.
    pub(super) async fn load(&self, no: PageNo) -> Result<Page, EngineError> {
        let cached = self.0.state.borrow().pool.get(no).cloned();
        if let Some(page) = cached {
            self.count(|stats| stats.cache_hits += 1);
            return Ok(page);
        }
        self.count(|stats| stats.cache_misses += 1);
        let page = self.read(no).await?;
        let state = &mut *self.0.state.borrow_mut();
        if state.pool.get(no).is_none() {
            state.pool.insert(no, page.clone(), Hold::Clean);
        }
        Ok(page)
    }

    /// The page as it is now, from its file unless it has changes that no file has.
    pub(super) async fn read(&self, no: PageNo) -> Result<Page, EngineError> {
        loop {
            let (load, file, offset, page_bytes) = {
                let state = &mut *self.0.state.borrow_mut();
                if state.pool.hold(no).is_some_and(|hold| hold != Hold::Clean) {
                    return Ok(state.pool.get(no).expect("it is held there").clone());
                }
                let load = Load { engine: self, ticket: state.loads.begin(no) };
                let page_bytes = state.header.page_bytes();
                let (file, offset) = state
                    .wals
                    .file_of(no)
                    .unwrap_or_else(|| (self.0.data.file.clone(), u64::from(no.0) * page_bytes as u64));
                (load, file, offset, page_bytes)
            };
            let read = read_at(&file, offset, page_bytes).await;
            if load.is_stale() {
                continue;
            }
            self.count(|stats| stats.bytes_read_from_files += page_bytes as u64);
            let bytes = read?;
            if bytes.len() < page_bytes {
                return Err(self.corrupt(no, "file ends within the page"));
            }
            let page =
                Page::check_with(&bytes, no, self.0.options.bugs).map_err(|what| self.corrupt(no, what))?;
            if page.group() > self.0.state.borrow().group {
                return Err(self.corrupt(no, "page is of a group that never was"));
            }
            return Ok(page);
        }
    }

    /// An error about a page, at the place it is read from.
    pub(super) fn corrupt(&self, no: PageNo, what: &'static str) -> EngineError {
        let state = self.0.state.borrow();
        match state.wals.place_of(no) {
            Some((number, offset)) => wal_corrupt(&self.0.dir, number, offset, what),
            None => self.0.data.corrupt(no, state.header.page_bytes(), what),
        }
    }
}

//! Background work, in steps: copying full logs into the data file, writing out what was changed,
//! marking what is durable, vacuum.

use std::rc::Rc;

use contract::{Durability, EngineError, Fs};
use futures::future::join_all;

use super::BTree;
use super::page::{Page, PageNo};
use super::pool::Hold;
use super::vacuum::{self, Vacuum};
use super::wal::{self, Wal};
use crate::read::read_at;

/// Pages that one step copies out of a log.
const PAGES_AT_ONCE: usize = 64;
/// Logs that may wait; with more, a writer copies one itself.
const LOGS_MAX: usize = 4;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Copy,
    Commit,
    Mark,
    Vacuum(Vacuum),
}

impl<F: Fs> BTree<F> {
    pub(super) fn next_step(&self) -> Option<Due> {
        let state = self.0.state.borrow();
        if self.0.latch.check().is_err() {
            return None;
        }
        if state.wals.logs.len() > 1 {
            return Some(Due::Copy);
        }
        if state.dirty.len() >= state.pool.capacity() / 2 {
            return Some(Due::Commit);
        }
        if state.wals.logs.back().is_some_and(|log| log.lacks_mark()) {
            return Some(Due::Mark);
        }
        vacuum::due(&state.header).map(Due::Vacuum)
    }

    /// Does what is due next.
    pub(super) async fn step(&self) -> Result<(), EngineError> {
        let mut sweep = self.0.maintaining.lock().await;
        self.0.latch.check()?;
        match self.next_step() {
            None => Ok(()),
            Some(Due::Copy) => self.copy_some().await,
            Some(Due::Commit) => {
                let mut committing = self.committing().await;
                self.commit(&mut committing, Durability::Lazy).await
            }
            Some(Due::Mark) => {
                let _committing = self.committing().await;
                let last = self.0.state.borrow().wals.logs.back().cloned();
                match last.filter(|log| log.lacks_mark()) {
                    Some(log) => self.0.latch.or_shut(self.mark(&log)).await,
                    None => Ok(()),
                }
            }
            Some(Due::Vacuum(what)) => self.vacuum(&mut sweep, what).await,
        }
    }

    /// Does what must be done before more is written, so that memory and logs stay bounded.
    pub(super) async fn catch_up(&self) -> Result<(), EngineError> {
        let many_logs = || self.0.state.borrow().wals.logs.len() > LOGS_MAX;
        if many_logs() {
            let _maintaining = self.0.maintaining.lock().await;
            while many_logs() {
                self.0.latch.check()?;
                self.copy_some().await?;
            }
        }
        if self.0.state.borrow().is_full() {
            let mut committing = self.committing().await;
            if self.0.state.borrow().is_full() {
                self.commit(&mut committing, Durability::Lazy).await?;
            }
        }
        Ok(())
    }

    /// Copies some pages of the oldest log into the data file; with the last of them, the log goes.
    async fn copy_some(&self) -> Result<(), EngineError> {
        let log = self.0.state.borrow().wals.logs.front().cloned().expect("a full log is there");
        if !log.is_flushed() || log.lacks_mark() {
            let _committing = self.committing().await;
            return self
                .0
                .latch
                .or_shut(async {
                    log.sync(&self.0.fs, &self.0.dir).await?;
                    if log.lacks_mark() { self.mark(&log).await } else { Ok(()) }
                })
                .await;
        }
        let (chunk, store_pages): (Vec<_>, _) = {
            let state = log.state.borrow();
            let pages = state.pages.range(state.copied..PageNo(state.store_pages));
            (pages.take(PAGES_AT_ONCE).map(|(no, offset)| (*no, *offset)).collect(), state.store_pages)
        };
        let pages = join_all(chunk.iter().map(|(no, offset)| self.logged_page(&log, *no, *offset))).await;
        let pages = pages.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.0
            .latch
            .or_shut(async {
                assert!(log.is_flushed(), "what is copied is durable in its log");
                let written = self.0.data.write(&pages).await?;
                self.count(|stats| stats.bytes_written_to_files += written);
                if let Some((last, _)) = chunk.last() {
                    log.state.borrow_mut().copied = PageNo(last.0 + 1);
                    return Ok(());
                }
                self.0.data.sync_for_good().await?;
                self.0.data.trim(store_pages, self.0.options.page_bytes).await?;
                {
                    let state = &mut *self.0.state.borrow_mut();
                    state.loads.all_changed();
                    state.wals.forget_oldest();
                }
                self.0.fs.remove(&wal::path(&self.0.dir, log.number)).await?;
                self.0.fs.sync_dir(&self.0.dir).await?;
                self.count(|stats| stats.flushes += 1);
                Ok(())
            })
            .await
    }

    /// A page as a log has it.
    async fn logged_page(&self, log: &Rc<Wal<F>>, no: PageNo, offset: u64) -> Result<Page, EngineError> {
        {
            let state = self.0.state.borrow();
            let is_last = state.wals.place_of(no) == Some((log.number, offset));
            if is_last && state.pool.hold(no) == Some(Hold::Clean) {
                return Ok(state.pool.get(no).expect("it is held there").clone());
            }
        }
        let page_bytes = self.0.options.page_bytes;
        let bytes = read_at(&log.file(), offset, page_bytes).await?;
        self.count(|stats| stats.bytes_read_from_files += page_bytes as u64);
        let corrupt = |what| wal::corrupt(&self.0.dir, log.number, offset, what);
        if bytes.len() < page_bytes {
            return Err(corrupt("file ends within the page"));
        }
        Page::check(&bytes, no).map_err(corrupt)
    }
}

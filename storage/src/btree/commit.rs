//! Groups: the pages that changed since the last group, taken at a moment between two batches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use contract::{Durability, EngineError, Fs};
use futures::lock::MutexGuard;

use super::page::{Page, PageNo};
use super::rollback::Rollback;
use super::{BTree, Mode};

/// Pages that become durable together.
pub(super) struct Group {
    pub(super) number: u64,
    /// In ascending order; the first is the meta page.
    pub(super) pages: Vec<Page>,
    /// In mode `Rollback`, what the data file has in place of pages that were in use.
    pub(super) originals: BTreeMap<PageNo, Page>,
    /// How many pages the store has then.
    pub(super) store_pages: u32,
}

/// Wakes all who wait for the end of a flush at once. If they came one by one, the first of them would
/// have written again and begun a flush of its own before the second.
#[derive(Default)]
pub(super) struct Bell(RefCell<Vec<Waker>>);

impl Bell {
    /// Waits until it rings.
    pub(super) async fn next(&self) {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn ring(&self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

/// The right to write groups.
pub(super) struct Committing<'a, F: Fs> {
    rollback: MutexGuard<'a, Rollback<F>>,
    bell: &'a Bell,
}

impl<F: Fs> Drop for Committing<'_, F> {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

impl<F: Fs> BTree<F> {
    pub(super) async fn committing(&self) -> Committing<'_, F> {
        Committing { rollback: self.0.committing.lock().await, bell: &self.0.bell }
    }

    pub(super) fn try_committing(&self) -> Option<Committing<'_, F>> {
        Some(Committing { rollback: self.0.committing.try_lock()?, bell: &self.0.bell })
    }

    /// Writes what changed as a group; flushes it if it must. In mode `Rollback` every group is flushed.
    pub(super) async fn commit(
        &self,
        committing: &mut Committing<'_, F>,
        durability: Durability,
    ) -> Result<(), EngineError> {
        let (seq, group) = {
            // Between two batches.
            let _writing = self.0.writing.lock().await;
            self.take_group()?
        };
        self.0
            .latch
            .or_shut(async {
                let numbers: Vec<PageNo> =
                    group.iter().flat_map(|group| &group.pages).map(Page::no).collect();
                if group.is_some() {
                    self.count(|stats| stats.flushes += 1);
                }
                match self.0.options.mode {
                    Mode::Rollback => {
                        if let Some(group) = group {
                            self.commit_in_place(&mut committing.rollback, group).await?;
                        }
                    }
                    Mode::Wal => {
                        if let Some(group) = group {
                            self.append(group).await?;
                        }
                        if durability == Durability::Synced {
                            self.sync_logs().await?;
                        }
                    }
                }
                let state = &mut *self.0.state.borrow_mut();
                numbers.into_iter().for_each(|no| state.pool.written(no));
                if durability == Durability::Synced || self.0.options.mode == Mode::Rollback {
                    state.durable = state.durable.max(seq);
                }
                assert!(state.durable <= state.seq, "what is durable was written");
                Ok(())
            })
            .await
    }

    /// The last batch, and what changed up to it since the last group.
    fn take_group(&self) -> Result<(u64, Option<Group>), EngineError> {
        let state = &mut *self.0.state.borrow_mut();
        self.0.latch.check()?;
        if state.dirty.is_empty() && Rc::ptr_eq(&state.header, &state.grouped) {
            return Ok((state.seq, None));
        }
        state.group += 1;
        let number = state.group;
        let mut pages = state.header.encode(Some(&state.grouped));
        pages.iter_mut().for_each(|page| page.seal(number));
        pages.extend(std::mem::take(&mut state.dirty).into_iter().map(|no| state.pool.take_for(number, no)));
        pages.sort_unstable_by_key(Page::no);
        assert!(pages.is_sorted_by(|a, b| a.no() < b.no()), "a group has a page once");
        assert_eq!(pages[0].no(), PageNo(0), "every group has the meta page");
        let originals = state.originals.as_mut().map(std::mem::take).unwrap_or_default();
        state.grouped = Rc::clone(&state.header);
        let store_pages = state.header.pages();
        Ok((state.seq, Some(Group { number, pages, originals, store_pages })))
    }
}

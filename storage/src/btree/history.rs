//! Earlier contents of pages, for as long as a snapshot may ask for them.
//!
//! A batch that changes or frees a page leaves the page's content before it here, if there is a
//! snapshot that has no later content of it. Contents are shared with the pool, so this costs memory
//! only for pages that change while a snapshot lives.

use std::collections::{BTreeMap, VecDeque};

use super::page::{Page, PageNo};

#[derive(Default)]
pub(super) struct History {
    /// How many snapshots there are of each batch.
    snapshots: BTreeMap<u64, usize>,
    /// Contents with the batch that replaced them, oldest first.
    pages: BTreeMap<PageNo, VecDeque<(u64, Page)>>,
}

impl History {
    pub(super) fn pin(&mut self, seq: u64) {
        assert!(self.snapshots.last_key_value().is_none_or(|(last, _)| *last <= seq), "a snapshot is of now");
        *self.snapshots.entry(seq).or_default() += 1;
    }

    pub(super) fn unpin(&mut self, seq: u64) {
        let count = self.snapshots.get_mut(&seq).expect("a snapshot is let go of once");
        *count -= 1;
        if *count > 0 {
            return;
        }
        let was_oldest = self.snapshots.first_key_value().is_some_and(|(oldest, _)| *oldest == seq);
        self.snapshots.remove(&seq);
        match self.snapshots.first_key_value() {
            None => self.pages.clear(),
            Some((&oldest, _)) if was_oldest => self.pages.retain(|_, contents| {
                while contents.front().is_some_and(|(until, _)| *until <= oldest) {
                    contents.pop_front();
                }
                !contents.is_empty()
            }),
            Some(_) => {}
        }
        assert!(!self.snapshots.is_empty() || self.pages.is_empty(), "what nobody reads is not kept");
    }

    /// Batch `until` replaces a page's content.
    pub(super) fn keep(&mut self, no: PageNo, content: &Page, until: u64) {
        let Some((&newest, _)) = self.snapshots.last_key_value() else { return };
        assert!(newest < until, "a snapshot is of batches that were applied");
        let contents = self.pages.entry(no).or_default();
        if contents.back().is_none_or(|(replaced, _)| *replaced <= newest) {
            contents.push_back((until, content.clone()));
        }
        assert!(contents.iter().is_sorted_by(|a, b| a.0 < b.0), "contents are kept in their order");
    }

    /// The page as it was after batch `seq`, if it changed since.
    pub(super) fn get(&self, no: PageNo, seq: u64) -> Option<&Page> {
        let contents = self.pages.get(&no)?;
        contents.iter().find(|(until, _)| *until > seq).map(|(_, content)| content)
    }
}

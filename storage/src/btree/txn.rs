//! A batch under way: pages and a header of its own, until all of them take effect at once.
//!
//! Whoever applies a batch holds the right to write, so what it reads cannot change below it; readers
//! see none of it before it is whole. An abandoned batch leaves nothing.

use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Bug, EngineError, Family, Fs};

use super::cell::OVERFLOW_HEADER;
use super::header::Header;
use super::page::{Kind, Page, PageNo};
use super::pool::Hold;
use super::search::{Pages, child_for, link, lower_bound, node};
use super::{BTree, State};

pub(super) struct Txn<'a, F: Fs> {
    engine: &'a BTree<F>,
    pub(super) header: Rc<Header>,
    touched: BTreeMap<PageNo, Touched>,
}

/// A page that the batch changed.
struct Touched {
    /// Its content before; `None` if it was free.
    before: Option<Page>,
    /// Its content now; `None` if the batch freed it.
    after: Option<Page>,
}

/// One page on the way from a root to a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) no: PageNo,
    /// The cell that was taken; of a leaf, the first at or behind the key.
    pub(super) index: usize,
    /// Whether no cell is behind it.
    pub(super) last: bool,
}

impl<F: Fs> Pages for Txn<'_, F> {
    async fn page(&self, no: PageNo) -> Result<Page, EngineError> {
        if let Some(touched) = self.touched.get(&no) {
            return touched.after.clone().ok_or_else(|| self.corrupt(no, "a page is used twice"));
        }
        if no.0 >= self.header.pages() || !self.header.is_used(no) {
            return Err(self.corrupt(no, "a page that is not in use is referred to"));
        }
        self.engine.load(no).await
    }

    fn corrupt(&self, no: PageNo, what: &'static str) -> EngineError {
        self.engine.corrupt(no, what)
    }
}

impl<'a, F: Fs> Txn<'a, F> {
    /// Begins a batch. The caller holds the right to write.
    pub(super) fn new(engine: &'a BTree<F>) -> Self {
        let header = Rc::clone(&engine.0.state.borrow().header);
        Self { engine, header, touched: BTreeMap::new() }
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.header.page_bytes()
    }

    pub(super) fn header_mut(&mut self) -> &mut Header {
        Rc::make_mut(&mut self.header)
    }

    /// A page that is about to be changed.
    pub(super) async fn change(&mut self, no: PageNo) -> Result<&mut Page, EngineError> {
        if !self.touched.contains_key(&no) {
            let page = self.page(no).await?;
            let copy = self.engine.0.state.borrow_mut().pool.copy_of(&page);
            self.touched.insert(no, Touched { before: Some(page), after: Some(copy) });
        }
        let touched = self.touched.get_mut(&no).expect("it was just put there");
        Ok(touched.after.as_mut().expect("a freed page is not changed"))
    }

    /// Replaces a page that was read.
    pub(super) fn set(&mut self, page: Page, before: &Page) {
        assert_eq!(page.no(), before.no(), "a page is replaced in its place");
        let touched = self.touched.entry(page.no());
        touched.or_insert_with(|| Touched { before: Some(before.clone()), after: None }).after = Some(page);
    }

    /// Takes a free page; `fill` makes its content.
    pub(super) fn allocate(&mut self, fill: impl FnOnce(PageNo) -> Page) -> PageNo {
        let no = self.header_mut().allocate();
        let page = fill(no);
        assert_eq!((page.no(), page.group()), (no, 0), "no group has written a new page");
        let touched = Touched { before: None, after: Some(page) };
        let before = self.touched.insert(no, touched);
        assert!(before.is_none(), "what a batch frees is free once the batch is whole");
        no
    }

    /// Frees a page that was read.
    pub(super) fn free(&mut self, page: &Page) {
        let touched = self.touched.entry(page.no());
        let touched = touched.or_insert_with(|| Touched { before: Some(page.clone()), after: None });
        touched.after = None;
    }

    /// Writes a chain of overflow pages.
    pub(super) fn spill(&mut self, family: Family, bytes: &[u8]) -> PageNo {
        assert!(!bytes.is_empty(), "an empty chain is none");
        let page_bytes = self.page_bytes();
        let mut next = PageNo::NONE;
        // From the end, so that each page knows the one behind it.
        for chunk in bytes.chunks(page_bytes - OVERFLOW_HEADER).rev() {
            next = self.allocate(|no| {
                let mut page = Page::new(page_bytes, no, Kind::Overflow);
                page.set_family(family);
                let content = page.bytes_mut();
                content[OVERFLOW_HEADER - 4..OVERFLOW_HEADER].copy_from_slice(&next.0.to_le_bytes());
                content[OVERFLOW_HEADER..OVERFLOW_HEADER + chunk.len()].copy_from_slice(chunk);
                page
            });
        }
        next
    }

    /// Frees the overflow pages of a cell.
    pub(super) async fn free_chain(&mut self, page: &Page, i: usize) -> Result<(), EngineError> {
        let cell = page.cell(i);
        let (mut next, mut left) = (cell.overflow.unwrap_or(PageNo::NONE), cell.overflow_bytes());
        while next.exists() {
            let (page, here, behind) = link(self, next, left).await?;
            self.free(&page);
            (next, left) = (behind, left - here);
        }
        assert_eq!(left, 0, "a chain ends with its last byte");
        Ok(())
    }

    /// The way to a key, and whether the key is there. The family must have a root.
    pub(super) async fn descend(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<(Vec<Step>, Page, bool), EngineError> {
        let mut page = node(self, self.header.root(family), family, None).await?;
        let mut path = Vec::with_capacity(usize::from(page.level()) + 1);
        while !page.is_leaf() {
            let index = child_for(self, &page, key).await?;
            path.push(Step { no: page.no(), index, last: index + 1 == page.cells() });
            page = node(self, page.cell(index).child, family, Some(page.level() - 1)).await?;
        }
        let (index, found) = lower_bound(self, &page, key).await?;
        path.push(Step { no: page.no(), index, last: index == page.cells() });
        Ok((path, page, found))
    }

    /// All of it takes effect, as one batch.
    pub(super) fn commit(mut self) {
        let state = &mut *self.engine.0.state.borrow_mut();
        state.seq += 1;
        for (no, touched) in std::mem::take(&mut self.touched) {
            if let Some(before) = &touched.before {
                if !self.engine.0.options.bugs.has(Bug::SnapshotPageLost) {
                    state.history.keep(no, before, state.seq);
                }
                state.remember_original(no, before);
            }
            state.loads.changed(no);
            match touched.after {
                Some(page) => state.put_dirty(no, page),
                None => {
                    self.header_mut().release(no);
                    state.pool.remove(no);
                    state.dirty.remove(&no);
                }
            }
            if let Some(before) = touched.before {
                state.pool.recycle(before);
            }
        }
        state.header = self.header;
    }
}

impl<F: Fs> State<F> {
    fn put_dirty(&mut self, no: PageNo, page: Page) {
        self.pool.insert(no, page, Hold::Dirty);
        self.dirty.insert(no);
    }

    /// Keeps what the data file has of a page, for the rollback journal: a group overwrites it.
    fn remember_original(&mut self, no: PageNo, before: &Page) {
        // What no group has written was free before this group, and may be overwritten.
        if let (Some(originals), true) = (&mut self.originals, before.group() > 0) {
            originals.entry(no).or_insert_with(|| before.clone());
        }
    }
}

//! The content at one moment, and walking over it in both directions.
//!
//! A snapshot is the number of a batch and the header as that batch left it. Its pages are those of the
//! present, but where one changed since: then `history` has the content before. Both modes do it so,
//! since only the writer's memory knows which batch a page is of: the log and the data file know groups
//! of batches.

use std::rc::Rc;

use contract::{EngineError, Family, Fs, Order, Pair, Range, ReadStore};

use super::BTree;
use super::cell::Cell;
use super::header::Header;
use super::page::{Page, PageNo};
use super::search::{Pages, child_for, lower_bound, node, payload};

/// The content of a [`BTree`] at one moment.
pub struct BTreeSnapshot<F: Fs> {
    engine: BTree<F>,
    seq: u64,
    header: Rc<Header>,
}

impl<F: Fs> Drop for BTreeSnapshot<F> {
    fn drop(&mut self) {
        self.engine.0.state.borrow_mut().history.unpin(self.seq);
    }
}

impl<F: Fs> BTreeSnapshot<F> {
    pub(super) fn new(engine: &BTree<F>) -> Self {
        let state = &mut *engine.0.state.borrow_mut();
        state.history.pin(state.seq);
        Self { engine: engine.clone(), seq: state.seq, header: Rc::clone(&state.header) }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The page as it was then, if it is in memory only: changed since, or not written yet.
    pub(super) fn unwritten(&self, no: PageNo) -> Option<Page> {
        let state = self.engine.0.state.borrow();
        let held = || state.pool.hold(no).is_some_and(|hold| hold != super::pool::Hold::Clean);
        match state.history.get(no, self.seq) {
            Some(page) => Some(page.clone()),
            None if held() => state.pool.get(no).cloned(),
            None => None,
        }
    }

    fn earlier(&self, no: PageNo) -> Option<Page> {
        self.engine.0.state.borrow().history.get(no, self.seq).cloned()
    }
}

impl<F: Fs> Pages for BTreeSnapshot<F> {
    async fn page(&self, no: PageNo) -> Result<Page, EngineError> {
        if no.0 >= self.header.pages() {
            return Err(self.corrupt(no, "a page behind the end is referred to"));
        }
        if let Some(page) = self.earlier(no) {
            return Ok(page);
        }
        let now = self.engine.load(no).await?;
        // It may have changed while it was read.
        Ok(self.earlier(no).unwrap_or(now))
    }

    fn corrupt(&self, no: PageNo, what: &'static str) -> EngineError {
        self.engine.corrupt(no, what)
    }
}

impl<F: Fs> ReadStore for BTreeSnapshot<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let root = self.header.root(family);
        if !root.exists() {
            return Ok(None);
        }
        let mut page = node(self, root, family, None).await?;
        while !page.is_leaf() {
            let child = page.cell(child_for(self, &page, key).await?).child;
            page = node(self, child, family, Some(page.level() - 1)).await?;
        }
        let (i, found) = lower_bound(self, &page, key).await?;
        if !found {
            return Ok(None);
        }
        let cell = page.cell(i);
        match cell.pair() {
            Some((_, value)) => Ok(Some(value.to_vec())),
            None => Ok(Some(self.long_pair(cell).await?.1)),
        }
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        if limit == 0 || range.to.is_some_and(|to| to <= range.from) {
            return Ok(0);
        }
        let mut left = limit;
        let mut cursor = Cursor { snapshot: self, family: range.family, path: Vec::new() };
        match range.order {
            Order::Ascending => cursor.seek(range.from).await?,
            Order::Descending => cursor.seek_before(range.to).await?,
        }
        while let Some((leaf, i)) = cursor.current() {
            if !self.visit_leaf(leaf, i, range, &mut left, pair).await? {
                break;
            }
            cursor.next_leaf(range.order).await?;
        }
        Ok(limit - left)
    }
}

impl<F: Fs> BTreeSnapshot<F> {
    /// Shows the pairs of a leaf from cell `i` on, in the range's order, `left` at most; whether more may
    /// follow.
    async fn visit_leaf(
        &self,
        leaf: &Page,
        i: usize,
        range: Range<'_>,
        left: &mut usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool, EngineError> {
        let (ascending, count) = match range.order {
            Order::Ascending => (true, leaf.cells() - i),
            Order::Descending => (false, i + 1),
        };
        for nth in 0..count.min(*left) {
            let cell = leaf.cell(if ascending { i + nth } else { i - nth });
            let long;
            let (key, value) = match cell.pair() {
                Some(here) => here,
                None => {
                    long = self.long_pair(cell).await?;
                    (&long.0[..], &long.1[..])
                }
            };
            let inside = match range.order {
                Order::Ascending => range.to.is_none_or(|to| key < to),
                Order::Descending => key >= range.from,
            };
            if !inside {
                return Ok(false);
            }
            pair(key, value);
            *left -= 1;
        }
        Ok(*left > 0)
    }

    /// The pair of a cell that overflows.
    async fn long_pair(&self, cell: Cell<'_>) -> Result<Pair, EngineError> {
        let mut key = payload(self, cell, cell.key_len + cell.value_len).await?;
        let value = key.split_off(cell.key_len);
        Ok((key, value))
    }
}

/// A place in a tree: the cells that lead to it, from the root to a leaf. At the end, none.
struct Cursor<'a, F: Fs> {
    snapshot: &'a BTreeSnapshot<F>,
    family: Family,
    path: Vec<(Page, usize)>,
}

impl<F: Fs> Cursor<'_, F> {
    fn current(&self) -> Option<(&Page, usize)> {
        self.path.last().map(|(page, i)| (page, *i))
    }

    async fn root(&self) -> Result<Option<Page>, EngineError> {
        let root = self.snapshot.header.root(self.family);
        if root.exists() { node(self.snapshot, root, self.family, None).await.map(Some) } else { Ok(None) }
    }

    async fn child(&self, page: &Page, i: usize) -> Result<Page, EngineError> {
        node(self.snapshot, page.cell(i).child, self.family, Some(page.level() - 1)).await
    }

    /// Goes to the first key at or behind `from`.
    async fn seek(&mut self, from: &[u8]) -> Result<(), EngineError> {
        let Some(mut page) = self.root().await? else { return Ok(()) };
        while !page.is_leaf() {
            let i = child_for(self.snapshot, &page, from).await?;
            let child = self.child(&page, i).await?;
            self.path.push((page, i));
            page = child;
        }
        assert!(self.path.iter().is_sorted_by(|a, b| a.0.level() > b.0.level()), "a way goes down");
        let (i, _) = lower_bound(self.snapshot, &page, from).await?;
        let behind = i == page.cells();
        self.path.push((page, i.saturating_sub(usize::from(behind))));
        if behind { self.next_leaf(Order::Ascending).await } else { Ok(()) }
    }

    /// Goes to the last key before `to`, or to the last of all.
    async fn seek_before(&mut self, to: Option<&[u8]>) -> Result<(), EngineError> {
        let Some(to) = to else {
            let Some(root) = self.root().await? else { return Ok(()) };
            return self.descend(root, Order::Descending).await;
        };
        let Some(mut page) = self.root().await? else { return Ok(()) };
        while !page.is_leaf() {
            let i = child_for(self.snapshot, &page, to).await?;
            let child = self.child(&page, i).await?;
            self.path.push((page, i));
            page = child;
        }
        let (i, _) = lower_bound(self.snapshot, &page, to).await?;
        self.path.push((page, i.saturating_sub(1)));
        if i == 0 { self.next_leaf(Order::Descending).await } else { Ok(()) }
    }

    /// Goes down to the first leaf below a page, or to the last.
    async fn descend(&mut self, mut page: Page, order: Order) -> Result<(), EngineError> {
        loop {
            let i = if order == Order::Ascending { 0 } else { page.cells() - 1 };
            if page.is_leaf() {
                self.path.push((page, i));
                return Ok(());
            }
            let child = self.child(&page, i).await?;
            self.path.push((page, i));
            page = child;
        }
    }

    /// Goes to the leaf behind the one it is in.
    async fn next_leaf(&mut self, order: Order) -> Result<(), EngineError> {
        let leaf = self.path.pop();
        assert!(leaf.is_some_and(|(page, _)| page.is_leaf()), "only who is in a leaf can leave it");
        while let Some((page, i)) = self.path.pop() {
            let next = match order {
                Order::Ascending => Some(i + 1).filter(|next| *next < page.cells()),
                Order::Descending => i.checked_sub(1),
            };
            let Some(next) = next else { continue };
            let child = self.child(&page, next).await?;
            self.path.push((page, next));
            return self.descend(child, order).await;
        }
        Ok(())
    }
}

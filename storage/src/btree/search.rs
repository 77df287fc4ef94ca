//! Finding things in pages, for whoever has pages: a snapshot, or a batch under way.

use std::cmp::Ordering;

use contract::{EngineError, Family};

use super::cell::{Cell, OVERFLOW_HEADER};
use super::page::{Kind, Page, PageNo};

/// A source of pages.
pub(super) trait Pages {
    async fn page(&self, no: PageNo) -> Result<Page, EngineError>;
    /// An error about a page.
    fn corrupt(&self, no: PageNo, what: &'static str) -> EngineError;
}

/// More levels than any tree has: each but the root has two children at least.
pub(super) const LEVELS_MAX: u8 = 40;

/// A page of a tree, which must be of this family, and of this level unless it is a root.
pub(super) async fn node<P: Pages>(
    pages: &P,
    no: PageNo,
    family: Family,
    level: Option<u8>,
) -> Result<Page, EngineError> {
    let page = pages.page(no).await?;
    if !matches!(page.kind(), Some(Kind::Leaf | Kind::Branch)) || page.family() != family {
        return Err(pages.corrupt(no, "page is not one of this tree"));
    }
    if level.is_some_and(|level| level != page.level()) || page.level() > LEVELS_MAX {
        return Err(pages.corrupt(no, "page is of another level than its place"));
    }
    if page.cells() == 0 {
        return Err(pages.corrupt(no, "page of a tree is empty"));
    }
    Ok(page)
}

/// One page of a chain of `left` bytes: its bytes, and the page behind it.
pub(super) async fn link<P: Pages>(
    pages: &P,
    no: PageNo,
    left: usize,
) -> Result<(Page, usize, PageNo), EngineError> {
    assert!(left > 0, "a chain ends with its last byte");
    let page = pages.page(no).await?;
    if page.kind() != Some(Kind::Overflow) {
        return Err(pages.corrupt(no, "page is not an overflow page"));
    }
    let here = left.min(page.size() - OVERFLOW_HEADER);
    let next = PageNo(page.u32(OVERFLOW_HEADER - 4));
    if next.exists() != (here < left) {
        return Err(pages.corrupt(no, "overflow pages end too early or too late"));
    }
    Ok((page, here, next))
}

/// A cell's key and value, as one.
pub(super) async fn payload<P: Pages>(
    pages: &P,
    cell: Cell<'_>,
    want: usize,
) -> Result<Vec<u8>, EngineError> {
    let mut payload = cell.local.to_vec();
    let (mut next, mut left) = (cell.overflow, cell.overflow_bytes());
    while let Some(no) = next.filter(|_| payload.len() < want) {
        let (page, here, behind) = link(pages, no, left).await?;
        payload.extend_from_slice(&page.bytes()[OVERFLOW_HEADER..OVERFLOW_HEADER + here]);
        left -= here;
        next = Some(behind).filter(|no| no.exists());
    }
    assert!(payload.len() >= want, "a chain is as long as its cell says");
    Ok(payload)
}

/// A cell's key.
pub(super) async fn key_of<P: Pages>(pages: &P, page: &Page, i: usize) -> Result<Vec<u8>, EngineError> {
    let cell = page.cell(i);
    let mut key = payload(pages, cell, cell.key_len).await?;
    key.truncate(cell.key_len);
    Ok(key)
}

async fn compare<P: Pages>(pages: &P, page: &Page, i: usize, key: &[u8]) -> Result<Ordering, EngineError> {
    match page.compare(i, key) {
        Some(order) => Ok(order),
        None => Ok(key_of(pages, page, i).await?.as_slice().cmp(key)),
    }
}

/// The first cell from `low` on at or behind a key, and whether it has the key itself; `None` if that
/// cannot be told without overflow pages.
#[inline]
fn position_at_once(page: &Page, mut low: usize, key: &[u8]) -> Option<(usize, bool)> {
    let mut high = page.cells();
    while low < high {
        let middle = usize::midpoint(low, high);
        match page.compare(middle, key)? {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Some((middle, true)),
            Ordering::Greater => high = middle,
        }
    }
    Some((low, false))
}

async fn position<P: Pages>(
    pages: &P,
    page: &Page,
    mut low: usize,
    key: &[u8],
) -> Result<(usize, bool), EngineError> {
    if let Some(found) = position_at_once(page, low, key) {
        return Ok(found);
    }
    let mut high = page.cells();
    while low < high {
        let middle = usize::midpoint(low, high);
        match compare(pages, page, middle, key).await? {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok((middle, true)),
            Ordering::Greater => high = middle,
        }
    }
    Ok((low, false))
}

/// The first cell of a leaf at or behind a key, and whether it has the key itself.
pub(super) async fn lower_bound<P: Pages>(
    pages: &P,
    page: &Page,
    key: &[u8],
) -> Result<(usize, bool), EngineError> {
    assert!(page.is_leaf(), "keys are sought in leaves");
    position(pages, page, 0, key).await
}

/// The cell of a branch that leads to a key.
pub(super) async fn child_for<P: Pages>(pages: &P, page: &Page, key: &[u8]) -> Result<usize, EngineError> {
    assert!(!page.is_leaf(), "branches lead to keys");
    // The first cell has no key, and leads to all before the second.
    let (behind, found) = position(pages, page, 1, key).await?;
    Ok(if found { behind } else { behind - 1 })
}

/// The child of a branch that leads to a key; `None` if it is no branch, or overflow pages are needed.
pub(super) fn child_at_once(page: &Page, key: &[u8]) -> Option<PageNo> {
    if !page.is_node() || page.is_leaf() || page.cells() == 0 {
        return None;
    }
    let (behind, found) = position_at_once(page, 1, key)?;
    Some(page.cell(if found { behind } else { behind - 1 }).child)
}

/// What pages in memory say about a key at once; `None` if more pages are needed.
pub(super) fn get_at_once<'a>(
    root: PageNo,
    key: &[u8],
    cached: impl Fn(PageNo) -> Option<&'a Page>,
) -> Option<Option<Vec<u8>>> {
    let mut no = root;
    if !no.exists() {
        return Some(None);
    }
    loop {
        let page = cached(no)?;
        if page.cells() == 0 || !page.is_node() {
            // Whoever reads with care tells what is wrong.
            return None;
        }
        if page.is_leaf() {
            let (i, found) = position_at_once(page, 0, key)?;
            if !found {
                return Some(None);
            }
            let cell = page.cell(i);
            return if cell.overflow.is_none() {
                Some(Some(cell.local[cell.key_len..].to_vec()))
            } else {
                None
            };
        }
        no = child_at_once(page, key)?;
    }
}

//! Putting keys into a tree, and splitting pages that are full.
//!
//! A page that has no room for a cell is split into two, with about the same bytes in each, and its
//! parent gets a cell for the right one; so it goes on up to the root, which gets a parent if it is
//! split. Where a tree grows at its right end, only the new cell goes to the right: keys that come in
//! order fill pages to the brim.

use contract::{EngineError, Family, Fs};

use super::cell;
use super::page::{Page, PageNo};
use super::search::key_of;
use super::txn::{Step, Txn};

impl<F: Fs> Txn<'_, F> {
    pub(super) async fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let page_bytes = self.page_bytes();
        let cell = cell::encode(None, key, value, page_bytes, |rest| self.spill(family, rest));
        if !self.header.root(family).exists() {
            let root = self.allocate(|no| {
                let mut page = Page::node(page_bytes, no, family, 0);
                page.push(&cell);
                page
            });
            self.header_mut().set_root(family, root);
            return Ok(());
        }
        let (path, leaf, found) = self.descend(family, key).await?;
        let at = *path.last().expect("a way ends at a leaf");
        if found {
            self.free_chain(&leaf, at.index).await?;
            drop(leaf);
            let page = self.change(at.no).await?;
            if page.replace(at.index, &cell) {
                return Ok(());
            }
            page.remove(at.index);
        }
        self.insert(family, path, cell).await
    }

    /// Inserts a cell where a path ends, and splits what has no room.
    pub(super) async fn insert(
        &mut self,
        family: Family,
        mut path: Vec<Step>,
        mut cell: Vec<u8>,
    ) -> Result<(), EngineError> {
        loop {
            let at_the_end = path.iter().all(|step| step.last);
            let step = path.pop().expect("a cell is inserted into a page");
            if self.change(step.no).await?.insert(step.index, &cell) {
                return Ok(());
            }
            let (level, separator) = self.split(family, step, &cell, at_the_end).await?;
            assert!(path.is_empty() == (step.no == self.header.root(family)), "a root alone has no parent");
            cell = separator;
            if let Some(parent) = path.last_mut() {
                parent.index += 1;
                continue;
            }
            let page_bytes = self.page_bytes();
            let root = self.allocate(|no| {
                let mut page = Page::node(page_bytes, no, family, level + 1);
                page.push(&cell::first(step.no));
                page.push(&cell);
                page
            });
            self.header_mut().set_root(family, root);
            return Ok(());
        }
    }

    /// Splits a page that has no room for a cell. The page's level, and the cell for the right half.
    async fn split(
        &mut self,
        family: Family,
        step: Step,
        cell: &[u8],
        at_the_end: bool,
    ) -> Result<(u8, Vec<u8>), EngineError> {
        let full = self.change(step.no).await?.clone();
        let mut cells: Vec<&[u8]> = (0..full.cells()).map(|i| full.cell_bytes(i)).collect();
        cells.insert(step.index, cell);
        let leaf = full.is_leaf();
        // A branch has two children at least.
        let middle = if at_the_end { cells.len() - if leaf { 1 } else { 2 } } else { halve(&cells) };
        let separator = self.distribute(family, &full, None, &cells, middle).await?;
        Ok((full.level(), separator))
    }

    /// Puts the cells before `middle` into `left` and the others into `right`, or a new page. The
    /// cell for the right page.
    pub(super) async fn distribute(
        &mut self,
        family: Family,
        left: &Page,
        right: Option<&Page>,
        cells: &[&[u8]],
        middle: usize,
    ) -> Result<Vec<u8>, EngineError> {
        assert!((1..cells.len()).contains(&middle), "each half has a cell");
        let page_bytes = self.page_bytes();
        let mut low = left.emptied();
        cells[..middle].iter().for_each(|cell| low.push(cell));
        let mut high = Page::node(page_bytes, right.map_or(PageNo(1), Page::no), family, left.level());
        let keyless;
        let (first, rest) = cells[middle..].split_first().expect("the right half has a cell");
        if left.is_leaf() {
            high.push(first);
        } else {
            // The key moves up.
            keyless = cell::first(PageNo(u32::from_le_bytes(first[..4].try_into().expect("four bytes"))));
            high.push(&keyless);
        }
        rest.iter().for_each(|cell| high.push(cell));
        assert_eq!(low.cells() + high.cells(), cells.len(), "a distribution loses no cell");
        let separator = if left.is_leaf() {
            let last = key_of(self, &low, low.cells() - 1).await?;
            let next = key_of(self, &high, 0).await?;
            if last >= next {
                return Err(super::search::Pages::corrupt(self, left.no(), "keys are out of order"));
            }
            Some(cell::separator(&last, &next).to_vec())
        } else {
            None
        };
        let to = match right {
            Some(right) => {
                let group = right.group().to_le_bytes();
                high.bytes_mut()[8..16].copy_from_slice(&group);
                self.set(high, right);
                right.no()
            }
            None => self.allocate(|no| {
                high.renumber(no);
                high
            }),
        };
        self.set(low, left);
        Ok(match separator {
            Some(key) => cell::encode(Some(to), &key, b"", page_bytes, |rest| self.spill(family, rest)),
            None => cell::with_child(first, to),
        })
    }
}

/// Where to divide cells so that both parts have about the same bytes, and fit.
pub(super) fn halve(cells: &[&[u8]]) -> usize {
    let bytes: usize = cells.iter().map(|cell| cell.len() + 2).sum();
    let mut before = 0;
    let enough = |cell: &&[u8]| {
        before += cell.len() + 2;
        before * 2 >= bytes
    };
    assert!(cells.len() > 1, "what is divided has two cells at least");
    let middle = cells.iter().position(enough).expect("all cells have all bytes") + 1;
    assert!(middle < cells.len(), "a page that is full has several cells");
    middle
}

//! Removing keys from a tree, and joining pages that have little left.
//!
//! A page of which three quarters are empty joins a sibling if both fit into one page; otherwise they
//! share what they have. A parent loses a cell with each join, so that it goes on up to the root; a
//! root that has one child left gives way to it, and one that has nothing left to none.

use contract::{EngineError, Family, Fs};

use super::cell;
use super::grow::halve;
use super::page::{Page, PageNo};
use super::search::{Pages, key_of, lower_bound, node};
use super::txn::{Step, Txn};

impl<F: Fs> Txn<'_, F> {
    pub(super) async fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), EngineError> {
        if !self.header.root(family).exists() {
            return Ok(());
        }
        let (path, leaf, found) = self.descend(family, key).await?;
        if found {
            let index = path.last().expect("a way ends at a leaf").index;
            self.remove(&leaf, index..index + 1).await?;
            drop(leaf);
            self.shrink(family, path).await?;
        }
        Ok(())
    }

    /// Removes the keys from `from` up to `to`, a leaf at a time.
    pub(super) async fn delete_range(
        &mut self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        let mut from = from.to_vec();
        while self.header.root(family).exists() && to.is_none_or(|to| from.as_slice() < to) {
            let (path, leaf, _) = self.descend(family, &from).await?;
            let first = path.last().expect("a way ends at a leaf").index;
            let end = match to {
                Some(to) => lower_bound(self, &leaf, to).await?.0,
                None => leaf.cells(),
            };
            if first < end {
                let more = end == leaf.cells();
                self.remove(&leaf, first..end).await?;
                drop(leaf);
                self.shrink(family, path).await?;
                if !more {
                    return Ok(());
                }
            } else if end < leaf.cells() {
                return Ok(());
            } else {
                let Some(next) = self.next_separator(&path).await? else { return Ok(()) };
                assert!(from < next, "the next leaf is behind this one");
                from = next;
            }
        }
        Ok(())
    }

    /// The key at which the leaf behind a path's begins.
    pub(super) async fn next_separator(&self, path: &[Step]) -> Result<Option<Vec<u8>>, EngineError> {
        let branches = &path[..path.len() - 1];
        let Some(step) = branches.iter().rfind(|step| !step.last) else { return Ok(None) };
        let page = self.page(step.no).await?;
        key_of(self, &page, step.index + 1).await.map(Some)
    }

    async fn remove(&mut self, leaf: &Page, cells: std::ops::Range<usize>) -> Result<(), EngineError> {
        assert!(leaf.is_leaf() && cells.end <= leaf.cells(), "keys are removed from leaves");
        for i in cells.clone() {
            self.free_chain(leaf, i).await?;
        }
        let page = self.change(leaf.no()).await?;
        let left = page.cells() - cells.len();
        cells.rev().for_each(|i| page.remove(i));
        assert_eq!(page.cells(), left, "as many cells go as were to go");
        Ok(())
    }

    /// Joins what has too little in it, from the end of a path upwards.
    async fn shrink(&mut self, family: Family, mut path: Vec<Step>) -> Result<(), EngineError> {
        while let Some(step) = path.pop() {
            let page = self.page(step.no).await?;
            let Some(parent) = path.last_mut() else {
                return self.lower_root(family, page).await;
            };
            if !page.is_underfull() {
                return Ok(());
            }
            let above = self.page(parent.no).await?;
            assert!(above.cells() > 1, "a branch has two children at least");
            let right = parent.index.max(1);
            (parent.index, parent.last) = (right, false);
            if !self.join(family, &above, right, &mut path).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Joins the child of cell `right` with the one before it; `false` if both are too much for one
    /// page, and share what they have. `path` ends at the parent.
    async fn join(
        &mut self,
        family: Family,
        parent: &Page,
        right: usize,
        path: &mut Vec<Step>,
    ) -> Result<bool, EngineError> {
        let level = parent.level() - 1;
        let left_page = self.child(parent, right - 1, family, level).await?;
        let right_page = self.child(parent, right, family, level).await?;
        assert_eq!((left_page.level(), right_page.level()), (level, level), "siblings are of one level");
        let leaf = level == 0;
        let mut cells: Vec<&[u8]> = (0..left_page.cells()).map(|i| left_page.cell_bytes(i)).collect();
        let with_key;
        if leaf {
            cells.extend((0..right_page.cells()).map(|i| right_page.cell_bytes(i)));
        } else {
            // The key comes down that leads to the right page.
            with_key = cell::with_child(parent.cell_bytes(right), right_page.cell(0).child);
            cells.push(&with_key);
            cells.extend((1..right_page.cells()).map(|i| right_page.cell_bytes(i)));
        }
        if leaf {
            // A leaf has its keys itself.
            self.free_chain(parent, right).await?;
        }
        let bytes: usize = cells.iter().map(|cell| cell.len() + 2).sum();
        if bytes <= left_page.capacity() {
            let mut joined = left_page.emptied();
            cells.iter().for_each(|cell| joined.push(cell));
            assert!(joined.used() == bytes && joined.level() == level, "a join loses nothing");
            self.set(joined, &left_page);
            self.free(&right_page);
            self.change(parent.no()).await?.remove(right);
            return Ok(true);
        }
        let separator = self.distribute(family, &left_page, Some(&right_page), &cells, halve(&cells)).await?;
        self.change(parent.no()).await?.remove(right);
        self.insert(family, std::mem::take(path), separator).await?;
        Ok(false)
    }

    /// A child that may have been emptied by this batch.
    async fn child(&self, parent: &Page, i: usize, family: Family, level: u8) -> Result<Page, EngineError> {
        let no = parent.cell(i).child;
        let page = self.page(no).await?;
        if page.cells() > 0 { node(self, no, family, Some(level)).await } else { Ok(page) }
    }

    async fn lower_root(&mut self, family: Family, mut root: Page) -> Result<(), EngineError> {
        while !root.is_leaf() && root.cells() == 1 {
            let child = root.cell(0).child;
            self.free(&root);
            self.header_mut().set_root(family, child);
            root = node(self, child, family, Some(root.level() - 1)).await?;
        }
        if root.cells() == 0 {
            assert!(root.is_leaf(), "a branch has a child");
            self.free(&root);
            self.header_mut().set_root(family, PageNo::NONE);
        }
        Ok(())
    }
}

//! Making the data file smaller: pages from its end move to free places before it, and what is free
//! at the end is cut off.
//!
//! A sweep visits the leaves of all trees in key order, a few at a time. Pages on the way to a leaf, and
//! overflow pages, that stand behind as many pages as the store needs go to the lowest free place. No
//! page knows who refers to it: on the way from the root that is known anyway.

use contract::{EngineError, Family, Fs};

use super::BTree;
use super::header::Header;
use super::page::{Page, PageNo};
use super::search::{Pages, link};
use super::txn::{Step, Txn};

/// Fewer free pages than this are kept.
const FREE_MIN: u32 = 16;
/// Leaves that one step visits.
const LEAVES_AT_ONCE: usize = 8;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vacuum {
    /// The free pages at the end are to be cut off.
    Cut,
    /// Pages are to be moved.
    Move,
}

/// What is due for a store, if something is: an eighth is free at the end, or a quarter anywhere.
pub(super) fn due(header: &Header) -> Option<Vacuum> {
    if header.free() < FREE_MIN {
        return None;
    }
    if header.free_at_end() >= FREE_MIN.max(header.pages() / 8) {
        return Some(Vacuum::Cut);
    }
    (header.free() >= FREE_MIN.max(header.pages() / 4)).then_some(Vacuum::Move)
}

/// Where a sweep goes on. It begins anew when it is through.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    family: Family,
    from: Vec<u8>,
}

impl<F: Fs> BTree<F> {
    pub(super) async fn vacuum(&self, sweep: &mut Sweep, what: Vacuum) -> Result<(), EngineError> {
        let _writing = self.0.writing.lock().await;
        self.0.latch.check()?;
        let mut txn = Txn::new(self);
        match what {
            Vacuum::Cut => {
                txn.header_mut().cut();
                *sweep = Sweep::default();
            }
            Vacuum::Move => txn.move_some(sweep).await?,
        }
        txn.commit();
        self.count(|stats| stats.compactions += 1);
        Ok(())
    }
}

impl<F: Fs> Txn<'_, F> {
    async fn move_some(&mut self, sweep: &mut Sweep) -> Result<(), EngineError> {
        let mut leaves = 0;
        while leaves < LEAVES_AT_ONCE {
            let next = if self.header.root(sweep.family).exists() {
                leaves += 1;
                self.move_path(sweep.family, &sweep.from).await?
            } else {
                None
            };
            match next {
                Some(next) => sweep.from = next,
                None => {
                    sweep.from = Vec::new();
                    match sweep.family.0.checked_add(1) {
                        Some(family) => sweep.family = Family(family),
                        None => {
                            sweep.family = Family(0);
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Where a page should go: to the lowest free place, if the store needs no more pages than that.
    fn is_too_far(&self, no: PageNo) -> bool {
        let needed = self.header.pages() - self.header.free();
        no.0 >= needed && self.header.lowest_free().is_some_and(|free| free < no && free.0 < needed)
    }

    /// Moves what is too far of the way to a key, and of the overflow pages there. Where the next leaf
    /// begins, if there is one.
    async fn move_path(&mut self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let (mut path, ..) = self.descend(family, key).await?;
        for at in 0..path.len() {
            let Step { no, .. } = path[at];
            if self.is_too_far(no) {
                let page = self.page(no).await?;
                let moved = self.move_page(&page);
                path[at].no = moved;
                match at.checked_sub(1).map(|above| path[above]) {
                    Some(parent) => self.change(parent.no).await?.set_child(parent.index, moved),
                    None => self.header_mut().set_root(family, moved),
                }
            }
            // A branch's own overflow pages, once: on the way to its first leaf.
            let branches = &path[at..path.len() - 1];
            if branches.iter().all(|step| step.index == 0) {
                self.move_chains(path[at].no).await?;
            }
        }
        self.next_separator(&path).await
    }

    fn move_page(&mut self, page: &Page) -> PageNo {
        let moved = self.allocate(|no| {
            let mut copy = page.clone();
            copy.renumber(no);
            copy
        });
        assert!(moved < page.no(), "a page moves towards the beginning");
        self.free(page);
        moved
    }

    async fn move_chains(&mut self, no: PageNo) -> Result<(), EngineError> {
        let page = self.page(no).await?;
        for i in 0..page.cells() {
            let cell = page.cell(i);
            let (mut next, mut left) = (cell.overflow.unwrap_or(PageNo::NONE), cell.overflow_bytes());
            let mut before = None;
            while next.exists() {
                let (overflow, here, behind) = link(self, next, left).await?;
                let mut stands = next;
                if self.is_too_far(next) {
                    stands = self.move_page(&overflow);
                    match before {
                        Some(before) => self.change(before).await?.set_next(stands),
                        None => self.change(no).await?.set_overflow(i, stands),
                    }
                }
                before = Some(stands);
                (next, left) = (behind, left - here);
            }
        }
        Ok(())
    }
}

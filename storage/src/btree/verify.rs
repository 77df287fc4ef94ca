//! Checking that a store is what it should be: every page by itself, and all of them together.

use contract::{EngineError, Family, Fs};

use super::BTree;
use super::page::{Page, PageNo};
use super::search::{Pages, key_of, link, node};
use super::snapshot::BTreeSnapshot;

/// A snapshot whose pages are read from their files even where memory has them.
struct Fresh<'a, F: Fs> {
    engine: &'a BTree<F>,
    snapshot: &'a BTreeSnapshot<F>,
}

impl<F: Fs> Pages for Fresh<'_, F> {
    async fn page(&self, no: PageNo) -> Result<Page, EngineError> {
        if no.0 >= self.snapshot.header().pages() {
            return Err(self.corrupt(no, "a page behind the end is referred to"));
        }
        if let Some(page) = self.snapshot.unwritten(no) {
            return Ok(page);
        }
        let now = self.engine.read(no).await?;
        Ok(self.snapshot.unwritten(no).unwrap_or(now))
    }

    fn corrupt(&self, no: PageNo, what: &'static str) -> EngineError {
        self.engine.corrupt(no, what)
    }
}

/// Pages that something refers to.
struct Seen(Vec<bool>);

/// A page that is to be checked.
struct Place {
    no: PageNo,
    /// Of a root, none is known before it is read.
    level: Option<u8>,
    /// No key is before this one.
    from: Vec<u8>,
    /// All keys are before this one.
    to: Option<Vec<u8>>,
}

impl<F: Fs> Fresh<'_, F> {
    fn see(&self, seen: &mut Seen, no: PageNo) -> Result<(), EngineError> {
        let header = self.snapshot.header();
        if no.0 >= header.pages() || header.is_fixed(no) {
            return Err(self.corrupt(no, "page cannot be one of a tree"));
        }
        if !header.is_used(no) {
            return Err(self.corrupt(no, "page in use is free in the map"));
        }
        if std::mem::replace(&mut seen.0[no.index()], true) {
            return Err(self.corrupt(no, "page is used twice"));
        }
        Ok(())
    }

    async fn check_tree(&self, family: Family, root: PageNo, seen: &mut Seen) -> Result<(), EngineError> {
        let mut places = vec![Place { no: root, level: None, from: Vec::new(), to: None }];
        while let Some(place) = places.pop() {
            self.see(seen, place.no)?;
            let page = node(self, place.no, family, place.level).await?;
            if page.is_leaf() {
                self.check_leaf(&page, &place, seen).await?;
            } else {
                places.extend(self.check_branch(&page, place, seen).await?);
            }
        }
        Ok(())
    }

    async fn check_leaf(&self, page: &Page, place: &Place, seen: &mut Seen) -> Result<(), EngineError> {
        let mut before: Option<Vec<u8>> = None;
        for i in 0..page.cells() {
            self.check_chain(page, i, seen).await?;
            let key = key_of(self, page, i).await?;
            if before.is_some_and(|before| before >= key) {
                return Err(self.corrupt(place.no, "keys are out of order"));
            }
            if key < place.from || place.to.as_ref().is_some_and(|to| key >= *to) {
                return Err(self.corrupt(place.no, "a key is in another's page"));
            }
            before = Some(key);
        }
        Ok(())
    }

    async fn check_branch(
        &self,
        page: &Page,
        place: Place,
        seen: &mut Seen,
    ) -> Result<Vec<Place>, EngineError> {
        if page.cells() < 2 {
            return Err(self.corrupt(place.no, "a branch has fewer than two children"));
        }
        let level = Some(page.level() - 1);
        let mut children: Vec<Place> = Vec::with_capacity(page.cells());
        let mut from = place.from;
        for i in 0..page.cells() {
            self.check_chain(page, i, seen).await?;
            if i > 0 {
                let key = key_of(self, page, i).await?;
                if key <= from || place.to.as_ref().is_some_and(|to| key >= *to) {
                    return Err(self.corrupt(place.no, "keys of a branch are out of order"));
                }
                children.last_mut().expect("a child is before it").to = Some(key.clone());
                from = key;
            } else if page.cell(i).key_len > 0 {
                return Err(self.corrupt(place.no, "the first cell of a branch has a key"));
            }
            children.push(Place { no: page.cell(i).child, level, from: from.clone(), to: place.to.clone() });
        }
        Ok(children)
    }

    async fn check_chain(&self, page: &Page, i: usize, seen: &mut Seen) -> Result<(), EngineError> {
        let cell = page.cell(i);
        let (mut next, mut left) = (cell.overflow.unwrap_or(PageNo::NONE), cell.overflow_bytes());
        if next.exists() != (left > 0) {
            return Err(self.corrupt(page.no(), "a cell that overflows has no pages"));
        }
        while next.exists() {
            self.see(seen, next)?;
            let (_, here, behind) = link(self, next, left).await?;
            (next, left) = (behind, left - here);
        }
        Ok(())
    }
}

pub(super) async fn verify<F: Fs>(engine: &BTree<F>, snapshot: &BTreeSnapshot<F>) -> Result<(), EngineError> {
    let fresh = Fresh { engine, snapshot };
    let header = snapshot.header();
    {
        // They are written in place while a group is.
        let _committing = engine.committing().await;
        let grouped = engine.0.state.borrow().grouped.clone();
        for no in (0..grouped.pages()).map(PageNo).filter(|no| grouped.is_fixed(*no)) {
            engine.read(no).await?;
        }
        let logs: Vec<_> = engine.0.state.borrow().wals.logs.iter().cloned().collect();
        for log in logs {
            let read = log.verify(&engine.0.dir).await?;
            engine.count(|stats| stats.bytes_read_from_files += read);
        }
    }
    let mut seen = Seen(vec![false; header.pages() as usize]);
    for family in (0..=u8::MAX).map(Family) {
        let root = header.root(family);
        if root.exists() {
            fresh.check_tree(family, root, &mut seen).await?;
        }
    }
    for no in (0..header.pages()).map(PageNo) {
        if header.is_used(no) && !header.is_fixed(no) && !seen.0[no.index()] {
            return Err(fresh.corrupt(no, "page is neither used nor free"));
        }
    }
    Ok(())
}

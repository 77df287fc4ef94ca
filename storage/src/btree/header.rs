//! What is known of a store before any tree is read: its size, its roots and which pages are free.
//!
//! All of it is in memory, in pieces that are copied when they change and shared by snapshots, and in
//! pages of fixed places:
//!
//! | Page | Kind | Body |
//! |---|---|---|
//! | 0 | meta | magic `SBbtree1` (8), page size (4), number of pages (4) |
//! | 1 to r | roots | root of each family (4 each, 0: the family is empty); r is as many pages as 256 roots need |
//! | r + 1 | map | a bit for each of the first c pages, 1 if it is in use; c is as many bits as a body has |
//! | c, 2c … | map | a bit for each of c pages from this one on |
//!
//! The meta page is written by every group, and its group number is the store's: a group is
//! committed in the data file once the meta page says so.

use std::rc::Rc;

use contract::Family;

use super::page::{HEADER_BYTES, Kind, Page, PageNo, is_page_size};

const MAGIC: [u8; 8] = *b"SBbtree1";
const FAMILIES: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Header {
    page_bytes: usize,
    /// How many pages the store has, free ones included.
    pages: u32,
    roots: Rc<[PageNo; FAMILIES]>,
    map: Vec<Rc<Bits>>,
    /// No page before this one is free.
    lowest: u32,
    free: u32,
}

/// One map page: a bit for each page, set if it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bits(Box<[u8]>);

/// The page size in the bytes of a meta page, if they look like one.
pub(super) fn page_size_in(meta: &[u8]) -> Option<usize> {
    let field = meta.get(HEADER_BYTES + 8..HEADER_BYTES + 12)?;
    let bytes = u32::from_le_bytes(field.try_into().expect("four bytes")) as usize;
    (meta[HEADER_BYTES..HEADER_BYTES + 8] == MAGIC && is_page_size(bytes)).then_some(bytes)
}

impl Header {
    /// The header of an empty store.
    pub(super) fn new(page_bytes: usize) -> Self {
        assert!(is_page_size(page_bytes), "page_bytes is a power of two from 512 to 32768");
        let mut header = Self {
            page_bytes,
            pages: 0,
            roots: Rc::new([PageNo::NONE; FAMILIES]),
            map: vec![Rc::new(Bits(vec![0; page_bytes - HEADER_BYTES].into()))],
            lowest: 0,
            free: 0,
        };
        for no in 0..=header.first_map().0 {
            header.pages += 1;
            header.set(PageNo(no), true);
        }
        header.lowest = header.pages;
        header
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    fn roots_per_page(&self) -> usize {
        (self.page_bytes - HEADER_BYTES) / 4
    }

    fn first_map(&self) -> PageNo {
        PageNo(1 + FAMILIES.div_ceil(self.roots_per_page()) as u32)
    }

    /// How many pages a map page tells of.
    fn bits(&self) -> u32 {
        (self.page_bytes - HEADER_BYTES) as u32 * 8
    }

    fn map_page(&self, number: usize) -> PageNo {
        if number == 0 { self.first_map() } else { PageNo(number as u32 * self.bits()) }
    }

    /// Whether it is a page of a fixed place.
    pub(super) fn is_fixed(&self, no: PageNo) -> bool {
        no <= self.first_map() || no.0.is_multiple_of(self.bits())
    }

    pub(super) fn root(&self, family: Family) -> PageNo {
        self.roots[usize::from(family.0)]
    }

    pub(super) fn set_root(&mut self, family: Family, root: PageNo) {
        assert!(!root.exists() || self.is_used(root), "a root is a page in use");
        Rc::make_mut(&mut self.roots)[usize::from(family.0)] = root;
    }

    pub(super) fn is_used(&self, no: PageNo) -> bool {
        let (map, bit) = (no.0 / self.bits(), no.0 % self.bits());
        no.0 < self.pages && self.map[map as usize].0[bit as usize / 8] & 1 << (bit % 8) != 0
    }

    fn set(&mut self, no: PageNo, used: bool) {
        assert!(no.0 < self.pages, "a page that is used or freed is in the store");
        assert_ne!(self.is_used(no), used, "a page is taken while it is free, and freed while it is not");
        let (map, bit) = (no.0 / self.bits(), no.0 % self.bits());
        Rc::make_mut(&mut self.map[map as usize]).0[bit as usize / 8] ^= 1 << (bit % 8);
    }

    /// The lowest free page, if one is free.
    pub(super) fn lowest_free(&self) -> Option<PageNo> {
        if self.free == 0 {
            return None;
        }
        let mut no = self.lowest;
        while self.is_used(PageNo(no)) {
            let (map, bit) = (no / self.bits(), no % self.bits());
            // Eight at a time where all are in use.
            let full = bit % 8 == 0 && self.map[map as usize].0[bit as usize / 8] == 0xff;
            no += if full { 8 } else { 1 };
        }
        assert!(no < self.pages, "a free page is in the store");
        Some(PageNo(no))
    }

    /// Takes the lowest free page, or one at the end.
    pub(super) fn allocate(&mut self) -> PageNo {
        if let Some(no) = self.lowest_free() {
            assert!(!self.is_fixed(no), "pages of fixed places are never free");
            self.set(no, true);
            self.free -= 1;
            self.lowest = no.0 + 1;
            return no;
        }
        if self.pages.is_multiple_of(self.bits()) {
            self.map.push(Rc::new(Bits(vec![0; self.page_bytes - HEADER_BYTES].into())));
            self.append();
        }
        let no = self.append();
        assert!(!self.is_fixed(no), "what is taken at the end is behind the map page");
        no
    }

    fn append(&mut self) -> PageNo {
        let no = PageNo(self.pages);
        self.pages = self.pages.checked_add(1).expect("a store has fewer than 2^32 pages");
        self.set(no, true);
        self.lowest = self.pages;
        no
    }

    pub(super) fn release(&mut self, no: PageNo) {
        assert!(!self.is_fixed(no), "pages of fixed places are never freed");
        self.set(no, false);
        self.free += 1;
        self.lowest = self.lowest.min(no.0);
    }

    /// How many pages at the end are free, a map page among them included.
    pub(super) fn free_at_end(&self) -> u32 {
        let spare = |no: &u32| {
            *no > self.first_map().0 && (!self.is_used(PageNo(*no)) || no.is_multiple_of(self.bits()))
        };
        (0..self.pages).rev().take_while(spare).count() as u32
    }

    /// Gives back the free pages at the end.
    pub(super) fn cut(&mut self) {
        for no in (self.pages - self.free_at_end()..self.pages).rev().map(PageNo) {
            if no.0.is_multiple_of(self.bits()) {
                self.map.pop();
            } else {
                self.free -= 1;
            }
            self.pages = no.0;
        }
        self.lowest = self.lowest.min(self.pages);
        assert!(self.pages > self.first_map().0, "pages of fixed places at the beginning stay");
    }

    /// The pages that say this, without those that `before` has too. The meta page is first, always.
    pub(super) fn encode(&self, before: Option<&Self>) -> Vec<Page> {
        let mut meta = Page::new(self.page_bytes, PageNo(0), Kind::Meta);
        let body = &mut meta.bytes_mut()[HEADER_BYTES..];
        body[..8].copy_from_slice(&MAGIC);
        body[8..12].copy_from_slice(&(self.page_bytes as u32).to_le_bytes());
        body[12..16].copy_from_slice(&self.pages.to_le_bytes());
        let mut pages = vec![meta];
        if before.is_none_or(|before| !Rc::ptr_eq(&before.roots, &self.roots)) {
            for (no, roots) in (1..).zip(self.roots.chunks(self.roots_per_page())) {
                let mut page = Page::new(self.page_bytes, PageNo(no), Kind::Roots);
                let body = page.bytes_mut()[HEADER_BYTES..].as_chunks_mut::<4>().0;
                body.iter_mut().zip(roots).for_each(|(slot, root)| *slot = root.0.to_le_bytes());
                pages.push(page);
            }
        }
        for (number, bits) in self.map.iter().enumerate() {
            let same = |before: &Self| before.map.get(number).is_some_and(|old| Rc::ptr_eq(old, bits));
            if !before.is_some_and(same) {
                let mut page = Page::new(self.page_bytes, self.map_page(number), Kind::Map);
                page.bytes_mut()[HEADER_BYTES..].copy_from_slice(&bits.0);
                pages.push(page);
            }
        }
        assert_eq!(pages[0].no(), PageNo(0), "the meta page is first, always");
        assert!(pages.iter().all(|page| self.is_fixed(page.no())), "a header stands in fixed places");
        pages
    }

    /// The header that a meta page begins; the other pages are added with [`Header::add`].
    pub(super) fn begin(meta: &Page) -> Option<Self> {
        let page_bytes = page_size_in(meta.bytes()).filter(|bytes| *bytes == meta.size())?;
        let mut header = Self::new(page_bytes);
        let pages = meta.u32(HEADER_BYTES + 12);
        if meta.kind() != Some(Kind::Meta) || pages < header.pages {
            return None;
        }
        header.pages = pages;
        header.map.clear();
        Some(header)
    }

    /// The pages that [`Header::add`] wants, in this order.
    pub(super) fn parts(&self) -> Vec<PageNo> {
        let maps = self.pages.div_ceil(self.bits()) as usize;
        (1..self.first_map().0).map(PageNo).chain((0..maps).map(|number| self.map_page(number))).collect()
    }

    /// Adds one of the [`Header::parts`].
    pub(super) fn add(&mut self, page: &Page) -> Result<(), &'static str> {
        let body = &page.bytes()[HEADER_BYTES..];
        if page.no() < self.first_map() {
            if page.kind() != Some(Kind::Roots) {
                return Err("page is not one of roots");
            }
            let first = (page.no().index() - 1) * self.roots_per_page();
            let roots = &mut Rc::make_mut(&mut self.roots)[first..];
            for (root, bytes) in roots.iter_mut().zip(body.as_chunks::<4>().0) {
                *root = PageNo(u32::from_le_bytes(*bytes));
            }
            return Ok(());
        }
        if page.kind() != Some(Kind::Map) {
            return Err("page is not a map");
        }
        assert_eq!(page.no(), self.map_page(self.map.len()), "map pages are added in order");
        self.map.push(Rc::new(Bits(body.into())));
        Ok(())
    }

    /// Counts what was added; what is wrong with it, if something is.
    pub(super) fn finish(&mut self) -> Result<(), &'static str> {
        if (0..self.pages).map(PageNo).any(|no| self.is_fixed(no) && !self.is_used(no)) {
            return Err("map has a page of a fixed place as free");
        }
        if self.roots.iter().any(|root| root.exists() && (!self.is_used(*root) || self.is_fixed(*root))) {
            return Err("a root is not a page in use");
        }
        let free = || (0..self.pages).filter(|no| !self.is_used(PageNo(*no)));
        assert_eq!(self.map.len(), self.pages.div_ceil(self.bits()) as usize, "every page has its bit");
        (self.free, self.lowest) = (free().count() as u32, free().next().unwrap_or(self.pages));
        Ok(())
    }
}

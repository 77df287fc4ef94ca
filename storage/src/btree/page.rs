//! One page: a header that names and checks it, and cells in a slotted body.
//!
//! All pages of a store have one size, a power of two from 512 to 32768 bytes. All numbers are
//! little-endian.
//!
//! | Header, 28 bytes | | |
//! |---|---|---|
//! | 0 | 4 | CRC32C of all bytes behind it, started from the page's number |
//! | 4 | 4 | the page's number, so that a page that was written elsewhere is found out |
//! | 8 | 8 | the group that wrote it last; 0 in memory until a group does |
//! | 16 | 1 | kind: 1 meta, 2 roots, 3 map, 4 leaf, 5 branch, 6 overflow |
//! | 17 | 1 | level: 0 for a leaf, one more than its children for a branch |
//! | 18 | 1 | family of a leaf, branch or overflow page |
//! | 19 | 1 | zero |
//! | 20 | 2 | number of cells |
//! | 22 | 2 | where the cells begin |
//! | 24 | 2 | bytes of holes between cells |
//! | 26 | 2 | zero |
//!
//! Leaves and branches have, behind the header, a slot of two bytes per cell, in key order: where the
//! cell begins. Cells fill the page from its end. A change moves slots and one cell, not the page; the
//! checksum is computed when a group writes the page. Cells are told in `cell`.

use std::cmp::Ordering;
use std::rc::Rc;

use super::cell::{Cell, max_local};
use contract::{Bug, Bugs, Family};

/// Bytes of a page before its body.
pub(super) const HEADER_BYTES: usize = 28;
/// The smallest page: a sector, so that writing a page touches no other.
pub(super) const SMALLEST: usize = 512;
/// The largest page: offsets in it fit into 16 bits.
pub(super) const LARGEST: usize = 32 << 10;

/// A page's place in the store: its offset in the data file, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PageNo(pub(super) u32);

impl PageNo {
    /// The meta page. As a reference in a tree it means that there is none.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) fn exists(self) -> bool {
        self != Self::NONE
    }
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Meta = 1,
    Roots,
    Map,
    Leaf,
    Branch,
    Overflow,
}

/// A page in memory. A clone shares the bytes until one of the two is changed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Page(Rc<[u8]>);

/// Whether pages may have this size.
pub(super) fn is_page_size(bytes: usize) -> bool {
    bytes.is_power_of_two() && (SMALLEST..=LARGEST).contains(&bytes)
}

fn checksum(no: PageNo, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(no.0, &bytes[4..])
}

impl Page {
    pub(super) fn new(bytes: usize, no: PageNo, kind: Kind) -> Self {
        assert!(is_page_size(bytes), "a page of {bytes} bytes");
        let mut page = Self(vec![0; bytes].into());
        let content = page.bytes_mut();
        content[4..8].copy_from_slice(&no.0.to_le_bytes());
        content[16] = kind as u8;
        page.set_u16(22, bytes);
        page
    }

    /// An empty page of a tree.
    pub(super) fn node(bytes: usize, no: PageNo, family: Family, level: u8) -> Self {
        let mut page = Self::new(bytes, no, if level == 0 { Kind::Leaf } else { Kind::Branch });
        let content = page.bytes_mut();
        (content[17], content[18]) = (level, family.0);
        page
    }

    /// The same page without its cells.
    pub(super) fn emptied(&self) -> Self {
        let mut page = Self::node(self.size(), self.no(), self.family(), self.level());
        page.bytes_mut()[8..16].copy_from_slice(&self.0[8..16]);
        page
    }

    /// The page `no` in bytes that were read, or what is wrong with them.
    pub(super) fn check(bytes: &[u8], no: PageNo) -> Result<Self, &'static str> {
        Self::check_with(bytes, no, Bugs::NONE)
    }

    /// The same, with a bug that may be planted.
    pub(super) fn check_with(bytes: &[u8], no: PageNo, bugs: Bugs) -> Result<Self, &'static str> {
        assert!(is_page_size(bytes.len()), "a page of {} bytes", bytes.len());
        let page = Self(bytes.into());
        if page.u32(0) != checksum(no, bytes) && !bugs.has(Bug::TornPageBelieved) {
            return Err("page checksum does not match");
        }
        if page.no() != no {
            return Err("page belongs elsewhere");
        }
        if page.kind().is_none() {
            return Err("page is of no known kind");
        }
        if page.is_node() && !page.cells_are_sound() {
            return Err("cells of the page are malformed");
        }
        Ok(page)
    }

    fn cells_are_sound(&self) -> bool {
        let (start, slots) = (self.start(), HEADER_BYTES + 2 * self.cells());
        if slots > start || start > self.size() || (self.level() == 0) != (self.kind() == Some(Kind::Leaf)) {
            return false;
        }
        let mut used = self.holes();
        for i in 0..self.cells() {
            let slot = self.slot(i);
            let Some(cell) =
                self.0.get(slot..).and_then(|rest| Cell::decode(self.is_leaf(), rest, self.size()))
            else {
                return false;
            };
            if slot < start {
                return false;
            }
            used += cell.size;
        }
        used == self.size() - start
    }

    /// Whether nobody else shares its bytes.
    pub(super) fn is_unshared(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        Rc::make_mut(&mut self.0)
    }

    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn set_u16(&mut self, at: usize, number: usize) {
        let number = u16::try_from(number).expect("offsets in a page fit into 16 bits");
        self.bytes_mut()[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    pub(super) fn no(&self) -> PageNo {
        PageNo(self.u32(4))
    }

    /// The group that wrote it last; 0 if none has.
    pub(super) fn group(&self) -> u64 {
        u64::from_le_bytes(self.0[8..16].try_into().expect("eight bytes"))
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        use Kind::{Branch, Leaf, Map, Meta, Overflow, Roots};
        [Meta, Roots, Map, Leaf, Branch, Overflow].into_iter().find(|kind| *kind as u8 == self.0[16])
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.0[16] == Kind::Leaf as u8
    }

    pub(super) fn is_node(&self) -> bool {
        self.is_leaf() || self.0[16] == Kind::Branch as u8
    }

    pub(super) fn level(&self) -> u8 {
        self.0[17]
    }

    pub(super) fn family(&self) -> Family {
        Family(self.0[18])
    }

    pub(super) fn set_family(&mut self, family: Family) {
        self.bytes_mut()[18] = family.0;
    }

    /// Gives the page another place.
    pub(super) fn renumber(&mut self, no: PageNo) {
        assert!(no.exists(), "nothing is moved onto the meta page");
        self.bytes_mut()[4..8].copy_from_slice(&no.0.to_le_bytes());
        self.forget_group();
    }

    /// Forgets which group wrote it: it goes into a store of its own.
    pub(super) fn forget_group(&mut self) {
        self.bytes_mut()[8..16].fill(0);
    }

    /// Makes it ready to be written by a group.
    pub(super) fn seal(&mut self, group: u64) {
        assert!(group > 0, "groups are numbered from 1");
        assert!(self.group() < group, "a page is sealed once per group, in their order");
        let no = self.no();
        let bytes = self.bytes_mut();
        bytes[8..16].copy_from_slice(&group.to_le_bytes());
        let sum = checksum(no, bytes);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
    }

    pub(super) fn cells(&self) -> usize {
        self.u16(20)
    }

    fn start(&self) -> usize {
        self.u16(22)
    }

    fn holes(&self) -> usize {
        self.u16(24)
    }

    fn slot(&self, i: usize) -> usize {
        self.u16(HEADER_BYTES + 2 * i)
    }

    pub(super) fn cell(&self, i: usize) -> Cell<'_> {
        assert!(i < self.cells(), "a cell that is read exists");
        let slot = self.slot(i);
        Cell::decode(self.is_leaf(), &self.0[slot..], self.size())
            .expect("cells were checked when they came in")
    }

    /// A cell's bytes.
    pub(super) fn cell_bytes(&self, i: usize) -> &[u8] {
        let (slot, size) = (self.slot(i), self.cell(i).size);
        &self.0[slot..slot + size]
    }

    /// How a cell's key compares with `key`; `None` if that cannot be told without its overflow pages.
    #[inline]
    pub(super) fn compare(&self, i: usize, key: &[u8]) -> Option<Ordering> {
        let (key_len, local) = self.key_part(i);
        if local.len() == key_len {
            return Some(local.cmp(key));
        }
        if !key.starts_with(local) {
            return Some(local.cmp(key));
        }
        // What begins with all of a shorter key is behind it.
        if key.len() == local.len() { Some(Ordering::Greater) } else { None }
    }

    /// The length of a cell's key, and as much of it as is in the cell.
    #[inline]
    fn key_part(&self, i: usize) -> (usize, &[u8]) {
        let slot = self.slot(i);
        // Nearly every length fits into one byte.
        let (lengths, key) = if self.is_leaf() { (slot, slot + 2) } else { (slot + 4, slot + 5) };
        let short = self.0[lengths] < 0x80 && self.0[key - 1] < 0x80;
        let key_len = usize::from(self.0[lengths]);
        if short && key_len <= max_local(self.size()) {
            return (key_len, &self.0[key..key + key_len]);
        }
        let cell = self.cell(i);
        (cell.key_len, cell.local_key())
    }

    /// Bytes that cells and their slots take.
    pub(super) fn used(&self) -> usize {
        self.size() - self.start() - self.holes() + 2 * self.cells()
    }

    /// Bytes that cells and their slots can take.
    pub(super) fn capacity(&self) -> usize {
        self.size() - HEADER_BYTES
    }

    /// Whether it has so little in it that it should join a sibling.
    pub(super) fn is_underfull(&self) -> bool {
        self.used() <= self.capacity() / 4
    }

    /// Inserts a cell before cell `i`; `false` if there is no room.
    #[must_use]
    pub(super) fn insert(&mut self, i: usize, cell: &[u8]) -> bool {
        let cells = self.cells();
        assert!(i <= cells, "cells stand without gaps");
        assert!(cell.len() + 2 <= self.capacity() / 4, "a page has room for four cells of any size");
        if self.used() + cell.len() + 2 > self.capacity() {
            return false;
        }
        if self.start() - HEADER_BYTES - 2 * cells < cell.len() + 2 {
            self.close_holes();
        }
        let at = self.start() - cell.len();
        let (slot, end) = (HEADER_BYTES + 2 * i, HEADER_BYTES + 2 * cells);
        let bytes = self.bytes_mut();
        bytes.copy_within(slot..end, slot + 2);
        bytes[at..at + cell.len()].copy_from_slice(cell);
        self.set_u16(slot, at);
        self.set_u16(20, cells + 1);
        self.set_u16(22, at);
        assert!(HEADER_BYTES + 2 * (cells + 1) <= at, "slots and cells do not meet");
        true
    }

    /// Appends a cell for which there must be room.
    pub(super) fn push(&mut self, cell: &[u8]) {
        let fits = self.insert(self.cells(), cell);
        assert!(fits, "cells were distributed so that they fit");
    }

    pub(super) fn remove(&mut self, i: usize) {
        let (cells, at, size) = (self.cells(), self.slot(i), self.cell(i).size);
        let (slot, end) = (HEADER_BYTES + 2 * i, HEADER_BYTES + 2 * cells);
        self.bytes_mut().copy_within(slot + 2..end, slot);
        self.set_u16(20, cells - 1);
        if at == self.start() {
            self.set_u16(22, at + size);
        } else {
            self.set_u16(24, self.holes() + size);
        }
    }

    /// Replaces a cell by one of the same size; `false` if it has another.
    #[must_use]
    pub(super) fn replace(&mut self, i: usize, cell: &[u8]) -> bool {
        let (at, size) = (self.slot(i), self.cell(i).size);
        if size != cell.len() {
            return false;
        }
        self.bytes_mut()[at..at + size].copy_from_slice(cell);
        true
    }

    /// Sets the child of a branch's cell.
    pub(super) fn set_child(&mut self, i: usize, child: PageNo) {
        assert!(!self.is_leaf(), "only branches have children");
        let at = self.slot(i);
        self.bytes_mut()[at..at + 4].copy_from_slice(&child.0.to_le_bytes());
    }

    /// Sets where the overflow pages of a cell begin.
    pub(super) fn set_overflow(&mut self, i: usize, first: PageNo) {
        let cell = self.cell(i);
        assert!(cell.overflow.is_some(), "only a cell that overflows has such pages");
        let at = self.slot(i) + cell.size - 4;
        self.bytes_mut()[at..at + 4].copy_from_slice(&first.0.to_le_bytes());
    }

    /// Sets the page behind an overflow page.
    pub(super) fn set_next(&mut self, next: PageNo) {
        assert_eq!(self.kind(), Some(Kind::Overflow), "only overflow pages have one behind them");
        self.bytes_mut()[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&next.0.to_le_bytes());
    }

    fn close_holes(&mut self) {
        let old = self.clone();
        let mut start = self.size();
        for i in 0..old.cells() {
            let cell = old.cell_bytes(i);
            start -= cell.len();
            self.bytes_mut()[start..start + cell.len()].copy_from_slice(cell);
            self.set_u16(HEADER_BYTES + 2 * i, start);
        }
        assert_eq!(start, old.start() + old.holes(), "holes are what lies between cells");
        self.set_u16(22, start);
        self.set_u16(24, 0);
    }
}

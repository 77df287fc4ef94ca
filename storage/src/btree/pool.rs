//! The pages in memory: all that were changed since they were last written, and as many others as fit.
//!
//! Eviction is a clock: the hand passes over pages that were used since it last came by. A page that
//! was changed is not evicted before a group has written it, so a batch larger than the pool makes the
//! pool grow for as long.
//!
//! A batch changes copies of pages. The memory of pages that were replaced is used for the next copies.

use std::cell::Cell;

use super::page::{Page, PageNo};

/// Why a page must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing: it is as the file has it.
    Clean,
    /// It was changed since a group last took it.
    Dirty,
    /// A group took it and has not finished writing it.
    Writing,
}

struct Frame {
    no: PageNo,
    page: Page,
    hold: Hold,
    used: Cell<bool>,
}

pub(super) struct Pool {
    frames: Vec<Frame>,
    /// The frame of each page, plus one; 0 if it has none. Four bytes per page of the file.
    table: Vec<u32>,
    hand: usize,
    capacity: usize,
    /// Frames that are not clean.
    held: usize,
    /// Pages that nobody reads any more.
    spares: Vec<Page>,
}

/// Pages that a pool holds at least: a path through a tree and what a split needs.
const FRAMES_MIN: usize = 16;

impl Pool {
    pub(super) fn new(bytes: usize, page_bytes: usize) -> Self {
        let capacity = (bytes / page_bytes).max(FRAMES_MIN);
        Self { frames: Vec::new(), table: Vec::new(), hand: 0, capacity, held: 0, spares: Vec::new() }
    }

    /// A page of its own with the same bytes.
    pub(super) fn copy_of(&mut self, page: &Page) -> Page {
        let mut copy = page.clone();
        match self.spares.pop() {
            Some(spare) => {
                copy = spare;
                copy.bytes_mut().copy_from_slice(page.bytes());
            }
            // It shares the bytes until it is changed.
            None => {
                copy.bytes_mut();
            }
        }
        copy
    }

    /// Takes the memory of a page, if nobody else has it.
    pub(super) fn recycle(&mut self, page: Page) {
        if page.is_unshared() && self.spares.len() < self.capacity / 16 {
            self.spares.push(page);
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    fn frame_of(&self, no: PageNo) -> Option<usize> {
        let frame = self.table.get(no.index()).map_or(0, |frame| *frame as usize).checked_sub(1)?;
        assert_eq!(self.frames[frame].no, no, "the table and the frames agree");
        Some(frame)
    }

    pub(super) fn get(&self, no: PageNo) -> Option<&Page> {
        let frame = &self.frames[self.frame_of(no)?];
        frame.used.set(true);
        Some(&frame.page)
    }

    pub(super) fn hold(&self, no: PageNo) -> Option<Hold> {
        Some(self.frames[self.frame_of(no)?].hold)
    }

    fn set_hold(&mut self, frame: usize, hold: Hold) {
        let before = std::mem::replace(&mut self.frames[frame].hold, hold);
        self.held = self.held + usize::from(hold != Hold::Clean) - usize::from(before != Hold::Clean);
        assert!(self.held <= self.frames.len(), "what is held is in a frame");
    }

    /// Puts a page in, or another content of one that is in.
    pub(super) fn insert(&mut self, no: PageNo, page: Page, hold: Hold) {
        assert_eq!(page.no(), no, "a page stands at its own place");
        if let Some(frame) = self.frame_of(no) {
            self.frames[frame].page = page;
            self.frames[frame].used.set(true);
            self.set_hold(frame, hold);
            return;
        }
        while self.frames.len() >= self.capacity && self.evict() {}
        if self.table.len() <= no.index() {
            self.table.resize(no.index() + 1, 0);
        }
        self.frames.push(Frame { no, page, hold: Hold::Clean, used: Cell::new(true) });
        self.table[no.index()] = u32::try_from(self.frames.len()).expect("fewer frames than pages");
        self.set_hold(self.frames.len() - 1, hold);
    }

    /// Lets go of one clean page; `false` if there is none.
    fn evict(&mut self) -> bool {
        if self.held == self.frames.len() {
            return false;
        }
        loop {
            self.hand = if self.hand + 1 < self.frames.len() { self.hand + 1 } else { 0 };
            let frame = &self.frames[self.hand];
            if frame.hold == Hold::Clean && !frame.used.replace(false) {
                self.take_out(self.hand);
                return true;
            }
        }
    }

    fn take_out(&mut self, frame: usize) {
        self.set_hold(frame, Hold::Clean);
        let gone = self.frames.swap_remove(frame);
        self.table[gone.no.index()] = 0;
        if let Some(moved) = self.frames.get(frame) {
            self.table[moved.no.index()] = frame as u32 + 1;
        }
    }

    /// Forgets a page whatever its state: it was freed.
    pub(super) fn remove(&mut self, no: PageNo) {
        if let Some(frame) = self.frame_of(no) {
            self.take_out(frame);
        }
    }

    /// A group takes a dirty page: seals it, and holds it until the group is written.
    pub(super) fn take_for(&mut self, group: u64, no: PageNo) -> Page {
        let frame = self.frame_of(no).expect("a dirty page is in the pool");
        assert_eq!(self.frames[frame].hold, Hold::Dirty, "a group takes what was changed");
        self.frames[frame].page.seal(group);
        self.set_hold(frame, Hold::Writing);
        self.frames[frame].page.clone()
    }

    /// A group has written a page. It may have been changed or freed in the meantime.
    pub(super) fn written(&mut self, no: PageNo) {
        if let Some(frame) = self.frame_of(no).filter(|frame| self.frames[*frame].hold == Hold::Writing) {
            self.set_hold(frame, Hold::Clean);
        }
    }
}

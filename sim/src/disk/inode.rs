//! A file's content: what readers see now, and what a power loss may make of it.
//!
//! The content is a table of 4 KiB pages; a missing page is zeros, so that preallocation costs
//! nothing. Beside it stands an undo log. Time is cut into *generations*: each flush ends one when
//! it is issued, and when it completes all records of that generation and before are dropped. A
//! record holds what the 512-byte sectors of one page contained before they were first changed in
//! its generation. So the oldest record of a sector holds its durable content, and a sector without
//! a record is durable. Sizes are logged in the same way.
//!
//! What a power loss makes of both is told in [`loss`](super::loss). Pages are shared, and copied when
//! they are written, so that a clone of a file costs next to nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::scars::Scars;

/// The unit of the page cache, in bytes.
pub(crate) const PAGE: usize = 4096;
/// The unit that a device writes atomically, unless the power fails: in bytes.
pub(crate) const SECTOR: usize = 512;
pub(super) const SECTORS: usize = PAGE / SECTOR;

pub(super) type Content = Arc<[u8; PAGE]>;

#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// `None`: zeros.
    pub(super) content: Option<Content>,
    /// The number of its latest undo record, whether or not that is still there.
    pub(super) record: u64,
    /// Not in the page cache: the first read goes to the device.
    pub(super) cold: bool,
}

/// What some sectors of a page held before a generation changed them.
#[derive(Clone, Debug)]
pub(super) struct Undo {
    pub(super) generation: u64,
    pub(super) page: usize,
    /// Which sectors, one bit each.
    pub(super) sectors: u8,
    /// `None`: zeros.
    pub(super) before: Option<Content>,
}

#[derive(Clone, Debug)]
pub(super) struct SizeChange {
    pub(super) generation: u64,
    pub(super) before: u64,
}

/// A file. It lives as long as a name, an undoable directory change or an open handle refers to it.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    /// Its number on its node.
    pub(crate) id: u64,
    pub(super) size: u64,
    pub(super) pages: Vec<Page>,
    generation: u64,
    pub(super) undo: VecDeque<Undo>,
    /// How many undo records were dropped; the first record has number 1.
    pub(super) undo_dropped: u64,
    pub(super) sizes: VecDeque<SizeChange>,
    pub(super) size_changed: bool,
    /// Where it lies on a disk with an arm.
    pub(crate) place: u64,
    pub(super) scars: Option<Box<Scars>>,
}

/// The bits of the sectors that a part of a page touches.
#[inline]
fn sectors_of(bytes: &Range<usize>) -> u8 {
    assert!(!bytes.is_empty() && bytes.end <= PAGE, "{bytes:?} is not a part of a page");
    let (first, last) = (bytes.start / SECTOR, (bytes.end - 1) / SECTOR);
    (0xff << first) & (0xff >> (SECTORS - 1 - last))
}

pub(super) fn zeros() -> Content {
    Arc::new([0; PAGE])
}

impl Inode {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            size: 0,
            pages: Vec::new(),
            generation: 1,
            undo: VecDeque::new(),
            undo_dropped: 0,
            sizes: VecDeque::new(),
            size_changed: false,
            place: 0,
            scars: None,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the size changed since the last flush was issued: the next must write metadata too.
    pub(crate) fn size_changed(&self) -> bool {
        self.size_changed
    }

    /// How many changes of its size no flush has covered.
    pub(crate) fn size_changes(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// How many bytes of `offset..offset + len` the file has.
    pub(crate) fn available(&self, offset: u64, len: usize) -> usize {
        self.size.saturating_sub(offset).min(len as u64) as usize
    }

    /// Whether a read of this part must go to the device.
    pub(crate) fn is_cold(&self, offset: u64, len: usize) -> bool {
        self.page_range(offset, len).any(|page| self.pages.get(page).is_some_and(|page| page.cold))
    }

    /// The page cache holds this part from now on.
    pub(crate) fn warm(&mut self, offset: u64, len: usize) {
        for page in self.page_range(offset, len) {
            if let Some(page) = self.pages.get_mut(page) {
                page.cold = false;
            }
        }
    }

    pub(super) fn page_range(&self, offset: u64, len: usize) -> Range<usize> {
        let len = self.available(offset, len);
        let first = (offset / PAGE as u64) as usize;
        if len == 0 { first..first } else { first..(offset as usize + len).div_ceil(PAGE) }
    }

    /// Copies the content into `buf`, as far as there is any; how many bytes.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let len = self.available(offset, buf.len());
        let mut done = 0;
        while done < len {
            let at = offset as usize + done;
            let (page, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + len - done);
            let target = &mut buf[done..done + to - from];
            match &self.pages[page].content {
                Some(content) => target.copy_from_slice(&content[from..to]),
                None => target.fill(0),
            }
            done += to - from;
        }
        len
    }

    /// Replaces the content at `offset`, growing the file if needed.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.heal(offset, data.len());
        let end = offset + data.len() as u64;
        if end > self.size {
            self.change_size(end);
        }
        let mut done = 0;
        while done < data.len() {
            let at = offset as usize + done;
            let (number, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + data.len() - done);
            let source = &data[done..done + to - from];
            self.save(number, from..to);
            let page = &mut self.pages[number];
            page.cold = false;
            match (&mut page.content, <&[u8; PAGE]>::try_from(source)) {
                (Some(content), _) => Arc::make_mut(content)[from..to].copy_from_slice(source),
                (empty, Ok(whole)) => *empty = Some(Arc::new(*whole)),
                (empty, Err(_)) => {
                    Arc::make_mut(empty.insert(zeros()))[from..to].copy_from_slice(source);
                }
            }
            done += to - from;
        }
    }

    /// Puts the present content of what is about to change into the undo log, unless that holds an
    /// earlier content of this generation. A whole page is moved there, not copied.
    fn save(&mut self, number: usize, bytes: Range<usize>) {
        let page = &mut self.pages[number];
        let place = page.record.checked_sub(self.undo_dropped + 1).map(|place| place as usize);
        let latest = place.and_then(|place| self.undo.get_mut(place));
        let record = match latest.filter(|record| record.generation == self.generation) {
            Some(record) => record,
            None => {
                let generation = self.generation;
                self.undo.push_back(Undo { generation, page: number, sectors: 0, before: None });
                page.record = self.undo_dropped + self.undo.len() as u64;
                self.undo.back_mut().expect("a record was just put there")
            }
        };
        let new = sectors_of(&bytes) & !record.sectors;
        record.sectors |= new;
        if new == u8::MAX && bytes == (0..PAGE) {
            record.before = page.content.take();
        } else if let (true, Some(content)) = (new != 0, &page.content) {
            let before = Arc::make_mut(record.before.get_or_insert_with(zeros));
            for sector in (0..SECTORS).filter(|sector| new & 1 << sector != 0) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                before[range.clone()].copy_from_slice(&content[range]);
            }
        }
    }

    fn change_size(&mut self, size: u64) {
        self.sizes.push_back(SizeChange { generation: self.generation, before: self.size });
        self.size_changed = true;
        self.size = size;
        self.pages.resize_with((size as usize).div_ceil(PAGE), Page::default);
    }

    /// Extends the file with zeros, or cuts it.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.size {
            self.cut(len);
        } else if len > self.size {
            self.change_size(len);
        }
    }

    /// A cut has generations to itself: what comes before and after it must not share its records.
    fn cut(&mut self, len: u64) {
        self.generation += 1;
        for page in (len as usize / PAGE)..self.pages.len() {
            if self.pages[page].content.is_none() {
                continue;
            }
            let from = (len as usize).saturating_sub(page * PAGE);
            self.save(page, from..PAGE);
            if let Some(content) = &mut self.pages[page].content {
                Arc::make_mut(content)[from..].fill(0);
            }
        }
        self.change_size(len);
        self.generation += 1;
    }

    /// A flush is issued: it covers what completed before now. Returns what it is known by.
    pub(crate) fn flush_begins(&mut self) -> u64 {
        self.generation += 1;
        self.size_changed = false;
        self.generation - 1
    }

    /// A flush completed: what it covers is durable.
    pub(crate) fn flush_ends(&mut self, generation: u64) {
        while self.undo.front().is_some_and(|record| record.generation <= generation) {
            let flushed = self.undo.pop_front();
            self.undo_dropped += 1;
            if let (Some(_), Some(flushed)) = (&self.scars, flushed) {
                self.settle_scars(&flushed);
            }
        }
        while self.sizes.front().is_some_and(|change| change.generation <= generation) {
            self.sizes.pop_front();
        }
    }

    /// Marks this moment: what changed before it is covered by the generation that is returned.
    pub(crate) fn mark(&mut self) -> u64 {
        self.generation += 1;
        self.generation - 1
    }

    /// A write that had not completed when the power failed: it may have reached the disk in parts.
    pub(crate) fn write_in_flight(&mut self, offset: u64, data: &[u8]) {
        self.generation += 1;
        self.write(offset, data);
    }
}

//! A file's content: what readers see now, and what a power loss may make of it.
//!
//! The content is a table of 4 KiB pages; a missing page is zeros, so that preallocation costs
//! nothing. Beside it stands an undo log. Time is cut into *generations*: each flush ends one when
//! it is issued, and when it completes all records of that generation and before are dropped. A
//! record holds what the 512-byte sectors of one page contained before they were first changed in
//! its generation. So the oldest record of a sector holds its durable content, and a sector without
//! a record is durable. Sizes are logged in the same way.
//!
//! A power loss first draws how many of the unsynced size changes survive (a prefix: they are
//! metadata, and metadata is journalled in order). A cut that did not survive takes with it what was
//! written into the cut sectors afterwards; one that did leaves no way back behind it. Then each
//! un-flushed sector is, independently of all others, *dropped* (durable content), *kept* (one of
//! its later versions) or *torn* (a prefix of a later version, then the durable content).

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::scars::Scars;
use crate::config::Persistence;
use crate::rng::{philox, up_to, wide};
use crate::stats::CrashReport;

/// The unit of the page cache, in bytes.
pub(crate) const PAGE: usize = 4096;
/// The unit that a device writes atomically, unless the power fails: in bytes.
pub(crate) const SECTOR: usize = 512;
pub(super) const SECTORS: usize = PAGE / SECTOR;

pub(super) type Content = Box<[u8; PAGE]>;

/// What became of an un-flushed sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Dropped,
    Torn,
    Garbage,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    /// `None`: zeros.
    pub(super) content: Option<Content>,
    /// The number of its latest undo record, whether or not that is still there.
    record: u64,
    /// Not in the page cache: the first read goes to the device.
    pub(super) cold: bool,
}

/// What some sectors of a page held before a generation changed them.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) generation: u64,
    pub(super) page: usize,
    /// Which sectors, one bit each.
    pub(super) sectors: u8,
    /// `None`: zeros.
    pub(super) before: Option<Content>,
}

#[derive(Debug)]
struct SizeChange {
    generation: u64,
    before: u64,
}

/// A file. It lives as long as a name, an undoable directory change or an open handle refers to it.
#[derive(Debug)]
pub(crate) struct Inode {
    /// Its number on its node.
    pub(crate) id: u64,
    size: u64,
    pub(super) pages: Vec<Page>,
    generation: u64,
    pub(super) undo: VecDeque<Undo>,
    /// How many undo records were dropped; the first record has number 1.
    pub(super) undo_dropped: u64,
    sizes: VecDeque<SizeChange>,
    size_changed: bool,
    /// Where it lies on a disk with an arm.
    pub(crate) place: u64,
    pub(super) scars: Option<Box<Scars>>,
}

/// What a power loss makes of un-flushed sectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Semantics {
    pub(crate) persistence: Persistence,
    /// Of those dropped, in parts per million.
    pub(crate) garbage_ppm: u32,
}

/// The bits of the sectors that a part of a page touches.
#[inline]
fn sectors_of(bytes: &Range<usize>) -> u8 {
    assert!(!bytes.is_empty() && bytes.end <= PAGE, "{bytes:?} is not a part of a page");
    let (first, last) = (bytes.start / SECTOR, (bytes.end - 1) / SECTOR);
    (0xff << first) & (0xff >> (SECTORS - 1 - last))
}

pub(super) fn zeros() -> Content {
    vec![0; PAGE].into_boxed_slice().try_into().expect("a page has the size of a page")
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
                (Some(content), _) => content[from..to].copy_from_slice(source),
                (empty, Ok(whole)) => *empty = Some(Box::new(*whole)),
                (empty, Err(_)) => empty.insert(zeros())[from..to].copy_from_slice(source),
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
            let before = record.before.get_or_insert_with(zeros);
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
                content[from..].fill(0);
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

    /// The power fails. `draw` gives 128 random bits per sector, and `None` stands for the file as a
    /// whole; `tell` hears what became of each un-flushed sector.
    pub(crate) fn power_loss(
        &mut self,
        semantics: Semantics,
        draw: impl Fn(Option<u64>) -> [u32; 4],
        mut tell: impl FnMut(u64, Fate),
    ) -> CrashReport {
        let [keep, tear, high, low] = draw(None);
        let odds = Odds::new(keep, tear);
        let changes = self.sizes.len() as u64;
        let survive = match tear % 2 {
            0 => 0,
            _ => up_to(changes, wide(high, low)),
        };
        let size = self.sizes.get(survive as usize).map_or(self.size, |change| change.before);
        let cuts = self.cuts(survive);
        self.pages.resize_with((size.max(self.size) as usize).div_ceil(PAGE), Page::default);

        let mut by_page: BTreeMap<usize, Vec<Undo>> = BTreeMap::new();
        for record in std::mem::take(&mut self.undo) {
            by_page.entry(record.page).or_default().push(record);
        }
        let forgotten = self.scars_at_power_loss(&mut by_page);
        let durable_size = self.sizes.front().map_or(self.size, |change| change.before);
        let Semantics { persistence, garbage_ppm } = semantics;
        let data_first = !matches!(persistence, Persistence::Journalled | Persistence::PosixWeak);
        let mut report = CrashReport::default();
        for (number, records) in &by_page {
            // A page beyond both sizes was extended and cut again: nothing of it can be seen.
            let Some(page) = self.pages.get_mut(*number) else { continue };
            let newest = page.content.take();
            let mut after = zeros();
            for sector in 0..SECTORS {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                let absolute = (number * SECTORS + sector) as u64;
                let versions = Versions::new(records, &newest, sector, cuts.around(absolute));
                let target = &mut after[range];
                let Some(choices) = versions.choices() else {
                    versions.copy(versions.base, target);
                    continue;
                };
                // Btrfs writes whole pages elsewhere: their sectors share a fate, and none is torn.
                let whole_pages = persistence == Persistence::Btrfs;
                let bits = draw(Some(if whole_pages { (number * SECTORS) as u64 } else { absolute }));
                let start = absolute * SECTOR as u64;
                let mut fate = match odds.fate(bits[0], bits[3]) {
                    _ if start >= size || forgotten.contains(&absolute) => Fate::Dropped,
                    _ if data_first && start >= durable_size => Fate::Kept,
                    Fate::Torn if whole_pages => Fate::Dropped,
                    fate => fate,
                };
                if fate == Fate::Dropped && start < size {
                    let weak = persistence == Persistence::PosixWeak && start >= durable_size;
                    let share = if weak { garbage_ppm.max(500_000) } else { garbage_ppm };
                    if share > 0
                        && u64::from(draw(Some(absolute | 1 << 39))[0]) * 1_000_000 < u64::from(share) << 32
                    {
                        fate = Fate::Garbage;
                    }
                }
                let chosen = match data_first && start >= durable_size || whole_pages {
                    true => versions.newest,
                    false => versions.base + 1 + up_to(choices - 1, wide(bits[1], bits[2])) as usize,
                };
                match fate {
                    Fate::Dropped => versions.copy(versions.base, target),
                    Fate::Kept => versions.copy(chosen, target),
                    Fate::Torn => {
                        versions.copy(versions.base, target);
                        let torn_at = 1 + bits[2] as usize % (SECTOR - 1);
                        versions.copy(chosen, &mut target[..torn_at]);
                    }
                    Fate::Garbage => {
                        for (at, part) in (0..).zip(target.as_chunks_mut::<4>().0) {
                            *part = philox(wide(bits[0], bits[1]), absolute, at)[0].to_le_bytes();
                        }
                    }
                }
                *match fate {
                    Fate::Kept => &mut report.sectors_kept,
                    Fate::Dropped => &mut report.sectors_dropped,
                    Fate::Torn => &mut report.sectors_torn,
                    Fate::Garbage => &mut report.sectors_garbage,
                } += 1;
                tell(absolute, fate);
            }
            page.content = Some(after);
        }
        self.settle(size);
        report
    }

    /// The unsynced cuts, of which those among the first `survive` size changes survive.
    fn cuts(&self, survive: u64) -> Cuts {
        let after = self.sizes.iter().skip(1).map(|change| change.before).chain([self.size]);
        let cut = |(number, (change, to)): (u64, (&SizeChange, u64))| {
            let (generation, survives) = (change.generation, number < survive);
            (to < change.before).then_some(Cut { generation, to, survives })
        };
        Cuts((0..).zip(self.sizes.iter().zip(after)).filter_map(cut).collect())
    }

    /// What is there now is durable, and nothing of it is cached.
    fn settle(&mut self, size: u64) {
        self.size = size;
        self.sizes.clear();
        self.size_changed = false;
        self.pages.truncate((size as usize).div_ceil(PAGE));
        let beyond = size as usize % PAGE;
        if let (true, Some(Page { content: Some(content), .. })) = (beyond != 0, self.pages.last_mut()) {
            content[beyond..].fill(0);
        }
        for page in &mut self.pages {
            page.record = 0;
            page.cold = page.content.is_some();
        }
    }
}

/// How a power loss treats the sectors of one file. Drawn anew for each, so that crashes differ in
/// how much they leave: a quarter keeps nothing, an eighth everything; half of them tear nothing.
struct Odds {
    /// Of 2^32.
    keep: u64,
    /// Of 2^32 that are not kept.
    tear: u64,
}

impl Odds {
    fn new(keep: u32, tear: u32) -> Self {
        // Spreads what lies between `none` and 8 - `all` eighths over the whole range.
        let spread = |bits: u32, none: u64, all: u64| {
            (u64::from(bits).saturating_sub(none << 29) * 8 / (8 - none - all)).min(1 << 32)
        };
        Self { keep: spread(keep, 2, 1), tear: spread(tear, 4, 0) }
    }

    fn fate(&self, keep: u32, tear: u32) -> Fate {
        if u64::from(keep) < self.keep {
            Fate::Kept
        } else if u64::from(tear) < self.tear {
            Fate::Torn
        } else {
            Fate::Dropped
        }
    }
}

/// The unsynced cuts of a file, and whether they survive.
struct Cuts(Vec<Cut>);

struct Cut {
    generation: u64,
    to: u64,
    survives: bool,
}

impl Cuts {
    /// The last surviving and the first lost cut that took a sector, by their generations.
    fn around(&self, sector: u64) -> (Option<u64>, Option<u64>) {
        let mut took = self.0.iter().filter(|cut| cut.to < (sector + 1) * SECTOR as u64);
        let survivor = took.clone().rfind(|cut| cut.survives).map(|cut| cut.generation);
        (survivor, took.find(|cut| !cut.survives).map(|cut| cut.generation))
    }
}

/// What one sector contained, from its durable content to its newest. `None`: zeros.
struct Versions<'a> {
    list: Vec<Option<&'a [u8]>>,
    /// The version that a dropped sector has.
    base: usize,
    /// The latest version that can be there.
    newest: usize,
}

impl<'a> Versions<'a> {
    fn new(
        records: &'a [Undo],
        now: &'a Option<Content>,
        sector: usize,
        (survivor, lost): (Option<u64>, Option<u64>),
    ) -> Self {
        let part = |content: &'a Option<Content>| {
            content.as_ref().map(|c| &c[sector * SECTOR..(sector + 1) * SECTOR])
        };
        let changes = || records.iter().filter(|record| record.sectors & 1 << sector != 0);
        // The first version whose change came at or after a generation.
        let since = |generation| changes().take_while(|record| record.generation < generation).count();
        let base = survivor.map_or(0, |cut| since(cut + 1));
        let newest = lost.map_or(changes().count(), since);
        assert!(base <= newest, "size changes survive in order");
        let list = changes().map(|record| part(&record.before)).chain([part(now)]).collect();
        Self { list, base, newest }
    }

    /// Among how many versions beside the base there is a choice, if there is one.
    fn choices(&self) -> Option<u64> {
        (self.newest > self.base).then(|| (self.newest - self.base) as u64)
    }

    /// Copies the first bytes of a version.
    fn copy(&self, version: usize, target: &mut [u8]) {
        match self.list[version] {
            Some(content) => target.copy_from_slice(&content[..target.len()]),
            None => target.fill(0),
        }
    }
}

//! What a power loss leaves of a file.
//!
//! First it is decided how many of the unsynced size changes survive (a prefix: they are metadata,
//! and metadata is journalled in order). A cut that did not survive takes with it what was written
//! into the cut sectors afterwards; one that did leaves no way back behind it. Then each *unit* with
//! un-flushed content is, independently of all others, *dropped* (durable content), *kept* (one of
//! its later contents), *torn* (a prefix of a later content, then the durable one) or *garbage*.
//!
//! A unit is what the device writes whole or not at all: a sector, or an aligned block of several.
//! Only where the device promises less than a sector can one be torn.
//!
//! Who decides are [`Lots`]: drawn from the seed at a [crash](crate::World::crash), or one of all that
//! there are in a [frontier](crate::Frontier).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::inode::{Content, Inode, PAGE, Page, SECTOR, SECTORS, SizeChange, Undo, zeros};
use crate::config::Persistence;
use crate::rng::{philox, up_to, wide};
use crate::stats::CrashReport;

/// What became of an un-flushed sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It has a content that was written since the last flush.
    Kept,
    /// It has its durable content.
    Dropped,
    /// It begins with bytes of a newer content and ends with those of its durable one.
    Torn,
    /// It holds what nobody wrote.
    Garbage,
}

/// The rules for the un-flushed parts of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Semantics {
    pub(crate) persistence: Persistence,
    /// What the device writes whole or not at all, in bytes.
    pub(crate) torn_unit: usize,
    /// Of those dropped, in parts per million.
    pub(crate) garbage_ppm: u32,
}

impl Semantics {
    /// How many sectors share a fate.
    fn sectors_of_unit(self) -> usize {
        // Btrfs writes whole pages elsewhere.
        let whole_pages = self.persistence == Persistence::Btrfs;
        if whole_pages { SECTORS } else { (self.torn_unit / SECTOR).max(1) }
    }

    /// The places within a sector where it may be torn: every so many bytes, if anywhere.
    pub(crate) fn tears_sectors_at(self) -> Option<usize> {
        let can_tear = self.torn_unit < SECTOR && self.persistence != Persistence::Btrfs;
        can_tear.then_some(self.torn_unit)
    }
}

/// A unit whose content after a power loss is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenUnit {
    /// Its first sector in the file.
    pub(crate) first: u64,
    /// How many contents beside its durable one it may have, oldest first.
    pub(crate) contents: u64,
    /// Nothing but zeros is durable in it.
    pub(crate) fresh: bool,
}

/// What is decided of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) fate: Fate,
    /// Which of its contents, from 1, if it is kept or torn.
    pub(crate) content: u64,
    /// Where it is torn, or what the garbage is drawn from.
    pub(crate) bits: u64,
}

/// Who decides what a power loss leaves of a file.
pub(crate) trait Lots {
    /// How many of so many unsynced size changes survive.
    fn sizes(&mut self, changes: u64) -> u64;
    /// What becomes of a unit.
    fn unit(&mut self, open: OpenUnit) -> Lot;
    /// Whether a sector that is dropped is garbage, with a share in parts per million.
    fn spoils(&mut self, sector: u64, share: u32) -> bool;
}

/// Lots drawn from the seed.
pub(crate) struct Drawn<D> {
    draw: D,
    odds: Odds,
    sizes: [u32; 3],
}

impl<D: Fn(Option<u64>) -> [u32; 4]> Drawn<D> {
    /// `draw` gives 128 random bits per sector, and `None` stands for the file as a whole.
    pub(crate) fn new(draw: D) -> Self {
        let [keep, tear, high, low] = draw(None);
        Self { draw, odds: Odds::new(keep, tear), sizes: [tear, high, low] }
    }
}

impl<D: Fn(Option<u64>) -> [u32; 4]> Lots for Drawn<D> {
    fn sizes(&mut self, changes: u64) -> u64 {
        let [tear, high, low] = self.sizes;
        if tear.is_multiple_of(2) { 0 } else { up_to(changes, wide(high, low)) }
    }

    fn unit(&mut self, open: OpenUnit) -> Lot {
        let bits = (self.draw)(Some(open.first));
        let fate = self.odds.fate(bits[0], bits[3]);
        let content = 1 + up_to(open.contents - 1, wide(bits[1], bits[2]));
        let bits = if fate == Fate::Torn { bits[2].into() } else { wide(bits[0], bits[1]) };
        Lot { fate, content, bits }
    }

    fn spoils(&mut self, sector: u64, share: u32) -> bool {
        u64::from((self.draw)(Some(sector | 1 << 39))[0]) * 1_000_000 < u64::from(share) << 32
    }
}

impl Inode {
    /// The power fails. `tell` hears what became of each un-flushed sector.
    pub(crate) fn power_loss(
        &mut self,
        semantics: Semantics,
        lots: &mut impl Lots,
        mut tell: impl FnMut(u64, Fate),
    ) -> CrashReport {
        let survive = lots.sizes(self.sizes.len() as u64);
        let size = self.sizes.get(survive as usize).map_or(self.size, |change| change.before);
        let durable_size = self.sizes.front().map_or(self.size, |change| change.before);
        let cuts = self.cuts(survive);
        self.pages.resize_with((size.max(self.size) as usize).div_ceil(PAGE), Default::default);

        let mut by_page: BTreeMap<usize, Vec<Undo>> = BTreeMap::new();
        for record in std::mem::take(&mut self.undo) {
            by_page.entry(record.page).or_default().push(record);
        }
        let forgotten = self.scars_at_power_loss(&mut by_page);
        let rules = Rules { semantics, size, durable_size, forgotten };
        let mut report = CrashReport::default();
        for (number, records) in &by_page {
            // A page beyond both sizes was extended and cut again: nothing of it can be seen.
            let Some(page) = self.pages.get_mut(*number) else { continue };
            let newest = page.content.clone();
            let after = page.content.get_or_insert_with(zeros);
            for at in (0..SECTORS).step_by(semantics.sectors_of_unit()) {
                let sectors = at..at + semantics.sectors_of_unit();
                let unit = Unit::new(*number, sectors, records, &newest, &cuts);
                unit.settle(&rules, lots, after, |sector, fate| {
                    report.count(fate);
                    tell(sector, fate);
                });
            }
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
            Arc::make_mut(content)[beyond..].fill(0);
        }
        for page in &mut self.pages {
            page.record = 0;
            page.cold = page.content.is_some();
        }
    }
}

/// What holds for all units of one file at one power loss.
struct Rules {
    semantics: Semantics,
    size: u64,
    durable_size: u64,
    /// Sectors that the device acknowledged and never wrote.
    forgotten: BTreeSet<u64>,
}

impl Rules {
    /// What a sector's fate must be, if the rules leave no choice.
    fn forced(&self, sector: u64) -> Option<Fate> {
        let start = sector * SECTOR as u64;
        let data_first =
            !matches!(self.semantics.persistence, Persistence::Journalled | Persistence::PosixWeak);
        if start >= self.size || self.forgotten.contains(&sector) {
            return Some(Fate::Dropped);
        }
        (data_first && start >= self.durable_size).then_some(Fate::Kept)
    }

    /// How likely a dropped sector is garbage, in parts per million.
    fn garbage_ppm(&self, sector: u64) -> u32 {
        let start = sector * SECTOR as u64;
        let weak = self.semantics.persistence == Persistence::PosixWeak && start >= self.durable_size;
        match start < self.size {
            true if weak => self.semantics.garbage_ppm.max(500_000),
            true => self.semantics.garbage_ppm,
            false => 0,
        }
    }
}

/// Sectors of a page that share a fate.
struct Unit<'a> {
    /// The number of the page's first sector.
    base: u64,
    /// Of the page.
    sectors: Range<usize>,
    /// The records that concern it.
    records: Vec<&'a Undo>,
    /// Per sector.
    versions: Vec<Versions<'a>>,
}

impl<'a> Unit<'a> {
    fn new(
        page: usize,
        sectors: Range<usize>,
        records: &'a [Undo],
        newest: &'a Option<Content>,
        cuts: &Cuts,
    ) -> Self {
        let base = (page * SECTORS) as u64;
        let mask = sectors.clone().fold(0_u8, |mask, sector| mask | 1 << sector);
        let records: Vec<&Undo> = records.iter().filter(|record| record.sectors & mask != 0).collect();
        let versions = |sector| Versions::new(&records, newest, sector, cuts.around(base + sector as u64));
        let versions = if records.is_empty() { Vec::new() } else { sectors.clone().map(versions).collect() };
        Self { base, sectors, records, versions }
    }

    /// Which contents it may have: as indices of `records`, how many of them were applied.
    fn contents(&self) -> Range<usize> {
        match &*self.versions {
            [only] => only.base..only.newest,
            _ => 0..self.records.len(),
        }
    }

    /// How many versions of a sector came with the unit's first `applied` records.
    fn version(&self, sector: usize, applied: usize) -> usize {
        self.records[..applied].iter().filter(|record| record.sectors & 1 << sector != 0).count()
    }

    /// Decides what is left of it.
    fn settle(
        &self,
        rules: &Rules,
        lots: &mut impl Lots,
        after: &mut Content,
        mut tell: impl FnMut(u64, Fate),
    ) {
        let open = |versions: &Versions<'_>| versions.newest > versions.base;
        if !self.versions.iter().any(open) {
            for (sector, versions) in self.sectors.clone().zip(&self.versions) {
                versions.put(versions.base, after, sector);
            }
            return;
        }
        let contents = self.contents();
        let is_open = |(sector, versions): (usize, &Versions<'_>)| {
            open(versions) && rules.forced(self.base + sector as u64).is_none()
        };
        // Nothing is asked where there is no choice.
        let lot = match self.sectors.clone().zip(&self.versions).any(is_open) {
            true => lots.unit(OpenUnit {
                first: self.base + self.sectors.start as u64,
                contents: contents.len() as u64,
                fresh: self.versions.iter().all(|versions| versions.is_zero(versions.base)),
            }),
            false => Lot { fate: Fate::Dropped, content: 1, bits: 0 },
        };
        for (sector, versions) in self.sectors.clone().zip(&self.versions) {
            let absolute = self.base + sector as u64;
            if !open(versions) {
                versions.put(versions.base, after, sector);
                continue;
            }
            let forced = rules.forced(absolute);
            let mut fate = match forced.unwrap_or(lot.fate) {
                Fate::Torn if rules.semantics.tears_sectors_at().is_none() => Fate::Dropped,
                fate => fate,
            };
            let share = if fate == Fate::Dropped { rules.garbage_ppm(absolute) } else { 0 };
            if share > 0 && lots.spoils(absolute, share) {
                fate = Fate::Garbage;
            }
            let chosen = match forced {
                Some(_) => versions.newest,
                None => {
                    let applied = contents.start + lot.content as usize;
                    self.version(sector, applied).clamp(versions.base, versions.newest)
                }
            };
            match fate {
                Fate::Dropped => versions.put(versions.base, after, sector),
                Fate::Kept => versions.put(chosen, after, sector),
                Fate::Torn => {
                    let unit = rules.semantics.tears_sectors_at().expect("else it is dropped");
                    let torn_at = unit * (1 + lot.bits as usize % (SECTOR / unit - 1));
                    versions.put(versions.base, after, sector);
                    let target = &mut Arc::make_mut(after)[sector * SECTOR..][..torn_at];
                    versions.copy(chosen, target);
                }
                Fate::Garbage => {
                    let (mut durable, mut written) = ([0; SECTOR], [0; SECTOR]);
                    versions.copy(versions.base, &mut durable);
                    versions.copy(versions.newest, &mut written);
                    let target = &mut Arc::make_mut(after)[sector * SECTOR..(sector + 1) * SECTOR];
                    for (at, part) in (0..).zip(target.as_chunks_mut::<4>().0) {
                        *part = philox(lot.bits, absolute, at)[0].to_le_bytes();
                    }
                    // What the writes left as it was stays: overwriting is safe up to its own bytes.
                    for (byte, (old, new)) in target.iter_mut().zip(durable.iter().zip(&written)) {
                        if old == new {
                            *byte = *old;
                        }
                    }
                }
            }
            tell(absolute, fate);
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
        records: &[&'a Undo],
        now: &'a Option<Content>,
        sector: usize,
        (survivor, lost): (Option<u64>, Option<u64>),
    ) -> Self {
        let part = |content: &'a Option<Content>| {
            content.as_ref().map(|c| &c[sector * SECTOR..(sector + 1) * SECTOR])
        };
        let changes = || records.iter().copied().filter(|record| record.sectors & 1 << sector != 0);
        // The first version whose change came at or after a generation.
        let since = |generation| changes().take_while(|record| record.generation < generation).count();
        let base = survivor.map_or(0, |cut| since(cut + 1));
        let newest = lost.map_or(changes().count(), since);
        assert!(base <= newest, "size changes survive in order");
        let list = changes().map(|record| part(&record.before)).chain([part(now)]).collect();
        Self { list, base, newest }
    }

    fn is_zero(&self, version: usize) -> bool {
        self.list[version].is_none_or(|content| content.iter().all(|byte| *byte == 0))
    }

    /// Copies the first bytes of a version.
    fn copy(&self, version: usize, target: &mut [u8]) {
        match self.list[version] {
            Some(content) => target.copy_from_slice(&content[..target.len()]),
            None => target.fill(0),
        }
    }

    /// Puts a version into a page that holds the newest of all.
    fn put(&self, version: usize, after: &mut Content, sector: usize) {
        if version + 1 < self.list.len() {
            self.copy(version, &mut Arc::make_mut(after)[sector * SECTOR..(sector + 1) * SECTOR]);
        }
    }
}

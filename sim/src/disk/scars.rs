//! What faults left on a file: sectors whose cached content is not what the device holds or will hold,
//! and sectors that cannot be read. A file that no fault touched has none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inode::{Content, Inode, PAGE, SECTOR, SECTORS, Undo, zeros};
use super::trouble::SyncFailure;

#[derive(Clone, Debug, Default)]
pub(crate) struct Scars {
    /// Sectors whose pages count as clean although the sync that was to write them failed, with what
    /// the device holds; `None`: zeros.
    stuck: BTreeMap<u64, Option<Box<[u8]>>>,
    /// Sectors whose latest write the device has acknowledged and forgotten.
    pub(crate) lost: BTreeSet<u64>,
    /// Sectors that cannot be read.
    bad: BTreeSet<u64>,
    /// Failures of syncs, and whether somebody was told of the latest.
    failures: u64,
    told: bool,
}

/// The sectors that a part of a file touches.
fn sectors(offset: u64, len: usize) -> std::ops::Range<u64> {
    let size = SECTOR as u64;
    offset / size..(offset + len as u64).div_ceil(size)
}

impl Inode {
    /// What new content heals: a device replaces a bad sector when it is written.
    pub(super) fn heal(&mut self, offset: u64, len: usize) {
        if let Some(scars) = &mut self.scars {
            for sector in sectors(offset, len) {
                scars.bad.remove(&sector);
                scars.lost.remove(&sector);
            }
        }
    }

    /// The write that just completed never reaches the device.
    pub(crate) fn forget(&mut self, offset: u64, len: usize) {
        self.scars.get_or_insert_default().lost.extend(sectors(offset, len));
    }

    /// Whether a part of the file cannot be read from the device.
    pub(crate) fn is_bad(&self, offset: u64, len: usize) -> bool {
        self.scars.as_ref().is_some_and(|scars| scars.bad.range(sectors(offset, len)).next().is_some())
    }

    /// The next read of this part goes to the device again.
    pub(crate) fn evict(&mut self, offset: u64, len: usize) {
        for page in self.page_range(offset, len) {
            self.pages[page].cold = true;
        }
    }

    /// How many failures of syncs a new handle does not hear of: all that somebody was told of.
    pub(crate) fn failures_told(&self) -> u64 {
        self.scars.as_ref().map_or(0, |scars| scars.failures - u64::from(scars.failures > 0 && !scars.told))
    }

    /// Tells a handle that knows of some failures whether there are more.
    pub(crate) fn tell_failure(&mut self, known: &mut u64) -> bool {
        let Some(scars) = self.scars.as_mut().filter(|scars| scars.failures > *known) else { return false };
        *known = scars.failures;
        scars.told = true;
        true
    }

    /// A flush completed: of these records, which now are dropped, the device did not write all.
    pub(super) fn settle_scars(&mut self, flushed: &Undo) {
        for bit in 0..SECTORS {
            let sector = (flushed.page * SECTORS + bit) as u64;
            let Some(scars) = self.scars.as_mut().filter(|_| flushed.sectors & 1 << bit != 0) else {
                continue;
            };
            scars.stuck.remove(&sector);
            if scars.lost.remove(&sector) {
                let before = flushed.before.as_ref().map(|before| &before[bit * SECTOR..(bit + 1) * SECTOR]);
                self.put_back(sector, before);
            }
        }
    }

    /// The content of a sector is what the device holds, and the cache holds it no more.
    fn put_back(&mut self, sector: u64, content: Option<&[u8]>) {
        let (page, at) = (sector as usize / SECTORS, sector as usize % SECTORS * SECTOR);
        let Some(page) = self.pages.get_mut(page) else { return };
        page.cold = true;
        let target = &mut Arc::make_mut(page.content.get_or_insert_with(zeros))[at..at + SECTOR];
        match content {
            Some(content) => target.copy_from_slice(content),
            None => target.fill(0),
        }
    }

    /// A flush failed. What it was to write is neither durable nor dirty any more.
    pub(crate) fn flush_fails(&mut self, generation: u64, manner: SyncFailure) {
        let mut records = Vec::new();
        while self.undo.front().is_some_and(|record| record.generation <= generation) {
            records.extend(self.undo.pop_front());
            self.undo_dropped += 1;
        }
        for record in records {
            for bit in (0..SECTORS).filter(|bit| record.sectors & 1 << bit != 0) {
                let sector = (record.page * SECTORS + bit) as u64;
                let before = record.before.as_ref().map(|before| &before[bit * SECTOR..(bit + 1) * SECTOR]);
                let reverts = manner == SyncFailure::Btrfs && !self.is_dirty(sector);
                if reverts {
                    self.put_back(sector, before);
                } else {
                    let stuck = &mut self.scars.get_or_insert_default().stuck;
                    stuck.entry(sector).or_insert_with(|| before.map(Box::from));
                }
            }
        }
        let scars = self.scars.get_or_insert_default();
        scars.failures += 1;
        scars.told = false;
    }

    /// Whether a sector has content that no flush has covered.
    pub(crate) fn is_dirty(&self, sector: u64) -> bool {
        let (page, bit) = (sector as usize / SECTORS, sector as usize % SECTORS);
        self.undo.iter().any(|record| record.page == page && record.sectors & 1 << bit != 0)
    }

    /// Pages with content, which faults may hit.
    pub(crate) fn written_pages(&self) -> impl Iterator<Item = usize> {
        self.pages.iter().enumerate().filter(|(_, page)| page.content.is_some()).map(|(number, _)| number)
    }

    /// Changes a flushed sector behind the cache's back. Whether it could.
    pub(crate) fn damage(&mut self, sector: u64, change: impl FnOnce(&mut [u8])) -> bool {
        let (page, at) = (sector as usize / SECTORS, sector as usize % SECTORS * SECTOR);
        if sector * SECTOR as u64 >= self.size() || self.is_dirty(sector) {
            return false;
        }
        let Some(page) = self.pages.get_mut(page) else { return false };
        let Some(content) = &mut page.content else { return false };
        change(&mut Arc::make_mut(content)[at..at + SECTOR]);
        page.cold = true;
        true
    }

    /// Makes a flushed sector unreadable. Whether it could.
    pub(crate) fn lose_sector(&mut self, sector: u64) -> bool {
        let hit = self.damage(sector, |_| ());
        if hit {
            self.scars.get_or_insert_default().bad.insert(sector);
        }
        hit
    }

    /// At a power loss: what the device holds of pages that only seemed clean, as records like those
    /// of dirty ones, and which sectors it never wrote.
    pub(super) fn scars_at_power_loss(&mut self, by_page: &mut BTreeMap<usize, Vec<Undo>>) -> BTreeSet<u64> {
        let Some(scars) = &mut self.scars else { return BTreeSet::new() };
        for (sector, before) in std::mem::take(&mut scars.stuck) {
            let (page, bit) = (sector as usize / SECTORS, sector as usize % SECTORS);
            let before = before.map(|part| {
                let mut content: Content = zeros();
                Arc::make_mut(&mut content)[bit * SECTOR..(bit + 1) * SECTOR].copy_from_slice(&part);
                content
            });
            by_page
                .entry(page)
                .or_default()
                .insert(0, Undo { generation: 0, page, sectors: 1 << bit, before });
        }
        std::mem::take(&mut scars.lost)
    }
}

const _: () = assert!(PAGE == SECTORS * SECTOR);

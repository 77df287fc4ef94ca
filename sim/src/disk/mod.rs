//! A node's disk: a device that takes time, a tree of names, and files.
//!
//! What is here survives a crash of the node; what a power loss makes of it is drawn in
//! [`inode`] and [`tree`].

mod arm;
pub(crate) mod device;
pub(crate) mod inode;
pub(crate) mod loss;
mod requests;
mod scars;
pub(crate) mod tree;
pub(crate) mod trouble;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use contract::Time;

use self::device::Device;
use self::inode::{Inode, SECTOR};
use self::loss::{Drawn, Fate, Semantics};
use self::tree::{SharedInode, Tree};
use self::trouble::{Chance, SyncFailure, Troubles};
use crate::config::{DiskConfig, Persistence};
use crate::digest::bytes_hash;
use crate::frontier::{Frontier, Image};
use crate::rng::{Keys, Purpose, philox, up_to, wide};
use crate::slab::Ticket;
use crate::stats::CrashReport;
use crate::task::Sleeping;

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) device: Device,
    pub(crate) tree: Tree,
    /// Operations that changed something, since the world's start.
    pub(crate) operations: u64,
    /// Stop the world before this operation.
    pub(crate) break_at: Option<u64>,
    files: u64,
    crashes: u64,
    power_loss_key: u64,
    place_key: u64,
    pub(crate) persistence: Persistence,
    torn_unit: usize,
    /// Reads pass the page cache by.
    pub(crate) reads_directly: bool,
    pub(crate) troubles: Troubles,
    /// Requests that were done while the device was stalled.
    pub(crate) stalled: Vec<Ticket>,
}

impl Disk {
    pub(crate) fn new(config: &DiskConfig, keys: &Keys, node: u64) -> Self {
        Self {
            device: Device::new(config, keys.key(Purpose::DISK, node), keys.key(Purpose::SPELL, node)),
            tree: Tree::default(),
            operations: 0,
            break_at: None,
            files: 0,
            crashes: 0,
            power_loss_key: keys.key(Purpose::POWER_LOSS, node),
            place_key: keys.key(Purpose::PLACE, node),
            persistence: config.persistence,
            torn_unit: config.torn_unit.into(),
            reads_directly: false,
            troubles: Troubles::new(keys.key(Purpose::TROUBLE, node)),
            stalled: Vec::new(),
        }
    }

    pub(crate) fn new_file(&mut self) -> SharedInode {
        self.files += 1;
        let mut file = Inode::new(self.files);
        if let Some(capacity) = self.device.capacity() {
            let draw = philox(self.place_key, 0, self.files);
            file.place = up_to(capacity / 4096 - 1, wide(draw[0], draw[1])) * 4096;
        }
        Rc::new(RefCell::new(file))
    }

    /// Where on the device a part of a file begins.
    pub(crate) fn place(&self, file: &SharedInode, offset: u64) -> u64 {
        let file = file.borrow();
        // Where it does not matter, files lie apart.
        self.device.capacity().map_or(file.id << 40 | offset, |capacity| (file.place + offset) % capacity)
    }

    /// What a power loss now may leave. `in_flight` are the requests that have not completed, in the
    /// order in which they were issued.
    pub(crate) fn frontier(&self, in_flight: &[&Request]) -> Frontier {
        Frontier::new(&self.frozen(in_flight), self.semantics(), self.files)
    }

    /// What the end of its machine now would leave: one image of that frontier, which `power_loss` draws,
    /// or without a power loss all of it, the page cache included.
    pub(crate) fn image(&self, in_flight: &[&Request], power_loss: Option<u64>) -> Image {
        let mut tree = self.frozen(in_flight);
        if let Some(number) = power_loss {
            let draw = philox(self.power_loss_key, u64::MAX, number);
            let lots = Lottery { key: wide(draw[0], draw[1]), slot: 0 };
            let _ = lots.power_loss(&mut tree, self.semantics(), |_| ());
        }
        Image { tree, files: self.files }
    }

    /// A copy of all files, as it is if the writes under way are done.
    fn frozen(&self, in_flight: &[&Request]) -> Tree {
        let mut frozen = BTreeMap::new();
        let tree = self.tree.with_files(|file| {
            let copy = Rc::new(RefCell::new(file.borrow().clone()));
            frozen.insert(file.borrow().id, Rc::clone(&copy));
            copy
        });
        for (file, offset, data) in in_flight.iter().filter_map(|request| request.unfinished_write()) {
            // A file that no name can lead to is gone with the power.
            if let Some(file) = frozen.get(&file.borrow().id) {
                file.borrow_mut().write_in_flight(offset, data);
            }
        }
        tree
    }

    /// The disk becomes what a power loss left of another.
    ///
    /// # Panics
    /// If it is not fresh.
    pub(crate) fn put(&mut self, image: Image) {
        assert!(self.files == 0 && self.operations == 0, "only a fresh disk is exchanged");
        self.tree = image.tree;
        self.files = image.files;
    }

    /// An empty disk. Draws go on, so that none comes twice.
    pub(crate) fn wipe(&mut self) {
        self.tree = Tree::default();
    }

    /// Whether the device answers nothing.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.troubles.sum().is_some_and(|trouble| trouble.stalled)
    }

    /// What a fault makes of the device's times, in thousandths.
    pub(crate) fn slow_permille(&self) -> u64 {
        self.troubles.sum().map_or(1000, |trouble| match trouble.slow_permille {
            0 => 1000,
            permille => permille.into(),
        })
    }

    /// What becomes of a write of some bytes.
    pub(crate) fn write_fate(&mut self, bytes: usize) -> WriteFate {
        let Some(trouble) = self.troubles.sum() else { return WriteFate::Done };
        let (error, lost, astray) =
            (trouble.write_error_ppm, trouble.lost_write_ppm, trouble.misdirected_ppm);
        if self.troubles.happens(Chance::WriteError, error).is_some() {
            return WriteFate::Fails;
        }
        if self.troubles.happens(Chance::LostWrite, lost).is_some() {
            return WriteFate::Lost(None);
        }
        match self.troubles.happens(Chance::Misdirected, astray) {
            Some([high, low, _]) if bytes > 0 => WriteFate::Lost(self.somewhere(wide(high, low))),
            _ => WriteFate::Done,
        }
    }

    /// What becomes of a flush.
    pub(crate) fn flush_fate(&mut self) -> FlushFate {
        let Some(trouble) = self.troubles.sum() else { return FlushFate::Done };
        if trouble.lying_flush {
            return FlushFate::Lies;
        }
        let Some((ppm, manner)) = trouble.sync_error else { return FlushFate::Done };
        self.troubles.happens(Chance::SyncError, ppm).map_or(FlushFate::Done, |_| FlushFate::Fails(manner))
    }

    /// A sector of some file, if any has content.
    fn somewhere(&self, bits: u64) -> Option<(SharedInode, u64)> {
        let pages: u64 = self.tree.files().map(|file| file.borrow().written_pages().count() as u64).sum();
        let sector = up_to((pages * 8).checked_sub(1)?, bits);
        let mut page = sector / 8;
        for file in self.tree.files() {
            let count = file.borrow().written_pages().count() as u64;
            if page < count {
                let number = file.borrow().written_pages().nth(page as usize)?;
                return Some((Rc::clone(file), number as u64 * 8 + sector % 8));
            }
            page -= count;
        }
        None
    }

    /// Damages clusters of flushed sectors: makes them unreadable, or flips bits. Returns how many.
    pub(crate) fn damage(&mut self, clusters: u32, sectors: u32, unreadable: bool) -> u64 {
        let mut hit = 0;
        for _ in 0..clusters {
            let draw = self.troubles.draw(Chance::Damage);
            let Some((file, first)) = self.somewhere(wide(draw[0], draw[1])) else { continue };
            let mut file = file.borrow_mut();
            let id = file.id;
            for sector in first..first + 1 + u64::from(draw[2] % sectors.max(1)) {
                let damaged = match unreadable {
                    true => file.lose_sector(sector),
                    false => file.damage(sector, |content| rot(id, sector, content)),
                };
                hit += u64::from(damaged);
            }
        }
        hit
    }

    /// The rules for what is not flushed.
    pub(crate) fn semantics(&self) -> Semantics {
        let garbage_ppm = self.troubles.sum().map_or(0, |trouble| trouble.garbage_ppm);
        Semantics { persistence: self.persistence, torn_unit: self.torn_unit, garbage_ppm }
    }

    /// The power fails: draws what is left of names and files. `in_flight` are the requests that had
    /// not completed, in the order in which they were issued. `tell` hears what is left.
    pub(crate) fn power_loss(&mut self, in_flight: &[Request], tell: impl FnMut(Aftermath)) -> CrashReport {
        self.crashes += 1;
        self.device.power_loss();
        for request in in_flight {
            if let Some((file, offset, data)) = request.unfinished_write() {
                file.borrow_mut().write_in_flight(offset, data);
            }
        }
        self.stalled.clear();
        let lots = Lottery { key: self.power_loss_key, slot: self.crashes << 40 };
        let semantics = self.semantics();
        lots.power_loss(&mut self.tree, semantics, tell)
    }
}

/// Draws what a power loss leaves. Position: the crash in the upper 24 bits of the slot, then the file
/// (0: the tree); sector + 1.
#[derive(Clone, Copy)]
struct Lottery {
    key: u64,
    slot: u64,
}

impl Lottery {
    fn power_loss(
        self,
        tree: &mut Tree,
        semantics: Semantics,
        mut tell: impl FnMut(Aftermath),
    ) -> CrashReport {
        let Self { key, slot } = self;
        let draw = philox(key, slot, 0);
        let changes = tree.unsynced();
        let undone = if semantics.persistence == Persistence::PosixWeak {
            tree.power_loss_in_any_order(|number| philox(key, slot, 1 + number)[2].is_multiple_of(2))
        } else {
            let survive = up_to(changes, wide(draw[0], draw[1]));
            tree.power_loss(survive);
            changes - survive
        };
        let mut report = CrashReport { directory_changes_lost: undone, ..CrashReport::default() };
        for file in tree.files() {
            let mut file = file.borrow_mut();
            let id = file.id;
            let draw = |sector: Option<u64>| philox(key, slot | id, sector.map_or(0, |sector| sector + 1));
            report.add(&file.power_loss(semantics, &mut Drawn::new(draw), |sector, fate| {
                tell(Aftermath::Sector { file: id, sector, fate })
            }));
            tell(Aftermath::Size { file: id, size: file.size() });
        }
        report
    }
}

/// What a power loss left of one thing.
pub(crate) enum Aftermath {
    Sector { file: u64, sector: u64, fate: Fate },
    Size { file: u64, size: u64 },
}

/// A request that a device works on, or whose issuer has not yet seen that it is done.
#[derive(Debug)]
pub(crate) struct Request {
    /// Whose disk.
    pub(crate) node: u32,
    /// In the order of issue over all disks.
    pub(crate) number: u64,
    pub(crate) work: Work,
    /// When it will be done, as far as that is known: an event for another moment is void.
    pub(crate) due: Time,
    pub(crate) done: bool,
    /// Nobody waits for it any more.
    pub(crate) abandoned: bool,
    pub(crate) sleeping: Option<Sleeping>,
}

impl Request {
    /// File, offset and bytes of a write that may reach the disk in parts if the power fails now.
    fn unfinished_write(&self) -> Option<(&SharedInode, u64, &[u8])> {
        match &self.work {
            Work::Write { file, offset, data, fate: WriteFate::Done } if !self.done => {
                Some((file, *offset, data))
            }
            _ => None,
        }
    }
}

/// What takes effect when a request completes.
#[derive(Debug)]
pub(crate) enum Work {
    Read { file: SharedInode, offset: u64, len: usize },
    Write { file: SharedInode, offset: u64, data: Vec<u8>, fate: WriteFate },
    Flush { file: SharedInode, generation: u64, fate: FlushFate },
    SyncDir { covered: u64, fate: FlushFate },
}

/// What becomes of a write.
#[derive(Debug)]
pub(crate) enum WriteFate {
    Done,
    /// It fails, and nothing was written.
    Fails,
    /// The device forgets it, or writes it to this sector of a file.
    Lost(Option<(SharedInode, u64)>),
}

/// What becomes of a flush.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FlushFate {
    Done,
    Lies,
    Fails(SyncFailure),
}

/// Flips one bit in 64 of some bytes: which is a function of place and content.
fn rot(file: u64, sector: u64, content: &mut [u8]) {
    let key = bytes_hash(content);
    for at in 0..content.len() / 64 {
        let draw = philox(key, file, sector << 8 | at as u64);
        content[at * 64 + draw[0] as usize % 64] ^= 1 << (draw[1] % 8);
    }
}

impl Work {
    /// The request is done: it takes effect.
    #[inline]
    pub(crate) fn take_effect(&self, tree: &mut Tree) {
        match self {
            Self::Read { file, offset, len } => {
                let mut file = file.borrow_mut();
                if !file.is_bad(*offset, *len) {
                    file.warm(*offset, *len);
                }
            }
            Self::Write { fate: WriteFate::Fails, .. } => {}
            Self::Write { file, offset, data, fate } => {
                file.borrow_mut().write(*offset, data);
                if let WriteFate::Lost(elsewhere) = fate {
                    file.borrow_mut().forget(*offset, data.len());
                    if let Some((victim, first)) = elsewhere {
                        for (sector, part) in (*first..).zip(data.chunks(SECTOR)) {
                            victim.borrow_mut().damage(sector, |content| {
                                content[..part.len()].copy_from_slice(part);
                            });
                        }
                    }
                }
            }
            Self::Flush { file, generation, fate } => match fate {
                FlushFate::Done => file.borrow_mut().flush_ends(*generation),
                FlushFate::Lies => {}
                FlushFate::Fails(manner) => file.borrow_mut().flush_fails(*generation, *manner),
            },
            Self::SyncDir { covered, fate: FlushFate::Done } => tree.sync_ends(*covered),
            Self::SyncDir { .. } => {}
        }
    }
}

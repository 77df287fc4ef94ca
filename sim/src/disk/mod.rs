//! A node's disk: a device that takes time, a tree of names, and files.
//!
//! What is here survives a crash of the node; what a power loss makes of it is drawn in
//! [`inode`] and [`tree`].

pub(crate) mod device;
pub(crate) mod inode;
pub(crate) mod tree;

use std::cell::RefCell;
use std::rc::Rc;

use self::device::Device;
use self::inode::{Fate, Inode};
use self::tree::{SharedInode, Tree};
use crate::config::DiskConfig;
use crate::rng::{Keys, Purpose, philox, up_to, wide};
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
}

impl Disk {
    pub(crate) fn new(config: &DiskConfig, keys: &Keys, node: u64) -> Self {
        Self {
            device: Device::new(config, keys.key(Purpose::DISK, node)),
            tree: Tree::default(),
            operations: 0,
            break_at: None,
            files: 0,
            crashes: 0,
            power_loss_key: keys.key(Purpose::POWER_LOSS, node),
        }
    }

    pub(crate) fn new_file(&mut self) -> SharedInode {
        self.files += 1;
        Rc::new(RefCell::new(Inode::new(self.files)))
    }

    /// The power fails: draws what is left of names and files. `in_flight` are the requests that had
    /// not completed, in the order in which they were issued. `tell` hears what is left.
    pub(crate) fn power_loss(
        &mut self,
        in_flight: &[Request],
        mut tell: impl FnMut(Aftermath),
    ) -> CrashReport {
        self.crashes += 1;
        self.device.power_loss();
        for request in in_flight {
            if let Work::Write { file, offset, data } = &request.work
                && !request.done
            {
                file.borrow_mut().write_in_flight(*offset, data);
            }
        }
        // Position: the crash in the upper 24 bits of the slot, then the file (0: the tree); sector + 1.
        let slot = self.crashes << 40;
        let draw = philox(self.power_loss_key, slot, 0);
        let changes = self.tree.unsynced();
        let survive = up_to(changes, wide(draw[0], draw[1]));
        self.tree.power_loss(survive);
        let mut report = CrashReport { directory_changes_lost: changes - survive, ..CrashReport::default() };
        for file in self.tree.files() {
            let mut file = file.borrow_mut();
            let id = file.id;
            let draw = |sector: Option<u64>| {
                philox(self.power_loss_key, slot | id, sector.map_or(0, |sector| sector + 1))
            };
            report.add(
                &file.power_loss(draw, |sector, fate| tell(Aftermath::Sector { file: id, sector, fate })),
            );
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
    pub(crate) done: bool,
    /// Nobody waits for it any more.
    pub(crate) abandoned: bool,
    pub(crate) sleeping: Option<Sleeping>,
}

/// What takes effect when a request completes.
#[derive(Debug)]
pub(crate) enum Work {
    Read { file: SharedInode, offset: u64, len: usize },
    Write { file: SharedInode, offset: u64, data: Vec<u8> },
    Flush { file: SharedInode, generation: u64 },
    SyncDir { covered: u64 },
}

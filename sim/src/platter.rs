//! One file on a disk that takes no time: the semantics of persistence without a world.
//!
//! For a storage engine that is not asynchronous and knows no simulator: wrap a [`Platter`] in what it
//! takes for a file, cut the power, and let it open what is left. It obeys the rules of a
//! [`SimFile`](crate::SimFile); it is a plain value that may go to another thread, and a clone of it is
//! another disk.

use contract::Seed;

use crate::config::DiskConfig;
use crate::disk::inode::Inode;
use crate::disk::loss::{Drawn, Semantics};
use crate::rng::{Keys, Purpose, philox};
use crate::stats::CrashReport;

/// One file on a disk that takes no time.
#[derive(Clone, Debug)]
pub struct Platter {
    file: Inode,
    semantics: Semantics,
}

impl Platter {
    /// An empty file on such a disk. Of the disk only what it makes of a power loss matters.
    pub fn new(disk: &DiskConfig) -> Self {
        let semantics =
            Semantics { persistence: disk.persistence, torn_unit: disk.torn_unit.into(), garbage_ppm: 0 };
        Self { file: Inode::new(1), semantics }
    }

    /// The file's size in bytes.
    pub fn len(&self) -> u64 {
        self.file.size()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads up to `buf.len()` bytes; how many. Fewer only at the end of the file.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        self.file.read(offset, buf)
    }

    /// Writes all bytes, growing the file if needed.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        self.file.write(offset, bytes);
    }

    /// Cuts or extends (with zeros) the file.
    pub fn set_len(&mut self, len: u64) {
        self.file.set_len(len);
    }

    /// Makes all that was written before durable.
    pub fn sync(&mut self) {
        let generation = self.file.flush_begins();
        self.file.flush_ends(generation);
    }

    /// Cuts the power. What is left of what was not synced is drawn from the seed.
    pub fn power_loss(&mut self, seed: Seed) -> CrashReport {
        let key = Keys::new(seed).key(Purpose::POWER_LOSS, 0);
        let draw = |sector: Option<u64>| philox(key, 1, sector.map_or(0, |sector| sector + 1));
        self.file.power_loss(self.semantics, &mut Drawn::new(draw), |_, _| ())
    }
}

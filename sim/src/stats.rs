//! What a world has counted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts since the start of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldStats {
    /// Everything that happened: deliveries, drops at delivery, timers, wake-ups, disk completions
    /// and controls.
    pub events: u64,
    /// Messages handed to the network, whatever became of them.
    pub messages_sent: u64,
    /// Their size on the wire, in bytes.
    pub message_bytes_sent: u64,
    /// Messages that arrived.
    pub messages_delivered: u64,
    /// Messages that the network lost.
    pub messages_lost: u64,
    /// Messages that a partition cut off.
    pub messages_partitioned: u64,
    /// Messages whose receiver was down, or had crashed since they were sent.
    pub messages_to_down: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Reads that missed the page cache.
    pub disk_reads: u64,
    /// Writes to devices.
    pub disk_writes: u64,
    /// Flushes of files and directories.
    pub disk_flushes: u64,
    /// Bytes that reads took from devices.
    pub disk_bytes_read: u64,
    /// Bytes that writes carried to devices.
    pub disk_bytes_written: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// What these crashes did to the disks.
    pub lost: CrashReport,
}

/// What a power loss did to one disk. Sectors have 512 bytes; only un-flushed ones are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Sectors whose new content survived.
    pub sectors_kept: u64,
    /// Sectors that have their old content again, or are gone with the file's size.
    pub sectors_dropped: u64,
    /// Sectors that begin with new and end with old bytes.
    pub sectors_torn: u64,
    /// Creations, renames and removals that are undone.
    pub directory_changes_lost: u64,
}

impl CrashReport {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sectors_kept += other.sectors_kept;
        self.sectors_dropped += other.sectors_dropped;
        self.sectors_torn += other.sectors_torn;
        self.directory_changes_lost += other.directory_changes_lost;
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sectors_kept, sectors_dropped, sectors_torn, directory_changes_lost } = self;
        write!(f, "sectors kept={sectors_kept} dropped={sectors_dropped} torn={sectors_torn}")?;
        write!(f, " directory changes lost={directory_changes_lost}")
    }
}

//! What a world has counted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disk::loss::Fate;
use crate::network;

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
    /// Messages whose checksum failed on arrival.
    #[serde(default)]
    pub messages_corrupted: u64,
    /// Messages that found the queue before a link full.
    #[serde(default)]
    pub messages_overflowed: u64,
    /// Second copies of messages.
    #[serde(default)]
    pub messages_duplicated: u64,
    /// Segments of streams that were sent once more.
    #[serde(default)]
    pub segments_resent: u64,
    /// How often an endpoint was told that a stream is broken.
    #[serde(default)]
    pub disconnects: u64,
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
    /// Disk operations that failed, lied or did something else than they were asked to.
    #[serde(default)]
    pub disk_troubles: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// How often a node's software ended while its machine went on.
    #[serde(default)]
    pub kills: u64,
    /// What these crashes did to the disks.
    pub lost: CrashReport,
}

impl WorldStats {
    pub(crate) fn count_lost(&mut self, fate: network::Fate) {
        *match fate {
            network::Fate::Arrives => return,
            network::Fate::Cut => &mut self.messages_partitioned,
            network::Fate::Lost => &mut self.messages_lost,
            network::Fate::Corrupt => &mut self.messages_corrupted,
            network::Fate::Overflow => &mut self.messages_overflowed,
        } += 1;
    }
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
    /// Sectors that hold neither old nor new bytes.
    #[serde(default)]
    pub sectors_garbage: u64,
    /// Creations, renames and removals that are undone.
    pub directory_changes_lost: u64,
}

impl CrashReport {
    pub(crate) fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::Kept => &mut self.sectors_kept,
            Fate::Dropped => &mut self.sectors_dropped,
            Fate::Torn => &mut self.sectors_torn,
            Fate::Garbage => &mut self.sectors_garbage,
        } += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sectors_kept += other.sectors_kept;
        self.sectors_dropped += other.sectors_dropped;
        self.sectors_torn += other.sectors_torn;
        self.sectors_garbage += other.sectors_garbage;
        self.directory_changes_lost += other.directory_changes_lost;
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sectors_kept, sectors_dropped, sectors_torn, sectors_garbage, directory_changes_lost } =
            self;
        write!(f, "sectors kept={sectors_kept} dropped={sectors_dropped} torn={sectors_torn}")?;
        if *sectors_garbage > 0 {
            write!(f, " garbage={sectors_garbage}")?;
        }
        write!(f, " directory changes lost={directory_changes_lost}")
    }
}

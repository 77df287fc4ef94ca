//! Disks: mechanism for latency, and semantics of persistence.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Latency;

/// A disk: mechanism for latency. What a power loss does to it is told in the
/// [crate documentation](crate).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// A 4 KiB read that misses the page cache. A disk with an arm takes what its mechanics take.
    pub read: Latency,
    /// A write until it is acknowledged, at queue depth 1. A disk with an arm whose cache is off takes
    /// what its mechanics take.
    pub write: Latency,
    /// A flush of data (fdatasync). A disk with an arm takes what destaging takes, and this besides.
    pub flush: Latency,
    /// A flush of data that must also write metadata (a size, a directory entry).
    pub flush_metadata: Latency,
    /// How long a byte takes, in picoseconds.
    pub transfer_ps_per_byte: u64,
    /// How many requests the device works on at once.
    pub parallel: u16,
    /// What there is beside a queue before parallel units.
    #[serde(default)]
    pub mechanics: Mechanics,
    /// The share of 100 ms spells in which everything takes at least twice as long, in parts per
    /// million: drawn per spell.
    #[serde(default)]
    pub slow_ppm: u32,
    /// What a power loss may make of files and names.
    #[serde(default)]
    pub persistence: Persistence,
    /// The device writes aligned blocks of so many bytes whole or not at all: a power loss tears only
    /// between them. A power of two of at most 4096; below 512, sectors are torn too.
    #[serde(default = "a_byte")]
    pub torn_unit: u16,
    /// How requests get to the device.
    #[serde(default)]
    pub submission: Submission,
}

/// How requests get from a program to the device. What the profiles take was measured through system
/// calls, so by default these cost nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Submission {
    /// A system call per request, on the thread of the task that makes it: a task that awaits each request
    /// has a queue depth of one, and nobody limits how many tasks there are.
    Blocking {
        /// What each takes.
        syscall: Duration,
    },
    /// A ring that all tasks of a node share, as io_uring: requests are put in one after the other, up to
    /// `depth` are under way, and they complete as they are done, in any order. More wait outside.
    Ring {
        /// What each takes, with many in one system call.
        syscall: Duration,
        /// How many are under way at most.
        depth: u16,
    },
}

impl Submission {
    /// A read or write by a system call: 1 to 2 us (an assumption).
    pub const BLOCKING: Self = Self::Blocking { syscall: Duration::from_nanos(1_500) };
    /// A ring of 128 places, at 0.2 us for each request of a batch (an assumption).
    pub const RING: Self = Self::Ring { syscall: Duration::from_nanos(200), depth: 128 };
    /// Nothing is charged.
    pub const FREE: Self = Self::Blocking { syscall: Duration::ZERO };
}

impl Default for Submission {
    fn default() -> Self {
        Self::FREE
    }
}

/// The torn unit of a plan that does not name one: such plans were made when any sector could be torn.
fn a_byte() -> u16 {
    1
}

/// What kind of device it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanics {
    /// Parallel units, and nothing else.
    #[default]
    Units,
    /// An arm over rotating platters.
    Arm(Arm),
    /// Flash behind a volatile cache.
    Flash(Flash),
    /// A network volume that admits a rate.
    Volume(Volume),
}

/// A hard disk. One request at a time is under the arm; files lie in one piece each, at places drawn
/// from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arm {
    /// A seek to the next cylinder.
    pub seek_min: Duration,
    /// A seek over a random distance, on average.
    pub seek_mean: Duration,
    /// A seek over all cylinders.
    pub seek_max: Duration,
    /// How many cylinders there are.
    pub cylinders: u32,
    /// How many bytes pass under the arm in one turn.
    pub track_bytes: u64,
    /// How many tracks a cylinder has.
    pub tracks: u64,
    /// How long one turn takes.
    pub turn: Duration,
    /// How many bytes the drive's own cache takes before a write waits; 0: writes go to the platter.
    pub cache_bytes: u64,
    /// Whom the arm serves next.
    pub schedule: Schedule,
}

/// In which order waiting requests are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// As they came.
    #[default]
    Fifo,
    /// Upward from where the arm is, then again from the lowest (C-LOOK).
    Elevator,
}

/// Flash memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flash {
    /// How many requests the device takes at once; more wait outside.
    pub queue_depth: u16,
    /// The volatile cache that writes go to, in bytes; 0: they go to the cells before they are
    /// acknowledged.
    pub cache_bytes: u64,
    /// How fast the cells take what is programmed into them, in bytes per second over all units.
    pub drain_bytes_per_second: u64,
    /// After how many bytes programmed a unit must erase a block; 0: never.
    pub block_bytes: u64,
    /// How long that keeps it busy.
    pub reclaim: Duration,
    /// How much more there is than can be seen, in thousandths; 0: blocks are never collected. A drive that
    /// has been full for long finds (1 - OP)/(1 + OP) of a block still valid when it reclaims it, and
    /// copies that: each byte written at random is programmed (1 + OP)/(2 OP) times. What goes on where
    /// an earlier write ended fills blocks that die as a whole, and is programmed once.
    #[serde(default)]
    pub over_provisioning_permille: u16,
}

impl Flash {
    /// How often a byte that is written at random is programmed, in thousandths.
    pub fn amplification_permille(&self) -> u64 {
        match u64::from(self.over_provisioning_permille) {
            0 => 1000,
            op => ((1000 + op) * 1000 / (2 * op)).max(1000),
        }
    }
}

/// A cloud volume: buckets of tokens for operations and for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Operations per second. A request counts once per [`Volume::unit_bytes`] that it touches.
    pub iops: u64,
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// The largest operation that counts as one.
    pub unit_bytes: u64,
}

/// What of un-flushed changes a power loss may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// Metadata in order, as a journal writes it; data in any subset of sectors, and zeros where the
    /// size survived and the data did not.
    #[default]
    Journalled,
    /// Nothing is promised: changes of names survive in any subset, a rename in either half, and where
    /// a size survived without its data there may be garbage.
    PosixWeak,
    /// ext4 with `data=ordered` and `auto_da_alloc`: as journalled, but a size never survives without
    /// the data that it uncovers, and a rename over a file not without the content of the new one.
    Ext4Ordered,
    /// XFS: as `ext4-ordered`, but a rename may survive without the content.
    Xfs,
    /// Btrfs: as `ext4-ordered`; written pages go elsewhere, so none is ever torn.
    Btrfs,
}

/// The ways to a device by name.
pub const SUBMISSIONS: [(&str, Submission); 3] =
    [("free", Submission::FREE), ("blocking", Submission::BLOCKING), ("ring", Submission::RING)];

/// The persistence models by name.
pub const PERSISTENCES: [(&str, Persistence); 5] = [
    ("journalled", Persistence::Journalled),
    ("posix-weak", Persistence::PosixWeak),
    ("ext4-ordered", Persistence::Ext4Ordered),
    ("xfs", Persistence::Xfs),
    ("btrfs", Persistence::Btrfs),
];

const fn micros(number: u64) -> Latency {
    Latency::Constant(Duration::from_micros(number))
}

const fn nanoseconds(number: u64) -> Latency {
    Latency::fsync(Duration::from_nanos(number))
}

const IDEAL: DiskConfig = DiskConfig {
    read: micros(0),
    write: micros(0),
    flush: micros(0),
    flush_metadata: micros(0),
    transfer_ps_per_byte: 0,
    parallel: u16::MAX,
    mechanics: Mechanics::Units,
    slow_ppm: 0,
    persistence: Persistence::Journalled,
    torn_unit: 512,
    submission: Submission::FREE,
};

const NVME_FLASH: Flash = Flash {
    queue_depth: 1023,
    cache_bytes: 1 << 30,
    drain_bytes_per_second: 1_400_000_000,
    block_bytes: 16 << 20,
    reclaim: Duration::from_micros(3_800),
    over_provisioning_permille: 70,
};

const NVME: DiskConfig = DiskConfig {
    read: Latency::LogNormal { median: Duration::from_micros(70), p99: Duration::from_micros(200) },
    write: Latency::LogNormal { median: Duration::from_micros(20), p99: Duration::from_micros(60) },
    flush: nanoseconds(1_643_000),
    flush_metadata: nanoseconds(5_636_000),
    transfer_ps_per_byte: 286,
    parallel: 32,
    mechanics: Mechanics::Flash(NVME_FLASH),
    slow_ppm: 6_000,
    ..IDEAL
};

const HDD: DiskConfig = DiskConfig {
    write: micros(100),
    transfer_ps_per_byte: 5_208,
    parallel: 1,
    mechanics: Mechanics::Arm(Arm {
        seek_min: Duration::from_micros(800),
        seek_mean: Duration::from_micros(8_500),
        seek_max: Duration::from_millis(18),
        cylinders: 100_000,
        track_bytes: 1_600_000,
        tracks: 8,
        turn: Duration::from_nanos(8_333_333),
        cache_bytes: 64 << 20,
        schedule: Schedule::Fifo,
    }),
    slow_ppm: 2_000,
    ..IDEAL
};

/// The named disks. `nvme`: Samsung 980 in fio (write), 990 Pro in `pg_test_fsync` (flushes), in the
/// shape of etcd's sample; its spells, as all others', from Hao and others (FAST'16). `nvme-plp` writes
/// through, protected by capacitors (flush: smalldatum, 2026). `hdd`: Lee's seek curve (DiskSim 4) at
/// 7200 rpm, 192 MB/s; its write is one into the drive's cache, which a flush empties. `ebs-gp3`: the
/// etcd team's fio, 3000 operations and 125 MiB a second. MQSim: erase 3.8 ms, over-provisioning 7 %
/// (28 % is usual for servers). Assumed: reads, the
/// spread of latencies, `sata-ssd`, caches and their drain, how often a block is reclaimed.
pub const DISK_PROFILES: [(&str, DiskConfig); 6] = [
    ("ideal", IDEAL),
    ("nvme", NVME),
    ("hdd", HDD),
    (
        "sata-ssd",
        DiskConfig {
            read: Latency::LogNormal { median: Duration::from_micros(100), p99: Duration::from_micros(300) },
            write: Latency::LogNormal { median: Duration::from_micros(60), p99: Duration::from_micros(180) },
            flush: nanoseconds(2_000_000),
            flush_metadata: nanoseconds(4_000_000),
            transfer_ps_per_byte: 1_887,
            parallel: 8,
            mechanics: Mechanics::Flash(Flash {
                queue_depth: 32,
                cache_bytes: 256 << 20,
                drain_bytes_per_second: 400_000_000,
                block_bytes: 16 << 20,
                reclaim: Duration::from_micros(3_800),
                over_provisioning_permille: 70,
            }),
            ..NVME
        },
    ),
    (
        "nvme-plp",
        DiskConfig {
            write: Latency::LogNormal { median: Duration::from_micros(15), p99: Duration::from_micros(40) },
            flush: Latency::Uniform { min: Duration::from_micros(12), max: Duration::from_micros(58) },
            flush_metadata: Latency::Uniform {
                min: Duration::from_micros(24),
                max: Duration::from_micros(116),
            },
            mechanics: Mechanics::Flash(Flash { over_provisioning_permille: 280, ..NVME_FLASH }),
            torn_unit: 4096,
            ..NVME
        },
    ),
    (
        "ebs-gp3",
        DiskConfig {
            read: Latency::LogNormal {
                median: Duration::from_micros(600),
                p99: Duration::from_micros(1_200),
            },
            write: Latency::Uniform { min: Duration::from_micros(810), max: Duration::from_micros(1_000) },
            parallel: 64,
            mechanics: Mechanics::Volume(Volume {
                iops: 3_000,
                bytes_per_second: 125 << 20,
                unit_bytes: 256 << 10,
            }),
            slow_ppm: 10_000,
            torn_unit: 4096,
            ..IDEAL
        },
    ),
];

/// A disk profile by name.
pub fn disk_profile(name: &str) -> Option<DiskConfig> {
    DISK_PROFILES.iter().find(|(n, _)| *n == name).map(|(_, profile)| *profile)
}

//! What a world is made of: plain values that a plan can carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use contract::{NodeId, Seed};

/// A simulated world before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorldConfig {
    /// What every draw of the world is keyed by.
    pub seed: Seed,
    /// Servers, numbered from 1.
    pub nodes: u16,
    /// Clients, numbered from 1.
    pub clients: u16,
    /// Every link.
    pub net: NetConfig,
    /// Every node's disk.
    pub disk: DiskConfig,
    /// How far a node's clock may run ahead of simulated time at the start; drawn per node.
    pub clock_skew: Duration,
}

/// The links.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetConfig {
    /// One-way delay of a message.
    pub latency: Latency,
    /// The share of messages that are lost, 0 to 1.
    pub loss: f64,
}

/// A distribution of delays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Evenly between two bounds.
    Uniform {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// Log-normal, as in wide-area measurements, by its median and its 99th percentile.
    LogNormal {
        /// Half of the delays are below.
        median: Duration,
        /// 99 of 100 are below.
        p99: Duration,
    },
}

/// A disk: mechanism for latency. What a power loss does to it is told in the
/// [crate documentation](crate).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// A 4 KiB read that misses the page cache.
    pub read: Latency,
    /// A write until it is acknowledged, at queue depth 1.
    pub write: Latency,
    /// A flush of data (fdatasync).
    pub flush: Latency,
    /// A flush of data that must also write metadata (a size, a directory entry).
    pub flush_metadata: Latency,
    /// How long a byte takes, in picoseconds.
    pub transfer_ps_per_byte: u64,
    /// How many requests the device works on at once.
    pub parallel: u16,
}

/// The named links.
pub const NET_PROFILES: [(&str, NetConfig); 3] = [
    ("ideal", NetConfig { latency: Latency::Constant(Duration::ZERO), loss: 0.0 }),
    (
        "lan",
        NetConfig {
            latency: Latency::LogNormal { median: Duration::from_micros(250), p99: Duration::from_millis(2) },
            loss: 0.0,
        },
    ),
    (
        "wan",
        NetConfig {
            latency: Latency::LogNormal { median: Duration::from_millis(35), p99: Duration::from_millis(60) },
            loss: 0.0001,
        },
    ),
];

/// The named disks. `nvme`: Samsung 980 in fio (write) and 990 Pro in `pg_test_fsync` (flushes);
/// `hdd`: 7200 rpm, mean seek 8.5 ms, half a rotation 4.17 ms, 192 MB/s; its write is one into the
/// drive's cache. Assumed: `nvme`'s read and the spread of its
/// latencies, `hdd`'s write.
pub const DISK_PROFILES: [(&str, DiskConfig); 3] = [
    (
        "ideal",
        DiskConfig {
            read: Latency::Constant(Duration::ZERO),
            write: Latency::Constant(Duration::ZERO),
            flush: Latency::Constant(Duration::ZERO),
            flush_metadata: Latency::Constant(Duration::ZERO),
            transfer_ps_per_byte: 0,
            parallel: u16::MAX,
        },
    ),
    (
        "nvme",
        DiskConfig {
            read: Latency::LogNormal { median: Duration::from_micros(70), p99: Duration::from_micros(200) },
            write: Latency::LogNormal { median: Duration::from_micros(20), p99: Duration::from_micros(60) },
            flush: Latency::LogNormal {
                median: Duration::from_micros(1_010),
                p99: Duration::from_micros(10_000),
            },
            flush_metadata: Latency::LogNormal {
                median: Duration::from_micros(3_450),
                p99: Duration::from_micros(34_000),
            },
            transfer_ps_per_byte: 286,
            parallel: 32,
        },
    ),
    (
        "hdd",
        DiskConfig {
            read: Latency::Uniform { min: Duration::from_millis(4), max: Duration::from_micros(21_340) },
            write: Latency::Constant(Duration::from_micros(100)),
            flush: Latency::Uniform { min: Duration::from_micros(8_330), max: Duration::from_micros(25_000) },
            flush_metadata: Latency::Uniform {
                min: Duration::from_micros(16_660),
                max: Duration::from_micros(50_000),
            },
            transfer_ps_per_byte: 5_208,
            parallel: 1,
        },
    ),
];

/// A link profile by name.
pub fn net_profile(name: &str) -> Option<NetConfig> {
    NET_PROFILES.iter().find(|(n, _)| *n == name).map(|(_, profile)| *profile)
}

/// A disk profile by name.
pub fn disk_profile(name: &str) -> Option<DiskConfig> {
    DISK_PROFILES.iter().find(|(n, _)| *n == name).map(|(_, profile)| *profile)
}

/// Which nodes can talk to which: nodes of different groups cannot. Nodes in no group, and all
/// clients, reach everyone.
pub type Groups = Vec<Vec<NodeId>>;

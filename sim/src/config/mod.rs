//! What a world is made of: plain values that a plan can carry.

mod disk;
mod latency;
mod net;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use contract::{NodeId, Seed};

pub use self::disk::{
    Arm, DISK_PROFILES, DiskConfig, Flash, Mechanics, PERSISTENCES, Persistence, SUBMISSIONS, Schedule,
    Submission, Volume, disk_profile,
};
pub use self::latency::{Latency, NotQuantiles, Quantiles};
pub use self::net::{
    Bandwidth, LinkRule, Links, NET_PROFILES, NetConfig, StreamConfig, Weather, net_profile,
};

/// A simulated world before it starts. What [`WorldConfig::default`] leaves out is off and costs
/// nothing.
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
    /// Links that are not like the others.
    #[serde(default)]
    pub links: Vec<LinkRule>,
    /// Connections.
    #[serde(default)]
    pub streams: StreamConfig,
    /// How fast or slow a node's clock may go, in parts per million; drawn per node, either way.
    #[serde(default)]
    pub clock_drift_ppm: u32,
    /// What computing takes on a node.
    #[serde(default)]
    pub cpu: CpuConfig,
}

impl Default for WorldConfig {
    /// A world of nobody, in which nothing takes time.
    fn default() -> Self {
        Self {
            seed: Seed(0),
            nodes: 0,
            clients: 0,
            net: NetConfig::default(),
            disk: disk_profile("ideal").expect("a known profile"),
            clock_skew: Duration::ZERO,
            links: Vec::new(),
            streams: StreamConfig::default(),
            clock_drift_ppm: 0,
            cpu: CpuConfig::default(),
        }
    }
}

/// What computing takes. A node does one thing after the other; what comes meanwhile waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CpuConfig {
    /// Per message sent or received.
    pub per_message: Duration,
    /// Per byte of such a message, in picoseconds.
    pub ps_per_byte: u64,
}

impl CpuConfig {
    /// Whether computing takes no time.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// Which nodes can talk to which: nodes of different groups cannot. Nodes in no group, and all
/// clients, reach everyone.
pub type Groups = Vec<Vec<NodeId>>;

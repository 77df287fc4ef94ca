//! The simulated world.

pub mod config;
mod digest;
mod disk;
mod env;
pub mod fault;
mod fs;
mod kernel;
mod latency;
mod network;
mod queue;
pub mod rng;
mod slab;
mod stats;
mod task;
mod timer;
mod world;

pub use config::{
    DISK_PROFILES, DiskConfig, Groups, Latency, NET_PROFILES, NetConfig, WorldConfig, disk_profile, net_profile,
};
pub use digest::{Digest, NotADigest};
pub use env::{SimEnv, Sleep};
pub use fault::{Fault, Injected};
pub use fs::{SimFile, SimFs};
pub use network::PartitionId;
pub use stats::{CrashReport, WorldStats};
pub use world::{Event, World};

//! Reads, writes and syncs that fail.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Operations fail at times, and may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IoError {
    /// Whose disk.
    pub node: NodeId,
    /// The share of reads from the device that fail, in parts per million.
    pub read_ppm: u32,
    /// The share of writes that fail; nothing is written.
    pub write_ppm: u32,
}

impl IoError {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(
            self.node,
            Trouble { read_error_ppm: self.read_ppm, write_error_ppm: self.write_ppm, ..Trouble::default() },
        )
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fail {} ppm of reads, {} of writes of {}", self.read_ppm, self.write_ppm, self.node)
    }
}

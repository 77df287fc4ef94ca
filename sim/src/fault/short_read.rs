//! Reads that return less than there is.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Reads return a part of what was asked for, and no error.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShortRead {
    /// Whose disk.
    pub node: NodeId,
    /// The share of reads, in parts per million.
    pub ppm: u32,
}

impl ShortRead {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { short_read_ppm: self.ppm, ..Trouble::default() })
    }
}

impl fmt::Display for ShortRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut {} ppm of reads of {} short", self.ppm, self.node)
    }
}

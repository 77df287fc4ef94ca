//! Sectors that a power loss fills with garbage.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// At a power loss a share of the un-flushed sectors that did not survive holds garbage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Garbage {
    /// Whose disk.
    pub node: NodeId,
    /// The share of these sectors, in parts per million.
    pub ppm: u32,
}

impl Garbage {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { garbage_ppm: self.ppm, ..Trouble::default() })
    }
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leave garbage in {} ppm of sectors of {}", self.ppm, self.node)
    }
}

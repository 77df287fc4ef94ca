//! Writes that reach another place.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Writes are lost, and what they carried stands in another place of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MisdirectedWrite {
    /// Whose disk.
    pub node: NodeId,
    /// The share of writes, in parts per million.
    pub ppm: u32,
}

impl MisdirectedWrite {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { misdirected_ppm: self.ppm, ..Trouble::default() })
    }
}

impl fmt::Display for MisdirectedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "misdirect {} ppm of writes of {}", self.ppm, self.node)
    }
}

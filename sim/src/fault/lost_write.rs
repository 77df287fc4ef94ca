//! Writes that the device acknowledges and forgets.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Writes are lost: once flushed, and thus out of the cache, the old content is back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LostWrite {
    /// Whose disk.
    pub node: NodeId,
    /// The share of writes, in parts per million.
    pub ppm: u32,
}

impl LostWrite {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { lost_write_ppm: self.ppm, ..Trouble::default() })
    }
}

impl fmt::Display for LostWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lose {} ppm of writes of {}", self.ppm, self.node)
    }
}

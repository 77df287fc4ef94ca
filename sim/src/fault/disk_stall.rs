//! A device that does not answer.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// What is asked of the disk, and what was, is done only after the fault is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DiskStall {
    /// Whose disk.
    pub node: NodeId,
}

impl DiskStall {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { stalled: true, ..Trouble::default() })
    }
}

impl fmt::Display for DiskStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stall {}'s disk", self.node)
    }
}

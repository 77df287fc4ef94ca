//! A slow device.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Everything that is asked of the disk takes longer, as long as the fault lasts: so does the rest of what is
/// under way when it begins, and what is when it ends goes on as fast as ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlowDisk {
    /// Whose disk.
    pub node: NodeId,
    /// Thousandths of its time that it takes.
    pub permille: u32,
}

impl SlowDisk {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { slow_permille: self.permille, ..Trouble::default() })
    }
}

impl fmt::Display for SlowDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow {}'s disk {} permille", self.node, self.permille)
    }
}

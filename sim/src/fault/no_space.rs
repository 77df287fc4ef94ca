//! A disk that is full.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Files cannot grow beyond what is left. What is freed meanwhile does not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NoSpace {
    /// Whose disk.
    pub node: NodeId,
    /// How many bytes files may still grow by.
    pub left_bytes: u64,
}

impl NoSpace {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { space_left: Some(self.left_bytes), ..Trouble::default() })
    }
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leave {} bytes of space on {}", self.left_bytes, self.node)
    }
}

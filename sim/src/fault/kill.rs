//! The end of a node's software without a power loss: see [`World::kill`].

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// The node's process dies; what it wrote is in the page cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kill {
    /// Which.
    pub node: NodeId,
}

impl Kill {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        if !world.is_up(self.node) {
            return Injected::Nothing;
        }
        world.kill(self.node);
        Injected::Crash(self.node)
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill {}", self.node)
    }
}

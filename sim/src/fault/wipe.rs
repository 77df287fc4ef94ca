//! A node that loses its disk: see [`World::wipe`].

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// The node goes down, and comes back with an empty disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wipe {
    /// Which.
    pub node: NodeId,
}

impl Wipe {
    /// A node that is down already belongs to another fault, which may not be healed by a wipe.
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        if !world.is_up(self.node) {
            return Injected::Nothing;
        }
        world.wipe(self.node);
        Injected::Crash(self.node)
    }
}

impl fmt::Display for Wipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wipe {}", self.node)
    }
}

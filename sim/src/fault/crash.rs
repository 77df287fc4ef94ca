//! A power loss on one node: see [`World::crash`].

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// The node goes down, and loses what it has not flushed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Crash {
    /// Which.
    pub node: NodeId,
}

impl Crash {
    /// A node that is down already belongs to another fault: this one must not restart it.
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        if !world.is_up(self.node) {
            return Injected::Nothing;
        }
        world.crash(self.node);
        Injected::Crash(self.node)
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash {}", self.node)
    }
}

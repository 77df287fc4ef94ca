//! Content that changes without a sign.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// Bits of flushed sectors flip, in clusters (Bairavasundaram and others, FAST'08). Which is a function of place and content: reading again does not heal it, writing does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BitRot {
    /// Whose disk.
    pub node: NodeId,
    /// How many clusters of sectors; drawn among all that hold flushed content.
    pub clusters: u32,
    /// How many sectors next to each other a cluster has at most.
    pub sectors: u32,
}

impl BitRot {
    /// The damage lasts; there is nothing to take back.
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.damage(self.node, self.clusters, self.sectors, false);
        Injected::Nothing
    }
}

impl fmt::Display for BitRot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, clusters, sectors } = self;
        write!(f, "rot {clusters} clusters of {sectors} sectors of {node}")
    }
}

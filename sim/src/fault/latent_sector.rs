//! Sectors that can no longer be read.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// Flushed sectors fail to be read until they are written again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LatentSector {
    /// Whose disk.
    pub node: NodeId,
    /// How many clusters of sectors; drawn among all that hold flushed content.
    pub clusters: u32,
    /// How many sectors next to each other a cluster has at most.
    pub sectors: u32,
}

impl LatentSector {
    /// The damage lasts; there is nothing to take back.
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.damage(self.node, self.clusters, self.sectors, true);
        Injected::Nothing
    }
}

impl fmt::Display for LatentSector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, clusters, sectors } = self;
        write!(f, "lose {clusters} clusters of {sectors} sectors of {node}")
    }
}

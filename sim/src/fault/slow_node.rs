//! A node that everything takes longer with.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// All messages to and from a node take longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlowNode {
    /// Which.
    pub node: NodeId,
    /// Thousandths of their latency that it becomes.
    pub permille: u32,
}

impl SlowNode {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let latency_permille = self.permille;
        world.disturb(&Links::at(self.node), Disturbance { latency_permille, ..Disturbance::default() })
    }
}

impl fmt::Display for SlowNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow {} permille at {}", self.permille, self.node)
    }
}

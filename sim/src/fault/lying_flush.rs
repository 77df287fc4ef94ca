//! A device that acknowledges flushes, and does not flush.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::disk::trouble::Trouble;
use crate::world::World;

/// Syncs take their time, return without an error, and make nothing durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LyingFlush {
    /// Whose disk.
    pub node: NodeId,
}

impl LyingFlush {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.trouble(self.node, Trouble { lying_flush: true, ..Trouble::default() })
    }
}

impl fmt::Display for LyingFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flushes of {} lie", self.node)
    }
}

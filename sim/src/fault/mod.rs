//! Faults: what goes wrong, as plain values that a plan can carry and a replay can fire again.
//!
//! To add one: a file here with its `apply`, a variant in [`Fault`] and one in [`Injected`].

pub(crate) mod crash;
pub(crate) mod partition;

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

pub use self::crash::Crash;
pub use self::partition::Partition;
use crate::network::PartitionId;
use crate::world::World;

/// A concrete fault: it names nodes, never roles. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Groups of nodes that cannot talk to each other.
    Partition(Partition),
    /// A power loss on one node.
    Crash(Crash),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(fault) => fault.fmt(f),
            Self::Crash(fault) => fault.fmt(f),
        }
    }
}

/// A fault in force, and what it takes to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a fault stays in force until it is healed"]
pub enum Injected {
    /// Nothing happened: the node was down already.
    Nothing,
    /// Links are cut.
    Partition(PartitionId),
    /// A node is down.
    Crash(NodeId),
}

impl<M> World<M> {
    /// Lets a fault happen now.
    pub fn inject(&self, fault: &Fault) -> Injected {
        match fault {
            Fault::Partition(fault) => fault.apply(self),
            Fault::Crash(fault) => fault.apply(self),
        }
    }

    /// Ends a fault: links work again, or the node is up again. Returns the node whose software the
    /// caller has to start, if there is one.
    pub fn recover(&self, injected: Injected) -> Option<NodeId> {
        match injected {
            Injected::Nothing => None,
            Injected::Partition(partition) => {
                self.heal(partition);
                None
            }
            Injected::Crash(node) => {
                self.restart(node);
                Some(node)
            }
        }
    }
}

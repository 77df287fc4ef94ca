//! A symmetric partition: see [`World::partition`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Groups;
use crate::world::World;

/// Nodes of different groups cannot talk to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The groups. Nodes in none of them, and all clients, reach everyone.
    pub groups: Groups,
}

impl Partition {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        Injected::Partition(world.partition(&self.groups))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", Listed(&self.groups))
    }
}

/// Groups as they stand in a trace: `n1 n2 | n3`.
pub(crate) struct Listed<'a>(pub(crate) &'a Groups);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { " | " } else { "" })?;
            for (at, node) in group.iter().enumerate() {
                write!(f, "{}{node}", if at > 0 { " " } else { "" })?;
            }
        }
        Ok(())
    }
}

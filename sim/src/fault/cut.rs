//! Blocked links of any shape: one-way cuts, isolation, partial partitions, clogs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::network::blocks::Blocking;
use crate::world::World;

/// Nothing gets over some links. Shapes: [`Links::one_way`], [`Links::into`] and [`Links::out_of`] a
/// node, [`Links::bridge`], [`Links::ring`], [`Links::chained`], [`Links::constrained`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// Which links.
    pub links: Vec<Links>,
    /// What becomes of messages.
    pub blocking: Blocking,
}

impl Cut {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        Injected::Partition(world.block(&self.links, self.blocking))
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.blocking {
            Blocking::Drop => "cut",
            Blocking::HoldInFlight => "cut, holding what is under way,",
            Blocking::Hold => "clog",
        })?;
        for (at, links) in self.links.iter().enumerate() {
            write!(f, "{} {links}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

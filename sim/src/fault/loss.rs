//! Links that lose more.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// More of the messages over some links are lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loss {
    /// Which links.
    pub links: Links,
    /// The share of messages, in parts per million.
    pub ppm: u32,
}

impl Loss {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(&self.links, Disturbance { loss_ppm: self.ppm, ..Disturbance::default() })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lose {} ppm over {}", self.ppm, self.links)
    }
}

//! Links that repeat messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// Datagrams over some links arrive twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Duplicate {
    /// Which links.
    pub links: Links,
    /// The share of messages, in parts per million.
    pub ppm: u32,
}

impl Duplicate {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(&self.links, Disturbance { duplicate_ppm: self.ppm, ..Disturbance::default() })
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "duplicate {} ppm over {}", self.ppm, self.links)
    }
}

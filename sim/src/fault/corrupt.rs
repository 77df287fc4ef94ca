//! Links that damage messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// Messages over some links arrive damaged: a checksum finds it, and they are dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Corrupt {
    /// Which links.
    pub links: Links,
    /// The share of messages, in parts per million.
    pub ppm: u32,
}

impl Corrupt {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(&self.links, Disturbance { corrupt_ppm: self.ppm, ..Disturbance::default() })
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt {} ppm over {}", self.ppm, self.links)
    }
}

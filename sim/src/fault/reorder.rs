//! Links on which messages are overtaken.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::latency::nanos;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// Some messages over some links are held up, so that later ones overtake them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reorder {
    /// Which links.
    pub links: Links,
    /// The share of messages, in parts per million.
    pub ppm: u32,
    /// The most that one is held up.
    pub by: Duration,
}

impl Reorder {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(
            &self.links,
            Disturbance { reorder_ppm: self.ppm, reorder_by: nanos(self.by), ..Disturbance::default() },
        )
    }
}

impl fmt::Display for Reorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reorder {} ppm by {:?} over {}", self.ppm, self.by, self.links)
    }
}

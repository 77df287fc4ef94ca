//! Links of little bandwidth.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::{Bandwidth, Links};
use crate::network::disturb::Disturbance;
use crate::world::World;

/// Messages over some links leave one after the other, and wait in a queue that overflows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Throttle {
    /// Which links.
    pub links: Links,
    /// What is left.
    pub bandwidth: Bandwidth,
}

impl Throttle {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(&self.links, Disturbance { bandwidth: Some(self.bandwidth), ..Disturbance::default() })
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bandwidth { bytes_per_second, queue_bytes } = self.bandwidth;
        write!(f, "throttle to {bytes_per_second} B/s, queue {queue_bytes} B, over {}", self.links)
    }
}

//! Slow links.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Injected;
use crate::config::Links;
use crate::latency::nanos;
use crate::network::disturb::Disturbance;
use crate::world::World;

/// Messages over some links take longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlowLink {
    /// Which links.
    pub links: Links,
    /// Thousandths of their latency that it becomes.
    pub permille: u32,
    /// What is added to it.
    pub extra: Duration,
}

impl SlowLink {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        world.disturb(
            &self.links,
            Disturbance {
                latency_permille: self.permille,
                latency_extra: nanos(self.extra),
                ..Disturbance::default()
            },
        )
    }
}

impl fmt::Display for SlowLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow {} permille and {:?} over {}", self.permille, self.extra, self.links)
    }
}

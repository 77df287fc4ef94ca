//! A clock that goes at a wrong rate.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::{Injected, Setting};
use crate::world::World;

/// A node's clock, and with it the timers that are armed from now on, goes at another rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClockDrift {
    /// Which.
    pub node: NodeId,
    /// How much faster than simulated time, in parts per million; below 0: slower.
    pub ppm: i32,
}

impl ClockDrift {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let drift = Setting::Drift(i64::from(self.ppm) * 1000);
        world.kernel().state.borrow_mut().begin_setting(self.node, drift)
    }
}

impl fmt::Display for ClockDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "let {}'s clock drift by {} ppm", self.node, self.ppm)
    }
}

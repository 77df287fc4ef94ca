//! A clock that goes at a wrong rate.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::{Injected, Undo};
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
        let state = &mut *world.kernel().state.borrow_mut();
        let (node, now) = (state.index(self.node.into()), state.now);
        let clock = &mut state.endpoints[node as usize].clock;
        let before = clock.drift_ppb();
        clock.set_drift(now, i64::from(self.ppm) * 1000);
        state.faults.begin(|_| Undo::Drift(node, before)).0
    }
}

impl fmt::Display for ClockDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "let {}'s clock drift by {} ppm", self.node, self.ppm)
    }
}

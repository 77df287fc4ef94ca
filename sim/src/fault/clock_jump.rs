//! A clock that is set.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::Injected;
use crate::world::World;

/// A node's clock jumps. Timers go on: they count, and do not look at the clock. There is nothing to
/// take back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClockJump {
    /// Which.
    pub node: NodeId,
    /// How far forward, in nanoseconds; below 0: back.
    pub by_ns: i64,
}

impl ClockJump {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let state = &mut *world.kernel().state.borrow_mut();
        let (node, now) = (state.index(self.node.into()), state.now);
        state.endpoints[node as usize].clock.jump(now, self.by_ns);
        Injected::Nothing
    }
}

impl fmt::Display for ClockJump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jump {}'s clock by {} ns", self.node, self.by_ns)
    }
}

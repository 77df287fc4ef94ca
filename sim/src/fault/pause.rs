//! A node that stands still: a garbage collection, or a virtual machine that is moved.

use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::{Injected, Undo};
use crate::world::World;

/// The node takes in nothing until it is resumed: what comes waits. What was asked of its disk goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Which.
    pub node: NodeId,
    /// Its clock stands still too, as in a virtual machine that is suspended: timers are put off by
    /// the pause. Otherwise all that came due fire at once after it.
    pub clock_stops: bool,
}

impl Pause {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let state = &mut *world.kernel().state.borrow_mut();
        let node = state.index(self.node.into());
        match state.pause(node, self.clock_stops) {
            Some(paused) => state.faults.begin(|_| Undo::Resume(paused)).0,
            None => Injected::Nothing,
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.clock_stops { ", and its clock" } else { "" };
        write!(f, "pause {}{how}", self.node)
    }
}

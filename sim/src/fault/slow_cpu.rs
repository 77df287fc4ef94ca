//! A node on which computing takes longer.

use std::fmt;
use std::time::Duration;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::{Injected, Setting};
use crate::latency::nanos;
use crate::world::World;

/// Each message, sent or received, keeps a node busy for longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlowCpu {
    /// Which.
    pub node: NodeId,
    /// Thousandths of the world's own cost that it becomes.
    pub permille: u32,
    /// What is added per message.
    pub per_message: Duration,
}

impl SlowCpu {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let slow = Some((self.permille.into(), nanos(self.per_message)));
        world.kernel().state.borrow_mut().begin_setting(self.node, Setting::Computing(slow))
    }
}

impl fmt::Display for SlowCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slow {}'s computing {} permille and {:?}", self.node, self.permille, self.per_message)
    }
}

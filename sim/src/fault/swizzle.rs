//! Swizzling, as FoundationDB does it: the links of some nodes are clogged one node after the other,
//! and freed in another order.

use std::fmt;
use std::time::Duration;

use contract::NodeId;
use serde::{Deserialize, Serialize};

use super::{Injected, Undo};
use crate::config::Links;
use crate::kernel::State;
use crate::latency::nanos;
use crate::network::PartitionId;
use crate::network::blocks::Blocking;
use crate::queue::Topic;
use crate::rng::{Purpose, philox};
use crate::slab::Ticket;
use crate::world::World;

/// Clogs nodes one after the other over half of a time, and frees them over the other half. Both
/// orders, and the moments, are drawn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Swizzle {
    /// Whose links.
    pub nodes: Vec<NodeId>,
    /// How long it takes in all.
    pub over: Duration,
}

/// One step of a swizzle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    swizzle: u64,
    node: NodeId,
    clogs: bool,
}

/// A swizzle that goes on: which nodes it has clogged.
#[derive(Debug, Default)]
pub(crate) struct Going(Vec<(NodeId, PartitionId)>);

impl Swizzle {
    pub(super) fn apply<M>(&self, world: &World<M>) -> Injected {
        let state = &mut *world.kernel().state.borrow_mut();
        let (injected, swizzle) = state.faults.begin(Undo::Swizzle);
        state.faults.swizzles.insert(swizzle, Going::default());
        let key = state.faults.keys.key(Purpose::SWIZZLE, swizzle);
        let half = (nanos(self.over) / 2).max(1);
        for node in &self.nodes {
            let draw = philox(key, 0, u64::from(node.0));
            for (clogs, word) in [(true, draw[0]), (false, draw[1])] {
                let within = (u64::from(word) * half) >> 32;
                let at = state.now.0 + within + if clogs { 0 } else { half };
                let ticket: Ticket = state.steps.insert(Step { swizzle, node: *node, clogs });
                state.queue.push(contract::Time(at), draw[3], Topic::Step, ticket);
            }
        }
        injected
    }
}

impl fmt::Display for Swizzle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("swizzle")?;
        self.nodes.iter().try_for_each(|node| write!(f, " {node}"))?;
        write!(f, " over {:?}", self.over)
    }
}

impl State {
    /// A step of a swizzle is due; nothing happens if it was ended.
    pub(crate) fn step_pops(&mut self, ticket: Ticket) {
        let Some(Step { swizzle, node, clogs }) = self.steps.remove(ticket) else { return };
        if !self.faults.swizzles.contains_key(&swizzle) {
            return;
        }
        self.fault_event(u64::from(clogs) + 1, || format!("{} {node}", if clogs { "clog" } else { "free" }));
        if clogs {
            let id = self.block(vec![Links::at(node)], Blocking::Hold);
            self.faults.swizzles.entry(swizzle).or_default().0.push((node, id));
        } else {
            let going = &mut self.faults.swizzles.entry(swizzle).or_default().0;
            if let Some(at) = going.iter().position(|(other, _)| *other == node) {
                let (_, id) = going.remove(at);
                self.unblock(id);
            }
        }
    }

    /// Ends a swizzle where it stands.
    pub(super) fn end_swizzle(&mut self, swizzle: u64) {
        for (_, id) in self.faults.swizzles.remove(&swizzle).unwrap_or_default().0 {
            self.unblock(id);
        }
    }
}

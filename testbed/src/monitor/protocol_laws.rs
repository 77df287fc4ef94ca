//! What a replica itself can see of a broken law: a message that no replica that keeps to the protocol,
//! and whose disk keeps its promises, would have sent.

use contract::{Effect, NodeId, Replica, View};

use super::{Broken, Monitor};

pub(super) struct ProtocolLaws;

impl<R: Replica> Monitor<R> for ProtocolLaws {
    fn stepped(
        &mut self,
        node: NodeId,
        _before: &View,
        after: &View,
        _effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        match after.broken {
            Some(law) => Err(format!("{node} was told what breaks {law}")),
            None => Ok(()),
        }
    }
}

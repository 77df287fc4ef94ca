//! Election safety (Raft §5.2): at most one leader in a term.

use std::collections::BTreeMap;

use contract::{Effect, Epoch, NodeId, Replica, Role, View};

use super::{Broken, Monitor};

#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<Epoch, NodeId>,
}

impl<R: Replica> Monitor<R> for OneLeader {
    fn stepped(
        &mut self,
        node: NodeId,
        before: &View,
        after: &View,
        _effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        if after.role != Role::Leader || (before.role == Role::Leader && before.epoch == after.epoch) {
            return Ok(());
        }
        match *self.leaders.entry(after.epoch).or_insert(node) {
            other if other == node => Ok(()),
            other => Err(format!("{node} became leader of {}, which {other} already led", after.epoch)),
        }
    }
}

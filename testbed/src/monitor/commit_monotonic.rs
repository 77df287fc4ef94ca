//! A commit index never goes back while its node is up.

use contract::{Effect, NodeId, Replica, View};

use super::{Broken, Monitor};

pub(super) struct CommitMonotonic;

impl<R: Replica> Monitor<R> for CommitMonotonic {
    fn stepped(
        &mut self,
        node: NodeId,
        before: &View,
        after: &View,
        _effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        if after.commit < before.commit {
            return Err(format!(
                "the commit index of {node} went back from {} to {}",
                before.commit, after.commit
            ));
        }
        if after.epoch < before.epoch {
            return Err(format!("the term of {node} went back from {} to {}", before.epoch, after.epoch));
        }
        Ok(())
    }
}

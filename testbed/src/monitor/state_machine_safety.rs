//! State-machine safety (Raft §5.4.3): no two nodes apply different entries at one index.

use std::collections::BTreeMap;

use contract::{Entry, Index, Mark, NodeId, Replica};

use super::{Broken, Monitor, fingerprint};

#[derive(Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<Index, (Mark, u64, NodeId)>,
}

impl<R: Replica> Monitor<R> for StateMachineSafety {
    fn applied(&mut self, node: NodeId, entry: &Entry) -> Result<(), Broken> {
        let index = entry.mark.index;
        let mine = (entry.mark, fingerprint(&entry.command));
        let (mark, print, first) = *self.applied.entry(index).or_insert((mine.0, mine.1, node));
        if (mark, print) == mine {
            return Ok(());
        }
        Err(format!(
            "{node} applied an entry of {} at index {index}, where {first} had applied another one, of {}",
            entry.mark.epoch, mark.epoch
        ))
    }

    fn installed(&mut self, node: NodeId, snapshot: Mark) -> Result<(), Broken> {
        match self.applied.get(&snapshot.index) {
            Some((mark, _, first)) if *mark != snapshot => Err(format!(
                "{node} installed a snapshot at {snapshot}, where {first} had applied an entry of {}",
                mark.epoch
            )),
            _ => Ok(()),
        }
    }
}

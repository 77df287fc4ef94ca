//! State-machine safety (Raft §5.4.3): no two nodes apply different entries at one index.

use std::collections::BTreeMap;

use contract::{Effect, Entry, Index, JournalRecord, LogShape, Mark, NodeId, Replica, View};

use super::{Broken, Monitor, fingerprint};

pub(super) struct StateMachineSafety {
    applied: BTreeMap<Index, (Mark, u64, NodeId)>,
    /// Where each node's log begins. What lies below all of these is forgotten, so that the memory of a
    /// long run is bounded.
    starts: Vec<Index>,
}

impl StateMachineSafety {
    pub(super) fn new(nodes: usize) -> Self {
        Self { applied: BTreeMap::new(), starts: vec![Index::ZERO; nodes] }
    }

    fn written<'a, R: JournalRecord + 'a>(&mut self, node: NodeId, records: impl Iterator<Item = &'a R>) {
        let Some(start) = records.filter_map(JournalRecord::log_start).last() else { return };
        self.starts[node.slot()] = start.index;
        let lowest = self.starts.iter().min().copied().unwrap_or(Index::ZERO);
        while self.applied.first_key_value().is_some_and(|(index, _)| *index < lowest) {
            self.applied.pop_first();
        }
    }
}

impl<R: Replica> Monitor<R> for StateMachineSafety {
    fn started(&mut self, node: NodeId, _view: &View, records: &[R::Record]) -> Result<(), Broken> {
        self.written(node, records.iter());
        Ok(())
    }

    fn stepped(
        &mut self,
        node: NodeId,
        _before: &View,
        _after: &View,
        effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        for effect in effects {
            if let Effect::Persist { records, .. } = effect {
                self.written(node, records.iter());
            }
        }
        Ok(())
    }

    fn applied(&mut self, node: NodeId, entry: &Entry) -> Result<(), Broken> {
        let index = entry.mark.index;
        let mine = (entry.mark, fingerprint(&entry.payload));
        let (mark, print, first) = *self.applied.entry(index).or_insert((mine.0, mine.1, node));
        // Who got a slot decided is not what was decided.
        let same = print == mine.1 && (mark == mine.0 || R::LOG == LogShape::Slots);
        if same {
            return Ok(());
        }
        Err(format!(
            "{node} applied an entry of {} at index {index}, where {first} had applied another one, of {}",
            entry.mark.epoch, mark.epoch
        ))
    }

    fn installed(&mut self, node: NodeId, snapshot: Mark) -> Result<(), Broken> {
        match self.applied.get(&snapshot.index) {
            Some((mark, _, first)) if *mark != snapshot && R::LOG == LogShape::Chain => Err(format!(
                "{node} installed a snapshot at {snapshot}, where {first} had applied an entry of {}",
                mark.epoch
            )),
            _ => Ok(()),
        }
    }
}

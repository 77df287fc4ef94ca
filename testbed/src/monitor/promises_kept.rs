//! What acceptors promise, and what ballots propose (Paxos Made Simple, §2.2): an acceptor accepts nothing
//! below what it has promised, and in one slot a ballot proposes one value.
//!
//! Both are seen in the records that acceptors persist. After a restart a promise binds as far as the journal
//! still holds it: what was not durable was not told to anyone.

use std::collections::BTreeMap;

use contract::{Effect, Epoch, Index, JournalRecord, NodeId, Replica, View};

use super::{Broken, Monitor, fingerprint};

pub(super) struct PromisesKept {
    promised: Vec<Epoch>,
    /// What each ballot was seen to propose in each slot, and who accepted it first.
    values: BTreeMap<(Index, Epoch), (u64, NodeId)>,
    /// Where each node's log begins. What lies below all of these is forgotten, so that the memory of a
    /// long run is bounded.
    starts: Vec<Index>,
}

impl PromisesKept {
    pub(super) fn new(nodes: usize) -> Self {
        Self { promised: vec![Epoch::ZERO; nodes], values: BTreeMap::new(), starts: vec![Index::ZERO; nodes] }
    }

    fn wrote(&mut self, node: NodeId, record: &impl JournalRecord) -> Result<(), Broken> {
        if let Some(start) = record.log_start() {
            self.starts[node.slot()] = start.index;
            self.forget();
        }
        let promised = &mut self.promised[node.slot()];
        if let Some(ballot) = record.promised() {
            if ballot < *promised {
                return Err(format!("{node} took its promise of {promised} back for {ballot}"));
            }
            *promised = ballot;
        }
        let (Some(mark), Some(entry)) = (record.accepted(), record.entry()) else { return Ok(()) };
        if mark.epoch < *promised {
            return Err(format!("{node} accepted {mark}, below its promise of {promised}"));
        }
        *promised = mark.epoch;
        let print = fingerprint(&entry.payload);
        match *self.values.entry((mark.index, mark.epoch)).or_insert((print, node)) {
            (other, _) if other == print => Ok(()),
            (_, first) => Err(format!("{node} and {first} accepted different values at {mark}")),
        }
    }

    fn forget(&mut self) {
        let lowest = self.starts.iter().min().copied().unwrap_or(Index::ZERO);
        while self.values.first_key_value().is_some_and(|((index, _), _)| *index <= lowest) {
            self.values.pop_first();
        }
    }
}

impl<R: Replica> Monitor<R> for PromisesKept {
    fn started(&mut self, node: NodeId, _view: &View, records: &[R::Record]) -> Result<(), Broken> {
        self.promised[node.slot()] = Epoch::ZERO;
        records.iter().try_for_each(|record| self.wrote(node, record))
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
                records.iter().try_for_each(|record| self.wrote(node, record))?;
            }
        }
        Ok(())
    }
}

//! Primary integrity (Junqueira, Reed and Serafini, *Zab*, DSN 2011, §4), which is leader completeness
//! (Raft, Fig. 3) seen from where it matters: before a leader adds an entry of its own term it holds all
//! that was committed *in* earlier ones. (Not all that is *of* earlier ones: a leader of a later term still
//! may commit an old entry, which one that it has replaced need not hold.)
//!
//! Both sides are watched: at a leader's first entry, what was committed before; and at each commit, all
//! leaders of later terms that have begun. Along a chain it is enough to ask for the last entry. The term in
//! which an entry is committed is at most that of any node that says so.

use std::collections::BTreeMap;

use contract::{Effect, Entry, Epoch, JournalRecord, Mark, NodeId, Replica, Role, View};

use super::log::Log;
use super::{Broken, Monitor};

pub(super) struct PrimaryIntegrity {
    logs: Vec<Log>,
    /// By the term of who said it: the last entry that was said to be committed.
    committed: BTreeMap<Epoch, Mark>,
    /// Who leads, and has written an entry of that term.
    leading: BTreeMap<NodeId, Epoch>,
}

impl PrimaryIntegrity {
    pub(super) fn new(nodes: usize) -> Self {
        Self { logs: vec![Log::empty(); nodes], committed: BTreeMap::new(), leading: BTreeMap::new() }
    }

    fn lacks(&self, leader: NodeId, epoch: Epoch, mark: Mark) -> Result<(), Broken> {
        if self.logs[leader.slot()].may_hold(mark) {
            return Ok(());
        }
        Err(format!("{leader} leads {epoch} and lacks the entry {mark}, which is committed"))
    }

    fn wrote(
        &mut self,
        node: NodeId,
        record: &impl JournalRecord,
        leads: Option<Epoch>,
    ) -> Result<(), Broken> {
        if let Some(mark) = record.log_start() {
            self.logs[node.slot()].begin_behind(mark);
        }
        let Some(entry) = record.entry() else { return Ok(()) };
        let begins = leads.filter(|epoch| *epoch == entry.mark.epoch && !self.leading.contains_key(&node));
        if let Some(epoch) = begins {
            self.leading.insert(node, epoch);
            if let Some(mark) = self.committed.range(..epoch).map(|(_, mark)| mark).max() {
                self.lacks(node, epoch, *mark)?;
            }
        }
        // A misplaced entry is another law's affair.
        let _ = self.logs[node.slot()].write(entry);
        Ok(())
    }

    /// A node that knows of the term `within` learnt that entries are committed.
    fn commit(&mut self, within: Epoch, entries: &[Entry]) -> Result<(), Broken> {
        let Some(mark) = entries.iter().map(|entry| entry.mark).max() else { return Ok(()) };
        let known = self.committed.entry(within).or_insert(Mark::ZERO);
        if mark <= *known {
            return Ok(());
        }
        *known = mark;
        let later = self.leading.iter().filter(|(_, epoch)| **epoch > within);
        later.into_iter().try_for_each(|(leader, epoch)| self.lacks(*leader, *epoch, mark))
    }
}

impl<R: Replica> Monitor<R> for PrimaryIntegrity {
    fn started(&mut self, node: NodeId, _view: &View, records: &[R::Record]) -> Result<(), Broken> {
        self.leading.remove(&node);
        self.logs[node.slot()] = Log::before(records);
        records.iter().try_for_each(|record| self.wrote(node, record, None))
    }

    fn stepped(
        &mut self,
        node: NodeId,
        _before: &View,
        after: &View,
        effects: &[Effect<R>],
    ) -> Result<(), Broken> {
        let leads = (after.role == Role::Leader).then_some(after.epoch);
        if self.leading.get(&node).copied() != leads {
            self.leading.remove(&node);
        }
        for effect in effects {
            match effect {
                Effect::Persist { records, .. } => {
                    records.iter().try_for_each(|record| self.wrote(node, record, leads))?;
                }
                Effect::Commit(entries) => self.commit(after.epoch, entries)?,
                _ => {}
            }
        }
        Ok(())
    }
}

//! Log matching (Raft §5.3): if two logs hold an entry of the same index and term, they hold the same
//! command there and are identical up to it.
//!
//! Kept by induction: for each (index, term) ever written, the command and the term of the entry
//! before it are the same in every log. What a replica writes is seen in the records it persists.

use std::collections::VecDeque;

use contract::{Effect, Entry, Epoch, JournalRecord, NodeId, Replica, View};

use super::log::{Log, Misplaced};
use super::{Broken, Monitor, fingerprint};

/// One entry that some log holds or held.
#[derive(Clone, Copy)]
struct Known {
    epoch: Epoch,
    print: u64,
    /// The term of the entry before it, where it is known.
    before: Option<Epoch>,
    first: NodeId,
}

pub(super) struct LogMatching {
    /// Per index, the few entries that were ever written there.
    known: VecDeque<Vec<Known>>,
    /// The index of the first of them. What lies below the start of every log is forgotten, so that the
    /// memory of a long run is bounded.
    from: u64,
    logs: Vec<Log>,
}

impl LogMatching {
    pub(super) fn new(nodes: usize) -> Self {
        let logs = vec![Log::empty(); nodes];
        Self { known: VecDeque::new(), from: 0, logs }
    }

    fn forget(&mut self) {
        let lowest = self.logs.iter().map(|log| log.start().0).min().unwrap_or(0);
        while self.from < lowest && self.known.pop_front().is_some() {
            self.from += 1;
        }
    }

    fn write(&mut self, node: NodeId, record: &impl JournalRecord) -> Result<(), Broken> {
        let log = &mut self.logs[node.slot()];
        if let Some(mark) = record.log_start() {
            log.begin_behind(mark);
            self.forget();
        }
        let Some(entry) = record.entry() else { return Ok(()) };
        match self.logs[node.slot()].write(entry) {
            Ok(before) => self.compare(node, entry, before),
            Err(Misplaced::BelowStart) => {
                Err(format!("{node} wrote entry {} below the start of its log", entry.mark))
            }
            Err(Misplaced::BehindHole) => {
                Err(format!("{node} wrote entry {} but holds none before it", entry.mark))
            }
        }
    }

    fn compare(&mut self, node: NodeId, entry: &Entry, before: Option<Epoch>) -> Result<(), Broken> {
        // A power loss may bring back an older start of a log; what it writes there again was compared.
        let Some(place) = entry.mark.index.0.checked_sub(self.from) else { return Ok(()) };
        let place = usize::try_from(place).expect("a run's log fits into memory");
        if self.known.len() <= place {
            self.known.resize(place + 1, Vec::new());
        }
        let mine = Known { epoch: entry.mark.epoch, print: fingerprint(&entry.payload), before, first: node };
        let Some(other) = self.known[place].iter().find(|known| known.epoch == mine.epoch) else {
            self.known[place].push(mine);
            return Ok(());
        };
        if other.print != mine.print {
            return Err(format!("{node} and {} hold different commands at {}", other.first, entry.mark));
        }
        match (mine.before, other.before) {
            (Some(mine), Some(others)) if mine != others => Err(format!(
                "{node} and {} hold the same entry {} behind entries of {mine} and {others}",
                other.first, entry.mark
            )),
            _ => Ok(()),
        }
    }
}

impl<R: Replica> Monitor<R> for LogMatching {
    fn started(&mut self, node: NodeId, _view: &View, records: &[R::Record]) -> Result<(), Broken> {
        self.logs[node.slot()] = Log::before(records);
        records.iter().try_for_each(|record| self.write(node, record))
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
                for record in records {
                    self.write(node, record)?;
                }
            }
        }
        Ok(())
    }
}

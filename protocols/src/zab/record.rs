//! What a replica's journal holds, and how a history is folded from it at a start.

use std::fmt;

use contract::{Entry, Epoch, Index, JournalRecord, Mark, Membership, Payload};
use serde::{Deserialize, Serialize};

use super::log::Log;

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The two promises of a server (ZooKeeper's files `acceptedEpoch` and `currentEpoch`).
    Epochs {
        /// The last epoch that it accepted a leader's proposal of.
        accepted: Epoch,
        /// The last epoch whose leader's history it took over.
        current: Epoch,
    },
    /// A transaction. It replaces whatever the history held from its index on.
    Entry(Entry),
    /// The history ends here: what stood behind it was not the leader's.
    Truncated {
        /// The last transaction that stays.
        last: Mark,
    },
    /// A snapshot is about to replace the service's state. If that includes it at a start, so it did;
    /// then who takes part is known from here alone.
    Installing {
        /// What the snapshot includes.
        mark: Mark,
        /// Who takes part as of it.
        membership: Membership,
    },
    /// The history now begins behind `mark`: all up to there is in the service's durable state. What
    /// stands behind it stays.
    Compacted {
        /// The last entry that left.
        mark: Mark,
        /// Who takes part as of it.
        membership: Membership,
    },
    /// The history is empty and begins behind `mark`: a snapshot took the place of all it held.
    Reset {
        /// What the snapshot includes.
        mark: Mark,
        /// Who takes part as of it.
        membership: Membership,
    },
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            _ => None,
        }
    }

    fn log_start(&self) -> Option<Mark> {
        match self {
            Self::Compacted { mark, .. } | Self::Reset { mark, .. } => Some(*mark),
            _ => None,
        }
    }

    fn is_hard_state(&self) -> bool {
        matches!(self, Self::Epochs { .. })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs { accepted, current } => write!(f, "epochs accepted={accepted} current={current}"),
            Self::Entry(entry) => write!(f, "entry {}", entry.mark),
            Self::Truncated { last } => write!(f, "truncated {last}"),
            Self::Installing { mark, .. } => write!(f, "installing {mark}"),
            Self::Compacted { mark, .. } => write!(f, "compacted {mark}"),
            Self::Reset { mark, .. } => write!(f, "reset {mark}"),
        }
    }
}

/// What a journal and the service's durable state amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) accepted: Epoch,
    pub(super) current: Epoch,
    pub(super) log: Log,
    /// The service is beyond the history, or beside it: transactions were applied, or a snapshot
    /// installed, whose records were lost. Where the history begins has to be written again.
    pub(super) was_reset: bool,
}

/// A journal as far as it has been read.
#[derive(Default)]
struct Fold {
    accepted: Epoch,
    current: Epoch,
    /// Behind which index the entries begin.
    start: Index,
    /// The epoch at `start`; unknown after the oldest segments were purged, until a record tells.
    start_epoch: Option<Epoch>,
    /// Who takes part as of the start; unknown likewise.
    membership: Option<Membership>,
    entries: Vec<Entry>,
    installing: Option<(Mark, Membership)>,
}

/// Replays a journal whose oldest segments may be gone, and settles it with the service's state.
pub(super) fn fold(records: Vec<Record>, applied: Mark, founders: &Membership) -> Folded {
    let mut fold =
        Fold { start_epoch: Some(Epoch::ZERO), membership: Some(founders.clone()), ..Fold::default() };
    for record in records {
        fold.replay(record);
    }
    fold.settle(applied, founders)
}

impl Fold {
    fn last(&self) -> Index {
        Index(self.start.0 + self.entries.len() as u64)
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Epochs { accepted, current } => {
                assert!(accepted >= self.accepted && current >= self.current, "epochs never fall");
                (self.accepted, self.current) = (accepted, current);
            }
            Record::Entry(entry) => self.replace_from(entry),
            Record::Truncated { last } => self.truncate(last),
            Record::Installing { mark, membership } => self.installing = Some((mark, membership)),
            // An older compaction, whose suffix went in a later one: only that tells the start, and who takes part
            // then. Until it comes the oldest entry or truncation that is left stands in.
            Record::Compacted { mark, .. } if mark.index < self.start => {
                assert!(self.membership.is_none(), "a log's start only moves forward");
            }
            Record::Compacted { mark, membership } => {
                let left = (mark.index.0 - self.start.0) as usize;
                if let Some(entry) = left.checked_sub(1).and_then(|last| self.entries.get(last)) {
                    assert_eq!(entry.mark, mark, "a log is compacted at an entry that it holds");
                }
                self.entries.drain(..left.min(self.entries.len()));
                self.start_behind(mark, membership);
            }
            Record::Reset { mark, membership } => {
                self.entries.clear();
                self.installing = None;
                self.start_behind(mark, membership);
            }
        }
    }

    fn start_behind(&mut self, mark: Mark, membership: Membership) {
        (self.start, self.start_epoch, self.membership) = (mark.index, Some(mark.epoch), Some(membership));
    }

    fn replace_from(&mut self, entry: Entry) {
        let index = entry.mark.index;
        assert!(index > Index::ZERO, "the first entry has index 1");
        // What stood between was purged, or what is left of the log so far was itself replaced.
        let follows_purged = self.entries.is_empty() && index > self.start.next();
        if follows_purged || (index <= self.start && self.start_epoch.is_none()) {
            self.entries.clear();
            self.start = index.prev();
            self.start_epoch = (index.prev() == Index::ZERO).then_some(Epoch::ZERO);
            self.membership = self.membership.take().filter(|_| self.start_epoch.is_some());
        }
        assert!(index > self.start, "{index} is in the service's state and cannot be replaced");
        assert!(index <= self.last().next(), "a log has no holes: {index} follows {}", self.last());
        self.entries.truncate((index.0 - self.start.0 - 1) as usize);
        self.entries.push(entry);
    }

    fn truncate(&mut self, last: Mark) {
        let purged = self.entries.is_empty() && last.index > self.start;
        if purged || (last.index < self.start && self.start_epoch.is_none()) {
            self.entries.clear();
            (self.start, self.start_epoch, self.membership) = (last.index, Some(last.epoch), None);
        }
        assert!(last.index >= self.start, "{last} is in the service's state: nothing behind it is cut off");
        assert!(last.index <= self.last(), "a truncation removes something");
        self.entries.truncate((last.index.0 - self.start.0) as usize);
    }

    fn settle(mut self, applied: Mark, founders: &Membership) -> Folded {
        let start_is_known = self.start_epoch.is_some();
        // Without a known start the epoch of `applied` stands in: all up to there is in the service.
        let follows = self.entries.first().is_none_or(|first| first.mark.epoch >= applied.epoch);
        if self.start_epoch.is_none() && applied.index == self.start && follows {
            self.start_epoch = Some(applied.epoch);
        }
        let held = match applied.index.0.checked_sub(self.start.0) {
            Some(0) => self.start_epoch,
            Some(place) => self.entries.get(place as usize - 1).map(|entry| entry.mark.epoch),
            None => panic!("what left the log is in the service: {} is beyond {applied}", self.start),
        };
        let was_reset = held != Some(applied.epoch);
        if was_reset || self.start_epoch.is_none() {
            let membership = self.membership_at(applied).or(self.membership.take());
            let covered = (applied.index.0 - self.start.0) as usize;
            match was_reset {
                true => self.entries.clear(),
                false => drop(self.entries.drain(..covered)),
            }
            self.start_behind(applied, membership.unwrap_or_else(|| founders.clone()));
        }
        let start = Mark { epoch: self.start_epoch.expect("settled above"), index: self.start };
        let membership = self.membership.unwrap_or_else(|| founders.clone());
        let log = Log::recovered(start, membership, self.entries);
        assert!(self.accepted >= self.current, "an epoch is accepted before its history is");
        // Behind a start that a record tells, the promises that were written with it are there too.
        let vouched = start_is_known && !was_reset;
        let newest = log.last().epoch;
        assert!(!vouched || self.accepted >= newest, "an epoch is accepted before its transactions come");
        Folded { accepted: self.accepted.max(newest), current: self.current, log, was_reset }
    }

    /// Who takes part as of what the service includes: told with the snapshot that it was replaced by,
    /// or by the last membership before. (No membership is applied before it is durable here.)
    fn membership_at(&self, applied: Mark) -> Option<Membership> {
        let installed = self.installing.as_ref().filter(|(mark, _)| *mark == applied);
        let logged = || {
            let entries = self.entries.iter().rev().filter(|entry| entry.mark.index <= applied.index);
            entries.into_iter().find_map(|entry| match &entry.payload {
                Payload::Membership(membership) => Some(membership),
                Payload::Noop | Payload::Command(_) => None,
            })
        };
        installed.map(|(_, membership)| membership).or_else(logged).cloned()
    }
}

#[cfg(test)]
mod tests {
    use contract::NodeId;

    use super::*;

    fn mark(index: u64, epoch: u64) -> Mark {
        Mark { epoch: Epoch(epoch), index: Index(index) }
    }

    fn nodes(numbers: &[u16]) -> Membership {
        Membership::of(numbers.iter().copied().map(NodeId::new))
    }

    fn founders() -> Membership {
        nodes(&[1, 2, 3])
    }

    fn epochs(accepted: u64, current: u64) -> Record {
        Record::Epochs { accepted: Epoch(accepted), current: Epoch(current) }
    }

    fn entry(index: u64, epoch: u64) -> Record {
        Record::Entry(Entry { mark: mark(index, epoch), payload: Payload::Noop })
    }

    fn compacted(index: u64, epoch: u64) -> Record {
        Record::Compacted { mark: mark(index, epoch), membership: founders() }
    }

    fn truncated(index: u64, epoch: u64) -> Record {
        Record::Truncated { last: mark(index, epoch) }
    }

    /// Where the log begins, the epochs of its entries, `acceptedEpoch`, and whether it was reset.
    fn folded(records: &[Record], applied: Mark) -> (Mark, Vec<u64>, u64, bool) {
        let Folded { accepted, log, was_reset, .. } = fold(records.to_vec(), applied, &founders());
        (log.start(), log.entries().map(|entry| entry.mark.epoch.0).collect(), accepted.0, was_reset)
    }

    #[test]
    fn entries_and_truncations_replace_what_stood_behind() {
        let journal = [epochs(1, 1), entry(1, 1), entry(2, 1), entry(3, 1), epochs(2, 1), truncated(1, 1)];
        assert_eq!(folded(&journal, Mark::ZERO), (Mark::ZERO, vec![1], 2, false));
        let journal = [&journal[..], &[entry(2, 2)]].concat();
        assert_eq!(folded(&journal, mark(2, 2)), (Mark::ZERO, vec![1, 2], 2, false));
        let all_gone = [epochs(2, 1), entry(1, 1), truncated(0, 0)];
        assert_eq!(folded(&all_gone, Mark::ZERO), (Mark::ZERO, vec![], 2, false));
    }

    #[test]
    fn a_journal_may_begin_in_the_middle() {
        // Segments with the entries up to 4 are gone; entry 5 was cut off before the compaction.
        let journal = [
            entry(5, 1),
            truncated(4, 1),
            entry(5, 2),
            entry(6, 2),
            entry(7, 2),
            epochs(2, 2),
            compacted(6, 2),
        ];
        assert_eq!(folded(&journal, mark(7, 2)), (mark(6, 2), vec![2], 2, false));
        // What is left begins with a truncation of what is gone, or was itself cut off from further back.
        let journal = [truncated(4, 1), entry(5, 2), epochs(2, 2), compacted(5, 2)];
        assert_eq!(folded(&journal, mark(5, 2)), (mark(5, 2), vec![], 2, false));
        // The log was compacted before that truncation, and again behind it.
        let journal =
            [truncated(4, 1), entry(5, 2), epochs(2, 2), compacted(2, 1), entry(6, 2), compacted(5, 2)];
        assert_eq!(folded(&journal, mark(6, 2)), (mark(5, 2), vec![2], 2, false));
        let journal = [entry(9, 1), truncated(4, 1), entry(5, 2), epochs(2, 2), compacted(5, 2)];
        assert_eq!(folded(&journal, mark(5, 2)), (mark(5, 2), vec![], 2, false));
    }

    #[test]
    fn an_older_compaction_tells_nothing_when_its_suffix_is_gone() {
        let behind = [epochs(1, 1), compacted(3, 1), entry(7, 1), entry(8, 1), entry(9, 1), compacted(8, 1)];
        assert_eq!(folded(&behind, mark(8, 1)), (mark(8, 1), vec![1], 1, false));
        let before = [entry(7, 1), epochs(1, 1), compacted(3, 1), entry(8, 1), entry(9, 1), compacted(8, 1)];
        assert_eq!(folded(&before, mark(9, 1)), (mark(8, 1), vec![1], 1, false));
    }

    #[test]
    fn a_service_beyond_the_log_resets_it() {
        let journal = [epochs(1, 1), entry(1, 1), entry(2, 1), entry(3, 1)];
        assert_eq!(folded(&journal, mark(9, 1)), (mark(9, 1), vec![], 1, true), "beyond its end");
        assert_eq!(folded(&journal, mark(9, 3)), (mark(9, 3), vec![], 3, true), "of an epoch that was lost");
        assert_eq!(folded(&journal, mark(2, 2)), (mark(2, 2), vec![], 2, true), "at another entry's place");
    }

    #[test]
    fn a_membership_survives_whatever_lost_its_entry() {
        let group = |records: &[Record], applied: Mark| {
            fold(records.to_vec(), applied, &founders()).log.group(applied.index)
        };
        let four = nodes(&[1, 2, 3, 4]);
        let change = Entry { mark: mark(2, 1), payload: Payload::Membership(four.clone()) };
        let journal = [epochs(1, 1), entry(1, 1), Record::Entry(change), entry(3, 1)];
        assert_eq!(group(&journal, mark(3, 1)), four);
        assert_eq!(group(&journal, mark(9, 1)), four, "the service is beyond the log");
        let installing = Record::Installing { mark: mark(9, 1), membership: nodes(&[4]) };
        let journal = [&journal[..], &[installing]].concat();
        assert_eq!(group(&journal, mark(3, 1)), four, "the installation did not happen");
        assert_eq!(group(&journal, mark(9, 1)), nodes(&[4]), "it did, and nothing else was written");
        let purged =
            [entry(7, 1), epochs(1, 1), Record::Compacted { mark: mark(8, 1), membership: four.clone() }];
        assert_eq!(group(&purged, mark(8, 1)), four, "its entry left the journal");
    }

    #[test]
    #[should_panic(expected = "what left the log is in the service")]
    fn a_service_behind_the_log_is_a_promise_broken() {
        folded(&[epochs(1, 1), Record::Reset { mark: mark(5, 1), membership: founders() }], mark(4, 1));
    }
}

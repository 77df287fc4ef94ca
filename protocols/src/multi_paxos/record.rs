//! What a replica's journal holds, and what it amounts to at a start.

use std::collections::BTreeMap;
use std::fmt;

use contract::{Entry, Epoch, Index, JournalRecord, Mark, Membership};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::slots::Slots;

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// Nothing below this ballot will be accepted any more.
    Promise {
        /// The ballot.
        ballot: Epoch,
    },
    /// An entry was accepted in the ballot and the slot of its mark.
    Accepted(Entry),
    /// An entry was learnt to be decided.
    Chosen(Entry),
    /// Every slot up to this one is decided, and what the journal last said of it is the decision.
    Decided {
        /// The last of them.
        upto: Index,
    },
    /// A snapshot is about to replace the service's state. If that includes the mark, it has.
    Snapshot {
        /// What the snapshot includes.
        mark: Mark,
        /// The membership behind it.
        config: Config,
    },
    /// The log begins behind `mark`: all up to there is in the service's durable state.
    Compacted {
        /// The last slot that left.
        mark: Mark,
        /// The membership behind it.
        config: Config,
    },
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Accepted(entry) | Self::Chosen(entry) => Some(entry),
            Self::Promise { .. } | Self::Decided { .. } | Self::Snapshot { .. } | Self::Compacted { .. } => {
                None
            }
        }
    }

    fn log_start(&self) -> Option<Mark> {
        match self {
            Self::Compacted { mark, .. } => Some(*mark),
            Self::Promise { .. }
            | Self::Accepted(_)
            | Self::Chosen(_)
            | Self::Decided { .. }
            | Self::Snapshot { .. } => None,
        }
    }

    fn is_hard_state(&self) -> bool {
        matches!(self, Self::Promise { .. })
    }

    fn promised(&self) -> Option<Epoch> {
        match self {
            Self::Promise { ballot } => Some(*ballot),
            _ => None,
        }
    }

    fn accepted(&self) -> Option<Mark> {
        match self {
            Self::Accepted(entry) => Some(entry.mark),
            _ => None,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise { ballot } => write!(f, "promise {ballot}"),
            Self::Accepted(entry) => write!(f, "accepted {}", entry.mark),
            Self::Chosen(entry) => write!(f, "chosen {}", entry.mark),
            Self::Decided { upto } => write!(f, "decided up to {upto}"),
            Self::Snapshot { mark, config } => write!(f, "snapshot {mark} of {config}"),
            Self::Compacted { mark, config } => write!(f, "compacted {mark} of {config}"),
        }
    }
}

/// What a journal and the service's durable state amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) promised: Epoch,
    pub(super) slots: Slots,
    /// Up to where all slots are known to be decided.
    pub(super) commit: Index,
    /// The membership behind the slots' start.
    pub(super) base: Config,
    /// The membership behind `commit`.
    pub(super) config: Config,
    /// The log begins elsewhere than the journal says, which has to be told so.
    pub(super) was_moved: bool,
}

/// Replays a journal whose oldest segments may be gone, and settles it with the service's state.
pub(super) fn fold(records: Vec<Record>, applied: Mark, founders: &Membership) -> Folded {
    let mut promised = Epoch::ZERO;
    let mut decided = Index::ZERO;
    let (mut start, mut base) = (Mark::ZERO, Config::founding(founders.clone()));
    let mut held = BTreeMap::new();
    for record in records {
        match record {
            Record::Promise { ballot } => {
                assert!(ballot >= promised, "a promise is never taken back: {promised} precedes {ballot}");
                promised = ballot;
            }
            Record::Accepted(entry) => {
                // To accept is to promise (Phase 2b).
                promised = entry.mark.epoch.max(promised);
                held.insert(entry.mark.index, entry);
            }
            Record::Chosen(entry) => {
                // And so is to learn of a decision: a quorum has promised its ballot.
                promised = entry.mark.epoch.max(promised);
                held.insert(entry.mark.index, entry);
            }
            Record::Decided { upto } => decided = upto.max(decided),
            // It was never installed.
            Record::Snapshot { mark, .. } if mark.index > applied.index => {}
            Record::Snapshot { mark, config } | Record::Compacted { mark, config } => {
                assert!(mark.index <= applied.index, "what left the log is in the service: {mark} is not");
                if mark.index >= start.index {
                    (start, base) = (mark, config);
                }
            }
        }
    }
    // Behind a slot up to where the journal knows of decisions, and has them all.
    let knows = |from: Index| {
        let known = held.range(from.next()..=decided.max(from.next()));
        let known =
            known.zip(from.0 + 1..).take_while(|((slot, _), place)| slot.0 == *place && **slot <= decided);
        Index(from.0 + known.count() as u64)
    };
    let take_in = |config: &mut Config, after: Index, upto: Index| {
        let slots = held.range(after.next()..).take_while(|(slot, _)| **slot <= upto);
        slots.for_each(|(_, entry)| config.apply(entry));
    };
    let mut commit = knows(start.index);
    let was_moved = applied.index > commit;
    if was_moved {
        // What the journal holds of the slots that follow may not be what was decided: that was applied
        // before the journal had it. (A membership is in the journal, as decided, before it is applied.)
        take_in(&mut base, start.index, decided.min(applied.index));
        (start, commit) = (applied, knows(applied.index));
    }
    promised = start.epoch.max(promised);
    let mut config = base.clone();
    take_in(&mut config, start.index, commit);
    let mut slots = Slots::behind(start);
    for (index, entry) in held.split_off(&start.index.next()) {
        slots.accept(entry);
        if index <= commit {
            slots.choose(index);
        }
    }
    Folded { promised, slots, commit, base, config, was_moved }
}

#[cfg(test)]
mod tests {
    use contract::{NodeId, Payload};

    use super::*;

    fn mark(index: u64, epoch: u64) -> Mark {
        Mark { epoch: Epoch(epoch), index: Index(index) }
    }

    fn accepted(index: u64, epoch: u64) -> Record {
        Record::Accepted(Entry { mark: mark(index, epoch), payload: Payload::Noop })
    }

    fn members(nodes: &[u16]) -> Membership {
        Membership::of(nodes.iter().copied().map(NodeId))
    }

    fn config(since: u64, nodes: &[u16]) -> Config {
        Config { since: Index(since), members: members(nodes) }
    }

    fn folded(records: &[Record], applied: Mark) -> Folded {
        fold(records.to_vec(), applied, &members(&[1, 2, 3]))
    }

    #[test]
    fn to_accept_is_to_promise() {
        let journal = [Record::Promise { ballot: Epoch(3) }, accepted(1, 5)];
        assert_eq!(folded(&journal, Mark::ZERO).promised, Epoch(5));
        let journal = [accepted(1, 5), Record::Promise { ballot: Epoch(8) }];
        assert_eq!(folded(&journal, Mark::ZERO).promised, Epoch(8));
    }

    #[test]
    fn accepted_is_not_decided() {
        let journal = [accepted(1, 2), accepted(2, 2), Record::Decided { upto: Index(1) }, accepted(4, 2)];
        let found = folded(&journal, Mark::ZERO);
        assert_eq!((found.commit, found.slots.last(), found.was_moved), (Index(1), mark(4, 2), false));
        assert!(found.slots.is_chosen(Index(1)) && !found.slots.is_chosen(Index(2)));
    }

    #[test]
    fn what_was_applied_before_the_journal_knew_leaves_the_log() {
        let journal = [accepted(1, 2), accepted(2, 2), Record::Decided { upto: Index(1) }, accepted(4, 2)];
        let found = folded(&journal, mark(2, 3));
        assert_eq!((found.commit, found.slots.start(), found.was_moved), (Index(2), mark(2, 3), true));
        assert_eq!(found.slots.last(), mark(4, 2), "what was accepted behind it stays accepted");
    }

    #[test]
    fn a_snapshot_counts_once_it_is_installed() {
        let snapshot = Record::Snapshot { mark: mark(9, 3), config: config(7, &[1, 4]) };
        let journal = [accepted(1, 2), Record::Decided { upto: Index(1) }, accepted(12, 3), snapshot];
        let before = folded(&journal, mark(1, 2));
        assert_eq!((before.commit, before.config), (Index(1), config(0, &[1, 2, 3])));
        let after = folded(&journal, mark(9, 3));
        assert_eq!((after.commit, after.config, after.was_moved), (Index(9), config(7, &[1, 4]), false));
        assert_eq!(after.slots.last(), mark(12, 3));
    }

    #[test]
    fn a_journal_may_begin_in_the_middle() {
        let compacted = |index| Record::Compacted { mark: mark(index, 2), config: config(0, &[1, 2, 3]) };
        let change = Entry { mark: mark(8, 2), payload: Payload::Membership(members(&[4])) };
        let journal =
            [accepted(7, 2), compacted(6), Record::Accepted(change), Record::Decided { upto: Index(8) }];
        let found = folded(&journal, mark(7, 2));
        assert_eq!((found.slots.start(), found.commit), (mark(6, 2), Index(8)));
        assert_eq!((found.base, found.config), (config(0, &[1, 2, 3]), config(8, &[4])));
    }

    #[test]
    #[should_panic(expected = "what left the log is in the service")]
    fn a_service_behind_the_log_is_a_promise_broken() {
        folded(&[Record::Compacted { mark: mark(5, 1), config: config(0, &[1]) }], mark(4, 1));
    }
}

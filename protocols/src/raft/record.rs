//! What a replica's journal holds, and how a log is folded from it at a start.

use std::fmt;
use std::sync::Arc;

use contract::{Entry, Epoch, Index, JournalRecord, Mark, Membership, NodeId, Payload};
use serde::{Deserialize, Serialize};

use super::log::Log;

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The hard state of Fig. 2.
    State {
        /// `currentTerm`.
        term: Epoch,
        /// `votedFor`.
        vote: Option<NodeId>,
    },
    /// An entry. It replaces whatever the log held from its index on.
    Entry(Entry),
    /// The log now begins behind `mark`. What stands behind it stays.
    Compacted(Start),
    /// The log is empty and begins behind `mark`: a snapshot took the place of all it held.
    Reset(Start),
    /// A snapshot is about to take the place of the service's state. Should that be done and the
    /// [`Record::Reset`] behind it be lost, this tells the membership.
    Installing {
        /// What the snapshot includes.
        mark: Mark,
        /// The group's membership as of there.
        membership: Membership,
    },
}

/// Where a log begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Start {
    /// The last entry that left.
    pub mark: Mark,
    /// The group's membership as of there.
    pub membership: Membership,
    /// Whether all up to there is in the service's durable state. Of a witness it is not.
    pub served: bool,
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::State { .. } | Self::Compacted(_) | Self::Reset(_) | Self::Installing { .. } => None,
        }
    }

    fn log_start(&self) -> Option<Mark> {
        match self {
            Self::Compacted(start) | Self::Reset(start) => Some(start.mark),
            Self::State { .. } | Self::Entry(_) | Self::Installing { .. } => None,
        }
    }

    fn is_hard_state(&self) -> bool {
        matches!(self, Self::State { .. })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { term, vote: Some(vote) } => write!(f, "state {term} vote={vote}"),
            Self::State { term, vote: None } => write!(f, "state {term}"),
            Self::Entry(entry) => write!(f, "entry {}", entry.mark),
            Self::Compacted(start) => write!(f, "compacted {start}"),
            Self::Reset(start) => write!(f, "reset {start}"),
            Self::Installing { mark, membership } => write!(f, "installing {mark} of {membership}"),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = if self.served { "" } else { ", in no service" };
        write!(f, "{} of {}{served}", self.mark, self.membership)
    }
}

/// What a journal and the service's durable state amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) term: Epoch,
    pub(super) vote: Option<NodeId>,
    pub(super) log: Log,
    /// The service is beyond the log, or beside it: a snapshot was installed whose
    /// [`Record::Reset`] was lost, and has to be written again.
    pub(super) was_reset: bool,
}

/// A journal as far as it has been read.
struct Fold {
    term: Epoch,
    vote: Option<NodeId>,
    /// Behind which index the entries begin.
    start: Index,
    /// The epoch at `start`; unknown after the oldest segments were purged, until a record tells.
    start_epoch: Option<Epoch>,
    /// The membership as of `start`; that of the founders until a record tells another one.
    membership: Membership,
    /// Whether all up to `start` is in the service's durable state.
    served: bool,
    entries: Vec<Entry>,
    /// The snapshot that was last about to be installed.
    installing: Option<(Mark, Membership)>,
}

/// Replays a journal whose oldest segments may be gone, and settles it with the service's state.
pub(super) fn fold(records: Vec<Record>, applied: Mark, founders: &Membership) -> Folded {
    let mut fold = Fold {
        term: Epoch::ZERO,
        vote: None,
        start: Index::ZERO,
        start_epoch: Some(Epoch::ZERO),
        membership: founders.clone(),
        served: true,
        entries: Vec::new(),
        installing: None,
    };
    for record in records {
        fold.replay(record);
    }
    fold.settle(applied)
}

impl Fold {
    fn last(&self) -> Index {
        Index(self.start.0 + self.entries.len() as u64)
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::State { term, vote } => {
                assert!(term >= self.term, "terms never fall (Fig. 2): {} is followed by {term}", self.term);
                (self.term, self.vote) = (term, vote);
            }
            Record::Entry(entry) => self.replace_from(entry),
            // An older compaction, whose suffix went in a later one: only that tells the start.
            Record::Compacted(Start { mark, .. }) if mark.index < self.start => {
                assert!(self.start_epoch.is_none(), "a log's start only moves forward");
            }
            Record::Compacted(start) => {
                let left = (start.mark.index.0 - self.start.0) as usize;
                if let Some(entry) = left.checked_sub(1).and_then(|last| self.entries.get(last)) {
                    assert_eq!(entry.mark, start.mark, "a log is compacted at an entry that it holds");
                }
                self.entries.drain(..left.min(self.entries.len()));
                self.start_behind(start);
            }
            Record::Reset(start) => {
                self.entries.clear();
                self.start_behind(start);
            }
            Record::Installing { mark, membership } => self.installing = Some((mark, membership)),
        }
    }

    fn start_behind(&mut self, Start { mark, membership, served }: Start) {
        (self.start, self.start_epoch) = (mark.index, Some(mark.epoch));
        (self.membership, self.served) = (membership, served);
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
        }
        assert!(index > self.start, "{index} is in the service's state and cannot be replaced");
        assert!(index <= self.last().next(), "a log has no holes: {index} follows {}", self.last());
        self.entries.truncate((index.0 - self.start.0 - 1) as usize);
        self.entries.push(entry);
    }

    fn settle(mut self, applied: Mark) -> Folded {
        // At index 0 nothing told it: of a disk that lied the records that did may be gone.
        let start_was_told = self.start > Index::ZERO && self.start_epoch.is_some();
        // Without a known start the epoch of `applied` stands in: all up to there is in the service.
        let follows = self.entries.first().is_none_or(|first| first.mark.epoch >= applied.epoch);
        if self.start_epoch.is_none() && applied.index == self.start && follows {
            self.start_epoch = Some(applied.epoch);
        }
        let held = match applied.index.0.checked_sub(self.start.0) {
            Some(0) => self.start_epoch,
            Some(place) => self.entries.get(place as usize - 1).map(|entry| entry.mark.epoch),
            None if !self.served => Some(applied.epoch),
            None => panic!("what left the log is in the service: {} is beyond {applied}", self.start),
        };
        let was_reset = held != Some(applied.epoch);
        if was_reset || self.start_epoch.is_none() {
            self.begin_at(applied, was_reset);
        }
        let start = Mark { epoch: self.start_epoch.expect("settled above"), index: self.start };
        let log = Log::recovered(start, Arc::new(self.membership), self.entries);
        // Behind a start that a record tells, the hard state that was written with it is there too.
        let vouched = start_was_told && !was_reset;
        assert!(!vouched || self.term >= log.last().epoch, "a term is durable before its entries");
        // A term that was learnt but not durable was never promised to anyone: no vote was cast in it.
        if log.last().epoch > self.term {
            (self.term, self.vote) = (log.last().epoch, None);
        }
        Folded { term: self.term, vote: self.vote, log, was_reset }
    }

    /// The service's state tells where the log begins. Whether what follows stays is up to `was_reset`.
    fn begin_at(&mut self, applied: Mark, was_reset: bool) {
        let covered = (applied.index.0 - self.start.0) as usize;
        let left: Vec<Entry> = self.entries.drain(..covered.min(self.entries.len())).collect();
        if was_reset {
            self.entries.clear();
        }
        let told = left.into_iter().rev().find_map(|entry| match entry.payload {
            Payload::Membership(membership) => Some(membership),
            Payload::Noop | Payload::Command(_) => None,
        });
        let installed = self.installing.take().filter(|(mark, _)| *mark == applied);
        let installed = installed.map(|(_, membership)| membership);
        let membership = installed.or(told).unwrap_or_else(|| self.membership.clone());
        self.start_behind(Start { mark: applied, membership, served: true });
    }
}

#[cfg(test)]
mod tests {
    use contract::Payload;

    use super::*;

    fn mark(index: u64, epoch: u64) -> Mark {
        Mark { epoch: Epoch(epoch), index: Index(index) }
    }

    fn of(nodes: u16) -> Membership {
        Membership::of((1..=nodes).map(NodeId))
    }

    fn compacted(index: u64, epoch: u64) -> Record {
        Record::Compacted(Start { mark: mark(index, epoch), membership: of(3), served: true })
    }

    fn state(term: u64) -> Record {
        Record::State { term: Epoch(term), vote: Some(NodeId::new(1)) }
    }

    fn entry(index: u64, epoch: u64) -> Record {
        Record::Entry(Entry { mark: mark(index, epoch), payload: Payload::Noop })
    }

    /// Where the log begins, the epochs of its entries, term, and whether it was reset.
    fn folded(records: &[Record], applied: Mark) -> (Mark, Vec<u64>, u64, bool) {
        let Folded { term, log, was_reset, .. } = fold(records.to_vec(), applied, &of(3));
        (log.start(), log.entries().map(|entry| entry.mark.epoch.0).collect(), term.0, was_reset)
    }

    #[test]
    fn an_entry_replaces_what_stood_from_its_index_on() {
        let journal = [state(1), entry(1, 1), entry(2, 1), entry(3, 1), state(2), entry(2, 2)];
        assert_eq!(folded(&journal, Mark::ZERO), (Mark::ZERO, vec![1, 2], 2, false));
        assert_eq!(folded(&journal, mark(2, 2)), (Mark::ZERO, vec![1, 2], 2, false));
    }

    #[test]
    fn a_journal_may_begin_in_the_middle() {
        // Segments with the entries up to 4 are gone; entry 5 was replaced before the compaction.
        let journal =
            [entry(5, 1), entry(6, 1), entry(5, 2), entry(6, 2), entry(7, 2), state(2), compacted(6, 2)];
        assert_eq!(folded(&journal, mark(7, 2)), (mark(6, 2), vec![2], 2, false));
        // What is left was itself replaced, from further back.
        let journal = [entry(9, 1), entry(5, 2), entry(6, 2), state(2), compacted(5, 2)];
        assert_eq!(folded(&journal, mark(5, 2)), (mark(5, 2), vec![2], 2, false));
    }

    #[test]
    fn an_older_compaction_tells_nothing_when_its_suffix_is_gone() {
        let (old, new) = (compacted(3, 1), compacted(8, 1));
        let behind = [state(1), old.clone(), entry(7, 1), entry(8, 1), entry(9, 1), state(1), new.clone()];
        assert_eq!(folded(&behind, mark(8, 1)), (mark(8, 1), vec![1], 1, false));
        let before = [entry(7, 1), state(1), old, entry(8, 1), entry(9, 1), state(1), new];
        assert_eq!(folded(&before, mark(9, 1)), (mark(8, 1), vec![1], 1, false));
    }

    #[test]
    fn a_service_beyond_or_beside_the_log_resets_it() {
        let journal = [state(1), entry(1, 1), entry(2, 1), entry(3, 1)];
        assert_eq!(folded(&journal, mark(9, 1)), (mark(9, 1), vec![], 1, true), "beyond its end");
        assert_eq!(folded(&journal, mark(9, 3)), (mark(9, 3), vec![], 3, true), "of a term that was lost");
        assert_eq!(folded(&journal, mark(2, 2)), (mark(2, 2), vec![], 2, true), "at another entry's place");
        assert_eq!(
            fold(journal.to_vec(), mark(2, 2), &of(3)).vote,
            None,
            "in the lost term nobody got the vote"
        );
    }

    #[test]
    fn without_a_known_start_the_applied_mark_stands_in() {
        let journal = [entry(5, 2), entry(6, 2), entry(7, 2)];
        assert_eq!(folded(&journal, mark(6, 2)), (mark(6, 2), vec![2], 2, false));
        assert_eq!(folded(&journal, mark(4, 1)), (mark(4, 1), vec![2, 2, 2], 2, false));
        assert_eq!(folded(&journal, mark(4, 3)), (mark(4, 3), vec![], 3, true), "beside the log");
    }

    #[test]
    #[should_panic(expected = "what left the log is in the service")]
    fn a_service_behind_the_log_is_a_promise_broken() {
        let start = Start { mark: mark(5, 1), membership: of(3), served: true };
        folded(&[state(1), Record::Reset(start)], mark(4, 1));
    }
    #[test]
    fn a_witness_drops_what_no_service_has() {
        let start = Start { mark: mark(5, 1), membership: of(3), served: false };
        let journal = [state(1), Record::Reset(start), entry(6, 1)];
        assert_eq!(folded(&journal, Mark::ZERO), (mark(5, 1), vec![1], 1, false));
        assert_eq!(folded(&journal, mark(6, 1)), (mark(5, 1), vec![1], 1, false), "a state came later");
    }

    #[test]
    fn the_membership_is_the_founders_or_the_start_s_or_an_entry_s() {
        let membership = |records: &[Record], applied| {
            let log = fold(records.to_vec(), applied, &of(3)).log;
            (log.membership_index().0, log.membership().voters.len())
        };
        let changed = Record::Entry(Entry { mark: mark(2, 1), payload: Payload::Membership(of(5)) });
        let start = |nodes| Start { mark: mark(2, 1), membership: of(nodes), served: true };
        assert_eq!(membership(&[state(1), entry(1, 1)], Mark::ZERO), (0, 3));
        let journal = [state(1), entry(1, 1), changed, entry(3, 1)];
        assert_eq!(membership(&journal, Mark::ZERO), (2, 5));
        assert_eq!(membership(&[&journal[..], &[entry(2, 1)]].concat(), Mark::ZERO), (0, 3), "replaced");
        let journal = [&journal[..], &[Record::Compacted(start(5))]].concat();
        assert_eq!(membership(&journal, mark(2, 1)), (2, 5));
        assert_eq!(membership(&[state(1), Record::Reset(start(4)), entry(3, 1)], mark(2, 1)), (2, 4));
        let installing = Record::Installing { mark: mark(9, 1), membership: of(7) };
        let journal = [&journal[..], &[installing]].concat();
        assert_eq!(membership(&journal, mark(2, 1)), (2, 5), "it was not installed");
        assert_eq!(membership(&journal, mark(9, 1)), (9, 7), "it was, and what tells so was lost");
    }
}

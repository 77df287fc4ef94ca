//! A server's history: the part of it that is in memory, which is everything behind the mark up to
//! which the service's durable state includes it. It knows how much of it is durable, for nothing may
//! be acknowledged before, and who takes part as of each of its entries.
//!
//! Invariants:
//! - Indices have no gaps; epochs never fall along the history.
//! - An index is durable if the write that holds *its present entry* is; a write whose entries were
//!   cut off since vouches only for those that remain.
//! - Of the memberships only the last can be uncommitted: a leader proposes one at a time.

use std::collections::VecDeque;

use contract::{Entry, Epoch, Index, Mark, Membership, Payload, Token};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    start: Mark,
    entries: VecDeque<Entry>,
    durable: Index,
    /// Writes under way, oldest first, and up to where each will make the log durable.
    writes: VecDeque<(Token, Index)>,
    /// Who takes part from which index on, oldest first; the first holds as of the start.
    memberships: Vec<(Index, Membership)>,
}

impl Log {
    /// What a journal held: all of it is durable.
    pub(super) fn recovered(start: Mark, membership: Membership, entries: Vec<Entry>) -> Self {
        let durable = Index(start.index.0 + entries.len() as u64);
        let memberships = vec![(start.index, membership)];
        let mut log = Self { start, entries: VecDeque::new(), durable, writes: VecDeque::new(), memberships };
        for entry in entries {
            log.add(entry);
        }
        log
    }

    /// The mark behind which the entries begin.
    pub(super) fn start(&self) -> Mark {
        self.start
    }

    pub(super) fn last(&self) -> Mark {
        self.entries.back().map_or(self.start, |entry| entry.mark)
    }

    /// Up to where the log would survive a crash.
    pub(super) fn durable(&self) -> Index {
        self.durable
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn place(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.start.index.0 + 1).map(|place| place as usize)
    }

    /// The epoch at an index; `None` before the start and behind the last entry.
    fn epoch_at(&self, index: Index) -> Option<Epoch> {
        match self.place(index) {
            Some(place) => self.entries.get(place).map(|entry| entry.mark.epoch),
            None => (index == self.start.index).then_some(self.start.epoch),
        }
    }

    /// The mark at an index that the log holds.
    pub(super) fn mark_at(&self, index: Index) -> Mark {
        let epoch = self.epoch_at(index).expect("the log holds the index");
        Mark { epoch, index }
    }

    /// Whether the log holds the transaction of a mark, and with it all before.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.epoch_at(mark.index) == Some(mark.epoch)
    }

    /// Where a history that ends in `last` leaves this one: the last entry here that is in both. The
    /// module documentation argues why that is the last one whose epoch and index are both no higher.
    /// `None`: before the start.
    pub(super) fn agreement(&self, last: Mark) -> Option<Mark> {
        if last.index < self.start.index || last.epoch < self.start.epoch {
            return None;
        }
        let below = self.entries.partition_point(|entry| entry.mark.epoch <= last.epoch);
        let agreed = below.min((last.index.0 - self.start.index.0) as usize);
        Some(agreed.checked_sub(1).map_or(self.start, |place| self.entries[place].mark))
    }

    /// The entries behind `after` up to `to`.
    pub(super) fn between(&self, after: Index, to: Index) -> Vec<Entry> {
        assert!(after >= self.start.index, "what left the log is not there: {after} is before its start");
        assert!(after <= to && to <= self.last().index, "the log holds what is asked for");
        let place = |index: Index| (index.0 - self.start.index.0) as usize;
        self.entries.range(place(after)..place(to)).cloned().collect()
    }

    fn add(&mut self, entry: Entry) {
        assert_eq!(entry.mark.index, self.last().index.next(), "a log has no gaps");
        assert!(entry.mark.epoch >= self.last().epoch, "epochs never fall along a log");
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.push((entry.mark.index, membership.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Adds an entry behind the last one; `token` is its write.
    pub(super) fn append(&mut self, entry: Entry, token: Token) {
        let index = entry.mark.index;
        self.add(entry);
        match self.writes.back_mut() {
            Some((last, covers)) if *last == token => *covers = index,
            back => {
                assert!(back.is_none_or(|(last, _)| *last < token), "writes are issued in order");
                self.writes.push_back((token, index));
            }
        }
    }

    /// Cuts off everything behind `last`.
    pub(super) fn truncate(&mut self, last: Index) {
        assert!(last >= self.start.index, "what left the log is committed and cannot be cut off");
        assert!(last < self.last().index, "a truncation removes something");
        self.entries.truncate((last.0 - self.start.index.0) as usize);
        self.durable = self.durable.min(last);
        for (_, covers) in &mut self.writes {
            *covers = last.min(*covers);
        }
        self.memberships.retain(|(index, _)| *index <= last);
    }

    /// A write became durable, and so did every one before it.
    pub(super) fn on_durable(&mut self, token: Token) {
        while let Some((first, covers)) = self.writes.front().copied()
            && first <= token
        {
            self.durable = self.durable.max(covers);
            self.writes.pop_front();
        }
        assert!(self.durable <= self.last().index, "only entries that exist are durable");
    }

    /// Drops the entries up to `mark`, which the service durably includes.
    pub(super) fn compact(&mut self, mark: Mark) {
        assert!(mark.index > self.start.index, "a compaction removes something");
        assert!(self.holds(mark), "a log is compacted at an entry that it holds");
        let membership = self.membership_at(mark.index).clone();
        self.entries.drain(..(mark.index.0 - self.start.index.0) as usize);
        self.memberships.retain(|(index, _)| *index > mark.index);
        self.memberships.insert(0, (mark.index, membership));
        self.start = mark;
        self.durable = self.durable.max(mark.index);
    }

    /// Becomes empty: a snapshot up to `mark` took the place of all it held.
    pub(super) fn reset(&mut self, mark: Mark, membership: Membership) {
        assert!(mark.index > self.start.index, "a snapshot only ever moves the log forward");
        self.entries.clear();
        self.writes.clear();
        self.memberships = vec![(mark.index, membership)];
        self.start = mark;
        self.durable = mark.index;
    }

    /// Who takes part as of an index that is not before the start.
    pub(super) fn membership_at(&self, index: Index) -> &Membership {
        let known = self.memberships.iter().rfind(|(from, _)| *from <= index);
        &known.expect("one holds as of the start").1
    }

    /// The entry with a membership that is not known to be committed, if there is one.
    pub(super) fn pending_membership(&self, commit: Index) -> Option<Index> {
        self.memberships.last().map(|(from, _)| *from).filter(|from| *from > commit)
    }

    /// The first entry behind `after` with a membership that is not durable.
    pub(super) fn volatile_membership(&self, after: Index) -> Option<Index> {
        let held = self.durable.max(after);
        self.memberships.iter().map(|(from, _)| *from).find(|from| *from > held)
    }

    /// Who takes part, given up to where the log is committed: while a membership is pending, those of
    /// the one before it must agree too.
    pub(super) fn group(&self, commit: Index) -> Membership {
        let Some(pending) = self.pending_membership(commit) else {
            return self.membership_at(commit).clone();
        };
        let (old, new) = (self.membership_at(pending.prev()), self.membership_at(pending));
        let mut learners = &old.learners | &new.learners;
        learners.retain(|node| !old.votes(*node) && !new.votes(*node));
        Membership { outgoing: old.voters.clone(), learners, ..new.clone() }
    }
}

#[cfg(test)]
mod tests {
    use contract::NodeId;

    use super::*;

    fn entry(index: u64, epoch: u64) -> Entry {
        Entry { mark: Mark { epoch: Epoch(epoch), index: Index(index) }, payload: Payload::Noop }
    }

    fn nodes(numbers: &[u16]) -> Membership {
        Membership::of(numbers.iter().copied().map(NodeId::new))
    }

    fn log(epochs: &[u64]) -> Log {
        let entries = epochs.iter().zip(1..).map(|(epoch, index)| entry(index, *epoch)).collect();
        Log::recovered(Mark::ZERO, nodes(&[1, 2, 3]), entries)
    }

    #[test]
    fn a_replaced_entry_is_not_durable_by_its_predecessors_write() {
        let mut log = log(&[1, 1]);
        log.append(entry(3, 1), Token(1));
        log.append(entry(4, 1), Token(2));
        log.truncate(Index(2));
        log.append(entry(3, 2), Token(3));
        log.on_durable(Token(2));
        assert_eq!(
            log.durable(),
            Index(2),
            "the writes of what was cut off tell nothing of what replaced it"
        );
        log.on_durable(Token(3));
        assert_eq!(log.durable(), Index(3));
    }

    #[test]
    fn histories_agree_up_to_the_last_common_epoch() {
        let log = log(&[1, 1, 3, 3, 5]);
        let agreement = |index, epoch| log.agreement(Mark { epoch: Epoch(epoch), index: Index(index) });
        let at = |index| Some(log.mark_at(Index(index)));
        assert_eq!(agreement(5, 5), at(5), "the same history: an empty DIFF");
        assert_eq!(agreement(9, 5), at(5), "a longer one of the same epoch: TRUNC");
        assert_eq!(agreement(4, 4), at(4), "an epoch that is not here, behind all that is");
        assert_eq!(agreement(4, 2), at(2), "all of epoch 3 stands behind an epoch 2 that is not here");
        assert_eq!(agreement(1, 1), at(1), "a prefix: DIFF");
        assert_eq!(agreement(0, 0), Some(Mark::ZERO));
    }

    #[test]
    fn agreement_before_the_start_is_unknown() {
        let mut log = log(&[1, 2, 2]);
        log.compact(log.mark_at(Index(2)));
        assert_eq!(log.agreement(Mark { epoch: Epoch(2), index: Index(1) }), None);
        assert_eq!(log.agreement(Mark { epoch: Epoch(1), index: Index(9) }), None);
        assert_eq!(log.agreement(log.mark_at(Index(2))), Some(log.start()));
    }

    #[test]
    fn a_membership_is_pending_until_it_is_committed_and_gone_when_it_is_cut_off() {
        let mut log = log(&[1]);
        let change = Entry { payload: Payload::Membership(nodes(&[2, 3, 4])), ..entry(2, 1) };
        log.append(change, Token(1));
        let both = Membership { outgoing: nodes(&[1, 2, 3]).voters, ..nodes(&[2, 3, 4]) };
        assert_eq!(log.group(Index(1)), both);
        assert_eq!(log.group(Index(2)), nodes(&[2, 3, 4]));
        assert_eq!(log.volatile_membership(Index(1)), Some(Index(2)));
        log.on_durable(Token(1));
        assert_eq!(log.volatile_membership(Index(1)), None);
        let mut compacted = log.clone();
        compacted.compact(log.mark_at(Index(2)));
        assert_eq!(compacted.group(Index(2)), nodes(&[2, 3, 4]), "it outlives its entry");
        log.truncate(Index(1));
        assert_eq!(log.group(Index(1)), nodes(&[1, 2, 3]));
    }
}

//! The part of the log that is in memory: everything behind the mark up to which the service's
//! durable state includes it (§7). It also knows how much of it is durable, for nothing may be
//! acknowledged before (§5, Fig. 2). And it knows the group's membership, which is what its last entry with
//! one says, committed or not (§6).
//!
//! Invariants:
//! - Indices have no gaps; epochs never fall along the log.
//! - There is always a membership: that of the start, from before the log or from a snapshot.
//! - An index is durable if the write that holds *its present entry* is; a write whose entries were
//!   replaced since vouches only for those that remain.

use std::collections::VecDeque;
use std::sync::Arc;

use contract::{Entry, Epoch, Index, Mark, Membership, NodeId, Payload, Token, WireSize};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    start: Mark,
    entries: VecDeque<Entry>,
    durable: Index,
    /// Writes under way, oldest first, and up to where each will make the log durable.
    writes: VecDeque<(Token, Index)>,
    /// Memberships and from where on they hold; the first is that of the start.
    memberships: Vec<(Index, Arc<Membership>)>,
    /// Whether the next write changes the memberships, and the last one under way that does.
    regroups: bool,
    regrouping: Option<Token>,
}

impl Log {
    /// What a journal held: all of it is durable. `membership` is that of the start.
    pub(super) fn recovered(start: Mark, membership: Arc<Membership>, entries: Vec<Entry>) -> Self {
        let durable = Index(start.index.0 + entries.len() as u64);
        let mut memberships = vec![(start.index, membership)];
        let mut before = start;
        for entry in &entries {
            assert_eq!(entry.mark.index, before.index.next(), "a log has no gaps");
            assert!(entry.mark.epoch >= before.epoch, "epochs never fall along a log");
            note_membership(&mut memberships, entry);
            before = entry.mark;
        }
        Self {
            start,
            entries: entries.into(),
            durable,
            writes: VecDeque::new(),
            memberships,
            regroups: false,
            regrouping: None,
        }
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

    /// Who takes part.
    pub(super) fn membership(&self) -> &Arc<Membership> {
        &self.memberships.last().expect("there is always a membership").1
    }

    /// From where on that holds.
    pub(super) fn membership_index(&self) -> Index {
        self.memberships.last().expect("there is always a membership").0
    }

    /// Who took part as of an index that is not before the start.
    pub(super) fn membership_at(&self, index: Index) -> &Arc<Membership> {
        let held = self.memberships.iter().rfind(|(from, _)| *from <= index);
        &held.expect("what left the log took its membership along").1
    }

    /// Up to where the service may include what is committed up to `commit`. It may be ahead of the journal, and
    /// then a journal that is cut short by a crash must still tell the memberships.
    pub(super) fn servable(&self, commit: Index) -> Index {
        if self.regrouping.is_some() { commit.min(self.durable) } else { commit }
    }

    /// Whether a node votes by the membership as of an index, or by any later one.
    pub(super) fn votes_since(&self, index: Index, node: NodeId) -> bool {
        let later = self.memberships.iter().rposition(|(from, _)| *from <= index).unwrap_or(0);
        self.memberships[later..].iter().any(|(_, membership)| membership.votes(node))
    }

    fn place(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.start.index.0 + 1).map(|place| place as usize)
    }

    /// The epoch at an index; `None` before the start and behind the last entry.
    pub(super) fn epoch_at(&self, index: Index) -> Option<Epoch> {
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

    /// Whether this log agrees with another up to `mark` (the Log Matching Property, §5.3).
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.epoch_at(mark.index) == Some(mark.epoch)
    }

    /// The last place at or before `mark` where a log that ends in `mark` may agree with this one:
    /// epochs never fall, so beyond it all of them are higher. `None`: before the start.
    pub(super) fn agreement(&self, mark: Mark) -> Option<Mark> {
        if mark.index < self.start.index || mark.epoch < self.start.epoch {
            return None;
        }
        let held = self.entries.len().min((mark.index.0 - self.start.index.0) as usize);
        let (mut low, mut high) = (0, held);
        while low < high {
            let middle = (low + high) / 2;
            if self.entries[middle].mark.epoch <= mark.epoch {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let agreed = low.checked_sub(1).map_or(self.start, |place| self.entries[place].mark);
        assert!(agreed.index <= mark.index && agreed.epoch <= mark.epoch, "a hint never points ahead");
        Some(agreed)
    }

    /// Up to `most` entries from `from` on, of at most `most_bytes` unless it is a single one; and their bytes.
    pub(super) fn batch(&self, from: Index, most: usize, most_bytes: u64) -> (Vec<Entry>, u64) {
        let place = self.place(from).expect("what left the log cannot be sent");
        assert!(place <= self.entries.len(), "a batch begins at most right behind the last entry");
        let (mut count, mut bytes) = (0, 0);
        for entry in self.entries.range(place..).take(most) {
            let more = entry.wire_size() as u64;
            if count > 0 && bytes + more > most_bytes {
                break;
            }
            (count, bytes) = (count + 1, bytes + more);
        }
        (self.entries.range(place..place + count).cloned().collect(), bytes)
    }

    /// The entries behind `after` up to `to`.
    pub(super) fn between(&self, after: Index, to: Index) -> Vec<Entry> {
        self.range(after, to).cloned().collect()
    }

    /// How many bytes the entries behind `after` up to `to` have on the wire.
    pub(super) fn bytes_between(&self, after: Index, to: Index) -> u64 {
        self.range(after, to).map(|entry| entry.wire_size() as u64).sum()
    }

    fn range(&self, after: Index, to: Index) -> impl Iterator<Item = &Entry> {
        assert!(after >= self.start.index && to <= self.last().index, "the log holds what is committed");
        let place = |index: Index| (index.0 - self.start.index.0) as usize;
        self.entries.range(place(after)..place(to))
    }

    /// Adds an entry behind the last one; `token` is its write.
    pub(super) fn append(&mut self, entry: Entry, token: Token) {
        assert_eq!(entry.mark.index, self.last().index.next(), "a log has no gaps");
        assert!(entry.mark.epoch >= self.last().epoch, "epochs never fall along a log");
        match self.writes.back_mut() {
            Some((last, covers)) if *last == token => *covers = entry.mark.index,
            back => {
                assert!(back.is_none_or(|(last, _)| *last < token), "writes are issued in order");
                self.writes.push_back((token, entry.mark.index));
            }
        }
        self.regroups |= note_membership(&mut self.memberships, &entry);
        if std::mem::take(&mut self.regroups) {
            self.regrouping = Some(token);
        }
        self.entries.push_back(entry);
    }

    /// Cuts off everything behind `last`.
    pub(super) fn truncate(&mut self, last: Index) {
        assert!(last >= self.start.index, "what left the log is committed and cannot be cut off");
        assert!(last < self.last().index, "a truncation removes something");
        self.entries.truncate((last.0 - self.start.index.0) as usize);
        self.durable = self.durable.min(last);
        // Without its entry a membership is none: that before it holds again.
        self.regroups |= self.membership_index() > last;
        self.memberships.retain(|(from, _)| *from <= last);
        for (_, covers) in &mut self.writes {
            *covers = last.min(*covers);
        }
    }

    /// A write became durable, and so did every one before it. Whether the log's durable part grew.
    pub(super) fn on_durable(&mut self, token: Token) -> bool {
        let before = self.durable;
        while let Some((first, covers)) = self.writes.front().copied()
            && first <= token
        {
            self.durable = self.durable.max(covers);
            self.writes.pop_front();
        }
        self.regrouping = self.regrouping.filter(|regrouping| *regrouping > token);
        assert!(self.durable <= self.last().index, "only entries that exist are durable");
        self.durable > before
    }

    /// The write after which all up to `index` is durable; `None`: it is already.
    pub(super) fn write_of(&self, index: Index) -> Option<Token> {
        if index <= self.durable {
            return None;
        }
        let write = self.writes.iter().find(|(_, covers)| *covers >= index);
        Some(write.expect("every entry is durable or being written").0)
    }

    /// Drops the entries up to `mark`, which the service durably includes, or need not.
    pub(super) fn compact(&mut self, mark: Mark) {
        assert!(mark.index > self.start.index, "a compaction removes something");
        assert!(self.holds(mark), "a log is compacted at an entry that it holds");
        self.entries.drain(..(mark.index.0 - self.start.index.0) as usize);
        let outdated = self.memberships.iter().rposition(|(from, _)| *from <= mark.index);
        self.memberships.drain(..outdated.expect("the start has a membership"));
        self.memberships[0].0 = mark.index;
        self.start = mark;
        self.durable = self.durable.max(mark.index);
    }

    /// Becomes empty: a snapshot up to `mark`, as of which the group had that membership, took the place of all
    /// it held.
    pub(super) fn reset(&mut self, mark: Mark, membership: Arc<Membership>) {
        assert!(mark.index > self.start.index, "a snapshot only ever moves the log forward");
        self.entries.clear();
        self.writes.clear();
        (self.regroups, self.regrouping) = (false, None);
        self.memberships = vec![(mark.index, membership)];
        self.start = mark;
        self.durable = mark.index;
    }
}

/// Whether the entry has a membership in it.
fn note_membership(memberships: &mut Vec<(Index, Arc<Membership>)>, entry: &Entry) -> bool {
    let Payload::Membership(membership) = &entry.payload else { return false };
    memberships.push((entry.mark.index, Arc::new(membership.clone())));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nodes: u16) -> Membership {
        Membership::of((1..=nodes).map(NodeId))
    }

    fn entry(index: u64, epoch: u64) -> Entry {
        Entry { mark: Mark { epoch: Epoch(epoch), index: Index(index) }, payload: Payload::Noop }
    }

    fn log(epochs: &[u64]) -> Log {
        let entries = epochs.iter().zip(1..).map(|(epoch, index)| entry(index, *epoch)).collect();
        Log::recovered(Mark::ZERO, Arc::new(of(3)), entries)
    }

    #[test]
    fn a_replaced_entry_is_not_durable_by_its_predecessors_write() {
        let mut log = log(&[1, 1]);
        log.append(entry(3, 1), Token(1));
        log.append(entry(4, 1), Token(2));
        log.truncate(Index(2));
        log.append(entry(3, 2), Token(3));
        assert!(!log.on_durable(Token(2)), "the writes of what was cut off tell nothing of what replaced it");
        assert_eq!(log.write_of(Index(3)), Some(Token(3)));
        assert!(log.on_durable(Token(3)));
        assert_eq!(log.durable(), Index(3));
    }

    #[test]
    fn agreement_skips_terms_that_the_other_log_lacks() {
        let log = log(&[1, 1, 3, 3, 5]);
        let agreement = |index, epoch| log.agreement(Mark { epoch: Epoch(epoch), index: Index(index) });
        assert_eq!(
            agreement(9, 5),
            Some(log.mark_at(Index(5))),
            "a longer log agrees at most up to our last"
        );
        assert_eq!(agreement(5, 4), Some(log.mark_at(Index(4))));
        assert_eq!(agreement(4, 2), Some(log.mark_at(Index(2))), "all of term 3 is skipped");
        assert_eq!(agreement(1, 1), Some(log.mark_at(Index(1))));
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
    fn the_membership_is_what_the_last_entry_says_that_has_one() {
        let mut log = log(&[1]);
        assert_eq!(log.servable(Index(1)), Index(1));
        for (index, nodes) in [(2, 4), (3, 5)] {
            log.append(Entry { payload: Payload::Membership(of(nodes)), ..entry(index, 1) }, Token(index));
        }
        log.append(entry(4, 1), Token(4));
        assert_eq!((**log.membership() == of(5), log.membership_index()), (true, Index(3)));
        log.on_durable(Token(2));
        assert_eq!(
            log.servable(Index(4)),
            Index(2),
            "of the third entry's membership the journal may not tell"
        );
        log.on_durable(Token(4));
        assert_eq!(log.servable(Index(4)), Index(4));
        log.truncate(Index(2));
        assert_eq!((**log.membership() == of(4), log.membership_index()), (true, Index(2)));
        assert_eq!(**log.membership_at(Index(1)), of(3));
        log.append(entry(3, 2), Token(5));
        assert_eq!(log.servable(Index(3)), Index(2), "the journal may still tell of the one that is gone");
        log.append(entry(4, 2), Token(6));
        log.on_durable(Token(5));
        assert_eq!(log.servable(Index(4)), Index(4));
        log.compact(log.mark_at(Index(3)));
        assert_eq!((**log.membership() == of(4), log.membership_index()), (true, Index(3)));
        log.reset(Mark { epoch: Epoch(3), index: Index(9) }, Arc::new(of(6)));
        assert_eq!((**log.membership() == of(6), log.membership_index()), (true, Index(9)));
    }

    #[test]
    fn a_batch_keeps_to_its_bounds_and_has_an_entry_in_it() {
        let log = log(&[1, 1, 1]);
        let (one, all) = (entry(1, 1).wire_size() as u64, 3 * entry(1, 1).wire_size() as u64);
        let sizes = |most, bytes| {
            let (entries, sum) = log.batch(Index(1), most, bytes);
            (entries.len(), sum)
        };
        assert_eq!(sizes(9, u64::MAX), (3, all));
        assert_eq!(sizes(2, u64::MAX), (2, 2 * one));
        assert_eq!(sizes(9, all - 1), (2, 2 * one));
        assert_eq!(sizes(9, 1), (1, one), "what is larger than the bound goes alone");
    }
}

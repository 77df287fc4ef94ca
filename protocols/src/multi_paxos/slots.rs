//! The slots of the log that are in memory: all behind the mark up to which the service's durable state
//! includes it. Each holds what this replica last accepted in it, or what it knows to be decided.
//!
//! Invariants:
//! - A slot's ballot never falls, but where the decided value takes the place of another one.
//! - What is known to be decided is never replaced by another value, and stands under a ballot at or above
//!   one in which it was decided: so a proposer may take it for accepted.

use std::collections::VecDeque;

use contract::{Entry, Index, Mark};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    /// The value, under the ballot in which it was accepted, or is known to be decided.
    pub(super) entry: Entry,
    /// Known to be decided.
    pub(super) chosen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slots {
    start: Mark,
    slots: VecDeque<Option<Slot>>,
}

impl Slots {
    pub(super) fn behind(start: Mark) -> Self {
        Self { start, slots: VecDeque::new() }
    }

    /// The mark behind which the slots begin.
    pub(super) fn start(&self) -> Mark {
        self.start
    }

    /// The last slot that holds anything.
    pub(super) fn last(&self) -> Mark {
        self.slots.back().map_or(self.start, |slot| slot.as_ref().expect("the last is not empty").entry.mark)
    }

    fn place(&self, index: Index) -> Option<usize> {
        index.0.checked_sub(self.start.index.0 + 1).map(|place| place as usize)
    }

    /// What a slot holds; nothing at the start and before.
    pub(super) fn get(&self, index: Index) -> Option<&Slot> {
        self.slots.get(self.place(index)?)?.as_ref()
    }

    pub(super) fn is_chosen(&self, index: Index) -> bool {
        index <= self.start.index || self.get(index).is_some_and(|slot| slot.chosen)
    }

    fn put(&mut self, slot: Slot) {
        let place = self.place(slot.entry.mark.index).expect("what left the log is decided, and stays so");
        if self.slots.len() <= place {
            self.slots.resize(place + 1, None);
        }
        self.slots[place] = Some(slot);
    }

    /// Accepts a value in the ballot that it carries.
    pub(super) fn accept(&mut self, entry: Entry) {
        let mut chosen = false;
        if let Some(held) = self.get(entry.mark.index) {
            assert!(!held.chosen || held.entry.payload == entry.payload, "a decision is final");
            assert!(held.entry.mark.epoch <= entry.mark.epoch, "nothing is accepted below what was accepted");
            chosen = held.chosen;
        }
        self.put(Slot { entry, chosen });
    }

    /// Notes that what a slot holds is decided.
    pub(super) fn choose(&mut self, index: Index) {
        let place = self.place(index).expect("it is in memory");
        self.slots[place].as_mut().expect("only a value is decided").chosen = true;
    }

    /// Takes in a value that is known to be decided. Whether that has to be written: not if it was accepted
    /// in that ballot or a higher one, for then it is the same value (Paxos Made Simple, §2.2, P2).
    pub(super) fn learn(&mut self, entry: Entry) -> bool {
        let held = self.get(entry.mark.index);
        if held.is_some_and(|held| held.entry.mark.epoch >= entry.mark.epoch || held.chosen) {
            assert_eq!(held.map(|held| &held.entry.payload), Some(&entry.payload), "a decision is final");
            self.choose(entry.mark.index);
            return false;
        }
        self.put(Slot { entry, chosen: true });
        true
    }

    /// What slots from `from` on hold, in their order.
    pub(super) fn from(&self, from: Index) -> impl Iterator<Item = &Slot> {
        let place = self.place(from).unwrap_or(0).min(self.slots.len());
        self.slots.range(place..).flatten()
    }

    /// The entries behind `after` up to `to`, which are all there.
    pub(super) fn between(&self, after: Index, to: Index) -> Vec<Entry> {
        assert!(after >= self.start.index && after <= to, "what left the log is in the service");
        let entries: Vec<Entry> =
            self.from(after.next()).map(|slot| slot.entry.clone()).take((to.0 - after.0) as usize).collect();
        assert_eq!(entries.len() as u64, to.0 - after.0, "nothing is missing among what is decided");
        assert!(entries.last().is_none_or(|last| last.mark.index == to), "in the order of the slots");
        entries
    }

    /// Drops what stands up to `mark`, which the service durably includes.
    pub(super) fn begin_behind(&mut self, mark: Mark) {
        assert!(mark.index > self.start.index, "a log's start only moves forward");
        let dropped = ((mark.index.0 - self.start.index.0) as usize).min(self.slots.len());
        self.slots.drain(..dropped);
        while self.slots.back().is_some_and(Option::is_none) {
            self.slots.pop_back();
        }
        self.start = mark;
    }
}

#[cfg(test)]
mod tests {
    use contract::{Epoch, Payload};

    use super::*;

    fn entry(index: u64, epoch: u64, value: &str) -> Entry {
        let command = contract::Command { proposed_at: contract::Time::ZERO, data: value.into() };
        Entry { mark: Mark { epoch: Epoch(epoch), index: Index(index) }, payload: Payload::Command(command) }
    }

    #[test]
    fn slots_may_be_filled_in_any_order() {
        let mut slots = Slots::behind(Mark::ZERO);
        slots.accept(entry(3, 1, "c"));
        slots.accept(entry(1, 1, "a"));
        assert_eq!(slots.last(), Mark { epoch: Epoch(1), index: Index(3) });
        assert_eq!(slots.from(Index(2)).count(), 1, "the second is a hole");
        slots.accept(entry(2, 2, "b"));
        assert_eq!(slots.between(Index(1), Index(3)).len(), 2);
    }

    #[test]
    fn what_stands_behind_a_snapshot_stays() {
        let mut slots = Slots::behind(Mark::ZERO);
        slots.accept(entry(2, 1, "b"));
        slots.accept(entry(5, 1, "e"));
        let mark = |index| Mark { epoch: Epoch(1), index: Index(index) };
        slots.begin_behind(mark(3));
        assert!(slots.is_chosen(Index(2)) && slots.get(Index(2)).is_none());
        assert_eq!(slots.get(Index(5)).map(|slot| slot.entry.mark), Some(mark(5)));
        slots.begin_behind(mark(9));
        assert_eq!(slots.last(), mark(9));
        slots.accept(entry(10, 1, "j"));
        assert_eq!(slots.last(), mark(10));
    }

    #[test]
    fn a_decided_value_takes_the_place_of_an_accepted_one() {
        let mut slots = Slots::behind(Mark::ZERO);
        slots.accept(entry(1, 2, "x"));
        assert!(slots.learn(entry(1, 3, "a")), "another value has to be written");
        assert!(slots.is_chosen(Index(1)));
        slots.accept(entry(2, 3, "b"));
        assert!(!slots.learn(entry(2, 2, "b")), "the value is there already");
        assert_eq!(slots.get(Index(2)).map(|slot| slot.entry.mark.epoch), Some(Epoch(3)));
        slots.accept(entry(3, 1, "c"));
        assert!(slots.learn(entry(3, 2, "c")), "below its ballot another value may have been accepted");
    }

    #[test]
    #[should_panic(expected = "a decision is final")]
    fn a_decision_is_not_taken_back() {
        let mut slots = Slots::behind(Mark::ZERO);
        slots.learn(entry(1, 1, "a"));
        slots.learn(entry(1, 2, "b"));
    }
}

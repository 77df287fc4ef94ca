//! The one queue: whatever happens later in a world waits here.
//!
//! Events are ordered by time, then by a tie-break drawn from the seed, then by the order in which
//! they were put in. An event is 24 bytes and refers to its payload by a [`Ticket`].

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use contract::Time;

use crate::slab::Ticket;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Topic {
    Message,
    Timer,
    Sleep,
    Disk,
    Control,
    /// A stream's segment.
    Stream,
    /// An endpoint's gate opens; the ticket's slot is the endpoint.
    Gate,
    /// A step of a fault that takes several.
    Step,
}

impl Topic {
    const ALL: [Self; 8] = [
        Self::Message,
        Self::Timer,
        Self::Sleep,
        Self::Disk,
        Self::Control,
        Self::Stream,
        Self::Gate,
        Self::Step,
    ];
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64,
    /// Tie-break above, sequence number below. A sequence number that wraps only changes the order
    /// of events whose time and tie-break are equal.
    order: u64,
    /// Slot in the upper half, then 29 bits of generation and 3 of topic.
    what: u64,
}

impl Entry {
    #[inline]
    fn key(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.order)
    }
}

/// Reversed: the earliest entry is the greatest, as the heap wants it.
impl Ord for Entry {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u32,
}

impl Queue {
    #[inline]
    pub(crate) fn push(&mut self, time: Time, tie: u32, topic: Topic, ticket: Ticket) {
        self.sequence = self.sequence.wrapping_add(1);
        let order = u64::from(tie) << 32 | u64::from(self.sequence);
        let what = u64::from(ticket.slot) << 32 | u64::from(ticket.generation) << 3 | topic as u64;
        self.heap.push(Entry { time: time.0, order, what });
    }

    /// Takes the first event if it is due by `until`.
    #[inline]
    pub(crate) fn pop(&mut self, until: Time) -> Option<(Time, Topic, Ticket)> {
        if self.heap.peek()?.time > until.0 {
            return None;
        }
        let entry = self.heap.pop()?;
        let generation = (entry.what >> 3) as u32 & Ticket::GENERATION_MASK;
        let ticket = Ticket { slot: (entry.what >> 32) as u32, generation };
        Some((Time(entry.time), Topic::ALL[(entry.what & 7) as usize], ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_then_tie_then_sequence() {
        let mut queue = Queue::default();
        let ticket = |slot| Ticket { slot, generation: Ticket::GENERATION_MASK - slot };
        for (slot, (time, tie)) in [(5, 0), (3, 9), (3, 1), (3, 1), (4, 7)].into_iter().enumerate() {
            queue.push(Time(time), tie, Topic::ALL[slot], ticket(slot as u32));
        }
        let mut popped = Vec::new();
        while let Some((time, topic, found)) = queue.pop(Time(4)) {
            assert_eq!((topic, found), (Topic::ALL[found.slot as usize], ticket(found.slot)));
            popped.push((time.0, found.slot));
        }
        assert_eq!(popped, [(3, 2), (3, 3), (3, 1), (4, 4)]);
        assert!(queue.pop(Time::FAR).is_some() && queue.pop(Time::FAR).is_none());
    }
}

//! The one queue: whatever happens later in a world waits here.
//!
//! Events are ordered by time, then by a tie-break drawn from the seed, then by the order in which
//! they were put in. An event is 24 bytes and refers to its payload by a [`Ticket`].

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
}

impl Topic {
    const ALL: [Self; 5] = [Self::Message, Self::Timer, Self::Sleep, Self::Disk, Self::Control];
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

/// A heap of four children per entry: half as deep as a binary one, and the four lie together.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: Vec<Entry>,
    sequence: u32,
}

const CHILDREN: usize = 4;

impl Queue {
    #[inline]
    pub(crate) fn push(&mut self, time: Time, tie: u32, topic: Topic, ticket: Ticket) {
        self.sequence = self.sequence.wrapping_add(1);
        let order = u64::from(tie) << 32 | u64::from(self.sequence);
        let what = u64::from(ticket.slot) << 32 | u64::from(ticket.generation) << 3 | topic as u64;
        let entry = Entry { time: time.0, order, what };
        self.heap.push(entry);
        self.rise(self.heap.len() - 1, entry);
    }

    /// Takes the first event if it is due by `until`.
    #[inline]
    pub(crate) fn pop(&mut self, until: Time) -> Option<(Time, Topic, Ticket)> {
        let entry = *self.heap.first().filter(|entry| entry.time <= until.0)?;
        self.remove_first();
        let generation = (entry.what >> 3) as u32 & Ticket::GENERATION_MASK;
        let ticket = Ticket { slot: (entry.what >> 32) as u32, generation };
        Some((Time(entry.time), Topic::ALL[(entry.what & 7) as usize], ticket))
    }

    /// Moves the hole at the top down to the bottom, where the last entry most often belongs.
    fn remove_first(&mut self) {
        let last = self.heap.pop().expect("the heap has a first entry");
        if self.heap.is_empty() {
            return;
        }
        let mut hole = 0;
        loop {
            let first = hole * CHILDREN + 1;
            let least = match self.heap.get(first..) {
                None | Some([]) => break,
                Some([a, b, c, d, ..]) => {
                    let left = usize::from(b.key() < a.key());
                    let right = 2 + usize::from(d.key() < c.key());
                    let (l, r) = (self.heap[first + left].key(), self.heap[first + right].key());
                    first + if r < l { right } else { left }
                }
                Some(few) => {
                    let least = few.iter().enumerate().min_by_key(|(_, entry)| entry.key());
                    first + least.expect("there are a few").0
                }
            };
            self.heap[hole] = self.heap[least];
            hole = least;
        }
        self.rise(hole, last);
    }

    /// Puts an entry where the hole is, or above.
    #[inline]
    fn rise(&mut self, mut hole: usize, entry: Entry) {
        while hole > 0 {
            let parent = (hole - 1) / CHILDREN;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.heap[hole] = self.heap[parent];
            hole = parent;
        }
        self.heap[hole] = entry;
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

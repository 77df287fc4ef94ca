//! Values under small reusable numbers, for what the queue's events refer to.

/// A place in a [`Slab`], good for one stay of one value. It packs into 61 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    /// How often the slot was emptied, modulo 2^29.
    pub(crate) generation: u32,
}

impl Ticket {
    pub(crate) const GENERATION_MASK: u32 = (1 << 29) - 1;
}

/// Values by [`Ticket`]. A ticket of a value that is gone finds nothing.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Ticket {
        self.insert_with(|_| value)
    }

    /// Puts in a value that knows its own ticket.
    #[inline]
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(Ticket) -> T) -> Ticket {
        if let Some(slot) = self.free.pop() {
            let (generation, place) = &mut self.slots[slot as usize];
            let ticket = Ticket { slot, generation: *generation };
            *place = Some(value(ticket));
            return ticket;
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 values are alive at once");
        let ticket = Ticket { slot, generation: 0 };
        self.slots.push((0, Some(value(ticket))));
        ticket
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(ticket.slot as usize)?;
        if *generation == ticket.generation { value.as_mut() } else { None }
    }

    #[inline]
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let (generation, value) = self.slots.get_mut(ticket.slot as usize)?;
        if *generation != ticket.generation {
            return None;
        }
        let value = value.take()?;
        *generation = (*generation + 1) & Ticket::GENERATION_MASK;
        self.free.push(ticket.slot);
        Some(value)
    }

    /// All values, in order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|(_, value)| value.as_ref())
    }

    /// All values with their tickets, in order of their slots, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Ticket, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, (generation, value))| {
            let ticket = Ticket { slot: slot as u32, generation: *generation };
            value.as_mut().map(|value| (ticket, value))
        })
    }

    /// Takes out all values that `which` picks, in order of their slots.
    pub(crate) fn drain_where(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let picked = |(slot, (generation, value)): (usize, &(u32, Option<T>))| {
            let ticket = Ticket { slot: slot as u32, generation: *generation };
            value.as_ref().filter(|value| which(value)).map(|_| ticket)
        };
        let tickets: Vec<Ticket> = self.slots.iter().enumerate().filter_map(picked).collect();
        tickets.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_outlived_finds_nothing() {
        let mut slab = Slab::default();
        let old = slab.insert('a');
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('b');
        assert_eq!(new.slot, old.slot);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.drain_where(|c| *c == 'b'), ['b']);
        assert_eq!(slab.get_mut(new), None);
    }
}

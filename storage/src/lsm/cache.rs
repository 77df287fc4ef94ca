//! The blocks read last, up to a number of bytes.
//!
//! Each table has those of its blocks that are kept, so that finding one is a look into an array. Eviction is
//! a clock: the hand passes over blocks that were used since it last came by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::counters::Counters;
use super::table::Block;

/// Those blocks of one table that the cache has.
pub(super) struct Slots(Rc<[Cell<Option<Rc<Block>>>]>);

impl Slots {
    /// Those of a table of so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self((0..blocks).map(|_| Cell::new(None)).collect())
    }

    fn get(&self, block: usize) -> Option<Rc<Block>> {
        let slot = &self.0[block];
        let content = slot.take();
        slot.set(content.clone());
        content
    }
}

pub(super) struct BlockCache {
    capacity: usize,
    state: RefCell<State>,
    counters: Rc<Counters>,
}

#[derive(Default)]
struct State {
    /// The places that have a block.
    filled: Vec<Place>,
    hand: usize,
    bytes: usize,
}

/// A block of a table. If the table is gone nobody uses the block any more, and it ages out.
struct Place {
    slots: Rc<[Cell<Option<Rc<Block>>>]>,
    block: usize,
}

impl BlockCache {
    pub(super) fn new(capacity: usize, counters: &Rc<Counters>) -> Self {
        Self { capacity, state: RefCell::default(), counters: Rc::clone(counters) }
    }

    pub(super) fn get(&self, slots: &Slots, block: usize) -> Option<Rc<Block>> {
        let found = slots.get(block);
        self.counters.count(|stats| match &found {
            Some(content) => {
                content.used.set(true);
                stats.cache_hits += 1;
            }
            None => stats.cache_misses += 1,
        });
        found
    }

    pub(super) fn insert(&self, slots: &Slots, block: usize, content: &Rc<Block>) {
        // Somebody else may have read it meanwhile.
        if content.size() > self.capacity || slots.get(block).is_some() {
            return;
        }
        let state = &mut *self.state.borrow_mut();
        state.bytes += content.size();
        while state.bytes > self.capacity {
            state.evict();
        }
        content.used.set(true);
        slots.0[block].set(Some(Rc::clone(content)));
        state.filled.push(Place { slots: Rc::clone(&slots.0), block });
    }
}

impl State {
    /// Lets go of one block.
    fn evict(&mut self) {
        loop {
            self.hand = if self.hand + 1 < self.filled.len() { self.hand + 1 } else { 0 };
            let place = &self.filled[self.hand];
            let slot = &place.slots[place.block];
            let content = slot.take().expect("a place that is filled has a block");
            if content.used.replace(false) {
                slot.set(Some(content));
                continue;
            }
            self.bytes -= content.size();
            self.filled.swap_remove(self.hand);
            return;
        }
    }
}

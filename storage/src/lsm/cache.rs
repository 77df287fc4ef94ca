//! The blocks read last, up to a number of bytes.
//!
//! Each table knows in which frame of the cache each of its blocks is, so that finding one is a look into
//! an array. Eviction is a clock: the hand passes over blocks that were used since it last came by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::counters::Counters;
use super::table::Block;

/// Where the blocks of one table are in the cache: the frame of each, plus one; 0: in none.
pub(super) struct Slots(Rc<[Cell<u32>]>);

impl Slots {
    /// Those of a table of so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self((0..blocks).map(|_| Cell::new(0)).collect())
    }
}

pub(super) struct BlockCache {
    capacity: usize,
    state: RefCell<State>,
    counters: Rc<Counters>,
}

#[derive(Default)]
struct State {
    frames: Vec<Frame>,
    hand: usize,
    bytes: usize,
}

struct Frame {
    /// The table's; it may be gone: then nobody uses the block any more, and it ages out.
    slots: Rc<[Cell<u32>]>,
    block: usize,
    content: Rc<Block>,
    used: Cell<bool>,
}

impl BlockCache {
    pub(super) fn new(capacity: usize, counters: &Rc<Counters>) -> Self {
        Self { capacity, state: RefCell::default(), counters: Rc::clone(counters) }
    }

    pub(super) fn get(&self, slots: &Slots, block: usize) -> Option<Rc<Block>> {
        let found = (slots.0[block].get() as usize).checked_sub(1).map(|frame| {
            let frame = &self.state.borrow().frames[frame];
            assert!(frame.block == block && Rc::ptr_eq(&frame.slots, &slots.0), "a slot leads to its block");
            frame.used.set(true);
            Rc::clone(&frame.content)
        });
        self.counters.count(|stats| match found {
            Some(_) => stats.cache_hits += 1,
            None => stats.cache_misses += 1,
        });
        found
    }

    pub(super) fn insert(&self, slots: &Slots, block: usize, content: &Rc<Block>) {
        let state = &mut *self.state.borrow_mut();
        // Somebody else may have read it meanwhile.
        if content.size() > self.capacity || slots.0[block].get() > 0 {
            return;
        }
        state.bytes += content.size();
        while state.bytes > self.capacity {
            state.evict();
        }
        let (slots, content) = (Rc::clone(&slots.0), Rc::clone(content));
        state.frames.push(Frame { slots, block, content, used: Cell::new(true) });
        let frame = state.frames.last().expect("it was just put there");
        frame.slots[block].set(u32::try_from(state.frames.len()).expect("fewer than 2^32 blocks"));
    }
}

impl State {
    fn evict(&mut self) {
        loop {
            self.hand = if self.hand + 1 < self.frames.len() { self.hand + 1 } else { 0 };
            if !self.frames[self.hand].used.replace(false) {
                break;
            }
        }
        let gone = self.frames.swap_remove(self.hand);
        gone.slots[gone.block].set(0);
        self.bytes -= gone.content.size();
        if let Some(moved) = self.frames.get(self.hand) {
            moved.slots[moved.block].set(self.hand as u32 + 1);
        }
    }
}

//! The blocks read last, up to a number of bytes; the one that was not used for longest goes first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::counters::Counters;
use super::table::Block;

/// Table number and the block's number in it. Table numbers are never used twice, so blocks of
/// removed tables only age out.
type Place = (u64, usize);

pub(super) struct BlockCache {
    capacity: usize,
    state: RefCell<State>,
    counters: Rc<Counters>,
}

#[derive(Default)]
struct State {
    blocks: BTreeMap<Place, (Rc<Block>, u64)>,
    /// Places by the time of their last use, on a clock that ticks at every use.
    uses: BTreeMap<u64, Place>,
    clock: u64,
    bytes: usize,
}

impl BlockCache {
    pub(super) fn new(capacity: usize, counters: &Rc<Counters>) -> Self {
        Self { capacity, state: RefCell::default(), counters: Rc::clone(counters) }
    }

    pub(super) fn get(&self, table: u64, block: usize) -> Option<Rc<Block>> {
        let found = self.find(table, block);
        self.counters.count(|stats| match found {
            Some(_) => stats.cache_hits += 1,
            None => stats.cache_misses += 1,
        });
        found
    }

    fn find(&self, table: u64, block: usize) -> Option<Rc<Block>> {
        let state = &mut *self.state.borrow_mut();
        let (cached, used) = state.blocks.get_mut(&(table, block))?;
        state.uses.remove(used);
        state.clock += 1;
        *used = state.clock;
        state.uses.insert(state.clock, (table, block));
        Some(Rc::clone(cached))
    }

    pub(super) fn insert(&self, table: u64, block: usize, content: &Rc<Block>) {
        let state = &mut *self.state.borrow_mut();
        if content.size() > self.capacity || state.blocks.contains_key(&(table, block)) {
            return;
        }
        state.clock += 1;
        state.bytes += content.size();
        state.uses.insert(state.clock, (table, block));
        state.blocks.insert((table, block), (Rc::clone(content), state.clock));
        while state.bytes > self.capacity {
            let (_, oldest) = state.uses.pop_first().expect("bytes are held by blocks");
            let (evicted, _) = state.blocks.remove(&oldest).expect("every use is of a cached block");
            state.bytes -= evicted.size();
        }
        assert!(state.bytes <= self.capacity, "the cache stays within its size");
        assert_eq!(state.uses.len(), state.blocks.len(), "every cached block was used once");
    }
}

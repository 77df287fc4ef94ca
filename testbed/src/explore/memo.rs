//! What was computed is not computed again. A replica is a function of what it is told, and a node takes
//! few different states, each in very many states of the system: so what comes of an input to a node is
//! looked up, and nodes in the same state are one in memory.
//!
//! Both are known by their 64-bit prints. That two of a million differ and have the same print is less
//! likely than one in ten million.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use contract::Replica;

use super::state::{Outcome, Site};

/// Many small tables, so that threads seldom meet and none is deep.
const SHARDS: usize = 1 << 10;

type Shard<R> = Mutex<BTreeMap<(u64, u64), Arc<Outcome<R>>>>;

/// Outcomes by the prints of the node and of the input, and nodes by their own.
pub(super) struct Memo<R: Replica> {
    outcomes: Vec<Shard<R>>,
    sites: Vec<Mutex<BTreeMap<u64, Arc<Site<R>>>>>,
}

fn shard(key: u64) -> usize {
    key as usize % SHARDS
}

impl<R: Replica> Memo<R> {
    pub(super) fn new() -> Self {
        let sites = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { outcomes: (0..SHARDS).map(|_| Mutex::default()).collect(), sites }
    }

    /// The outcome of an input to a node. It is computed outside the lock: what two threads compute at
    /// once is the same.
    pub(super) fn outcome(&self, key: (u64, u64), compute: impl FnOnce() -> Outcome<R>) -> Arc<Outcome<R>> {
        let shard = &self.outcomes[shard(key.0 ^ key.1.rotate_left(32))];
        let known = shard.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let outcome = Arc::new(compute());
            shard.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&outcome));
            outcome
        })
    }

    /// The one node of its kind.
    pub(super) fn site(&self, site: Site<R>) -> Arc<Site<R>> {
        let mut shard = self.sites[shard(site.print)].lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shard.entry(site.print).or_insert_with(|| Arc::new(site)))
    }
}

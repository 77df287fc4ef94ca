//! The replicated service on an engine that is a value: the list of the entries that were applied. What
//! a store would hold is what the real service makes of that list.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use contract::engine::Order;
use contract::kv::{Op, Ret};
use contract::{Batch, Bugs, Change, EngineError, Entry, Family, Range, ReadStore, Rejection, Service};
use protocols::KvService;

/// A store in memory, for as long as one answer takes.
#[derive(Default)]
struct Memory(BTreeMap<(Family, Vec<u8>), Vec<u8>>);

impl Memory {
    fn write(&mut self, batch: Batch) {
        for change in batch.changes {
            match change {
                Change::Put { family, key, value } => drop(self.0.insert((family, key), value)),
                Change::Delete { family, key } => drop(self.0.remove(&(family, key))),
                Change::DeleteRange { family, from, to } => {
                    self.0.retain(|(of, key), _| {
                        *of != family || *key < from || to.as_ref().is_some_and(|to| key >= to)
                    });
                }
            }
        }
    }
}

impl ReadStore for Memory {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(&(family, key.to_vec())).cloned())
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        let holds = |key: &[u8]| key >= range.from && range.to.is_none_or(|to| key < to);
        let held = self.0.iter().filter(|((family, key), _)| *family == range.family && holds(key));
        let mut held: Vec<_> = held.map(|((_, key), value)| (key, value)).collect();
        if range.order == Order::Descending {
            held.reverse();
        }
        held.truncate(limit);
        held.iter().for_each(|(key, value)| pair(key, value));
        Ok(held.len())
    }
}

/// What a service answers that waits for nothing.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a service on a store in memory waits for nothing"),
    }
}

fn replay(entries: &[Entry], bugs: Bugs) -> (Memory, Option<Result<Ret, Rejection>>) {
    let (mut service, mut store, mut answer) = (KvService { bugs }, Memory::default(), None);
    for entry in entries {
        let mut batch = Batch::default();
        let applied = at_once(service.apply(entry, &store, &mut batch));
        answer = Some(applied.expect("a store in memory does not fail"));
        store.write(batch);
    }
    (store, answer)
}

/// The answer to the last of the entries.
pub(super) fn answer(entries: &[Entry], bugs: Bugs) -> Result<Ret, Rejection> {
    replay(entries, bugs).1.expect("an entry was applied")
}

/// The answer to a read.
pub(super) fn query(op: &Op, entries: &[Entry], bugs: Bugs) -> Ret {
    let (store, _) = replay(entries, bugs);
    at_once(KvService { bugs }.query(op, &store)).expect("a store in memory does not fail")
}

//! What an engine must be: a sorted map per family. Every suite compares with this one.

use std::collections::BTreeMap;

use contract::{Batch, Change, Engine, Family, Order, Pair, Range, ReadStore};

/// The families that the suites use: the first two, and the last.
pub(crate) const FAMILIES: [Family; 3] = [Family(0), Family(1), Family(u8::MAX)];

/// A range that owns its ends.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRange {
    pub(crate) family: Family,
    pub(crate) from: Vec<u8>,
    pub(crate) to: Option<Vec<u8>>,
    pub(crate) order: Order,
}

impl OwnedRange {
    pub(crate) fn range(&self) -> Range<'_> {
        Range { family: self.family, from: &self.from, to: self.to.as_deref(), order: self.order }
    }
}

/// A store as sorted maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(BTreeMap<(Family, Vec<u8>), Vec<u8>>);

fn holds(range: &Range<'_>, family: Family, key: &[u8]) -> bool {
    family == range.family && range.from <= key && range.to.is_none_or(|to| key < to)
}

impl Model {
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for change in batch.changes.iter().cloned() {
            match change {
                Change::Put { family, key, value } => {
                    self.0.insert((family, key), value);
                }
                Change::Delete { family, key } => {
                    self.0.remove(&(family, key));
                }
                Change::DeleteRange { family, from, to } => {
                    let range = Range { family, from: &from, to: to.as_deref(), ..Range::all() };
                    self.0.retain(|(family, key), _| !holds(&range, *family, key));
                }
            }
        }
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(family, key.to_vec())).cloned()
    }

    pub(crate) fn scan(&self, range: Range<'_>, limit: usize) -> Vec<Pair> {
        let inside = self.0.iter().filter(|((family, key), _)| holds(&range, *family, key));
        let mut pairs: Vec<_> = inside.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        if range.order == Order::Descending {
            pairs.reverse();
        }
        pairs.truncate(limit);
        pairs
    }

    /// The first difference to all that a store holds, read in both directions; `None` if there is none.
    pub(crate) async fn difference(&self, store: &impl ReadStore) -> Option<String> {
        for range in FAMILIES.map(|family| Range::all().of(family)) {
            for range in [range, range.descending()] {
                let (expected, found) = (self.scan(range, usize::MAX), store.scan(range, usize::MAX).await);
                if found.as_ref() != Ok(&expected) {
                    return Some(format!("{range:?}: {found:?}\ninstead of {expected:?}"));
                }
            }
        }
        None
    }
}

/// Steps of maintenance until there is nothing left to do.
pub(crate) async fn settle<E: Engine>(engine: &E) -> u32 {
    let mut steps = 0;
    while engine.maintain().await.expect("maintains") {
        steps += 1;
        assert!(steps < 10_000, "maintenance goes on for ever");
    }
    assert!(!engine.needs_maintenance(), "maintenance says that it is done");
    steps
}

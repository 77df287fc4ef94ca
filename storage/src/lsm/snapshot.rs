//! The content at one moment. A snapshot shares the memtables and the version that hold it, so it
//! costs a few reference counts; files are not removed while a version that names them is shared.

use std::rc::Rc;

use contract::{EngineError, Family, Fs, Order, Pair, Range, ReadStore};

use super::cache::BlockCache;
use super::inner_key;
use super::memtable::Memtable;
use super::merge::{Blocks, Merge, Source};
use super::version::Version;

/// The content of an [`super::Lsm`] at one moment.
pub struct LsmSnapshot<F: Fs> {
    seq: u64,
    active: Rc<Memtable>,
    /// Oldest first. Nothing is written to them any more.
    full: Vec<Rc<Memtable>>,
    version: Rc<Version<F>>,
    cache: Rc<BlockCache>,
}

impl<F: Fs> Drop for LsmSnapshot<F> {
    fn drop(&mut self) {
        self.active.unpin(self.seq);
    }
}

impl<F: Fs> LsmSnapshot<F> {
    pub(super) fn new(
        seq: u64,
        active: Rc<Memtable>,
        full: Vec<Rc<Memtable>>,
        version: Rc<Version<F>>,
        cache: Rc<BlockCache>,
    ) -> Self {
        assert!(full.iter().all(|table| table.last_seq() <= seq), "a snapshot has all of what is full");
        active.pin(seq);
        Self { seq, active, full, version, cache }
    }

    fn sources(&self) -> Vec<Source<F>> {
        let memory = [&self.active].into_iter().chain(self.full.iter().rev());
        let mut sources: Vec<_> = memory.map(|table| Source::memory(Rc::clone(table), self.seq)).collect();
        let blocks = || Blocks::Cached(Rc::clone(&self.cache));
        let levels = self.version.levels();
        sources.extend(levels[0].iter().rev().map(|table| Source::tables(vec![Rc::clone(table)], blocks())));
        let deeper = levels[1..].iter().filter(|level| !level.is_empty());
        sources.extend(deeper.map(|level| Source::tables(level.clone(), blocks())));
        sources
    }
}

impl<F: Fs> ReadStore for LsmSnapshot<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let key = &inner_key(family, key)[..];
        let mut memory = [&self.active].into_iter().chain(self.full.iter().rev());
        if let Some(found) = memory.find_map(|table| table.get_at(key, self.seq)) {
            return Ok(found);
        }
        self.version.get(key, &self.cache).await
    }

    async fn scan(&self, range: Range<'_>, limit: usize) -> Result<Vec<Pair>, EngineError> {
        if range.order == Order::Descending {
            let mut pairs =
                Box::pin(self.scan(Range { order: Order::Ascending, ..range }, usize::MAX)).await?;
            pairs.reverse();
            pairs.truncate(limit);
            return Ok(pairs);
        }
        let mut pairs = Vec::new();
        if limit == 0 {
            return Ok(pairs);
        }
        let mut merge = Merge::new(self.sources(), &inner_key(range.family, range.from)).await?;
        while let Some((key, value)) = merge.current() {
            let (&family, key) = key.split_first().expect("a key stands behind its family");
            if family != range.family.0 || range.to.is_some_and(|to| key >= to) {
                break;
            }
            if let Some(value) = value {
                pairs.push((key.to_vec(), value.to_vec()));
                if pairs.len() == limit {
                    break;
                }
            }
            merge.advance().await?;
        }
        assert!(pairs.len() <= limit, "a scan stops at its limit");
        Ok(pairs)
    }
}

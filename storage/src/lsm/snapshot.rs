//! The content at one moment. A snapshot shares the memtables and the version that hold it, so it
//! costs a few reference counts; files are not removed while a version that names them is shared.

use std::rc::Rc;

use contract::{EngineError, Family, Fs, Order, Range, ReadStore};

use super::cache::BlockCache;
use super::memtable::View;
use super::merge::Merge;
use super::source::{Blocks, Source};
use super::version::Version;
use crate::batch;

/// The content of an [`super::Lsm`] at one moment.
pub struct LsmSnapshot<F: Fs> {
    /// Newest first.
    memory: Vec<Rc<View>>,
    version: Rc<Version<F>>,
    cache: Rc<BlockCache>,
}

impl<F: Fs> LsmSnapshot<F> {
    /// A snapshot of memtables, newest first, and of the tables behind them.
    pub(super) fn new(memory: Vec<Rc<View>>, version: Rc<Version<F>>, cache: Rc<BlockCache>) -> Self {
        assert!(memory.iter().all(|view| view.seq() == memory[0].seq()), "a snapshot is of one moment");
        Self { memory, version, cache }
    }

    pub(super) fn memory(&self) -> &[Rc<View>] {
        &self.memory
    }

    pub(super) fn version(&self) -> &Version<F> {
        &self.version
    }

    fn sources(&self, order: Order) -> Vec<Source<F>> {
        let memory = self.memory.iter();
        let mut sources: Vec<_> = memory.map(|view| Source::memory(Rc::clone(view), order)).collect();
        let cached = || Blocks::Cached(Rc::clone(&self.cache));
        let runs = self.version.runs().iter();
        sources.extend(runs.map(|run| Source::tables(Rc::clone(run), cached(), order)));
        sources
    }
}

impl<F: Fs> ReadStore for LsmSnapshot<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let key = &batch::inner(family, key)[..];
        if let Some(found) = self.memory.iter().find_map(|view| view.get(key)) {
            return Ok(found);
        }
        self.version.get(key, &self.cache).await
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        let (from, to) = batch::inner_range(range.family, range.from, range.to);
        if limit == 0 || from >= to {
            return Ok(0);
        }
        let mut count = 0;
        let bound = if range.order == Order::Ascending { &from } else { &to };
        let mut merge = Merge::new(self.sources(range.order), bound, range.order).await?;
        while let Some((key, value)) = merge.current() {
            let inside = match range.order {
                Order::Ascending => key < to.as_slice(),
                Order::Descending => key >= from.as_slice(),
            };
            if !inside {
                break;
            }
            if let Some(value) = value {
                pair(batch::outer(range.family, key), value);
                count += 1;
                if count == limit {
                    break;
                }
            }
            merge.advance().await?;
        }
        Ok(count)
    }
}

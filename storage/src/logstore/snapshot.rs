//! The content at one moment: the index of that moment. Its places keep the segments they are in.

use std::rc::Rc;

use contract::{EngineError, Family, Fs, Range, ReadStore};

use super::LogStore;
use super::index::Index;
use crate::batch;

/// The content of a [`LogStore`] at one moment. While one lives, the next write copies the index.
pub struct LogStoreSnapshot<F: Fs> {
    store: LogStore<F>,
    index: Rc<Index<F>>,
}

impl<F: Fs> LogStoreSnapshot<F> {
    pub(super) fn new(store: LogStore<F>, index: Rc<Index<F>>) -> Self {
        Self { store, index }
    }
}

impl<F: Fs> ReadStore for LogStoreSnapshot<F> {
    async fn get_in(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.index.get(&batch::inner(family, key)) {
            Some(place) => self.store.read(&place).await.map(Some),
            None => Ok(None),
        }
    }

    async fn visit(
        &self,
        range: Range<'_>,
        limit: usize,
        pair: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, EngineError> {
        self.store.read_pairs(self.index.scan(range, limit), pair).await
    }
}

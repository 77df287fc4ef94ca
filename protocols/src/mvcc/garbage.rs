//! Collecting versions that nobody reads any more.
//!
//! Once no reader comes below a safepoint, of each key's versions at or below it only the newest can
//! be read, and if that is a deletion, none; marks cannot be read at all. It goes on in bounded steps. A
//! deletion goes only after all that it hides has gone: between two steps, and after a crash, nothing that
//! was deleted is back.

use contract::{EngineError, Family, Pair, Range, ReadStore};
use serde::{Deserialize, Serialize};

use super::{CHUNK, DELETED, Timestamp, is_mark, kind, malformed, split_version_key};

/// One pass over the versions in a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageCollection {
    safepoint: Timestamp,
    /// Versions before this one are done.
    next: Vec<u8>,
    /// The key whose newest version at or below the safepoint was met.
    met: Option<Vec<u8>>,
    /// That version, if it is a deletion and what it hides is not gone yet.
    deletion: Option<Pair>,
}

impl GarbageCollection {
    /// A pass that keeps all that a reader at or above the safepoint can see.
    pub fn new(safepoint: Timestamp) -> Self {
        Self { safepoint, next: Vec::new(), met: None, deletion: None }
    }

    /// From here on no reader comes below this safepoint either. What the pass has behind it, another one
    /// has to look at again.
    pub fn raise(&mut self, safepoint: Timestamp) {
        self.safepoint = self.safepoint.max(safepoint);
    }

    /// Looks at a bounded number of versions: those that nobody reads, which the caller removes in one
    /// batch, and whether there are more to look at. The pass moves on at once: who cannot write the batch
    /// goes on with a copy of it from before.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn step(
        &mut self,
        store: &impl ReadStore,
        family: Family,
    ) -> Result<(Vec<Pair>, bool), EngineError> {
        let from = self.next.clone();
        let found = store.scan(Range { family, from: &from, ..Range::all() }, CHUNK).await?;
        let more = found.len() == CHUNK;
        let mut gone = Vec::new();
        for (encoded, value) in found {
            let (key, written) =
                split_version_key(&encoded).ok_or_else(|| malformed("version key is malformed"))?;
            self.next = [&encoded[..], &[0]].concat();
            if self.met.as_ref() != Some(&key) {
                // All that the deletion hid is gone, or goes with the same batch.
                gone.extend(self.deletion.take());
            }
            if written > self.safepoint {
                continue;
            }
            if self.met.as_ref() == Some(&key) || is_mark(&value)? {
                gone.push((encoded, value));
            } else {
                self.met = Some(key);
                self.deletion = (kind(&value)? == DELETED).then_some((encoded, value));
            }
        }
        if !more {
            gone.extend(self.deletion.take());
        }
        assert!(self.next >= from, "a pass goes on in key order");
        assert!(
            gone.iter()
                .all(|(encoded, _)| split_version_key(encoded).is_some_and(|(_, at)| at <= self.safepoint)),
            "what is removed is old"
        );
        Ok((gone, more))
    }
}

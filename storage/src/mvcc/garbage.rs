//! Collecting versions that nobody reads any more.
//!
//! Once no reader comes below a safepoint, of each key's versions at or below it only the newest can
//! be read, and if that is a deletion, none. It goes on in bounded steps. A deletion goes only after
//! all that it hides has gone: between two steps, and after a crash, nothing that was deleted is back.

use contract::{Batch, Durability, Engine, EngineError, Family, Range};

use super::{CHUNK, DELETED, Timestamp, malformed, split_version_key};

/// One pass over the versions in a family.
#[derive(Clone, Debug)]
pub struct GarbageCollection {
    family: Family,
    safepoint: Timestamp,
    /// Versions before this one are done.
    next: Vec<u8>,
    /// The key whose newest version at or below the safepoint was met.
    met: Option<Vec<u8>>,
    /// That version, if it is a deletion and what it hides is not gone yet.
    deletion: Option<Vec<u8>>,
    removed: u64,
}

impl GarbageCollection {
    /// A pass that keeps all that a reader at or above the safepoint can see.
    pub fn new(family: Family, safepoint: Timestamp) -> Self {
        Self { family, safepoint, next: Vec::new(), met: None, deletion: None, removed: 0 }
    }

    /// Versions removed so far.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Looks at a bounded number of versions and removes those that nobody reads, lazily; `true` if
    /// there are more to look at.
    ///
    /// # Errors
    ///
    /// Those of the store; the step can be tried again.
    pub async fn step<E: Engine>(&mut self, store: &E) -> Result<bool, EngineError> {
        let range = Range { family: self.family, from: &self.next, ..Range::all() };
        let found = store.scan(range, CHUNK).await?;
        let more = found.len() == CHUNK;
        // The pass moves on only once its removals are written.
        let mut after = self.clone();
        let mut batch = Batch::default();
        for (encoded, value) in found {
            let (key, written) =
                split_version_key(&encoded).ok_or_else(|| malformed("version key is malformed"))?;
            after.next = [&encoded[..], &[0]].concat();
            if after.met.as_ref() != Some(&key) {
                after.remove_deletion(&mut batch);
            }
            if written > self.safepoint {
                continue;
            }
            if after.met.as_ref() == Some(&key) {
                after.remove(&mut batch, encoded);
            } else {
                after.met = Some(key);
                after.deletion = (value == [DELETED]).then_some(encoded);
            }
        }
        if !more {
            after.remove_deletion(&mut batch);
        }
        assert!(after.next >= self.next, "a pass goes on in key order");
        store.write(batch, Durability::Lazy).await?;
        assert!(after.removed >= self.removed, "what is removed stays removed");
        *self = after;
        Ok(more)
    }

    /// All that the deletion hid is gone, or goes with the same batch.
    fn remove_deletion(&mut self, batch: &mut Batch) {
        if let Some(deletion) = self.deletion.take() {
            self.remove(batch, deletion);
        }
    }

    fn remove(&mut self, batch: &mut Batch, encoded: Vec<u8>) {
        assert!(
            split_version_key(&encoded).is_some_and(|(_, at)| at <= self.safepoint),
            "what is removed is old"
        );
        batch.delete_in(self.family, encoded);
        self.removed += 1;
    }
}

//! Locks that are taken before anything is written, so that a transaction that others keep from writing
//! waits instead of being given up (TiKV's pessimistic transactions).

use contract::{Batch, Bytes, ReadStore};

use crate::mvcc::Timestamp;

use super::layout::{LOCKS, Lock, LockKind};
use super::op::Ret;
use super::view::{Refusal, View};

/// Who locks, and as of when.
pub(super) struct Acquire<'a> {
    pub(super) primary: &'a Bytes,
    pub(super) start: Timestamp,
    pub(super) for_update: Timestamp,
    pub(super) ttl: u64,
}

impl<S: ReadStore> View<'_, S> {
    /// Locks keys, and reads them as of `for_update`: nobody commits to them from then on.
    pub(super) async fn acquire(
        &self,
        keys: &[Bytes],
        by: Acquire<'_>,
        batch: &mut Batch,
    ) -> Result<Ret, Refusal> {
        let mut values = Vec::with_capacity(keys.len());
        let expires = self.moments.clock.saturating_add(by.ttl);
        for key in keys {
            let lock = match self.lock(key).await? {
                Some(lock) if lock.start != by.start => {
                    return Err(Refusal::Answer(Ret::Locked(self.told(key, &lock))));
                }
                Some(lock) => Lock { expires: lock.expires.max(expires), ..lock },
                None => {
                    self.check_absent(key, by.start, by.for_update).await?;
                    Lock {
                        kind: LockKind::Pessimistic,
                        primary: by.primary.clone(),
                        start: by.start,
                        expires,
                        for_update: Timestamp::ZERO,
                        min_commit: by.start.next(),
                        secondaries: None,
                    }
                }
            };
            let for_update = lock.for_update.max(by.for_update);
            batch.put_in(LOCKS, &**key, Lock { for_update, ..lock }.encoded());
            values.push(self.committed(key, by.for_update).await?);
        }
        assert_eq!(values.len(), keys.len(), "each key has its answer");
        Ok(Ret::Values(values))
    }

    /// Lets go what was locked as of `for_update` or before and is not written.
    pub(super) async fn abandon(
        &self,
        keys: &[Bytes],
        start: Timestamp,
        for_update: Timestamp,
        batch: &mut Batch,
    ) -> Result<Ret, Refusal> {
        for key in keys {
            let lock = self.lock(key).await?.filter(|lock| lock.start == start && !lock.is_prewritten());
            if lock.is_some_and(|lock| lock.for_update <= for_update) {
                batch.delete_in(LOCKS, &**key);
            }
        }
        Ok(Ret::Done)
    }
}

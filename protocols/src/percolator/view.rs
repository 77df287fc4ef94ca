//! What a shard reads: locks, records and values, as they stand before a command takes effect.

use contract::{Bug, Bugs, Bytes, EngineError, Range, ReadStore};

use crate::mvcc::{Timestamp, Versions, split_version_key, version_key};

use super::layout::{
    DATA, LOCKS, Lock, LockKind, Moments, WRITES, Write, WriteKind, decode, records_from, start_of,
};
use super::op::{LockInfo, Ret, Span};

/// The state before a command.
pub(super) struct View<'a, S> {
    pub(super) store: &'a S,
    pub(super) bugs: Bugs,
    pub(super) moments: Moments,
}

/// Why an operation changes nothing.
pub(super) enum Refusal {
    /// The client is answered so.
    Answer(Ret),
    /// The store failed.
    Failed(EngineError),
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

/// What became of a transaction at a key on which it has no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed(Timestamp),
    RolledBack,
    /// The key holds no trace of it.
    Unknown,
}

/// A key's records, the newest first, down to when a transaction began.
pub(super) struct Records(Vec<(Timestamp, Write)>);

impl Records {
    /// What became of the transaction that began then.
    pub(super) fn fate(&self, start: Timestamp) -> Fate {
        for (at, write) in &self.0 {
            assert!(*at >= start, "records of a transaction stand at or above its start");
            if write.start == start {
                return if write.is_rollback() { Fate::RolledBack } else { Fate::Committed(*at) };
            }
            if *at == start && write.overlaps_rollback {
                return Fate::RolledBack;
            }
        }
        Fate::Unknown
    }

    /// The last commit, if it came after a timestamp: when its transaction began, and the commit.
    pub(super) fn commit_after(&self, after: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (at, write) = self.0.iter().find(|(_, write)| !write.is_rollback())?;
        (*at > after).then_some((write.start, *at))
    }
}

impl<S: ReadStore> View<'_, S> {
    /// The lock of a key.
    pub(super) async fn lock(&self, key: &[u8]) -> Result<Option<Lock>, EngineError> {
        Ok(self.store.get_in(LOCKS, key).await?.map(|bytes| decode(&bytes, "a lock")))
    }

    /// The record at a timestamp.
    pub(super) async fn record_at(&self, key: &[u8], at: Timestamp) -> Result<Option<Write>, EngineError> {
        let bytes = self.store.get_in(WRITES, &version_key(key, at)).await?;
        Ok(bytes.map(|bytes| Write::decode(&bytes)))
    }

    /// The records that can tell of a transaction, or of a conflict with it.
    pub(super) async fn records(&self, key: &[u8], start: Timestamp) -> Result<Records, EngineError> {
        let (from, to) = records_from(key, start);
        let found = self.store.scan(Range::between(&from, &to).of(WRITES), usize::MAX).await?;
        let records = found.iter().map(|(encoded, bytes)| {
            let (found, at) = split_version_key(encoded).expect("records stand under version keys");
            assert_eq!(found, key, "no other key stands between the records of one");
            (at, Write::decode(bytes))
        });
        Ok(Records(records.collect()))
    }

    /// Planted: [`Bug::ConflictsByShard`]. A commit to any key after a timestamp, as [`Records::commit_after`].
    pub(super) async fn any_commit_after(
        &self,
        after: Timestamp,
    ) -> Result<Option<(Timestamp, Timestamp)>, EngineError> {
        let found = self.store.scan(Range::all().of(WRITES), usize::MAX).await?;
        Ok(found.iter().find_map(|(encoded, bytes)| {
            let (_, at) = split_version_key(encoded).expect("records stand under version keys");
            let write = Write::decode(bytes);
            (at > after && !write.is_rollback()).then_some((write.start, at))
        }))
    }

    /// A lock as others meet it.
    pub(super) fn told(&self, key: &[u8], lock: &Lock) -> LockInfo {
        LockInfo {
            key: key.into(),
            primary: lock.primary.clone(),
            start: lock.start,
            expired: self.has_expired(lock),
            secondaries: lock.secondaries.clone(),
            min_commit: lock.min_commit,
        }
    }

    /// Whether the time for which a lock asked is over.
    pub(super) fn has_expired(&self, lock: &Lock) -> bool {
        self.moments.clock >= lock.expires
    }

    /// Whether a reader has to wait: the transaction may commit, or have committed, at or below its
    /// timestamp. (Percolator §2.2 lets it wait for any lock from before; one that asks for a later commit
    /// cannot matter to it.)
    fn blocks(&self, lock: &Lock, at: Timestamp) -> bool {
        matches!(lock.kind, LockKind::Put | LockKind::Delete)
            && lock.min_commit <= at
            && !self.bugs.has(Bug::ReadSkipsLock)
    }

    /// The value that the record of a transaction stands for.
    async fn value(&self, key: &[u8], start: Timestamp) -> Result<Bytes, EngineError> {
        let value = self.store.get_in(DATA, &version_key(key, start)).await?;
        Ok(value.expect("a value stands as long as its record").into())
    }

    /// As of when the versions are looked at that a reader sees: its timestamp, unless a bug is planted there.
    fn as_of(&self, at: Timestamp) -> Timestamp {
        match self.bugs.0 {
            Some(Bug::NewestRead) => Timestamp::MAX,
            Some(Bug::CommitAtReadMissed) => at.prev().unwrap_or(at),
            _ => at,
        }
    }

    /// The value of a key as of a timestamp, whatever is locked.
    pub(super) async fn committed(&self, key: &[u8], at: Timestamp) -> Result<Option<Bytes>, EngineError> {
        let newest = Versions::new(self.store, WRITES).newest(key, self.as_of(at)).await?;
        let Some(content) = newest.and_then(|version| version.value) else { return Ok(None) };
        Ok(Some(self.value(key, start_of(&content)).await?))
    }

    /// The value of a key as of a timestamp (Percolator, Fig. 6, `Get`).
    pub(super) async fn get(&self, key: &[u8], at: Timestamp) -> Result<Ret, EngineError> {
        if let Some(lock) = self.lock(key).await?
            && self.blocks(&lock, at)
        {
            return Ok(Ret::Locked(self.told(key, &lock)));
        }
        let value = self.committed(key, at).await?;
        if self.bugs.has(Bug::AbsentReadsEmpty) {
            return Ok(Ret::Value(Some(value.unwrap_or_default())));
        }
        Ok(Ret::Value(value))
    }

    /// The first pairs of a span as of a timestamp; a lock behind the last of them is in nobody's way.
    pub(super) async fn scan(&self, span: &Span, at: Timestamp, limit: u32) -> Result<Ret, EngineError> {
        let more = u32::from(self.bugs.has(Bug::ScanLimitExceeded));
        let limit = usize::try_from(limit.saturating_add(more)).unwrap_or(usize::MAX);
        let from = if self.bugs.has(Bug::ScanStartIgnored) { &[] } else { &*span.start };
        let range = Range { from, to: span.end.as_deref(), ..Range::all() };
        let found = Versions::new(self.store, WRITES).scan(range, self.as_of(at), limit).await?;
        let enough = found.len() == limit;
        let last = found.last().map(|(key, _)| [key, &[0][..]].concat());
        let to = if enough { last.as_deref().or(Some(range.from)) } else { range.to };
        for (key, bytes) in self.store.scan(Range { to, ..range }.of(LOCKS), usize::MAX).await? {
            let lock: Lock = decode(&bytes, "a lock");
            if self.blocks(&lock, at) {
                return Ok(Ret::Locked(self.told(&key, &lock)));
            }
        }
        let mut pairs = Vec::with_capacity(found.len());
        for (key, content) in found {
            let value = self.value(&key, start_of(&content)).await?;
            pairs.push((key.into(), value));
        }
        Ok(Ret::Pairs(pairs))
    }

    /// What became of a transaction at a key on which it has no lock.
    pub(super) async fn fate(&self, key: &[u8], start: Timestamp) -> Result<Fate, EngineError> {
        let fate = self.records(key, start).await?.fate(start);
        let is_missed = matches!(fate, Fate::Committed(_)) && self.bugs.has(Bug::CommitNotLookedFor);
        Ok(if is_missed { Fate::Unknown } else { fate })
    }

    /// The record before a timestamp, if it is of a rollback.
    pub(super) async fn rollback_before(
        &self,
        key: &[u8],
        at: Timestamp,
    ) -> Result<Option<(Timestamp, bool)>, EngineError> {
        let Some(below) = at.prev() else { return Ok(None) };
        let found = crate::mvcc::newest_pair(self.store, WRITES, key, below).await?;
        Ok(found.and_then(|(at, bytes)| match Write::decode(&bytes).kind {
            WriteKind::Rollback { protected } => Some((at, protected)),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(kind: WriteKind, start: u64) -> Write {
        Write { kind, start: Timestamp(start), overlaps_rollback: false }
    }

    #[test]
    fn records_tell_a_fate_and_conflicts() {
        let rollback = WriteKind::Rollback { protected: false };
        let overlapped = Write { overlaps_rollback: true, ..write(WriteKind::Put, 5) };
        let records = Records(vec![
            (Timestamp(30), write(rollback, 30)),
            (Timestamp(20), write(WriteKind::Lock, 12)),
            (Timestamp(10), overlapped),
        ]);
        assert_eq!(records.fate(Timestamp(10)), Fate::RolledBack, "the commit of 5 overlaps it");
        let records = Records(records.0[..2].to_vec());
        assert_eq!(records.fate(Timestamp(12)), Fate::Committed(Timestamp(20)));
        assert_eq!(records.fate(Timestamp(11)), Fate::Unknown);
        assert_eq!(records.commit_after(Timestamp(19)), Some((Timestamp(12), Timestamp(20))));
        assert_eq!(records.commit_after(Timestamp(20)), None, "a rollback is no conflict");
        assert_eq!(Records(records.0[..1].to_vec()).fate(Timestamp(30)), Fate::RolledBack);
    }
}

//! How transactions write: the two phases of Percolator (§2.2, Fig. 6), and what others do when a
//! coordinator is gone. Each operation changes all of its keys or none.

use contract::{Batch, Bug, Bytes, EngineError, ReadStore};

use crate::mvcc::{Timestamp, version_key};

use super::layout::{DATA, LOCKS, Lock, LockKind, WRITES, Write, WriteKind};
use super::op::{Mutation, MutationKind, Prewrite, Ret};
use super::view::{Fate, Records, Refusal, View};

type Outcome = Result<Ret, Refusal>;

fn refuse(answer: Ret) -> Outcome {
    Err(Refusal::Answer(answer))
}

impl<S: ReadStore> View<'_, S> {
    /// The first phase.
    pub(super) async fn prewrite(&self, prewrite: &Prewrite, batch: &mut Batch) -> Outcome {
        let start = prewrite.start;
        let chooses = prewrite.shards_choose || prewrite.one_phase;
        let mut for_update = prewrite.for_update.unwrap_or_default();
        // What was promised with locks that stand already: whoever resolves them goes by that, too.
        let mut promised = Timestamp::ZERO;
        let mut written = Vec::new();
        for mutation in &prewrite.mutations {
            let comes_again = |(earlier, _): &(&Mutation, bool)| earlier.key == mutation.key;
            if self.bugs.has(Bug::FirstMutationCounts) && written.iter().any(comes_again) {
                continue;
            }
            let overlooked = |lock: &Lock| self.bugs.has(Bug::OlderLockOverwritten) && lock.start < start;
            let lock = self.lock(&mutation.key).await?.filter(|lock| !overlooked(lock));
            match &lock {
                Some(lock) if lock.start != start => {
                    return refuse(Ret::Locked(self.told(&mutation.key, lock)));
                }
                Some(lock) if lock.is_prewritten() => {
                    promised = promised.max(lock.min_commit);
                    // It came before: nothing is to be written anew, unless it commits now.
                    if prewrite.one_phase {
                        written.push((mutation, true));
                    }
                }
                // A pessimistic transaction has seen every commit before its lock.
                Some(lock) => {
                    for_update = for_update.max(lock.for_update);
                    written.push((mutation, true));
                }
                None => {
                    self.check_absent(&mutation.key, start, start).await?;
                    written.push((mutation, false));
                }
            }
        }
        // Later than any commit that it has seen; and than any noted read, which did not see this one.
        let noted = if chooses { self.moments.noted } else { Timestamp::ZERO };
        let chosen = noted.max(start).max(for_update).next();
        let min_commit = if written.is_empty() { promised } else { promised.max(chosen) };
        assert!(min_commit > start || prewrite.mutations.is_empty(), "a transaction commits after it began");
        for (mutation, locked) in written {
            let key = &mutation.key;
            let kind = match &mutation.kind {
                MutationKind::Put(value) => {
                    batch.put_in(DATA, version_key(key, start), &**value);
                    LockKind::Put
                }
                MutationKind::Delete => LockKind::Delete,
                MutationKind::Lock => LockKind::Lock,
            };
            if prewrite.one_phase {
                if locked {
                    batch.delete_in(LOCKS, &**key);
                }
                self.record_commit(key, kind, start, min_commit, batch).await?;
            } else if *key == prewrite.primary || !self.bugs.has(Bug::SecondaryNotLocked) {
                let secondaries = prewrite.secondaries.clone().filter(|_| *key == prewrite.primary);
                let ttl = prewrite.ttl / if self.bugs.has(Bug::TtlInWrongUnit) { 1000 } else { 1 };
                let lock = Lock {
                    kind,
                    primary: prewrite.primary.clone(),
                    start,
                    expires: self.moments.clock.saturating_add(ttl),
                    for_update,
                    min_commit: chosen,
                    secondaries,
                };
                batch.put_in(LOCKS, &**key, lock.encoded());
            }
        }
        Ok(Ret::Prewritten { min_commit: if chooses { min_commit } else { Timestamp::ZERO } })
    }

    /// Refuses a lock where the transaction is over, or where somebody has committed what it has not seen.
    pub(super) async fn check_absent(
        &self,
        key: &Bytes,
        start: Timestamp,
        seen: Timestamp,
    ) -> Result<(), Refusal> {
        let records = self.records(key, start).await?;
        let answer = match records.fate(start) {
            Fate::Committed(commit) => Ret::Committed { commit },
            Fate::RolledBack => Ret::RolledBack,
            // The record that would tell may have been collected.
            Fate::Unknown if start < self.moments.safepoint => Ret::RolledBack,
            Fate::Unknown => match self.conflict(key, &records, seen).await? {
                Some((start, commit)) => Ret::Conflict { key: key.clone(), start, commit },
                None => return Ok(()),
            },
        };
        Err(Refusal::Answer(answer))
    }

    /// Who has committed to a key since a timestamp, and when.
    async fn conflict(
        &self,
        key: &[u8],
        records: &Records,
        seen: Timestamp,
    ) -> Result<Option<(Timestamp, Timestamp)>, EngineError> {
        Ok(match self.bugs.0 {
            Some(Bug::ConflictIgnored) => None,
            Some(Bug::AnyCommitConflicts) => {
                self.records(key, Timestamp::ZERO).await?.commit_after(Timestamp::ZERO)
            }
            Some(Bug::ConflictsByShard) => self.any_commit_after(seen).await?,
            _ => records.commit_after(seen),
        })
    }

    /// Writes the record of a commit. A rollback of a transaction that began at this very timestamp stays
    /// known.
    async fn record_commit(
        &self,
        key: &[u8],
        kind: LockKind,
        start: Timestamp,
        commit: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        assert!(commit > start, "a transaction commits after it began");
        let kind = match kind {
            LockKind::Put => WriteKind::Put,
            LockKind::Delete if self.bugs.has(Bug::DeletionPassedOver) => WriteKind::Lock,
            LockKind::Delete => WriteKind::Delete,
            LockKind::Lock => WriteKind::Lock,
            LockKind::Pessimistic => panic!("only what is written commits"),
        };
        let at = if self.bugs.has(Bug::RecordAtStart) { start } else { commit };
        let there = self.record_at(key, at).await?;
        let overlaps_rollback = there.is_some_and(|write| write.is_rollback() || write.overlaps_rollback);
        let record = Write { kind, start, overlaps_rollback };
        batch.put_in(WRITES, version_key(key, at), record.encoded());
        Ok(())
    }

    /// Makes of a lock the record of a commit.
    async fn commit_lock(
        &self,
        key: &[u8],
        lock: &Lock,
        commit: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        if commit < lock.min_commit {
            return Err(Refusal::Answer(Ret::TooLow { min_commit: lock.min_commit }));
        }
        batch.delete_in(LOCKS, key);
        self.record_commit(key, lock.kind, lock.start, commit, batch).await
    }

    /// The second phase.
    pub(super) async fn commit(
        &self,
        keys: &[Bytes],
        start: Timestamp,
        commit: Timestamp,
        batch: &mut Batch,
    ) -> Outcome {
        let refuses_repeats = self.bugs.has(Bug::RepeatedCommitRefused);
        for (place, key) in keys.iter().enumerate() {
            if refuses_repeats && keys[..place].contains(key) {
                return refuse(Ret::NotFound);
            }
            let lock = self.lock(key).await?.filter(|lock| lock.start == start && lock.is_prewritten());
            if let Some(lock) = lock {
                self.commit_lock(key, &lock, commit, batch).await?;
                if self.bugs.has(Bug::CommitKeepsLock) {
                    batch.put_in(LOCKS, &**key, lock.encoded());
                }
                continue;
            }
            match self.fate(key, start).await? {
                Fate::Committed(_) if refuses_repeats => return refuse(Ret::NotFound),
                Fate::Committed(at) if at == commit => {}
                Fate::Committed(commit) => return refuse(Ret::Committed { commit }),
                _ if self.bugs.has(Bug::CommitWithoutLock) => {}
                Fate::RolledBack => return refuse(Ret::RolledBack),
                Fate::Unknown => return refuse(Ret::NotFound),
            }
        }
        Ok(Ret::Done)
    }

    /// Writes that a transaction was given up, and removes what it had written. Of its records the last one
    /// that is not protected is enough.
    async fn give_up(
        &self,
        key: &[u8],
        start: Timestamp,
        lock: Option<&Lock>,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        if let Some(lock) = lock {
            assert_eq!(lock.start, start, "a transaction's own lock is removed");
            batch.delete_in(LOCKS, key);
            if lock.kind == LockKind::Put {
                batch.delete_in(DATA, version_key(key, start));
            }
        }
        if self.bugs.has(Bug::LatePrewriteAccepted) {
            return Ok(());
        }
        // Unless it came, the prewrite may still be under way; and what becomes of a primary becomes of all.
        let protected = lock.is_none_or(|lock| !lock.is_prewritten() || *lock.primary == *key);
        let record = match self.record_at(key, start).await? {
            Some(other) => Write { overlaps_rollback: !other.is_rollback(), ..other },
            None => Write { kind: WriteKind::Rollback { protected }, start, overlaps_rollback: false },
        };
        batch.put_in(WRITES, version_key(key, start), record.encoded());
        if let Some((before, protected)) = self.rollback_before(key, start).await?
            && (!protected || self.bugs.has(Bug::RollbackCollapsed))
        {
            batch.delete_in(WRITES, version_key(key, before));
        }
        Ok(())
    }

    /// Gives a transaction up.
    pub(super) async fn rollback(&self, keys: &[Bytes], start: Timestamp, batch: &mut Batch) -> Outcome {
        for key in keys {
            let lock = self.lock(key).await?.filter(|lock| lock.start == start);
            if lock.is_none() {
                match self.fate(key, start).await? {
                    Fate::Committed(commit) => return refuse(Ret::Committed { commit }),
                    Fate::RolledBack => continue,
                    Fate::Unknown => {}
                }
            }
            self.give_up(key, start, lock.as_ref(), batch).await?;
        }
        Ok(Ret::Done)
    }

    /// What became of a transaction, by its primary key.
    pub(super) async fn check_status(&self, primary: &Bytes, start: Timestamp, batch: &mut Batch) -> Outcome {
        let lock = self.lock(primary).await?.filter(|lock| lock.start == start);
        match &lock {
            Some(lock) => {
                let over = self.has_expired(lock) || self.bugs.has(Bug::LockTtlIgnored);
                // An async commit may be complete: that is for its other keys to say. And a transaction may
                // have named another primary since whoever asks met its lock: that one decides.
                if !over || lock.secondaries.is_some() || lock.primary != *primary {
                    return refuse(Ret::Locked(self.told(primary, lock)));
                }
            }
            None => match self.fate(primary, start).await? {
                Fate::Committed(commit) => return refuse(Ret::Committed { commit }),
                Fate::RolledBack => return refuse(Ret::RolledBack),
                Fate::Unknown => {}
            },
        }
        self.give_up(primary, start, lock.as_ref(), batch).await?;
        Ok(Ret::RolledBack)
    }

    /// Whether keys of an async commit are written; those that are not never will be.
    pub(super) async fn check_secondaries(
        &self,
        keys: &[Bytes],
        start: Timestamp,
        batch: &mut Batch,
    ) -> Outcome {
        let (mut min_commit, mut rolled_back) = (start.next(), false);
        for key in keys {
            let lock = self.lock(key).await?.filter(|lock| lock.start == start);
            match &lock {
                Some(lock) if lock.is_prewritten() => {
                    min_commit = min_commit.max(lock.min_commit);
                    continue;
                }
                Some(_) => {}
                None => match self.fate(key, start).await? {
                    Fate::Committed(commit) => return refuse(Ret::Committed { commit }),
                    Fate::RolledBack => {
                        rolled_back = true;
                        continue;
                    }
                    Fate::Unknown => {}
                },
            }
            rolled_back = true;
            self.give_up(key, start, lock.as_ref(), batch).await?;
        }
        assert!(min_commit > start, "a transaction commits after it began");
        Ok(if rolled_back { Ret::RolledBack } else { Ret::Prewritten { min_commit } })
    }

    /// Does to keys what was decided.
    pub(super) async fn resolve(
        &self,
        keys: &[Bytes],
        start: Timestamp,
        commit: Option<Timestamp>,
        batch: &mut Batch,
    ) -> Outcome {
        for key in keys {
            let any = self.bugs.has(Bug::ResolveTakesAnyLock);
            let Some(lock) = self.lock(key).await?.filter(|lock| lock.start == start || any) else {
                continue;
            };
            match commit {
                Some(commit) if lock.is_prewritten() => self.commit_lock(key, &lock, commit, batch).await?,
                // It committed without writing this key.
                Some(_) => batch.delete_in(LOCKS, &**key),
                None => self.give_up(key, lock.start, Some(&lock), batch).await?,
            }
        }
        Ok(Ret::Done)
    }

    /// Extends the life of a lock.
    pub(super) async fn heartbeat(
        &self,
        primary: &Bytes,
        start: Timestamp,
        ttl: u64,
        batch: &mut Batch,
    ) -> Outcome {
        let Some(mut lock) = self.lock(primary).await?.filter(|lock| lock.start == start) else {
            return refuse(Ret::NotFound);
        };
        assert_eq!(lock.start, start, "a transaction's own lock is kept alive");
        lock.expires = lock.expires.max(self.moments.clock.saturating_add(ttl));
        batch.put_in(LOCKS, &**primary, lock.encoded());
        Ok(Ret::Done)
    }
}

//! One transaction: reads of a snapshot, writes kept until the end, and two phases to make them last.
//!
//! The first phase locks every key that is written; the second commits one of them, the *primary*, and with it
//! the transaction (Percolator, section 2.2). Whoever meets another lock of the transaction asks the primary.
//!
//! | Mode | What is different |
//! |---|---|
//! | pessimistic | keys are locked before anything is read; a conflict moves the snapshot, it aborts nothing |
//! | async commit | committed once all keys are locked: the shards choose the timestamp, above every read of them |
//! | one-phase commit | keys of one region: locked and committed at once |

use std::collections::BTreeMap;

use contract::{Bug, Bytes, Time};
use protocols::percolator::{Mutation, MutationKind, Prewrite, Ret, ShardOp, Timestamp};

use super::database::{Database, Parts, Unanswered};
use super::link::Wire;
use crate::plan::CommitMode;
use crate::report::Finding;

/// How long work goes on in the background after the client has its answer, in nanoseconds.
const AFTERWARDS: u64 = 2_000_000_000;

/// Why a transaction did not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It took no effect.
    Aborted,
    /// It may have taken effect, or may yet.
    Unknown,
}

/// Before the second phase nothing can have taken effect.
impl From<Unanswered> for Failed {
    fn from(_: Unanswered) -> Self {
        Self::Aborted
    }
}

/// A transaction under way.
pub(crate) struct Transaction<M> {
    database: Database<M>,
    start: Timestamp,
    /// What it reads is as of then: of a pessimistic one, when it had locked all keys.
    snapshot: Timestamp,
    until: Time,
    /// What it has read, and will find unchanged.
    reads: BTreeMap<Bytes, Option<Bytes>>,
    writes: BTreeMap<Bytes, Bytes>,
    /// Of a pessimistic one: the keys that it has locked. The first decides.
    acquired: Vec<Bytes>,
    /// Where its client goes away, if it does: after so many steps of the commit.
    leaves_after: Option<u32>,
}

impl<M: Wire> Transaction<M> {
    /// Begins. A pessimistic transaction locks the keys that it may write.
    pub(crate) async fn begin(
        database: &Database<M>,
        may_write: &[Bytes],
        leaves_after: Option<u32>,
        until: Time,
    ) -> Result<Self, Failed> {
        let start = database.timestamp(until).await?;
        let mut transaction = Self {
            database: database.clone(),
            start,
            snapshot: start,
            until,
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
            acquired: Vec::new(),
            leaves_after,
        };
        if database.plan.mode == CommitMode::Pessimistic && !may_write.is_empty() {
            transaction.acquired = may_write.to_vec();
            if let Err(failed) = transaction.acquire(may_write).await {
                transaction.abandon();
                return Err(failed);
            }
        }
        Ok(transaction)
    }

    async fn acquire(&mut self, keys: &[Bytes]) -> Result<(), Failed> {
        let (start, until) = (self.start, self.until);
        let primary = keys[0].clone();
        let ttl = self.ttl();
        let mut left = keys.to_vec();
        while !left.is_empty() {
            let for_update = self.snapshot;
            let primary = primary.clone();
            let op = move |keys| ShardOp::Acquire { keys, primary: primary.clone(), start, for_update, ttl };
            let answers = self.database.spread(&left, op, until).await?;
            left.clear();
            for (keys, answer) in answers {
                match answer {
                    Ret::Values(_) => {}
                    Ret::Locked(lock) => {
                        self.database.wait_for(lock, until).await?;
                        left.extend(keys);
                    }
                    Ret::Conflict { .. } => {
                        self.database.records.borrow_mut().counts.conflicts += 1;
                        self.snapshot = self.snapshot.max(self.database.timestamp(until).await?);
                        left.extend(keys);
                    }
                    Ret::RolledBack => return Err(Failed::Aborted),
                    other => unreachable!("a lock was answered {other}"),
                }
            }
        }
        // Keys locked early have not changed since: all of them are as they were at the last moment.
        Ok(())
    }

    fn ttl(&self) -> u64 {
        u64::try_from(self.database.plan.lock_ttl.as_micros()).expect("a life of a lock fits")
    }

    /// The value of a key: what this transaction wrote, else what its snapshot holds.
    pub(crate) async fn get(&mut self, key: &Bytes) -> Result<Option<Bytes>, Failed> {
        if let Some(value) = self.writes.get(key) {
            return Ok(Some(value.clone()));
        }
        if let Some(value) = self.reads.get(key) {
            return Ok(value.clone());
        }
        let value = self.database.get(key, self.snapshot, self.until).await?;
        self.reads.insert(key.clone(), value.clone());
        Ok(value)
    }

    /// All pairs of its snapshot.
    pub(crate) async fn scan(&self) -> Result<Vec<(Bytes, Bytes)>, Failed> {
        assert!(self.writes.is_empty(), "a scan does not see the transaction's own writes");
        Ok(self.database.scan(self.snapshot, self.until).await?)
    }

    /// Writes a key once the transaction commits.
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, value);
    }

    /// Makes the writes last. Without any there is nothing to do.
    pub(crate) async fn commit(mut self) -> Result<(), Failed> {
        if self.writes.is_empty() {
            self.abandon();
            return Ok(());
        }
        let mut mutations: BTreeMap<Bytes, MutationKind> = BTreeMap::new();
        if self.database.locks_reads() {
            mutations.extend(self.reads.keys().map(|key| (key.clone(), MutationKind::Lock)));
        }
        let writes = std::mem::take(&mut self.writes);
        // Whoever has met a lock of the first kind asks that primary: it stays the one that decides.
        let primary = self.acquired.first().or(writes.keys().next()).expect("there is a write").clone();
        mutations.extend(writes.into_iter().map(|(key, value)| (key, MutationKind::Put(value))));
        let keys: Vec<Bytes> = mutations.keys().cloned().collect();
        assert!(keys.contains(&primary), "the key that decides is locked with the others");
        self.leave_if_due()?;
        let mut mode = self.database.plan.mode;
        if mode == CommitMode::OnePhase {
            if let Some(done) = self.commit_at_once(&mutations, &primary, &keys).await {
                return done;
            }
            mode = CommitMode::AsyncCommit;
        }
        match self.prewrite(mode, &mutations, &primary, &keys).await {
            Ok(least) if mode.shards_choose() => {
                self.finish(keys, least);
                Ok(())
            }
            Ok(_) => self.commit_primary(primary, keys).await,
            // It may be that all keys are locked, and that somebody sees to the rest.
            Err(Failed::Unknown) if mode.shards_choose() => Err(Failed::Unknown),
            Err(_) => {
                self.give_up(keys);
                Err(Failed::Aborted)
            }
        }
    }

    /// Both phases in one, as long as one region holds all keys; `None` if none does.
    async fn commit_at_once(
        &mut self,
        mutations: &BTreeMap<Bytes, MutationKind>,
        primary: &Bytes,
        keys: &[Bytes],
    ) -> Option<Result<(), Failed>> {
        let mut prewrite = self.prewrite_of(CommitMode::OnePhase, primary);
        prewrite.mutations =
            mutations.iter().map(|(key, kind)| Mutation { key: key.clone(), kind: kind.clone() }).collect();
        loop {
            let op = ShardOp::Prewrite(prewrite.clone());
            let answer = match self.database.ask_together(keys, op, self.until).await {
                Ok(answer) => answer?,
                Err(Unanswered) => return Some(Err(Failed::Unknown)),
            };
            return Some(match answer {
                Ret::Prewritten { .. } | Ret::Committed { .. } => self.leave_if_due(),
                Ret::Locked(lock) => match self.database.wait_for(lock, self.until).await {
                    Ok(()) => continue,
                    Err(Unanswered) => Err(Failed::Unknown),
                },
                Ret::Conflict { .. } => {
                    self.database.records.borrow_mut().counts.conflicts += 1;
                    Err(Failed::Aborted)
                }
                Ret::RolledBack => Err(Failed::Aborted),
                other => unreachable!("both phases were answered {other}"),
            });
        }
    }

    fn prewrite_of(&self, mode: CommitMode, primary: &Bytes) -> Prewrite {
        Prewrite {
            mutations: Vec::new(),
            primary: primary.clone(),
            start: self.start,
            ttl: self.ttl(),
            for_update: (mode == CommitMode::Pessimistic).then_some(self.snapshot),
            secondaries: None,
            shards_choose: mode.shards_choose(),
            one_phase: mode == CommitMode::OnePhase,
        }
    }

    /// The first phase; the earliest timestamp at which the transaction can commit.
    async fn prewrite(
        &mut self,
        mode: CommitMode,
        mutations: &BTreeMap<Bytes, MutationKind>,
        primary: &Bytes,
        keys: &[Bytes],
    ) -> Result<Timestamp, Failed> {
        let template = self.prewrite_of(mode, primary);
        let others: Vec<Bytes> = keys.iter().filter(|key| *key != primary).cloned().collect();
        let op = |keys: Vec<Bytes>| {
            let mut prewrite = template.clone();
            if mode == CommitMode::AsyncCommit && keys.contains(primary) {
                prewrite.secondaries = Some(others.clone());
            }
            let of = |key: Bytes| Mutation { kind: mutations[&key].clone(), key };
            prewrite.mutations = keys.into_iter().map(of).collect();
            ShardOp::Prewrite(prewrite)
        };
        let mut least = Timestamp::ZERO;
        let mut left = keys.to_vec();
        while !left.is_empty() {
            let answers = self.database.spread(&left, &op, self.until).await;
            let answers: Parts = answers.map_err(|Unanswered| Failed::Unknown)?;
            left.clear();
            for (keys, answer) in answers {
                match answer {
                    Ret::Prewritten { min_commit } => least = least.max(min_commit),
                    Ret::Locked(lock) => {
                        let waited = self.database.wait_for(lock, self.until).await;
                        // What was sent before may still come, and find the lock gone.
                        waited.map_err(|Unanswered| Failed::Unknown)?;
                        left.extend(keys);
                    }
                    Ret::Conflict { .. } => {
                        self.database.records.borrow_mut().counts.conflicts += 1;
                        return Err(Failed::Aborted);
                    }
                    Ret::RolledBack => return Err(Failed::Aborted),
                    // Somebody has seen to it that it commits.
                    Ret::Committed { commit } => least = least.max(commit),
                    other => unreachable!("the first phase was answered {other}"),
                }
            }
        }
        self.leave_if_due()?;
        Ok(least)
    }

    /// The second phase.
    async fn commit_primary(mut self, primary: Bytes, keys: Vec<Bytes>) -> Result<(), Failed> {
        let (start, until) = (self.start, self.until);
        let bugs = self.database.bugs;
        let Ok(mut commit) = self.database.timestamp(until).await else {
            self.give_up(keys);
            return Err(Failed::Aborted);
        };
        if bugs.has(Bug::CommitBelowRead) {
            commit = start.next();
        }
        let others: Vec<Bytes> = keys.iter().filter(|key| **key != primary).cloned().collect();
        if bugs.has(Bug::SecondaryBeforePrimary) {
            self.finish(others.clone(), commit);
        }
        loop {
            let op = ShardOp::Commit { keys: vec![primary.clone()], start, commit };
            match self.database.ask(&primary, op, until).await {
                Ok(Ret::Done) => break,
                Ok(Ret::TooLow { min_commit }) => {
                    let next = self.database.timestamp(until).await;
                    commit = next.map_err(|Unanswered| Failed::Unknown)?;
                    assert!(commit >= min_commit, "the oracle is ahead of every timestamp that it gave out");
                }
                Ok(Ret::RolledBack) => {
                    self.give_up(keys);
                    return Err(Failed::Aborted);
                }
                Ok(Ret::NotFound) => {
                    let message = format!(
                        "{primary} holds no trace of the transaction of {start}, which had locked it"
                    );
                    let finding = Finding::of_run("primary-forgotten", message, Vec::new());
                    self.database.records.borrow_mut().found(finding);
                    return Err(Failed::Unknown);
                }
                Ok(other) => unreachable!("the second phase was answered {other}"),
                Err(Unanswered) => return Err(Failed::Unknown),
            }
        }
        // Committed it is, whether the client stays or not.
        if self.leave_if_due().is_ok() {
            self.finish(others, commit);
        }
        Ok(())
    }

    /// Commits keys in the background: nobody depends on it.
    fn finish(&self, keys: Vec<Bytes>, commit: Timestamp) {
        let (database, start) = (self.database.clone(), self.start);
        let until = Time(database.link.now().0 + AFTERWARDS);
        self.database.link.spawn(async move {
            let op = |keys| ShardOp::Commit { keys, start, commit };
            // What is left undone others resolve.
            let _ = database.spread(&keys, op, until).await;
        });
    }

    /// Rolls back in the background: nobody depends on it.
    fn give_up(&self, keys: Vec<Bytes>) {
        let (database, start) = (self.database.clone(), self.start);
        let until = Time(database.link.now().0 + AFTERWARDS);
        if self.leaves_after == Some(0) {
            return;
        }
        self.database.link.spawn(async move {
            let op = |keys| ShardOp::Rollback { keys, start };
            let _ = database.spread(&keys, op, until).await;
        });
    }

    /// Lets go of pessimistic locks in the background.
    fn abandon(&self) {
        if self.acquired.is_empty() {
            return;
        }
        let (database, start, for_update) = (self.database.clone(), self.start, Timestamp::MAX);
        let until = Time(database.link.now().0 + AFTERWARDS);
        let keys = self.acquired.clone();
        self.database.link.spawn(async move {
            let op = |keys| ShardOp::Abandon { keys, start, for_update };
            let _ = database.spread(&keys, op, until).await;
        });
    }

    /// A step of the commit is done: the client may be one that goes away here.
    fn leave_if_due(&mut self) -> Result<(), Failed> {
        match &mut self.leaves_after {
            None => Ok(()),
            Some(0) => Err(Failed::Unknown),
            Some(steps) => {
                *steps -= 1;
                if *steps == 0 { Err(Failed::Unknown) } else { Ok(()) }
            }
        }
    }
}

//! One shard: the regions that a replica group holds.

use contract::{Batch, Bug, Bugs, Bytes, EngineError, Epoch, GroupId, Range, ReadStore, Time};

use crate::mvcc::{GarbageCollection, Timestamp, split_version_key, version_key};

use super::holdings::{Holdings, State};
use super::layout::{
    DATA, GARBAGE_KEY, HOLDINGS_KEY, LOCKS, Lock, MOMENTS_KEY, Moments, WRITES, Write, WriteKind, decode,
    encode,
};
use super::op::{Held, Region, Ret, ShardOp, Span};
use super::pessimistic::Acquire;
use super::view::{Refusal, View};

/// A shard.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Bugs planted in it.
    pub bugs: Bugs,
    group: GroupId,
    founding: Vec<Region>,
    /// Planted: [`Bug::MaxTsNotReplicated`]. The highest timestamp of a noted read, as far as this process
    /// remembers.
    remembered: Timestamp,
    /// Planted: the same. Under whom.
    epoch: Epoch,
}

impl Shard {
    /// The shard of a group. Until regions move, it holds those of the founding ones that name its group.
    pub fn new(bugs: Bugs, group: GroupId, founding: Vec<Region>) -> Self {
        Self { bugs, group, founding, remembered: Timestamp::ZERO, epoch: Epoch::ZERO }
    }

    /// Planted: [`Bug::MaxTsNotReplicated`]. Under a new leader nobody knows what was read under the last one.
    pub(super) fn serve_under(&mut self, epoch: Epoch) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.remembered = Timestamp::ZERO;
        }
    }

    async fn holdings(&self, store: &impl ReadStore) -> Result<Holdings, EngineError> {
        let stored = store.get(HOLDINGS_KEY).await?;
        Ok(match stored {
            Some(bytes) => decode(&bytes, "holdings"),
            None => Holdings::founding(&self.founding, self.group),
        })
    }

    async fn moments(&self, store: &impl ReadStore) -> Result<Moments, EngineError> {
        let stored = store.get(MOMENTS_KEY).await?;
        let mut moments: Moments = stored.map_or_else(Moments::default, |bytes| decode(&bytes, "moments"));
        if self.bugs.has(Bug::MaxTsNotReplicated) {
            moments.noted = self.remembered;
        }
        Ok(moments)
    }

    /// Whether the shard serves what a request names, in a region of the version that it names.
    fn serves(&self, holdings: &Holdings, version: u64, op: &ShardOp) -> bool {
        let found = match keys(op) {
            Keys::These(keys) if keys.is_empty() => return !self.bugs.has(Bug::EmptyRequestRefused),
            Keys::These(keys) => holdings.of_keys(keys.into_iter()),
            Keys::Span(span) => holdings.of_span(span),
            Keys::SeenToLater => return true,
        };
        if self.bugs.has(Bug::EpochNotChecked) {
            return true;
        }
        found.is_some_and(|found| match found.state {
            State::Held => found.version == version,
            State::Frozen => self.bugs.has(Bug::OldOwnerWrites),
            State::Gone => false,
        })
    }
}

/// What an operation needs to be held.
enum Keys<'a> {
    These(Vec<&'a Bytes>),
    Span(&'a Span),
    /// It looks at what is held by itself.
    SeenToLater,
}

fn keys(op: &ShardOp) -> Keys<'_> {
    match op {
        ShardOp::Get { key, .. } => Keys::These(vec![key]),
        ShardOp::Scan { span, .. } | ShardOp::Middle { span } => Keys::Span(span),
        ShardOp::Prewrite(prewrite) => Keys::These(prewrite.mutations.iter().map(|m| &m.key).collect()),
        ShardOp::Commit { keys, .. }
        | ShardOp::Rollback { keys, .. }
        | ShardOp::CheckSecondaries { keys, .. }
        | ShardOp::Resolve { keys, .. }
        | ShardOp::Acquire { keys, .. }
        | ShardOp::Abandon { keys, .. } => Keys::These(keys.iter().collect()),
        ShardOp::CheckStatus { primary, .. } | ShardOp::Heartbeat { primary, .. } => {
            Keys::These(vec![primary])
        }
        ShardOp::Collect { .. }
        | ShardOp::Freeze { .. }
        | ShardOp::Install { .. }
        | ShardOp::Release { .. }
        | ShardOp::Sizes => Keys::SeenToLater,
    }
}

/// The timestamp of a read that the shard is to note.
fn noted_by(op: &ShardOp) -> Option<Timestamp> {
    match op {
        ShardOp::Get { at, noted: true, .. } | ShardOp::Scan { at, noted: true, .. } => Some(*at),
        _ => None,
    }
}

impl<S: ReadStore> View<'_, S> {
    /// The effect of an operation on what the shard serves.
    async fn effect(&self, op: &ShardOp, batch: &mut Batch) -> Result<Ret, Refusal> {
        match op {
            ShardOp::Get { key, at, .. } => Ok(self.get(key, *at).await?),
            ShardOp::Scan { span, at, limit, .. } => Ok(self.scan(span, *at, *limit).await?),
            ShardOp::Middle { span } => Ok(self.middle(span).await?),
            ShardOp::Prewrite(prewrite) => self.prewrite(prewrite, batch).await,
            ShardOp::Commit { keys, start, commit } => self.commit(keys, *start, *commit, batch).await,
            ShardOp::Rollback { keys, start } => self.rollback(keys, *start, batch).await,
            ShardOp::CheckStatus { primary, start } => self.check_status(primary, *start, batch).await,
            ShardOp::CheckSecondaries { keys, start } => self.check_secondaries(keys, *start, batch).await,
            ShardOp::Resolve { keys, start, commit } => self.resolve(keys, *start, *commit, batch).await,
            ShardOp::Heartbeat { primary, start, ttl } => self.heartbeat(primary, *start, *ttl, batch).await,
            ShardOp::Acquire { keys, primary, start, for_update, ttl } => {
                let by = Acquire { primary, start: *start, for_update: *for_update, ttl: *ttl };
                self.acquire(keys, by, batch).await
            }
            ShardOp::Abandon { keys, start, for_update } => {
                self.abandon(keys, *start, *for_update, batch).await
            }
            ShardOp::Collect { .. }
            | ShardOp::Freeze { .. }
            | ShardOp::Install { .. }
            | ShardOp::Release { .. }
            | ShardOp::Sizes => panic!("it concerns what the shard holds"),
        }
    }

    /// One step of the collection of garbage. All that goes is from before the safepoint, and so of
    /// transactions that began before it: one that began at it may still need the record of its rollback.
    async fn collect(&self, safepoint: Timestamp, batch: &mut Batch) -> Result<Ret, Refusal> {
        let Some(below) = safepoint.prev() else { return Ok(Ret::Done) };
        for (key, bytes) in self.store.scan(Range::all().of(LOCKS), usize::MAX).await? {
            let lock: Lock = decode(&bytes, "a lock");
            if lock.start < safepoint {
                return Err(Refusal::Answer(Ret::Locked(self.told(&key, &lock))));
            }
        }
        let stored = self.store.get(GARBAGE_KEY).await?;
        let mut pass = match &stored {
            Some(bytes) => decode(bytes, "a collection of garbage"),
            None => GarbageCollection::new(below),
        };
        pass.raise(below);
        let (gone, more) = pass.step(self.store, WRITES).await?;
        for (record, bytes) in gone {
            let write = Write::decode(&bytes);
            assert!(write.start < safepoint, "only transactions that are over are forgotten");
            if write.kind == WriteKind::Put {
                let (key, _) = split_version_key(&record).expect("records stand under version keys");
                batch.delete_in(DATA, version_key(&key, write.start));
            }
            batch.delete_in(WRITES, record);
        }
        if more {
            batch.put(GARBAGE_KEY, encode(&pass));
        } else {
            batch.delete(GARBAGE_KEY);
        }
        Ok(Ret::Done)
    }
}

impl Shard {
    /// The effect of an operation that was proposed at a time, and its answer.
    pub(super) async fn apply(
        &mut self,
        version: u64,
        op: ShardOp,
        now: Time,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Ret, EngineError> {
        let before = self.moments(store).await?;
        let mut moments = before.pass_to(now);
        let mut holdings = self.holdings(store).await?;
        let mut changes = Batch::default();
        let answer = if self.serves(&holdings, version, &op) {
            moments.noted = moments.noted.max(noted_by(&op).unwrap_or_default());
            let view = View { store, bugs: self.bugs, moments };
            match op {
                ShardOp::Collect { safepoint } => {
                    let collected = view.collect(safepoint, &mut changes).await;
                    if collected.is_ok() {
                        moments.safepoint = moments.safepoint.max(safepoint);
                    }
                    collected
                }
                ShardOp::Freeze { span, version } => {
                    view.freeze(span, version, &mut holdings, &mut changes).await
                }
                ShardOp::Install { span, version, content } => {
                    let known = Moments {
                        clock: content.clock,
                        noted: content.noted,
                        safepoint: content.safepoint,
                        ..moments
                    };
                    let installed = view.install(span, version, content, &mut holdings, &mut changes);
                    if installed.is_ok() {
                        moments = moments.join(known);
                    }
                    installed
                }
                ShardOp::Release { span, version } => {
                    view.release(&span, version, &mut holdings, &mut changes)
                }
                ShardOp::Sizes => view.sizes(&holdings).await.map(Ret::Held).map_err(Refusal::from),
                op => view.effect(&op, &mut changes).await,
            }
        } else {
            Ok(Ret::NotHere)
        };
        let answer = match answer {
            Ok(answer) => {
                batch.changes.append(&mut changes.changes);
                answer
            }
            Err(Refusal::Answer(answer)) => answer,
            Err(Refusal::Failed(error)) => return Err(error),
        };
        self.keep(before, moments, batch);
        Ok(answer)
    }

    /// Answers a read. Time stands still for it: it has no place in the log.
    pub(super) async fn query(
        &self,
        version: u64,
        read: &ShardOp,
        store: &impl ReadStore,
    ) -> Result<Ret, EngineError> {
        let holdings = self.holdings(store).await?;
        if !self.serves(&holdings, version, read) {
            return Ok(Ret::NotHere);
        }
        let view = View { store, bugs: self.bugs, moments: self.moments(store).await? };
        match read {
            ShardOp::Get { key, at, noted: false } => view.get(key, *at).await,
            ShardOp::Scan { span, at, limit, noted: false } => view.scan(span, *at, *limit).await,
            ShardOp::Middle { span } => view.middle(span).await,
            ShardOp::Sizes => Ok(Ret::Held(view.sizes(&holdings).await?)),
            other => panic!("{other} changes the state and needs a place in the log"),
        }
    }

    /// Which group it is.
    pub(super) fn group(&self) -> GroupId {
        self.group
    }

    /// What it serves, and how much of it there is.
    pub(super) async fn held(&self, store: &impl ReadStore) -> Result<Vec<Held>, EngineError> {
        let holdings = self.holdings(store).await?;
        let view = View { store, bugs: self.bugs, moments: self.moments(store).await? };
        view.sizes(&holdings).await
    }

    fn keep(&mut self, before: Moments, mut moments: Moments, batch: &mut Batch) {
        assert!(moments.clock >= before.clock, "the clock does not go back");
        assert!(moments.noted >= before.noted, "what was read was read");
        assert!(moments.safepoint >= before.safepoint, "what is over is over");
        if self.bugs.has(Bug::MaxTsNotReplicated) {
            self.remembered = moments.noted;
            moments.noted = Timestamp::ZERO;
        }
        if moments != before {
            batch.put(MOMENTS_KEY, encode(&moments));
        }
    }
}

//! Percolator (Peng and Dabek, *Large-scale Incremental Processing Using Distributed Transactions and
//! Notifications*, OSDI 2010): transactions with snapshot isolation over shards, each a replicated state
//! machine of its own.
//!
//! # Who does what
//!
//! A *client* coordinates its transactions. The *scheduler* ([`scheduler`], group 0) gives timestamps (§2.3)
//! and says which group holds which region. A *shard* ([`shard`], every other group) keeps versions, locks and
//! write records of its regions' keys. No server talks to another one: what is undone is finished by whoever
//! meets it.
//!
//! A transaction reads at its start timestamp and buffers what it writes. To commit (§2.2, Fig. 6) it
//! *prewrites*: each key gets a lock that names one of them, the *primary*, unless somebody has committed to
//! it since, or has locked it. Then it takes a commit timestamp and commits the primary: its lock becomes a
//! write record, and that is the moment at which all of it has happened. The other keys follow in any order.
//! Whoever meets a lock asks its primary: committed, rolled back, or alive until its time is over; then it does
//! to the lock what was decided. So two transactions that write one key never both commit (no lost update),
//! and a reader sees all of a transaction or nothing; but two that write different keys, each having read
//! what the other one writes, both do (write skew), as snapshot isolation allows (Berenson and others,
//! SIGMOD '95).
//!
//! # One command, one moment
//!
//! TiKV evaluates a request on the leader, holds latches on its keys meanwhile, and replicates the puts and
//! deletes that came of it. Here the *request* is replicated, and evaluated when it is applied, in the order
//! of the log, by every replica alike. There is nothing to latch, and nothing that a leader knows and its
//! successor does not: what TiKV's leader keeps in memory (the highest timestamp that was read, the clock) stands
//! in the store. The price is that reads whose timestamp must be noted go through the log, and that a request
//! that is refused takes a place in it.
//!
//! No session is kept, unlike in [`kv`](crate::kv): a client has many requests under way at a shard, and each of
//! them may come twice, or late. Each is safe so by itself: what has happened is recorded.
//!
//! # Rollbacks
//!
//! A prewrite may come after its transaction was given up (TiKV #921). So a rollback leaves a record that
//! refuses it. Such records pile up on a contended key: of those that are not *protected*, the next rollback
//! collapses the one before it. Protected is a record that alone keeps the transaction from coming back: of a
//! primary, and where no lock was found (TiKV #7364). The record stands at the timestamp at which the
//! transaction began. Another one may have committed at that very timestamp, if shards chose it; then its
//! commit record says so (an *overlapped* rollback).
//!
//! # Time
//!
//! A lock is respected for as long as its transaction asked, counted on the *clock* of its shard: the latest
//! of the moments at which leaders proposed commands. A leader whose clock runs ahead makes locks expire early,
//! which gives up transactions that were alive, but never splits one: whoever gives it up writes that down.
//!
//! # Beyond the paper
//!
//! - *Pessimistic transactions* ([`ShardOp::Acquire`]) lock keys before they write them, and read them as of
//!   later than their start.
//! - *Async commit* (TiKV): the transaction has committed once all of its locks stand; each shard says from
//!   when on, and the latest counts. Its primary's lock names the other keys, for whoever must find out.
//! - *One-phase commit*: a transaction whose keys are all here commits at once.
//! - Where shards choose commit timestamps, a reader must not have seen the absence of what then commits below
//!   its own: *noted* reads raise the lowest that is chosen.
//! - *Regions move* ([`ShardOp::Freeze`], [`ShardOp::Install`], [`ShardOp::Release`]) as in MIT 6.5840's
//!   shardkv. Requests name the version of the region that they mean.
//! - *Regions are balanced* as by TiKV's PD: leaders report what their groups hold ([`SchedulerOp::Heartbeat`]),
//!   and the scheduler moves regions from who has much to who has little ([`SchedulerOp::Balance`]).
//! - *Leaders are balanced*, too: who leads a group says so ([`SchedulerOp::Leads`]), and is told to hand it over if
//!   others lead less.
//! - *Garbage* is collected below a safepoint; a transaction from before it can no longer prewrite, since the
//!   record of its end may be gone.
//!
//! # Deviations
//!
//! - The paper's columns (data, lock, write; Fig. 5) are families; its Chubby locks of live workers are the
//!   locks' time to live, with heartbeats.
//! - The oracle writes each batch of timestamps down, and none ahead.
//! - A lock tells from when on its transaction may commit; readers below pass it by.
//! - No observers and notifications (§2.4): those are the paper's other half.

mod display;
mod holdings;
mod layout;
mod leaders;
mod migrate;
pub mod op;
mod pessimistic;
mod reports;
pub mod scheduler;
pub mod shard;
mod view;
mod write;

use contract::{
    Batch, Bugs, Bytes, Control, EngineError, Entry, GroupId, ReadStore, Rejection, Request, Role, Service,
    Standing,
};

pub use crate::mvcc::Timestamp;
pub use op::{
    Content, Held, LockInfo, Mutation, MutationKind, Op, Prewrite, Region, Ret, SchedulerOp, ShardOp, Span,
    Stale,
};
pub use scheduler::Scheduler;
pub use shard::Shard;

/// The group of the scheduler.
pub const SCHEDULER: GroupId = GroupId(0);

/// What a group replicates.
#[derive(Clone, Debug)]
pub enum PercolatorService {
    /// Of group [`SCHEDULER`].
    Scheduler(Scheduler),
    /// Of any other.
    Shard(Shard),
}

impl PercolatorService {
    /// The service of a group. The founding regions cover every key, and are held by shards; each group must
    /// be told the same ones, at each start.
    pub fn new(bugs: Bugs, group: GroupId, founding: Vec<Region>) -> Self {
        if group == SCHEDULER {
            Self::Scheduler(Scheduler::new(bugs, founding))
        } else {
            Self::Shard(Shard::new(bugs, group, founding))
        }
    }
}

impl Service for PercolatorService {
    type Op = Op;
    type Ret = Ret;

    fn families(&self) -> u8 {
        layout::FAMILIES
    }

    fn is_read(op: &Op) -> bool {
        op.is_read()
    }

    fn encode(request: &Request<Op>) -> Bytes {
        layout::encode(request).into()
    }

    fn encode_answer(answer: &Ret) -> Bytes {
        layout::encode(answer).into()
    }

    fn decode_answer(answer: &[u8]) -> Ret {
        layout::decode(answer, "an answer")
    }

    async fn apply(
        &mut self,
        entry: &Entry,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Result<Ret, Rejection>, EngineError> {
        let Some(command) = entry.command() else { return Ok(Ok(Ret::Done)) };
        let Request { op, .. }: Request<Op> = layout::decode(&command.data, "a command");
        Ok(Ok(match (self, op) {
            (Self::Scheduler(scheduler), Op::Scheduler(op)) => scheduler.apply(op, store, batch).await?,
            (Self::Shard(shard), Op::Shard { version, op }) => {
                shard.serve_under(entry.mark.epoch);
                shard.apply(version, op, command.proposed_at, store, batch).await?
            }
            _ => Ret::NotHere,
        }))
    }

    async fn query(&self, op: &Op, store: &impl ReadStore) -> Result<Ret, EngineError> {
        match (self, op) {
            (Self::Scheduler(scheduler), Op::Scheduler(read)) => scheduler.query(read, store).await,
            (Self::Shard(shard), Op::Shard { version, op }) => shard.query(*version, op, store).await,
            _ => Ok(Ret::NotHere),
        }
    }

    /// To the scheduler: from the scheduler's own replicas that their servers live; from whoever leads a group
    /// that it does, and what the group holds.
    async fn report(
        &self,
        standing: &Standing,
        store: &impl ReadStore,
    ) -> Result<Vec<(GroupId, Op)>, EngineError> {
        let Standing { server, view, membership } = standing;
        let group = match self {
            Self::Scheduler(_) => SCHEDULER,
            Self::Shard(shard) => shard.group(),
        };
        let mut told = Vec::new();
        if group == SCHEDULER {
            told.push(SchedulerOp::Alive { server: *server });
        }
        if view.role == Role::Leader {
            let candidates = membership.voters.difference(&membership.witnesses).copied().collect();
            told.push(SchedulerOp::Leads { group, epoch: view.epoch, server: *server, candidates });
            if let Self::Shard(shard) = self {
                told.push(SchedulerOp::Heartbeat { group, regions: shard.held(store).await? });
            }
        }
        Ok(told.into_iter().map(|op| (SCHEDULER, Op::Scheduler(op))).collect())
    }

    fn advice(answer: &Ret) -> Option<(GroupId, Control)> {
        match answer {
            Ret::HandOver { group, to } => Some((*group, Control::Transfer { to: *to })),
            _ => None,
        }
    }
}

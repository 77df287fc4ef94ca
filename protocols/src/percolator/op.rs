//! What clients ask of shards and of the scheduler, and what they are answered.

use std::collections::BTreeSet;

use contract::{Bytes, Epoch, GroupId, NodeId, WireSize};
use serde::{Deserialize, Serialize};

use crate::mvcc::Timestamp;

/// The keys from `start` on and, if there is an end, below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first key.
    pub start: Bytes,
    /// The first key behind it.
    pub end: Option<Bytes>,
}

impl Span {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bytes::default(), end: None }
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| *key < **end)
    }

    /// Whether all of another span lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        let ends = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(other)) => other <= mine,
        };
        self.start <= other.start && ends
    }
}

/// A span of keys, and which replica group holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Region {
    /// Its keys.
    pub span: Span,
    /// Raised whenever its span or its group changes: a request that names another version is refused.
    pub version: u64,
    /// Who holds it, or is about to.
    pub group: GroupId,
    /// Who held it before, until its data has been brought over.
    pub moving_from: Option<GroupId>,
}

/// What is asked of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Of the scheduler.
    Scheduler(SchedulerOp),
    /// Of a shard, in the belief that it holds a region of this version.
    Shard {
        /// The version of the region that holds the operation's keys, as far as the client knows. It is not
        /// looked at where an operation names a version itself ([`ShardOp::Freeze`], [`ShardOp::Install`],
        /// [`ShardOp::Release`]) or concerns all that a shard holds ([`ShardOp::Collect`], [`ShardOp::Sizes`]).
        version: u64,
        /// The operation.
        op: ShardOp,
    },
}

/// What is asked of the scheduler: the timestamp oracle and the map of regions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SchedulerOp {
    /// So many timestamps in a row, above all that were ever given. Answer: [`Ret::Timestamp`], the
    /// first of them.
    Timestamps {
        /// How many.
        count: u32,
    },
    /// The map. Answer: [`Ret::Regions`].
    Regions,
    /// Cuts the region that holds `at` there, and gives the part from `at` on to a group; all of it, if
    /// it begins at `at`. Nothing happens while that region is being moved, or another one away from its
    /// group (what stays becomes a region of the new version only with [`ShardOp::Freeze`]), or if the group
    /// has it.
    /// Answer: [`Ret::Regions`], the map after it.
    Split {
        /// The first key of the part.
        at: Bytes,
        /// Who gets it.
        to: GroupId,
    },
    /// The data of a region that was to be moved has been brought over. Answer: [`Ret::Done`].
    Moved {
        /// Where the region begins.
        start: Bytes,
        /// Its version.
        version: u64,
    },
    /// What a group holds, as [`ShardOp::Sizes`] told. The scheduler keeps the sizes of those regions that stand
    /// in its map so: with this span, this version and this group. Answer: [`Ret::Stale`], the others.
    Heartbeat {
        /// Who holds them. A group that holds nothing may say so: it can be given regions from then on.
        group: GroupId,
        /// What it holds.
        regions: Vec<Held>,
    },
    /// Gives a region of the group that has the most to the one that has the least, as [`SchedulerOp::Split`]
    /// does, if that brings the two closer. They are weighed by the sizes that were reported of their regions,
    /// by the number of them if none was of any; while some are known and others not, nothing happens, nor while
    /// one of the two takes part in a move. Answer: [`Ret::Regions`], the map after it.
    Balance {
        /// How far the two may be apart, in pairs or in regions, before anything moves.
        tolerance: u64,
    },
    /// The largest region, by the sizes that were reported, if it has more pairs than this and is not on its way.
    /// Answer: [`Ret::Largest`].
    Largest {
        /// How many pairs a region may have.
        above: u64,
    },
    /// A server lives, as it says from time to time. One of which nothing is heard while the others speak more
    /// than once each does not. Answer: [`Ret::Done`].
    Alive {
        /// Which one.
        server: NodeId,
    },
    /// A server leads a group, since a certain epoch: of an older one than was heard before nothing is believed.
    /// Answer: [`Ret::HandOver`] if it leads two groups more than one of the candidates that live, [`Ret::Done`]
    /// otherwise.
    Leads {
        /// Which group.
        group: GroupId,
        /// Its epoch.
        epoch: Epoch,
        /// Which server.
        server: NodeId,
        /// Who could lead it as well.
        candidates: BTreeSet<NodeId>,
    },
}

/// A region that a group holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Its keys.
    pub span: Span,
    /// Its version.
    pub version: u64,
    /// How many pairs stand in the store for it, versions, locks and records alike: what a move would have to
    /// bring over.
    pub pairs: u64,
}

/// What a group reported that does not fit the map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stale {
    /// What was reported.
    pub reported: Held,
    /// What the map says of its first key.
    pub known: Region,
}

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mutation {
    /// Which key.
    pub key: Bytes,
    /// What.
    pub kind: MutationKind,
}

/// The three things that a transaction can do to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MutationKind {
    /// Sets it.
    Put(Bytes),
    /// Removes it.
    Delete,
    /// Changes nothing, and lets nobody else change it meanwhile.
    Lock,
}

/// How a transaction writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prewrite {
    /// What it writes here.
    pub mutations: Vec<Mutation>,
    /// The key whose lock decides.
    pub primary: Bytes,
    /// When the transaction began.
    pub start: Timestamp,
    /// How long its locks are respected from now on, in microseconds.
    pub ttl: u64,
    /// Of a pessimistic transaction: the last timestamp at which it locked keys, so that the keys that it
    /// has locked are not checked for conflicts anew.
    pub for_update: Option<Timestamp>,
    /// Of an async commit, with the primary: the transaction's other keys. A lock so written is as good as
    /// committed once all of them are written.
    pub secondaries: Option<Vec<Bytes>>,
    /// Whether the commit timestamp is chosen by the shards ([`Ret::Prewritten`]): async commit and
    /// one-phase commit.
    pub shards_choose: bool,
    /// These are all keys of the transaction: it commits at once.
    pub one_phase: bool,
}

/// What is asked of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ShardOp {
    /// The value of a key as of a timestamp. Answer: [`Ret::Value`] or [`Ret::Locked`].
    Get {
        /// The key.
        key: Bytes,
        /// As of when.
        at: Timestamp,
        /// Whether the shard notes the timestamp, so that it chooses later ones for commits. Such a read
        /// needs a place in the log.
        noted: bool,
    },
    /// Pairs of a span as of a timestamp, in key order. Answer: [`Ret::Pairs`] or [`Ret::Locked`].
    Scan {
        /// Which keys.
        span: Span,
        /// As of when.
        at: Timestamp,
        /// The most pairs that are wanted.
        limit: u32,
        /// As for [`ShardOp::Get`].
        noted: bool,
    },
    /// The first phase. Answer: [`Ret::Prewritten`], [`Ret::Locked`] (somebody else's), [`Ret::Conflict`],
    /// [`Ret::RolledBack`] (somebody has given up this transaction) or [`Ret::Committed`] (it did before).
    Prewrite(Prewrite),
    /// The second phase. Answer: [`Ret::Done`], also if it had happened before; [`Ret::RolledBack`];
    /// [`Ret::NotFound`] if there is no trace of the transaction, [`Ret::TooLow`] if the lock asks for a
    /// later timestamp, [`Ret::Committed`] if it had committed at another one.
    Commit {
        /// Which keys.
        keys: Vec<Bytes>,
        /// When the transaction began.
        start: Timestamp,
        /// When it commits.
        commit: Timestamp,
    },
    /// Gives a transaction up, and sees to it that it cannot come back. Answer: [`Ret::Done`] or
    /// [`Ret::Committed`].
    Rollback {
        /// Which keys.
        keys: Vec<Bytes>,
        /// When the transaction began.
        start: Timestamp,
    },
    /// What became of a transaction; one whose lock on its primary key has expired is rolled back, and so
    /// is one of which there is no trace. Answer: [`Ret::Committed`], [`Ret::RolledBack`] or
    /// [`Ret::Locked`] while it is alive or must be decided by its other keys (async commit).
    CheckStatus {
        /// The primary key.
        primary: Bytes,
        /// When the transaction began.
        start: Timestamp,
    },
    /// Whether other keys of an async commit are written; of one that is not, it never will be. Answer:
    /// [`Ret::Prewritten`] if all are, [`Ret::Committed`], or [`Ret::RolledBack`].
    CheckSecondaries {
        /// Which keys.
        keys: Vec<Bytes>,
        /// When the transaction began.
        start: Timestamp,
    },
    /// Commits or rolls back what a transaction, which is decided, has locked. Keys on which it has no lock
    /// stay as they are. Answer: [`Ret::Done`]; [`Ret::TooLow`] as for [`ShardOp::Commit`].
    Resolve {
        /// Which keys.
        keys: Vec<Bytes>,
        /// When the transaction began.
        start: Timestamp,
        /// When it committed; `None`: it was rolled back.
        commit: Option<Timestamp>,
    },
    /// Extends the life of the lock on a primary key. Answer: [`Ret::Done`] or [`Ret::NotFound`].
    Heartbeat {
        /// The primary key.
        primary: Bytes,
        /// When the transaction began.
        start: Timestamp,
        /// How long from now on, in microseconds; an earlier end does not count.
        ttl: u64,
    },
    /// Locks keys before they are written (pessimistic transactions). Answer: [`Ret::Values`], what the
    /// keys hold as of `for_update`; [`Ret::Locked`], [`Ret::Conflict`] (a commit after `for_update`),
    /// [`Ret::RolledBack`] or [`Ret::Committed`].
    Acquire {
        /// Which keys.
        keys: Vec<Bytes>,
        /// The key whose lock decides.
        primary: Bytes,
        /// When the transaction began.
        start: Timestamp,
        /// As of when it locks.
        for_update: Timestamp,
        /// How long the locks are respected from now on, in microseconds.
        ttl: u64,
    },
    /// Lets go what [`ShardOp::Acquire`] took and no [`ShardOp::Prewrite`] has made its own. Answer:
    /// [`Ret::Done`].
    Abandon {
        /// Which keys.
        keys: Vec<Bytes>,
        /// When the transaction began.
        start: Timestamp,
        /// Locks taken as of a later timestamp stay.
        for_update: Timestamp,
    },
    /// Forgets a bounded number of versions that no reader at or above a timestamp sees; the next one goes
    /// on from there, and at the end begins anew. Locks older than it must have been resolved, on every
    /// shard (a scan at [`Timestamp::MAX`] meets those of writes; the others do not matter elsewhere).
    /// Answer: [`Ret::Done`] or [`Ret::Locked`].
    Collect {
        /// The safepoint: no transaction that began before it reads any more, or prewrites: it is answered
        /// [`Ret::RolledBack`].
        safepoint: Timestamp,
    },
    /// Gives up a span that becomes a region of its own elsewhere. From here on it is refused; its data is
    /// kept until [`ShardOp::Release`]. What stays becomes a region of the same new version. Answer:
    /// [`Ret::Content`], also if it was frozen before; [`Ret::NotHere`] once it is released.
    Freeze {
        /// Which keys.
        span: Span,
        /// The new version, above the old one.
        version: u64,
    },
    /// Takes over a region. Nothing happens if this version, or a later one, was taken over before. Answer:
    /// [`Ret::Done`].
    Install {
        /// Which keys.
        span: Span,
        /// Its version.
        version: u64,
        /// What another group held.
        content: Content,
    },
    /// Removes what was frozen: it has been taken over. Answer: [`Ret::Done`].
    Release {
        /// Which keys.
        span: Span,
        /// The version with which it was frozen.
        version: u64,
    },
    /// Where a span falls in two: the key that leaves as much before it as behind it, or as near to that as
    /// there is one. Answer: [`Ret::Middle`].
    Middle {
        /// Which keys.
        span: Span,
    },
    /// Which regions the shard serves, in key order. It may be asked without a place in the log. Answer:
    /// [`Ret::Held`].
    Sizes,
}

/// All that a shard knows of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Per family: the pairs, as they stand in the store.
    pub families: Vec<(u8, Vec<(Bytes, Bytes)>)>,
    /// The highest timestamp of a noted read.
    pub noted: Timestamp,
    /// The latest time at which a command was proposed, in microseconds.
    pub clock: u64,
    /// Transactions that began before it are over.
    pub safepoint: Timestamp,
}

/// A lock as others meet it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockInfo {
    /// The key that is locked.
    pub key: Bytes,
    /// The key whose lock decides.
    pub primary: Bytes,
    /// When the transaction began.
    pub start: Timestamp,
    /// Whether the time for which it asked is over.
    pub expired: bool,
    /// Of an async commit's primary: the other keys.
    pub secondaries: Option<Vec<Bytes>>,
    /// It commits no earlier than this.
    pub min_commit: Timestamp,
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ret {
    /// It is so.
    Done,
    /// The value; `None`: there is none.
    Value(Option<Bytes>),
    /// The values of several keys, in the order of the request.
    Values(Vec<Option<Bytes>>),
    /// Keys and values.
    Pairs(Vec<(Bytes, Bytes)>),
    /// Another transaction's lock is in the way.
    Locked(LockInfo),
    /// Another transaction has committed a write that this one did not see.
    Conflict {
        /// Where.
        key: Bytes,
        /// When that transaction began.
        start: Timestamp,
        /// When it committed.
        commit: Timestamp,
    },
    /// The first phase is done here. Where the shards choose, the transaction commits no earlier than this;
    /// of a one-phase commit: it has committed then. Otherwise zero.
    Prewritten {
        /// The timestamp.
        min_commit: Timestamp,
    },
    /// The transaction has committed.
    Committed {
        /// When.
        commit: Timestamp,
    },
    /// The transaction has been given up.
    RolledBack,
    /// The key holds no trace of the transaction.
    NotFound,
    /// The lock asks for a later commit timestamp.
    TooLow {
        /// The earliest that will do.
        min_commit: Timestamp,
    },
    /// A timestamp.
    Timestamp(Timestamp),
    /// Regions: the map.
    Regions(Vec<Region>),
    /// This shard does not hold all that the request named, or not as a region of that version.
    NotHere,
    /// What a span held.
    Content(Content),
    /// What a shard holds.
    Held(Vec<Held>),
    /// The first key of a span's second half; `None`: all that it holds stands under one key, or it is empty.
    Middle(Option<Bytes>),
    /// What of a report does not fit the map. It has been ignored.
    Stale(Vec<Stale>),
    /// The largest region, if it is too large, and the group that holds least.
    Largest(Option<(Region, GroupId)>),
    /// Leaders are even if this group is led by that server.
    HandOver {
        /// Which group.
        group: GroupId,
        /// Who is to lead it.
        to: NodeId,
    },
}

impl Op {
    /// Whether it changes nothing, so that it needs no place in the log.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Scheduler(SchedulerOp::Regions | SchedulerOp::Largest { .. })
                | Self::Shard {
                    op: ShardOp::Get { noted: false, .. }
                        | ShardOp::Scan { noted: false, .. }
                        | ShardOp::Middle { .. }
                        | ShardOp::Sizes,
                    ..
                }
        )
    }
}

impl WireSize for Op {
    fn wire_size(&self) -> usize {
        encoded_size(self)
    }
}

impl WireSize for Ret {
    fn wire_size(&self) -> usize {
        encoded_size(self)
    }
}

/// What it takes in the compact encoding in which it goes into the log, too.
fn encoded_size(of: &impl Serialize) -> usize {
    postcard::experimental::serialized_size(of).expect("it encodes into memory")
}

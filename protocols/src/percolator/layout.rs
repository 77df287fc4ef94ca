//! How a shard's state stands in the store.
//!
//! | Family | Key | Value |
//! |---|---|---|
//! | 0 | `h` | postcard: [`Holdings`](super::holdings::Holdings) |
//! | 0 | `m` | postcard: [`Moments`] |
//! | 0 | `g` | postcard: how far the collection of garbage has come |
//! | 1, data | the user's key and when the transaction began, as [`version_key`] | the value |
//! | 2, locks | the user's key | postcard: [`Lock`] |
//! | 3, writes | the user's key and when it was committed, or when what was rolled back began | kind, then postcard: [`Write`]'s rest |
//!
//! Family 0 is the host's too: its keys begin with a zero byte. A write record is a version of
//! [`mvcc`](crate::mvcc), whose content says where the value is; kinds above those of values are marks that
//! readers pass over.

use contract::{Bytes, Family, Time};
use serde::{Deserialize, Serialize};

use crate::mvcc::{self, Timestamp, behind, version_key};

use super::op::Span;

/// Values, at the timestamps at which their transactions began.
pub(super) const DATA: Family = Family(1);
/// Locks, by key.
pub(super) const LOCKS: Family = Family(2);
/// Write records, at the timestamps at which their transactions committed.
pub(super) const WRITES: Family = Family(3);

/// How many families there are, the host's among them.
pub(super) const FAMILIES: u8 = 4;

pub(super) const HOLDINGS_KEY: &[u8] = b"h";
pub(super) const MOMENTS_KEY: &[u8] = b"m";
pub(super) const GARBAGE_KEY: &[u8] = b"g";

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("it encodes into memory")
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> T {
    postcard::from_bytes(bytes).unwrap_or_else(|error| panic!("{what} is what was encoded: {error}"))
}

/// What a shard knows of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moments {
    /// The latest time at which a command was proposed, in microseconds. It never goes back, whatever the
    /// leaders' clocks do.
    pub(super) clock: u64,
    /// When the last command was proposed by its leader's clock, in microseconds.
    pub(super) proposed: u64,
    /// The highest timestamp of a noted read.
    pub(super) noted: Timestamp,
    /// Transactions that began before it are over.
    pub(super) safepoint: Timestamp,
}

impl Moments {
    /// A command was proposed at a time: the clock goes on by what has passed since the last one. A leader's
    /// clock that falls back, or another leader's that is behind, makes it stand still for that one moment and
    /// not until they have caught up: a lock would outlive its time by as much.
    pub(super) fn pass_to(self, proposed: Time) -> Self {
        let proposed = proposed.0 / 1000;
        let passed = proposed.saturating_sub(self.proposed);
        Self { clock: self.clock.saturating_add(passed), proposed, ..self }
    }

    /// What two shards know together.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            clock: self.clock.max(other.clock),
            proposed: self.proposed,
            noted: self.noted.max(other.noted),
            safepoint: self.safepoint.max(other.safepoint),
        }
    }
}

/// What a lock becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LockKind {
    Put,
    Delete,
    /// Nothing: it keeps others out.
    Lock,
    /// Not written yet: a pessimistic transaction keeps others out until it prewrites.
    Pessimistic,
}

/// A lock on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) kind: LockKind,
    /// The key whose lock decides.
    pub(super) primary: Bytes,
    /// When the transaction began.
    pub(super) start: Timestamp,
    /// When it may be taken for abandoned, in microseconds by [`Moments::clock`].
    pub(super) expires: u64,
    /// As of when it was locked pessimistically; otherwise zero.
    pub(super) for_update: Timestamp,
    /// It commits no earlier than this. Readers below need not wait.
    pub(super) min_commit: Timestamp,
    /// Of an async commit's primary: the other keys.
    pub(super) secondaries: Option<Vec<Bytes>>,
}

impl Lock {
    pub(super) fn is_prewritten(&self) -> bool {
        self.kind != LockKind::Pessimistic
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        assert!(self.min_commit > self.start, "a transaction commits after it began");
        assert!(self.is_prewritten() || self.secondaries.is_none(), "only what is written commits");
        encode(self)
    }
}

/// What a write record tells of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteKind {
    Put,
    Delete,
    /// It changed nothing, and counts as a change for others that want to write.
    Lock,
    /// It was given up.
    Rollback {
        /// The record is the only thing that keeps the transaction from coming back.
        protected: bool,
    },
}

/// A write record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) kind: WriteKind,
    /// When the transaction began.
    pub(super) start: Timestamp,
    /// Another transaction, which began when this one committed, was given up: its record would stand at
    /// this very place.
    pub(super) overlaps_rollback: bool,
}

const LOCK: u8 = 2;
const ROLLBACK: u8 = 3;
const PROTECTED_ROLLBACK: u8 = 4;

impl Write {
    pub(super) fn is_rollback(&self) -> bool {
        matches!(self.kind, WriteKind::Rollback { .. })
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        assert!(!(self.is_rollback() && self.overlaps_rollback), "a rollback overlaps commits only");
        let kind = match self.kind {
            WriteKind::Delete => mvcc::DELETED,
            WriteKind::Put => mvcc::PUT,
            WriteKind::Lock => LOCK,
            WriteKind::Rollback { protected: false } => ROLLBACK,
            WriteKind::Rollback { protected: true } => PROTECTED_ROLLBACK,
        };
        let mut bytes = vec![kind];
        bytes.extend(encode(&(self.start, self.overlaps_rollback)));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let (kind, rest) = bytes.split_first().expect("a write record has a kind");
        let kind = match *kind {
            mvcc::DELETED => WriteKind::Delete,
            mvcc::PUT => WriteKind::Put,
            LOCK => WriteKind::Lock,
            ROLLBACK => WriteKind::Rollback { protected: false },
            PROTECTED_ROLLBACK => WriteKind::Rollback { protected: true },
            other => panic!("a write record is what was encoded: kind {other}"),
        };
        let (start, overlaps_rollback) = decode(rest, "a write record");
        Self { kind, start, overlaps_rollback }
    }
}

/// When the transaction began that a version's content belongs to: the content is a record without its kind.
pub(super) fn start_of(content: &[u8]) -> Timestamp {
    let (start, _overlaps_rollback): (Timestamp, bool) = decode(content, "a write record");
    start
}

/// Where a span's versions stand in [`DATA`] and [`WRITES`]: from, and to if there is an end.
pub(super) fn version_bounds(span: &Span) -> (Vec<u8>, Option<Vec<u8>>) {
    let before = |key: &Bytes| version_key(key, Timestamp::MAX);
    (before(&span.start), span.end.as_ref().map(before))
}

/// Where the records of a key stand, from the newest down to a timestamp.
pub(super) fn records_from(key: &[u8], oldest: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let to = oldest.prev().map_or_else(|| behind(key), |prev| version_key(key, prev));
    (version_key(key, Timestamp::MAX), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_they_were_written() {
        let rollback = |protected| WriteKind::Rollback { protected };
        for kind in [WriteKind::Put, WriteKind::Delete, WriteKind::Lock, rollback(false), rollback(true)] {
            let write = Write { kind, start: Timestamp(300), overlaps_rollback: false };
            assert_eq!(Write::decode(&write.encoded()), write);
            assert_eq!(start_of(&write.encoded()[1..]), Timestamp(300));
        }
        let overlapping = Write { kind: WriteKind::Put, start: Timestamp(1), overlaps_rollback: true };
        assert_eq!(Write::decode(&overlapping.encoded()), overlapping);
    }

    #[test]
    fn records_of_a_key_end_where_they_should() {
        let (from, to) = records_from(b"k", Timestamp(5));
        let stands = |at| version_key(b"k", Timestamp(at));
        assert!(from <= stands(u64::MAX) && stands(5) < to && to <= stands(4));
        let (_, to) = records_from(b"k", Timestamp::ZERO);
        assert!(stands(0) < to && to < version_key(b"k\0", Timestamp::MAX));
    }
}

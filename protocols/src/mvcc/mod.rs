//! Many versions of each key, by timestamp, in any ordered store (Reed, 1978; laid out as Percolator
//! and TiKV do).
//!
//! A version stands under its user key, then its timestamp, so that the newest version comes first: a
//! read at a timestamp is one seek. Writing at a timestamp is putting a pair into a batch; nothing here
//! orders timestamps or locks keys: that is the transaction protocol's.
//!
//! | Version's key | Bytes | |
//! |---|---|---|
//! | groups | 9 each | 8 bytes of the user key, padded with zeros, then 255 − how many of them are padding; the last group, and only that, has padding |
//! | timestamp | 8 | all bits inverted, big-endian: the newest first |
//!
//! The groups keep the order of user keys whatever bytes they hold, and no version of one key stands
//! between versions of another (memcomparable, as in MyRocks and TiKV).
//!
//! | Version's value | Bytes | |
//! |---|---|---|
//! | kind | 1 | 0: the key is deleted as of this version; 1: it has the value that follows; above: a mark, which readers pass over |
//! | content | … | the value; of a deletion and of a mark: whatever its writer wants to know |

mod garbage;

use std::fmt;

use contract::{Batch, EngineError, Family, Order, Pair, Range, ReadStore};
use serde::{Deserialize, Serialize};

pub use garbage::GarbageCollection;

const GROUP: usize = 8;
const TIMESTAMP_BYTES: usize = 8;
/// The kind of a version that deletes its key.
pub const DELETED: u8 = 0;
/// The kind of a version that has a value.
pub const PUT: u8 = 1;
/// Versions that one request reads.
const CHUNK: usize = 64;

/// When a version was written, on whatever clock its writers agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// At or below every timestamp.
    pub const ZERO: Self = Self(0);
    /// At or above every timestamp.
    pub const MAX: Self = Self(u64::MAX);

    /// The timestamp after this one.
    ///
    /// # Panics
    /// If this is [`Timestamp::MAX`]: nothing comes after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("nothing comes after the last timestamp"))
    }

    /// The timestamp before this one, if there is one.
    pub fn prev(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// A user key such that encoded keys are in the order of user keys, and none is a prefix of another.
fn encode_key(key: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity((key.len() / GROUP + 1) * (GROUP + 1) + TIMESTAMP_BYTES + 1);
    for at in (0..=key.len()).step_by(GROUP) {
        let group = &key[at..key.len().min(at + GROUP)];
        let padding = GROUP - group.len();
        encoded.extend_from_slice(group);
        encoded.resize(encoded.len() + padding, 0);
        encoded.push(u8::MAX - padding as u8);
    }
    encoded
}

/// Where a version of a key is kept.
pub fn version_key(key: &[u8], at: Timestamp) -> Vec<u8> {
    let mut encoded = encode_key(key);
    encoded.extend_from_slice(&(!at.0).to_be_bytes());
    assert_eq!(encoded.len() % (GROUP + 1), TIMESTAMP_BYTES, "a version's key is groups and a timestamp");
    encoded
}

/// Behind all versions of a key, and before those of the next one.
pub fn behind(key: &[u8]) -> Vec<u8> {
    let mut encoded = encode_key(key);
    encoded.extend_from_slice(&[u8::MAX; TIMESTAMP_BYTES + 1]);
    encoded
}

/// The user key and the timestamp of a version; `None` if the bytes are no version's key.
pub fn split_version_key(encoded: &[u8]) -> Option<(Vec<u8>, Timestamp)> {
    let (groups, timestamp) = encoded.split_at_checked(encoded.len().checked_sub(TIMESTAMP_BYTES)?)?;
    let (mut key, mut ended) = (Vec::new(), false);
    for group in groups.chunks(GROUP + 1) {
        let (bytes, marker) = group.split_at_checked(GROUP)?;
        let padding = usize::from(u8::MAX - marker.first()?);
        let (used, unused) = bytes.split_at_checked(GROUP.checked_sub(padding)?)?;
        if ended || unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        key.extend_from_slice(used);
        ended = padding > 0;
    }
    let at = Timestamp(!u64::from_be_bytes(timestamp.try_into().ok()?));
    ended.then_some((key, at))
}

/// Adds the value of a key as of a timestamp to a batch.
pub fn put(batch: &mut Batch, family: Family, key: &[u8], at: Timestamp, value: &[u8]) {
    batch.put_in(family, version_key(key, at), [&[PUT], value].concat());
}

/// Adds the deletion of a key as of a timestamp to a batch. Older versions stay.
pub fn delete(batch: &mut Batch, family: Family, key: &[u8], at: Timestamp) {
    batch.put_in(family, version_key(key, at), [DELETED]);
}

/// The newest pair at or below a timestamp among those that [`version_key`] places: for layouts with
/// values of their own, as Percolator's write records.
///
/// # Errors
///
/// Those of the store.
pub async fn newest_pair(
    store: &impl ReadStore,
    family: Family,
    key: &[u8],
    at: Timestamp,
) -> Result<Option<(Timestamp, Vec<u8>)>, EngineError> {
    let (from, to) = (version_key(key, at), behind(key));
    let found = store.scan(Range::between(&from, &to).of(family), 1).await?;
    let Some((encoded, value)) = found.into_iter().next() else { return Ok(None) };
    let (found, written) =
        split_version_key(&encoded).ok_or_else(|| malformed("version key is malformed"))?;
    assert_eq!(found, key, "no other key stands between the versions of one");
    assert!(written <= at, "later versions stand before earlier ones");
    Ok(Some((written, value)))
}

fn malformed(what: &'static str) -> EngineError {
    EngineError::Corrupt { file: "versions".into(), offset: 0, what }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// When it was written.
    pub at: Timestamp,
    /// `None`: the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// The kind of a version.
fn kind(encoded: &[u8]) -> Result<u8, EngineError> {
    encoded.first().copied().ok_or_else(|| malformed("version value is empty"))
}

/// Whether readers pass a version over.
fn is_mark(encoded: &[u8]) -> Result<bool, EngineError> {
    Ok(kind(encoded)? > PUT)
}

fn decode_value(mut encoded: Vec<u8>) -> Result<Option<Vec<u8>>, EngineError> {
    let kind = kind(&encoded)?;
    assert!(kind <= PUT, "a mark is passed over");
    if kind == DELETED {
        return Ok(None);
    }
    encoded.remove(0);
    Ok(Some(encoded))
}

/// Reads of the versions in a family of a store, or of a snapshot of one.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a, S> {
    store: &'a S,
    family: Family,
}

impl<'a, S: ReadStore> Versions<'a, S> {
    /// The versions in `family`, which holds nothing else.
    pub fn new(store: &'a S, family: Family) -> Self {
        Self { store, family }
    }

    /// The newest version of a key at or below a timestamp; deletions are versions too, marks are not.
    ///
    /// # Errors
    ///
    /// Those of the store; [`EngineError::Corrupt`] if the family holds something else than versions.
    pub async fn newest(&self, key: &[u8], mut at: Timestamp) -> Result<Option<Version>, EngineError> {
        while let Some((written, value)) = newest_pair(self.store, self.family, key, at).await? {
            if !is_mark(&value)? {
                return Ok(Some(Version { at: written, value: decode_value(value)? }));
            }
            let Some(before) = written.prev() else { break };
            at = before;
        }
        Ok(None)
    }

    /// The value of a key as of a timestamp.
    ///
    /// # Errors
    ///
    /// As [`Versions::newest`].
    pub async fn get(&self, key: &[u8], at: Timestamp) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.newest(key, at).await?.and_then(|version| version.value))
    }

    /// The first `limit` pairs of a range of user keys as of a timestamp, in the range's order. The
    /// range's family is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Versions::newest`].
    pub async fn scan(
        &self,
        range: Range<'_>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let from = version_key(range.from, Timestamp::MAX);
        let to = range.to.map(|to| version_key(to, Timestamp::MAX));
        let mut pairs = match range.order {
            Order::Ascending => self.ascend(from, to, at, limit).await?,
            Order::Descending => self.descend(from, to, at, limit).await?,
        };
        pairs.truncate(limit);
        let in_order = |a: &Pair, b: &Pair| (a.0 < b.0) == (range.order == Order::Ascending) && a.0 != b.0;
        assert!(pairs.is_sorted_by(in_order), "a scan tells each key once, in its order");
        Ok(pairs)
    }

    /// The next versions of a range of their keys, each as its user key, its timestamp and its value.
    async fn chunk(&self, from: &[u8], to: Option<&[u8]>, order: Order) -> Result<Chunk, EngineError> {
        let range = Range { family: self.family, from, to, order };
        let mut chunk = Chunk::new();
        for (encoded, value) in self.store.scan(range, CHUNK).await? {
            let split = split_version_key(&encoded).ok_or_else(|| malformed("version key is malformed"))?;
            chunk.push((split, value));
        }
        assert!(chunk.len() <= CHUNK, "a scan stops at its limit");
        Ok(chunk)
    }

    async fn ascend(
        &self,
        mut from: Vec<u8>,
        to: Option<Vec<u8>>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let mut pairs = Vec::new();
        // The key whose version was found: its older ones do not count.
        let mut found: Option<Vec<u8>> = None;
        while pairs.len() < limit {
            let chunk = self.chunk(&from, to.as_deref(), Order::Ascending).await?;
            let more = chunk.len() == CHUNK;
            let last = chunk.last().map(|(split, _)| split.clone());
            for ((key, written), value) in chunk {
                if written <= at && found.as_ref() != Some(&key) && !is_mark(&value)? {
                    pairs.extend(decode_value(value)?.map(|value| (key.clone(), value)));
                    found = Some(key);
                }
            }
            let Some(last) = last.filter(|_| more) else { break };
            // A long history is passed by a seek, on either side of the version that counts.
            from = match last {
                (key, _) if found.as_ref() == Some(&key) => behind(&key),
                (key, written) if written > at => version_key(&key, at),
                (key, written) => written.prev().map_or_else(|| behind(&key), |prev| version_key(&key, prev)),
            };
        }
        Ok(pairs)
    }

    async fn descend(
        &self,
        from: Vec<u8>,
        mut to: Option<Vec<u8>>,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let mut pairs = Vec::new();
        // The newest version so far of the key that is being read, the oldest coming first.
        let mut candidate: Option<(Vec<u8>, Vec<u8>)> = None;
        let emit = |candidate: Option<(Vec<u8>, Vec<u8>)>| match candidate {
            Some((key, value)) => Ok(decode_value(value)?.map(|value| (key, value))),
            None => Ok::<_, EngineError>(None),
        };
        while pairs.len() < limit {
            let chunk = self.chunk(&from, to.as_deref(), Order::Descending).await?;
            let more = chunk.len() == CHUNK;
            let last = chunk.last().map(|(split, _)| split.clone());
            for ((key, written), value) in chunk {
                if candidate.as_ref().is_some_and(|(before, _)| *before != key) {
                    pairs.extend(emit(candidate.take())?);
                }
                if written <= at && !is_mark(&value)? {
                    candidate = Some((key, value));
                }
            }
            let Some((key, written)) = last.filter(|_| more) else { break };
            to = Some(version_key(&key, if written > at { Timestamp::MAX } else { written }));
        }
        pairs.extend(emit(candidate)?);
        Ok(pairs)
    }
}

type Chunk = Vec<((Vec<u8>, Timestamp), Vec<u8>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_published() {
        // The layout's rows in TinyKV, whose timestamps are inverted too.
        let inverted = |at: u64| (!at).to_be_bytes();
        let zeros = inverted(0);
        let expect = |key: &[u8], group: [u8; 9], at: u64, inverted: [u8; 8]| {
            assert_eq!(version_key(key, Timestamp(at)), [&group[..], &inverted].concat());
            assert_eq!(
                split_version_key(&version_key(key, Timestamp(at))),
                Some((key.to_vec(), Timestamp(at)))
            );
        };
        expect(&[], [0, 0, 0, 0, 0, 0, 0, 0, 247], 0, zeros);
        expect(&[42], [42, 0, 0, 0, 0, 0, 0, 0, 248], 0, zeros);
        expect(&[42, 0, 5], [42, 0, 5, 0, 0, 0, 0, 0, 250], 0, zeros);
        expect(&[42], [42, 0, 0, 0, 0, 0, 0, 0, 248], !43_543_258_743_295, [0, 0, 39, 154, 52, 120, 65, 255]);
        expect(&[42, 0, 5], [42, 0, 5, 0, 0, 0, 0, 0, 250], !98_753_868, [0, 0, 0, 0, 5, 226, 221, 76]);
        assert!(version_key(&[42], Timestamp(238)) < version_key(&[200], Timestamp(0)));
        assert!(version_key(&[42], Timestamp(238)) < version_key(&[42, 0], Timestamp(0)));
    }

    /// All keys of up to 17 bytes of zeros and 255s at their ends, in the order of keys, newest first.
    #[test]
    fn versions_stand_in_the_order_of_keys_and_the_newest_first() {
        let mut keys = vec![Vec::new()];
        for len in 1..18 {
            for last in [0, 1, 254, 255] {
                for fill in [0, 255] {
                    let mut key = vec![fill; len];
                    key[len - 1] = last;
                    keys.push(key);
                }
            }
        }
        keys.sort();
        keys.dedup();
        let times = [u64::MAX, 1 << 56, 255, 1, 0].map(Timestamp);
        let versions: Vec<_> = keys.iter().flat_map(|key| times.map(|at| (key, at))).collect();
        let encoded: Vec<_> = versions.iter().map(|(key, at)| version_key(key, *at)).collect();
        assert!(encoded.is_sorted_by(|a, b| a < b), "the order of bytes is the order of versions");
        for ((key, at), encoded) in versions.iter().zip(&encoded) {
            assert_eq!(split_version_key(encoded), Some(((*key).clone(), *at)));
            assert!(*encoded < behind(key), "a key's versions end where they should");
            let cut = &encoded[..encoded.len() - 1];
            assert_ne!(split_version_key(cut), Some(((*key).clone(), *at)));
        }
        for pair in keys.windows(2) {
            assert!(behind(&pair[0]) < version_key(&pair[1], Timestamp::MAX));
        }
    }
}

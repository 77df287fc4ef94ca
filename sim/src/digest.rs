//! The rolling digest: 128 bits that cover every event of a run.
//!
//! Each event is a few 64-bit words. Every word goes into two lanes with different multipliers: one
//! folds the 128-bit product of (state xor word), the other rotates, adds and multiplies. This is a
//! check for divergence, not a cryptographic hash. All arithmetic is on `u64` with fixed byte order,
//! so the digest does not depend on the machine's word size.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use contract::Seed;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Odd constants with well-spread bits: fractions of pi, as in Blowfish's first subkeys.
const K: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];

/// The digest of a run up to some event. In text it is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest of 32 hexadecimal digits")]
pub struct NotADigest(pub String);

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let well_formed = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = u128::from_str_radix(text, 16).ok().filter(|_| well_formed);
        parsed.map(Self).ok_or_else(|| NotADigest(text.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The kind of an event: the first word it feeds. The numbers are part of the digest.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Kind {
    Send = 1,
    Deliver,
    Drop,
    Timer,
    Wake,
    Task,
    Control,
    DiskRequest,
    DiskDone,
    Directory,
    Crash,
    Sector,
    Size,
    Lost,
    Restart,
    Partition,
    Heal,
    Note,
    Duplicate,
    Segment,
    Disconnect,
    Fault,
    FaultEnds,
    DiskError,
    Close,
    Unheard,
}

/// The digest while the run goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling {
    lanes: [u64; 2],
}

impl Rolling {
    pub(crate) fn new(seed: Seed) -> Self {
        let mut rolling = Self { lanes: [K[2], K[3]] };
        rolling.word(seed.0);
        rolling
    }

    #[inline]
    fn word(&mut self, word: u64) {
        let [fold_lane, rotate_lane] = self.lanes;
        self.lanes =
            [fold(fold_lane ^ word, K[0]), rotate_lane.rotate_left(29).wrapping_add(word).wrapping_mul(K[1])];
    }

    /// Covers one event: its kind, then its words.
    #[inline]
    pub(crate) fn event<const N: usize>(&mut self, kind: Kind, words: [u64; N]) {
        self.word(kind as u64);
        for word in words {
            self.word(word);
        }
    }

    /// Covers words whose number varies; the number is covered too.
    pub(crate) fn words(&mut self, words: &[u64]) {
        self.word(words.len() as u64);
        for word in words {
            self.word(*word);
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        let [high, low] = self.lanes;
        Digest(u128::from(fold(high ^ K[3], K[1])) << 64 | u128::from(low))
    }
}

/// Both halves of the product, xored: every input bit reaches every output bit.
#[inline]
fn fold(x: u64, multiplier: u64) -> u64 {
    let product = u128::from(x) * u128::from(multiplier);
    (product >> 64) as u64 ^ product as u64
}

/// The hash of a message's content. Integers count by value, whatever their width, and `usize` as
/// `u64`. (Slices of integers wider than a byte reach a [`Hasher`] in the machine's byte order: a
/// message that holds such slices has the same hash on little-endian machines only.)
#[inline]
pub(crate) fn content_hash<T: Hash + ?Sized>(content: &T) -> u64 {
    let mut hasher = ContentHasher(K[2]);
    content.hash(&mut hasher);
    hasher.finish()
}

/// The hash of a buffer.
#[inline]
pub(crate) fn bytes_hash(bytes: &[u8]) -> u64 {
    let mut hasher = ContentHasher(K[2]);
    hasher.write(bytes);
    hasher.finish()
}

/// A [`Hasher`] without random state, the same on every platform.
struct ContentHasher(u64);

/// Eight bytes as a number.
#[inline]
fn word_at(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a word has eight bytes"))
}

impl Hasher for ContentHasher {
    #[inline]
    fn finish(&self) -> u64 {
        fold(self.0 ^ K[3], K[1])
    }

    /// Four independent lanes for the bulk, so that the multiplier's latency does not add up.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<32>();
        if !blocks.is_empty() {
            let mut lanes = K;
            for block in blocks {
                for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                    *lane = fold(*lane ^ u64::from_le_bytes(*word), K[0]);
                }
            }
            for lane in lanes {
                self.write_u64(lane);
            }
        }
        let (words, tail) = rest.as_chunks::<8>();
        for word in words {
            self.write_u64(word_at(word));
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            self.write_u64(word_at(&last));
        }
        // The length, so that trailing zeros count.
        self.write_u64(bytes.len() as u64);
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, K[0]).wrapping_add(K[1]);
    }
    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }
    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }
    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    #[inline]
    fn write_i8(&mut self, value: i8) {
        self.write_i64(i64::from(value));
    }
    #[inline]
    fn write_i16(&mut self, value: i16) {
        self.write_i64(i64::from(value));
    }
    #[inline]
    fn write_i32(&mut self, value: i32) {
        self.write_i64(i64::from(value));
    }
    #[inline]
    fn write_i64(&mut self, value: i64) {
        self.write_u64(value as u64);
    }
    #[inline]
    fn write_i128(&mut self, value: i128) {
        self.write_u128(value as u128);
    }
    #[inline]
    fn write_isize(&mut self, value: isize) {
        self.write_i64(value as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed by hand: a change of the mixing makes every recorded digest worthless.
    #[test]
    fn digests_are_stable() {
        let mut rolling = Rolling::new(Seed(1));
        rolling.event(Kind::Timer, [1, 2, 3]);
        rolling.words(&[content_hash(&("text", 5_usize, -1_i8, Some(7_u16)))]);
        assert_eq!(rolling.digest().to_string(), "7918970f50bb964a4670740ccf398b66");
    }

    #[test]
    fn digest_round_trips_as_text() {
        let digest = Digest(0xfe);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("fe".parse::<Digest>().is_err());
        assert!(format!("+{:031x}", 1).parse::<Digest>().is_err());
    }

    #[test]
    fn every_byte_of_a_buffer_counts() {
        let zeros = vec![0; 100];
        let hash = bytes_hash(&zeros);
        for i in 0..100 {
            let mut changed = zeros.clone();
            changed[i] = 1;
            assert_ne!(bytes_hash(&changed), hash, "byte {i} does not count");
            assert_ne!(bytes_hash(&zeros[..i]), hash, "length {i} does not count");
        }
    }
}

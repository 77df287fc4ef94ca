//! Keyed randomness: every draw is a function of (seed, purpose, entity, position), and of nothing
//! that happened before it.
//!
//! ChaCha8 turns (seed, purpose, entity) into a 64-bit key, once per entity. The hot draws come from
//! the counter-based Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
//! easy as 1, 2, 3", SC'11) on (key, slot, ordinal). A draw more or less in one place therefore
//! shifts no draw in another.

use contract::Seed;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a family of draws is for. Two purposes never share a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose(&'static str);

impl Purpose {
    /// The fate of messages; the entity is a directed link.
    pub(crate) const LINK: Self = Self("link");
    /// What a link does to a message beyond losing and delaying it; the entity is a directed link.
    pub(crate) const LINK_MORE: Self = Self("link-more");
    /// The fate of a stream's segments; the entity is a directed link.
    pub(crate) const STREAM: Self = Self("stream");
    /// Which spells of a link are bad; the entity is a directed link.
    pub(crate) const WEATHER: Self = Self("weather");
    /// The order in which a swizzle stops and frees links; the entity is its number.
    pub(crate) const SWIZZLE: Self = Self("swizzle");
    /// The rate of a clock; the entity is a node.
    pub(crate) const DRIFT: Self = Self("drift");
    /// Where a disk's files lie; the entity is a node.
    pub(crate) const PLACE: Self = Self("place");
    /// A disk's slow spells; the entity is a node.
    pub(crate) const SPELL: Self = Self("spell");
    /// What a disk's faults hit; the entity is a node.
    pub(crate) const TROUBLE: Self = Self("trouble");
    /// Delays of timers; the entity is an endpoint.
    pub(crate) const TIMER: Self = Self("timer");
    /// The order of sleepers that wake at one time; the entity is an endpoint.
    pub(crate) const SLEEP: Self = Self("sleep");
    /// The order of tasks that are ready at one event; the entity is an endpoint.
    pub(crate) const TASK: Self = Self("task");
    /// The offset of a clock; the entity is a node.
    pub(crate) const CLOCK: Self = Self("clock");
    /// Latencies of disk requests; the entity is a node.
    pub(crate) const DISK: Self = Self("disk");
    /// What a power loss leaves on a disk; the entity is a node.
    pub(crate) const POWER_LOSS: Self = Self("power-loss");

    /// A purpose of the caller's own. Its name is what sets it apart.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// FNV-1a of the name.
    fn code(self) -> u64 {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.0.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

/// Where all keys of one run come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys(Seed);

impl Keys {
    /// The keys of a seed.
    pub const fn new(seed: Seed) -> Self {
        Self(seed)
    }

    /// The key under which an entity draws for a purpose.
    pub fn key(&self, purpose: Purpose, entity: u64) -> u64 {
        self.stream(purpose, entity).next_u64()
    }

    /// A generator for sequential draws, where speed does not matter: plans and workloads.
    pub fn stream(&self, purpose: Purpose, entity: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.0.0.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.code().to_le_bytes());
        key[16..24].copy_from_slice(&entity.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

impl From<Seed> for Keys {
    fn from(seed: Seed) -> Self {
        Self::new(seed)
    }
}

/// One block of Philox 4x32-10: 128 random bits at a position of a key's sequence.
#[inline]
pub fn philox(key: u64, slot: u64, ordinal: u64) -> [u32; 4] {
    let mut counter = [ordinal as u32, (ordinal >> 32) as u32, slot as u32, (slot >> 32) as u32];
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let left = 0xd251_1f53 * u64::from(counter[0]);
        let right = 0xcd9e_8d57 * u64::from(counter[2]);
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
        // Weyl sequence of the golden ratio and of sqrt(3) - 1.
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Two words of a block as one.
#[inline]
pub(crate) fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Maps 64 random bits to `0..=most`.
#[inline]
pub(crate) fn up_to(most: u64, bits: u64) -> u64 {
    ((u128::from(bits) * (u128::from(most) + 1)) >> 64) as u64
}

/// Maps 64 random bits to the open interval (0, 1): 0 and 1 have no place in an inverse CDF.
#[inline]
pub(crate) fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123's `kat_vectors`.
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox(u64::MAX, u64::MAX, u64::MAX),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(0x299f_31d0_a409_3822, 0x0370_7344_1319_8a2e, 0x85a3_08d3_243f_6a88),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn keys_differ_by_seed_purpose_and_entity() {
        let key = Keys::new(Seed(1)).key(Purpose::LINK, 1);
        assert_eq!(key, Keys::new(Seed(1)).key(Purpose::LINK, 1));
        assert_ne!(key, Keys::new(Seed(2)).key(Purpose::LINK, 1));
        assert_ne!(key, Keys::new(Seed(1)).key(Purpose::DISK, 1));
        assert_ne!(key, Keys::new(Seed(1)).key(Purpose::LINK, 2));
    }

    #[test]
    fn up_to_reaches_both_ends() {
        assert_eq!((up_to(9, 0), up_to(9, u64::MAX), up_to(0, u64::MAX)), (0, 9, 0));
        assert_eq!(up_to(u64::MAX, u64::MAX), u64::MAX);
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
    }
}

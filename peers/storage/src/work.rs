//! Rows, and which of them are asked for.

use crate::store::{KEY_BYTES, Key, VALUE_BYTES, Value};

/// SplitMix64: each number's own, and any 64 bits.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fill<const BYTES: usize>(stream: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (word, part) in (0..).zip(bytes.chunks_mut(8)) {
        part.copy_from_slice(&mix(stream.wrapping_mul(32) + word).to_be_bytes()[..part.len()]);
    }
    bytes
}

/// The key of a row: any bytes.
pub fn key(row: u64) -> Key {
    fill::<KEY_BYTES>(row)
}

/// A value: bytes that cannot be compressed.
pub fn value(number: u64) -> Value {
    fill::<VALUE_BYTES>(number ^ 1 << 50)
}

/// Draws, the same in every run.
pub struct Draws(u64);

impl Draws {
    /// The draws of a seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Any number below another.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        ((u128::from(mix(self.0)) * u128::from(end)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }
}

/// Numbers below `items` of which few are frequent (Gray et al., 1994; as in YCSB).
pub struct Zipf {
    items: u64,
    zeta: f64,
    eta: f64,
}

const THETA: f64 = 0.99;

impl Zipf {
    /// The distribution over so many.
    pub fn new(items: u64) -> Self {
        let zeta = |items: u64| (1..=items).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let all = zeta(items);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - zeta(2) / all);
        Self { items, zeta: all, eta }
    }

    /// One of them, the most frequent being 0.
    pub fn draw(&self, draws: &mut Draws) -> u64 {
        let u = draws.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = self.items as f64 * (self.eta * u - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
        (rank as u64).min(self.items - 1)
    }
}

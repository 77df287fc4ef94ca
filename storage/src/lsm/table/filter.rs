//! A Bloom filter over a table's keys: "certainly not here", or "perhaps".
//!
//! With `b` bits per key and `b · ln 2` probes about 0.6185 to the power of `b` are false positives: at
//! ten bits, 0.82 %. Probe `i` sets the bit `(h + i·s) · bits / 2^64`, where `h` is the key's hash, `s` is `h`
//! rotated by 32 bits with its lowest bit set (Kirsch and Mitzenmacher, 2006), and sums are modulo 2^64.
//! Bit `n` is the one of value `2^(n mod 8)` in byte `n / 8`. A table without filter has a section of no bytes.
//!
//! | Filter | Bytes | |
//! |---|---|---|
//! | bits | … | as many as eight times its bytes |
//! | probes | 1 | |
//!
//! The hash begins with the key's length and takes in eight bytes at a time, little-endian, the last ones
//! padded with zeros: `h = (h xor word) · 0x9e3779b97f4a7c15; h = h xor (h >> 32)`. Then comes the finalizer
//! of MurmurHash3.

use std::ops::RangeInclusive;

/// More probes than any filter needs: of 43 bits per key.
const PROBES: RangeInclusive<u8> = 1..=30;

/// The hash that a filter knows a key by.
pub(in crate::lsm) fn hash(key: &[u8]) -> u64 {
    let mut hash = key.len() as u64;
    let mut take = |word: [u8; 8]| {
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    };
    let (words, rest) = key.as_chunks::<8>();
    words.iter().for_each(|word| take(*word));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        take(word);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn bits_of(hash: u64, bits: u64, probes: u8) -> impl Iterator<Item = usize> {
    assert!(bits > 0, "a filter has bits");
    let step = hash.rotate_left(32) | 1;
    let probe = move |i| (u128::from(hash.wrapping_add(step.wrapping_mul(i))) * u128::from(bits)) >> 64;
    (0..u64::from(probes)).map(move |i| probe(i) as usize)
}

/// The filter of a set of keys; with no bits per key, none.
pub(super) fn build(hashes: &[u64], bits_per_key: usize) -> Vec<u8> {
    if bits_per_key == 0 {
        return Vec::new();
    }
    let probes = (bits_per_key as f64 * std::f64::consts::LN_2).round() as u8;
    let probes = probes.clamp(*PROBES.start(), *PROBES.end());
    let mut filter = vec![0u8; (hashes.len() * bits_per_key).div_ceil(8).max(8)];
    let bits = filter.len() as u64 * 8;
    for hash in hashes {
        for bit in bits_of(*hash, bits, probes) {
            filter[bit / 8] |= 1 << (bit % 8);
        }
    }
    filter.push(probes);
    filter
}

/// Whether these bytes can be a filter.
pub(super) fn is_sound(filter: &[u8]) -> bool {
    filter.split_last().is_none_or(|(probes, bits)| !bits.is_empty() && PROBES.contains(probes))
}

/// Whether a key of this hash may be in the set.
pub(super) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some((probes, filter)) = filter.split_last() else { return true };
    bits_of(hash, filter.len() as u64 * 8, *probes).all(|bit| filter[bit / 8] & (1 << (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_positives_follow_the_law() {
        let key = |i: u32| hash(format!("user{i:08}").as_bytes());
        let hashes: Vec<_> = (0..10_000).map(key).collect();
        for (bits_per_key, expected) in [(5, 9_050), (8, 2_140), (10, 820), (16, 46)] {
            let filter = build(&hashes, bits_per_key);
            assert!(is_sound(&filter));
            assert!(
                (0..10_000).all(|i| may_contain(&filter, key(i))),
                "a filter never denies a key it holds"
            );
            let wrong = (10_000..110_000).filter(|i| may_contain(&filter, key(*i))).count();
            let near = expected - expected / 3..expected + expected / 3;
            assert!(near.contains(&wrong), "{wrong} false positives in 100 000 with {bits_per_key} bits");
        }
    }

    #[test]
    fn no_bits_are_no_filter() {
        let filter = build(&[1, 2, 3], 0);
        assert!(filter.is_empty() && is_sound(&filter) && may_contain(&filter, 4));
        assert!(!is_sound(&[7]) && !is_sound(&[0xff, 0]) && !is_sound(&[0xff, 31]));
    }
}

//! A Bloom filter over a table's keys: "certainly not here", or "perhaps".
//!
//! Ten bits per key and seven probes: about 0.82 % false positives (0.6185 to the power of bits per
//! key). The probes are `h1 + i·h2` (Kirsch and Mitzenmacher, 2006). The filter is stored as its bits
//! and nothing else; its size follows from its length.

const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;

/// The hash that a filter knows a key by: FNV-1a, then the finalizer of MurmurHash3.
pub(in crate::lsm) fn hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in key {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn probes(hash: u64, bits: u64) -> impl Iterator<Item = usize> {
    assert!(bits > 0, "a filter has bits");
    let step = (hash >> 32) | 1;
    (0..PROBES).map(move |i| (hash.wrapping_add(i.wrapping_mul(step)) % bits) as usize)
}

/// The filter of a set of keys.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let mut filter = vec![0u8; (hashes.len() * BITS_PER_KEY).div_ceil(8).max(8)];
    let bits = filter.len() as u64 * 8;
    for hash in hashes {
        for bit in probes(*hash, bits) {
            filter[bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// Whether a key of this hash may be in the set.
pub(super) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let bits = filter.len() as u64 * 8;
    probes(hash, bits).all(|bit| filter[bit / 8] & (1 << (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_positives_follow_the_law() {
        let key = |i: u32| hash(format!("user{i:08}").as_bytes());
        let filter = build(&(0..10_000).map(key).collect::<Vec<_>>());
        assert!((0..10_000).all(|i| may_contain(&filter, key(i))), "a filter never denies a key it holds");
        let wrong = (10_000..110_000).filter(|i| may_contain(&filter, key(*i))).count();
        // 0.82 % of 100 000, give or take a tenth.
        assert!((740..900).contains(&wrong), "{wrong} false positives in 100 000");
    }
}

//! A sorted map from byte strings, as `BTreeMap<Vec<u8>, V>` is one, that has the first bytes of each key in
//! its own memory: where they tell two keys apart, nothing else is touched. A search through many keys is
//! otherwise a walk over as many pieces of memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

/// A key behind its first bytes, which order keys as the keys themselves do; where they are equal, the keys
/// decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered<'a> {
    /// The first 16 bytes, filled with zeros.
    head: [u64; 2],
    key: Cow<'a, [u8]>,
}

impl<'a> Ordered<'a> {
    fn new(key: Cow<'a, [u8]>) -> Self {
        let mut head = [0; 16];
        let len = key.len().min(16);
        head[..len].copy_from_slice(&key[..len]);
        let [high, low] = [0, 8].map(|at| head[at..].first_chunk().expect("eight bytes are left"));
        Self { head: [u64::from_be_bytes(*high), u64::from_be_bytes(*low)], key }
    }

    fn bound(key: Bound<&'a [u8]>) -> Bound<Self> {
        key.map(|key| Self::new(key.into()))
    }
}

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct OrderedMap<V>(BTreeMap<Ordered<'static>, V>);

impl<V> Default for OrderedMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> OrderedMap<V> {
    pub(crate) fn get<'a>(&'a self, key: &'a [u8]) -> Option<&'a V> {
        self.0.get(&Ordered::new(key.into()))
    }

    /// Changes the value of a key, or puts one in.
    pub(crate) fn upsert(&mut self, key: Vec<u8>, value: V, change: impl FnOnce(&mut V, V)) {
        match self.0.entry(Ordered::new(key.into())) {
            Entry::Occupied(mut there) => change(there.get_mut(), value),
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }

    /// Puts a value in; the one that was there.
    pub(crate) fn insert(&mut self, key: Vec<u8>, value: V) -> Option<V> {
        self.0.insert(Ordered::new(key.into()), value)
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.0.remove(&Ordered::new(key.to_vec().into()))
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &V)> {
        self.0.iter().map(|(key, value)| (&*key.key, value))
    }

    /// The entries between two bounds, in order.
    pub(crate) fn range<'a>(
        &'a self,
        from: Bound<&'a [u8]>,
        to: Bound<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a V)> {
        let entries = self.0.range((Ordered::bound(from), Ordered::bound(to)));
        entries.map(|(key, value)| (&*key.key, value))
    }

    /// The values of the keys from one up to another, without that.
    pub(crate) fn values_between(&mut self, from: &[u8], to: &[u8]) -> impl Iterator<Item = &mut V> {
        let owned = |key: &[u8]| Ordered::new(key.to_vec().into());
        self.0.range_mut(owned(from)..owned(to)).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of all lengths over two bytes, zeros among them, which also fill what keys lack.
    #[test]
    fn keys_are_ordered_as_byte_strings() {
        let keys: Vec<Vec<u8>> = (0..3_000_u32)
            .map(|i| {
                let bits = i.wrapping_mul(0x9e37_79b1);
                (0..bits % 19).map(|at| if at < 14 { 0 } else { (bits >> at & 1) as u8 }).collect()
            })
            .collect();
        let (mut map, mut model) = (OrderedMap::default(), BTreeMap::new());
        for (key, number) in keys.iter().zip(0..) {
            assert_eq!(map.insert(key.clone(), number), model.insert(key.clone(), number));
        }
        assert!(map.iter().eq(model.iter().map(|(key, value)| (key.as_slice(), value))));
        for key in &keys {
            assert_eq!(map.get(key), model.get(key));
            let behind = map.range(Bound::Excluded(key), Bound::Unbounded).next();
            let expected = model.range::<[u8], _>((Bound::Excluded(&key[..]), Bound::Unbounded)).next();
            assert_eq!(behind, expected.map(|(key, value)| (key.as_slice(), value)));
        }
        for key in keys.iter().step_by(2) {
            assert_eq!(map.remove(key), model.remove(key));
        }
        assert!(map.iter().eq(model.iter().map(|(key, value)| (key.as_slice(), value))));
    }
}

//! Which ranges of keys were deleted: the range tombstones of one memtable or table.
//!
//! They need no sequence numbers. Within one source a key that is there was written after the range
//! that covers it was deleted, for deleting a range takes the keys out of its memtable; so a
//! tombstone hides what *older* sources know, and nothing of its own. The union of the tombstones of
//! several sources is therefore all that their merge has to keep.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet(BTreeMap<Vec<u8>, Vec<u8>>);

impl RangeSet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The ranges, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(from, to)| (from.as_slice(), to.as_slice()))
    }

    /// Where the first range begins and the last one ends.
    pub(super) fn hull(&self) -> Option<(&[u8], &[u8])> {
        Some((self.0.first_key_value()?.0, self.0.last_key_value()?.1))
    }

    /// The range that a key is in.
    pub(super) fn covering(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let (from, to) = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        assert!(from.as_slice() <= key, "a range that begins behind a key does not cover it");
        (key < to.as_slice()).then_some((from, to))
    }

    /// Adds a range, and joins it with those it overlaps or touches.
    pub(super) fn insert(&mut self, from: &[u8], to: &[u8]) {
        assert!(from < to, "a range that is deleted holds a key");
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        let before = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(&from[..]))).next_back();
        if let Some((start, end)) = before.filter(|(_, end)| **end >= from) {
            from.clone_from(start);
            to = to.max(end.clone());
        }
        let joined = (Bound::Included(&from[..]), Bound::Included(&to[..]));
        let joined: Vec<_> = self.0.range::<[u8], _>(joined).map(|(start, _)| start.clone()).collect();
        for start in joined {
            let end = self.0.remove(&start).expect("it was there a line ago");
            to = to.max(end);
        }
        assert!(from < to, "what is joined is no smaller than what it is joined of");
        self.0.insert(from, to);
    }

    /// Adds all ranges of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        other.iter().for_each(|(from, to)| self.insert(from, to));
    }

    /// What lies between two keys; without `to` there is no end.
    pub(super) fn clipped(&self, from: &[u8], to: Option<&[u8]>) -> Self {
        let mut clipped = Self::default();
        for (start, end) in self.iter() {
            let (start, end) = (start.max(from), to.map_or(end, |to| end.min(to)));
            if start < end {
                clipped.insert(start, end);
            }
        }
        assert!(clipped.len() <= self.len(), "clipping makes nothing of nothing");
        clipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of ranges over the keys 0 to 15 as bit masks: every insertion into every small set.
    #[test]
    fn a_set_covers_what_was_inserted_and_joins_what_touches() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let (mut set, mut mask) = (RangeSet::default(), 0u16);
            for _ in 0..6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (from, len) = ((state >> 33) as u8 % 15, (state >> 40) as u8 % 5 + 1);
                let to = (from + len).min(16);
                set.insert(&[from], &[to]);
                (from..to).for_each(|key| mask |= 1 << key);
                let covered = (0..16u8).filter(|key| set.covering(&[*key]).is_some());
                assert_eq!(covered.fold(0u16, |covered, key| covered | 1 << key), mask);
                assert_eq!(
                    set.len() as u32,
                    (mask & !(mask << 1)).count_ones(),
                    "{set:?}: ranges that touch are one"
                );
                let clipped = set.clipped(&[4], Some(&[9]));
                let covered = (0..16u8).filter(|key| clipped.covering(&[*key]).is_some());
                assert_eq!(covered.fold(0u16, |covered, key| covered | 1 << key), mask & 0b1_1111_0000);
            }
        }
    }
}

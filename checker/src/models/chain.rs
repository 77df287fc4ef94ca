//! A sequence that grows at its end and whose copies share their beginning, so that the thousands of
//! states that a search stores take memory for what differs between them only.

use std::sync::Arc;

/// The sequence.
#[derive(Debug)]
pub(super) struct Chain<T>(Option<Arc<Link<T>>>);

#[derive(Debug)]
struct Link<T> {
    item: T,
    hash: u64,
    len: u32,
    before: Chain<T>,
}

// Derived, it would ask of the items what it asks of the sequence.
impl<T> Clone for Chain<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Chain<T> {
    /// This sequence with one item more, and the hash of the whole.
    pub(super) fn with(&self, item: T, hash: u64) -> Self {
        Self(Some(Arc::new(Link { item, hash, len: self.len() + 1, before: self.clone() })))
    }

    pub(super) fn len(&self) -> u32 {
        self.0.as_ref().map_or(0, |link| link.len)
    }

    /// The hash that was given with the last item; 0 if there is none.
    pub(super) fn hash(&self) -> u64 {
        self.0.as_ref().map_or(0, |link| link.hash)
    }

    /// Whether both are the same piece of memory, so that they hold the same items.
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (None, None) => true,
            _ => false,
        }
    }

    /// The last item, and the sequence without it.
    pub(super) fn last(&self) -> Option<(&T, &Self)> {
        self.0.as_ref().map(|link| (&link.item, &link.before))
    }

    /// The items, the last one first.
    pub(super) fn backwards(&self) -> impl Iterator<Item = &T> + Clone {
        let mut chain = self;
        std::iter::from_fn(move || {
            let (item, before) = chain.last()?;
            chain = before;
            Some(item)
        })
        .take(self.len() as usize)
    }
}

impl<T: PartialEq> Chain<T> {
    /// Whether the last `count` items of both are the same.
    pub(super) fn ends_alike(&self, other: &Self, count: u32) -> bool {
        let (mut own, mut others) = (self, other);
        for _ in 0..count {
            if own.is_shared_with(others) {
                return true;
            }
            let (Some((a, own_before)), Some((b, others_before))) = (own.last(), others.last()) else {
                return false;
            };
            if a != b {
                return false;
            }
            (own, others) = (own_before, others_before);
        }
        true
    }
}

impl<T> Drop for Chain<T> {
    /// Link by link: dropped one inside the other, a long chain would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.before.0.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_and_a_long_one_can_be_dropped() {
        let mut chain = Chain::default();
        for item in 0..1_000_000 {
            chain = chain.with(item, 0);
        }
        let (a, b) = (chain.with(7, 0), chain.with(7, 0));
        assert!(!a.is_shared_with(&b) && a.ends_alike(&b, 500_000));
        assert!(!a.ends_alike(&chain.with(8, 0), 1));
        assert_eq!(a.backwards().take(3).copied().collect::<Vec<_>>(), [7, 999_999, 999_998]);
    }
}

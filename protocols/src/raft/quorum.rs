//! What a majority has reached.

/// The highest value that at least `quorum` of the members have reached. Each value is counted
/// against all others: nothing needs to be sorted, and no scan can depend on an order.
pub(super) fn quorum_value<T: Copy + Ord>(reached: impl Iterator<Item = T> + Clone, quorum: usize) -> T {
    assert!(quorum > 0, "a quorum of nobody would agree to anything");
    let agreed = |value: T| reached.clone().filter(|other| *other >= value).count() >= quorum;
    let highest = reached.clone().filter(|value| agreed(*value)).max();
    highest.expect("a quorum is at most all members, who have all reached the lowest value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_quorumth_of_the_sorted_values(mut values in prop::collection::vec(0u64..9, 1..10)) {
            let quorum = values.len() / 2 + 1;
            let found = quorum_value(values.iter().copied(), quorum);
            values.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(found, values[quorum - 1]);
        }
    }
}

//! What a quorum has reached.

use contract::{Membership, NodeId};

/// The highest value that a quorum of the members has reached; while two sets of voters must agree, a quorum
/// of each. Each value is counted against all others: nothing needs to be sorted, and no scan can depend on
/// an order.
pub(super) fn agreed<T: Copy + Ord>(membership: &Membership, reached: impl Fn(NodeId) -> T) -> T {
    let values = membership.voters.iter().chain(&membership.outgoing).map(|voter| reached(*voter));
    let agreed = values.filter(|value| membership.is_quorum(|node| reached(node) >= *value)).max();
    agreed.expect("all voters have reached the lowest value, and a group without voters has no leader")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(numbers: std::ops::RangeInclusive<u16>) -> impl Iterator<Item = NodeId> {
        numbers.map(NodeId)
    }

    fn majority_of(mut values: Vec<u64>) -> u64 {
        values.sort_unstable_by(|a, b| b.cmp(a));
        values[values.len() / 2]
    }

    proptest! {
        #[test]
        fn equals_the_middle_of_the_sorted_values(values in prop::collection::vec(0u64..9, 1..10)) {
            let membership = Membership::of(nodes(1..=values.len() as u16));
            prop_assert_eq!(agreed(&membership, |node| values[node.slot()]), majority_of(values.clone()));
        }

        #[test]
        fn of_two_sets_it_is_what_both_have_reached(values in prop::collection::vec(0u64..9, 5)) {
            let joint = Membership { outgoing: nodes(3..=5).collect(), ..Membership::of(nodes(1..=3)) };
            let both = majority_of(values[..3].to_vec()).min(majority_of(values[2..].to_vec()));
            prop_assert_eq!(agreed(&joint, |node| values[node.slot()]), both);
        }
    }
}

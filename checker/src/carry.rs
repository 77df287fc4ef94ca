//! What is carried from one stretch of a stream to the next.
//!
//! Configurations that differ only in which operations of unknown outcome are used up may come to be ever more:
//! whenever a refused compare-and-set shows that something took effect that nobody read, each operation that may
//! have is one more way to go on. So there is a most of them. What is too many is *merged*: one configuration
//! for each state, in which only those operations are used up that are in all that it stands for, so that it can do
//! what any of them can, and perhaps more.
//!
//! So while one that is not merged is left there is an order, and once none at all is left there is no order.
//! In between nobody knows.

use crate::layers::Reached;
use crate::spec::Spec;

/// All of `reached`, of which at most `most` with the same state and the same operations placed are not merged.
pub(crate) fn carried<S: Spec>(mut reached: Vec<Reached<S>>, most: usize) -> Vec<Reached<S>> {
    // As numbers, the newest operations first: subsets come before their supersets. And those stay longest that use
    // up what is old: what nobody saw for long is the least likely to be seen yet.
    reached.sort_by(|a, b| {
        let newest_first = || a.used.iter().rev().cmp(b.used.iter().rev());
        a.is_merged.cmp(&b.is_merged).then_with(newest_first)
    });
    let (mut kept, mut merged): (Vec<Reached<S>>, Vec<Reached<S>>) = (Vec::new(), Vec::new());
    for one in reached {
        let is_alike = |other: &Reached<S>| other.state == one.state && other.placed == one.placed;
        if kept.iter().any(|other| is_alike(other) && is_subset(&other.used, &one.used)) {
            continue;
        }
        if !one.is_merged && kept.iter().filter(|other| is_alike(other)).count() < most {
            kept.push(one);
        } else if let Some(other) = merged.iter_mut().find(|other| is_alike(other)) {
            other.used.iter_mut().zip(&one.used).for_each(|(word, other)| *word &= other);
        } else {
            merged.push(Reached { is_merged: true, ..one });
        }
    }
    kept.append(&mut merged);
    kept
}

fn is_subset(set: &[u64], of: &[u64]) -> bool {
    set.iter().zip(of).all(|(word, of)| word & !of == 0)
}

#[cfg(test)]
mod tests {
    use contract::kv::Op;

    use super::carried;
    use crate::layers::Reached;
    use crate::models::kv::Kv;
    use crate::spec::Spec;

    fn store(value: &str) -> Kv {
        Kv::default().step(&Op::Put { key: "k".into(), value: value.into() }, None).expect("a put fits")
    }

    fn reached(value: &str, used: u64, is_merged: bool) -> Reached<Kv> {
        Reached { state: store(value), placed: vec![3], used: vec![used, 0], is_merged }
    }

    #[test]
    fn what_is_too_much_is_merged_state_by_state() {
        let all = [("a", 0b110), ("a", 0b010), ("a", 0b001), ("a", 0b111), ("a", 0b1100), ("b", 0b100)];
        let all = all.map(|(value, used)| reached(value, used, false));
        let kept = carried(all.to_vec(), 1);
        let expected = [("a", 0b001, false), ("b", 0b100, false), ("a", 0b000, true)];
        assert_eq!(kept, expected.map(|(value, used, is_merged)| reached(value, used, is_merged)));
        // With room for three nothing is merged, and of supersets nothing is left.
        let kept = carried(all.to_vec(), 3);
        let expected = [("a", 0b001), ("a", 0b010), ("b", 0b100), ("a", 0b1100)];
        assert_eq!(kept, expected.map(|(value, used)| reached(value, used, false)));
    }

    #[test]
    fn what_was_merged_stays_so() {
        let kept = carried(vec![reached("a", 0b11, true), reached("a", 0b110, true)], 16);
        assert_eq!(kept, [reached("a", 0b10, true)]);
        // Unless what is not can do as much.
        let kept = carried(vec![reached("a", 0b11, true), reached("a", 0b10, false)], 16);
        assert_eq!(kept, [reached("a", 0b10, false)]);
    }
}

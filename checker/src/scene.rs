//! The few operations on a register that can have to do with a violation, however long its history is.
//!
//! These are the operations near the failing one; and of each content that one of them observed, those that
//! may have left it behind, for otherwise nobody did. Of many that do the same the first to be invoked are
//! enough: where it is asked what violates, they are optional, and take effect at any moment after their
//! invocation.

use crate::nearly;
use crate::origins::{Numbered, Register};
use crate::parts::Interval;

/// How many operations are near: those concurrent with the failing one, and the last before it.
pub(crate) const NEAR_MAX: usize = 128;
/// How many operations that do the same are looked at: more than can be of use to those that are kept.
const SAME_MAX: usize = 512;
/// How many operations are looked at altogether.
const ALL_MAX: usize = 4_096;

/// What is looked at.
pub(crate) struct Scene {
    /// Places in the part, in order.
    pub(crate) places: Vec<u32>,
    /// Whether all is there that may have left behind what the failing operation observed.
    pub(crate) has_all_sources: bool,
}

impl Scene {
    /// What can have to do with it that the answered operation `failing` has no place. `None` if that is
    /// too much.
    pub(crate) fn around(intervals: &[Interval], register: &Register<'_>, failing: usize) -> Option<Self> {
        let operations = &register.operations;
        let mut open = nearest(intervals, failing);
        let refused =
            open.iter().filter(|place| matches!(operations[**place as usize], Numbered::Refused(_)));
        match refused.count() {
            0 => {}
            refused => open.extend(changes(intervals, operations, refused)),
        }
        let mut is_in = vec![false; operations.len()];
        let mut is_asked = vec![false; register.contents()];
        let mut this = Self { places: Vec::new(), has_all_sources: true };
        while let Some(place) = open.pop() {
            if std::mem::replace(&mut is_in[place as usize], true) {
                continue;
            }
            this.places.push(place);
            if let Some(seen) = operations[place as usize].observed()
                && !std::mem::replace(&mut is_asked[seen as usize], true)
            {
                let makers = register.makers(seen, SAME_MAX, |at| intervals[at].call);
                let is_sought = operations[failing].observed() == Some(seen);
                this.has_all_sources &= !is_sought || makers.len() < SAME_MAX;
                open.extend(makers);
            }
            if this.places.len() + open.len() > ALL_MAX {
                return None;
            }
        }
        this.places.sort_unstable();
        Some(this)
    }
}

/// An operation, and the nearest of those that were invoked before it returned.
fn nearest(intervals: &[Interval], center: usize) -> Vec<u32> {
    let Interval { call, end } = intervals[center];
    let is_before = |place: &u32| intervals[*place as usize].call < end;
    let mut near: Vec<u32> = (0..intervals.len() as u32).filter(is_before).collect();
    // What is concurrent has no distance; what never returned is concurrent with all that follows.
    let distance = |place: &u32| {
        let other = intervals[*place as usize];
        (*place as usize != center, call.saturating_sub(other.end), end.abs_diff(other.call))
    };
    if near.len() > NEAR_MAX {
        near.select_nth_unstable_by_key(NEAR_MAX, distance);
        near.truncate(NEAR_MAX);
    }
    near
}

/// The first operations to be invoked that change the register, so many that whatever it must not hold,
/// `count` of them make it hold something else.
fn changes(intervals: &[Interval], operations: &[Numbered], count: usize) -> Vec<u32> {
    let mut changes = Vec::new();
    let mut first = None;
    let (mut same, mut others) = (0, 0);
    for place in nearly::sorted(intervals.len(), |place| intervals[place as usize].call) {
        match operations[place as usize] {
            Numbered::Write(made) => {
                let counted = if *first.get_or_insert(made) == made { &mut same } else { &mut others };
                *counted += 1;
            }
            // It may find something else than it expects.
            Numbered::Swap { .. } => {}
            Numbered::Read(_) | Numbered::Refused(_) | Numbered::Append(_) => continue,
        }
        changes.push(place);
        if same >= count && others >= count {
            break;
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::{ALL_MAX, NEAR_MAX, SAME_MAX, Scene};
    use crate::origins::Register;
    use crate::parts::Interval;
    use crate::spec::{Content, RegisterOp};

    fn write(value: usize) -> RegisterOp<'static> {
        RegisterOp::Write(Content::Number(value as i64))
    }

    fn read(value: usize) -> RegisterOp<'static> {
        RegisterOp::Read(Content::Number(value as i64))
    }

    /// What is around the last of these operations, which were done one after the other.
    fn around(operations: impl IntoIterator<Item = RegisterOp<'static>>) -> Option<(Vec<u32>, bool)> {
        let mut register = Register::new(Content::Nothing);
        operations.into_iter().for_each(|op| register.add(op));
        let count = register.operations.len();
        let interval = |at: usize| Interval { call: 2 * at as u32, end: 2 * at as u32 + 1 };
        let intervals: Vec<Interval> = (0..count).map(interval).collect();
        let scene = Scene::around(&intervals, &register, count - 1)?;
        Some((scene.places, scene.has_all_sources))
    }

    /// These places, and those near the last of so many.
    fn and_near(first: impl IntoIterator<Item = u32>, count: usize) -> Vec<u32> {
        first.into_iter().chain((count - NEAR_MAX) as u32..count as u32).collect()
    }

    #[test]
    fn what_is_near_is_there_and_what_was_observed() {
        let history = [write(7)].into_iter().chain((100..398).map(write)).chain([read(7)]);
        assert_eq!(around(history), Some((and_near([0], 300), true)));
        // With another read near by, of a content that so many left behind that not all are looked at.
        let others = std::iter::repeat_n(write(9), 2 * SAME_MAX);
        let history =
            [write(7)].into_iter().chain(others).chain((100..298).map(write)).chain([read(9), read(7)]);
        let count = 1 + 2 * SAME_MAX + 200;
        assert_eq!(around(history), Some((and_near(0..=SAME_MAX as u32, count), true)));
    }

    #[test]
    fn of_what_does_the_same_the_first_are_enough() {
        for same in [SAME_MAX, SAME_MAX + 100] {
            let history = std::iter::repeat_n(write(7), same).chain((100..298).map(write)).chain([read(7)]);
            let expected = and_near(0..SAME_MAX as u32, same + 199);
            assert_eq!(around(history), Some((expected, false)), "what may have left it may be missing");
        }
    }

    #[test]
    fn too_much_is_not_looked_at() {
        // Each of the reads near by observed what so many left behind.
        let history = |makers: usize| {
            let writes = (0..NEAR_MAX).flat_map(move |value| std::iter::repeat_n(write(value), makers));
            writes.chain((0..NEAR_MAX).map(read))
        };
        let makers = ALL_MAX / NEAR_MAX;
        assert_eq!(around(history(makers - 1)).expect("it is not too much").0.len(), makers * NEAR_MAX);
        assert_eq!(around(history(makers)), None);
    }

    /// Whatever the register must not hold, one of two different writes makes it hold something else.
    #[test]
    fn what_was_refused_needs_what_changes() {
        let swap = RegisterOp::Swap { old: Content::Number(1), new: Content::Number(4) };
        let first = [write(1), read(1), swap, write(1), write(2), write(3)];
        let refused = RegisterOp::Refused { old: Content::Number(99) };
        let history = first.into_iter().chain((100..393).map(write)).chain([refused]);
        assert_eq!(around(history), Some((and_near([0, 2, 3, 4], 300), true)));
    }
}

//! A set of elements.
//!
//! Elements are keys: as long as nobody reads the whole set, the operations on each are judged alone.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum, Listed, initial_items};
use super::chain::Chain;
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec};

/// The elements, as all changes that ever were.
#[derive(Clone, Debug, Default)]
pub struct Set {
    changes: Chain<(Datum, Change)>,
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Adds an element and answers whether it was missing, or only that it was done.
    Add(Datum),
    /// Removes an element and answers whether it was there, or only that it was done.
    Remove(Datum),
    /// Whether an element is there.
    Contains(Datum),
    /// All elements, in any order.
    Read,
}

impl Set {
    fn contains(&self, element: &Datum) -> bool {
        let latest = self.changes.backwards().find(|(changed, _)| changed == element);
        latest.is_some_and(|(_, change)| *change == Change::Added)
    }

    /// Makes an element be there or not; whether that changed anything.
    fn change(&mut self, element: &Datum, change: Change) -> bool {
        if self.contains(element) == (change == Change::Added) {
            return false;
        }
        let (before, mixed) = (self.changes.hash(), element.mixed());
        // The sum of what is there, so that the order does not matter.
        let hash = match change {
            Change::Added => before.wrapping_add(mixed),
            Change::Removed => before.wrapping_sub(mixed),
        };
        match change {
            Change::Added => self.len += 1,
            Change::Removed => self.len -= 1,
        }
        self.changes = self.changes.with((element.clone(), change), hash);
        true
    }

    /// The elements in order.
    fn items(&self) -> Vec<&Datum> {
        let mut latest: BTreeMap<&Datum, Change> = BTreeMap::new();
        for (element, change) in self.changes.backwards() {
            latest.entry(element).or_insert(*change);
        }
        latest
            .into_iter()
            .filter(|(_, change)| *change == Change::Added)
            .map(|(element, _)| element)
            .collect()
    }
}

impl PartialEq for Set {
    /// Compares what changed since the two went different ways.
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len || self.changes.hash() != other.changes.hash() {
            return false;
        }
        let (mut own, mut others) = (&self.changes, &other.changes);
        let mut balance: BTreeMap<&Datum, i64> = BTreeMap::new();
        while !own.is_shared_with(others) {
            let (side, sign) = if own.len() >= others.len() { (&mut own, 1) } else { (&mut others, -1) };
            let ((element, change), before) = side.last().expect("the longer of two has a last change");
            *balance.entry(element).or_default() += if *change == Change::Added { sign } else { -sign };
            *side = before;
        }
        balance.values().all(|balance| *balance == 0)
    }
}

impl Hash for Set {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.changes.hash());
    }
}

impl SequentialSpec for Set {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match op {
            Op::Add(element) => Answer::Flag(self.change(element, Change::Added)),
            Op::Remove(element) => Answer::Flag(self.change(element, Change::Removed)),
            Op::Contains(element) => Answer::Flag(self.contains(element)),
            Op::Read => Answer::Items(self.items().into_iter().cloned().collect()),
        }
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Answer) -> bool {
        match (op, ret) {
            (Op::Read, Answer::Items(items)) => items.len() == self.len && self.items().into_iter().eq(items),
            (Op::Read, _) => false,
            _ => self.invoke(op).allows(ret),
        }
    }
}

impl Spec for Set {
    type Op = Op;
    type Ret = Answer;
    type Key = Datum;

    fn step(&self, op: &Op, ret: Option<&Answer>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(op: &Op) -> Keys<&Datum> {
        match op {
            Op::Add(element) | Op::Remove(element) | Op::Contains(element) => Keys::One(element),
            Op::Read => Keys::All,
        }
    }

    fn is_read(op: &Op, ret: Option<&Answer>) -> bool {
        matches!(op, Op::Contains(_) | Op::Read) || ret == Some(&Answer::Flag(false))
    }
}

impl Recorded for Set {
    fn initial(value: &Value) -> Result<Self, Expected> {
        let mut set = Self::default();
        for item in initial_items(value)? {
            set.change(&item, Change::Added);
        }
        Ok(set)
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "add" => Datum::read(value).map(Op::Add),
            "remove" => Datum::read(value).map(Op::Remove),
            "contains" => Datum::read(value).map(Op::Contains),
            "read" => Ok(Op::Read),
            _ => Err(Expected::operation("add, remove, contains, read", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        match op {
            Op::Add(_) | Op::Remove(_) => Ok(value.as_bool().map_or(Answer::Done, Answer::Flag)),
            Op::Contains(_) => {
                let flag = value.as_bool().map(Answer::Flag);
                flag.ok_or_else(|| Expected::instead("true or false", value))
            }
            Op::Read => {
                let Answer::Items(mut items) = Answer::items(value)? else {
                    unreachable!("a list of elements was read")
                };
                items.sort_unstable();
                Ok(Answer::Items(items))
            }
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listed(self.items().iter()).fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(element) => write!(f, "add({element})"),
            Self::Remove(element) => write!(f, "remove({element})"),
            Self::Contains(element) => write!(f, "contains({element})"),
            Self::Read => f.write_str("read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_the_same_elements_are_the_same_however_they_came_about() {
        let changed = |set: &Set, changes: &[(i64, Change)]| {
            let mut set = set.clone();
            for (element, change) in changes {
                set.change(&Datum::Int(*element), *change);
            }
            set
        };
        use Change::{Added, Removed};
        let base = changed(&Set::default(), &[(1, Added), (2, Added)]);
        let a = changed(&base, &[(3, Added), (1, Removed), (4, Added)]);
        let b = changed(&base, &[(5, Added), (4, Added), (3, Added), (5, Removed), (1, Removed)]);
        assert!(a == b && a.changes.hash() == b.changes.hash(), "{a} and {b}");
        assert!(a != base && a != changed(&a, &[(2, Removed)]));
        assert!(a == changed(&Set::default(), &[(4, Added), (3, Added), (2, Added)]));
        assert_eq!(a.to_string(), "[2, 3, 4]");
    }
}

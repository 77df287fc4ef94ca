//! A queue: first in, first out.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum, Listed, initial_items};
use super::chain::Chain;
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec, Whole};

/// The elements, as all that ever came in and how many of them went out.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    came: Chain<Datum>,
    went: u32,
    /// The rolling hash of those that went, as `came` has it of those that came.
    went_hash: u64,
}

/// The base of the rolling hash (the golden ratio in 64 bits).
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Adds an element at the end.
    Enqueue(Datum),
    /// Takes the first element and answers it, or nothing if there is none.
    Dequeue,
}

impl Queue {
    fn len(&self) -> u32 {
        self.came.len() - self.went
    }

    fn first(&self) -> Option<&Datum> {
        self.came.backwards().nth(self.len().checked_sub(1)? as usize)
    }

    /// The rolling hash of the elements: that of the whole without that of its beginning.
    fn hash(&self) -> u64 {
        self.came.hash().wrapping_sub(self.went_hash.wrapping_mul(BASE.wrapping_pow(self.len())))
    }

    fn enqueue(&mut self, value: Datum) {
        let hash = rolled(self.came.hash(), &value);
        self.came = self.came.with(value, hash);
    }

    fn dequeue(&mut self) -> Option<Datum> {
        let first = self.first()?.clone();
        self.went_hash = rolled(self.went_hash, &first);
        self.went += 1;
        Some(first)
    }
}

fn rolled(hash: u64, next: &Datum) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(next.mixed())
}

impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.hash() == other.hash()
            && self.came.ends_alike(&other.came, self.len())
    }
}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash());
    }
}

impl SequentialSpec for Queue {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match op {
            Op::Enqueue(value) => {
                self.enqueue(value.clone());
                Answer::Done
            }
            Op::Dequeue => Answer::Value(self.dequeue()),
        }
    }
}

impl Spec for Queue {
    type Op = Op;
    type Ret = Answer;
    type Key = Whole;

    fn step(&self, op: &Op, ret: Option<&Answer>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(_op: &Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(op: &Op, ret: Option<&Answer>) -> bool {
        *op == Op::Dequeue && ret == Some(&Answer::Value(None))
    }
}

impl Recorded for Queue {
    fn initial(value: &Value) -> Result<Self, Expected> {
        let mut queue = Self::default();
        initial_items(value)?.into_iter().for_each(|item| queue.enqueue(item));
        Ok(queue)
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "enqueue" => Datum::read(value).map(Op::Enqueue),
            "dequeue" => Ok(Op::Dequeue),
            _ => Err(Expected::operation("enqueue, dequeue", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        match op {
            Op::Enqueue(_) => Ok(Answer::Done),
            Op::Dequeue => Answer::value(value),
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<&Datum> = self.came.backwards().take(self.len() as usize).collect();
        items.reverse();
        Listed(items.iter()).fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enqueue(value) => write!(f, "enqueue({value})"),
            Self::Dequeue => f.write_str("dequeue"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_the_same_elements_are_the_same_however_they_came_about() {
        let queue = |items: &[i64], taken: usize| {
            let mut queue = Queue::default();
            items.iter().for_each(|item| queue.enqueue(Datum::Int(*item)));
            (0..taken).for_each(|_| drop(queue.dequeue()));
            queue
        };
        let (a, b) = (queue(&[1, 2, 3, 4], 2), queue(&[2, 1, 9, 3, 4], 3));
        assert!(a == b && a.hash() == b.hash(), "{a} and {b}");
        assert!(a != queue(&[4, 3], 0) && a != queue(&[3, 4, 5], 0) && a != queue(&[4], 0));
        assert_eq!(a.to_string(), "[3, 4]");
    }
}

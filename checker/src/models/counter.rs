//! A number that is added to.

use std::fmt;

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum};
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec, Whole};

/// The number; it wraps around at the ends of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counter(pub i64);

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Adds a number, which may be negative.
    Add(i64),
    /// Adds a number and answers the sum.
    AddAndGet(i64),
    /// The number.
    Read,
}

impl SequentialSpec for Counter {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        if let Op::Add(number) | Op::AddAndGet(number) = op {
            self.0 = self.0.wrapping_add(*number);
        }
        match op {
            Op::Add(_) => Answer::Done,
            Op::AddAndGet(_) | Op::Read => Answer::Value(Some(Datum::Int(self.0))),
        }
    }
}

impl Spec for Counter {
    type Op = Op;
    type Ret = Answer;
    type Key = Whole;

    fn step(&self, op: &Op, ret: Option<&Answer>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(_op: &Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(op: &Op, _ret: Option<&Answer>) -> bool {
        *op == Op::Read
    }
}

impl Recorded for Counter {
    fn initial(value: &Value) -> Result<Self, Expected> {
        if value.is_null() { Ok(Self::default()) } else { number(value).map(Self) }
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "add" => number(value).map(Op::Add),
            "add-and-get" => number(value).map(Op::AddAndGet),
            "read" => Ok(Op::Read),
            _ => Err(Expected::operation("add, add-and-get, read", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        match op {
            Op::Add(_) => Ok(Answer::Done),
            Op::AddAndGet(_) | Op::Read => Ok(Answer::Value(Some(Datum::Int(number(value)?)))),
        }
    }
}

/// A whole number.
pub(super) fn number(value: &Value) -> Result<i64, Expected> {
    value.as_i64().ok_or_else(|| Expected::instead("a whole number", value))
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(number) => write!(f, "add({number})"),
            Self::AddAndGet(number) => write!(f, "add-and-get({number})"),
            Self::Read => f.write_str("read"),
        }
    }
}

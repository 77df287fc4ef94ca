//! A value that is set once: consensus, and the write-once register.

use std::fmt;

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum};
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec, Whole};

/// What was decided; `None` before the first proposal or write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Consensus(pub Option<Datum>);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Decides this value if none is decided yet, and answers the one that is.
    Propose(Datum),
    /// Decides this value if none is decided yet, and answers whether it is the one that is.
    Write(Datum),
    /// The value that is decided.
    Read,
}

impl SequentialSpec for Consensus {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match op {
            Op::Propose(value) => Answer::Value(Some(self.0.get_or_insert_with(|| value.clone()).clone())),
            Op::Write(value) => Answer::Flag(self.0.get_or_insert_with(|| value.clone()) == value),
            Op::Read => Answer::Value(self.0.clone()),
        }
    }
}

impl Spec for Consensus {
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
        // A value that was refused, or another than was proposed, had been decided before.
        match (op, ret) {
            (Op::Read, _) | (Op::Write(_), Some(Answer::Flag(false))) => true,
            (Op::Propose(value), Some(Answer::Value(Some(decided)))) => value != decided,
            _ => false,
        }
    }
}

impl Recorded for Consensus {
    fn initial(value: &Value) -> Result<Self, Expected> {
        if value.is_null() { Ok(Self(None)) } else { Datum::read(value).map(|value| Self(Some(value))) }
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "propose" => Datum::read(value).map(Op::Propose),
            "write" => Datum::read(value).map(Op::Write),
            "read" => Ok(Op::Read),
            _ => Err(Expected::operation("propose, write, read", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        match op {
            Op::Propose(_) => Ok(Answer::Value(Some(Datum::read(value)?))),
            Op::Write(_) => Ok(Answer::flag(value)),
            Op::Read => Answer::value(value),
        }
    }
}

impl fmt::Display for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Answer::Value(self.0.clone()).fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Propose(value) => write!(f, "propose({value})"),
            Self::Write(value) => write!(f, "write({value})"),
            Self::Read => f.write_str("read"),
        }
    }
}

//! A lock: at most one holder at a time.

use std::fmt;

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum};
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec, Whole};

/// Who holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lock {
    /// Nobody.
    #[default]
    Free,
    /// Somebody; `None` if histories do not tell who.
    Held(Option<Datum>),
}

/// What a client asks. Without a name anybody may release what anybody holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Takes the lock if it is free; who waits for it has not returned.
    Acquire(Option<Datum>),
    /// Gives it back, if the same name holds it.
    Release(Option<Datum>),
}

impl SequentialSpec for Lock {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        let after = match (op, &*self) {
            (Op::Acquire(name), Self::Free) => Self::Held(name.clone()),
            (Op::Release(name), Self::Held(holder)) if name == holder => Self::Free,
            _ => return Answer::Flag(false),
        };
        *self = after;
        Answer::Flag(true)
    }
}

impl Spec for Lock {
    type Op = Op;
    type Ret = Answer;
    type Key = Whole;

    fn step(&self, op: &Op, ret: Option<&Answer>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(_op: &Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(_op: &Op, ret: Option<&Answer>) -> bool {
        ret == Some(&Answer::Flag(false))
    }
}

impl Recorded for Lock {
    fn initial(value: &Value) -> Result<Self, Expected> {
        match value {
            Value::Null | Value::Bool(false) => Ok(Self::Free),
            Value::Bool(true) => Ok(Self::Held(None)),
            holder => Datum::read(holder).map(|holder| Self::Held(Some(holder))),
        }
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        let name = || if value.is_null() { Ok(None) } else { Datum::read(value).map(Some) };
        match f {
            "acquire" => name().map(Op::Acquire),
            "release" => name().map(Op::Release),
            _ => Err(Expected::operation("acquire, release", f)),
        }
    }

    fn ret(_op: &Op, value: &Value) -> Result<Answer, Expected> {
        Ok(Answer::flag(value))
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Held(None) => f.write_str("held"),
            Self::Held(Some(holder)) => write!(f, "held by {holder}"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Acquire(name) => ("acquire", name),
            Self::Release(name) => ("release", name),
        };
        match name {
            Some(name) => write!(f, "{what}({name})"),
            None => f.write_str(what),
        }
    }
}

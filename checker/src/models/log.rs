//! A log: a sequence that only grows.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::answer::{Answer, Datum, Listed, initial_items};
use super::chain::Chain;
use super::{Expected, Recorded};
use crate::spec::{self, Keys, Spec, Whole};

/// The elements.
#[derive(Clone, Debug, Default)]
pub struct Log(Chain<Datum>);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Adds an element at the end and answers its offset, or only that it was done.
    Append(Datum),
    /// All elements.
    Read,
    /// The element at an offset; the first has offset 0. Nothing if the log is shorter.
    ReadAt(u32),
}

impl Log {
    fn append(&mut self, value: Datum) {
        let hash = self.0.hash().wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(value.mixed());
        self.0 = self.0.with(value, hash);
    }

    fn at(&self, offset: u32) -> Option<&Datum> {
        self.0.backwards().nth(self.0.len().checked_sub(offset.checked_add(1)?)? as usize)
    }

    fn items(&self) -> Vec<Datum> {
        let mut items: Vec<Datum> = self.0.backwards().cloned().collect();
        items.reverse();
        items
    }
}

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        let (own, others) = (&self.0, &other.0);
        own.len() == others.len() && own.hash() == others.hash() && own.ends_alike(others, own.len())
    }
}

impl Hash for Log {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.hash());
    }
}

impl SequentialSpec for Log {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match op {
            Op::Append(value) => {
                self.append(value.clone());
                Answer::Value(Some(Datum::Int(i64::from(self.0.len()) - 1)))
            }
            Op::Read => Answer::Items(self.items()),
            Op::ReadAt(offset) => Answer::Value(self.at(*offset).cloned()),
        }
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Answer) -> bool {
        match (op, ret) {
            (Op::Read, Answer::Items(items)) => {
                items.len() == self.0.len() as usize && self.0.backwards().eq(items.iter().rev())
            }
            _ => self.invoke(op).allows(ret),
        }
    }
}

impl Spec for Log {
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
        matches!(op, Op::Read | Op::ReadAt(_))
    }
}

impl Recorded for Log {
    fn initial(value: &Value) -> Result<Self, Expected> {
        let mut log = Self::default();
        initial_items(value)?.into_iter().for_each(|item| log.append(item));
        Ok(log)
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "append" => Datum::read(value).map(Op::Append),
            "read" if value.is_null() => Ok(Op::Read),
            "read" => {
                let offset = value.as_u64().and_then(|offset| u32::try_from(offset).ok());
                offset.map(Op::ReadAt).ok_or_else(|| Expected::instead("an offset", value))
            }
            _ => Err(Expected::operation("append, read", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Answer, Expected> {
        match op {
            // Many recorders repeat on an answer what was asked: that tells no offset.
            Op::Append(item) if value.is_null() || Datum::read(value)? == *item => Ok(Answer::Done),
            Op::Append(_) | Op::ReadAt(_) => Answer::value(value),
            Op::Read => Answer::items(value),
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listed(self.items().iter()).fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(value) => write!(f, "append({value})"),
            Self::Read => f.write_str("read"),
            Self::ReadAt(offset) => write!(f, "read({offset})"),
        }
    }
}

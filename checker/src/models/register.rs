//! A register: one value that is read, written, and compared and set.

use std::fmt;

use serde_json::Value;
use stateright::semantics::SequentialSpec;

use super::counter::number;
use super::{Expected, Recorded, register_reason};
use crate::parts::{Operation, Part};
use crate::spec::{self, Content, Helpers, Keys, Reason, RegisterOp, Spec, Whole};

/// The value; `None` before the first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Register(pub Option<i64>);

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The value.
    Read,
    /// Sets the value.
    Write(i64),
    /// Sets the value to `new` if it is `old`.
    Cas {
        /// What the value must be.
        old: i64,
        /// What it becomes.
        new: i64,
    },
}

/// What a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// The value.
    Value(Option<i64>),
    /// The write took effect.
    Done,
    /// Whether the compare-and-set took place.
    Swapped(bool),
}

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match *op {
            Op::Read => Ret::Value(self.0),
            Op::Write(value) => {
                self.0 = Some(value);
                Ret::Done
            }
            Op::Cas { old, new } => {
                let swaps = self.0 == Some(old);
                if swaps {
                    self.0 = Some(new);
                }
                Ret::Swapped(swaps)
            }
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Write(value) => write!(f, "write({value})"),
            Self::Cas { old, new } => write!(f, "cas({old}, {new})"),
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(Some(value)) => write!(f, "{value}"),
            Self::Value(None) => f.write_str("nothing"),
            Self::Done => f.write_str("done"),
            Self::Swapped(true) => f.write_str("swapped"),
            Self::Swapped(false) => f.write_str("not swapped"),
        }
    }
}

impl Spec for Register {
    type Op = Op;
    type Ret = Ret;
    type Key = Whole;

    fn step(&self, op: &Op, ret: Option<&Ret>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(_op: &Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(op: &Op, ret: Option<&Ret>) -> bool {
        *op == Op::Read || ret == Some(&Ret::Swapped(false))
    }

    fn register_op<'a>(op: &'a Op, ret: Option<&'a Ret>) -> Option<RegisterOp<'a>> {
        match (*op, ret) {
            (Op::Read, Some(Ret::Value(value))) => Some(RegisterOp::Read(content(*value))),
            (Op::Write(value), None | Some(Ret::Done)) => Some(RegisterOp::Write(Content::Number(value))),
            (Op::Cas { old, new }, None | Some(Ret::Swapped(true))) => {
                Some(RegisterOp::Swap { old: Content::Number(old), new: Content::Number(new) })
            }
            (Op::Cas { old, .. }, Some(Ret::Swapped(false))) => {
                Some(RegisterOp::Refused { old: Content::Number(old) })
            }
            _ => None,
        }
    }

    fn register(&self, _key: &Whole) -> Option<Content<'_>> {
        Some(content(self.0))
    }

    fn reason(part: &Part<'_, Self>, initial: &Self, failing: usize) -> Option<Reason> {
        register_reason::reason(part, content(initial.0), failing)
    }

    fn helpers(part: &Part<'_, Self>, target: usize) -> Helpers {
        let Operation { op, ret, .. } = &part.operations[target];
        let sought = match (op, ret) {
            (Op::Read, Some(Ret::Value(Some(value)))) => Some(*value),
            (Op::Cas { old, .. }, Some(Ret::Swapped(true))) => Some(*old),
            // Any write will do that is not what the cas expected, and some may be better than others.
            (Op::Cas { .. }, Some(Ret::Swapped(false))) => {
                return Helpers { each: (part.answered..part.operations.len()).collect(), alike: Vec::new() };
            }
            // A write hides what stands before it; and nothing leads back to the start.
            _ => None,
        };
        Helpers { each: sought.map_or_else(Vec::new, |value| towards(part, value)), alike: Vec::new() }
    }
}

/// The operations of unknown outcome that can be part of a run after which the register holds `goal`:
/// those that write it, and those that write what one of these must find.
fn towards(part: &Part<'_, Register>, goal: i64) -> Vec<usize> {
    let mut goals = vec![goal];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(goal) = goals.get(next).copied() {
        next += 1;
        for place in part.answered..part.operations.len() {
            let leads = match *part.operations[place].op {
                Op::Write(value) => value == goal,
                Op::Cas { new, .. } => new == goal,
                Op::Read => false,
            };
            if leads && !found.contains(&place) {
                found.push(place);
                if let Op::Cas { old, .. } = *part.operations[place].op
                    && !goals.contains(&old)
                {
                    goals.push(old);
                }
            }
        }
    }
    found
}

impl Recorded for Register {
    fn initial(value: &Value) -> Result<Self, Expected> {
        read(value).map(Self)
    }

    fn op(f: &str, _key: &Value, value: &Value) -> Result<Op, Expected> {
        match f {
            "read" => Ok(Op::Read),
            "write" => number(value).map(Op::Write),
            "cas" => {
                let pair = value.as_array().map(Vec::as_slice);
                let Some([old, new]) = pair else {
                    return Err(Expected::instead("[old, new], two whole numbers", value));
                };
                Ok(Op::Cas { old: number(old)?, new: number(new)? })
            }
            _ => Err(Expected::operation("read, write, cas", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Ret, Expected> {
        match op {
            Op::Read => read(value).map(Ret::Value),
            Op::Write(_) => Ok(Ret::Done),
            Op::Cas { .. } => Ok(Ret::Swapped(value.as_bool().unwrap_or(true))),
        }
    }

    fn content(&self) -> Option<Content<'_>> {
        self.register(&Whole)
    }
}

fn content(value: Option<i64>) -> Content<'static> {
    value.map_or(Content::Nothing, Content::Number)
}

/// A whole number, or null before the first write.
fn read(value: &Value) -> Result<Option<i64>, Expected> {
    if value.is_null() { Ok(None) } else { number(value).map(Some) }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ret::Value(self.0).fmt(f)
    }
}

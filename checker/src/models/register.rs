//! A register: one value that is read, written, and compared and set.

use std::fmt;

use stateright::semantics::SequentialSpec;

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

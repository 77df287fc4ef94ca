//! Objects that may answer, or change, in more than one way.
//!
//! A [`Spec`] has one state after each answer. An object with a choice has several; but the *set* of
//! the states that it may be in is one again (the subset construction, as for automata; porcupine does
//! the same). An order is right if some state is left at its end.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;

use serde_json::Value;

use super::{Expected, Recorded};
use crate::spec::{Keys, Spec, Whole};

/// An object with a choice, in one of its states.
pub trait Choices: Clone + Ord + Hash {
    /// What clients ask.
    type Op: Display + PartialEq + Hash;
    /// What they are answered.
    type Ret: Display;

    /// The states in which the object may be after `op` if it answered `ret`, or anything if nobody
    /// knows; none if it cannot have answered so.
    fn after(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Vec<Self>;

    /// Whether an operation that is answered so never changes the state.
    fn is_read(_op: &Self::Op, _ret: Option<&Self::Ret>) -> bool {
        false
    }

    /// About how many bytes of memory this state takes.
    fn bytes(&self) -> usize;

    /// [`Recorded::initial`].
    ///
    /// # Errors
    /// What was expected.
    fn initial(value: &Value) -> Result<Self, Expected>;

    /// [`Recorded::op`].
    ///
    /// # Errors
    /// What was expected.
    fn op(f: &str, key: &Value, value: &Value) -> Result<Self::Op, Expected>;

    /// [`Recorded::ret`].
    ///
    /// # Errors
    /// What was expected.
    fn ret(op: &Self::Op, value: &Value) -> Result<Self::Ret, Expected>;
}

/// The states in which an object with a choice may be; never none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnyOf<S: Ord>(BTreeSet<S>);

impl<S: Choices> AnyOf<S> {
    /// The object in one certain state.
    pub fn certain(state: S) -> Self {
        Self(BTreeSet::from([state]))
    }
}

impl<S: Choices> Spec for AnyOf<S> {
    type Op = S::Op;
    type Ret = S::Ret;
    type Key = Whole;

    fn step(&self, op: &S::Op, ret: Option<&S::Ret>) -> Option<Self> {
        let after: BTreeSet<S> = self.0.iter().flat_map(|state| state.after(op, ret)).collect();
        (!after.is_empty()).then_some(Self(after))
    }

    fn keys(_op: &S::Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    /// A read says which of the states it may have been, unless it is the only one: so with a choice
    /// nothing that was answered is without an effect.
    fn is_read(op: &S::Op, ret: Option<&S::Ret>) -> bool {
        ret.is_none() && S::is_read(op, ret)
    }

    fn bytes_beyond(&self, _before: &Self) -> usize {
        64 + self.0.iter().map(Choices::bytes).sum::<usize>()
    }
}

impl<S: Choices + Display> Recorded for AnyOf<S> {
    fn initial(value: &Value) -> Result<Self, Expected> {
        S::initial(value).map(Self::certain)
    }

    fn op(f: &str, key: &Value, value: &Value) -> Result<S::Op, Expected> {
        S::op(f, key, value)
    }

    fn ret(op: &S::Op, value: &Value) -> Result<S::Ret, Expected> {
        S::ret(op, value)
    }
}

impl<S: Ord + Display> Display for AnyOf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, state) in self.0.iter().enumerate() {
            write!(f, "{}{state}", if place > 0 { " or " } else { "" })?;
        }
        Ok(())
    }
}

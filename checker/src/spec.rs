//! What is checked against: an object that takes one operation at a time.
//!
//! A [`Spec`] is a state together with the operations that it accepts. The checkers ask for no more
//! than this, so that a model can come from anywhere; [`FromSequential`] takes one from stateright.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::ops::Range;

use contract::OpId;
use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::parts::Part;

/// A sequential object: the state that the operations of a history go through, one after the other.
///
/// States are compared and hashed to recognise what was tried before. Two states that compare equal
/// must accept the same operations for ever.
pub trait Spec: Clone + PartialEq + Hash {
    /// What clients ask. Equal ones do the same wherever they take effect.
    type Op: Display + PartialEq + Hash;
    /// What they are answered.
    type Ret: Display;
    /// What operations are told apart by. Operations that touch different keys must commute and must
    /// not influence each other's answers: parts of a history that share no key are judged alone.
    type Key: Clone + Ord + Hash + Display;

    /// The state after `op`, or `None` if the object cannot answer `ret` in this state. Without a
    /// `ret` nobody knows the answer, so that any is possible.
    #[must_use]
    fn step(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<Self>;

    /// Which keys an operation touches.
    fn keys(op: &Self::Op) -> Keys<&Self::Key>;

    /// Whether an operation that is answered so (`None`: nobody knows) never changes the state, whatever
    /// the state is. `false` is always right, but costs time.
    fn is_read(_op: &Self::Op, _ret: Option<&Self::Ret>) -> bool {
        false
    }

    /// Which operations of unknown outcome are worth trying directly before the answered operation at
    /// place `target`. All is always right, but costs time.
    fn helpers(part: &Part<'_, Self>, _target: usize) -> Helpers {
        Helpers { each: (part.answered..part.operations.len()).collect(), alike: Vec::new() }
    }

    /// Whether the operation of unknown outcome at place `helper` is of help to the answered operation at
    /// place `target` if it leaves this state behind, and nothing but such operations stands between the
    /// two. `true` is always right, but costs time.
    fn is_helped(&self, _part: &Part<'_, Self>, _helper: usize, _target: usize) -> bool {
        true
    }

    /// About how many bytes of memory this state takes, without what it shares with the state `before`
    /// it.
    fn bytes_beyond(&self, _before: &Self) -> usize {
        64
    }

    /// What answered operations of a part claim to have found. Found out once per part, for other hints to
    /// look up with [`Part::goals`]; nothing else uses it.
    fn goals<'h>(_part: &Part<'h, Self>) -> Goals<'h, Self::Key> {
        Goals { found: Vec::new(), refused: Vec::new() }
    }

    /// Per operation of unknown outcome in a part, whether nobody can have seen its effect. Found out
    /// once per part, for [`Spec::helpers`] to look up with [`Part::is_blind`]; nothing else uses it.
    fn blind(part: &Part<'_, Self>) -> Vec<bool> {
        vec![false; part.operations.len() - part.answered]
    }

    /// What an operation that is answered so (`None`: nobody knows) does to the one key that it touches,
    /// if it treats it as a register; `None` if it does not, or if no register can answer so. It must be
    /// exact: registers are judged by this alone.
    fn register_op<'a>(_op: &'a Self::Op, _ret: Option<&'a Self::Ret>) -> Option<RegisterOp<'a>> {
        None
    }

    /// What an answered operation on several keys shows of them, if it is a read and the keys are
    /// registers: per key that it names the content. The other keys that it touches hold nothing.
    fn shown<'a>(_op: &'a Self::Op, _ret: &'a Self::Ret) -> Option<Vec<(Self::Key, Content<'a>)>> {
        None
    }

    /// What this state holds under a key, if operations on it are [`Spec::register_op`]s.
    fn register(&self, _key: &Self::Key) -> Option<Content<'_>> {
        None
    }

    /// Why the answered operation at place `failing` of a part that is not linearizable has no place,
    /// if that can be said in a sentence. All that returned before it has a place.
    fn reason(_part: &Part<'_, Self>, _initial: &Self, _failing: usize) -> Option<Reason> {
        None
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content<'a> {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What an operation does to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp<'a> {
    /// It was answered with the content.
    Read(Content<'a>),
    /// It overwrites the content.
    Write(Content<'a>),
    /// It takes effect only on one content, and puts another in its place.
    Swap {
        /// What is there before.
        old: Content<'a>,
        /// What is there after it.
        new: Content<'a>,
    },
    /// It was answered that the content is another one.
    Refused {
        /// Which it is not.
        old: Content<'a>,
    },
    /// It adds bytes behind the content; nothing counts as no bytes.
    Append(&'a [u8]),
}

/// The keys that an operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<K> {
    /// One key.
    One(K),
    /// All keys from `from` on and below `to`.
    Range {
        /// The first key.
        from: K,
        /// Below which key to stop.
        to: K,
    },
    /// All keys that there are.
    All,
}

impl<K: Ord> Keys<&K> {
    /// Where the keys stand in a list of keys that is in order.
    pub(crate) fn places(&self, list: &[impl Borrow<K>]) -> Range<usize> {
        let first = |key: &K| list.partition_point(|other| other.borrow() < key);
        match self {
            Self::One(key) => {
                let low = first(key);
                low..low + usize::from(list.get(low).is_some_and(|other| other.borrow() == *key))
            }
            Self::Range { from, to } => first(from)..first(to).max(first(from)),
            Self::All => 0..list.len(),
        }
    }
}

/// Operations of unknown outcome that may have to take effect directly before an answered one, the
/// target, as places in their part.
///
/// An operation may be missing if every linearization that has it in front of the target, with nothing
/// but operations of unknown outcome between, can be turned into one that does without it, or that has
/// it after the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Helpers {
    /// Each of these is worth trying.
    pub each: Vec<usize>,
    /// These are as good as each other, now and later: one of them is enough.
    pub alike: Vec<usize>,
}

/// What answered operations claim to have found under their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goals<'h, K> {
    /// What was found, or had to be there for that to be found.
    pub found: Vec<(&'h K, Content<'h>)>,
    /// Where something else was found than was expected.
    pub refused: Vec<&'h K>,
}

/// Why an operation has no place in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of the reason, such as `stale`: the same for all violations of its kind.
    pub kind: String,
    /// A sentence for people.
    pub sentence: String,
    /// The other operations that the sentence names.
    pub named: Vec<OpId>,
}

/// The one key of an object that is not divided into keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole;

impl Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object")
    }
}

/// A [`Spec`] from a reference object of stateright. The object is not divided into keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FromSequential<S>(pub S);

impl<S> Spec for FromSequential<S>
where
    S: SequentialSpec + Clone + PartialEq + Hash,
    S::Op: Display + PartialEq + Hash,
    S::Ret: Display,
{
    type Op = S::Op;
    type Ret = S::Ret;
    type Key = Whole;

    fn step(&self, op: &S::Op, ret: Option<&S::Ret>) -> Option<Self> {
        step(&self.0, op, ret).map(Self)
    }

    fn keys(_op: &S::Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }
}

/// [`Spec::step`] for a reference object of stateright.
pub fn step<S: SequentialSpec + Clone>(object: &S, op: &S::Op, ret: Option<&S::Ret>) -> Option<S> {
    // `is_valid_step` may change the object even when it rejects, so only the copy is touched.
    let mut after = object.clone();
    let accepted = match ret {
        Some(ret) => after.is_valid_step(op, ret),
        None => {
            after.invoke(op);
            true
        }
    };
    accepted.then_some(after)
}

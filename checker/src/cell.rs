//! A register whose contents are numbers: what a search makes quick work of.

use std::collections::BTreeSet;
use std::fmt;

use contract::{ClientId, OpId, Time};

use crate::division::Outline;
use crate::origins::{INITIAL, Numbered};
use crate::parts::{Interval, NEVER, Operation, Part};
use crate::spec::{Content, Helpers, Keys, RegisterOp, Spec, Whole};

/// The number of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell(pub(crate) u32);

/// That an operation was answered; what, stands in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered;

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("answered")
    }
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Cell {
    pub(crate) const START: Self = Self(INITIAL);

    /// A part as operations on a register, if it is that.
    pub(crate) fn outlined<'o, S: Spec>(outline: &'o Outline<'_, S>) -> Option<Part<'o, Self>> {
        let register = outline.register.as_ref().filter(|register| register.is_closed())?;
        Some(Self::part(outline.intervals.iter().zip(&register.operations)))
    }

    /// These operations: first those that were answered.
    pub(crate) fn part<'o>(operations: impl Iterator<Item = (&'o Interval, &'o Numbered)>) -> Part<'o, Self> {
        let operation = |(interval, op): (&Interval, &'o Numbered)| Operation {
            id: OpId(0),
            client: ClientId(0),
            op,
            ret: (interval.end != NEVER).then_some(&Answered),
            invoked: Time::ZERO,
            returned: Time::ZERO,
            call: interval.call,
            end: interval.end,
        };
        let operations: Vec<Operation<'_, Numbered, Answered>> = operations.map(operation).collect();
        let answered = operations.partition_point(Operation::is_answered);
        Part::new(vec![Whole], operations, answered)
    }
}

impl Spec for Cell {
    type Op = Numbered;
    type Ret = Answered;
    type Key = Whole;

    fn step(&self, op: &Numbered, ret: Option<&Answered>) -> Option<Self> {
        match *op {
            Numbered::Read(value) => (self.0 == value).then_some(*self),
            Numbered::Write(value) => Some(Self(value)),
            Numbered::Swap { old, new } if self.0 == old => Some(Self(new)),
            Numbered::Swap { .. } => ret.is_none().then_some(*self),
            Numbered::Refused(old) => (self.0 != old).then_some(*self),
            Numbered::Append(_) => unreachable!("a content with something added has no number"),
        }
    }

    fn keys(_op: &Numbered) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(op: &Numbered, _ret: Option<&Answered>) -> bool {
        matches!(op, Numbered::Read(_) | Numbered::Refused(_))
    }

    fn register_op<'a>(op: &'a Numbered, _ret: Option<&'a Answered>) -> Option<RegisterOp<'a>> {
        let content = |value: u32| Content::Number(i64::from(value));
        Some(match *op {
            Numbered::Read(value) => RegisterOp::Read(content(value)),
            Numbered::Write(value) => RegisterOp::Write(content(value)),
            Numbered::Swap { old, new } => RegisterOp::Swap { old: content(old), new: content(new) },
            Numbered::Refused(old) => RegisterOp::Refused { old: content(old) },
            Numbered::Append(_) => return None,
        })
    }

    fn register(&self, _key: &Whole) -> Option<Content<'_>> {
        Some(Content::Number(i64::from(self.0)))
    }

    fn bytes_beyond(&self, _before: &Self) -> usize {
        16
    }

    /// As for a key-value store, where it is argued.
    fn helpers(part: &Part<'_, Self>, target: usize) -> Helpers {
        let mut helpers = Helpers::default();
        match *part.operations[target].op {
            Numbered::Read(value) | Numbered::Swap { old: value, .. } => helpers.each = towards(part, value),
            Numbered::Refused(_) => {
                let unknown = part.answered..part.operations.len();
                (helpers.alike, helpers.each) = unknown.partition(|write| part.is_blind(*write));
            }
            Numbered::Write(_) | Numbered::Append(_) => {}
        }
        helpers
    }

    fn blind(part: &Part<'_, Self>) -> Vec<bool> {
        let observed = |operation: &Operation<'_, Numbered, Answered>| match *operation.op {
            Numbered::Read(value) | Numbered::Refused(value) | Numbered::Swap { old: value, .. } => {
                Some(value)
            }
            Numbered::Write(_) | Numbered::Append(_) => None,
        };
        let observed: BTreeSet<u32> = part.operations.iter().filter_map(observed).collect();
        let is_blind = |operation: &Operation<'_, Numbered, Answered>| match *operation.op {
            Numbered::Write(value) => !observed.contains(&value),
            _ => false,
        };
        part.operations[part.answered..].iter().map(is_blind).collect()
    }
}

/// The operations of unknown outcome that can be part of a run after which the register has the content
/// `goal`.
fn towards(part: &Part<'_, Cell>, goal: u32) -> Vec<usize> {
    let mut goals = vec![goal];
    let mut rest: Vec<usize> = (part.answered..part.operations.len()).collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        rest.retain(|write| {
            let leads = match part.operations[*write].op {
                Numbered::Write(value) | Numbered::Swap { new: value, .. } => goals.contains(value),
                _ => false,
            };
            if leads {
                found.push(*write);
            }
            !leads
        });
        if found.len() == before {
            return found;
        }
        for write in &found[before..] {
            if let Numbered::Swap { old, .. } = part.operations[*write].op {
                goals.push(*old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::kv::{Op, Ret};
    use contract::{ClientId, History, Outcome, Time};

    use super::Cell;
    use crate::division::outlines;
    use crate::models::kv::Kv;
    use crate::origins::Numbered;
    use crate::spec::{Content, Spec, Whole};

    fn history(is_appended: bool) -> History<Op, Ret> {
        let mut history = History::default();
        let mut done = |op: Op, outcome| {
            let id = history.invoke(Time(1), ClientId(1), op);
            history.complete(Time(1), ClientId(1), id, outcome);
        };
        let put = |value: &str| Op::Put { key: "k".into(), value: value.into() };
        done(put("a"), Outcome::Unknown);
        done(put("b"), Outcome::Unknown);
        done(Op::Get { key: "k".into() }, Outcome::Ok(Ret::Value(Some("b".into()))));
        if is_appended {
            done(Op::Append { key: "k".into(), value: "c".into() }, Outcome::Unknown);
        }
        history
    }

    /// A register is one in numbers unless something is appended. Of its writes of unknown outcome those are blind
    /// whose content nobody observed.
    #[test]
    fn a_register_is_judged_in_numbers() {
        let (initial, history, appended) = (Kv::default(), history(false), history(true));
        let all = outlines(&history, &initial).expect("well formed");
        let part = Cell::outlined(&all[0]).expect("it is a register");
        assert_eq!((part.operations.len(), part.answered), (3, 1));
        assert_eq!((1..3).map(|place| part.is_blind(place)).collect::<Vec<bool>>(), [true, false]);
        assert_eq!(Cell(7).register(&Whole), Some(Content::Number(7)));
        assert_eq!(
            [Numbered::Read(1), Numbered::Refused(1), Numbered::Write(1)].map(|op| Cell::is_read(&op, None)),
            [true, true, false]
        );
        let all = outlines(&appended, &initial).expect("well formed");
        assert!(Cell::outlined(&all[0]).is_none(), "a content with something added has no number");
    }
}

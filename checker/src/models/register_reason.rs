//! Why an operation on a register has no place in any order, where one sentence can say it.
//!
//! As for the key-value store, each reason is proved from the intervals of the operations alone. All that
//! is asked of the object is what its operations do to a register ([`Spec::register_op`]).

use std::fmt;

use contract::OpId;

use crate::explain::{clock, short, told};
use crate::parts::{Operation, Part};
use crate::spec::{Content, Reason, RegisterOp, Spec};

/// [`Spec::reason`] for an object that is a register, in state `initial`.
pub(super) fn reason<S: Spec>(part: &Part<'_, S>, initial: Content<'_>, failing: usize) -> Option<Reason> {
    let reader = &part.operations[failing];
    reader.ret?;
    match S::register_op(reader.op, reader.ret)? {
        RegisterOp::Read(seen) | RegisterOp::Swap { old: seen, .. } => {
            let claim = Claim { part, initial, reader, seen };
            let (kind, because, named) = claim.no_source().or_else(|| claim.overwritten())?;
            Some(Reason {
                kind: kind.to_owned(),
                sentence: format!("{}, but {because}", told(reader)),
                named,
            })
        }
        RegisterOp::Refused { old } => {
            let claim = Claim { part, initial, reader, seen: old };
            let (because, named) = claim.proof()?;
            let sentence = format!("{}, but {because}", told(reader));
            Some(Reason { kind: "refused".to_owned(), sentence, named })
        }
        RegisterOp::Write(_) | RegisterOp::Append(_) => None,
    }
}

/// That the register held `seen` at some moment between an operation's invocation and its return.
struct Claim<'c, 'h, S: Spec> {
    part: &'c Part<'h, S>,
    initial: Content<'c>,
    reader: &'c Operation<'h, S::Op, S::Ret>,
    seen: Content<'c>,
}

type Because = (&'static str, String, Vec<OpId>);

impl<'c, 'h, S: Spec> Claim<'c, 'h, S> {
    /// Nothing that was invoked before the return can have left the content behind.
    fn no_source(&self) -> Option<Because> {
        if self.initial == self.seen || self.sources().any(|source| source.call < self.reader.end) {
            return None;
        }
        match self.sources().min_by_key(|source| source.call) {
            Some(Operation { id, op, client, invoked, .. }) => {
                let because = format!("{} by {client} was invoked only at {}", short(op), clock(*invoked));
                Some(("from-the-future", because, vec![*id]))
            }
            None => Some(("never-written", format!("nothing ever wrote {}", Shown(self.seen)), Vec::new())),
        }
    }

    /// All that can have left the content behind had returned before something was invoked that shows
    /// another one, and that returned before the reader was invoked.
    fn overwritten(&self) -> Option<Because> {
        let sources = self.sources().filter(|source| source.call < self.reader.end);
        let last_end = sources.map(|source| source.end).max();
        let before = self.answered_before().filter(|o| last_end.is_none_or(|end| end < o.call));
        let other =
            before.filter(|o| self.shows_another(o)).max_by_key(|o| (self.left(o).is_some(), o.end))?;
        let kind = if self.seen == Content::Nothing { "missing" } else { "stale" };
        let because = format!("{} and nothing wrote {} after it", self.shown(other), Shown(self.seen));
        Some((kind, because, vec![other.id]))
    }

    /// Why the register certainly held the content all the time.
    fn proof(&self) -> Option<(String, Vec<OpId>)> {
        let holds = |o: &&Operation<'h, S::Op, S::Ret>| {
            self.shows_it(o)
                && self.writers().all(|w| w.id == o.id || w.precedes(o) || self.reader.precedes(w))
        };
        let evidence = self.answered_before().filter(holds);
        if let Some(shown) = evidence.max_by_key(|o| (self.left(o).is_some(), o.end)) {
            return Some((format!("{} and nothing wrote after it", self.shown(shown)), vec![shown.id]));
        }
        let is_untouched = self.writers().all(|writer| writer.call > self.reader.end);
        (is_untouched && self.initial == self.seen)
            .then(|| ("nothing had been written since the start".to_owned(), Vec::new()))
    }

    /// "write(3) had returned at 1.000s", or "read by c2 had returned 3 at 1.000s".
    fn shown(&self, o: &Operation<'h, S::Op, S::Ret>) -> String {
        let Operation { op, client, ret, returned, .. } = o;
        match (self.left(o), ret) {
            (None, Some(ret)) => {
                format!("{} by {client} had returned {} at {}", short(op), short(ret), clock(*returned))
            }
            _ => format!("{} had returned at {}", short(op), clock(*returned)),
        }
    }

    /// What an operation leaves behind, if it takes effect and writes.
    fn left(&self, o: &Operation<'h, S::Op, S::Ret>) -> Option<Content<'h>> {
        match S::register_op(o.op, o.ret)? {
            RegisterOp::Write(content) | RegisterOp::Swap { new: content, .. } => Some(content),
            RegisterOp::Read(_) | RegisterOp::Refused { .. } | RegisterOp::Append(_) => None,
        }
    }

    /// The others that may write.
    fn writers(&self) -> impl Iterator<Item = &'c Operation<'h, S::Op, S::Ret>> {
        let others = self.part.operations.iter().filter(|o| o.id != self.reader.id);
        others.filter(|o| self.left(o).is_some())
    }

    /// The others that may leave the content behind.
    fn sources(&self) -> impl Iterator<Item = &'c Operation<'h, S::Op, S::Ret>> {
        self.writers().filter(|o| self.left(o) == Some(self.seen))
    }

    /// What had been answered when the reader was invoked.
    fn answered_before(&self) -> impl Iterator<Item = &'c Operation<'h, S::Op, S::Ret>> {
        let Self { part, reader, .. } = *self;
        part.operations[..part.answered].iter().filter(move |o| o.precedes(reader))
    }

    /// Whether an answered operation shows that the register held something else when it took effect, or
    /// leaves it so.
    fn shows_another(&self, o: &Operation<'h, S::Op, S::Ret>) -> bool {
        match S::register_op(o.op, o.ret) {
            Some(RegisterOp::Read(seen)) => seen != self.seen,
            Some(RegisterOp::Refused { old }) => old == self.seen,
            Some(RegisterOp::Write(left) | RegisterOp::Swap { new: left, .. }) => left != self.seen,
            Some(RegisterOp::Append(_)) | None => false,
        }
    }

    /// Whether an answered operation shows that the register held the content when it took effect, or
    /// leaves it so.
    fn shows_it(&self, o: &Operation<'h, S::Op, S::Ret>) -> bool {
        match S::register_op(o.op, o.ret) {
            Some(RegisterOp::Read(seen)) => seen == self.seen,
            _ => self.left(o) == Some(self.seen),
        }
    }
}

/// A content for people.
struct Shown<'c>(Content<'c>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Content::Nothing => f.write_str("nothing"),
            Content::Number(number) => write!(f, "{number}"),
            Content::Bytes(bytes) => write!(f, "\"{}\"", short(&bytes.escape_ascii())),
        }
    }
}

//! Why a read of a key-value store has no place in any order, where one sentence can say it.
//!
//! Each reason is proved from the intervals of the operations alone, never from the order that the
//! search happened to find: so it is true of every order.

use contract::Bytes;
use contract::kv::{Op, Ret};

use super::kv::Kv;
use crate::explain::{clock, short, told};
use crate::parts::{Operation, Part};
use crate::spec::Reason;

type KvOperation<'h> = Operation<'h, Op, Ret>;

pub(super) fn reason(part: &Part<'_, Kv>, initial: &Kv, failing: usize) -> Option<Reason> {
    let reader = &part.operations[failing];
    let told_reader = told(reader);
    match (reader.op, reader.ret?) {
        (Op::Get { key }, Ret::Value(value)) => {
            Claim { part, initial, reader, key, value: value.as_ref() }.disproof(&told_reader)
        }
        (Op::Decide { key, value: own }, Ret::Value(decided)) if decided.as_ref() != Some(own) => {
            Claim { part, initial, reader, key, value: decided.as_ref() }.disproof(&told_reader)
        }
        (Op::Cas { key, expected, .. }, Ret::Swapped(true)) => {
            Claim { part, initial, reader, key, value: expected.as_ref() }.disproof(&told_reader)
        }
        (Op::Cas { key, expected, .. }, Ret::Swapped(false)) => {
            let claim = Claim { part, initial, reader, key, value: expected.as_ref() };
            claim.proof().map(|(because, named)| Reason {
                kind: "refused".to_owned(),
                sentence: format!("{told_reader}, but {because}"),
                named,
            })
        }
        (Op::Scan { from, to }, Ret::Pairs(pairs)) => {
            let mut keys: Vec<&Bytes> = part.keys.iter().chain(pairs.iter().map(|(key, _)| key)).collect();
            keys.retain(|key| from <= *key && *key < to);
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let value = pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value);
                let what = match value {
                    Some(value) => format!("{key}=\"{}\"", short(value)),
                    None => format!("no {key}"),
                };
                let Operation { op, client, returned, .. } = reader;
                let told = format!("{op} by {client} returned {what} at {}", clock(*returned));
                Claim { part, initial, reader, key, value }.disproof(&told)
            })
        }
        _ => None,
    }
}

/// That a key had a value at some moment between an operation's invocation and its return.
struct Claim<'c, 'h> {
    part: &'c Part<'h, Kv>,
    initial: &'c Kv,
    reader: &'c KvOperation<'h>,
    key: &'c Bytes,
    value: Option<&'c Bytes>,
}

impl<'c, 'h> Claim<'c, 'h> {
    /// Why the claim is wrong.
    fn disproof(&self, told_reader: &str) -> Option<Reason> {
        let found = self.no_source().or_else(|| self.overwritten()).or_else(|| self.lost_append());
        let (kind, because, named) = found?;
        Some(Reason { kind: kind.to_owned(), sentence: format!("{told_reader}, but {because}"), named })
    }

    /// Nothing that was invoked before the return can have left the value behind.
    fn no_source(&self) -> Option<(&'static str, String, Vec<contract::OpId>)> {
        if self.was_initial() || self.sources().any(|source| source.call < self.reader.end) {
            return None;
        }
        match self.sources().min_by_key(|source| source.call) {
            Some(Operation { id, op, client, invoked, .. }) => {
                let because = format!("{} by {client} was invoked only at {}", short(op), clock(*invoked));
                Some(("from-the-future", because, vec![*id]))
            }
            None => Some(("never-written", format!("nothing ever {}", self.wrote()), Vec::new())),
        }
    }

    /// All that can have left the value behind had returned before something was invoked that shows
    /// another value, and that returned before the reader was invoked.
    fn overwritten(&self) -> Option<(&'static str, String, Vec<contract::OpId>)> {
        let sources = self.sources().filter(|source| source.call < self.reader.end);
        let last_end = sources.map(|source| source.end).max();
        let others = self.answered_before().filter(|o| last_end.is_none_or(|end| end < o.call));
        let other = others.filter(|o| self.shows_another(o)).max_by_key(|o| (is_write(o), o.end))?;
        let Operation { id, op, client, returned, .. } = other;
        let what = match (is_write(other), other.ret) {
            (false, Some(ret)) => format!("{} by {client} had returned {}", short(op), short(ret)),
            _ => format!("{} had returned", short(op)),
        };
        let kind = if self.value.is_some() { "stale" } else { "missing" };
        let because = format!("{what} at {} and nothing {} after it", clock(*returned), self.wrote());
        Some((kind, because, vec![*id]))
    }

    /// Something was appended before and nothing can have overwritten it, but the value is without it.
    fn lost_append(&self) -> Option<(&'static str, String, Vec<contract::OpId>)> {
        let lost = self.answered_before().find(|o| match o.op {
            Op::Append { key, value } if key == self.key => {
                let is_in = |seen: &Bytes| seen.windows(value.len()).any(|window| window == &value[..]);
                !value.is_empty()
                    && !self.value.is_some_and(is_in)
                    && self.mutations().all(|m| matches!(m.op, Op::Append { .. }) || self.is_aside(m, o))
            }
            _ => false,
        })?;
        let because = format!(
            "{} had returned at {} and nothing overwrote {} after it",
            short(lost.op),
            clock(lost.returned),
            self.key
        );
        Some(("lost-append", because, vec![lost.id]))
    }

    /// Why the key certainly had the value all the time.
    fn proof(&self) -> Option<(String, Vec<contract::OpId>)> {
        let key = self.key;
        let evidence = self
            .answered_before()
            .filter(|o| self.shows_it(o) && self.mutations().all(|m| m.id == o.id || self.is_aside(m, o)));
        if let Some(shown) = evidence.max_by_key(|o| (is_write(o), o.end)) {
            let what = match (is_write(shown), shown.ret) {
                (false, Some(ret)) => format!("{} had returned {}", short(shown.op), short(ret)),
                _ => format!("{} had returned", short(shown.op)),
            };
            let because = format!("{what} at {} and nothing changed {key} after it", clock(shown.returned));
            return Some((because, vec![shown.id]));
        }
        let is_untouched = self.mutations().all(|m| m.call > self.reader.end);
        (is_untouched && self.was_initial())
            .then(|| (format!("nothing had changed {key} since the start"), Vec::new()))
    }

    fn was_initial(&self) -> bool {
        self.initial.get(self.key) == self.value
    }

    /// "wrote "v17" to k3", or "deleted k3".
    fn wrote(&self) -> String {
        match self.value {
            Some(value) => format!("wrote \"{}\"", short(value)),
            None => format!("deleted {}", self.key),
        }
    }

    /// The others that may change the key.
    fn mutations(&self) -> impl Iterator<Item = &'c KvOperation<'h>> {
        let Self { part, key, reader, .. } = *self;
        // Nothing of a part with one key is about another.
        let is_only = part.keys.len() == 1 && part.keys[0] == *key;
        part.operations
            .iter()
            .filter(move |o| o.id != reader.id && is_write(o) && (is_only || writes_to(o.op) == Some(key)))
    }

    /// The others that may leave the value behind.
    fn sources(&self) -> impl Iterator<Item = &'c KvOperation<'h>> {
        let value = self.value;
        self.mutations().filter(move |o| may_leave(o.op, value))
    }

    /// What had been answered when the reader was invoked.
    fn answered_before(&self) -> impl Iterator<Item = &'c KvOperation<'h>> {
        let Self { part, reader, .. } = *self;
        part.operations[..part.answered].iter().filter(move |o| o.precedes(reader))
    }

    /// Whether `mutation` can only stand before `shown` or after the reader.
    fn is_aside(&self, mutation: &KvOperation<'_>, shown: &KvOperation<'_>) -> bool {
        mutation.precedes(shown) || self.reader.precedes(mutation)
    }

    /// Whether an answered operation shows that the key had another value when it took effect, or gives
    /// it one.
    fn shows_another(&self, o: &KvOperation<'_>) -> bool {
        match (o.op, o.ret) {
            (Op::Get { key } | Op::Decide { key, .. }, Some(Ret::Value(seen))) => {
                key == self.key && seen.as_ref() != self.value
            }
            (Op::Scan { from, to }, Some(Ret::Pairs(pairs))) => {
                from <= self.key && self.key < to && value_in(pairs, self.key) != self.value
            }
            (Op::Cas { key, expected, .. }, Some(Ret::Swapped(false))) => {
                key == self.key && expected.as_ref() == self.value
            }
            (op, _) => writes_to(op) == Some(self.key) && !may_leave(op, self.value),
        }
    }

    /// Whether an answered operation shows that the key had the value when it took effect, or gives it.
    fn shows_it(&self, o: &KvOperation<'_>) -> bool {
        match (o.op, o.ret) {
            (Op::Get { key } | Op::Decide { key, .. }, Some(Ret::Value(seen))) => {
                key == self.key && seen.as_ref() == self.value
            }
            (Op::Scan { from, to }, Some(Ret::Pairs(pairs))) => {
                from <= self.key && self.key < to && value_in(pairs, self.key) == self.value
            }
            (Op::Cas { key, value, .. }, Some(Ret::Swapped(true))) | (Op::Put { key, value }, _) => {
                key == self.key && Some(value) == self.value
            }
            (Op::Delete { key }, _) => key == self.key && self.value.is_none(),
            _ => false,
        }
    }
}

fn value_in<'p>(pairs: &'p [(Bytes, Bytes)], key: &Bytes) -> Option<&'p Bytes> {
    pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value)
}

/// Whether an operation may change something.
fn is_write(o: &KvOperation<'_>) -> bool {
    !o.op.is_read() && o.ret != Some(&Ret::Swapped(false))
}

fn writes_to(op: &Op) -> Option<&Bytes> {
    match op {
        Op::Put { key, .. }
        | Op::Append { key, .. }
        | Op::Delete { key }
        | Op::Cas { key, .. }
        | Op::Decide { key, .. } => Some(key),
        Op::Get { .. } | Op::Scan { .. } => None,
    }
}

/// Whether a write, if it takes effect, may leave its key with a value.
fn may_leave(op: &Op, left: Option<&Bytes>) -> bool {
    match op {
        Op::Put { value, .. } | Op::Cas { value, .. } => left == Some(value),
        Op::Append { value, .. } => left.is_some_and(|left| left.ends_with(value)),
        Op::Delete { .. } => left.is_none(),
        // Whatever was decided before stays.
        Op::Decide { .. } => left.is_some(),
        Op::Get { .. } | Op::Scan { .. } => false,
    }
}

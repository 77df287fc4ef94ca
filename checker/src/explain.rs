//! Why a history is not linearizable, in words and at a bounded cost.

use std::fmt;

use contract::{OpId, Time};
use serde::{Deserialize, Serialize};

use crate::linearizability::Search;
use crate::parts::{Operation, Part};
use crate::spec::{Reason, Spec};

/// How many operations an explanation shows.
const WINDOW_OPERATIONS_MAX: usize = 12;

/// The evidence that a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What was checked: `linearizable`.
    pub check: String,
    /// The keys of the part that no order explains.
    pub keys: Vec<String>,
    /// The first operation, in the order of returns, that has no place in any order that also holds
    /// all operations that returned before it.
    pub failing: OpId,
    /// What kind of operation that is, such as `get`.
    pub operation: String,
    /// The longest order found that holds all operations that returned before the failing one.
    pub placed: Vec<OpId>,
    /// Why it has no place.
    pub reason: Reason,
    /// The failing operation, marked `>`, and those concurrent with it or just before it, one line
    /// each, in the order of their invocations.
    pub window: Vec<String>,
}

impl Violation {
    /// The evidence of a search that ended in [`Status::Refuted`](crate::linearizability::Status).
    pub(crate) fn new<S: Spec>(search: &Search<'_, '_, S>) -> Self {
        let part = search.part();
        let failing = search.front();
        let operation = &part.operations[failing];
        let text = operation.op.to_string();
        let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        Self {
            check: "linearizable".to_owned(),
            keys: part.keys.iter().map(ToString::to_string).collect(),
            failing: operation.id,
            operation: name.to_owned(),
            placed: search.longest().iter().map(|place| part.operations[*place].id).collect(),
            reason: S::reason(part, failing).unwrap_or_else(|| general(part, operation)),
            window: window(part, failing),
        }
    }

    /// What this violation has in common with others of its kind: no values, keys, clients or times.
    pub fn signature(&self) -> String {
        format!("{}/{}/{}", self.check, self.operation, self.reason.kind)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason.sentence)
    }
}

/// What can always be said.
fn general<S: Spec>(part: &Part<'_, S>, failing: &Operation<'_, S::Op, S::Ret>) -> Reason {
    let before = part.operations.iter().filter(|o| o.call < failing.end).count();
    let sentence = format!(
        "no order of the {before} operations on {} up to then explains that {}",
        part.name(),
        told(failing)
    );
    Reason { kind: "no-order".to_owned(), sentence }
}

/// An answered operation as the beginning of a sentence: `get(k3) by c2 returned "v17" at 12.204s`.
pub(crate) fn told<O: fmt::Display, R: fmt::Display>(operation: &Operation<'_, O, R>) -> String {
    let Operation { op, client, returned, .. } = operation;
    match operation.ret {
        Some(ret) => format!("{op} by {client} returned {ret} at {}", clock(*returned)),
        None => format!("{op} by {client} never returned"),
    }
}

/// A time for people: in seconds, with no more decimals than it has, but at least three.
pub(crate) fn clock(time: Time) -> String {
    let text = time.to_string();
    let digits = text.trim_end_matches('s');
    let short = digits.trim_end_matches('0');
    let decimals_min = digits.find('.').map_or(digits.len(), |point| point + 4);
    format!("{}s", &digits[..short.len().max(decimals_min)])
}

/// The operations around the failing one.
fn window<S: Spec>(part: &Part<'_, S>, failing: usize) -> Vec<String> {
    let center = &part.operations[failing];
    // The failing one, what is concurrent with it, then what ended before it, latest first.
    let mut near: Vec<usize> =
        (0..part.operations.len()).filter(|at| part.operations[*at].call < center.end).collect();
    near.sort_by_key(|at| {
        let operation = &part.operations[*at];
        let distance = center.call.saturating_sub(operation.end);
        (*at != failing, distance, !operation.is_answered(), center.end - operation.call)
    });
    near.truncate(WINDOW_OPERATIONS_MAX);
    near.sort_by_key(|at| part.operations[*at].call);
    near.iter()
        .map(|at| {
            let Operation { id, client, op, invoked, returned, .. } = &part.operations[*at];
            let mark = if *at == failing { '>' } else { ' ' };
            let (end, ret) = match part.operations[*at].ret {
                Some(ret) => (clock(*returned), ret.to_string()),
                None => ("?".to_owned(), "unknown".to_owned()),
            };
            format!("{mark} {id} {client} {} .. {end} {op} -> {ret}", clock(*invoked))
        })
        .collect()
}

//! The front door: from a history to a verdict, within a budget.

use std::fmt;

use contract::History;
use serde::{Deserialize, Serialize};

use crate::explain::Violation;
use crate::linearizability::{Search, Status};
use crate::models::kv::Kv;
use crate::parts::{Malformed, split};
use crate::spec::Spec;

/// How much work a verdict may cost. It counts steps, never time, so that a verdict is a function of
/// the history and the budget alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// How many steps all parts may take together. A step applies one operation to one state.
    pub steps: u64,
}

impl Default for Budget {
    /// Twenty million steps: a few seconds.
    fn default() -> Self {
        Self { steps: 20_000_000 }
    }
}

impl Budget {
    /// How many states may be stored: what one order needs, and one more for each sixteen steps, so
    /// that memory stays bounded too.
    fn states(self, operations: usize) -> usize {
        2 * operations + usize::try_from(self.steps / 16).unwrap_or(usize::MAX / 4)
    }
}

/// The first turn of each part: enough for most.
const SLICE_STEPS_MIN: u64 = 1 << 12;
/// Later turns grow up to this, so that the states stored beyond the limit stay few.
const SLICE_STEPS_MAX: u64 = 1 << 18;

/// What a checker found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Ok,
    /// There is none, and this is why.
    Violation(Violation),
    /// The budget ran out first.
    Unknown(Exhausted),
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The steps of the budget.
    Steps,
    /// The memory for states that the budget stands for.
    States,
}

/// How far a checker came before its budget ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exhausted {
    /// What ran out.
    pub what: Resource,
    /// How many steps were taken.
    pub steps: u64,
    /// How many answered operations have a place in the longest orders found.
    pub linearized: usize,
    /// How many answered operations there are.
    pub operations: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Violation(violation) => write!(f, "violation: {violation}"),
            Self::Unknown(exhausted) => write!(f, "unknown: {exhausted}"),
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Resource::Steps => "steps",
            Resource::States => "memory for states",
        };
        let Self { steps, linearized, operations, .. } = self;
        write!(f, "out of {what} after {steps} steps, with {linearized} of {operations} operations in order")
    }
}

/// Judges the history of a key-value service that was empty at the start.
///
/// # Errors
/// [`Malformed`] if no clients can have produced the history.
pub fn judge_kv(
    history: &History<contract::kv::Op, contract::kv::Ret>,
    budget: Budget,
) -> Result<Verdict, Malformed> {
    judge(history, &Kv::default(), budget)
}

/// Judges whether a history is linearizable with respect to an object in state `initial`.
///
/// # Errors
/// [`Malformed`] if no clients can have produced the history.
pub fn judge<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    budget: Budget,
) -> Result<Verdict, Malformed> {
    let parts = split::<S>(history)?;
    let operations = parts.iter().map(|part| part.answered).sum();
    let mut running: Vec<Search<'_, '_, S>> = parts.iter().map(|part| Search::new(part, initial)).collect();
    let (mut steps, mut linearized) = (0, 0);
    // All parts advance in turns, so that one that is broken ends the race however hard others are.
    let mut slice = SLICE_STEPS_MIN;
    while !running.is_empty() {
        let mut paused = Vec::new();
        for mut search in running {
            let before = search.steps();
            let status = search.run(slice.min(budget.steps.saturating_sub(steps)));
            steps += search.steps() - before;
            match status {
                Status::Refuted => return Ok(Verdict::Violation(Violation::new(&search))),
                Status::Linearizable => linearized += search.part().answered,
                Status::Paused => paused.push(search),
            }
        }
        running = paused;
        let states: usize = running.iter().map(Search::states).sum();
        let what = match (steps >= budget.steps, states > budget.states(operations)) {
            (false, false) => None,
            (false, true) => Some(Resource::States),
            (true, _) => Some(Resource::Steps),
        };
        if let (Some(what), false) = (what, running.is_empty()) {
            let placed = |search: &Search<'_, '_, S>| search.front();
            linearized += running.iter().map(placed).sum::<usize>();
            return Ok(Verdict::Unknown(Exhausted { what, steps, linearized, operations }));
        }
        slice = (slice * 2).min(SLICE_STEPS_MAX);
    }
    Ok(Verdict::Ok)
}

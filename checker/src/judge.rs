//! The front door: from a history to a verdict, within a budget.

use std::fmt;
use std::ops::Range;

use contract::History;
use serde::{Deserialize, Serialize};

use crate::explain::Violation;
use crate::linearizability::{Search, Status};
use crate::models::kv::Kv;
use crate::parts::{Malformed, Part, split};
use crate::spec::Spec;

/// How much work a verdict may cost. It counts steps, never time, so that a verdict is a function of
/// the history and the budget alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// How many steps all parts may take together. A step applies one operation to one state, or
    /// compares a few of what is stored.
    pub steps: u64,
}

impl Default for Budget {
    /// Twenty million steps: a few seconds.
    fn default() -> Self {
        Self { steps: 20_000_000 }
    }
}

/// How many bytes the states of all searches may take together.
const STATE_BYTES_MAX: u64 = 512 << 20;
/// The first turn of each part, unless it is so long that four steps for each operation are more: what
/// needs more than its first turn is hard.
const SLICE_STEPS_MIN: u64 = 1 << 12;
/// Later turns grow up to this, so that the states stored beyond the limit stay few.
const SLICE_STEPS_MAX: u64 = 1 << 18;

/// How many operations, from the one on at which a search is stuck, are looked at for a reason.
const LOOK_MAX: usize = 64;

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
    /// The memory for states, half a gibibyte.
    Memory,
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
            Resource::Memory => "memory",
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
    let mut running: Vec<Runner<'_, '_, S>> = parts.iter().map(|part| Runner::new(part, initial)).collect();
    let (mut steps, mut linearized) = (0, 0);
    // All parts advance in turns, so that one that is broken ends the race however hard others are.
    let mut slice = SLICE_STEPS_MIN;
    while !running.is_empty() {
        let mut paused = Vec::new();
        for mut runner in running {
            let turn_steps = slice.max(4 * runner.search.part().operations.len() as u64);
            let turn = runner.turn(turn_steps.min(budget.steps.saturating_sub(steps)));
            steps += turn.steps;
            match turn.result {
                TurnResult::Violation(violation) => return Ok(Verdict::Violation(violation)),
                TurnResult::Linearizable => linearized += runner.search.part().answered,
                TurnResult::Paused => paused.push(runner),
            }
        }
        running = paused;
        let bytes: u64 = running.iter().map(|runner| runner.search.state_bytes()).sum();
        let what = if steps >= budget.steps { Resource::Steps } else { Resource::Memory };
        if !running.is_empty() && (steps >= budget.steps || bytes > STATE_BYTES_MAX) {
            linearized += running.iter().map(|runner| runner.search.front()).sum::<usize>();
            return Ok(Verdict::Unknown(Exhausted { what, steps, linearized, operations }));
        }
        slice = (slice * 2).min(SLICE_STEPS_MAX);
    }
    Ok(Verdict::Ok)
}

/// What judges one part, turn by turn. A search that does not end soon is hard, and the usual cause is
/// an answer that cannot be right: so the operations at which the search is stuck are looked at for a
/// reason, which is a proof.
struct Runner<'p, 'h, S: Spec> {
    search: Search<'p, 'h, S>,
    /// Where the search was at the end of the last turn.
    front: usize,
    /// The place up to which operations were looked at.
    looked_at: usize,
}

/// What came of a turn, and how many steps it took.
struct Turn {
    result: TurnResult,
    steps: u64,
}

enum TurnResult {
    Linearizable,
    Violation(Violation),
    Paused,
}

impl<'p, 'h, S: Spec> Runner<'p, 'h, S> {
    fn new(part: &'p Part<'h, S>, initial: &S) -> Self {
        Self { search: Search::new(part, initial), front: 0, looked_at: 0 }
    }

    fn turn(&mut self, slice: u64) -> Turn {
        let before = self.search.steps();
        let status = self.search.run(slice);
        let mut steps = self.search.steps() - before;
        let result = match status {
            Status::Linearizable => TurnResult::Linearizable,
            Status::Refuted => TurnResult::Violation(Violation::of_search(&self.search)),
            Status::Paused => {
                let places = self.stuck_at();
                steps += (places.len() * self.search.part().operations.len()) as u64 / 4;
                self.look(places).map_or(TurnResult::Paused, TurnResult::Violation)
            }
        };
        Turn { result, steps }
    }

    /// The places at which the search may be stuck and that were not looked at; none if it gets on.
    fn stuck_at(&mut self) -> Range<usize> {
        let front = self.search.front();
        let gets_on = front >= self.front + LOOK_MAX;
        self.front = front;
        let from = front.max(self.looked_at);
        let to = (front + LOOK_MAX).min(self.search.part().answered);
        if gets_on || to <= from {
            return from..from;
        }
        self.looked_at = to;
        from..to
    }

    fn look(&self, mut places: Range<usize>) -> Option<Violation> {
        let (part, initial) = (self.search.part(), self.search.initial());
        let (place, reason) = places.find_map(|place| Some((place, S::reason(part, initial, place)?)))?;
        Some(Violation::new(&self.search, place, reason))
    }
}

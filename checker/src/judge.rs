//! The front door: from a history to a verdict, within a budget.

use std::fmt;
use std::ops::Range;

use contract::{History, OpId};
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::division::{Outline, outlines};
use crate::explain::Violation;
use crate::layers::Layers;
use crate::linearizability::{Attempt, Search, Status};
use crate::models::kv::Kv;
use crate::origins::Register;
use crate::parts::{Malformed, Part};
use crate::spec::{Reason, Spec};
use crate::windows;
use crate::witness::witness;
use crate::zones::{Decision, Refuted, Zones};

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
pub(crate) const STATE_BYTES_MAX: u64 = 512 << 20;
/// From how many bytes of states on a search of one part is given up for layers, which forget.
const SEARCH_BYTES_MAX: u64 = 128 << 20;
/// How many pairs of operations that are open together searches may store.
const OPEN_PAIRS_MAX: u64 = 1 << 26;
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
    /// The configurations that a stream carries on: some were merged, and only such are left.
    Configurations,
    /// Certainty about what was read: some values may have been written by more than one operation.
    Origins,
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
        let Self { steps, linearized, operations, .. } = self;
        let what = match self.what {
            Resource::Steps => "steps",
            Resource::Memory => "memory",
            Resource::Configurations => "configurations",
            Resource::Origins => {
                let several = operations - linearized;
                return write!(
                    f,
                    "{several} of {operations} reads returned what more than one operation may have written"
                );
            }
        };
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
    judge_with(history, initial, &Options { budget, witness: None })
}

/// What a judge may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'w> {
    /// The work that it may do.
    pub budget: Budget,
    /// The order in which the service applied the operations, if that is known. It is checked, not
    /// believed: a wrong one only costs time.
    pub witness: Option<&'w [OpId]>,
}

/// Like [`judge`], with all that may help.
///
/// # Errors
/// [`Malformed`] if no clients can have produced the history.
pub fn judge_with<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    options: &Options<'_>,
) -> Result<Verdict, Malformed> {
    if let Some(order) = options.witness
        && witness(history, initial, order)?
    {
        return Ok(Verdict::Ok);
    }
    Ok(judge_parts(outlines(history, initial)?, initial, options.budget))
}

/// Judges all parts: first those that need no search, then the others side by side.
pub(crate) fn judge_parts<S: Spec>(outlines: Vec<Outline<'_, S>>, initial: &S, budget: Budget) -> Verdict {
    let operations = outlines.iter().map(Outline::answered).sum();
    let (mut steps, mut linearized) = (0, 0);
    let mut undecided: Vec<(Outline<'_, S>, bool)> = Vec::new();
    for outline in outlines {
        steps += if outline.register.is_some() { outline.intervals.len() as u64 } else { 0 };
        let is_misguessed = match zones(&outline) {
            Decision::Linearizable => None,
            Decision::Proposed(order) if outline.part().is_explained(initial, &order) => None,
            Decision::Refuted(Refuted { failing, placed }) => {
                return Verdict::Violation(Violation::of(&outline, initial, failing, &placed, None));
            }
            Decision::Misguessed(_) => Some(true),
            Decision::Proposed(_) | Decision::Unsure => Some(false),
        };
        match is_misguessed {
            Some(is_misguessed) => undecided.push((outline, is_misguessed)),
            None => linearized += outline.answered(),
        }
    }
    let pairs = |outline: &Outline<'_, S>| windows::pairs(&outline.intervals, OPEN_PAIRS_MAX);
    if undecided.iter().map(|(outline, _)| pairs(outline)).sum::<u64>() > OPEN_PAIRS_MAX {
        return Verdict::Unknown(Exhausted { what: Resource::Memory, steps, linearized, operations });
    }
    let cells: Vec<Option<Part<'_, Cell>>> =
        undecided.iter().map(|(outline, _)| Cell::outlined(outline)).collect();
    let mut running: Vec<Runner<'_, '_, S>> = Vec::new();
    for ((outline, is_misguessed), cell) in undecided.iter().zip(&cells) {
        let attempt: Box<dyn Attempt + '_> = match cell {
            Some(cell) => Box::new(Search::new(cell, &Cell::START)),
            None => Box::new(Search::new(outline.part(), initial)),
        };
        running.push(Runner {
            outline,
            initial,
            cell: cell.as_ref(),
            attempt,
            is_misguessed: *is_misguessed,
            longest: None,
            front: 0,
            looked_at: 0,
        });
    }
    // All parts advance in turns, so that one that is broken ends the race however hard others are.
    let mut slice = SLICE_STEPS_MIN;
    while !running.is_empty() {
        let mut paused = Vec::new();
        for mut runner in running {
            let turn_steps = slice.max(4 * runner.outline.intervals.len() as u64);
            let turn = runner.turn(turn_steps.min(budget.steps.saturating_sub(steps)));
            steps += turn.steps;
            match turn.result {
                TurnResult::Violation(violation) => return Verdict::Violation(*violation),
                TurnResult::Linearizable => linearized += runner.outline.answered(),
                TurnResult::Paused => paused.push(runner),
            }
        }
        running = paused;
        let bytes: u64 = running.iter().map(|runner| runner.attempt.bytes()).sum();
        let what = if steps >= budget.steps { Resource::Steps } else { Resource::Memory };
        if !running.is_empty() && (steps >= budget.steps || bytes > STATE_BYTES_MAX) {
            linearized += running.iter().map(|runner| runner.attempt.front()).sum::<usize>();
            return Verdict::Unknown(Exhausted { what, steps, linearized, operations });
        }
        slice = (slice * 2).min(SLICE_STEPS_MAX);
    }
    Verdict::Ok
}

/// What the blocks of a part say, if it is about a register.
fn zones<'r, 'h, S: Spec>(outline: &'r Outline<'h, S>) -> Decision<'r, 'h> {
    let answered = outline.answered();
    let claims = outline.register.as_ref().map(Register::claims);
    let zones = claims.and_then(|claims| Zones::new(&outline.intervals, answered, claims));
    zones.map_or(Decision::Unsure, Zones::decide)
}

/// What judges one part, turn by turn. A search that does not end soon is hard, and the usual cause is
/// an answer that cannot be right: so the operations at which the search is stuck are looked at for a
/// reason, which is a proof.
struct Runner<'p, 'h, S: Spec> {
    outline: &'p Outline<'h, S>,
    initial: &'p S,
    /// The part as operations on a register, if it is that.
    cell: Option<&'p Part<'p, Cell>>,
    attempt: Box<dyn Attempt + 'p>,
    /// Whether the blocks may show that there is no order, if they are asked without what was guessed.
    is_misguessed: bool,
    /// The longest order that the search found before it was given up for layers.
    longest: Option<Vec<u32>>,
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
    Violation(Box<Violation>),
    Paused,
}

impl<S: Spec> Runner<'_, '_, S> {
    fn turn(&mut self, slice: u64) -> Turn {
        let before = self.attempt.steps();
        let status = self.attempt.run(slice);
        let mut steps = self.attempt.steps() - before;
        let result = match status {
            Status::Linearizable => TurnResult::Linearizable,
            Status::Refuted => {
                let (failing, placed) = (self.attempt.front(), self.longest());
                TurnResult::Violation(Box::new(self.violation(failing, &placed, None)))
            }
            // The search would perhaps find one that fails earlier. It takes long, so this one will do.
            Status::Paused if let Some(Refuted { failing, placed }) = self.refuted_anyway() => {
                TurnResult::Violation(Box::new(self.violation(failing, &placed, None)))
            }
            Status::Paused => {
                let places = self.stuck_at();
                steps += (places.len() * self.outline.intervals.len()) as u64 / 4;
                self.forget();
                self.look(places)
                    .map_or(TurnResult::Paused, |violation| TurnResult::Violation(Box::new(violation)))
            }
        };
        Turn { result, steps }
    }

    /// What the blocks show without what was guessed; that is asked once, since most searches are over before.
    fn refuted_anyway(&mut self) -> Option<Refuted> {
        match std::mem::take(&mut self.is_misguessed).then(|| zones(self.outline)) {
            Some(Decision::Misguessed(zones)) => zones.refuted_anyway(),
            _ => None,
        }
    }

    fn violation(&self, failing: usize, placed: &[u32], reason: Option<Reason>) -> Violation {
        Violation::of(self.outline, self.initial, failing, placed, reason)
    }

    fn longest(&self) -> Vec<u32> {
        self.longest.clone().unwrap_or_else(|| self.attempt.longest())
    }

    /// Gives a search that stores too much up. What it finds layers find too, with the same steps but in
    /// less memory; only they have no order to show.
    fn forget(&mut self) {
        if self.longest.is_some() || self.attempt.bytes() < SEARCH_BYTES_MAX {
            return;
        }
        self.longest = Some(self.attempt.longest());
        self.front = 0;
        self.attempt = match self.cell {
            Some(cell) => Box::new(Layers::from_start(cell, &Cell::START)),
            None => Box::new(Layers::from_start(self.outline.part(), self.initial)),
        };
    }

    /// The places at which the search may be stuck and that were not looked at; none if it gets on.
    fn stuck_at(&mut self) -> Range<usize> {
        let front = self.attempt.front();
        let gets_on = front >= self.front + LOOK_MAX;
        self.front = front;
        let from = front.max(self.looked_at);
        let to = (front + LOOK_MAX).min(self.outline.answered());
        if gets_on || to <= from {
            return from..from;
        }
        self.looked_at = to;
        from..to
    }

    fn look(&self, mut places: Range<usize>) -> Option<Violation> {
        let part = self.outline.part();
        let (place, reason) =
            places.find_map(|place| Some((place, S::reason(part, self.initial, place)?)))?;
        Some(self.violation(place, &self.longest(), Some(reason)))
    }
}

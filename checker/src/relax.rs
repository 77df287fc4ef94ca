//! The few operations that a violation needs.
//!
//! A violation remains one or becomes none if less is claimed. An observer may go altogether. A writer
//! must not: somebody may have observed it, and without it any violation comes down to a value that
//! nobody wrote. But it may become *optional*: it takes effect at any moment after its invocation, or
//! never, as if nobody knew its outcome. What remains when nothing more can be relaxed is the *core*:
//! with any one of its operations relaxed, there is an order.
//!
//! The core is looked for among the operations near the one that has no place, and with a budget: what
//! cannot be told within it is kept, and where nothing is found nearby there is no core.

use crate::linearizability::{Search, Status};
use crate::nearly;
use crate::origins::Register;
use crate::parts::{NEVER, Operation, Part};
use crate::spec::{Helpers, Spec};
use crate::zones::{Decision, Zones};

/// Among how many operations the core is looked for, one after the other.
const NEAR: [usize; 3] = [8, 32, 128];
/// How many steps one question may cost where a search must answer it.
const QUESTION_STEPS: u64 = 4_000;
/// How many steps all may cost together.
const STEPS_MAX: u64 = 200_000;
/// How many optional writers may matter at most.
const OPTIONAL_MAX: usize = 256;

/// What a violation needs, as places in its part.
pub(crate) struct Core {
    /// The operations of which none can be relaxed, in order.
    pub(crate) kept: Vec<usize>,
    /// The other writers that these may have observed.
    pub(crate) observed: Vec<usize>,
    /// Whether every question that matters was answered within the budget.
    pub(crate) is_minimal: bool,
}

/// What a search said to a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Refuted,
    HasOrder,
    Unsure,
}

/// The core of the violation that the answered operation `failing` completes: what returned later has no
/// part in it. `near` are operations in
/// the order in which they are thought to matter.
pub(crate) fn core<S: Spec>(part: &Part<'_, S>, initial: &S, failing: usize, near: &[usize]) -> Option<Core> {
    let writers = writers(part, failing);
    let mut steps = 0;
    let mut first = vec![failing];
    // What it may have observed comes first, however far away.
    first.extend(useful(part, &first, &writers)?.into_iter().filter(|at| *at < failing).take(4));
    for length in NEAR {
        let mut kept = first.clone();
        kept.extend(near.iter().filter(|at| **at < failing && !first.contains(at)));
        kept.truncate(length);
        let optional = useful(part, &kept, &writers)?;
        if ask(&relaxed(part, &kept, &optional), initial, &mut steps) == Answer::Refuted {
            return Some(shrunk(part, initial, kept, optional, &mut steps));
        }
        if length > near.len() {
            return None;
        }
    }
    None
}

/// Relaxes as much as possible, large pieces first.
fn shrunk<S: Spec>(
    part: &Part<'_, S>,
    initial: &S,
    mut kept: Vec<usize>,
    mut optional: Vec<usize>,
    steps: &mut u64,
) -> Core {
    let may_write = |at: &usize| !S::is_read(part.operations[*at].op, part.operations[*at].ret);
    let mut piece = (kept.len() / 2).max(1);
    let mut is_minimal = true;
    loop {
        // The last are the least likely to matter. The first is the one that fails.
        let mut end = kept.len();
        while end > 1 {
            let start = end.saturating_sub(piece).max(1);
            let mut fewer = kept.clone();
            let gone: Vec<usize> = fewer.drain(start..end).collect();
            let mut more = optional.clone();
            more.extend(gone.into_iter().filter(may_write));
            match ask(&relaxed(part, &fewer, &more), initial, steps) {
                Answer::Refuted => (kept, optional) = (fewer, more),
                Answer::HasOrder => {}
                Answer::Unsure => is_minimal &= piece > 1,
            }
            end = start;
        }
        if piece == 1 {
            break;
        }
        piece = (piece / 2).max(1);
    }
    let observed = useful(part, &kept, &optional).unwrap_or_default();
    kept.sort_unstable();
    Core { kept, observed, is_minimal }
}

/// What may change the object and was invoked before the failing operation returned, in the order of
/// invocation.
fn writers<S: Spec>(part: &Part<'_, S>, failing: usize) -> Vec<usize> {
    let end = part.operations[failing].end;
    let is_writer = |at: &usize| {
        let operation = &part.operations[*at];
        operation.call < end && !S::is_read(operation.op, operation.ret)
    };
    let by_call = nearly::sorted(part.operations.len(), |at| part.operations[at as usize].call);
    by_call.into_iter().map(|at| at as usize).filter(is_writer).collect()
}

/// The part in which only the operations in `kept` were answered, and those in `optional` may have taken
/// effect.
fn relaxed<'h, S: Spec>(part: &Part<'h, S>, kept: &[usize], optional: &[usize]) -> Part<'h, S> {
    let answered = in_order(kept);
    let unknown = unknown(part, kept, optional);
    let mut operations = Vec::with_capacity(answered.len() + unknown.len());
    for at in answered.iter().chain(&unknown) {
        let Operation { id, client, op, ret, invoked, returned, call, end, content_hash } =
            part.operations[*at];
        let is_kept = operations.len() < answered.len();
        operations.push(Operation {
            id,
            client,
            op,
            ret: ret.filter(|_| is_kept),
            invoked,
            returned,
            call,
            end: if is_kept { end } else { NEVER },
            content_hash,
        });
    }
    Part::new(part.keys.clone(), operations, answered.len())
}

/// The places of [`relaxed`]'s answered operations: the order of returns is the order of places.
fn in_order(kept: &[usize]) -> Vec<usize> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    kept
}

/// The places of [`relaxed`]'s other operations.
fn unknown<S: Spec>(part: &Part<'_, S>, kept: &[usize], optional: &[usize]) -> Vec<usize> {
    let kept = in_order(kept);
    let mut unknown: Vec<usize> =
        optional.iter().copied().filter(|at| kept.binary_search(at).is_err()).collect();
    // Nearly always they are in order: that is found out at once.
    unknown.sort_unstable_by_key(|at| part.operations[*at].call);
    unknown
}

/// Of the optional writers those that can matter to an answer in [`relaxed`]; `None` if they are too many.
/// What no answer can have use for may be left out.
fn useful<S: Spec>(part: &Part<'_, S>, kept: &[usize], optional: &[usize]) -> Option<Vec<usize>> {
    let relaxed = relaxed(part, kept, optional);
    let unknown = unknown(part, kept, optional);
    let mut matters = vec![false; unknown.len()];
    for target in 0..relaxed.answered {
        let Helpers { each, alike } = S::helpers(&relaxed, target);
        each.into_iter().chain(alike).for_each(|helper| matters[helper - relaxed.answered] = true);
    }
    let useful: Vec<usize> =
        unknown.into_iter().zip(matters).filter(|(_, it)| *it).map(|(at, _)| at).collect();
    (useful.len() <= OPTIONAL_MAX).then_some(useful)
}

/// Whether there is an order.
fn ask<S: Spec>(part: &Part<'_, S>, initial: &S, steps: &mut u64) -> Answer {
    *steps += part.operations.len() as u64;
    if let Some(zones) = Register::new(part, initial).and_then(|register| Zones::new(part, initial, register))
    {
        match zones.decide() {
            Decision::Linearizable => return Answer::HasOrder,
            Decision::Refuted { .. } => return Answer::Refuted,
            Decision::Unsure => {}
        }
    }
    if *steps >= STEPS_MAX {
        return Answer::Unsure;
    }
    let mut search = Search::new(part, initial);
    let status = search.run(QUESTION_STEPS);
    *steps += search.steps();
    match status {
        Status::Refuted => Answer::Refuted,
        Status::Linearizable => Answer::HasOrder,
        Status::Paused => Answer::Unsure,
    }
}

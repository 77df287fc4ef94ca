//! The few operations that a violation needs.
//!
//! A violation remains one or becomes none if less is claimed. An observer may go altogether. A writer
//! must not: somebody may have observed it, and without it any violation comes down to a value that
//! nobody wrote. But it may become *optional*: it takes effect at any moment after its invocation, or
//! never, as if nobody knew its outcome. What remains when nothing more can be relaxed is the *core*:
//! with any one of its operations relaxed, there is an order.
//!
//! The core is looked for among the operations that the reason names, those that may have left behind what
//! the failing one observed, and more and more of those near it. Where these have an order, the optional writers
//! that take effect in it are what was relaxed too far: they are kept, and it is asked again, until there is no
//! order or one that needs none of them (as an abstraction is refined by its counterexamples: Clarke et al., 2000).
//! All that has a budget: what cannot be told within it is kept, and where nothing is found there is no core.

use crate::linearizability::{Search, Status};
use crate::nearly;
use crate::origins::Register;
use crate::parts::{Interval, NEVER, Operation, Part};
use crate::spec::{Content, Helpers, Keys, RegisterOp, Spec};
use crate::windows;
use crate::zones::{Decision, Zones};

/// How many of the operations nearby the core is looked for among, one after the other.
const NEAR: [usize; 4] = [0, 8, 32, 128];
/// How many operations that may have left behind what the failing one observed are kept at first.
const SOURCES_MAX: usize = 256;
/// How many steps one search for the answer to a question may take.
const QUESTION_STEPS: u64 = 16_000;
/// The same where operations may take effect as often as one likes: it is short, or there is no end to it.
const LAVISH_STEPS: u64 = 2_000;
/// How many steps all may cost together.
const STEPS_MAX: u64 = 200_000;
/// How many optional writers may matter at most.
const OPTIONAL_MAX: usize = 512;

/// What a violation needs, as places in its part.
pub(crate) struct Core {
    /// The operations of which none can be relaxed, in order.
    pub(crate) kept: Vec<usize>,
    /// The other writers that these observed.
    pub(crate) observed: Vec<usize>,
    /// Whether every question that matters was answered within the budget.
    pub(crate) is_minimal: bool,
}

/// What a search said to a question.
enum Answer {
    Refuted,
    /// With the places of such an order in the part that was asked about, if they are known.
    HasOrder(Vec<usize>),
    Unsure,
}

/// The core of the violation that the answered operation `failing` completes: what returned later has no
/// part in it. `named` are operations that tell why it fails, `near` those around it, the nearest first.
pub(crate) fn core<S: Spec>(
    part: &Part<'_, S>,
    initial: &S,
    failing: usize,
    named: &[usize],
    near: &[usize],
) -> Option<Core> {
    let writers = writers(part, failing);
    let sources = sources(part, failing, &writers);
    let mut kept = vec![failing];
    let add = |kept: &mut Vec<usize>, more: &[usize]| {
        for at in more.iter().filter(|at| **at < failing) {
            if !kept.contains(at) {
                kept.push(*at);
            }
        }
    };
    add(&mut kept, named);
    add(&mut kept, &sources[..sources.len().min(SOURCES_MAX)]);
    let mut asked = 0;
    let mut steps = 0;
    for length in NEAR {
        add(&mut kept, &near[..near.len().min(length)]);
        while kept.len() > asked && steps < STEPS_MAX {
            asked = kept.len();
            let optional = useful(part, &kept, &writers);
            if optional.len() > OPTIONAL_MAX {
                break;
            }
            match ask(&relaxed(part, &kept, &optional), initial, &mut steps) {
                Answer::Refuted => return Some(shrunk(part, initial, kept, optional, &mut steps)),
                Answer::HasOrder(order) => {
                    let unknown = unknown(part, &kept, &optional);
                    let used = order.into_iter().filter_map(|place| place.checked_sub(asked));
                    let used: Vec<usize> = used.map(|place| unknown[place]).collect();
                    add(&mut kept, &used);
                }
                Answer::Unsure => {}
            }
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
            let more = useful(part, &fewer, &more);
            match ask(&relaxed(part, &fewer, &more), initial, steps) {
                Answer::Refuted => (kept, optional) = (fewer, more),
                Answer::HasOrder(_) => {}
                Answer::Unsure => is_minimal &= piece > 1,
            }
            end = start;
        }
        if piece == 1 {
            break;
        }
        piece = (piece / 4).max(1);
    }
    kept.sort_unstable();
    let observed = observed(part, initial, &kept, &optional);
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
        let mut operation = part.operations[*at];
        if operations.len() >= answered.len() {
            (operation.ret, operation.end) = (None, NEVER);
        }
        operations.push(operation);
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

/// Of the optional writers those that can matter to an answer in [`relaxed`], in the order of invocation.
/// What no answer can have use for may be left out; and so may, of several that overwrite the object in the
/// same way, all but the first for each answer.
fn useful<S: Spec>(part: &Part<'_, S>, kept: &[usize], optional: &[usize]) -> Vec<usize> {
    let (relaxed, useful) = helpers(part, kept, optional);
    let unknown = unknown(part, kept, optional);
    let mut nth = vec![0; unknown.len()];
    for (place, twin) in windows::twins(&relaxed).into_iter().enumerate() {
        nth[place] = twin.map_or(0, |twin| nth[twin as usize] + 1);
    }
    let overwrites = |at: usize| {
        matches!(
            S::register_op(part.operations[at].op, None),
            Some(RegisterOp::Write(_) | RegisterOp::Swap { .. })
        )
    };
    let mut nth = unknown.into_iter().zip(nth).peekable();
    let is_early = |at: &usize| {
        while nth.next_if(|(other, _)| other != at).is_some() {}
        let (_, nth) = nth.next().expect("what is useful is optional");
        nth < kept.len() || !overwrites(*at)
    };
    useful.into_iter().filter(is_early).collect()
}

/// [`relaxed`], and its optional writers that can matter to an answer, in the order of invocation.
fn helpers<'h, S: Spec>(part: &Part<'h, S>, kept: &[usize], optional: &[usize]) -> (Part<'h, S>, Vec<usize>) {
    let relaxed = relaxed(part, kept, optional);
    let mut matters = vec![false; relaxed.operations.len() - relaxed.answered];
    for target in 0..relaxed.answered {
        let Helpers { each, alike } = S::helpers(&relaxed, target);
        each.into_iter().chain(alike).for_each(|helper| matters[helper - relaxed.answered] = true);
    }
    let unknown = unknown(part, kept, optional).into_iter().zip(matters);
    let useful = unknown.filter(|(_, matters)| *matters).map(|(at, _)| at).collect();
    (relaxed, useful)
}

/// The writers that may have left behind what an operation observed.
fn sources<S: Spec>(part: &Part<'_, S>, reader: usize, writers: &[usize]) -> Vec<usize> {
    let Operation { op, ret, .. } = part.operations[reader];
    match (S::register_op(op, ret), &seen(part, reader)[..]) {
        (Some(_), [(key, seen)]) => {
            writers.iter().copied().filter(|at| may_leave(part, *at, key, *seen)).collect()
        }
        _ => helpers(part, &[reader], writers).1,
    }
}

/// What an operation observed under which keys, if these are registers.
fn seen<'h, S: Spec>(part: &Part<'h, S>, reader: usize) -> Vec<(S::Key, Content<'h>)> {
    let Operation { op, ret, .. } = part.operations[reader];
    match S::keys(op) {
        Keys::One(key) => match S::register_op(op, ret) {
            Some(RegisterOp::Read(seen) | RegisterOp::Swap { old: seen, .. }) => vec![(key.clone(), seen)],
            _ => Vec::new(),
        },
        Keys::Range { .. } | Keys::All => ret.and_then(|ret| S::shown(op, ret)).unwrap_or_default(),
    }
}

/// Whether an operation may leave a register with a content.
fn may_leave<S: Spec>(part: &Part<'_, S>, at: usize, key: &S::Key, left: Content<'_>) -> bool {
    let Operation { op, ret, .. } = part.operations[at];
    S::keys(op) == Keys::One(key)
        && match (S::register_op(op, ret).or_else(|| S::register_op(op, None)), left) {
            (Some(RegisterOp::Write(content) | RegisterOp::Swap { new: content, .. }), _) => content == left,
            (Some(RegisterOp::Append(added)), Content::Bytes(left)) => left.ends_with(added),
            _ => false,
        }
}

/// Of the optional writers those that left behind what the operations in `kept` observed, where none of
/// these can have: the last that was invoked in time.
fn observed<S: Spec>(part: &Part<'_, S>, initial: &S, kept: &[usize], optional: &[usize]) -> Vec<usize> {
    let mut observed = Vec::new();
    for reader in kept {
        for (key, seen) in seen(part, *reader) {
            let may_be = |at: &usize| {
                let is_in_time = part.operations[*at].call < part.operations[*reader].end;
                at != reader && is_in_time && may_leave(part, *at, &key, seen)
            };
            if initial.register(&key) == Some(seen) || kept.iter().any(may_be) {
                continue;
            }
            let last = optional.iter().copied().filter(may_be).max_by_key(|at| part.operations[*at].call);
            observed.extend(last.filter(|at| !observed.contains(at)));
        }
    }
    observed
}

/// Whether there is an order.
fn ask<S: Spec>(part: &Part<'_, S>, initial: &S, steps: &mut u64) -> Answer {
    *steps += part.operations.len() as u64;
    if let Some(register) = Register::of(part, initial) {
        let intervals: Vec<Interval> = part.operations.iter().map(Operation::interval).collect();
        let zones = Zones::new(&intervals, part.answered, register.claims());
        match zones.map_or(Decision::Unsure, Zones::decide) {
            Decision::Linearizable => return Answer::HasOrder(Vec::new()),
            Decision::Proposed(order) if part.is_explained(initial, &order) => {
                return Answer::HasOrder(places(order));
            }
            Decision::Refuted(_) => return Answer::Refuted,
            Decision::Misguessed(zones) => {
                if zones.refuted_anyway().is_some() {
                    return Answer::Refuted;
                }
            }
            Decision::Proposed(_) | Decision::Unsure => {}
        }
    }
    // Most violations remain however often the optional writers take effect, and most orders do not need that.
    // But what adds to its object without end would come to ever more states: only registers are so.
    let is_bounded = part.keys.iter().all(|key| initial.register(key).is_some());
    if is_bounded {
        match searched(Search::lavish(part, initial), LAVISH_STEPS, steps) {
            Answer::Refuted => return Answer::Refuted,
            Answer::HasOrder(order) => {
                if let Some(order) = each_once(part, order).filter(|order| part.is_explained(initial, order))
                {
                    return Answer::HasOrder(places(order));
                }
            }
            Answer::Unsure => {}
        }
    }
    searched(Search::new(part, initial), QUESTION_STEPS, steps)
}

/// What a search says within the budget.
fn searched<S: Spec>(mut search: Search<'_, '_, S>, steps_max: u64, steps: &mut u64) -> Answer {
    if *steps >= STEPS_MAX {
        return Answer::Unsure;
    }
    let status = search.run(steps_max);
    *steps += search.steps();
    match status {
        Status::Refuted => Answer::Refuted,
        Status::Linearizable => Answer::HasOrder(search.longest()),
        Status::Paused => Answer::Unsure,
    }
}

fn places(order: Vec<u32>) -> Vec<usize> {
    order.into_iter().map(|place| place as usize).collect()
}

/// An order in which operations of unknown outcome stand for all that do the same, with another of these
/// each time; `None` if there are not so many.
fn each_once<S: Spec>(part: &Part<'_, S>, order: Vec<usize>) -> Option<Vec<u32>> {
    let mut next = vec![None; part.operations.len()];
    for (place, twin) in (part.answered..).zip(windows::twins(part)) {
        if let Some(twin) = twin {
            next[part.answered + twin as usize] = Some(place);
        }
    }
    let mut is_used = vec![false; part.operations.len()];
    let once = |mut place: usize| {
        while std::mem::replace(&mut is_used[place], true) {
            place = next[place]?;
        }
        Some(place as u32)
    };
    order.into_iter().map(once).collect()
}

//! Why a history is not linearizable, in words and at a bounded cost.

use std::fmt;

use contract::{OpId, Time};
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::division::Outline;
use crate::parts::{Interval, Operation, Part};
use crate::relax::{self, Core};
use crate::scene::{NEAR_MAX, Scene};
use crate::spec::{Reason, Spec};

/// How many operations an explanation shows.
const WINDOW_OPERATIONS_MAX: usize = 12;

/// How much of an operation's or an answer's text an explanation shows.
const TEXT_CHARACTERS_MAX: usize = 100;

/// The evidence that a history is not linearizable. `Display` is its sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What was checked: `linearizable`, or the name of a weaker promise.
    pub check: String,
    /// The keys of the part that no order explains.
    pub keys: Vec<String>,
    /// The operation that has no place in any order that also holds all operations that returned before
    /// it.
    pub failing: OpId,
    /// What kind of operation that is, such as `get`.
    pub operation: String,
    /// The order found that gets furthest in the order of returns.
    pub placed: Vec<OpId>,
    /// Why it has no place.
    pub reason: Reason,
    /// The operations of which none can be relaxed: with one observer less, or with any of the writers
    /// optional, there is an order, even if all operations beside the core are relaxed too. Empty if that
    /// was not found out.
    pub core: Vec<OpId>,
    /// The failing operation, marked `>`, the core, what it observed, and what the reason names; without
    /// a core those concurrent with the failing operation or just before it. One line each, in the order
    /// of their invocations; of more than twelve the last line says how many there are.
    pub window: Vec<String>,
}

impl Violation {
    /// The evidence that the operation at place `failing` of a part has no place in any order that also
    /// holds all that returned before it, of which there is the order `placed`. The reason is sought if it
    /// is not known.
    pub(crate) fn of<S: Spec>(
        outline: &Outline<'_, S>,
        initial: &S,
        failing: usize,
        placed: &[u32],
        reason: Option<Reason>,
    ) -> Self {
        let Outline { intervals, register, .. } = outline;
        let closed = register.as_ref().filter(|register| register.is_closed());
        let Some((register, scene)) =
            closed.and_then(|register| Some((register, Scene::around(intervals, register, failing)?)))
        else {
            let part = outline.part();
            let reason = reason.or_else(|| S::reason(part, initial, failing));
            let reason = reason.unwrap_or_else(|| general(part, failing, before(intervals, failing)));
            let core = near_core(part, part, initial, failing, &reason.named);
            return Self { placed: ids(outline, placed), ..Self::with_core(part, core, failing, reason) };
        };
        let part = outline.some(&scene.places);
        let cells = scene.places.iter().map(|place| *place as usize);
        let cells = Cell::part(cells.map(|place| (&intervals[place], &register.operations[place])));
        let failing_here = scene.places.partition_point(|place| (*place as usize) < failing);
        // Whether nothing else can have been observed is seen from what is there; whether nothing else was
        // done, only from all.
        let is_enough = scene.has_all_sources && register.operations[failing].observed().is_some();
        let reason = reason.or_else(|| match is_enough {
            true => S::reason(&part, initial, failing_here),
            false => S::reason(outline.part(), initial, failing),
        });
        let reason = reason.unwrap_or_else(|| general(&part, failing_here, before(intervals, failing)));
        let core = near_core(&part, &cells, &Cell::START, failing_here, &reason.named);
        Self { placed: ids(outline, placed), ..Self::with_core(&part, core, failing_here, reason) }
    }

    /// The same for a part whose operations are all there is, in state `initial` or, if it is `None`, after
    /// nobody knows what.
    pub(crate) fn of_part<S: Spec>(part: &Part<'_, S>, initial: Option<&S>, failing: usize) -> Self {
        let reason = initial.and_then(|initial| S::reason(part, initial, failing));
        let intervals: Vec<Interval> = part.operations.iter().map(Operation::interval).collect();
        let reason = reason.unwrap_or_else(|| general(part, failing, before(&intervals, failing)));
        let core = initial.and_then(|initial| near_core(part, part, initial, failing, &reason.named));
        Self::with_core(part, core, failing, reason)
    }

    /// The evidence that a promise `check` is broken by the operation at place `failing` of a part.
    pub(crate) fn of_promise<S: Spec>(
        check: &str,
        part: &Part<'_, S>,
        failing: usize,
        reason: Reason,
    ) -> Self {
        Self { check: check.to_owned(), ..Self::with_core(part, None, failing, reason) }
    }

    fn with_core<S: Spec>(part: &Part<'_, S>, core: Option<Core>, failing: usize, reason: Reason) -> Self {
        let operation = &part.operations[failing];
        let text = operation.op.to_string();
        let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let id = |place: &usize| part.operations[*place].id;
        Self {
            check: "linearizable".to_owned(),
            keys: part.keys.iter().map(ToString::to_string).collect(),
            failing: operation.id,
            operation: name.to_owned(),
            placed: Vec::new(),
            core: core
                .iter()
                .filter(|core| core.is_minimal)
                .flat_map(|core| core.kept.iter().map(id))
                .collect(),
            window: window(part, failing, core, &reason.named),
            reason,
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

/// The core of a violation among the operations near it; `asked` is the part, perhaps in other words.
fn near_core<S: Spec, A: Spec>(
    part: &Part<'_, S>,
    asked: &Part<'_, A>,
    initial: &A,
    failing: usize,
    named: &[OpId],
) -> Option<Core> {
    let near = by_distance(part, failing, named);
    let is_named = |at: &&usize| named.contains(&part.operations[**at].id);
    let named: Vec<usize> = near.iter().filter(is_named).copied().collect();
    relax::core(asked, initial, failing, &named, &near)
}

/// The numbers of the operations at places.
fn ids<S: Spec>(outline: &Outline<'_, S>, places: &[u32]) -> Vec<OpId> {
    places.iter().map(|place| outline.id(*place)).collect()
}

/// How many operations were invoked before one returned.
fn before(intervals: &[Interval], failing: usize) -> usize {
    intervals.iter().filter(|interval| interval.call < intervals[failing].end).count()
}

/// What can always be said.
fn general<S: Spec>(part: &Part<'_, S>, failing: usize, before: usize) -> Reason {
    let (name, told) = (part.name(), told(&part.operations[failing]));
    let sentence = format!("no order of the {before} operations on {name} explains that {told}");
    Reason { kind: "no-order".to_owned(), sentence, named: Vec::new() }
}

/// An operation as the beginning of a sentence: `get(k3) by c2 returned "v17" at 12.204s`.
pub(crate) fn told<O: fmt::Display, R: fmt::Display>(operation: &Operation<'_, O, R>) -> String {
    let Operation { op, client, returned, .. } = operation;
    match operation.ret {
        Some(ret) => format!("{} by {client} returned {} at {}", short(op), short(ret), clock(*returned)),
        None => format!("{} by {client} never returned", short(op)),
    }
}

/// A time for people: in seconds, with three decimals, or six or nine if it is finer.
pub(crate) fn clock(time: Time) -> String {
    let text = time.to_string();
    let unused = ["000000s", "000s"].into_iter().find(|zeros| text.ends_with(zeros));
    match unused {
        Some(zeros) => format!("{}s", &text[..text.len() - zeros.len()]),
        None => text,
    }
}

/// A text without its middle if it is long.
pub(crate) fn short(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    let length = text.chars().count();
    if length <= TEXT_CHARACTERS_MAX {
        return text;
    }
    let half = TEXT_CHARACTERS_MAX / 2 - 1;
    text.chars().take(half).chain(" … ".chars()).chain(text.chars().skip(length - half)).collect()
}

/// The operations that were invoked before the failing one returned: first it, then those that are
/// named, then the others, those concurrent with it first.
fn by_distance<S: Spec>(part: &Part<'_, S>, failing: usize, named: &[OpId]) -> Vec<usize> {
    let center = &part.operations[failing];
    let is_told = |at: usize| at == failing || named.contains(&part.operations[at].id);
    let mut near: Vec<usize> = (0..part.operations.len())
        .filter(|at| part.operations[*at].call < center.end || is_told(*at))
        .collect();
    // What is concurrent has no distance; what never returned is concurrent with all that follows.
    let distance = |at: &usize| {
        let operation = &part.operations[*at];
        (!is_told(*at), center.call.saturating_sub(operation.end), center.end.abs_diff(operation.call))
    };
    if near.len() > NEAR_MAX {
        near.select_nth_unstable_by_key(NEAR_MAX, distance);
        near.truncate(NEAR_MAX);
    }
    near.sort_by_key(distance);
    near
}

/// The lines of a window.
fn window<S: Spec>(part: &Part<'_, S>, failing: usize, core: Option<Core>, named: &[OpId]) -> Vec<String> {
    let mut more = 0;
    let mut shown = match core {
        Some(Core { kept, observed, .. }) => {
            let is_named = |at: &usize| named.contains(&part.operations[*at].id);
            let named = (0..part.operations.len()).filter(is_named);
            let mut shown = vec![failing];
            for at in named.chain(kept).chain(observed) {
                if !shown.contains(&at) {
                    shown.push(at);
                }
            }
            more = shown.len().saturating_sub(WINDOW_OPERATIONS_MAX);
            shown
        }
        None => by_distance(part, failing, named),
    };
    shown.truncate(WINDOW_OPERATIONS_MAX);
    shown.sort_by_key(|at| part.operations[*at].call);
    let line = |at: usize| {
        let Operation { id, client, op, ret, invoked, returned, .. } = &part.operations[at];
        let mark = if at == failing { '>' } else { ' ' };
        let end = ret.map_or_else(|| "never".to_owned(), |_| clock(*returned));
        let ret = ret.map_or_else(|| "unknown".to_owned(), short);
        format!("{mark} {} to {end} {client} {id} {}: {ret}", clock(*invoked), short(op))
    };
    let lines = shown.into_iter().map(line);
    lines.chain((more > 0).then(|| format!("  and {more} more that it takes"))).collect()
}

#[cfg(test)]
mod tests {
    use contract::kv::{Op, Ret};
    use contract::{ClientId, History, OpId, Outcome, Time};

    use super::{NEAR_MAX, by_distance, short};
    use crate::division::split;
    use crate::models::kv::Kv;

    /// Near is first what is told, then what is concurrent, then what returned last; what was invoked later is not.
    #[test]
    fn what_is_near_comes_in_order() {
        let mut history = History::<Op, Ret>::default();
        let get = || Op::Get { key: "k".into() };
        let done = || Outcome::Ok(Ret::Value(None));
        let mut open = None;
        for number in 0..200 {
            let id = history.invoke(Time(number), ClientId(1), get());
            // While the operation at place 150 is open another one begins, and is the last to end.
            if number == 150 {
                open = Some(history.invoke(Time(number), ClientId(2), get()));
            }
            history.complete(Time(number), ClientId(1), id, done());
        }
        history.complete(Time(200), ClientId(2), open.expect("it began"), done());
        let initial = Kv::default();
        let parts = split(&history, &initial).expect("well formed");
        let near = by_distance(&parts[0], 150, &[OpId(3)]);
        let expected: Vec<usize> = [150, 3, 200].into_iter().chain((0..150).rev()).take(NEAR_MAX).collect();
        assert_eq!(near, expected);
        // So it is where all are told.
        let few = by_distance(&parts[0], 5, &[OpId(9)]);
        assert_eq!(few, [5, 9, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn long_texts_lose_their_middle() {
        let digits = "0123456789".repeat(10);
        assert_eq!(short(&digits), digits);
        // 49 characters of each end, and three between.
        let (start, end) = (&digits[..49], &digits[53..]);
        assert_eq!(short(&format!("{digits}ab")), format!("{start} … {end}ab"));
    }
}

//! A history judged while it grows, and forgotten as soon as it is judged.
//!
//! What a past means for the future is the set of configurations that its linearizations end in: the
//! state, the operations that have a place already although they had not returned, and the operations
//! of unknown outcome that are used up. So a history can be cut: what is in front of the cut is judged
//! for all configurations at once (`layers`), and these are carried over. The best cuts are those at
//! which no operation is open; but any return will do if it is known how each operation ended that was
//! invoked before it. An operation of unknown outcome stays optional for ever.
//!
//! Memory depends on how long operations are open and on how many outcomes are unknown, not on how long the
//! history is. Where it stays open which operations of unknown outcome took effect there come to be ever more
//! configurations, of which only a few are carried on as they are (`carry`).
//!
//! A run that is to stop at the first violation hands over each event as it records it:
//!
//! ```
//! use contract::kv::{Op, Ret};
//! use contract::{ClientId, History, Outcome, Time};
//! use seedbed_checker::models::kv::Kv;
//! use seedbed_checker::{Budget, Stream, Verdict};
//!
//! let mut stream = Stream::by_key(Kv::default(), Budget::default()).with_stretch(2);
//! let mut history = History::default();
//! let client = ClientId(1);
//! for (at, value) in (1..).zip(["a", "b", "c"]) {
//!     let put = history.invoke(Time(at * 100), client, Op::Put { key: "k".into(), value: value.into() });
//!     history.complete(Time(at * 100 + 10), client, put, Outcome::Ok(Ret::Done));
//!     let get = history.invoke(Time(at * 100 + 20), client, Op::Get { key: "k".into() });
//!     let seen = if value == "b" { "a" } else { value };
//!     history.complete(Time(at * 100 + 30), client, get, Outcome::Ok(Ret::Value(Some(seen.into()))));
//! }
//! let mut found = None;
//! for event in history.events() {
//!     if let Some(violation) = stream.event(event)? {
//!         found = Some((event.time, violation));
//!         break;
//!     }
//! }
//! let (time, violation) = found.expect("b was overwritten by nobody");
//! assert_eq!(time, Time(230), "with the event that completes the stretch");
//! assert_eq!(violation.reason.kind, "stale");
//! # let stream = Stream::by_key(Kv::default(), Budget::default());
//! // A stream without a violation tells at its end what the judge of the whole history would.
//! assert_eq!(stream.finish(), Verdict::Ok);
//! # Ok::<(), seedbed_checker::Malformed>(())
//! ```
//!
//! A violation is told with the return that completes a *stretch* of a key ([`Stream::with_stretch`]), or
//! with the first one after it that allows a cut. After that the stream is spent.

use std::collections::BTreeMap;

use contract::{ClientId, Event, EventKind, OpId, Outcome, Time};

use crate::carry::carried;
use crate::explain::Violation;
use crate::judge::{Budget, Exhausted, Resource, Verdict};
use crate::layers::{Layers, Reached};
use crate::linearizability::{Attempt, Status};
use crate::parts::{Future, Malformed, NEVER, Operation, Part, single_keys};
use crate::spec::{Keys, RegisterOp, Spec};

/// How many answered operations on a key are gathered before they are judged.
const STRETCH_OPERATIONS: usize = 128;
/// After how many of them it is looked how many configurations there are, if there are unknown outcomes.
const PIECE_OPERATIONS: usize = 16;
/// How many configurations in each state of a key are carried from one stretch to the next before they are merged.
const CONFIGURATIONS: usize = 16;

/// A judge that is told one event after the other.
pub struct Stream<S: Spec> {
    initial: S,
    budget: Budget,
    stretch: usize,
    configurations: usize,
    is_whole: bool,
    /// Per key; without keys there is one, under none.
    channels: BTreeMap<Option<S::Key>, Channel<S>>,
    /// Per client the operation that it waits for, and where that is recorded.
    awaited: BTreeMap<ClientId, (OpId, Option<S::Key>)>,
    events: u64,
    operations: u32,
    now: Time,
    judged: usize,
    exhausted: Option<Exhausted>,
}

/// What is remembered of one key.
struct Channel<S: Spec> {
    /// In order of return.
    answered: Vec<Recorded<S>>,
    /// Those whose outcome nobody will ever know, in order of invocation.
    optional: Vec<Recorded<S>>,
    /// Those that did not return yet.
    open: BTreeMap<OpId, Recorded<S>>,
    reached: Vec<Reached<S>>,
    /// At how many answered operations the next stretch is judged.
    due: usize,
    is_lost: bool,
}

struct Recorded<S: Spec> {
    id: OpId,
    client: ClientId,
    op: S::Op,
    ret: Option<S::Ret>,
    invoked: Time,
    returned: Time,
    call: u64,
    end: u64,
}

impl<S: Spec> Stream<S>
where
    S::Op: Clone,
    S::Ret: Clone,
{
    /// A judge for operations on single keys, each of which is judged alone. `budget` is what one
    /// stretch of one key may cost.
    ///
    /// It does not take operations on several keys: for these there is [`Stream::whole`].
    pub fn by_key(initial: S, budget: Budget) -> Self {
        Self {
            initial,
            budget,
            stretch: STRETCH_OPERATIONS,
            configurations: CONFIGURATIONS,
            is_whole: false,
            channels: BTreeMap::new(),
            awaited: BTreeMap::new(),
            events: 0,
            operations: 0,
            now: Time::ZERO,
            judged: 0,
            exhausted: None,
        }
    }

    /// A judge for all operations, which are judged together.
    pub fn whole(initial: S, budget: Budget) -> Self {
        Self { is_whole: true, ..Self::by_key(initial, budget) }
    }

    /// Judges after so many answered operations on a key instead of 128: more take more memory, fewer
    /// more time.
    #[must_use]
    pub fn with_stretch(self, operations: usize) -> Self {
        assert!(operations > 0, "a stretch has operations");
        Self { stretch: operations, ..self }
    }

    /// Carries so many configurations in each state of a key from one stretch to the next, instead of 16, before
    /// they are merged. More take more time; the fewer, the more often a verdict is unknown where outcomes are
    /// ([`Resource::Configurations`]).
    #[must_use]
    pub fn with_configurations(self, configurations: usize) -> Self {
        assert!(configurations > 0, "there is an order as long as there is a configuration");
        Self { configurations, ..self }
    }

    /// Takes the next event. `Some` is the evidence of a violation, and ends the history: no further
    /// event can change that.
    ///
    /// # Errors
    /// [`Malformed`] if no clients can have produced the history so far.
    ///
    /// # Panics
    /// If a judge by key meets an operation on several keys.
    pub fn event(&mut self, event: &Event<S::Op, S::Ret>) -> Result<Option<Violation>, Malformed> {
        let at = self.events;
        self.events += 1;
        let place = usize::try_from(at).unwrap_or(usize::MAX);
        let (op, client) = (event.op, event.client);
        if event.time < self.now {
            return Err(Malformed::Backwards { event: place });
        }
        self.now = event.time;
        match &event.kind {
            EventKind::Invoke(asked) => {
                if op.0 < self.operations {
                    return Err(Malformed::InvokedTwice { event: place, op });
                }
                self.operations = op.0 + 1;
                if let Some((open, _)) = self.awaited.get(&client) {
                    return Err(Malformed::Busy { event: place, client, op, open: *open });
                }
                let key = match S::keys(asked) {
                    _ if self.is_whole => None,
                    Keys::One(key) => Some(key.clone()),
                    Keys::Range { .. } | Keys::All => panic!("{asked} is about several keys"),
                };
                let recorded = Recorded {
                    id: op,
                    client,
                    op: asked.clone(),
                    ret: None,
                    invoked: event.time,
                    returned: Time::FAR,
                    call: at,
                    end: u64::MAX,
                };
                let (initial, due) = (&self.initial, self.stretch);
                let channel = self.channels.entry(key.clone()).or_insert_with(|| Channel::new(initial, due));
                channel.open.insert(op, recorded);
                self.awaited.insert(client, (op, key));
                Ok(None)
            }
            EventKind::Return(outcome) => {
                let Some((_, key)) = self.awaited.get(&client).filter(|(open, _)| *open == op) else {
                    return Err(Malformed::NotAwaited { event: place, client, op });
                };
                let channel = self.channels.get_mut(key).expect("what was invoked is recorded");
                channel.complete(op, event.time, at, outcome);
                let violation =
                    if channel.answered.len() >= channel.due { self.judge(&key.clone(), true) } else { None };
                self.awaited.remove(&client);
                Ok(violation)
            }
        }
    }

    /// What is to be said when no event will follow: operations that did not return never will.
    pub fn finish(mut self) -> Verdict {
        let keys: Vec<Option<S::Key>> = self.channels.keys().cloned().collect();
        for key in keys {
            let channel = self.channels.get_mut(&key).expect("it was there");
            for recorded in std::mem::take(&mut channel.open).into_values() {
                channel.add_optional(recorded);
            }
            if let Some(violation) = self.judge(&key, false) {
                return Verdict::Violation(violation);
            }
        }
        match self.exhausted {
            Some(exhausted) => Verdict::Unknown(exhausted),
            None => Verdict::Ok,
        }
    }

    /// How many operations are remembered.
    pub fn remembered(&self) -> usize {
        self.channels.values().map(|c| c.answered.len() + c.optional.len() + c.open.len()).sum()
    }

    /// Judges what can be judged of a key.
    fn judge(&mut self, key: &Option<S::Key>, goes_on: bool) -> Option<Violation> {
        let channel = self.channels.get_mut(key).expect("it was there");
        if channel.is_lost {
            channel.answered.clear();
            return None;
        }
        let first_open = channel.open.values().map(|recorded| recorded.call).min().unwrap_or(u64::MAX);
        let complete = channel.answered.partition_point(|recorded| recorded.end < first_open);
        let (cut, future) = match (goes_on, key) {
            (false, _) => (complete, Future::None),
            (true, Some(_)) if !channel.optional.is_empty() => channel.cut(complete),
            (true, _) => (complete, Future::Open),
        };
        let operations = self.operations as usize;
        let mut left = cut;
        while left > 0 && !channel.is_lost {
            let piece = if channel.optional.is_empty() { left } else { left.min(PIECE_OPERATIONS) };
            let exhausted =
                match channel.judge(key.iter().cloned().collect(), piece, future, self.budget.steps) {
                    Ok(steps) => {
                        left -= piece;
                        self.judged += piece;
                        channel.reached = carried(std::mem::take(&mut channel.reached), self.configurations);
                        channel.forget_used();
                        let is_certain = channel.reached.iter().any(|reached| !reached.is_merged);
                        let (what, linearized) = (Resource::Configurations, self.judged);
                        (!is_certain).then_some(Exhausted { what, steps, linearized, operations })
                    }
                    Err(Stop::Violation(violation)) => return Some(*violation),
                    Err(Stop::Exhausted { steps, linearized }) => {
                        channel.is_lost = true;
                        let (what, linearized) = (Resource::Steps, self.judged + linearized);
                        Some(Exhausted { what, steps, linearized, operations })
                    }
                };
            self.exhausted = self.exhausted.or(exhausted);
        }
        // Where an operation stays open for long, it is not tried again after each return.
        channel.due = channel.answered.len() + self.stretch;
        None
    }
}

/// Why a stretch has no end.
enum Stop {
    Violation(Box<Violation>),
    Exhausted { steps: u64, linearized: usize },
}

impl<S: Spec> Channel<S>
where
    S::Op: Clone,
    S::Ret: Clone,
{
    fn new(initial: &S, due: usize) -> Self {
        let start =
            Reached { state: initial.clone(), placed: Vec::new(), used: Vec::new(), is_merged: false };
        Self {
            answered: Vec::new(),
            optional: Vec::new(),
            open: BTreeMap::new(),
            reached: vec![start],
            due,
            is_lost: false,
        }
    }

    fn complete(&mut self, op: OpId, now: Time, at: u64, outcome: &Outcome<S::Ret>) {
        let mut recorded = self.open.remove(&op).expect("who is awaited is open");
        match outcome {
            Outcome::Ok(ret) => {
                (recorded.ret, recorded.returned, recorded.end) = (Some(ret.clone()), now, at);
                self.answered.push(recorded);
            }
            Outcome::Unknown => self.add_optional(recorded),
            Outcome::Fail => {}
        }
    }

    fn add_optional(&mut self, recorded: Recorded<S>) {
        if S::is_read(&recorded.op, None) {
            return;
        }
        let place = self.optional.partition_point(|other| other.call < recorded.call);
        self.optional.insert(place, recorded);
        for reached in &mut self.reached {
            reached.used = with_gap(&reached.used, place, self.optional.len());
        }
    }

    /// Where to cut within the first `complete` operations, which all that was invoked before their returns has
    /// answered, and what is known there of the future.
    ///
    /// In front of an operation that shows or replaces the whole content of its key (the last one that is complete),
    /// nothing is left that the future could be the first to observe.
    fn cut(&self, complete: usize) -> (usize, Future) {
        let shows_or_replaces = |recorded: &&Recorded<S>| {
            let known = S::register_op(&recorded.op, recorded.ret.as_ref());
            matches!(known, Some(RegisterOp::Read(_) | RegisterOp::Write(_) | RegisterOp::Swap { .. }))
        };
        let last =
            self.answered[..complete].iter().filter(shows_or_replaces).map(|recorded| recorded.call).max();
        let settled = last.map_or(0, |call| self.answered.partition_point(|recorded| recorded.end < call));
        // Where there is none for long, what is open is judged nevertheless.
        if settled * 2 < complete { (complete, Future::Open) } else { (settled, Future::Settled) }
    }

    /// Judges the first `cut` operations and forgets them.
    fn judge(&mut self, keys: Vec<S::Key>, cut: usize, future: Future, budget: u64) -> Result<u64, Stop> {
        let starts = std::mem::take(&mut self.reached);
        let is_plain =
            |start: &Reached<S>| start.placed.is_empty() && start.used.iter().all(|word| *word == 0);
        let only = match &starts[..] {
            [start] if is_plain(start) => Some(start.state.clone()),
            _ => None,
        };
        let part = self.part(keys, future);
        let mut layers = Layers::new(&part, starts);
        match layers.run_to(cut, budget) {
            Status::Linearizable => {}
            Status::Refuted => {
                let failing = layers.front();
                return Err(Stop::Violation(Box::new(Violation::of_part(&part, only.as_ref(), failing))));
            }
            Status::Paused => {
                return Err(Stop::Exhausted { steps: layers.steps(), linearized: layers.front() });
            }
        }
        let steps = layers.steps();
        self.reached = layers.reached(cut);
        for reached in &mut self.reached {
            reached.placed.iter_mut().for_each(|place| *place -= cut as u32);
        }
        self.answered.drain(..cut);
        Ok(steps)
    }

    fn part(&self, keys: Vec<S::Key>, future: Future) -> Part<'_, S> {
        let base = self.answered.iter().map(|recorded| recorded.call).min().unwrap_or(0);
        let near = |moment: u64| match moment {
            u64::MAX => NEVER,
            // What is before the stretch is before all of it.
            _ => u32::try_from((moment + 1).saturating_sub(base)).expect("a stretch is short"),
        };
        let operation = |recorded: &'_ Recorded<S>| (near(recorded.call), near(recorded.end));
        let mut operations = Vec::with_capacity(self.answered.len() + self.optional.len());
        for recorded in self.answered.iter().chain(&self.optional) {
            let (call, end) = operation(recorded);
            operations.push(Operation {
                id: recorded.id,
                client: recorded.client,
                op: &recorded.op,
                ret: recorded.ret.as_ref(),
                invoked: recorded.invoked,
                returned: recorded.returned,
                call,
                end,
            });
        }
        let keys = if keys.is_empty() { single_keys::<S>(&operations) } else { keys };
        Part::new(keys, operations, self.answered.len()).with_future(future)
    }

    /// Forgets the operations of unknown outcome that are used up in every configuration.
    fn forget_used(&mut self) {
        for place in (0..self.optional.len()).rev() {
            if self.reached.iter().all(|reached| reached.used[place / 64] >> (place % 64) & 1 == 1) {
                self.optional.remove(place);
                for reached in &mut self.reached {
                    reached.used = without(&reached.used, place, self.optional.len());
                }
            }
        }
    }
}

fn is_in(set: &[u64], place: usize) -> bool {
    set.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
}

fn set_of(length: usize, is_member: impl Fn(usize) -> bool) -> Vec<u64> {
    let mut set = vec![0; length.div_ceil(64)];
    for place in (0..length).filter(|place| is_member(*place)) {
        set[place / 64] |= 1 << (place % 64);
    }
    set
}

/// A set of places below `length`, after a place was put in that is not in the set.
fn with_gap(set: &[u64], gap: usize, length: usize) -> Vec<u64> {
    set_of(length, |place| place != gap && is_in(set, if place < gap { place } else { place - 1 }))
}

/// A set of places below `length`, after a place was taken away.
fn without(set: &[u64], gone: usize, length: usize) -> Vec<u64> {
    set_of(length, |place| is_in(set, if place < gone { place } else { place + 1 }))
}

#[cfg(test)]
mod tests {
    use super::{is_in, set_of, with_gap, without};

    #[test]
    fn sets_move_where_a_place_comes_and_goes() {
        let members = [0, 3, 62, 63, 64, 65, 127, 128, 130];
        let places = |set: &[u64]| (0..300).filter(|place| is_in(set, *place)).collect::<Vec<usize>>();
        let set = set_of(131, |place| members.contains(&place));
        assert_eq!((places(&set), set.len()), (members.to_vec(), 3));
        for at in [0, 1, 62, 63, 64, 100, 130, 131] {
            let moved = with_gap(&set, at, 132);
            assert_eq!(places(&moved), members.map(|place| place + usize::from(place >= at)));
            assert_eq!(without(&moved, at, 131), set, "what came at {at} is gone again");
        }
    }
}

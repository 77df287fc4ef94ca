//! A history made ready for a checker: validated, and freed of what says nothing.
//!
//! Its parts, which are judged alone, are found in [`division`](crate::division).

use std::cell::OnceCell;

use contract::{ClientId, Event, EventKind, History, OpId, Outcome, Time};

use crate::spec::{Goals, Keys, Spec};

/// The end of an operation that has none: later than every event.
pub(crate) const NEVER: u32 = u32::MAX;

/// A history that no clients can have produced. Events are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Time ran backwards.
    #[error("event {event} happened before the event in front of it")]
    Backwards {
        /// Which event.
        event: usize,
    },
    /// An operation's number is beyond the number of operations.
    #[error("event {event} names {op}, but the history counts fewer operations")]
    Unnumbered {
        /// Which event.
        event: usize,
        /// Which operation.
        op: OpId,
    },
    /// An operation was invoked twice.
    #[error("event {event} invokes {op} a second time")]
    InvokedTwice {
        /// Which event.
        event: usize,
        /// Which operation.
        op: OpId,
    },
    /// A client invoked an operation while it waited for another.
    #[error("event {event} invokes {op} while {client} still waits for {open}")]
    Busy {
        /// Which event.
        event: usize,
        /// Whose.
        client: ClientId,
        /// Which operation.
        op: OpId,
        /// The one that had not returned.
        open: OpId,
    },
    /// An operation returned that its client was not waiting for: it was never invoked, had returned
    /// before, or was another client's.
    #[error("event {event} returns {op} to {client}, who does not wait for it")]
    NotAwaited {
        /// Which event.
        event: usize,
        /// To whom.
        client: ClientId,
        /// Which operation.
        op: OpId,
    },
    /// The history is longer than can be numbered.
    #[error("a history of {events} events is too long")]
    TooLong {
        /// How many events it has.
        events: usize,
    },
}

/// When an operation may take effect: behind the event `call` and before the event `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) call: u32,
    pub(crate) end: u32,
}

/// An operation that took effect, or may have.
#[derive(Debug)]
pub struct Operation<'h, O, R> {
    /// Its number in the history.
    pub id: OpId,
    /// Whose it is.
    pub client: ClientId,
    /// What was asked.
    pub op: &'h O,
    /// What was answered; `None` if nobody knows.
    pub ret: Option<&'h R>,
    /// When it was invoked.
    pub invoked: Time,
    /// When it was answered; [`Time::FAR`] if it never was.
    pub returned: Time,
    pub(crate) call: u32,
    pub(crate) end: u32,
}

impl<O, R> Clone for Operation<'_, O, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O, R> Copy for Operation<'_, O, R> {}

impl<'h, O, R> Operation<'h, O, R> {
    /// The operation that is invoked by one event of a history and answered by another, if it is.
    pub(crate) fn between(events: &'h [Event<O, R>], Interval { call, end }: Interval) -> Self {
        let Event { op: id, client, time: invoked, kind: EventKind::Invoke(op) } = &events[call as usize]
        else {
            unreachable!("an operation begins with its invocation")
        };
        let (ret, returned) = match events.get(end as usize) {
            Some(Event { time, kind: EventKind::Return(Outcome::Ok(ret)), .. }) => (Some(ret), *time),
            _ => (None, Time::FAR),
        };
        Self { id: *id, client: *client, op, ret, invoked: *invoked, returned, call, end }
    }

    /// Whether it returned before `other` was invoked, so that it must take effect before it.
    pub fn precedes(&self, other: &Self) -> bool {
        self.end < other.call
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.ret.is_some()
    }

    pub(crate) fn interval(&self) -> Interval {
        Interval { call: self.call, end: self.end }
    }
}

/// Operations that are judged together.
#[derive(Debug)]
pub struct Part<'h, S: Spec> {
    /// The keys that they touch, in order.
    pub keys: Vec<S::Key>,
    /// First those that were answered, in the order in which they returned; then the others, in the
    /// order in which they were invoked.
    pub operations: Vec<Operation<'h, S::Op, S::Ret>>,
    /// How many of them were answered.
    pub answered: usize,
    goals: OnceCell<Option<Goals<'h, S::Key>>>,
    blind: OnceCell<Vec<bool>>,
    future: Future,
}

/// What follows the operations of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Future {
    /// Nothing.
    None,
    /// Operations that observe nothing of what a judge decides about: what is left of that is found, overwritten
    /// or lost within the part.
    Settled,
    /// Operations of which nothing is known.
    Open,
}

impl<'h, S: Spec> Part<'h, S> {
    pub(crate) fn new(
        keys: Vec<S::Key>,
        operations: Vec<Operation<'h, S::Op, S::Ret>>,
        answered: usize,
    ) -> Self {
        Self {
            keys,
            operations,
            answered,
            goals: OnceCell::new(),
            blind: OnceCell::new(),
            future: Future::None,
        }
    }

    /// Those of `operations` at the places `chosen`, in order.
    pub(crate) fn of(
        operations: &[Operation<'h, S::Op, S::Ret>],
        chosen: &[usize],
        keys: Vec<S::Key>,
    ) -> Self {
        let chosen: Vec<Operation<'h, S::Op, S::Ret>> = chosen.iter().map(|at| operations[*at]).collect();
        let answered = chosen.partition_point(Operation::is_answered);
        Self::new(keys, chosen, answered)
    }

    /// [`Spec::goals`]; `None` if there may be more, because the history goes on.
    pub fn goals(&self) -> Option<&Goals<'h, S::Key>> {
        self.goals.get_or_init(|| Some(S::goals(self))).as_ref()
    }

    /// [`Spec::blind`] of the operation of unknown outcome at a place of the part.
    pub fn is_blind(&self, place: usize) -> bool {
        self.blind.get_or_init(|| S::blind(self))[place - self.answered]
    }

    /// Whether the history goes on after it.
    pub(crate) fn has_a_future(&self) -> bool {
        self.future != Future::None
    }

    /// Says what follows the part. If that may observe anything, [`Part::goals`] are unknown and
    /// [`Part::is_blind`] says no.
    pub(crate) fn with_future(self, future: Future) -> Self {
        if future == Future::Open {
            assert!(self.goals.set(None).is_ok(), "nobody asked before");
            self.blind.set(vec![false; self.operations.len() - self.answered]).expect("nobody asked before");
        }
        Self { future, ..self }
    }

    /// Whether an order of places explains every answer and holds no operation before one that had
    /// returned when it was invoked, nor any twice. Takes time linear in its length.
    pub(crate) fn is_explained(&self, initial: &S, order: &[u32]) -> bool {
        let mut state = initial.clone();
        let mut latest_call = 0;
        let mut left = vec![true; self.operations.len()];
        for at in order {
            let operation = &self.operations[*at as usize];
            latest_call = latest_call.max(operation.call);
            if operation.end < latest_call || !std::mem::replace(&mut left[*at as usize], false) {
                return false;
            }
            match state.step(operation.op, operation.ret) {
                Some(after) => state = after,
                None => return false,
            }
        }
        left[..self.answered].iter().all(|left| !left)
    }

    /// Its keys, for people.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        match names.split_last() {
            None => "no key".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        }
    }
}

/// The operations of a history without those that failed: first those that were answered, in order of
/// return, then the others in order of invocation.
pub(crate) fn operations<O, R>(history: &History<O, R>) -> Result<Vec<Operation<'_, O, R>>, Malformed> {
    let mut operations = Vec::with_capacity(history.operations());
    walk(history, |interval| operations.push(Operation::between(history.events(), interval)))?;
    Ok(operations)
}

/// The keys of operations that touch single ones, in order.
pub(crate) fn single_keys<S: Spec>(operations: &[Operation<'_, S::Op, S::Ret>]) -> Vec<S::Key> {
    let key = |operation: &Operation<'_, S::Op, S::Ret>| match S::keys(operation.op) {
        Keys::One(key) => Some(key.clone()),
        Keys::Range { .. } | Keys::All => None,
    };
    let mut keys: Vec<S::Key> = operations.iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Validates a history, and tells of its operations in the order of [`operations`].
pub(crate) fn walk<O, R>(history: &History<O, R>, mut tell: impl FnMut(Interval)) -> Result<(), Malformed> {
    let events = history.events();
    if events.len() >= NEVER as usize {
        return Err(Malformed::TooLong { events: events.len() });
    }
    let mut is_seen = vec![false; history.operations()];
    // Per client the operation that it waits for, and the event that invoked it.
    let mut awaited: Vec<Option<(OpId, u32)>> = Vec::new();
    let mut unknown: Vec<u32> = Vec::new();
    let mut now = Time::ZERO;
    for (at, event) in events.iter().enumerate() {
        let (op, client) = (event.op, event.client);
        if event.time < now {
            return Err(Malformed::Backwards { event: at });
        }
        now = event.time;
        let Some(is_seen) = is_seen.get_mut(op.0 as usize) else {
            return Err(Malformed::Unnumbered { event: at, op });
        };
        if awaited.len() <= client.0 as usize {
            awaited.resize(client.0 as usize + 1, None);
        }
        let awaited = &mut awaited[client.0 as usize];
        match (&event.kind, *awaited) {
            (EventKind::Invoke(_), _) if *is_seen => {
                return Err(Malformed::InvokedTwice { event: at, op });
            }
            (EventKind::Invoke(_), Some((open, _))) => {
                return Err(Malformed::Busy { event: at, client, op, open });
            }
            (EventKind::Invoke(_), None) => {
                *is_seen = true;
                *awaited = Some((op, at as u32));
            }
            (EventKind::Return(outcome), Some((open, call))) if open == op => {
                *awaited = None;
                match outcome {
                    Outcome::Ok(_) => tell(Interval { call, end: at as u32 }),
                    Outcome::Unknown => unknown.push(call),
                    Outcome::Fail => {}
                }
            }
            (EventKind::Return(_), _) => return Err(Malformed::NotAwaited { event: at, client, op }),
        }
    }
    unknown.extend(awaited.into_iter().flatten().map(|(_, call)| call));
    unknown.sort_unstable();
    unknown.into_iter().for_each(|call| tell(Interval { call, end: NEVER }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use contract::kv::{Op, Ret};
    use contract::{ClientId, History, Time};

    use super::{Future, Part, operations};
    use crate::models::kv::Kv;

    /// Of a write that nobody observes all is known, unless what follows may observe it.
    #[test]
    fn what_follows_may_observe() {
        let mut history = History::<Op, Ret>::default();
        history.invoke(Time(1), ClientId(1), Op::Put { key: "k".into(), value: "a".into() });
        let part = || Part::<Kv>::new(vec!["k".into()], operations(&history).expect("well formed"), 0);
        let told = |part: Part<'_, Kv>| (part.has_a_future(), part.goals().is_some(), part.is_blind(0));
        assert_eq!(told(part()), (false, true, true));
        assert_eq!(told(part().with_future(Future::None)), (false, true, true));
        assert_eq!(told(part().with_future(Future::Settled)), (true, true, true));
        assert_eq!(told(part().with_future(Future::Open)), (true, false, false));
    }
}

//! A history made ready for a checker: validated, freed of what says nothing, and divided by key.
//!
//! Linearizability is local (Herlihy & Wing, theorem 1): a history is linearizable if and only if
//! its restriction to each object is. Keys are such objects as long as no operation touches several
//! of them; those that one operation touches together (a scan) are joined into one part.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use contract::{ClientId, EventKind, History, OpId, Outcome, Time};

use crate::spec::{Keys, Spec};

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

impl<O, R> Operation<'_, O, R> {
    /// Whether it returned before `other` was invoked, so that it must take effect before it.
    pub fn precedes(&self, other: &Self) -> bool {
        self.end < other.call
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.ret.is_some()
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
    blind: OnceCell<Vec<bool>>,
}

impl<S: Spec> Part<'_, S> {
    /// [`Spec::blind`] of the operation of unknown outcome at a place of the part.
    pub fn is_blind(&self, place: usize) -> bool {
        self.blind.get_or_init(|| S::blind(self))[place - self.answered]
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

/// Validates a history and divides it, smallest part first.
pub fn split<S: Spec>(history: &History<S::Op, S::Ret>) -> Result<Vec<Part<'_, S>>, Malformed> {
    let mut operations = operations(history)?;
    // An operation without an answer that changes nothing says nothing, but would join keys.
    operations.retain(|operation| operation.is_answered() || !S::is_read(operation.op, None));
    let mut parts = divide(operations);
    for part in &mut parts {
        part.operations.sort_by_key(|operation| (operation.end, operation.call));
    }
    parts.sort_by_key(|part| part.operations.len());
    Ok(parts)
}

/// The operations of a history in order of invocation, without those that failed.
pub(crate) fn operations<O, R>(history: &History<O, R>) -> Result<Vec<Operation<'_, O, R>>, Malformed> {
    let events = history.events();
    if events.len() >= NEVER as usize {
        return Err(Malformed::TooLong { events: events.len() });
    }
    let mut operations: Vec<Option<Operation<'_, O, R>>> = Vec::with_capacity(history.operations());
    let mut place: Vec<Option<u32>> = vec![None; history.operations()];
    let mut awaited: BTreeMap<ClientId, OpId> = BTreeMap::new();
    let mut now = Time::ZERO;
    for (at, event) in events.iter().enumerate() {
        let op = event.op;
        if event.time < now {
            return Err(Malformed::Backwards { event: at });
        }
        now = event.time;
        let Some(place) = place.get_mut(op.0 as usize) else {
            return Err(Malformed::Unnumbered { event: at, op });
        };
        match &event.kind {
            EventKind::Invoke(asked) => {
                if place.is_some() {
                    return Err(Malformed::InvokedTwice { event: at, op });
                }
                if let Some(open) = awaited.insert(event.client, op) {
                    return Err(Malformed::Busy { event: at, client: event.client, op, open });
                }
                *place = Some(operations.len() as u32);
                operations.push(Some(Operation {
                    id: op,
                    client: event.client,
                    op: asked,
                    ret: None,
                    invoked: now,
                    returned: Time::FAR,
                    call: at as u32,
                    end: NEVER,
                }));
            }
            EventKind::Return(outcome) => {
                if awaited.get(&event.client) != Some(&op) {
                    return Err(Malformed::NotAwaited { event: at, client: event.client, op });
                }
                awaited.remove(&event.client);
                let operation = &mut operations[place.expect("who is awaited was invoked") as usize];
                match outcome {
                    Outcome::Ok(ret) => {
                        let operation = operation.as_mut().expect("who is awaited has not failed");
                        (operation.ret, operation.returned, operation.end) = (Some(ret), now, at as u32);
                    }
                    Outcome::Fail => *operation = None,
                    Outcome::Unknown => {}
                }
            }
        }
    }
    Ok(operations.into_iter().flatten().collect())
}

/// Gathers operations into parts that share no key.
fn divide<S: Spec>(operations: Vec<Operation<'_, S::Op, S::Ret>>) -> Vec<Part<'_, S>> {
    let touched: Vec<Keys<S::Key>> = operations.iter().map(|operation| S::keys(operation.op)).collect();
    let mut keys: Vec<&S::Key> = touched
        .iter()
        .filter_map(|keys| match keys {
            Keys::One(key) => Some(key),
            Keys::Range { .. } => None,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();

    let mut groups = Groups::new(keys.len());
    // Per operation its first key; an operation on a range without keys has none.
    let mut first: Vec<Option<usize>> = Vec::with_capacity(operations.len());
    for keys_of_operation in &touched {
        let range = match keys_of_operation {
            Keys::One(key) => {
                let at = keys.binary_search(&key).expect("every single key was gathered");
                at..at + 1
            }
            Keys::Range { from, to } => {
                let low = keys.partition_point(|key| *key < from);
                low..keys.partition_point(|key| *key < to).max(low)
            }
        };
        for key in range.clone().skip(1) {
            groups.join(range.start, key);
        }
        first.push((!range.is_empty()).then_some(range.start));
    }

    let mut parts: Vec<Part<'_, S>> = Vec::new();
    let mut part_of: Vec<Option<usize>> = vec![None; keys.len()];
    for (at, key) in keys.iter().enumerate() {
        let part = *part_of[groups.root(at)].get_or_insert_with(|| {
            parts.push(Part {
                keys: Vec::new(),
                operations: Vec::new(),
                answered: 0,
                blind: OnceCell::new(),
            });
            parts.len() - 1
        });
        parts[part].keys.push((*key).clone());
    }
    for (operation, first) in operations.into_iter().zip(first) {
        let part = match first {
            Some(key) => part_of[groups.root(key)].expect("every key has a part"),
            None => {
                parts.push(Part {
                    keys: Vec::new(),
                    operations: Vec::new(),
                    answered: 0,
                    blind: OnceCell::new(),
                });
                parts.len() - 1
            }
        };
        parts[part].answered += usize::from(operation.is_answered());
        parts[part].operations.push(operation);
    }
    parts
}

/// Disjoint sets of numbers (union-find with path halving). The least member represents its set.
struct Groups(Vec<usize>);

impl Groups {
    fn new(members: usize) -> Self {
        Self((0..members).collect())
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

//! What the clients saw: each operation's invocation, and its return if there was one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, OpId};
use crate::time::Time;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome<R> {
    /// It took effect between its invocation and its return, with this answer.
    Ok(R),
    /// It certainly took no effect.
    Fail,
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

/// One end of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<O, R> {
    /// When, on the clock of the run.
    pub time: Time,
    /// Whose operation.
    pub client: ClientId,
    /// Which operation.
    pub op: OpId,
    /// Its invocation or its return.
    pub kind: EventKind<O, R>,
}

/// Invocation or return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind<O, R> {
    /// The client sends it.
    Invoke(O),
    /// The client learns how it ended, or gives up.
    Return(Outcome<R>),
}

/// The events of a run in the order in which they happened.
///
/// At equal times the order of the events counts: what returned earlier in the list precedes what
/// was invoked later in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History<O, R> {
    events: Vec<Event<O, R>>,
    operations: u32,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        Self { events: Vec::new(), operations: 0 }
    }
}

impl<O, R> History<O, R> {
    /// Records an invocation and numbers it.
    pub fn invoke(&mut self, time: Time, client: ClientId, op: O) -> OpId {
        let id = OpId(self.operations);
        self.operations += 1;
        self.push(Event { time, client, op: id, kind: EventKind::Invoke(op) });
        id
    }

    /// Records how an operation ended.
    pub fn complete(&mut self, time: Time, client: ClientId, op: OpId, outcome: Outcome<R>) {
        assert!(op.0 < self.operations, "{op} returned but was never invoked");
        self.push(Event { time, client, op, kind: EventKind::Return(outcome) });
    }

    fn push(&mut self, event: Event<O, R>) {
        assert!(
            self.events.last().is_none_or(|last| last.time <= event.time),
            "a history runs forward in time"
        );
        self.events.push(event);
    }

    /// Takes the events recorded so far out of the history, which goes on behind them.
    pub fn take_events(&mut self) -> Vec<Event<O, R>> {
        std::mem::take(&mut self.events)
    }

    /// Puts events back before those recorded since they were taken.
    pub fn put_back(&mut self, mut taken: Vec<Event<O, R>>) {
        taken.append(&mut self.events);
        self.events = taken;
    }

    /// The events, in order.
    pub fn events(&self) -> &[Event<O, R>] {
        &self.events
    }

    /// How many operations were invoked.
    pub fn operations(&self) -> usize {
        self.operations as usize
    }
}

impl<O: fmt::Display, R: fmt::Display> fmt::Display for Event<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.time, self.client, self.op)?;
        match &self.kind {
            EventKind::Invoke(op) => write!(f, "invoke {op}"),
            EventKind::Return(Outcome::Ok(ret)) => write!(f, "ok {ret}"),
            EventKind::Return(Outcome::Fail) => write!(f, "fail"),
            EventKind::Return(Outcome::Unknown) => write!(f, "unknown"),
        }
    }
}

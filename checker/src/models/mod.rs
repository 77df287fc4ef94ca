//! Objects to judge histories by: one file each, and one line in [`MODELS`].
//!
//! A model is a reference object of stateright ([`SequentialSpec`](stateright::semantics::SequentialSpec))
//! behind this crate's [`Spec`], and knows how its operations stand in a recorded history
//! ([`Recorded`]). An object that may answer in several ways is a set of the states that it may be in
//! ([`any_of`]); many objects of one kind, told apart by keys, are one object ([`keyed`]).
//!
//! What several operations at a time work on, and isolation levels are about, is in [`mod@transactions`].

pub mod answer;
pub mod any_of;
mod chain;
pub mod consensus;
pub mod counter;
pub mod keyed;
pub mod kv;
mod kv_helpers;
mod kv_reason;
pub(crate) mod kv_recorded;
pub mod lock;
pub mod log;
pub mod queue;
pub mod register;
mod register_reason;
pub mod set;
pub mod transactions;
pub mod unordered_queue;

use std::fmt;

use serde_json::Value;

use crate::formats::{FormatError, Judged, Recording, porcupine};
use crate::judge::Budget;
use crate::spec::{Content, Spec};
use crate::weak::Consistency;
use any_of::AnyOf;
use consensus::Consensus;
use counter::Counter;
use keyed::Keyed;
pub use kv::Kv;
use lock::Lock;
use log::Log;
use queue::Queue;
use register::Register;
use set::Set;
pub use transactions::{AnyModel, TRANSACTION_MODELS, TransactionModel};
use unordered_queue::UnorderedQueue;

/// The models, in the order in which they are listed.
pub const MODELS: &[Model] = &[
    Model::whole::<Kv>("kv", "keys with values: get, put, append, delete, cas, scan"),
    Model::single::<Register>("register", "one value: read, write"),
    Model::single::<Register>("cas-register", "one value: read, write, cas"),
    Model::single::<Consensus>("consensus", "one value that is set once: propose, write, read"),
    Model::single::<Counter>("counter", "a number: add, add-and-get, read"),
    Model::single::<Set>("set", "different elements: add, remove, contains, read"),
    Model::single::<Queue>("queue", "first in, first out: enqueue, dequeue"),
    Model::single::<AnyOf<UnorderedQueue>>("unordered-queue", "any out: enqueue, dequeue"),
    Model::single::<Lock>("lock", "at most one holder: acquire, release"),
    Model::single::<Log>("log", "a sequence that only grows: append, read"),
];

/// What a record's text should have been, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub String);

impl Expected {
    pub(crate) fn instead(what: impl fmt::Display, found: &Value) -> Self {
        Self(format!("{what}, found {}", crate::explain::short(found)))
    }

    pub(crate) fn operation(names: &str, found: &str) -> Self {
        Self(format!("one of the operations {names}, found {found}"))
    }
}

/// A model whose operations can stand in a recorded history. `Display` shows a state.
pub trait Recorded: Spec + fmt::Display {
    /// The state at the start; the usual one for null.
    ///
    /// # Errors
    /// What was expected.
    fn initial(value: &Value) -> Result<Self, Expected>;

    /// An operation, from its name, key and value.
    ///
    /// # Errors
    /// What was expected.
    fn op(f: &str, key: &Value, value: &Value) -> Result<Self::Op, Expected>;

    /// The answer to an operation.
    ///
    /// # Errors
    /// What was expected.
    fn ret(op: &Self::Op, value: &Value) -> Result<Self::Ret, Expected>;

    /// What it holds, if it is a register without keys ([`Spec::register`]).
    fn content(&self) -> Option<Content<'_>> {
        None
    }
}

/// A model with its name.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its name on the command line and in headers.
    pub name: &'static str,
    /// One line about it, with its operations.
    pub about: &'static str,
    judge: fn(&Recording, Consistency, Budget) -> Result<Judged, FormatError>,
    porcupine: fn(&Recording, Budget) -> Result<Value, FormatError>,
}

impl Model {
    /// The model of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// One object, which may have keys of its own.
    const fn whole<S: Recorded>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, judge: Recording::judge_as::<S>, porcupine: porcupine::export::<S> }
    }

    /// One object, or one per key where the history has keys.
    const fn single<S: Recorded>(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            judge: |recording, promise, budget| match recording.has_keys() {
                true => recording.judge_as::<Keyed<S>>(promise, budget),
                false => recording.judge_as::<S>(promise, budget),
            },
            porcupine: |recording, budget| match recording.has_keys() {
                true => porcupine::export::<Keyed<S>>(recording, budget),
                false => porcupine::export::<S>(recording, budget),
            },
        }
    }

    /// Judges whether a recorded history is linearizable.
    ///
    /// # Errors
    /// [`FormatError`] if a record is none of this model's operations or answers.
    pub fn judge(&self, recording: &Recording, budget: Budget) -> Result<Judged, FormatError> {
        self.judge_weak(recording, Consistency::Linearizable, budget)
    }

    /// Judges whether a recorded history keeps a promise.
    ///
    /// # Errors
    /// [`FormatError`] if a record is none of this model's operations or answers, or if the promise says
    /// nothing about them.
    pub fn judge_weak(
        &self,
        recording: &Recording,
        promise: Consistency,
        budget: Budget,
    ) -> Result<Judged, FormatError> {
        (self.judge)(recording, promise, budget)
    }

    /// The history as porcupine's viewer takes it ([`porcupine`]).
    ///
    /// # Errors
    /// [`FormatError`] if a record is none of this model's operations or answers.
    pub fn porcupine(&self, recording: &Recording, budget: Budget) -> Result<Value, FormatError> {
        (self.porcupine)(recording, budget)
    }
}

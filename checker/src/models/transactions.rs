//! What transactions may work on: how their actions stand in a recorded history, and who judges them.
//!
//! A history of transactions is no object that takes one operation at a time, so it is judged by an isolation
//! level ([`isolation`](crate::isolation)) and not by a [`Spec`](crate::Spec).

use serde_json::{Value, json};

use super::{Expected, MODELS, Model};
use crate::formats::{FormatError, JudgedTransactions, Recording};
use crate::isolation::{Malformed, Report, Transaction, lists, registers};

/// The models of transactions, in the order in which they are listed.
pub const TRANSACTION_MODELS: &[TransactionModel] = &[
    TransactionModel::of::<lists::Action>(
        "transactions over lists: txn of [append key value], [r key values]",
    ),
    TransactionModel::of::<registers::Action>(
        "transactions over registers: txn of [w key value], [r key value]",
    ),
];

/// A model of transactions with its name.
#[derive(Clone, Copy, Debug)]
pub struct TransactionModel {
    /// Its name on the command line and in headers.
    pub name: &'static str,
    /// One line about it, with its operations.
    pub about: &'static str,
    judge: fn(&Recording) -> Result<JudgedTransactions, FormatError>,
}

impl TransactionModel {
    /// The model of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TRANSACTION_MODELS.iter().find(|model| model.name == name)
    }

    const fn of<A: RecordedAction>(about: &'static str) -> Self {
        Self { name: A::MODEL, about, judge: Recording::judge_transactions::<A> }
    }

    /// Looks for all that any isolation level forbids.
    ///
    /// # Errors
    /// [`FormatError`] if a record is no transaction of this model, or if a value is written twice.
    pub fn judge(&self, recording: &Recording) -> Result<JudgedTransactions, FormatError> {
        (self.judge)(recording)
    }
}

/// A model of either kind.
#[derive(Clone, Copy, Debug)]
pub enum AnyModel {
    /// Of operations that take effect one at a time.
    Object(&'static Model),
    /// Of transactions.
    Transactions(&'static TransactionModel),
}

impl AnyModel {
    /// All of them, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        let transactions = TRANSACTION_MODELS.iter().map(Self::Transactions);
        MODELS.iter().map(Self::Object).chain(transactions)
    }

    /// The model of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|model| model.name() == name)
    }

    /// Its name on the command line and in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object(model) => model.name,
            Self::Transactions(model) => model.name,
        }
    }

    /// One line about it, with its operations.
    pub fn about(self) -> &'static str {
        match self {
            Self::Object(model) => model.about,
            Self::Transactions(model) => model.about,
        }
    }
}

/// The name of an action that reads.
pub(crate) const READ: &str = "r";

/// What transactions do to keys, as it stands in a recorded history: a name, a key and a value.
pub trait RecordedAction: Sized {
    /// The name of the model.
    const MODEL: &'static str;

    /// An action, from its name, key and value; null for a read of which nothing is told.
    ///
    /// # Errors
    /// What was expected.
    fn parse(f: &str, key: u64, value: &Value) -> Result<Self, Expected>;

    /// Its name, key and value.
    fn show(&self) -> (&'static str, u64, Value);

    /// Looks for all that any level forbids.
    ///
    /// # Errors
    /// [`Malformed`].
    fn judge(transactions: &[Transaction<Self>]) -> Result<Report, Malformed>;
}

impl RecordedAction for lists::Action {
    const MODEL: &'static str = "list-append";

    fn parse(f: &str, key: u64, value: &Value) -> Result<Self, Expected> {
        match f {
            "append" => Ok(Self::Append { key, value: number("an element, a whole number", value)? }),
            // Jepsen's stores tell of a list that nobody has begun that there is nothing.
            READ if value.is_null() => Ok(Self::Read { key, values: Vec::new() }),
            READ => {
                let what = "a list of whole numbers";
                let values = value.as_array().ok_or_else(|| Expected::instead(what, value))?;
                let values = values.iter().map(|element| number(what, element)).collect::<Result<_, _>>()?;
                Ok(Self::Read { key, values })
            }
            other => Err(Expected(format!("one of the actions append, r, found {other}"))),
        }
    }

    fn show(&self) -> (&'static str, u64, Value) {
        match self {
            Self::Append { key, value } => ("append", *key, json!(value)),
            Self::Read { key, values } => (READ, *key, json!(values)),
        }
    }

    fn judge(transactions: &[Transaction<Self>]) -> Result<Report, Malformed> {
        lists::judge(transactions)
    }
}

impl RecordedAction for registers::Action {
    const MODEL: &'static str = "rw-register";

    fn parse(f: &str, key: u64, value: &Value) -> Result<Self, Expected> {
        match f {
            "w" => Ok(Self::Write { key, value: number("a value, a whole number", value)? }),
            READ if value.is_null() => Ok(Self::Read { key, value: None }),
            READ => Ok(Self::Read { key, value: Some(number("a whole number or nothing", value)?) }),
            other => Err(Expected(format!("one of the actions w, r, found {other}"))),
        }
    }

    fn show(&self) -> (&'static str, u64, Value) {
        match self {
            Self::Write { key, value } => ("w", *key, json!(value)),
            Self::Read { key, value } => (READ, *key, json!(value)),
        }
    }

    fn judge(transactions: &[Transaction<Self>]) -> Result<Report, Malformed> {
        registers::judge(transactions)
    }
}

/// A number that is not negative.
pub(crate) fn number(what: &str, value: &Value) -> Result<u64, Expected> {
    value.as_u64().ok_or_else(|| Expected::instead(what, value))
}

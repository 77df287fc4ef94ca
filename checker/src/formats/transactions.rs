//! Histories of transactions, as Jepsen and Elle have them, in the formats for any model ([`edn`](super::edn),
//! [`jsonl`](super::jsonl)).
//!
//! ```text
//! {:type :invoke, :process 0, :time 120, :f :txn, :value [[:append 3 1] [:r 4 nil]]}
//! {:type :ok, :process 0, :time 380, :f :txn, :value [[:append 3 1] [:r 4 [1 2]]]}
//!
//! {"client":0,"type":"invoke","f":"txn","value":[["append",3,1],["r",4,null]],"time":120}
//! {"client":0,"type":"ok","f":"txn","value":[["append",3,1],["r",4,[1,2]]],"time":380}
//! ```
//!
//! An operation is a `txn`; its value is what the transaction does, each action a name, a key and a value; a
//! return repeats the actions with what they read. Registers have `w` in place of `append`, and read one value
//! or nothing. Keys and values are whole numbers from 0 on.
//!
//! - `ok` has committed, `fail` has aborted. Of `info`, and of what never returned, nobody knows: it may take
//!   effect at any time after its invocation. (Jepsen goes on with another process then; that is not needed.)
//! - The order of the events counts. Where times do not tell two events apart the later one counts as a nanosecond
//!   later.
//! - Transactions are numbered in the order of their invocations.

use std::collections::{BTreeMap, BTreeSet};

use contract::Time;
use serde_json::{Value, json};

use super::{FormatError, Kind, Record, Recorder, Recording, wrong};
use crate::explain::short;
use crate::isolation::{Malformed, Outcome, Report, Transaction};
use crate::models::transactions::{READ, RecordedAction, number};

/// The name of an operation that is a transaction.
pub(super) const TXN: &str = "txn";

/// Transactions, and where they were read.
#[derive(Clone, Debug, PartialEq)]
pub struct LocatedTransactions<A> {
    /// In the order of their invocations.
    pub transactions: Vec<Transaction<A>>,
    /// The lines of these.
    pub lines: Vec<usize>,
}

/// What was found, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedTransactions {
    /// What the checker says.
    pub report: Report,
    /// Per transaction, the line in which it was invoked.
    pub lines: Vec<usize>,
    /// How many were told to have committed.
    pub committed: usize,
    /// How many were told to have aborted.
    pub aborted: usize,
}

impl Recording {
    /// The transactions of a model.
    ///
    /// # Errors
    /// [`FormatError::Line`] names the first record that is no transaction of the model, or none that answers its
    /// invocation.
    pub fn transactions<A: RecordedAction>(&self) -> Result<LocatedTransactions<A>, FormatError> {
        let mut located = LocatedTransactions { transactions: Vec::new(), lines: Vec::new() };
        // Per process the place of the transaction that it waits for.
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut now = 0;
        for (place, record) in self.records().iter().enumerate() {
            let Record { line, process, kind, .. } = record;
            now = if place == 0 { record.time.0 } else { record.time.0.max(now + 1) };
            if record.f != TXN || !record.key.is_null() {
                let key = if record.key.is_null() { "" } else { " with a key" };
                return Err(wrong(*line, format!("a {TXN} of several actions, found {}{key}", record.f)));
            }
            if *kind == Kind::Invoke {
                let Ok(process_number) = u32::try_from(*process) else {
                    return Err(wrong(*line, format!("a process below 2^32, found {process}")));
                };
                let actions = actions::<A>(record)?;
                open.insert(*process, located.transactions.len());
                located.lines.push(*line);
                located.transactions.push(Transaction {
                    process: process_number,
                    invoked: now,
                    returned: None,
                    outcome: Outcome::Unknown,
                    actions,
                });
                continue;
            }
            let number = open.remove(process).expect("a recording's operations begin before they end");
            let transaction = &mut located.transactions[number];
            match kind {
                Kind::Ok => {
                    let told = actions::<A>(record)?;
                    if !told.iter().map(asked).eq(transaction.actions.iter().map(asked)) {
                        let invoked = located.lines[number];
                        let what = format!("the actions of line {invoked} with what they read, found others");
                        return Err(wrong(*line, what));
                    }
                    (transaction.outcome, transaction.actions) = (Outcome::Committed, told);
                    transaction.returned = Some(now);
                }
                Kind::Fail => {
                    (transaction.outcome, transaction.returned) = (Outcome::Aborted, Some(now));
                }
                Kind::Info | Kind::Invoke => {}
            }
        }
        Ok(located)
    }

    /// A history of transactions. One of unknown outcome never returns, but its process may go on; one that
    /// ended at an unknown time does so when all is over. What was not committed has read nothing.
    ///
    /// # Errors
    /// [`FormatError::StillOpen`] if a process begins a transaction before another has returned, and
    /// [`FormatError::NotInvoked`] if one returns before it begins; lines are those of [`jsonl`](super::jsonl).
    pub fn of_transactions<A: RecordedAction>(transactions: &[Transaction<A>]) -> Result<Self, FormatError> {
        let times = transactions.iter().flat_map(|t| [Some(t.invoked), t.returned]).flatten();
        let end = times.max().unwrap_or(0);
        let mut events: Vec<(u64, Kind, usize)> = Vec::new();
        for (number, transaction) in transactions.iter().enumerate() {
            let kind = match transaction.outcome {
                Outcome::Committed => Some(Kind::Ok),
                Outcome::Aborted => Some(Kind::Fail),
                Outcome::Unknown => None,
            };
            events.push((transaction.invoked, Kind::Invoke, number));
            events.extend(kind.map(|kind| (transaction.returned.unwrap_or(end), kind, number)));
        }
        // At one moment who is invoked comes before who returns: that is what being concurrent means. But a
        // process that goes on at once returns first.
        events.sort_by_key(|(time, kind, number)| (*time, *number, *kind != Kind::Invoke));
        let mut behind = vec![true; events.len()];
        let mut last: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        for (place, (time, kind, number)) in events.iter().enumerate() {
            let before = last.insert(transactions[*number].process, (*time, place));
            if *kind == Kind::Invoke {
                behind[place] = false;
                before.filter(|(at, _)| at == time).inspect(|(_, before)| behind[*before] = false);
            }
        }
        let mut events: Vec<_> = events.into_iter().zip(behind).collect();
        events.sort_by_key(|((time, ..), behind)| (*time, *behind));
        let mut recorder = Recorder::new(Some(A::MODEL.to_owned()), Value::Null);
        // Processes whose last transaction has an unknown outcome.
        let mut unknown: BTreeSet<u64> = BTreeSet::new();
        let mut line = 1;
        for ((time, kind, number), _) in events {
            let transaction = &transactions[number];
            let process = u64::from(transaction.process);
            let mut add = |kind, value| {
                line += 1;
                let (time, f) = (Time(time), TXN.to_owned());
                recorder.add(Record { line, time, process, kind, f, key: Value::Null, value }, None)
            };
            match kind {
                Kind::Invoke => {
                    if unknown.remove(&process) {
                        add(Kind::Info, Value::Null)?;
                    }
                    if transaction.outcome == Outcome::Unknown {
                        unknown.insert(process);
                    }
                    add(kind, shown(transaction.actions.iter().map(asked)))?;
                }
                Kind::Ok => add(kind, shown(transaction.actions.iter().map(A::show)))?,
                Kind::Fail | Kind::Info => add(kind, Value::Null)?,
            }
        }
        Ok(recorder.finish())
    }

    /// Looks for all that any isolation level forbids.
    ///
    /// # Errors
    /// [`FormatError`] if a record is no transaction of the model, or if a value is written twice.
    pub fn judge_transactions<A: RecordedAction>(&self) -> Result<JudgedTransactions, FormatError> {
        let LocatedTransactions { transactions, lines } = self.transactions::<A>()?;
        let report = A::judge(&transactions).map_err(|malformed| match malformed {
            Malformed::WrittenTwice { key, value, first, second } => FormatError::WrittenTwice {
                line: lines[second as usize],
                key,
                value,
                first: lines[first as usize],
            },
            other => FormatError::Transactions(other),
        })?;
        let ended = |outcome| transactions.iter().filter(|t| t.outcome == outcome).count();
        let (committed, aborted) = (ended(Outcome::Committed), ended(Outcome::Aborted));
        Ok(JudgedTransactions { report, lines, committed, aborted })
    }
}

/// What a record says that its transaction does.
fn actions<A: RecordedAction>(record: &Record) -> Result<Vec<A>, FormatError> {
    let unlike = |what| FormatError::Line { line: record.line, what };
    let instead = |found: &Value| {
        wrong(record.line, format!("[name key value], an action, in a list of them, found {}", short(found)))
    };
    let list = record.value.as_array().ok_or_else(|| instead(&record.value))?;
    let action = |action: &Value| {
        let parts = action.as_array().map(Vec::as_slice);
        let Some([Value::String(f), key, value]) = parts else { return Err(instead(action)) };
        let key = number("a key, a whole number", key).map_err(unlike)?;
        // What an invocation has for a read tells nothing.
        let value = if record.kind == Kind::Invoke && f == READ { &Value::Null } else { value };
        A::parse(f, key, value).map_err(unlike)
    };
    list.iter().map(action).collect()
}

/// An action without what it read.
fn asked<A: RecordedAction>(action: &A) -> (&'static str, u64, Value) {
    let (f, key, value) = action.show();
    (f, key, if f == READ { Value::Null } else { value })
}

fn shown(actions: impl Iterator<Item = (&'static str, u64, Value)>) -> Value {
    actions.map(|(f, key, value)| json!([f, key, value])).collect()
}

//! A recorded history before a model gives it a meaning.

use std::collections::{BTreeMap, BTreeSet};

use contract::kv::{Op, Ret};
use contract::{ClientId, EventKind, History, OpId, Outcome, Time};
use serde_json::Value;

use super::{FormatError, wrong};
use crate::judge::{Budget, Verdict};
use crate::models::{AnyModel, Model, Recorded, kv_recorded};
use crate::weak::{Consistency, judge_weak};

/// What became of an operation, or that it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was invoked.
    Invoke,
    /// It took effect and was answered.
    Ok,
    /// It certainly took no effect.
    Fail,
    /// Nobody knows.
    Info,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it was read, counted from 1.
    pub line: usize,
    /// When; a format without times has a millisecond for each line.
    pub time: Time,
    /// Whose operation.
    pub process: u64,
    /// What happened.
    pub kind: Kind,
    /// The operation's name.
    pub f: String,
    /// The object's or the pair's key; null if there is none.
    pub key: Value,
    /// With an invocation what is asked, with [`Kind::Ok`] the answer, else null. A cas is answered
    /// whether it swapped.
    pub value: Value,
}

impl Record {
    /// Gives a return of this invocation what it leaves out.
    fn completes(&self, returned: &mut Self) -> Result<(), FormatError> {
        if returned.f.is_empty() {
            returned.f.clone_from(&self.f);
        }
        if returned.key.is_null() {
            returned.key.clone_from(&self.key);
        }
        if (&returned.f, &returned.key) != (&self.f, &self.key) {
            let awaited = format!("the return of the {} of line {}", self.f, self.line);
            return Err(wrong(returned.line, format!("{awaited}, found another operation or key")));
        }
        Ok(())
    }
}

/// A recorded history whose operations begin and end in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The model's name, if the history tells it.
    pub model: Option<String>,
    /// The state at the start; null for the model's usual one.
    pub initial: Value,
    records: Vec<Record>,
}

/// A history, and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<O, R> {
    /// The history.
    pub history: History<O, R>,
    /// Per operation, the line in which it was invoked.
    pub lines: Vec<usize>,
}

/// A verdict, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the checker says.
    pub verdict: Verdict,
    /// How many operations were invoked.
    pub operations: usize,
    /// How many of them were answered.
    pub answered: usize,
    /// Where the operation was invoked that a violation has no place for.
    pub line: Option<usize>,
}

impl Recording {
    /// The history of a key-value store that was empty at the start.
    pub fn of_kv(history: &History<Op, Ret>) -> Self {
        let mut records = Vec::with_capacity(history.events().len());
        let mut asked: Vec<Option<&Op>> = vec![None; history.operations()];
        for (line, event) in (2..).zip(history.events()) {
            if let EventKind::Invoke(op) = &event.kind {
                asked[event.op.0 as usize] = Some(op);
            }
            let op = asked[event.op.0 as usize].expect("what returns was invoked");
            let (key, invoked) = kv_recorded::asked(op);
            let (kind, value) = match &event.kind {
                EventKind::Invoke(_) => (Kind::Invoke, invoked),
                EventKind::Return(Outcome::Ok(ret)) => (Kind::Ok, kv_recorded::answered(ret)),
                EventKind::Return(Outcome::Fail) => (Kind::Fail, Value::Null),
                EventKind::Return(Outcome::Unknown) => (Kind::Info, Value::Null),
            };
            let (time, process) = (event.time, u64::from(event.client.0));
            records.push(Record { line, time, process, kind, f: op.name().to_owned(), key, value });
        }
        Self { model: Some("kv".to_owned()), initial: Value::Null, records }
    }

    /// Its events, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether some operation has a key.
    pub fn has_keys(&self) -> bool {
        self.records.iter().any(|record| !record.key.is_null())
    }

    /// The model of a name, else the one that the history names.
    ///
    /// # Errors
    /// [`FormatError::NoModel`], [`FormatError::UnknownModel`] and [`FormatError::OfTransactions`].
    pub fn model(&self, name: Option<&str>) -> Result<&'static Model, FormatError> {
        match self.any_model(name)? {
            AnyModel::Object(model) => Ok(model),
            AnyModel::Transactions(model) => Err(FormatError::OfTransactions(model.name)),
        }
    }

    /// The same, be it of transactions or not.
    ///
    /// # Errors
    /// [`FormatError::NoModel`] and [`FormatError::UnknownModel`].
    pub fn any_model(&self, name: Option<&str>) -> Result<AnyModel, FormatError> {
        let name = name.or(self.model.as_deref()).ok_or(FormatError::NoModel)?;
        AnyModel::named(name).ok_or_else(|| FormatError::UnknownModel(name.to_owned()))
    }

    /// The history of a model's operations.
    ///
    /// # Errors
    /// [`FormatError::Line`] names the first record that is none of the model's operations or answers.
    pub fn history<S: Recorded>(&self) -> Result<Located<S::Op, S::Ret>, FormatError> {
        let mut history = History::default();
        let mut lines = Vec::new();
        let mut clients = Clients::of(&self.records);
        // Per process the operation that it waits for, and where it stands in the history.
        let mut open: BTreeMap<u64, (OpId, usize)> = BTreeMap::new();
        for record in &self.records {
            let Record { line, time, process, f, key, value, .. } = record;
            let unlike = |what| FormatError::Line { line: *line, what };
            let client = clients.number(*process).ok_or(FormatError::TooManyProcesses { line: *line })?;
            if record.kind == Kind::Invoke {
                let op = S::op(f, key, value).map_err(unlike)?;
                let place = history.events().len();
                open.insert(*process, (history.invoke(*time, client, op), place));
                lines.push(*line);
                continue;
            }
            let (op, place) = open.remove(process).expect("a recording's operations begin before they end");
            let outcome = match record.kind {
                Kind::Fail => Outcome::Fail,
                Kind::Info => Outcome::Unknown,
                Kind::Ok | Kind::Invoke => {
                    let EventKind::Invoke(asked) = &history.events()[place].kind else {
                        unreachable!("an invocation was recorded there")
                    };
                    Outcome::Ok(S::ret(asked, value).map_err(unlike)?)
                }
            };
            history.complete(*time, client, op, outcome);
        }
        Ok(Located { history, lines })
    }

    /// Judges whether it keeps a promise by a model.
    ///
    /// # Errors
    /// [`FormatError`] if a record is none of this model's operations or answers, or if the promise says
    /// nothing about them.
    pub fn judge_as<S: Recorded>(&self, promise: Consistency, budget: Budget) -> Result<Judged, FormatError> {
        let Located { history, lines } = self.history::<S>()?;
        let verdict = judge_weak(&history, &self.start::<S>()?, promise, budget)?;
        let line = match &verdict {
            Verdict::Violation(violation) => lines.get(violation.failing.0 as usize).copied(),
            Verdict::Ok | Verdict::Unknown(_) => None,
        };
        let answered = self.records.iter().filter(|record| record.kind == Kind::Ok).count();
        Ok(Judged { verdict, operations: lines.len(), answered, line })
    }

    /// The state at the start.
    ///
    /// # Errors
    /// [`FormatError::Line`] if it is none of the model's; it stands in the first line.
    pub fn start<S: Recorded>(&self) -> Result<S, FormatError> {
        S::initial(&self.initial).map_err(|what| FormatError::Line { line: 1, what })
    }
}

/// Makes a recording and sees to it that operations begin and end in order.
#[derive(Debug, Default)]
pub struct Recorder {
    recording: Recording,
    /// Per process, what it did last.
    last: BTreeMap<u64, Last>,
    ids: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    /// The place is that of the invocation among the records.
    Invoked {
        line: usize,
        id: Option<u64>,
        place: usize,
    },
    Returned {
        line: usize,
    },
}

impl Recorder {
    /// A recording of a model, from an initial state on.
    pub fn new(model: Option<String>, initial: Value) -> Self {
        let recording = Recording { model, initial, records: Vec::new() };
        Self { recording, ..Self::default() }
    }

    /// Adds an event; `id` numbers its operation in formats that number them. A return without a name or
    /// key is given that of its invocation.
    ///
    /// # Errors
    /// [`FormatError`] if it cannot follow those before it.
    pub fn add(&mut self, mut record: Record, id: Option<u64>) -> Result<(), FormatError> {
        let (line, process) = (record.line, record.process);
        if self.recording.records.last().is_some_and(|last| record.time < last.time) {
            return Err(FormatError::Backwards { line });
        }
        let last = self.last.get(&process).copied();
        if record.kind == Kind::Invoke {
            if let Some(Last::Invoked { line: open, .. }) = last {
                return Err(FormatError::StillOpen { line, process, open });
            }
            if let Some(id) = id.filter(|id| !self.ids.insert(*id)) {
                return Err(FormatError::InvokedTwice { line, id });
            }
            let place = self.recording.records.len();
            self.last.insert(process, Last::Invoked { line, id, place });
        } else {
            match last {
                None => return Err(FormatError::NotInvoked { line, process }),
                Some(Last::Returned { line: first }) => {
                    return Err(FormatError::ReturnsTwice { line, process, first });
                }
                Some(Last::Invoked { id: Some(open), .. }) if id.is_some_and(|id| id != open) => {
                    let id = id.expect("it was compared");
                    return Err(FormatError::OtherOperation { line, process, id, open });
                }
                Some(Last::Invoked { place, .. }) => {
                    self.recording.records[place].completes(&mut record)?;
                }
            }
            self.last.insert(process, Last::Returned { line });
        }
        self.recording.records.push(record);
        Ok(())
    }

    /// The time of the last event.
    pub fn now(&self) -> Time {
        self.recording.records.last().map_or(Time::ZERO, |record| record.time)
    }

    /// What was recorded. Operations that did not return stay open.
    pub fn finish(self) -> Recording {
        self.recording
    }
}

/// The time of a line in a format that has no times.
pub(super) fn time_of_line(line: usize) -> Time {
    Time(line as u64 * 1_000_000)
}

/// Processes as clients: by their own numbers if these are small enough, else in the order in which
/// they come.
struct Clients {
    numbers: Option<BTreeMap<u64, u16>>,
}

impl Clients {
    fn of(records: &[Record]) -> Self {
        let is_small = records.iter().all(|record| record.process <= u64::from(u16::MAX));
        Self { numbers: (!is_small).then(BTreeMap::new) }
    }

    fn number(&mut self, process: u64) -> Option<ClientId> {
        let Some(numbers) = &mut self.numbers else { return u16::try_from(process).ok().map(ClientId) };
        if let Some(number) = numbers.get(&process) {
            return Some(ClientId(*number));
        }
        let number = u16::try_from(numbers.len()).ok()?;
        numbers.insert(process, number);
        Some(ClientId(number))
    }
}

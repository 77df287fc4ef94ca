//! Histories that others recorded: two text formats of well-known test suites, and folders of them.
//!
//! - **Jepsen log** (`.log`): a register of small integers that is empty at the start. Lines such as
//!   `INFO  jepsen.util - 3<TAB>:invoke<TAB>:cas<TAB>[1 2]`; other lines are ignored. A failed cas is an
//!   answer: it did not swap.
//! - **Key-value log** (`.txt`): `get`, `put` and `append` of strings, all keys "" at the start. Lines such
//!   as `{:process 0, :type :invoke, :f :append, :key "0", :value "x"}`.
//!
//! Neither has times: an event's time is its line, in milliseconds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use contract::kv;
use contract::{Bytes, ClientId, History, OpId, Outcome, Time};

use crate::judge::{Budget, Verdict, judge, judge_kv};
use crate::models::register::{self, Register};
use crate::parts::Malformed;
use crate::spec::FromSequential;

/// A history that could not be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A line is not in the format.
    #[error("line {line}: {what}")]
    Line {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A process returned from an operation that it had not invoked.
    #[error("line {line}: process {process} returns, but has invoked nothing")]
    NotInvoked {
        /// Which line.
        line: usize,
        /// Whose return.
        process: u16,
    },
    /// No clients can have produced the history.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is wrong with a file of a folder.
    #[error("{file}: {source}")]
    In {
        /// Which file.
        file: String,
        /// What.
        source: Box<FormatError>,
    },
    /// The name of a file tells no format.
    #[error("the name ends neither in .log nor in .txt")]
    NoFormat,
}

/// Reads a Jepsen log of a register.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn jepsen(text: &str) -> Result<History<register::Op, register::Ret>, FormatError> {
    let mut log = Log::default();
    for (line, content) in (1..).zip(text.lines()) {
        let Some((_, event)) = content.split_once("jepsen.util - ") else { continue };
        let fields: Vec<&str> = event.split('\t').collect();
        let [process, kind, f, value] = fields[..] else { continue };
        let Ok(process) = process.parse() else { continue };
        let wrong = |what| FormatError::Line { line, what };
        let number = || match value {
            "nil" => Ok(None),
            value => value.parse().map(Some).map_err(|_| wrong("the value is no integer")),
        };
        match (kind, f) {
            (":invoke", ":read") => log.invoke(line, process, register::Op::Read),
            (":invoke", ":write") => {
                let value = number()?.ok_or_else(|| wrong("nil cannot be written"))?;
                log.invoke(line, process, register::Op::Write(value));
            }
            (":invoke", ":cas") => {
                let pair = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let pair = pair.and_then(|pair| pair.split_once(' '));
                let pair = pair.and_then(|(old, new)| Some((old.parse().ok()?, new.parse().ok()?)));
                let (old, new) = pair.ok_or_else(|| wrong("a cas has two integers in brackets"))?;
                log.invoke(line, process, register::Op::Cas { old, new });
            }
            (":ok", ":read") => {
                let value = number()?;
                log.complete(line, process, Outcome::Ok(register::Ret::Value(value)))?;
            }
            (":ok", ":write") => log.complete(line, process, Outcome::Ok(register::Ret::Done))?,
            (":ok", ":cas") => log.complete(line, process, Outcome::Ok(register::Ret::Swapped(true)))?,
            (":fail", ":cas") => log.complete(line, process, Outcome::Ok(register::Ret::Swapped(false)))?,
            (":fail", _) => log.complete(line, process, Outcome::Fail)?,
            (":info", _) => log.complete(line, process, Outcome::Unknown)?,
            _ => return Err(wrong("an event is :invoke, :ok, :fail or :info of a :read, :write or :cas")),
        }
    }
    Ok(log.history)
}

/// Reads a key-value log. What is missing is "" there and the other way round: a put of "" becomes a
/// delete, and an append of "", which does nothing and tells nothing, is left out.
///
/// # Errors
/// [`FormatError`] names the first line that is not in the format.
pub fn key_value(text: &str) -> Result<History<kv::Op, kv::Ret>, FormatError> {
    let mut log = Log::default();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let wrong = |what| FormatError::Line { line, what };
        let field = |name| field(content, name);
        let process = field(":process ").and_then(|process| process.parse().ok());
        let process = process.ok_or_else(|| wrong("the process is missing or no small number"))?;
        let string = |name| field(name).and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        let value = || string(":value ").map(Bytes::from).ok_or_else(|| wrong("the value is no string"));
        let key = || string(":key ").map(Bytes::from).ok_or_else(|| wrong("the key is no string"));
        let appends_nothing = field(":f ") == Some(":append") && string(":value ") == Some("");
        match (field(":type "), field(":f ")) {
            _ if appends_nothing => {}
            (Some(":invoke"), Some(":get")) => log.invoke(line, process, kv::Op::Get { key: key()? }),
            (Some(":invoke"), Some(":put")) => {
                let (key, value) = (key()?, value()?);
                let op = if value.is_empty() { kv::Op::Delete { key } } else { kv::Op::Put { key, value } };
                log.invoke(line, process, op);
            }
            (Some(":invoke"), Some(":append")) => {
                log.invoke(line, process, kv::Op::Append { key: key()?, value: value()? });
            }
            (Some(":ok"), Some(":get")) => {
                let value = Some(value()?).filter(|value| !value.is_empty());
                log.complete(line, process, Outcome::Ok(kv::Ret::Value(value)))?;
            }
            (Some(":ok"), Some(":put" | ":append")) => {
                log.complete(line, process, Outcome::Ok(kv::Ret::Done))?;
            }
            (Some(":fail"), Some(_)) => log.complete(line, process, Outcome::Fail)?,
            (Some(":info"), Some(_)) => log.complete(line, process, Outcome::Unknown)?,
            _ => return Err(wrong("an event is :invoke, :ok, :fail or :info of a :get, :put or :append")),
        }
    }
    Ok(log.history)
}

/// The text behind a field's name, up to the comma or brace that ends it. The value is the last field,
/// and may hold commas.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(name)?;
    match name {
        ":value " => rest.trim_end().strip_suffix('}'),
        _ => rest.split([',', '}']).next(),
    }
}

/// A history in the making.
struct Log<O, R> {
    history: History<O, R>,
    open: BTreeMap<u16, OpId>,
}

impl<O, R> Default for Log<O, R> {
    fn default() -> Self {
        Self { history: History::default(), open: BTreeMap::new() }
    }
}

impl<O, R> Log<O, R> {
    fn invoke(&mut self, line: usize, process: u16, op: O) {
        self.open.insert(process, self.history.invoke(at(line), ClientId(process), op));
    }

    fn complete(&mut self, line: usize, process: u16, outcome: Outcome<R>) -> Result<(), FormatError> {
        let op = self.open.remove(&process).ok_or(FormatError::NotInvoked { line, process })?;
        self.history.complete(at(line), ClientId(process), op, outcome);
        Ok(())
    }
}

fn at(line: usize) -> Time {
    Time(line as u64 * 1_000_000)
}

/// Judges a history in the format that its file's name tells.
///
/// # Errors
/// [`FormatError`] if the history cannot be read or no clients can have produced it.
pub fn judge_log(name: &str, text: &str, budget: Budget) -> Result<Verdict, FormatError> {
    if name.ends_with(".log") {
        Ok(judge(&jepsen(text)?, &FromSequential(Register::default()), budget)?)
    } else if name.ends_with(".txt") {
        Ok(judge_kv(&key_value(text)?, budget)?)
    } else {
        Err(FormatError::NoFormat)
    }
}

/// A history of a folder, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its file, relative to the folder.
    pub file: String,
    /// Whether it is known to be linearizable.
    pub expected: bool,
    /// What the checker says.
    pub verdict: Verdict,
}

impl Row {
    /// Whether the checker knows what is expected.
    pub fn agrees(&self) -> bool {
        match self.verdict {
            Verdict::Ok => self.expected,
            Verdict::Violation(_) => !self.expected,
            Verdict::Unknown(_) => false,
        }
    }
}

/// Judges all histories that a folder's `expected.tsv` lists. The table has a head line, tabs between
/// its columns, and among these `file`, relative to the folder, and `verdict`, `Ok` or `Illegal`.
///
/// # Errors
/// [`FormatError`] names the file.
pub fn judge_folder(folder: &Path, budget: Budget) -> Result<Vec<Row>, FormatError> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).map_err(|source| FormatError::Io { path, source })
    };
    let name = "expected.tsv";
    let inside = |file: &str, source| FormatError::In { file: file.to_owned(), source: Box::new(source) };
    let table = read(name)?;
    let mut lines = (1..).zip(table.lines());
    let head: Vec<&str> = lines.next().map_or_else(Vec::new, |(_, head)| head.split('\t').collect());
    let column = |column: &str| {
        let missing = FormatError::Line { line: 1, what: "the columns `file` and `verdict` are needed" };
        head.iter().position(|title| *title == column).ok_or_else(|| inside(name, missing))
    };
    let (file_column, verdict_column) = (column("file")?, column("verdict")?);
    let mut rows = Vec::new();
    for (line, content) in lines {
        let cells: Vec<&str> = content.split('\t').collect();
        let expected = match cells.get(verdict_column) {
            Some(&"Ok") => true,
            Some(&"Illegal") => false,
            _ => return Err(inside(name, FormatError::Line { line, what: "a verdict is Ok or Illegal" })),
        };
        let file = cells.get(file_column).copied().unwrap_or_default();
        let verdict = judge_log(file, &read(file)?, budget).map_err(|source| inside(file, source))?;
        rows.push(Row { file: file.to_owned(), expected, verdict });
    }
    Ok(rows)
}

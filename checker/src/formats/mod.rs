//! Histories that were recorded elsewhere, or are to be read elsewhere.
//!
//! Every format is read into one form, a [`Recording`]: what each process asked and was told, by name,
//! with values as in JSON. A [model](crate::models) gives it a meaning. So formats and models do not know
//! each other, but for what the formats' own suites take for granted:
//!
//! - [`jepsen_log`]: a register of whole numbers, empty at the start;
//! - [`kv_log`]: strings that are put, appended to and got, all of them "" at the start;
//! - [`edn`]: Jepsen's `history.edn`, for any model;
//! - [`jsonl`]: Seedbed's own, for any model; the only one that tells its model and initial state.
//!
//! A history of [`transactions`](mod@transactions) has them as operations; [`edn`] and [`jsonl`] can hold it.
//! [`porcupine`] is written only. [`folder`] is a folder of histories with known verdicts.

pub mod edn;
pub mod folder;
pub mod jepsen_log;
pub mod jsonl;
pub mod kv_log;
pub mod porcupine;
mod recording;
pub mod transactions;

use std::io;
use std::path::PathBuf;

pub use recording::{Judged, Kind, Located, Record, Recorder, Recording};
pub use transactions::{JudgedTransactions, LocatedTransactions};

use crate::isolation::{self, Level};
use crate::models::Expected;
use crate::parts::Malformed;
use crate::weak::{Consistency, WeakError};

/// A history that could not be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A line is not in the format, or no operation or answer of the model.
    #[error("line {line}: {what}")]
    Line {
        /// Which line.
        line: usize,
        /// What was expected.
        what: Expected,
    },
    /// A process returned from an operation that it had not invoked.
    #[error("line {line}: process {process} returns, but has invoked nothing")]
    NotInvoked {
        /// Which line.
        line: usize,
        /// Whose return.
        process: u64,
    },
    /// A process returned from an operation that had returned before.
    #[error("line {line}: an operation of process {process} returns twice, first in line {first}")]
    ReturnsTwice {
        /// Which line.
        line: usize,
        /// Whose return.
        process: u64,
        /// Where it returned first.
        first: usize,
    },
    /// A process invoked an operation before it had returned from another.
    #[error("line {line}: process {process} invokes an operation, but that of line {open} is still open")]
    StillOpen {
        /// Which line.
        line: usize,
        /// Who.
        process: u64,
        /// Where the other was invoked.
        open: usize,
    },
    /// A return names another operation than the one that its process waits for.
    #[error("line {line}: operation {id} returns to process {process}, which waits for operation {open}")]
    OtherOperation {
        /// Which line.
        line: usize,
        /// To whom.
        process: u64,
        /// What returns.
        id: u64,
        /// What is awaited.
        open: u64,
    },
    /// Two operations have one number.
    #[error("line {line}: operation {id} is invoked a second time")]
    InvokedTwice {
        /// Which line.
        line: usize,
        /// The number.
        id: u64,
    },
    /// Time ran backwards.
    #[error("line {line}: the time is before that of the event in front of it")]
    Backwards {
        /// Which line.
        line: usize,
    },
    /// More processes than can be told apart.
    #[error("line {line}: more than 65 536 processes")]
    TooManyProcesses {
        /// Which line.
        line: usize,
    },
    /// Two transactions, or one twice, write one value to one key, and versions are told by their values.
    #[error(
        "line {line}: {value} is written to {key} again, first in line {first}: each value must be written \
         once per key"
    )]
    WrittenTwice {
        /// Where the second transaction was invoked.
        line: usize,
        /// The key.
        key: u64,
        /// The value.
        value: u64,
        /// Where the first transaction was invoked.
        first: usize,
    },
    /// Neither the history nor the caller names a model.
    #[error("the history names no model, so one must be given")]
    NoModel,
    /// No model has this name.
    #[error("there is no model `{0}`")]
    UnknownModel(String),
    /// The model is of transactions, where one of operations that take effect one at a time is needed.
    #[error("`{0}` is a model of transactions, and here one of single operations is needed")]
    OfTransactions(&'static str),
    /// Neither the file's name nor its content tells a format.
    #[error("neither the name nor the content tells the format")]
    NoFormat,
    /// No clients can have produced the history.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No transactions can have come to this.
    #[error(transparent)]
    Transactions(#[from] isolation::Malformed),
    /// The promise is about operations that take effect one at a time, and the model is of transactions.
    #[error("{0} is no promise about transactions, and `{1}` is a model of them")]
    NoLevel(Consistency, &'static str),
    /// The promise is about transactions, and the model is of operations.
    #[error("{} is a promise about transactions, and `{}` is no model of them", .0.name(), .1)]
    NoPromise(Level, &'static str),
    /// The promise says nothing about such operations.
    #[error("{0} is about reads and writes of registers, and this history has other operations")]
    NoRegister(Consistency),
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
}

impl FormatError {
    /// The line that it is about, if it is about one.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. }
            | Self::NotInvoked { line, .. }
            | Self::ReturnsTwice { line, .. }
            | Self::StillOpen { line, .. }
            | Self::OtherOperation { line, .. }
            | Self::InvokedTwice { line, .. }
            | Self::Backwards { line }
            | Self::WrittenTwice { line, .. }
            | Self::TooManyProcesses { line } => Some(*line),
            Self::NoModel
            | Self::UnknownModel(_)
            | Self::OfTransactions(_)
            | Self::NoFormat
            | Self::Malformed(_)
            | Self::Transactions(_)
            | Self::NoLevel(..)
            | Self::NoPromise(..)
            | Self::NoRegister(_)
            | Self::Io { .. }
            | Self::In { .. } => None,
        }
    }
}

impl From<WeakError> for FormatError {
    fn from(error: WeakError) -> Self {
        match error {
            WeakError::Malformed(malformed) => Self::Malformed(malformed),
            WeakError::NoRegister(promise) => Self::NoRegister(promise),
        }
    }
}

fn wrong(line: usize, what: impl Into<String>) -> FormatError {
    FormatError::Line { line, what: Expected(what.into()) }
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`jepsen_log`].
    JepsenLog,
    /// [`kv_log`].
    KvLog,
    /// [`edn`].
    Edn,
    /// [`jsonl`].
    Jsonl,
}

impl Format {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::JepsenLog, "jepsen-log"),
        (Self::KvLog, "kv-log"),
        (Self::Edn, "edn"),
        (Self::Jsonl, "jsonl"),
    ];

    /// The format that a file most likely has. A name that ends in `.edn` or `.jsonl` tells; then the
    /// first line that looks like an event; then `.log` and `.txt`.
    pub fn guess(name: &str, text: &str) -> Option<Self> {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "edn" => return Some(Self::Edn),
            "jsonl" => return Some(Self::Jsonl),
            _ => {}
        }
        let seen = text.lines().find_map(|line| match line.trim_start() {
            line if line.contains("jepsen.util - ") => Some(Self::JepsenLog),
            line if line.starts_with("{\"") => Some(Self::Jsonl),
            line if line.starts_with("{:") && line.contains(":key \"") => Some(Self::KvLog),
            line if line.starts_with("{:") || line.starts_with("[{:") || line.starts_with('#') => {
                Some(Self::Edn)
            }
            _ => None,
        });
        seen.or(match extension {
            "log" => Some(Self::JepsenLog),
            "txt" => Some(Self::KvLog),
            _ => None,
        })
    }

    /// Reads a history.
    ///
    /// # Errors
    /// [`FormatError`] names the first line that is not in the format.
    pub fn read(self, text: &str) -> Result<Recording, FormatError> {
        match self {
            Self::JepsenLog => jepsen_log::read(text),
            Self::KvLog => kv_log::read(text),
            Self::Edn => edn::read(text),
            Self::Jsonl => jsonl::read(text),
        }
    }
}

/// Reads a history in the format that its file's name or content tells.
///
/// # Errors
/// [`FormatError`] if neither does, or names the first line that is not in the format.
pub fn read(name: &str, text: &str) -> Result<Recording, FormatError> {
    Format::guess(name, text).ok_or(FormatError::NoFormat)?.read(text)
}

//! `seedbed check`: histories from elsewhere, judged.
//!
//! A file that cannot be read does not keep the others from being judged, but it counts for more than
//! what they come to: nobody knows what it holds.
//!
//! Operations that take effect one at a time and transactions are read and counted alike; what is said of them
//! is in [`object`] and [`transactions`].

mod object;
mod transactions;

use std::fs;
use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};
use testbed::checker::formats::{Format, FormatError, Recording};
use testbed::checker::isolation::Level;
use testbed::checker::models::AnyModel;
use testbed::checker::{Budget, Consistency, Verdict};

use crate::args::{CheckArgs, Promise, Reading};
use crate::exit::Exit;
use crate::problem::{BadHistory, Problem};
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Term};
use crate::text::{count, counted, span};

/// A file's history, judged by a model.
enum Judgement {
    Object(object::Judgement),
    Transactions(transactions::Judgement),
}

type Checked = Result<Judgement, Box<BadHistory>>;

/// Judges all of them and tells what they come to.
pub(crate) fn run(args: &CheckArgs, term: &Term) -> Result<Exit, Problem> {
    let watch = Stopwatch::start();
    let budget = Budget { steps: args.steps };
    let checked: Vec<Checked> = args.files.par_iter().map(|file| check(file, args, budget)).collect();
    let mut found = Found::default();
    let out = Term::people(args.json);
    let mut documents = Vec::new();
    for (file, checked) in args.files.iter().zip(checked) {
        found.add(&checked);
        documents.push(document(file, &checked));
        match checked {
            Ok(Judgement::Object(judgement)) => term.write(out, &judgement.shown(file, out, term)),
            Ok(Judgement::Transactions(judgement)) => term.write(out, &judgement.shown(file, out, term)),
            Err(bad) => Problem::History(bad).show(term),
        }
    }
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", json!({ "histories": documents })));
    }
    if args.files.len() > 1 {
        term.write(out, &format!("{found}, in {}\n", span(watch.elapsed())));
    }
    Ok(found.exit())
}

fn check(file: &Path, args: &CheckArgs, budget: Budget) -> Checked {
    let (recording, model, text) = read(file, &args.reading)?;
    let bad = |error| Box::new(BadHistory { path: file.to_owned(), text, error });
    let model = model.map_or_else(|| recording.any_model(None), Ok);
    model.and_then(|model| judge(&recording, model, args.consistency, budget)).map_err(bad)
}

/// Without a promise it is the strongest one that such services make.
fn judge(
    recording: &Recording,
    model: AnyModel,
    promise: Option<Promise>,
    budget: Budget,
) -> Result<Judgement, FormatError> {
    match (model, promise) {
        (AnyModel::Object(model), None) => {
            object::Judgement::of(recording, model, Consistency::default(), budget).map(Judgement::Object)
        }
        (AnyModel::Object(model), Some(Promise::Consistency(promise))) => {
            object::Judgement::of(recording, model, promise, budget).map(Judgement::Object)
        }
        (AnyModel::Transactions(model), None) => {
            transactions::Judgement::of(recording, model, Level::default()).map(Judgement::Transactions)
        }
        (AnyModel::Transactions(model), Some(Promise::Level(level))) => {
            transactions::Judgement::of(recording, model, level).map(Judgement::Transactions)
        }
        (AnyModel::Object(model), Some(Promise::Level(level))) => {
            Err(FormatError::NoPromise(level, model.name))
        }
        (AnyModel::Transactions(model), Some(Promise::Consistency(promise))) => {
            Err(FormatError::NoLevel(promise, model.name))
        }
    }
}

/// A file's history, the model that was asked for, and the file's text.
pub(super) fn read(
    file: &Path,
    reading: &Reading,
) -> Result<(Recording, Option<AnyModel>, String), Box<BadHistory>> {
    let bad = |text, error| Box::new(BadHistory { path: file.to_owned(), text, error });
    let text = fs::read_to_string(file)
        .map_err(|source| bad(String::new(), FormatError::Io { path: file.to_owned(), source }))?;
    let name = file.to_string_lossy();
    let format = reading.format.or_else(|| Format::guess(&name, &text)).ok_or(FormatError::NoFormat);
    match format.and_then(|format| format.read(&text)) {
        Ok(recording) => Ok((recording, reading.model, text)),
        Err(error) => Err(bad(text, error)),
    }
}

/// How many histories came to what.
#[derive(Default)]
struct Found {
    ok: u64,
    violations: u64,
    unknown: u64,
    unreadable: u64,
}

impl Found {
    fn add(&mut self, checked: &Checked) {
        match checked {
            Ok(Judgement::Object(judgement)) => match judgement.judged.verdict {
                Verdict::Ok => self.ok += 1,
                Verdict::Violation(_) => self.violations += 1,
                Verdict::Unknown(_) => self.unknown += 1,
            },
            Ok(Judgement::Transactions(judgement)) if judgement.holds() => self.ok += 1,
            Ok(Judgement::Transactions(_)) => self.violations += 1,
            Err(_) => self.unreadable += 1,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self { unreadable: 1.., .. } => Exit::BadInput,
            Self { violations: 1.., .. } => Exit::Violation,
            Self { unknown: 1.., .. } => Exit::Inconclusive,
            _ => Exit::Holds,
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ok, violations, unknown, unreadable } = *self;
        let all = ok + violations + unknown + unreadable;
        let files = if all == 1 { "history" } else { "histories" };
        write!(f, "{} {files}: {} ok, {}", count(all), count(ok), counted(violations, "violation"))?;
        write!(f, ", {} unknown, {} unreadable", count(unknown), count(unreadable))
    }
}

fn document(file: &Path, checked: &Checked) -> Value {
    match checked {
        Ok(Judgement::Object(judgement)) => judgement.document(file),
        Ok(Judgement::Transactions(judgement)) => judgement.document(file),
        Err(bad) => json!({ "file": file, "error": bad.message(), "line": bad.error.line() }),
    }
}

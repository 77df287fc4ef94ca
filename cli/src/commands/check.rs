//! `seedbed check`: histories from elsewhere, judged.
//!
//! A file that cannot be read does not keep the others from being judged, but it counts for more than
//! what they come to: nobody knows what it holds.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};
use testbed::checker::formats::{Format, FormatError, Judged, Recording};
use testbed::checker::models::Model;
use testbed::checker::{Budget, Consistency, Verdict, Violation};

use crate::args::{CheckArgs, Reading};
use crate::exit::Exit;
use crate::problem::{BadHistory, Problem};
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Style, Term};
use crate::text::{count, counted, span};

/// A file's history, judged by a model.
type Checked = Result<(&'static Model, Judged), Box<BadHistory>>;

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
        documents.push(document(file, args.consistency, &checked));
        match checked {
            Ok((model, judged)) => term.write(out, &shown(file, model, args.consistency, &judged, out, term)),
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
    let model = model.map_or_else(|| recording.model(None), Ok);
    model.and_then(|model| Ok((model, model.judge_weak(&recording, args.consistency, budget)?))).map_err(bad)
}

/// A file's history, the model that was asked for, and the file's text.
pub(super) fn read(
    file: &Path,
    reading: &Reading,
) -> Result<(Recording, Option<&'static Model>, String), Box<BadHistory>> {
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
            Ok((_, Judged { verdict: Verdict::Ok, .. })) => self.ok += 1,
            Ok((_, Judged { verdict: Verdict::Violation(_), .. })) => self.violations += 1,
            Ok((_, Judged { verdict: Verdict::Unknown(_), .. })) => self.unknown += 1,
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

fn shown(file: &Path, model: &Model, promise: Consistency, judged: &Judged, out: Out, term: &Term) -> String {
    let (style, verdict) = match &judged.verdict {
        Verdict::Ok => (Style::Green, "ok".to_owned()),
        Verdict::Violation(_) => (Style::Red, "violation".to_owned()),
        Verdict::Unknown(exhausted) => (Style::Yellow, format!("unknown: {exhausted}")),
    };
    let mut text = format!("{}: {}", file.display(), term.paint(out, style, verdict));
    let (operations, answered) =
        (counted(judged.operations as u64, "operation"), count(judged.answered as u64));
    let promise = match promise {
        Consistency::Linearizable => String::new(),
        weaker => format!("{weaker}, "),
    };
    let _ = writeln!(text, " ({}, {promise}{operations}, {answered} answered)", model.name);
    if let Verdict::Violation(violation) = &judged.verdict {
        text += &evidence(file, judged.line, violation);
    }
    text
}

fn evidence(file: &Path, line: Option<usize>, violation: &Violation) -> String {
    let mut text = format!("  {violation}\n");
    if let Some(line) = line {
        let _ = writeln!(text, "  invoked in  {}:{line}", file.display());
    }
    let _ = writeln!(text, "  signature   {}\n  window", violation.signature());
    for line in &violation.window {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn document(file: &PathBuf, promise: Consistency, checked: &Checked) -> Value {
    match checked {
        Ok((model, judged)) => json!({
            "file": file,
            "model": model.name,
            "consistency": promise.to_string(),
            "verdict": judged.verdict,
            "signature": match &judged.verdict {
                Verdict::Violation(violation) => Some(violation.signature()),
                Verdict::Ok | Verdict::Unknown(_) => None,
            },
            "line": judged.line,
            "operations": judged.operations,
            "answered": judged.answered,
        }),
        Err(bad) => json!({ "file": file, "error": bad.message(), "line": bad.error.line() }),
    }
}

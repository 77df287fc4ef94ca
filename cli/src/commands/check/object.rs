//! What is said of operations that take effect one at a time.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use testbed::checker::formats::{FormatError, Judged, Recording};
use testbed::checker::models::Model;
use testbed::checker::{Budget, Consistency, Verdict, Violation};

use crate::term::{Out, Style, Term};
use crate::text::{count, counted};

/// A history, judged by whether it keeps a promise.
pub(super) struct Judgement {
    model: &'static Model,
    promise: Consistency,
    pub(super) judged: Judged,
}

impl Judgement {
    pub(super) fn of(
        recording: &Recording,
        model: &'static Model,
        promise: Consistency,
        budget: Budget,
    ) -> Result<Self, FormatError> {
        let judged = model.judge_weak(recording, promise, budget)?;
        Ok(Self { model, promise, judged })
    }

    /// For people.
    pub(super) fn shown(&self, file: &Path, out: Out, term: &Term) -> String {
        let Self { model, promise, judged } = self;
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

    /// For machines.
    pub(super) fn document(&self, file: &Path) -> Value {
        let Self { model, promise, judged } = self;
        json!({
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
        })
    }
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

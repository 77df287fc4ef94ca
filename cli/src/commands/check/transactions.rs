//! What is said of transactions.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use testbed::checker::formats::{FormatError, JudgedTransactions, Recording};
use testbed::checker::isolation::{Anomaly, Level};
use testbed::checker::models::TransactionModel;

use crate::term::{Out, Style, Term};
use crate::text::{count, counted};

/// More anomalies than this under one heading are left to `--json`.
const ANOMALIES_MAX: usize = 10;

/// A history, judged by whether it keeps to an isolation level.
pub(super) struct Judgement {
    model: &'static TransactionModel,
    level: Level,
    judged: JudgedTransactions,
}

impl Judgement {
    pub(super) fn of(
        recording: &Recording,
        model: &'static TransactionModel,
        level: Level,
    ) -> Result<Self, FormatError> {
        let judged = model.judge(recording)?;
        Ok(Self { model, level, judged })
    }

    pub(super) fn holds(&self) -> bool {
        self.judged.report.holds(self.level)
    }

    /// For people.
    pub(super) fn shown(&self, file: &Path, out: Out, term: &Term) -> String {
        let Self { model, level, judged } = self;
        let (style, verdict) = if self.holds() { (Style::Green, "ok") } else { (Style::Red, "violation") };
        let mut text = format!("{}: {}", file.display(), term.paint(out, style, verdict));
        let transactions = counted(judged.lines.len() as u64, "transaction");
        let (committed, aborted) = (count(judged.committed as u64), count(judged.aborted as u64));
        let _ = writeln!(
            text,
            " ({}, {}, {transactions}, {committed} committed, {aborted} aborted)",
            model.name,
            level.name()
        );
        if judged.report.anomalies.is_empty() {
            return text;
        }
        let _ = writeln!(text, "  holds       {}", self.strongest());
        let (forbidden, allowed): (Vec<&Anomaly>, Vec<&Anomaly>) =
            self.shortest_first().into_iter().partition(|a| level.forbids(a.kind, a.order));
        if let Some(anomaly) = judged.report.first_against(*level) {
            let _ = writeln!(text, "  signature   {}", signature(anomaly));
        }
        text += &self.listed("forbidden", &forbidden);
        text += &self.listed("allowed", &allowed);
        text
    }

    /// Anomalies under a heading, each with the lines of its transactions.
    fn listed(&self, heading: &str, anomalies: &[&Anomaly]) -> String {
        let mut text = String::new();
        if !anomalies.is_empty() {
            let _ = writeln!(text, "  {heading}");
        }
        for anomaly in anomalies.iter().take(ANOMALIES_MAX) {
            let lines = anomaly.transactions.iter().map(|t| format!("T{t} {}", self.line(*t)));
            let lines = lines.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "    {anomaly}\n      invoked in lines: {lines}");
        }
        if let Some(more) = anomalies.len().checked_sub(ANOMALIES_MAX).filter(|more| *more > 0) {
            let _ = writeln!(text, "    … and {} more; --json has all of them", count(more as u64));
        }
        text
    }

    /// For machines. `operations` are transactions, and those that committed were `answered`.
    pub(super) fn document(&self, file: &Path) -> Value {
        let Self { model, level, judged } = self;
        let first = judged.report.first_against(*level);
        let anomaly = |anomaly: &Anomaly| {
            let lines = anomaly.transactions.iter().map(|t| self.line(*t));
            let mut document = json!(anomaly);
            document["lines"] = lines.collect();
            document["forbidden"] = json!(level.forbids(anomaly.kind, anomaly.order));
            document
        };
        json!({
            "file": file,
            "model": model.name,
            "consistency": level.name(),
            "verdict": first.map_or_else(|| json!("Ok"), |first| json!({ "Violation": anomaly(first) })),
            "signature": first.map(signature),
            "line": first.map(|first| self.line(first.transactions[0])),
            "operations": judged.lines.len(),
            "answered": judged.committed,
            "aborted": judged.aborted,
            "holds": judged.report.strongest().into_iter().map(Level::name).collect::<Vec<_>>(),
            "anomalies": self.shortest_first().into_iter().map(anomaly).collect::<Vec<_>>(),
        })
    }

    /// What can be understood soonest comes first; among that the gravest.
    fn shortest_first(&self) -> Vec<&Anomaly> {
        let mut anomalies: Vec<&Anomaly> = self.judged.report.anomalies.iter().collect();
        anomalies.sort_by_key(|anomaly| anomaly.transactions.len());
        anomalies
    }

    fn strongest(&self) -> String {
        let names: Vec<&str> = self.judged.report.strongest().into_iter().map(Level::name).collect();
        if names.is_empty() { "no level".to_owned() } else { names.join(", ") }
    }

    /// Where a transaction was invoked.
    fn line(&self, transaction: u32) -> usize {
        self.judged.lines[transaction as usize]
    }
}

/// The same as of transactions that were simulated.
fn signature(anomaly: &Anomaly) -> String {
    format!("isolation/{}", anomaly.kind)
}

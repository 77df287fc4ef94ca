//! A run's report as people read it.

use std::fmt::Write;
use std::time::Duration;

use testbed::plan::Plan;
use testbed::{Report, Verdict};

use crate::term::{Out, Style, Term};
use crate::text::{bytes, count, counted, short, span, table};

/// More lines of evidence than this are left to `--json`.
const EVIDENCE_MAX: usize = 60;

/// The verdict in its colour.
pub(crate) fn verdict(verdict: &Verdict, out: Out, term: &Term) -> String {
    let style = match verdict {
        Verdict::Ok => Style::Green,
        Verdict::Violation(_) => Style::Red,
        Verdict::Inconclusive { .. } => Style::Yellow,
    };
    term.paint(out, style, verdict).to_string()
}

/// What a violation says: its sentence, its signature and what shows it.
pub(crate) fn evidence(verdict: &Verdict) -> String {
    let Verdict::Violation(finding) = verdict else { return String::new() };
    let mut text = format!("{:<11} {}\n{:<11} {}\n", "", finding.message, "signature", finding.signature);
    if !finding.evidence.is_empty() {
        text += "evidence\n";
    }
    for line in finding.evidence.iter().take(EVIDENCE_MAX) {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(more) = finding.evidence.len().checked_sub(EVIDENCE_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "  … and {more} lines more; --json has all of them");
    }
    text
}

/// The whole report of a run that took `took` on this machine.
pub(crate) fn report(plan: &Plan, report: &Report, took: Duration, out: Out, term: &Term) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<11} {value}");
    };
    let world = &plan.world;
    let bug = report.bug.map_or(String::new(), |bug| format!(", with the bug {bug} planted"));
    line("scenario", format!("{}, seed {}{bug}", report.scenario, report.seed));
    line(
        "cluster",
        format!(
            "{} of {} on {}, {}",
            counted(world.nodes.into(), "node"),
            plan.protocol,
            plan.engine,
            counted(world.clients.into(), "client")
        ),
    );
    line("verdict", verdict(&report.verdict, out, term));
    let simulated = Duration::from_nanos(report.simulated.0);
    line(
        "simulated",
        format!(
            "{} in {}: {} times as fast as real time, {} events",
            span(simulated),
            span(took),
            short(simulated.as_secs_f64() / took.as_secs_f64().max(1e-9)),
            count(report.world.events)
        ),
    );
    let operations = &report.operations;
    line(
        "operations",
        format!(
            "{} invoked, {} answered, {} of unknown outcome, {} still open",
            count(operations.invoked),
            count(operations.answered),
            count(operations.unknown),
            count(operations.open)
        ),
    );
    line(
        "messages",
        format!(
            "{} sent, {} delivered, {} lost, {} cut by a partition, {} to nodes that were down",
            count(report.world.messages_sent),
            count(report.world.messages_delivered),
            count(report.world.messages_lost),
            count(report.world.messages_partitioned),
            count(report.world.messages_to_down)
        ),
    );
    line(
        "disks",
        format!(
            "{} fsyncs, {} writes of {}, {} reads",
            count(report.world.disk_flushes),
            count(report.world.disk_writes),
            bytes(report.world.disk_bytes_written),
            count(report.world.disk_reads)
        ),
    );
    line(
        "cluster did",
        format!(
            "{}, {}, {} entries applied, {} journal records in {} group commits",
            counted(report.seen.elections, "election"),
            counted(report.world.crashes, "crash"),
            count(report.seen.entries_applied),
            count(report.storage.journal_records),
            count(report.storage.journal_flushes)
        ),
    );
    let latency = &report.latency;
    let micros = |micros| span(Duration::from_micros(micros));
    line(
        "latency",
        format!(
            "p50 {}, p90 {}, p99 {}, max {}",
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.max)
        ),
    );
    line("faults", report.extent.to_string());
    line("digest", report.digest.to_string());
    text += &evidence(&report.verdict);
    text += "what happened\n";
    let rows: Vec<_> = report.counts().map(|(name, n)| vec![name.to_owned(), count(n)]).collect();
    text += &table(2, &rows);
    if !report.fired.is_empty() {
        text += "faults\n";
    }
    for fired in &report.fired {
        let _ = writeln!(text, "  {fired}");
    }
    text
}

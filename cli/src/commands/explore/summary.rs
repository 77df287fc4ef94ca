//! What an exploration came to, as people and as machines read it.

use std::fmt::Write;

use serde_json::json;
use testbed::explore::Exploration;

use super::{End, Explored};
use crate::args::ExploreArgs;
use crate::commands::numbered;
use crate::term::{Out, Style, Term};
use crate::text::{bytes, count, quoted, short, span, table};

/// Prints the summary.
pub(super) fn show(args: &ExploreArgs, exploration: &Exploration, explored: &Explored, term: &Term) {
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", document(exploration, explored)));
    }
    let out = Term::people(args.json);
    let Explored { outcome, took, memory, .. } = explored;
    let mut text = format!("{}\n", term.paint(out, Style::Bold, &exploration.protocol));
    let unique = outcome.progress.unique;
    let mut rows = vec![
        vec!["states".to_owned(), count(unique)],
        vec!["steps".to_owned(), count(outcome.progress.states)],
        vec!["depth".to_owned(), count(outcome.progress.depth)],
        vec!["time".to_owned(), span(*took)],
        vec!["states/s".to_owned(), short(unique as f64 / took.as_secs_f64().max(1e-3))],
    ];
    if let Some(memory) = memory {
        rows.push(vec!["memory".to_owned(), bytes(*memory)]);
        rows.push(vec!["memory/state".to_owned(), bytes(memory / unique.max(1))]);
    }
    text += &table(2, &rows);
    let _ = writeln!(text, "  reached: {}", listed(&outcome.reached));
    let _ = writeln!(text, "  not reached: {}", listed(&outcome.missed));
    for law in &outcome.laws {
        let verdict = match &outcome.found {
            Some(found) if found.law == *law => term.paint(out, Style::Red, "violated"),
            Some(_) => term.paint(out, Style::Dim, "not broken before that"),
            None if outcome.complete => term.paint(out, Style::Green, "holds"),
            None => term.paint(out, Style::Yellow, "not broken so far"),
        };
        let _ = writeln!(text, "  {law:<22} {verdict}");
    }
    text += &ending(exploration, explored, out, term);
    term.write(out, &text);
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn ending(exploration: &Exploration, explored: &Explored, out: Out, term: &Term) -> String {
    let Explored { outcome, end, depth, saved, .. } = explored;
    if let Some(found) = &outcome.found {
        let mut text = format!("{}: {}\n", term.paint(out, Style::Red, &found.law), found.message);
        text += &numbered(&found.steps);
        if let Some(saved) = saved {
            let again = quoted(&saved.display().to_string());
            text += &format!("{} seedbed replay {again}\n", term.paint(out, Style::Bold, "reproduce: "));
        }
        return text;
    }
    if outcome.complete {
        let deep = exploration.bounds.depth.map_or(String::new(), |depth| format!(", {depth} actions deep"));
        return format!("{} within the bounds{deep}\n", term.paint(out, Style::Green, "complete"));
    }
    let why = match end {
        End::Done => "the search ended before it was complete",
        End::Time => "the time is over",
        End::Memory => "it would take more memory",
        End::Interrupted => "interrupted",
    };
    let deep = depth.map_or(String::new(), |depth| format!("; complete up to {depth} actions deep"));
    format!("{}: {why}{deep}\n", term.paint(out, Style::Yellow, "incomplete"))
}

fn document(exploration: &Exploration, explored: &Explored) -> serde_json::Value {
    let Explored { outcome, end, depth, took, memory, saved } = explored;
    let end = match end {
        _ if outcome.found.is_some() => "violation",
        End::Done => "done",
        End::Time => "time",
        End::Memory => "memory",
        End::Interrupted => "interrupted",
    };
    json!({
        "exploration": exploration,
        "outcome": outcome,
        "end": end,
        "complete_to_depth": depth,
        "seconds": took.as_secs_f64(),
        "peak_memory_bytes": memory,
        "saved": saved,
    })
}

//! What a sweep came to, as people and as machines read it.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use testbed::units::format_duration;

use super::{End, Part, Sweep};
use crate::args::SweepArgs;
use crate::commands::{changed, reproduce};
use crate::term::{Out, Style, Term};
use crate::text::{count, counted, percent, quoted, short, span, table};

/// Prints the summary.
pub(super) fn show(args: &SweepArgs, sweep: &Sweep, term: &Term) {
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", document(args, sweep)));
    }
    let out = Term::people(args.json);
    let mut text = String::new();
    for part in &sweep.parts {
        text += &scenario(args, part, sweep, out, term);
        text.push('\n');
    }
    for (path, seed) in &sweep.unstable {
        let label = term.paint(out, Style::Red, "not deterministic");
        let _ = writeln!(text, "{label}: two runs of {} with seed {seed} differ", path.display());
    }
    if sweep.parts.len() > 1 {
        text += &together(args, sweep, out, term);
    }
    text += &ending(args, sweep);
    term.write(out, &text);
}

/// How long so many runs took, and how many a second that makes.
fn pace(runs: u64, took: Duration) -> String {
    format!("{}: {} per second", span(took), short(runs as f64 / took.as_secs_f64().max(1e-3)))
}

/// What a sweep of several scenarios came to, so that nobody has to look through all of them for what was found.
fn together(args: &SweepArgs, sweep: &Sweep, out: Out, term: &Term) -> String {
    let sum = |of: fn(&Part) -> u64| sweep.parts.iter().map(of).sum::<u64>();
    let (runs, violations) = (sum(|part| part.tally.runs), sum(|part| part.tally.violations()));
    let mut text = format!(
        "{}, {} in {}: {}, {} inconclusive\n",
        counted(sweep.parts.len() as u64, "scenario"),
        counted(runs, "run"),
        pace(runs, sweep.took),
        counted(violations, "violation"),
        count(sum(|part| part.tally.inconclusive)),
    );
    for part in &sweep.parts {
        for (signature, group) in &part.tally.findings {
            let label = term.paint(out, Style::Red, "finding");
            let (name, seeds) = (part.scenario.name(), counted(group.seeds, "seed"));
            let again = reproduce(part.scenario.source(), &args.changes, group.first);
            let _ = writeln!(text, "  {label} {signature} of {name}: {seeds}\n    reproduce: {again}");
        }
    }
    text
}

fn scenario(args: &SweepArgs, part: &Part, sweep: &Sweep, out: Out, term: &Term) -> String {
    let tally = &part.tally;
    let mut text = format!("{}\n", term.paint(out, Style::Bold, part.scenario.name()));
    let simulated = Duration::from_nanos(u64::try_from(tally.simulated_ns).unwrap_or(u64::MAX));
    let _ = write!(text, "  {}, {} simulated", counted(tally.runs, "seed"), span(simulated));
    // Several scenarios take turns: none of them has a time of its own.
    if let [_] = &sweep.parts[..] {
        let _ = write!(text, " in {}", pace(tally.runs, sweep.took));
    }
    text.push('\n');
    let style = |number: u64, style| if number > 0 { style } else { Style::Dim };
    let _ = writeln!(
        text,
        "  {}, {}, {}",
        term.paint(out, style(tally.ok, Style::Green), format!("{} ok", count(tally.ok))),
        term.paint(out, style(tally.violations(), Style::Red), counted(tally.violations(), "violation")),
        term.paint(
            out,
            style(tally.inconclusive, Style::Yellow),
            format!("{} inconclusive", count(tally.inconclusive))
        ),
    );
    if let Some(digest) = tally.digest {
        let _ = writeln!(text, "  digest {digest}, the sum over its seeds");
    }
    let mut rows = vec![["what happened", "in seeds", "total"].map(str::to_owned).to_vec()];
    rows.extend(
        tally
            .counts
            .iter()
            .map(|(name, n)| vec![(*name).to_owned(), percent(n.runs, tally.runs), count(n.total)]),
    );
    text += &table(2, &rows);
    for missed in tally.missed(&part.scenario.sometimes()) {
        let label = term.paint(out, Style::Yellow, "not reached");
        let asked = if missed.share > 0.0 {
            format!("{} % of the seeds were asked for", missed.share * 100.0)
        } else {
            "no seed came to it".to_owned()
        };
        let _ = writeln!(text, "  {label} {}: {asked}", missed.situation);
    }
    for (signature, group) in &tally.findings {
        let label = term.paint(out, Style::Red, "finding");
        let _ = writeln!(text, "  {label} {signature}: {}", counted(group.seeds, "seed"));
        let _ = writeln!(text, "    {}", group.message);
        let replays = &part.replays[signature];
        for replay in replays.values().take(1) {
            let _ = writeln!(text, "    replay:    {} ({} saved)", replay.display(), replays.len());
        }
        let _ = writeln!(
            text,
            "    reproduce: {}",
            reproduce(part.scenario.source(), &args.changes, group.first)
        );
    }
    if !tally.inconclusive_seeds.is_empty() {
        let seeds: Vec<_> = tally.inconclusive_seeds.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  inconclusive: seeds {}", seeds.join(", "));
    }
    text
}

fn ending(args: &SweepArgs, sweep: &Sweep) -> String {
    let done = sweep.done.as_ref().map_or("none".to_owned(), ToString::to_string);
    let why = match sweep.end {
        End::Done => return format!("seeds {done} are done\n"),
        End::Time => "the time is over",
        End::Failures => "enough was found (--max-failures)",
        End::Interrupted => "interrupted",
    };
    let Some(rest) = &sweep.rest else { return format!("{why}; seeds {done} are done\n") };
    let mut words = vec!["seedbed".to_owned(), "sweep".to_owned()];
    words.extend(args.scenarios.iter().map(|path| quoted(&path.display().to_string())));
    words.extend(["--seeds".to_owned(), rest.to_string()]);
    words.extend(args.time.iter().flat_map(|time| ["--for".to_owned(), format_duration(*time)]));
    words.extend(args.changes.row.iter().flat_map(|row| ["--row".to_owned(), quoted(row)]));
    words.extend(changed(&args.changes));
    words.extend(args.require_sometimes.then(|| "--require-sometimes".to_owned()));
    words.extend(["--out".to_owned(), quoted(&args.out.display().to_string())]);
    format!("{why}; seeds done: {done}; go on with\n  {}\n", words.join(" "))
}

fn document(args: &SweepArgs, sweep: &Sweep) -> serde_json::Value {
    let part = |part: &Part| {
        json!({
            "file": part.path,
            "scenario": part.scenario.name(),
            "tally": part.tally,
            "not_reached": part.tally.missed(&part.scenario.sometimes()),
            "replays": part.replays,
        })
    };
    let end = match sweep.end {
        End::Done => "done",
        End::Time => "time",
        End::Failures => "failures",
        End::Interrupted => "interrupted",
    };
    json!({
        "scenarios": sweep.parts.iter().map(part).collect::<Vec<_>>(),
        "bug": args.changes.bug,
        "set": args.changes.set,
        "end": end,
        "seeds_done": sweep.done.as_ref().map(ToString::to_string),
        "seeds_left": sweep.rest.as_ref().map(ToString::to_string),
        "seconds": sweep.took.as_secs_f64(),
        "not_deterministic": sweep.unstable.iter().map(|(path, seed)| json!({ "file": path, "seed": seed })).collect::<Vec<_>>(),
    })
}

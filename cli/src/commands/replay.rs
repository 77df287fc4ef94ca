//! `seedbed replay`: saved runs again, with their verdicts and digests compared.
//!
//! A replay that comes out as it was saved counts by its verdict: a reproduced violation is a
//! violation. One that does not is run once more, which tells a run that is not deterministic from a
//! Seedbed or a code under test that changed.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use serde_json::{Value, json};
use testbed::replay::{Replay, Saved};
use testbed::report::Fired;
use testbed::trail::{Recorder, Trail};
use testbed::{Digest, Report, RunOptions};

use super::retrace;
use crate::args::ReplayArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::show;
use crate::term::{Out, Style, Term};

/// Runs all of them, even if one diverges.
pub(crate) fn run(args: &ReplayArgs, term: &Term) -> Result<Exit, Problem> {
    // All are read before one is run: a bad file should not wait for the others.
    let replays = args.files.iter().map(|file| Saved::load(file)).collect::<Result<Vec<_>, _>>()?;
    let mut worst = Exit::Holds;
    let mut documents = Vec::new();
    let out = Term::people(args.json);
    for (file, saved) in args.files.iter().zip(&replays) {
        let (exit, document) = match saved {
            Saved::Run(replay) => one(args, (file, replay), out, term)?,
            Saved::Exploration(trace) => retrace::one(args, (file, trace), out, term)?,
        };
        documents.push(document);
        // What diverged says nothing about what holds, so it is told before a violation.
        let rank =
            |exit: Exit| [Exit::Holds, Exit::Inconclusive, Exit::Violation].iter().position(|e| *e == exit);
        if rank(exit).unwrap_or(usize::MAX) > rank(worst).unwrap_or(usize::MAX) {
            worst = exit;
        }
    }
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", json!({ "replays": documents })));
    }
    Ok(worst)
}

fn one(
    args: &ReplayArgs,
    (file, replay): (&Path, &Replay),
    out: Out,
    term: &Term,
) -> Result<(Exit, Value), Problem> {
    if let Some(path) = &args.trace {
        let (lines, ..) = traced(replay);
        let text = lines.join("\n") + "\n";
        fs::write(path, text).map_err(|error| Problem::Write(path.clone(), error))?;
    }
    let report = testbed::run(&replay.plan, RunOptions::default()).report;
    let same = report.verdict.agrees(&replay.verdict) && report.digest == replay.digest;
    let mut text = format!("{}\n", term.paint(out, Style::Bold, file.display()));
    text += &format!("scenario    {}, seed {}\n", report.scenario, report.seed);
    text += &notes(replay);
    let exit = if same {
        text += &format!("reproduced  {}\n", show::verdict(&report.verdict, out, term));
        text += &show::evidence(&report.verdict);
        text += &format!("digest      {}\n", report.digest);
        Exit::of(&report.verdict)
    } else {
        text += &format!("{}\n", term.paint(out, Style::Red, "diverged"));
        text += &divergence(replay, &report, out, term);
        text += &where_it_parts(replay, report.digest, args.against.as_deref())?;
        Exit::Diverged
    };
    term.write(out, &(text + "\n"));
    let saved = json!({ "verdict": replay.verdict, "digest": replay.digest });
    Ok((exit, json!({ "file": file, "reproduced": same, "report": report, "saved": saved })))
}

/// What is not as it was when the replay was saved.
fn notes(replay: &Replay) -> String {
    let mut text = String::new();
    if replay.seedbed != env!("CARGO_PKG_VERSION") {
        text += &format!(
            "note        saved by Seedbed {}, this is {}\n",
            replay.seedbed,
            env!("CARGO_PKG_VERSION")
        );
    }
    let source = &replay.scenario;
    match fs::read_to_string(&source.file) {
        Ok(now) if now != source.text => {
            text += &format!("note        {} has changed since; the saved plan is what runs\n", source.file);
        }
        _ => {}
    }
    text
}

fn divergence(replay: &Replay, report: &Report, out: Out, term: &Term) -> String {
    let mut text = String::new();
    let mut row = |what: &str, saved: String, now: String| {
        let mark = if saved == now { "same   " } else { "changed" };
        text += &format!("  {mark} {what:<8} saved {saved}\n{:19}now   {now}\n", "");
    };
    row("verdict", show::verdict(&replay.verdict, out, term), show::verdict(&report.verdict, out, term));
    row("digest", replay.digest.to_string(), report.digest.to_string());
    if let Some((saved, now)) = first_difference(&replay.fired, &report.fired) {
        row("faults", saved, now);
    }
    text
}

/// The first fault that did not fire as it did then.
fn first_difference(saved: &[Fired], now: &[Fired]) -> Option<(String, String)> {
    let told = |fired: Option<&Fired>| fired.map_or("nothing more".to_owned(), ToString::to_string);
    let place = (0..saved.len().max(now.len())).find(|place| saved.get(*place) != now.get(*place))?;
    Some((told(saved.get(place)), told(now.get(place))))
}

/// How many events that both runs share are shown before the first that differs.
const BEFORE: usize = 10;

/// Says where the run left the saved one's path: exactly, if this binary differs from itself or the
/// saved run's trace is at hand, else as closely as the replay's own record tells.
fn where_it_parts(replay: &Replay, digest: Digest, against: Option<&Path>) -> Result<String, Problem> {
    let (now, trail, again) = traced(replay);
    let (later, _, later_digest) = traced(replay);
    if again != digest || later_digest != digest || now != later {
        let sides = both_sides(&now, &later, ("one run", "another"));
        return Ok(format!("not deterministic: two runs of this binary differ\n{sides}"));
    }
    let mut text =
        "this binary gives the same digest each time: the code has changed since the replay was saved\n"
            .to_owned();
    if let Some(path) = against {
        let saved = fs::read_to_string(path).map_err(|error| Problem::Read(path.to_owned(), error))?;
        let saved: Vec<String> = saved.lines().map(str::to_owned).collect();
        return Ok(text + &both_sides(&saved, &now, ("saved", "now")));
    }
    match replay.trail.parting(&trail) {
        Some(parting) => {
            text += &format!(
                "the first event that differs is after event {} and not after event {}; now\n",
                parting.same, parting.differs_by
            );
            let from = (parting.same as usize).saturating_sub(BEFORE);
            // In a long run the record is coarse: then its next few events are shown.
            let to = (parting.differs_by as usize).min(parting.same as usize + BEFORE).min(now.len());
            for (number, line) in (from + 1..).zip(&now[from.min(to)..to]) {
                let mark = if number as u64 <= parting.same { ' ' } else { '?' };
                text += &format!("  {mark} {number}: {line}\n");
            }
        }
        None => text += "the replay has no record of its events\n",
    }
    text += "to see both sides, write a trace with the Seedbed that saved it, `seedbed replay FILE --trace T`, \
             and give it to this one: `seedbed replay FILE --against T`\n";
    Ok(text)
}

/// The first event that differs, with those before it.
fn both_sides(one: &[String], other: &[String], names: (&str, &str)) -> String {
    let longer = one.len().max(other.len());
    let Some(place) = (0..longer).find(|place| one.get(*place) != other.get(*place)) else {
        return "  no event differs in its text, but the digests do\n".to_owned();
    };
    let mut text = String::new();
    let from = place.saturating_sub(BEFORE);
    for (number, line) in (from + 1..).zip(&one[from..place]) {
        text += &format!("  both {number}: {line}\n");
    }
    for (name, lines) in [(names.0, one), (names.1, other)] {
        let line = lines.get(place).map_or("the end of the run", String::as_str);
        text += &format!("  {name} {}: {line}\n", place + 1);
    }
    text
}

fn traced(replay: &Replay) -> (Vec<String>, Trail, Digest) {
    let (sender, lines) = mpsc::channel();
    let recorder = Recorder::default();
    let mut record = recorder.sink();
    let trace = Box::new(move |line: &str| {
        record(line);
        sender.send(line.to_owned()).expect("the receiver outlives the run");
    });
    let report =
        testbed::run(&replay.plan, RunOptions { trace: Some(trace), ..RunOptions::default() }).report;
    (lines.try_iter().collect(), recorder.trail(), report.digest)
}

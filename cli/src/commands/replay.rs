//! `seedbed replay`: saved runs again, with their verdicts and digests compared.
//!
//! A replay that comes out as it was saved counts by its verdict: a reproduced violation is a
//! violation. One that does not is run once more, which tells a run that is not deterministic from a
//! Seedbed or a code under test that changed.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use serde_json::{Value, json};
use testbed::replay::Replay;
use testbed::report::Fired;
use testbed::{Report, RunOptions};

use crate::args::ReplayArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::show;
use crate::term::{Out, Style, Term};

/// Runs all of them, even if one diverges.
pub(crate) fn run(args: &ReplayArgs, term: &Term) -> Result<Exit, Problem> {
    // All are read before one is run: a bad file should not wait for the others.
    let replays = args.files.iter().map(|file| Replay::load(file)).collect::<Result<Vec<_>, _>>()?;
    let mut worst = Exit::Holds;
    let mut documents = Vec::new();
    for (file, replay) in args.files.iter().zip(&replays) {
        let (exit, document) = one(file, replay, Term::people(args.json), term);
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

fn one(file: &Path, replay: &Replay, out: Out, term: &Term) -> (Exit, Value) {
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
        Exit::Diverged
    };
    term.write(out, &(text + "\n"));
    (
        exit,
        json!({ "file": file, "reproduced": same, "report": report, "saved": { "verdict": replay.verdict, "digest": replay.digest } }),
    )
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
    text += &match second_look(replay, report) {
        Some(difference) => format!("not deterministic: two runs of this binary differ\n{difference}"),
        None => {
            "this binary gives the same digest each time: the code has changed since the replay was saved\n"
                .to_owned()
        }
    };
    text
}

/// The first fault that did not fire as it did then.
fn first_difference(saved: &[Fired], now: &[Fired]) -> Option<(String, String)> {
    let told = |fired: Option<&Fired>| fired.map_or("nothing more".to_owned(), ToString::to_string);
    let place = (0..saved.len().max(now.len())).find(|place| saved.get(*place) != now.get(*place))?;
    Some((told(saved.get(place)), told(now.get(place))))
}

/// Runs the plan twice more with their traces compared; the first event that differs, if one does.
fn second_look(replay: &Replay, report: &Report) -> Option<String> {
    let (first, digest) = traced(replay);
    let (second, other_digest) = traced(replay);
    if digest == other_digest && digest == report.digest.to_string() {
        return None;
    }
    let place = (0..first.len().max(second.len())).find(|place| first.get(*place) != second.get(*place));
    let told = |lines: &[String], place: usize| {
        lines.get(place).map_or("the end of the run".to_owned(), String::clone)
    };
    Some(match place {
        Some(place) => {
            format!(
                "  event {} was {}\n  and then {}\n",
                place + 1,
                told(&first, place),
                told(&second, place)
            )
        }
        None => "  no event differs in its text, but the digests do\n".to_owned(),
    })
}

fn traced(replay: &Replay) -> (Vec<String>, String) {
    let (sender, lines) = mpsc::channel();
    let trace =
        Box::new(move |line: &str| sender.send(line.to_owned()).expect("the receiver outlives the run"));
    let report = testbed::run(&replay.plan, RunOptions { trace: Some(trace) }).report;
    (lines.try_iter().collect(), report.digest.to_string())
}

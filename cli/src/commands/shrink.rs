//! `seedbed shrink`: the smallest plan that still fails in the same way.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;
use testbed::Seed;
use testbed::plan::Plan;
use testbed::replay::Replay;
use testbed::scenario::{Scenario, Source};
use testbed::shrink::{Effort, Progress, Shrunk, Size, shrink};

use crate::args::ShrinkArgs;
use crate::crew::Crew;
use crate::exit::Exit;
use crate::interrupt::stop_on_interrupt;
use crate::problem::Problem;
use crate::show;
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Style, Term};
use crate::text::{count, counted, quoted, span};

/// How often a line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shrinks it and saves what is left as a replay.
pub(crate) fn run(args: &ShrinkArgs, term: &Term) -> Result<Exit, Problem> {
    let (source, plan) = load(args)?;
    let watch = Stopwatch::start();
    let stop = stop_on_interrupt();
    let target = if term.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let mut last_line = Duration::ZERO;
    let proceed = |progress: Progress| {
        let text = format!("{} runs: {}", count(progress.runs), size(&progress.size));
        if term.watched {
            bar.set_message(text);
            bar.tick();
        } else if watch.elapsed() >= last_line + LINE_EVERY {
            last_line = watch.elapsed();
            term.write(Out::Stderr, &format!("{} {text}\n", span(last_line)));
        }
        !stop.load(Ordering::Relaxed)
    };
    let shrunk = shrink(&plan, Effort::default(), &Crew::of(args.jobs), proceed);
    bar.finish_and_clear();
    let out = Term::people(args.json);
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(passes) => {
            term.write(out, &format!("nothing to shrink: {passes}\n"));
            return Ok(Exit::of(&passes.verdict));
        }
    };
    let path = args.out.clone().unwrap_or_else(|| beside(&args.target, &shrunk.plan));
    Replay::record(source, shrunk.plan.clone()).save(&path)?;
    if args.json {
        let document = json!({
            "replay": path, "before": shrunk.before, "after": shrunk.after, "runs": shrunk.runs,
            "cut_short": shrunk.cut_short, "report": shrunk.report,
        });
        term.write(Out::Stdout, &format!("{document:#}\n"));
    }
    term.write(out, &text(&shrunk, &path, watch.elapsed(), out, term));
    Ok(if stop.load(Ordering::Relaxed) { Exit::Interrupted } else { Exit::of(&shrunk.report.verdict) })
}

fn load(args: &ShrinkArgs) -> Result<(Source, Plan), Problem> {
    if args.target.extension().is_some_and(|extension| extension == "json") {
        let replay = Replay::load(&args.target)?;
        return Ok((replay.scenario, replay.plan));
    }
    let scenario = Scenario::load_row(&args.target, &args.changes.set, args.changes.row.as_deref())?;
    let plan = scenario.plan(Seed(args.seed), args.changes.bug)?;
    Ok((scenario.source().clone(), plan))
}

/// Where the small replay goes if nobody says: beside a replay, or among the other finds.
fn beside(target: &Path, plan: &Plan) -> PathBuf {
    let name = target.file_stem().map_or("shrunk".into(), |stem| stem.to_string_lossy().into_owned());
    if target.extension().is_some_and(|extension| extension == "json") {
        return target.with_file_name(format!("{name}-small.json"));
    }
    PathBuf::from("runs").join(format!("{name}-{}-small.json", plan.seed))
}

fn size(size: &Size) -> String {
    format!(
        "{}, {}, {}, {}, {}",
        counted(size.faults as u64, "fault"),
        counted(size.operations as u64, "operation"),
        counted(size.clients.into(), "client"),
        counted(size.nodes.into(), "node"),
        span(Duration::from_nanos(size.time.0)),
    )
}

fn text(shrunk: &Shrunk, path: &Path, took: Duration, out: Out, term: &Term) -> String {
    let mut text = format!("before      {}\n", size(&shrunk.before));
    text += &format!("after       {}\n", size(&shrunk.after));
    text += &format!("effort      {} in {}\n", counted(shrunk.runs, "run"), span(took));
    if shrunk.cut_short {
        text += "            it ended before nothing more could be left out; shrink the result to go on\n";
    }
    text += &format!("verdict     {}\n", show::verdict(&shrunk.report.verdict, out, term));
    text += &show::evidence(&shrunk.report.verdict);
    for fired in &shrunk.report.fired {
        text += &format!("  {fired}\n");
    }
    let again = format!("seedbed replay {}", quoted(&path.display().to_string()));
    text + &format!("{} {again}\n", term.paint(out, Style::Bold, "reproduce: "))
}

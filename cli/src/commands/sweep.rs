//! `seedbed sweep`: scenarios with many seeds, on all cores.
//!
//! Seeds are handed out in order, and a seed that was begun is finished. So what was done is always
//! the first part of what was asked for, and what is left is a range to go on with.

mod progress;
mod summary;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use testbed::replay::Replay;
use testbed::scenario::{Scenario, ScenarioError, Seeds};
use testbed::sweep::Tally;
use testbed::{Bug, Report, RunOptions, Seed, Verdict};

use crate::args::SweepArgs;
use crate::exit::Exit;
use crate::interrupt::stop_on_interrupt;
use crate::problem::Problem;
use crate::stopwatch::Stopwatch;
use crate::term::Term;
use progress::Progress;

/// How many replays are saved of failures that are the same finding.
const REPLAYS_PER_FINDING: usize = 10;
/// How often the clock and the keyboard are looked at.
const TICK: Duration = Duration::from_millis(100);

/// One scenario of a sweep, and what came of it so far.
pub(crate) struct Part {
    /// The file, as it was given.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) scenario: Scenario,
    /// The sum of its runs.
    pub(crate) tally: Tally,
    /// Saved replays by signature.
    pub(crate) replays: BTreeMap<String, BTreeMap<Seed, PathBuf>>,
}

/// Why a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All seeds are done.
    Done,
    /// The time is over.
    Time,
    /// Enough was found.
    Failures,
    /// The user said so.
    Interrupted,
}

/// A sweep that ended.
pub(crate) struct Sweep {
    /// Its scenarios.
    pub(crate) parts: Vec<Part>,
    /// Why it ended.
    pub(crate) end: End,
    /// The seeds that all scenarios were run with.
    pub(crate) done: Option<Seeds>,
    /// The seeds that are left.
    pub(crate) rest: Option<Seeds>,
    /// How long it took.
    pub(crate) took: Duration,
    /// Runs that came out differently when they were repeated.
    pub(crate) unstable: Vec<(PathBuf, Seed)>,
}

/// What a worker did.
struct Outcome {
    part: usize,
    seed: Seed,
    report: Result<Report, ScenarioError>,
    /// Whether a repetition, if one was made, gave the same digest.
    stable: bool,
}

/// Runs the sweep and tells what it came to.
pub(crate) fn run(args: &SweepArgs, term: &Term) -> Result<Exit, Problem> {
    let mut parts = Vec::new();
    for path in &args.scenarios {
        let scenarios = match &args.changes.row {
            Some(row) => vec![Scenario::load_row(path, &args.changes.set, Some(row))?],
            None => Scenario::load_all(path, &args.changes.set)?,
        };
        parts.extend(scenarios.into_iter().map(|scenario| Part {
            path: path.clone(),
            scenario,
            tally: Tally::default(),
            replays: BTreeMap::new(),
        }));
    }
    let seeds = args.seeds.clone().unwrap_or_else(|| Seeds::range(0, u64::MAX));
    let sweep = sweep(args, parts, &seeds, term)?;
    summary::show(args, &sweep, term);
    Ok(exit(&sweep, args.require_sometimes))
}

fn exit(sweep: &Sweep, require_sometimes: bool) -> Exit {
    let missed = |part: &Part| !part.tally.missed(&part.scenario.sometimes()).is_empty();
    let any = |test: fn(&Tally) -> bool| sweep.parts.iter().any(|part| test(&part.tally));
    if sweep.end == End::Interrupted {
        Exit::Interrupted
    } else if !sweep.unstable.is_empty() {
        Exit::Diverged
    } else if any(|tally| tally.violations() > 0) {
        Exit::Violation
    } else if any(|tally| tally.inconclusive > 0) || require_sometimes && sweep.parts.iter().any(missed) {
        Exit::Inconclusive
    } else {
        Exit::Holds
    }
}

fn sweep(args: &SweepArgs, mut parts: Vec<Part>, seeds: &Seeds, term: &Term) -> Result<Sweep, Problem> {
    let watch = Stopwatch::start();
    let stop = stop_on_interrupt();
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build().expect("threads can be started");

    let next = AtomicU64::new(0);
    let scenarios: Vec<Scenario> = parts.iter().map(|part| part.scenario.clone()).collect();
    let places = seeds.len().saturating_mul(parts.len() as u64);
    let progress = Progress::start(args, places, term);
    let (sender, outcomes) = mpsc::channel();
    let mut ended = End::Done;
    let mut unstable = Vec::new();
    let mut trouble = None;
    pool.in_place_scope(|scope| {
        for _ in 0..jobs {
            let (sender, stop, next, scenarios) = (sender.clone(), Arc::clone(&stop), &next, &scenarios);
            scope.spawn(move |_| {
                work(scenarios, seeds, args.changes.bug, next, &stop, &sender);
            });
        }
        drop(sender);
        let halt = |why: End, ended: &mut End| {
            if !stop.swap(true, Ordering::Relaxed) {
                *ended = why;
            }
        };
        loop {
            match outcomes.recv_timeout(TICK) {
                Ok(outcome) => {
                    if !outcome.stable {
                        unstable.push((parts[outcome.part].path.clone(), outcome.seed));
                    }
                    if let Err(problem) = take(args, &mut parts, outcome, &progress) {
                        trouble.get_or_insert(problem);
                        halt(End::Done, &mut ended);
                    }
                    if findings(&parts) >= args.max_failures as usize {
                        halt(End::Failures, &mut ended);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if args.time.is_some_and(|time| watch.elapsed() >= time) {
                halt(End::Time, &mut ended);
            }
            progress.tick(&parts, watch.elapsed());
        }
    });
    progress.finish();
    if let Some(problem) = trouble {
        return Err(problem);
    }
    // Workers take places in order and finish what they took.
    let complete = next.into_inner().min(places) / parts.len() as u64;
    let rest = seeds.rest(complete);
    if ended == End::Done && rest.is_some() {
        ended = End::Interrupted;
    }
    let took = watch.elapsed();
    Ok(Sweep { parts, end: ended, done: seeds.first(complete), rest, took, unstable })
}

fn work(
    scenarios: &[Scenario],
    seeds: &Seeds,
    bug: Option<Bug>,
    next: &AtomicU64,
    stop: &AtomicBool,
    outcomes: &Sender<Outcome>,
) {
    let count = scenarios.len() as u64;
    while !stop.load(Ordering::Relaxed) {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place / count >= seeds.len() {
            return;
        }
        let (part, seed) = ((place % count) as usize, seeds.get(place / count));
        let mut stable = true;
        let report = scenarios[part].plan(seed, bug).map(|plan| {
            let report = testbed::run(&plan, RunOptions::default()).report;
            // What failed is about to be saved as something that can be run again; and each scenario
            // is tried once even if nothing fails.
            if place < count || matches!(report.verdict, Verdict::Violation(_)) {
                let again = testbed::run(&plan, RunOptions::default()).report;
                stable = again.digest == report.digest && again.verdict == report.verdict;
            }
            report
        });
        if outcomes.send(Outcome { part, seed, report, stable }).is_err() {
            return;
        }
    }
}

/// Adds a run, and saves it if it failed in a way that few did before.
fn take(args: &SweepArgs, parts: &mut [Part], outcome: Outcome, progress: &Progress) -> Result<(), Problem> {
    let part = &mut parts[outcome.part];
    let report = outcome.report?;
    part.tally.add(&report);
    let Verdict::Violation(finding) = &report.verdict else { return Ok(()) };
    let saved = part.replays.entry(finding.signature.clone()).or_default();
    if saved.len() >= REPLAYS_PER_FINDING {
        return Ok(());
    }
    let plan = part.scenario.plan(outcome.seed, args.changes.bug)?;
    let bug = args.changes.bug.map_or(String::new(), |bug| format!("{bug}-"));
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = part.scenario.name().chars().map(plain).collect();
    let path = args.out.join(format!("{name}-{bug}{}.json", outcome.seed));
    Replay::record(part.scenario.source().clone(), plan).save(&path)?;
    if saved.is_empty() {
        let (what, whose, seed) = (&finding.signature, part.scenario.name(), outcome.seed);
        progress.say(&format!("finding: {what} of {whose} with seed {seed}: {}", finding.message));
    }
    saved.insert(outcome.seed, path);
    Ok(())
}

/// How many different findings there are.
fn findings(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.tally.findings.len()).sum()
}

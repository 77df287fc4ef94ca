//! `seedbed compare`: the same faults and the same clients against every cell of a matrix.

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use testbed::compare::{Axis, Cell, Difference, Estimate, FIGURES, Figure, Outcome};
use testbed::scenario::{Scenario, ScenarioError, Seeds};
use testbed::shrink::Workers;
use testbed::{RunOptions, Seed};

use super::reproduce;
use crate::args::{Changes, CompareArgs};
use crate::crew::Crew;
use crate::exit::Exit;
use crate::interrupt::stop_on_interrupt;
use crate::problem::Problem;
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Style, Term};
use crate::text::{count, counted, short, span, table};

/// How often a line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// What all cells came to, seed by seed in one order.
struct Compared {
    cells: Vec<Cell>,
    /// Per cell.
    outcomes: Vec<Vec<Outcome>>,
    interrupted: bool,
    took: Duration,
}

/// Runs every cell with every seed and tells how they differ.
pub(crate) fn run(args: &CompareArgs, term: &Term) -> Result<Exit, Problem> {
    let load = |cell: &[String]| {
        let set = [args.changes.set.as_slice(), cell].concat();
        Scenario::load_row(&args.scenario, &set, args.changes.row.as_deref())
    };
    let cells = Cell::matrix(&args.vary, load)?;
    let compared = compare(args, cells, term)?;
    if args.json {
        term.write(Out::Stdout, &format!("{:#}\n", document(args, &compared)));
    }
    if let Some(path) = &args.csv {
        write_csv(path, &compared)?;
    }
    let out = Term::people(args.json);
    term.write(out, &text(args, &compared, out, term));
    let wrong = compared.outcomes.iter().flatten().any(|outcome| outcome.wrong.is_some());
    Ok(match (compared.interrupted, wrong) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Violation,
        (false, false) => Exit::Holds,
    })
}

fn compare(args: &CompareArgs, cells: Vec<Cell>, term: &Term) -> Result<Compared, Problem> {
    let watch = Stopwatch::start();
    let stop = stop_on_interrupt();
    let crew = Crew::of(args.jobs);
    let places = args.seeds.len() * cells.len() as u64;
    let target = if term.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(places), target);
    let style =
        ProgressStyle::with_template("{elapsed_precise} {bar:30} {human_pos}/{human_len} runs  {eta} left");
    bar.set_style(style.expect("the template is well-formed"));
    let (done, last_line) = (AtomicU64::new(0), Mutex::new(Duration::ZERO));
    let results: Mutex<Vec<(usize, Result<Outcome, ScenarioError>)>> = Mutex::default();
    // All cells of a seed before the next seed, so that what is done when it is interrupted can be compared.
    crew.until(usize::try_from(places).unwrap_or(usize::MAX), &|place| {
        let (cell, seed) = (place % cells.len(), args.seeds.get((place / cells.len()) as u64));
        let outcome = cells[cell]
            .scenario
            .plan(seed, args.changes.bug)
            .map(|plan| Outcome::of(&testbed::run(&plan, RunOptions::default()).report));
        let failed = outcome.is_err();
        results.lock().expect("no worker panics").push((place, outcome));
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        bar.set_position(done);
        let mut last = last_line.lock().expect("no worker panics");
        if !term.watched && watch.elapsed() >= *last + LINE_EVERY {
            *last = watch.elapsed();
            let line = format!("{} {} of {} runs\n", span(*last), count(done), count(places));
            term.write(Out::Stderr, &line);
        }
        failed || stop.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    let mut results = results.into_inner().expect("no worker panics");
    results.sort_by_key(|(place, _)| *place);
    let whole = results.len() / cells.len();
    let interrupted = results.len() < usize::try_from(places).unwrap_or(usize::MAX);
    let mut outcomes = vec![Vec::with_capacity(whole); cells.len()];
    for (place, outcome) in results {
        let outcome = outcome?;
        // Of a seed that not every cell has run nothing can be said.
        if place / cells.len() < whole {
            outcomes[place % cells.len()].push(outcome);
        }
    }
    Ok(Compared { cells, outcomes, interrupted, took: watch.elapsed() })
}

fn estimate(figure: usize, outcomes: &[Outcome]) -> Estimate {
    Estimate::of(outcomes.iter().map(|outcome| outcome.figures[figure]))
}

fn signed(number: f64) -> String {
    let sign = if number < 0.0 { "−" } else { "+" };
    format!("{sign}{}", short(number.abs()))
}

/// The line that runs a cell with a seed.
fn run_line(args: &CompareArgs, cell: &Cell, seed: Seed) -> String {
    let set = [args.changes.set.as_slice(), &cell.set].concat();
    reproduce(cell.scenario.source(), &Changes { set, ..args.changes.clone() }, seed)
}

fn text(args: &CompareArgs, compared: &Compared, out: Out, term: &Term) -> String {
    let Compared { cells, outcomes, took, .. } = compared;
    let seeds = outcomes[0].len();
    let mut text = format!(
        "{}: {} of {} in {}; each value is a mean over the seeds ± half its 95 % confidence interval\n\n",
        term.paint(out, Style::Bold, cells[0].scenario.name()),
        counted(seeds as u64, "seed"),
        counted(cells.len() as u64, "cell"),
        span(*took),
    );
    let plain = |estimate: Estimate| match estimate.half_width.is_finite() {
        true => format!("{} ± {}", short(estimate.mean), short(estimate.half_width)),
        false => short(estimate.mean),
    };
    let mut rows = vec![[String::new()].into_iter().chain(cells.iter().map(Cell::name)).collect::<Vec<_>>()];
    // What no cell has, such as aborts where there are no transactions, is not told.
    let is_known = |(place, _): &(usize, &Figure)| {
        outcomes.iter().any(|outcomes| estimate(*place, outcomes).mean.is_finite())
    };
    for (place, figure) in FIGURES.iter().enumerate().filter(is_known) {
        let name = if figure.unit.is_empty() {
            figure.name.to_owned()
        } else {
            format!("{}, {}", figure.name, figure.unit)
        };
        let values = outcomes.iter().map(|outcomes| plain(estimate(place, outcomes)));
        rows.push([name].into_iter().chain(values).collect());
    }
    text += &table(2, &rows);
    if cells.len() > 1 {
        let _ = write!(
            text,
            "\npaired differences from {}; * where 0 lies outside of the interval\n",
            cells[0].name()
        );
        let mut rows =
            vec![[String::new()].into_iter().chain(cells[1..].iter().map(Cell::name)).collect::<Vec<_>>()];
        for (place, figure) in FIGURES.iter().enumerate().filter(is_known) {
            let values = outcomes[1..].iter().map(|these| {
                let paired = Difference::of(place, these, &outcomes[0]).paired;
                let sure = if paired.is_significant() { " *" } else { "  " };
                format!("{} ± {}{sure}", signed(paired.mean), short(paired.half_width))
            });
            rows.push([figure.name.to_owned()].into_iter().chain(values).collect());
        }
        text += &table(2, &rows);
        for (cell, these) in cells.iter().zip(outcomes).skip(1) {
            // By throughput, or whatever tells them apart if that does not.
            let apart = (0..FIGURES.len()).find_map(|place| {
                let (seed, by) = Difference::of(place, these, &outcomes[0]).furthest?;
                (by != 0.0).then_some((place, seed, by))
            });
            let Some((place, seed, by)) = apart else { continue };
            let _ = write!(
                text,
                "\nseed {seed} separates {} from {} most ({} {} {}):\n  {}\n  {}\n",
                cell.name(),
                cells[0].name(),
                FIGURES[place].name,
                signed(by),
                FIGURES[place].unit,
                run_line(args, cell, seed),
                run_line(args, &cells[0], seed),
            );
        }
    }
    for (cell, outcomes) in cells.iter().zip(outcomes) {
        let wrong: Vec<_> = outcomes.iter().filter(|outcome| outcome.wrong.is_some()).collect();
        if let Some(first) = wrong.first() {
            let what = first.wrong.as_deref().unwrap_or_default();
            let found = term.paint(out, Style::Red, format!("{} of {}", what, cell.name()));
            let _ = write!(
                text,
                "\n{found}: {}; reproduce: {}\n",
                counted(wrong.len() as u64, "seed"),
                run_line(args, cell, first.seed)
            );
        }
    }
    if compared.interrupted {
        text += &format!(
            "\ninterrupted after {}; go on with the seeds behind them\n",
            counted(seeds as u64, "seed")
        );
    }
    text
}

fn document(args: &CompareArgs, compared: &Compared) -> serde_json::Value {
    let Compared { cells, outcomes, .. } = compared;
    let cell = |(place, cell): (usize, &Cell)| {
        let figures: serde_json::Map<_, _> = (0..FIGURES.len())
            .map(|figure| {
                let difference = (place > 0).then(|| Difference::of(figure, &outcomes[place], &outcomes[0]));
                let value = json!({
                    "unit": FIGURES[figure].unit, "value": estimate(figure, &outcomes[place]), "difference": difference,
                });
                (FIGURES[figure].name.to_owned(), value)
            })
            .collect();
        json!({ "set": cell.set, "figures": figures, "seeds": outcomes[place] })
    };
    json!({
        "scenario": args.scenario, "interrupted": compared.interrupted,
        "cells": cells.iter().enumerate().map(cell).collect::<Vec<_>>(),
    })
}

/// One line per cell and seed.
fn write_csv(path: &Path, compared: &Compared) -> Result<(), Problem> {
    let names = FIGURES.map(|figure| figure.name.replace(' ', "_"));
    let mut text = format!("cell,seed,{},wrong\n", names.join(","));
    for (cell, outcomes) in compared.cells.iter().zip(&compared.outcomes) {
        for outcome in outcomes {
            let figures: Vec<String> = outcome.figures.iter().map(f64::to_string).collect();
            let wrong = outcome.wrong.as_deref().unwrap_or_default().replace(',', ";");
            let _ = writeln!(text, "{},{},{},{wrong}", cell.name(), outcome.seed, figures.join(","));
        }
    }
    std::fs::write(path, text).map_err(|error| Problem::Write(path.to_owned(), error))
}

/// `cluster.protocol=raft,zab`.
pub(crate) fn axis(text: &str) -> Result<Axis, String> {
    let Some((path, values)) = text.split_once('=') else {
        return Err("write it as cluster.protocol=raft,zab".to_owned());
    };
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(format!("a value of {path} is empty: separate values by single commas"));
    }
    Ok(Axis { path: path.trim().to_owned(), values })
}

/// Seeds that have an end.
pub(crate) fn bounded(text: &str) -> Result<Seeds, String> {
    let seeds: Seeds = text.parse().map_err(|error: testbed::scenario::SeedsError| error.to_string())?;
    if seeds.is_open() { Err("a comparison needs an end: 0..100".to_owned()) } else { Ok(seeds) }
}

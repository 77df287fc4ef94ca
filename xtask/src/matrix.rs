//! The fault matrix: each kind of fault by itself does no harm to a correct server, and bites one that
//! has a bug.
//!
//! `scenarios/faults/matrix.tsv` names for each kind what is planted against it: a bug, or `any`, the
//! operator who lets damaged servers come back. Each seed of its scenario is run in three ways:
//!
//! | | planted | fault | expected |
//! |---|---|---|---|
//! | correct | no | yes | never red |
//! | bitten | yes | yes | red in some seeds |
//! | spared | yes | no | never red: it is the fault that bites |
//!
//! Only the faults of the kind are left out: where a fault shows at a restart alone, the restart stays.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cpu_time::ThreadTime;
use testbed::plan::{KINDS, Kind, Limits, Plan};
use testbed::scenario::Scenario;
use testbed::{Bug, Bugs, RunOptions, Seed, Verdict};

/// What is planted against a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Bug(Bug),
    /// The operator: faults may go beyond what the protocol survives.
    AnyFaults,
}

/// One line of the matrix.
struct Row {
    kind: Kind,
    planted: Planted,
    /// A seed that is red.
    recorded: Seed,
    scenario: Scenario,
}

/// What the seeds of a row came to.
#[derive(Clone, Debug, Default)]
struct Cells {
    /// Seeds that were not Ok although nothing was planted, with the first one's verdict.
    harmed: Vec<(u64, String)>,
    /// Seeds that were red with what was planted.
    bitten: Vec<u64>,
    /// Seeds that were not Ok although the fault was left out.
    spared_red: Vec<(u64, String)>,
    /// Seeds in which the fault never struck.
    idle: u64,
}

/// Runs the matrix and prints it, one line for each kind. Fails if a cell is not as expected.
pub(crate) fn run(root: &Path, seeds: u64, only: &[String]) -> ExitCode {
    let folder = root.join("scenarios/faults");
    let rows = match rows(&folder) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("matrix: {error}");
            return ExitCode::from(2);
        }
    };
    println!(
        "{:<18} {:>7} {:>5}  {:<27} {:>6} {:>6} {:>7}  {:>6}",
        "kind", "correct", "idle", "planted", "bitten", "first", "spared", "runs/s"
    );
    let mut wrong = 0;
    for row in
        rows.iter().filter(|row| only.is_empty() || only.iter().any(|name| name == row.kind.info().name))
    {
        let (cells, runs_per_second) = measure(row, seeds);
        let recorded = row.recorded.0 >= seeds || cells.bitten.contains(&row.recorded.0);
        let right = cells.harmed.is_empty() && !cells.bitten.is_empty() && cells.spared_red.is_empty();
        wrong += u64::from(!(right && recorded));
        show(row, &cells, runs_per_second, recorded);
    }
    println!("{seeds} seeds each; {wrong} rows are wrong");
    ExitCode::from(u8::from(wrong > 0))
}

fn show(row: &Row, cells: &Cells, runs_per_second: f64, recorded: bool) {
    let planted = match row.planted {
        Planted::Bug(bug) => bug.name(),
        Planted::AnyFaults => "(any faults)",
    };
    let first = cells.bitten.first().map_or("-".to_owned(), u64::to_string);
    println!(
        "{:<18} {:>7} {:>5}  {planted:<27} {:>6} {first:>6} {:>7}  {runs_per_second:>6.0}",
        row.kind.info().name,
        cells.harmed.len(),
        cells.idle,
        cells.bitten.len(),
        cells.spared_red.len(),
    );
    for (what, found) in [("correct", &cells.harmed), ("spared", &cells.spared_red)] {
        if let Some((seed, verdict)) = found.first() {
            println!("    {what} is red, first with seed {seed}: {verdict}");
        }
    }
    if !recorded {
        println!("    the recorded seed {} is not red", row.recorded.0);
    }
}

/// The rows of the matrix with their scenarios; each kind has one.
fn rows(folder: &Path) -> Result<Vec<Row>, String> {
    let path = folder.join("matrix.tsv");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rows = text.lines().skip(1).map(|line| row(folder, line)).collect::<Result<Vec<_>, _>>()?;
    let faults = KINDS.iter().filter(|info| !info.kind.is_request());
    match { faults }.find(|info| rows.iter().filter(|row| row.kind == info.kind).count() != 1) {
        Some(info) => Err(format!("{}: `{}` does not stand in it once", path.display(), info.name)),
        None => Ok(rows),
    }
}

fn row(folder: &Path, line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [kind, planted, seed] = fields[..] else {
        return Err(format!("`{line}` is not a kind, what is planted, and a seed"));
    };
    let info = KINDS.iter().find(|info| info.name == kind).ok_or_else(|| format!("unknown kind `{kind}`"))?;
    let planted = match planted {
        "any" => Planted::AnyFaults,
        name => Planted::Bug(name.parse().map_err(|error| format!("{error}"))?),
    };
    let recorded = Seed(seed.parse().map_err(|error| format!("`{seed}`: {error}"))?);
    let scenario = Scenario::load(&folder.join(format!("{kind}.toml")), &[]).map_err(|e| e.to_string())?;
    Ok(Row { kind: info.kind, planted, recorded, scenario })
}

/// All seeds of a row on all cores, and how many runs one core does in a second.
fn measure(row: &Row, seeds: u64) -> (Cells, f64) {
    let next = AtomicU64::new(0);
    let sum = Mutex::new((Cells::default(), 0.0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let start = ThreadTime::now();
                let mut mine = Cells::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    try_seed(row, seed, &mut mine);
                }
                let (cells, seconds) = &mut *sum.lock().expect("a worker that panics ends the matrix");
                cells.harmed.append(&mut mine.harmed);
                cells.bitten.append(&mut mine.bitten);
                cells.spared_red.append(&mut mine.spared_red);
                cells.idle += mine.idle;
                *seconds += start.elapsed().as_secs_f64();
            });
        }
    });
    let (mut cells, seconds) = sum.into_inner().expect("a worker that panics ends the matrix");
    cells.harmed.sort();
    cells.bitten.sort_unstable();
    cells.spared_red.sort();
    (cells, 3.0 * seeds as f64 / seconds)
}

fn try_seed(row: &Row, seed: u64, cells: &mut Cells) {
    let as_it_is = row.scenario.plan(Seed(seed), None).expect("a scenario that was checked has a plan");
    let report = testbed::run(&as_it_is, RunOptions::default()).report;
    let struck =
        |fired: &testbed::report::Fired| fired.action.as_ref().is_some_and(|action| action.kind == row.kind);
    cells.idle += u64::from(!report.fired.iter().any(struck));
    if let Some(verdict) = red(&report.verdict) {
        cells.harmed.push((seed, verdict));
    }
    let mut planted = plant(as_it_is, row.planted);
    if matches!(testbed::run(&planted, RunOptions::default()).report.verdict, Verdict::Violation(_)) {
        cells.bitten.push(seed);
    }
    planted.faults.retain(|fault| fault.action.kind != row.kind);
    if let Some(verdict) = red(&testbed::run(&planted, RunOptions::default()).report.verdict) {
        cells.spared_red.push((seed, verdict));
    }
}

fn plant(mut plan: Plan, planted: Planted) -> Plan {
    match planted {
        Planted::Bug(bug) => plan.bugs = Bugs(Some(bug)),
        Planted::AnyFaults => plan.limits = Limits::Any,
    }
    plan
}

/// What a verdict says, unless it is Ok.
fn red(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Ok => None,
        Verdict::Violation(finding) => Some(format!("{}: {}", finding.check, finding.message)),
        Verdict::Inconclusive { what } => Some(format!("inconclusive: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_row_and_a_scenario() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/faults");
        let rows = rows(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rows.len(), KINDS.iter().filter(|info| !info.kind.is_request()).count());
    }
}

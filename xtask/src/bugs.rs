//! `cargo xtask bugs`: how many seeds it takes to find each planted bug; `cargo xtask replays`: the saved
//! failures, recorded anew.
//!
//! Each planted bug has a replay in `replays/`, and that names the scenario in which it was found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use contract::{Bug, Seed};
use testbed::replay::Replay;
use testbed::scenario::Scenario;
use testbed::{RunOptions, Verdict, run};

/// Ranges of seeds that are searched, far from each other; their median is told.
const RANGES: u64 = 5;
const RANGE_STEP: u64 = 1_000_000;

fn replays(folder: &Path) -> Result<Vec<(PathBuf, Replay)>, String> {
    let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| Replay::load(&path).map(|replay| (path, replay)).map_err(|error| error.to_string()))
        .collect()
}

/// Prints, per planted bug, where and by what it is found and how many seeds it takes; whether all are
/// found within `most` seeds in each range.
pub(crate) fn run_all(root: &Path, most: u64, only: &[String]) -> Result<bool, String> {
    println!("| bug | found in | by | seeds, median of {RANGES} ranges | replay: faults, operations |");
    println!("|---|---|---|---|---|");
    let (mut found, mut asked) = (0, 0);
    for (path, replay) in replays(&root.join("replays"))? {
        let Some(bug) = replay.plan.bugs.0 else { continue };
        if !only.is_empty() && !only.iter().any(|name| bug.name().contains(name.as_str())) {
            continue;
        }
        asked += 1;
        let scenario: Scenario =
            replay.scenario.parse().map_err(|error| format!("{}: {error}", path.display()))?;
        eprintln!("{bug}: {RANGES} ranges of at most {most} seeds of {}", scenario.name());
        let searched = search_all(&scenario, bug, most);
        let mut seeds: Vec<u64> = searched.iter().flatten().map(|(seeds, _)| *seeds).collect();
        seeds.sort_unstable();
        let median = match seeds.get(RANGES as usize / 2) {
            Some(median) => median.to_string(),
            None => format!("over {most}"),
        };
        found += u64::from(!seeds.is_empty());
        let by: BTreeSet<&str> = searched.iter().flatten().map(|(_, check)| check.as_str()).collect();
        println!(
            "| `{bug}` | {} | {} | {median} | {}, {} |",
            scenario.name(),
            by.into_iter().collect::<Vec<_>>().join(", "),
            replay.plan.faults.len(),
            replay.plan.only.as_ref().map_or("all".to_owned(), |only| only.len().to_string()),
        );
    }
    println!("\n{found} of {asked} bugs found");
    Ok(found == asked)
}

/// What [`search`] finds in each range, beside each other.
fn search_all(scenario: &Scenario, bug: Bug, most: u64) -> Vec<Option<(u64, String)>> {
    thread::scope(|scope| {
        let range = |range| scope.spawn(move || search(scenario, bug, range * RANGE_STEP, most));
        let searches: Vec<_> = (0..RANGES).map(range).collect();
        searches.into_iter().map(|search| search.join().expect("a search does not panic")).collect()
    })
}

/// How many seeds it takes from one on to the first find, and which check makes it.
fn search(scenario: &Scenario, bug: Bug, from: u64, most: u64) -> Option<(u64, String)> {
    (0..most).find_map(|number| {
        let plan = scenario.plan(Seed(from + number), Some(bug)).ok()?;
        match run(&plan, RunOptions::default()).report.verdict {
            Verdict::Violation(finding) => Some((number + 1, finding.check)),
            Verdict::Ok | Verdict::Inconclusive { .. } => None,
        }
    })
}

/// Records every replay anew, after a change that gives the same runs other digests; whether each still fails
/// in the same way. One that does not is left as it is: its bug has to be looked for again.
pub(crate) fn renew(root: &Path) -> Result<bool, String> {
    let mut all = true;
    for (path, replay) in replays(&root.join("replays"))? {
        let again = Replay::record(replay.scenario.clone(), replay.plan.clone());
        let mut healthy = replay.plan.clone();
        healthy.bugs = contract::Bugs::NONE;
        let passes = run(&healthy, RunOptions::default()).report.verdict == Verdict::Ok;
        let same = again.verdict.agrees(&replay.verdict) && passes;
        all &= same;
        match (same, again.digest == replay.digest) {
            (true, true) => {}
            (true, false) => {
                again.save(&path).map_err(|error| error.to_string())?;
                println!("{}: recorded anew", path.display());
            }
            (false, _) => {
                let without = if passes { "" } else { "; and fails without its bug" };
                println!("{}: now comes to {}{without}", path.display(), again.verdict);
            }
        }
    }
    Ok(all)
}

//! `cargo xtask bugs`: how many seeds it takes to find each planted bug; `cargo xtask replays`: the saved
//! failures, recorded anew.
//!
//! Each planted bug has a replay in `replays/`, and that names the scenario in which it was found.

use std::path::{Path, PathBuf};

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
    println!(
        "| bug | what breaks | found in | by | seeds, median of {RANGES} ranges | replay: faults, operations |"
    );
    println!("|---|---|---|---|---|---|");
    let (mut found, mut asked) = (0, 0);
    for (path, replay) in replays(&root.join("replays"))? {
        let Some(bug) = replay.plan.bugs.0 else { continue };
        if !only.is_empty() && !only.iter().any(|name| bug.name().contains(name.as_str())) {
            continue;
        }
        asked += 1;
        let scenario = replay.scenario.parse().map_err(|error| format!("{}: {error}", path.display()))?;
        let searched: Vec<_> =
            (0..RANGES).map(|range| search(&scenario, bug, range * RANGE_STEP, most)).collect();
        let mut seeds: Vec<u64> = searched.iter().filter_map(|(seeds, _)| *seeds).collect();
        seeds.sort_unstable();
        let median = match seeds.get(RANGES as usize / 2) {
            Some(median) => median.to_string(),
            None => format!("over {most}"),
        };
        found += u64::from(!seeds.is_empty());
        let by: std::collections::BTreeSet<&str> =
            searched.iter().filter_map(|(_, check)| check.as_deref()).collect();
        let about = Bug::ALL.iter().find(|(known, ..)| *known == bug).expect("every bug is listed").2;
        println!(
            "| `{bug}` | {about} | {} | {} | {median} | {}, {} |",
            scenario.name(),
            by.into_iter().collect::<Vec<_>>().join(", "),
            replay.plan.faults.len(),
            replay.plan.only.as_ref().map_or("all".to_owned(), |only| only.len().to_string()),
        );
    }
    println!("\n{found} of {asked} bugs found");
    Ok(found == asked)
}

/// How many seeds it takes from one on, and which check finds it.
fn search(scenario: &Scenario, bug: Bug, from: u64, most: u64) -> (Option<u64>, Option<String>) {
    for number in 0..most {
        let Ok(plan) = scenario.plan(Seed(from + number), Some(bug)) else { continue };
        if let Verdict::Violation(finding) = run(&plan, RunOptions::default()).report.verdict {
            return (Some(number + 1), Some(finding.check));
        }
    }
    (None, None)
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

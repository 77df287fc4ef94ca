//! Every saved failure fails again in the same way, and not without its bug.

use std::fs;
use std::path::Path;

use seedbed_testbed::replay::Replay;
use seedbed_testbed::{Bugs, RunOptions, Verdict, run};

fn replays() -> Vec<(String, Replay)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays");
    let mut found: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.display().to_string(), Replay::load(&path).expect("a replay can be read")))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!found.is_empty(), "there are no replays");
    found
}

/// The digests were made by an optimised build on another machine: this test is also the proof that
/// neither matters.
#[test]
fn replays_fail_again_with_the_same_digest() {
    for (path, replay) in replays() {
        let report = run(&replay.plan, RunOptions::default()).report;
        assert!(report.verdict.agrees(&replay.verdict), "{path}: {}", report.verdict);
        assert_eq!(report.digest, replay.digest, "{path}");
    }
}

#[test]
fn without_the_planted_bug_the_same_plan_passes() {
    for (path, replay) in replays() {
        let mut plan = replay.plan;
        plan.bugs = Bugs::NONE;
        let report = run(&plan, RunOptions::default()).report;
        assert_eq!(report.verdict, Verdict::Ok, "{path}");
    }
}

//! The tests of the courses can fail: with what is planted against a row its recorded seed is red, by the
//! law or the expectation that stands beside it, and without it green. Of a row that is to reach a situation, that is
//! what the seed does without the bug, and does not with it. (`docs/scenarios.md` has the table as people read it.)

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{Bugs, Report, RunOptions, Seed, Verdict, run};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// How often a run came to a situation.
fn reached(report: &Report, situation: &str) -> u64 {
    report.counts().find(|(name, _)| *name == situation).expect("a situation of such runs").1
}

const KV: &str = "course/kv.toml";
const RAFT: &str = "course/raft.toml";

// One test for each large file, so that they run beside each other.
#[test]
fn rows_of_kv_turn_red() {
    rows_turn_red(|file| file == KV);
}

#[test]
fn rows_of_raft_turn_red() {
    rows_turn_red(|file| file == RAFT);
}

#[test]
fn rows_of_the_others_turn_red() {
    rows_turn_red(|file| ![KV, RAFT].contains(&file));
}

/// Every row of these files turns red with what is planted against it.
fn rows_turn_red(is_meant: impl Fn(&str) -> bool) {
    let table = fs::read_to_string(folder().join("course/planted.tsv")).expect("the table can be read");
    let mut seen = BTreeSet::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, row, bug, seed, shows] = fields[..] else { panic!("`{line}` has five fields") };
        if !is_meant(file) {
            continue;
        }
        assert!(seen.insert((file, row)), "{file} {row} stands there twice");
        let row = Some(row).filter(|row| *row != "-");
        let scenario = Scenario::load_row(&folder().join(file), &[], row);
        let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
        let bug = bug.parse().expect("a known bug");
        let mut plan = scenario.plan(Seed(seed.parse().expect("a number")), Some(bug)).expect("a plan");
        let with = run(&plan, RunOptions::default()).report;
        plan.bugs = Bugs::NONE;
        let without = run(&plan, RunOptions::default()).report;
        assert_eq!(without.verdict, Verdict::Ok, "{line}, without the bug");
        match (with.verdict.clone(), shows.strip_prefix("reaches ")) {
            (Verdict::Ok, Some(situation)) => {
                let named = plan.checks.sometimes.iter().any(|sometimes| sometimes.situation == situation);
                assert!(named, "{line}: the row does not ask for it");
                assert_eq!(reached(&with, situation), 0, "{line}");
                assert!(reached(&without, situation) > 0, "{line}, without the bug");
            }
            (Verdict::Violation(finding), _) => assert_eq!(finding.check, shows, "{line}"),
            (other, _) => panic!("{line}: {other}"),
        }
    }
    assert!(!seen.is_empty(), "there are rows");
}

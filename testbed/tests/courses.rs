//! The tests of the courses can fail: with what is planted against a row its recorded seed is red, by the
//! law or the expectation that stands beside it, and without it green. (`docs/scenarios.md` has the table as people
//! read it.)

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{Bugs, RunOptions, Seed, Verdict, run};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

#[test]
fn every_row_turns_red_with_what_is_planted_against_it() {
    let table = fs::read_to_string(folder().join("course/planted.tsv")).expect("the table can be read");
    let mut seen = BTreeSet::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, row, bug, seed, shows] = fields[..] else { panic!("`{line}` has five fields") };
        assert!(seen.insert((file, row)), "{file} {row} stands there twice");
        let row = Some(row).filter(|row| *row != "-");
        let scenario = Scenario::load_row(&folder().join(file), &[], row);
        let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
        let bug = bug.parse().expect("a known bug");
        let mut plan = scenario.plan(Seed(seed.parse().expect("a number")), Some(bug)).expect("a plan");
        match run(&plan, RunOptions::default()).report.verdict {
            Verdict::Violation(finding) => assert_eq!(finding.check, shows, "{line}"),
            other => panic!("{line}: {other}"),
        }
        plan.bugs = Bugs::NONE;
        assert_eq!(run(&plan, RunOptions::default()).report.verdict, Verdict::Ok, "{line}, without the bug");
    }
    assert!(!seen.is_empty(), "there are rows");
}

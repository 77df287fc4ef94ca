//! Shrinking keeps the failure and leaves out the rest; what passes cannot be shrunk.

use std::path::Path;

use seedbed_testbed::plan::Plan;
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::shrink::{Effort, shrink};
use seedbed_testbed::{Bug, Bugs, RunOptions, Seed, Verdict, run};

/// A plan of a scenario that a planted bug breaks.
fn failing(scenario: &str, seed: u64, bug: Bug) -> Plan {
    let file = format!("../scenarios/{scenario}.toml");
    let scenario = Scenario::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file), &[]);
    scenario.expect("a scenario").plan(Seed(seed), Some(bug)).expect("a plan")
}

fn stale_read() -> Plan {
    failing("kv/one-partition", 16, Bug::ReadWithoutQuorum)
}

fn signature(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Violation(finding) => &finding.signature,
        Verdict::Ok | Verdict::Inconclusive { .. } => panic!("{verdict} is no violation"),
    }
}

#[test]
fn a_failing_plan_becomes_small_and_fails_the_same_way() {
    for plan in [stale_read(), failing("raft/reordering", 0, Bug::StaleAppendTruncates)] {
        let verdict = run(&plan, RunOptions::default()).report.verdict;
        let shrunk = shrink(&plan, Effort::default(), |_| true).expect("it fails");
        assert_eq!(signature(&shrunk.report.verdict), signature(&verdict));
        assert!(shrunk.after.faults <= 3, "{:?}", shrunk.after);
        assert!(shrunk.after.operations <= 10, "{:?}", shrunk.after);
        let again = run(&shrunk.plan, RunOptions::default()).report;
        assert_eq!(again.digest, shrunk.report.digest, "the small plan is a plan like any other");
    }
}

#[test]
fn it_stops_when_told_and_keeps_what_it_has() {
    let plan = stale_read();
    let verdict = run(&plan, RunOptions::default()).report.verdict;
    let shrunk = shrink(&plan, Effort::default(), |progress| progress.runs < 5).expect("it fails");
    assert!(shrunk.cut_short);
    assert!(shrunk.runs <= 100);
    assert_eq!(signature(&shrunk.report.verdict), signature(&verdict));
}

#[test]
fn what_passes_cannot_be_shrunk() {
    let plan = Plan { bugs: Bugs::NONE, ..stale_read() };
    let refused = shrink(&plan, Effort::default(), |_| true).err().expect("there is no failure");
    assert_eq!(refused.verdict, Verdict::Ok);
}

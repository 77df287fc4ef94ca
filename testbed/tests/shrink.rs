//! Shrinking keeps the failure and leaves out the rest; what passes cannot be shrunk.

use std::path::Path;

use seedbed_testbed::replay::Replay;
use seedbed_testbed::shrink::{Effort, shrink};
use seedbed_testbed::{Bugs, RunOptions, Verdict, run};

fn replay(bug: &str) -> Replay {
    let file = format!("../replays/{bug}.json");
    Replay::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a replay of the bug")
}

fn signature(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Violation(finding) => &finding.signature,
        Verdict::Ok | Verdict::Inconclusive { .. } => panic!("{verdict} is no violation"),
    }
}

#[test]
fn a_failing_plan_becomes_small_and_fails_the_same_way() {
    for bug in ["read-without-quorum", "stale-append-truncates"] {
        let replay = replay(bug);
        let shrunk = shrink(&replay.plan, Effort::default(), |_| true).expect("it fails");
        assert_eq!(signature(&shrunk.report.verdict), signature(&replay.verdict), "{bug}");
        assert!(shrunk.after.faults <= 3, "{bug}: {:?}", shrunk.after);
        assert!(shrunk.after.operations <= 10, "{bug}: {:?}", shrunk.after);
        let again = run(&shrunk.plan, RunOptions::default()).report;
        assert_eq!(again.digest, shrunk.report.digest, "{bug}: the small plan is a plan like any other");
    }
}

#[test]
fn it_stops_when_told_and_keeps_what_it_has() {
    let replay = replay("read-without-quorum");
    let shrunk = shrink(&replay.plan, Effort::default(), |progress| progress.runs < 5).expect("it fails");
    assert!(shrunk.cut_short);
    assert!(shrunk.runs <= 100);
    assert_eq!(signature(&shrunk.report.verdict), signature(&replay.verdict));
}

#[test]
fn what_passes_cannot_be_shrunk() {
    let mut plan = replay("read-without-quorum").plan;
    plan.bugs = Bugs::NONE;
    let refused = shrink(&plan, Effort::default(), |_| true).err().expect("there is no failure");
    assert_eq!(refused.verdict, Verdict::Ok);
}

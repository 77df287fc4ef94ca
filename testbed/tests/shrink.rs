//! Shrinking keeps the failure and leaves out the rest, with any number of threads; what passes cannot
//! be shrunk.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use seedbed_testbed::plan::{Core, Liveness, Plan};
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::shrink::{Effort, InTurn, Shrunk, Workers, shrink};
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

fn stale_append() -> Plan {
    failing("raft/reordering", 0, Bug::StaleAppendTruncates)
}

fn signature(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Violation(finding) => &finding.signature,
        Verdict::Ok | Verdict::Inconclusive { .. } => panic!("{verdict} is no violation"),
    }
}

/// Two threads that take jobs as they can.
struct Two;

impl Workers for Two {
    fn until(&self, jobs: usize, job: &(dyn Fn(usize) -> bool + Sync)) {
        let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            while !done.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs || job(number) {
                    done.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }
}

fn shrunk(plan: &Plan, effort: Effort, workers: &dyn Workers) -> Shrunk {
    let verdict = run(plan, RunOptions::default()).report.verdict;
    let shrunk = shrink(plan, effort, workers, |_| true).expect("it fails");
    assert_eq!(signature(&shrunk.report.verdict), signature(&verdict));
    let again = run(&shrunk.plan, RunOptions::default()).report;
    assert_eq!(again.digest, shrunk.report.digest, "the small plan is a plan like any other");
    let text = serde_json::to_string(&shrunk.plan).expect("a plan is plain data");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("what was written"), shrunk.plan);
    let right = run(&Plan { bugs: Bugs::NONE, ..shrunk.plan.clone() }, RunOptions::default()).report;
    assert_eq!(right.verdict, Verdict::Ok, "it is the bug that fails");
    shrunk
}

fn assert_small(shrunk: &Shrunk) {
    assert!(shrunk.after.faults <= 3, "{:?}", shrunk.after);
    assert!(shrunk.after.operations <= 10, "{:?}", shrunk.after);
}

#[test]
fn a_failing_plan_becomes_small_and_the_same_on_any_number_of_threads() {
    let part = Effort { runs: 120, ..Effort::default() };
    for (plan, effort) in [(stale_append(), Effort::default()), (stale_read(), part)] {
        let (one, two) = (shrunk(&plan, effort, &InTurn), shrunk(&plan, effort, &Two));
        if effort == Effort::default() {
            assert_small(&one);
        }
        assert_eq!(one.plan, two.plan);
        assert_eq!((one.runs, one.after), (two.runs, two.after));
    }
}

#[test]
#[ignore = "minutes: what `seedbed shrink` comes to with all its effort"]
fn every_planted_bug_becomes_small() {
    let found = [
        failing("raft/reordering", 14, Bug::AckBeforeFsync),
        failing("raft/vote-contention", 164, Bug::VoteNotDurable),
        stale_read(),
        stale_append(),
    ];
    for plan in found {
        assert_small(&shrunk(&plan, Effort::default(), &Two));
    }
}

#[test]
fn it_stops_when_told_and_keeps_what_it_has() {
    let plan = stale_read();
    let verdict = run(&plan, RunOptions::default()).report.verdict;
    let shrunk = shrink(&plan, Effort::default(), &InTurn, |progress| progress.runs < 5).expect("it fails");
    assert!(shrunk.cut_short);
    assert!(shrunk.runs <= 100);
    assert_eq!(signature(&shrunk.report.verdict), signature(&verdict));
}

/// Without operations too few are answered in any plan: that would say nothing.
#[test]
fn a_failure_for_want_of_progress_keeps_its_clients_and_its_quiet_tail() {
    let mut plan = Plan { bugs: Bugs::NONE, ..stale_read() };
    let after_heal = std::time::Duration::from_secs(1);
    (plan.quiet_from.0, plan.until.0) = (2_500_000_000, 3_500_000_000);
    plan.checks.liveness = Some(Liveness { after_heal, operations: 1_000_000, core: Core::All });
    let effort = Effort { runs: 60, ..Effort::default() };
    let shrunk = shrink(&plan, effort, &InTurn, |_| true).expect("it fails");
    assert_eq!(signature(&shrunk.report.verdict), "liveness");
    assert_eq!((shrunk.plan.until, shrunk.plan.quiet_from), (plan.until, plan.quiet_from));
    assert_eq!((&shrunk.plan.workloads, &shrunk.plan.only), (&plan.workloads, &None));
    assert_eq!(shrunk.plan.world.clients, plan.world.clients);
    assert!(shrunk.plan.faults.is_empty(), "no fault is needed for that");
}

#[test]
fn what_passes_cannot_be_shrunk() {
    let plan = Plan { bugs: Bugs::NONE, ..stale_read() };
    let refused = shrink(&plan, Effort::default(), &InTurn, |_| true).err().expect("there is no failure");
    assert_eq!(refused.verdict, Verdict::Ok);
}

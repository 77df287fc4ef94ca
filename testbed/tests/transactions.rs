//! Transactions over shards: runs are functions of their plans, every planted bug shows, and what the isolation
//! levels allow is seen to happen.

use std::path::Path;

use contract::ClientId;
use seedbed_testbed::checker::formats::jsonl;
use seedbed_testbed::checker::isolation::{Level, lists};
use seedbed_testbed::plan::Plan;
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{Bug, Bugs, NotRecorded, Recorded, Report, RunOptions, Seed, Verdict, run};

fn scenario(file: &str, row: Option<&str>) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(file);
    Scenario::load_row(&path, &[], row).unwrap_or_else(|error| panic!("{error}"))
}

fn report(plan: &Plan) -> Report {
    run(plan, RunOptions::default()).report
}

#[test]
fn a_plan_gives_the_same_run_again_and_from_its_text() {
    for row in ["raft-lsm", "zab-btree", "solo-lsm"] {
        let scenario = scenario("percolator/swarm.toml", Some(row));
        let plan = scenario.plan(Seed(3), None).expect("it can be planned");
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        let read: Plan = serde_json::from_str(&text).expect("a plan is read back");
        assert_eq!(read, plan);
        assert_eq!(report(&read).digest, report(&plan).digest, "{row}");
        let other = scenario.plan(Seed(4), None).expect("it can be planned");
        assert_ne!(report(&other).digest, report(&plan).digest, "{row}: another seed is another run");
    }
}

/// Shrinking leaves operations out: also all of one client, and all there are.
#[test]
fn what_is_left_out_of_a_plan_is_not_run_and_the_rest_is() {
    let scenario = scenario("percolator/swarm.toml", Some("raft-lsm"));
    let whole = scenario.plan(Seed(3), None).expect("it can be planned");
    let invoked = run(&whole, RunOptions::default()).invoked;
    let kept = |only: &[(ClientId, u64)]| {
        let mut plan = Plan { only: Some(only.to_vec()), ..whole.clone() };
        plan.checks.liveness = None;
        let mut invoked = run(&plan, RunOptions::default()).invoked;
        invoked.sort_unstable();
        invoked
    };
    assert_eq!(kept(&[]), []);
    let mut some: Vec<_> =
        invoked.iter().copied().filter(|(client, at)| client.0 < 3 && at % 5 == 1).collect();
    some.sort_unstable();
    assert!(some.len() > 5);
    assert_eq!(kept(&some), some);
}

/// A bug, the scenario, its row and the seed with which it shows, and what all findings of that kind share.
const PLANTED: [(Bug, &str, Option<&str>, u64, &str); 14] = [
    (Bug::LatePrewriteAccepted, "percolator/swarm.toml", Some("raft-lsm"), 9, "primary-forgotten"),
    (Bug::RollbackCollapsed, "percolator/swarm.toml", Some("raft-lsm"), 65, "isolation/G0"),
    (Bug::TimestampFallsBack, "percolator/swarm.toml", Some("raft-lsm"), 18, "timestamps"),
    (Bug::ReadSkipsLock, "percolator/swarm.toml", Some("raft-lsm"), 0, "bank"),
    (Bug::EpochNotChecked, "percolator/swarm.toml", Some("raft-lsm"), 0, "bank"),
    (Bug::OldOwnerWrites, "percolator/swarm.toml", Some("raft-lsm"), 0, "isolation/incompatible order"),
    (Bug::MaxTsNotReplicated, "percolator/readers.toml", None, 0, "isolation/incompatible order"),
    (Bug::SafepointOfNow, "percolator/upkeep.toml", Some("raft"), 6, "bank"),
    (Bug::LeadersNotBalanced, "percolator/upkeep.toml", Some("raft"), 0, "expect/leaders-are-even"),
    (Bug::CollectedBeforeResolved, "percolator/garbage.toml", None, 3, "isolation/G0"),
    (Bug::CommitWithoutLock, "percolator/swarm.toml", Some("raft-lsm"), 9, "bank"),
    (Bug::ConflictIgnored, "percolator/swarm.toml", Some("raft-lsm"), 0, "bank"),
    (Bug::SecondaryBeforePrimary, "percolator/swarm.toml", Some("raft-lsm"), 13, "isolation/dirty update"),
    (Bug::CommitBelowRead, "percolator/swarm.toml", Some("raft-lsm"), 2, "isolation/G0"),
];

#[test]
fn every_planted_bug_shows_and_is_named() {
    for (bug, file, row, seed, signature) in PLANTED {
        let mut plan = scenario(file, row).plan(Seed(seed), Some(bug)).expect("it can be planned");
        match report(&plan).verdict {
            Verdict::Violation(finding) => assert_eq!(finding.signature, signature, "{bug}"),
            other => panic!("{bug} with seed {seed}: {other}"),
        }
        plan.bugs = Bugs::NONE;
        assert_eq!(report(&plan).verdict, Verdict::Ok, "{file}, seed {seed}, without {bug}");
    }
}

/// What a run hands on is what it was judged by: judged again, from a file, it shows the same.
#[test]
fn a_recorded_history_is_judged_as_the_run_was() {
    let violation = |bug, row, seed| {
        let plan = scenario("percolator/swarm.toml", row).plan(Seed(seed), Some(bug));
        let plan = plan.expect("it can be planned");
        let run = run(&plan, RunOptions::default());
        let recording = run.recording(plan.recorded().expect("it appends to lists"));
        let again = jsonl::read(&jsonl::write(&recording)).expect("it was just written");
        let judged = again.judge_transactions::<lists::Action>().expect("it is well formed");
        let anomaly = judged.report.first_against(Level::StrongSnapshotIsolation).expect("the bug shows");
        let Verdict::Violation(finding) = run.report.verdict else { panic!("the bug shows in the run, too") };
        assert_eq!(finding.signature, format!("isolation/{}", anomaly.kind));
        assert_eq!(finding.evidence[0], anomaly.sentence.split("; ").next().expect("a sentence"));
    };
    violation(Bug::RollbackCollapsed, Some("raft-lsm"), 65);
    violation(Bug::CommitBelowRead, Some("raft-lsm"), 2);
}

#[test]
fn not_every_scenario_of_transactions_leaves_a_history() {
    let recorded = |kinds: &[&str]| {
        let workload = |kind| format!("[[workload]]\nkind = \"{kind}\"\nkeys = 4\n");
        let workloads: String = kinds.iter().map(workload).collect();
        let text = format!("name = \"x\"\n[transactions]\n{workloads}");
        let scenario = Scenario::parse("x.toml", &text, &[]).expect("it is well formed");
        scenario.plan(Seed(0), None).expect("it can be planned").recorded()
    };
    assert_eq!(recorded(&["bank", "long-fork", "list-append"]), Ok(Recorded::Lists));
    assert_eq!(recorded(&["rw-register", "timestamps"]), Ok(Recorded::Registers));
    assert_eq!(recorded(&["bank", "timestamps"]), Err(NotRecorded::Nothing));
    assert_eq!(recorded(&["write-skew", "rw-register"]), Err(NotRecorded::TwoKinds));
}

#[test]
fn write_skew_is_seen_under_snapshots_and_never_where_transactions_are_serializable() {
    let skews = |row| {
        let scenario = scenario("percolator/write-skew.toml", Some(row));
        let of_seed = |seed| {
            let report = report(&scenario.plan(Seed(seed), None).expect("it can be planned"));
            assert_eq!(report.verdict, Verdict::Ok, "{row}, seed {seed}");
            report.transactions.expect("clients ran transactions").write_skews
        };
        (0..5).map(of_seed).sum::<u64>()
    };
    assert!(skews("snapshot") > 0 && skews("snapshot-pessimistic") > 0);
    for row in ["serializable", "serializable-pessimistic", "serializable-async-commit"] {
        assert_eq!(skews(row), 0, "{row}");
    }
}

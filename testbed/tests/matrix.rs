//! Each kind of fault has a scenario in which it strikes by itself, and bites: with what is planted
//! against it the recorded seed fails, and not without the fault. (`cargo xtask matrix` runs many seeds.)

use std::fs;
use std::path::PathBuf;

use seedbed_testbed::plan::{KINDS, Kind, Limits, Plan};
use seedbed_testbed::report::Report;
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{Bugs, RunOptions, Seed, Verdict, run};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scenarios/faults")
}

/// Per kind: its plan of the recorded seed, and the same with what is planted.
fn rows() -> Vec<(&'static str, Kind, Plan, Plan)> {
    let text = fs::read_to_string(folder().join("matrix.tsv")).expect("the matrix can be read");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, planted, seed] = fields[..] else { panic!("`{line}` has three fields") };
        let info = KINDS.iter().find(|info| info.name == kind).expect("a known kind");
        let scenario = Scenario::load(&folder().join(format!("{kind}.toml")), &[]);
        let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
        let plan = scenario.plan(Seed(seed.parse().expect("a number")), None).expect("a plan");
        let mut with = plan.clone();
        match planted {
            "any" => with.limits = Limits::Any,
            bug => with.bugs = Bugs(Some(bug.parse().expect("a known bug"))),
        }
        (info.name, info.kind, plan, with)
    };
    text.lines().skip(1).map(row).collect()
}

/// What may stand beside a kind: without a restart, what became of a disk is not looked at, and without
/// a change of leaders no two clocks are compared.
fn may_need_a_restart(kind: Kind) -> bool {
    kind == Kind::ClockDrift || kind.takes_durable(&Default::default()) || kind.troubles_disk()
}

fn report(plan: &Plan) -> Report {
    run(plan, RunOptions::default()).report
}

#[test]
fn every_kind_strikes_by_itself() {
    let rows = rows();
    let faults = || KINDS.iter().filter(|info| !info.kind.is_request());
    for info in faults() {
        assert_eq!(rows.iter().filter(|row| row.1 == info.kind).count(), 1, "{}", info.name);
    }
    assert_eq!(rows.len(), faults().count());
    for (name, kind, plan, _) in rows {
        for fault in &plan.faults {
            let restarts = matches!(fault.action.kind, Kind::Crash | Kind::Kill) && may_need_a_restart(kind);
            assert!(fault.action.kind == kind || restarts, "{name} has a {} too", fault.action.kind);
        }
        let net = &plan.world.net;
        assert_eq!((net.loss, net.duplicate, net.corrupt, net.reorder), (0.0, 0.0, 0.0, 0.0), "{name}");
        let report = report(&plan);
        assert_eq!(report.verdict, Verdict::Ok, "{name}: {:#?}", report.fired);
        let struck =
            |fired: &&seedbed_testbed::report::Fired| fired.action.as_ref().is_some_and(|a| a.kind == kind);
        assert!(report.fired.iter().any(|fired| struck(&fired)), "{name} never struck: {:#?}", report.fired);
    }
}

#[test]
fn every_kind_bites_and_nothing_else_does() {
    for (name, kind, _, mut planted) in rows() {
        let bitten = report(&planted);
        assert!(matches!(bitten.verdict, Verdict::Violation(_)), "{name}: {}", bitten.verdict);
        planted.faults.retain(|fault| fault.action.kind != kind);
        let spared = report(&planted);
        assert_eq!(spared.verdict, Verdict::Ok, "{name}: {:#?}", spared.fired);
    }
}

//! Faults from the scenario to what they do: swarms, conditions, limits, and the same faults for all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::{NodeId, Seed, Time};
use seedbed_testbed::plan::{Event, KINDS, Kind, Limits, Plan, Shape, Target, Trigger};
use seedbed_testbed::report::Fired;
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::{Report, RunOptions, Verdict, run};

fn plan(text: &str, set: &[&str], seed: u64) -> Plan {
    let set: Vec<String> = set.iter().map(|&set| set.to_owned()).collect();
    let scenario = Scenario::parse("test.toml", text, &set).unwrap_or_else(|error| panic!("{error}"));
    scenario.plan(Seed(seed), None).expect("a plan")
}

fn report(text: &str, set: &[&str], seed: u64) -> Report {
    run(&plan(text, set, seed), RunOptions::default()).report
}

const SWARM: &str = r#"
name = "swarm"
[cluster]
nodes = 5
clients = 2
[[workload]]
rate = 50.0
[swarm]
at-once = 2
[check]
liveness = { after-heal = "3s", operations = 10 }
[budget]
time = "8s"
"#;

#[test]
fn a_swarm_turns_each_kind_on_in_some_seeds_and_keeps_to_its_number() {
    let mut on: BTreeMap<Kind, u32> = BTreeMap::new();
    for seed in 0..200 {
        let plan = plan(SWARM, &[], seed);
        let kinds: BTreeSet<Kind> = plan.faults.iter().map(|fault| fault.action.kind).collect();
        kinds.into_iter().for_each(|kind| *on.entry(kind).or_default() += 1);
        let timed = plan.faults.iter().filter_map(|fault| match fault.trigger {
            Trigger::At(at) => Some((at, at + fault.action.lasts.as_ref()?.max())),
            _ => None,
        });
        let timed: Vec<(Time, Time)> = timed.collect();
        for (at, _) in &timed {
            let under_way = timed.iter().filter(|(from, to)| from <= at && at < to).count();
            assert!(under_way <= 2, "seed {seed}: {under_way} faults at {at}");
        }
    }
    for info in KINDS {
        let seeds = on.get(&info.kind).copied().unwrap_or(0);
        assert!((50..150).contains(&seeds), "{} is on in {seeds} of 200 seeds", info.name);
    }
}

#[test]
fn every_kind_strikes_and_leaves_raft_right() {
    for info in KINDS {
        let set = [format!("swarm={{ kinds = [\"{}\"], on = 1 }}", info.name)];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let report = report(SWARM, &set, 1);
        assert_eq!(report.verdict, Verdict::Ok, "{}: {:#?}", info.name, report.fired);
        let struck = report.fired.iter().filter(|fired| fired.action.is_some()).count();
        assert!(struck > 0, "{} never struck: {:#?}", info.name, report.fired);
    }
}

const CONDITION: &str = r#"
name = "condition"
[cluster]
nodes = 3
clients = 2
[[fault]]
name = "deposed"
kind = "pause"
when = "role == leader && term >= 2"
for = "600ms"
at-most = 3
[[fault]]
kind = "kill"
at = "1s"
target = "@leader"
restart-after = "100ms"
[budget]
time = "6s"
"#;

#[test]
fn a_condition_strikes_the_node_that_reached_it_and_says_so() {
    let report = report(CONDITION, &[], 4);
    let deposed: Vec<&Fired> = report.fired.iter().filter(|fired| fired.name == "deposed").collect();
    assert!(!deposed.is_empty(), "{:#?}", report.fired);
    for fired in deposed {
        let cause = fired.cause.as_ref().expect("a state-aware fault has a cause");
        assert_eq!(cause.condition.to_string(), "role == leader && term >= 2");
        assert!(fired.what.contains(&format!("pause {}", cause.node)), "{fired}");
    }
    assert_eq!(report.verdict, Verdict::Ok);
}

/// The faults that do not depend on what the cluster does.
fn timed(report: &Report) -> Vec<(Time, String, String)> {
    let timed = report.fired.iter().filter(|fired| fired.cause.is_none());
    timed.map(|fired| (fired.at, fired.name.clone(), format!("{:?}", fired.action))).collect()
}

#[test]
fn different_clusters_meet_the_same_faults_at_the_same_times() {
    let text = r#"
name = "same"
[cluster]
nodes = 5
clients = 3
[[fault]]
kind = "partition"
every = { min = "500ms", max = "2s" }
groups = "bridge"
for = { min = "100ms", max = "1s" }
[[fault]]
kind = "loss"
every = { min = "500ms", max = "2s" }
target = "@random"
for = "300ms"
[[fault]]
kind = "clock-jump"
every = "1s"
[budget]
time = "8s"
"#;
    for seed in 0..5 {
        let one = report(text, &[], seed);
        let other = report(
            text,
            &["cluster.options.election-timeout=[\"700ms\", \"900ms\"]", "disk.profile=hdd"],
            seed,
        );
        assert_ne!(one.digest, other.digest, "the clusters behave differently");
        assert!(timed(&one).len() > 10);
        assert_eq!(timed(&one), timed(&other), "seed {seed}");
    }
}

const WIPES: &str = r#"
name = "wipes"
[cluster]
nodes = 3
clients = 3
[[workload]]
rate = 100.0
[[fault]]
kind = "wipe"
every = "400ms"
restart-after = "50ms"
[budget]
time = "6s"
"#;

#[test]
fn within_the_limits_a_wiped_node_stays_down_and_beyond_them_it_forgets_its_promises() {
    let survivable = report(WIPES, &["check.liveness={ after-heal = \"2s\", operations = 20 }"], 1);
    assert_eq!(survivable.verdict, Verdict::Ok);
    assert_eq!(survivable.extent.damaged.len(), 1, "a minority of three");
    assert!(survivable.extent.withheld > 0);
    let broken = (0..20).filter(|seed| {
        let report = report(WIPES, &["faults=any"], *seed);
        assert_eq!(report.extent.limits, Limits::Any);
        matches!(report.verdict, Verdict::Violation(_))
    });
    assert!(broken.count() > 5, "a cluster whose disks are wiped one after the other loses what it answered");
}

#[test]
fn with_a_core_the_others_stay_as_they_are() {
    let text = r#"
name = "core"
[cluster]
nodes = 5
clients = 3
[[fault]]
name = "down"
kind = "kill"
at = "1s"
target = ["n1", "n2", "n3", "n4", "n5"]
restart-after = "10s"
[check]
liveness = { after-heal = "4s", operations = 100, core = "majority" }
[budget]
time = "6s"
"#;
    for seed in 0..5 {
        let report = report(text, &[], seed);
        assert_eq!(report.verdict, Verdict::Ok, "three nodes came back and go on");
        assert_eq!(report.world.kills, 5);
    }
    let all_down =
        report(&text.replace("core = \"majority\"", "core = \"all\"").replace("10s", "1s"), &[], 1);
    assert_eq!(all_down.verdict, Verdict::Ok);
}

#[test]
fn a_cluster_that_does_not_recover_says_why() {
    let text = r#"
name = "stuck"
faults = "any"
[cluster]
nodes = 3
clients = 2
[[fault]]
name = "rot"
kind = "latent-sector"
at = "1s"
target = ["n1", "n2"]
clusters = 2000
sectors = 8
[[fault]]
kind = "kill"
at = "2s"
target = ["n1", "n2"]
restart-after = "100ms"
[check]
liveness = { after-heal = "3s", operations = 10 }
[budget]
time = "6s"
"#;
    let Verdict::Violation(finding) = report(text, &[], 1).verdict else { panic!("two of three are gone") };
    assert_eq!(finding.check, "liveness");
    let text = finding.evidence.join("\n");
    assert!(text.contains("1 of 3 nodes are up, no quorum of those who vote: n1,n2,n3"), "{text}");
}

#[test]
fn what_is_judged_on_the_fly_ends_a_run_at_its_first_violation() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/kv/one-partition.toml");
    let found = (0..100).find_map(|seed| {
        let scenario = Scenario::load(file.as_ref(), &[]).expect("a scenario");
        let mut plan = scenario.plan(Seed(seed), Some(contract::Bug::ReadWithoutQuorum)).expect("a plan");
        let whole = run(&plan, RunOptions::default()).report;
        matches!(whole.verdict, Verdict::Violation(_)).then(|| {
            plan.checks.stop_at_first = true;
            (whole, run(&plan, RunOptions::default()).report)
        })
    });
    let (whole, early) = found.expect("a seed that fails");
    assert!(early.verdict.agrees(&whole.verdict), "{} and {}", early.verdict, whole.verdict);
    assert!(early.simulated < whole.simulated, "{} < {}", early.simulated, whole.simulated);
}

#[test]
fn a_history_that_is_wanted_is_kept() {
    let mut plan = plan("name = \"x\"\n[budget]\ntime = \"2s\"\n", &[], 1);
    let whole = run(&plan, RunOptions::default());
    plan.checks.stop_at_first = true;
    let kept = run(&plan, RunOptions { keep_history: true, ..RunOptions::default() });
    assert_eq!((kept.history, kept.report.digest), (whole.history, whole.report.digest));
    assert!(run(&plan, RunOptions::default()).history.events().is_empty(), "else it is forgotten");
    assert!(
        plan.world.nodes == 5 && NodeId(5).slot() == 4 && plan.until == Time::ZERO + Duration::from_secs(2)
    );
}

/// The reference names everything that a scenario can say about faults.
#[test]
fn the_reference_is_complete() {
    let text = include_str!("../../docs/faults.md");
    let words = KINDS.iter().flat_map(|info| {
        let measures = info.measures.iter().map(|(measure, ..)| measure.name());
        let settings = info.settings.iter().map(|(setting, _)| setting.name());
        [info.name].into_iter().chain(measures).chain(settings)
    });
    let events = Event::ALL.iter().map(|(_, name, _)| *name);
    let shapes = Shape::ALL.iter().map(|(name, _)| *name);
    let roles = Target::ROLES.iter().map(|(name, _)| *name);
    for word in words.chain(events).chain(shapes).chain(roles) {
        assert!(text.contains(&format!("`{word}`")), "docs/faults.md does not name `{word}`");
    }
    for info in KINDS {
        assert!(text.contains(&format!("| `{}` | {} |", info.name, info.about)), "{}", info.name);
    }
}

#[test]
fn the_order_of_the_service_explains_nearly_every_history() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/kv/one-partition.toml");
    let scenario = Scenario::load(file.as_ref(), &[]).expect("a scenario");
    let explained = (0..10).filter(|seed| {
        let run = run(&scenario.plan(Seed(*seed), None).expect("a plan"), RunOptions::default());
        assert_eq!(run.report.verdict, Verdict::Ok);
        checker::witness(&run.history, &checker::models::Kv::default(), &run.order).expect("well-formed")
    });
    assert!(explained.count() >= 8, "the search would have to do what is known");
}

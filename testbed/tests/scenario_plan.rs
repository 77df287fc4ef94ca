//! What a scenario and a seed make: defaults, draws and overrides.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{NodeId, Seed, Time};
use seedbed_testbed::plan::{Aim, Draw, Kind, Plan, PlannedFault, Target, Trigger};
use seedbed_testbed::scenario::{self, Scenario};

fn scenario(text: &str, set: &[&str]) -> Scenario {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    Scenario::parse("x.toml", text, &set).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(text: &str, set: &[&str], seed: u64) -> Plan {
    scenario(text, set).plan(Seed(seed), None).expect("options that raft takes")
}

fn seconds(number: u64) -> Time {
    Time::ZERO + Duration::from_secs(number)
}

/// Every kind of draw at once.
const DRAWN: &str = r#"
name = "drawn"
[cluster]
nodes = { one_of = [3, 5, 7] }
clients = { min = 1, max = 20 }
options = { heartbeat-interval = { min = "10ms", max = "50ms" } }
[engine]
memtable = { min = "4KiB", max = "64KiB" }
[net]
latency = { log-normal = { median = { min = "100us", max = "1ms" }, p99 = "8ms" } }
loss = { min = 0, max = 0.2 }
[disk]
flush = { uniform = { min = "1ms", max = { min = "2ms", max = "9ms" } } }
[clock]
skew = { min = "0ms", max = "100ms" }
[[workload]]
rate = { min = 10, max = 500 }
mix = { get = { min = 0.1, max = 1 }, put = 1 }
[[fault]]
name = "cut"
kind = "partition"
every = { min = "2s", max = "6s" }
for = { min = "1s", max = "9s" }
[[fault]]
name = "alone"
kind = "partition"
at = { min = "5s", max = "40s" }
for = "3s"
groups = "isolate-one"
[[fault]]
kind = "crash"
at = "20s"
target = "@random"
restart-after = { min = "200ms", max = "2s" }
[[fault]]
kind = "crash"
when = "leader-elected"
probability = { min = 0.1, max = 0.5 }
restart-after = { min = "200ms", max = "2s" }
[check]
liveness = { after-heal = "10s", operations = 50 }
"#;

#[test]
fn a_name_is_enough() {
    let plan = plan("name = \"x\"", &[], 7);
    let text = serde_json::to_value(&plan).expect("a plan is plain data");
    assert_eq!((plan.world.nodes, plan.world.clients, plan.memtable_bytes), (5, 5, 65_536));
    assert_eq!((plan.protocol.as_str(), plan.engine.as_str()), ("raft", "lsm"));
    assert_eq!(plan.world.net, sim::config::net_profile("lan").expect("a profile"));
    assert_eq!(plan.world.disk, sim::config::disk_profile("nvme").expect("a profile"));
    assert_eq!(
        text["workloads"],
        serde_json::json!([{
            "kind": "kv", "rate": 250.0, "keys": 5, "timeout": {"secs": 2, "nanos": 0}, "value_size": 8,
            "retry_after": [{"secs": 0, "nanos": 200_000_000}, {"secs": 0, "nanos": 300_000_000}],
            "mix": {"get": 0.4, "put": 0.3, "append": 0.1, "cas": 0.1, "delete": 0.05, "scan": 0.05,
                    "decide": 0.0},
        }])
    );
    assert_eq!(
        text["checks"],
        serde_json::json!({
            "history": "linearizable", "steps": 20_000_000, "stop_at_first": false, "liveness": null,
            "monitors": [
                "one-leader-per-term", "log-matching", "state-machine-safety", "commit-monotonic",
                "promises-kept", "primary-integrity", "protocol-laws"
            ],
        })
    );
    assert!(plan.faults.is_empty());
    assert_eq!((plan.until, plan.quiet_from, plan.events), (seconds(60), seconds(60), 5_000_000));
}

#[test]
fn a_plan_is_a_function_of_scenario_and_seed() {
    let drawn = scenario(DRAWN, &[]);
    let plans = |seed| drawn.plan(Seed(seed), None).expect("options that raft takes");
    for seed in 0..50 {
        assert_eq!(plans(seed), plan(DRAWN, &[], seed));
        let text = serde_json::to_string(&plans(seed)).expect("a plan is plain data");
        let again: Plan = serde_json::from_str(&text).expect("what was just written");
        assert_eq!(again, plans(seed), "the numbers of a plan survive their text");
    }
    let sizes: BTreeSet<u16> = (0..50).map(|seed| plans(seed).world.nodes).collect();
    assert_eq!(sizes, BTreeSet::from([3, 5, 7]));
    let losses: BTreeSet<String> = (0..50).map(|seed| plans(seed).world.net.loss.to_string()).collect();
    assert_eq!(losses.len(), 50, "a range gives each seed its own number");
}

/// The law of keyed draws: what stands beside a choice does not change it.
#[test]
fn one_more_fault_changes_no_other_choice() {
    let more = r#"
[[fault]]
name = "first"
kind = "crash"
at = { min = "1s", max = "9s" }
restart-after = "1s"
"#;
    let (head, tail) = DRAWN.split_at(DRAWN.find("[[fault]]").expect("there are faults"));
    let longer = format!("{head}{more}{tail}");
    for seed in 0..20 {
        let before = plan(DRAWN, &[], seed);
        let mut after = plan(&longer, &[], seed);
        let place = after.faults.iter().position(|fault| fault.name == "first").expect("it was added");
        after.faults.remove(place);
        assert_eq!(after, before, "seed {seed}");
    }
}

#[test]
fn one_choice_less_changes_no_other_choice() {
    for seed in 0..20 {
        let before = plan(DRAWN, &[], seed);
        let mut after = plan(DRAWN, &["net.loss=0.5", "fault.cut.for=1s"], seed);
        assert_eq!(after.world.net.loss, 0.5);
        after.world.net.loss = before.world.net.loss;
        for (fault, old) in after.faults.iter_mut().zip(&before.faults) {
            if fault.name.starts_with("cut#") {
                assert_eq!((&fault.trigger, fault.id), (&old.trigger, old.id));
                fault.action = old.action.clone();
            }
        }
        assert_eq!(after, before, "seed {seed}");
    }
}

fn lasts(fault: &PlannedFault) -> Duration {
    match &fault.action.lasts {
        Some(Draw::Fixed(time)) => *time,
        other => panic!("a timed fault has a fixed magnitude: {other:?}"),
    }
}

#[test]
fn timed_faults_are_over_when_the_quiet_tail_begins() {
    for seed in 0..100 {
        let plan = plan(DRAWN, &[], seed);
        assert_eq!(plan.quiet_from, seconds(50));
        let mut last = Time::ZERO;
        let mut repeated = 0;
        for fault in &plan.faults {
            let Trigger::At(at) = fault.trigger else { continue };
            assert!(at >= last, "timed faults stand in order");
            assert!(at + lasts(fault) <= plan.quiet_from, "seed {seed}: {fault:?}");
            repeated += u32::from(fault.name.starts_with("cut#"));
            last = at;
        }
        assert!((8..=25).contains(&repeated), "every 2s to 6s in 50s, but {repeated} times");
    }
}

#[test]
fn partitions_of_timed_faults_name_their_nodes() {
    let mut sides = BTreeSet::new();
    for seed in 0..100 {
        let plan = plan(DRAWN, &["cluster.nodes=5"], seed);
        for fault in &plan.faults {
            let Aim::Groups(groups) = &fault.action.aim else { continue };
            if fault.name == "alone" {
                assert!(matches!(groups[0][..], [Target::Node(_)]) && groups[1] == [Target::Rest]);
                continue;
            }
            assert_eq!((groups[0].len(), groups[1].len()), (2, 3), "halves of five");
            let all: BTreeSet<String> = groups.iter().flatten().map(Target::to_string).collect();
            assert_eq!(all.into_iter().collect::<Vec<_>>(), ["n1", "n2", "n3", "n4", "n5"]);
            sides.insert(groups[0].iter().map(Target::to_string).collect::<String>());
        }
    }
    assert_eq!(sides.len(), 10, "every choice of two of five comes up");
}

#[test]
fn state_aware_faults_keep_their_draws() {
    let plan = plan(DRAWN, &["cluster.nodes=5"], 3);
    let crash = plan.faults.last().expect("state-aware faults come last");
    assert_eq!(crash.name, "crash-2");
    assert!(matches!(crash.trigger, Trigger::When { at_most: 20, probability, .. } if probability < 0.5));
    let restart_after = Draw::Range { min: Duration::from_millis(200), max: Duration::from_secs(2) };
    assert_eq!((crash.action.kind, &crash.action.aim), (Kind::Crash, &Aim::Nodes(vec![Target::Subject])));
    assert_eq!(crash.action.lasts, Some(restart_after));
}

#[test]
fn listed_groups_keep_roles_and_draw_distinct_nodes() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["@leader", "n4", "@random"], ["@random", "*"]]
"#;
    for seed in 0..50 {
        let plan = plan(text, &[], seed);
        let Aim::Groups(groups) = &plan.faults[0].action.aim else { panic!("a partition") };
        let (Target::Node(one), Target::Node(other)) = (groups[0][2], groups[1][0]) else {
            panic!("drawn in the plan: {groups:?}")
        };
        assert_eq!(groups[0][..2], [Target::Leader, Target::Node(NodeId(4))]);
        assert_eq!(groups[1][1], Target::Rest);
        assert!(one != other && one != NodeId(4) && other != NodeId(4), "{groups:?}");
    }
}

#[test]
fn overrides_reach_every_place() {
    let text = r#"
name = "x"
[[fault]]
name = "cut"
kind = "partition"
at = "10s"
for = "8s"
[[fault]]
kind = "crash"
at = "20s"
restart-after = "1s"
"#;
    let set = [
        "cluster.nodes=3",
        "fault.cut.at=4s",
        "fault.crash-1.restart-after = \"2s\"",
        "workload=[{ rate = 10, mix = { get = 1, put = 3 } }]",
        "net.latency={ uniform = { min = \"1ms\", max = \"2ms\" } }",
        "cluster.options.election-timeout=[\"1s\", \"2s\"]",
        "check.monitors=[]",
        "budget.time=30s",
        "budget.time=40s",
    ];
    let plan = plan(text, &set, 1);
    assert_eq!((plan.world.nodes, plan.until), (3, seconds(40)), "the last override of a field counts");
    assert_eq!(plan.faults[0].trigger, Trigger::At(seconds(4)));
    assert_eq!(lasts(&plan.faults[1]), Duration::from_secs(2));
    assert_eq!((plan.workloads[0].mix.get, plan.workloads[0].mix.put), (0.25, 0.75));
    let (min, max) = (Duration::from_millis(1), Duration::from_millis(2));
    assert_eq!(plan.world.net.latency, sim::config::Latency::Uniform { min, max });
    assert_eq!(plan.options, serde_json::json!({"election-timeout": ["1s", "2s"]}));
    assert!(plan.checks.monitors.is_empty());
}

#[test]
fn the_schema_knows_every_key_and_requires_none_but_the_name() {
    let schema = scenario::schema();
    assert_eq!(schema["required"], serde_json::json!(["name"]));
    let keys = |object: &serde_json::Value| -> Vec<String> {
        object["properties"].as_object().expect("a table").keys().cloned().collect()
    };
    assert_eq!(
        keys(&schema),
        [
            "about",
            "budget",
            "check",
            "clock",
            "cluster",
            "cpu",
            "disk",
            "engine",
            "expect",
            "fault",
            "faults",
            "name",
            "net",
            "row",
            "swarm",
            "transactions",
            "workload"
        ]
    );
    assert_eq!(keys(&schema["$defs"]["Budget"]), ["events", "time"]);
    assert_eq!(schema["$defs"]["Fault"]["required"], serde_json::json!(["kind"]));
    assert_eq!(schema["$defs"]["Cluster"]["properties"]["nodes"]["default"], 5);
    let text = schema.to_string();
    assert!(
        text.contains("hard-state-write-pending") && text.contains("nvme"),
        "names come from the registry"
    );
}

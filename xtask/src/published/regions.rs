//! CASPaxos's table of latencies (Rystsov, 2018): a client in each of three regions reads a value and writes
//! it back. With a leader a read takes the way to the leader and a round of the leader's, and so does the
//! write.

use std::time::Duration;

use contract::{Address, ClientId, Seed};
use sim::config::{Latency, LinkRule, Links, NetConfig};
use testbed::scenario::Scenario;
use testbed::{RunOptions, run};

use super::{Line, Tolerance};

/// Round trips between the regions, in ms: 1–2, 1–3, 2–3. The leader is in the third.
const ROUND_TRIPS: [(u16, u16, f64); 3] = [(1, 2, 21.8), (1, 3, 169.0), (2, 3, 189.2)];
/// Read and write from each region, in ms.
const PREDICTED: [f64; 3] = [676.0, 716.4, 338.0];

fn link(one: impl Into<Address>, other: impl Into<Address>, round_trip: f64) -> LinkRule {
    let latency = Latency::Constant(Duration::from_secs_f64(round_trip / 2e3));
    let links = Links { from: vec![one.into()], to: vec![other.into()], both_ways: true };
    LinkRule { links, net: NetConfig::with_latency(latency) }
}

/// Protocols whose leader can be handed over, with timeouts that fit such distances.
const LED: [(&str, &str); 4] = [
    ("raft", r#"{ election-timeout = ["2s", "3s"], heartbeat-interval = "500ms" }"#),
    ("multi-paxos", r#"{ election-timeout = ["2s", "3s"], heartbeat-interval = "500ms" }"#),
    (
        "zab",
        r#"{ tick-time = "500ms", notification-interval = "2s", max-notification-interval = "8s", finalize-wait = "1s" }"#,
    ),
    ("vr", r#"{ view-change-timeout = ["2s", "3s"], heartbeat-interval = "500ms" }"#),
];

/// The mean time of a read and of a write from a region, in ms, once the third region leads.
fn read_and_write(protocol: &str, options: &str, region: u16) -> f64 {
    let text = format!(
        r#"
        name = "regions"
        [cluster]
        nodes = 3
        clients = 3
        protocol = "{protocol}"
        options = {options}
        [net]
        profile = "ideal"
        [disk]
        profile = "ideal"
        [[workload]]
        rate = 0.3
        keys = 1
        mix = {{ get = 0.5, put = 0.5 }}
        timeout = "20s"
        retry-after = "5s"
        [[fault]]
        kind = "transfer"
        at = "8s"
        target = "n3"
        [[fault]]
        kind = "transfer"
        at = "12s"
        target = "n3"
        [budget]
        time = "400s"
        "#
    );
    let scenario = Scenario::parse("regions", &text, &[]).expect("the scenario is well formed");
    let mut plan = scenario.plan(Seed(1), None).expect("it can be planned");
    let mut links: Vec<LinkRule> = Vec::new();
    for (one, other, round_trip) in ROUND_TRIPS {
        let (a, b) = (contract::NodeId(one), contract::NodeId(other));
        links.push(link(a, b, round_trip));
        links.push(link(ClientId(one), b, round_trip));
        links.push(link(ClientId(other), a, round_trip));
    }
    plan.world.links = links;
    let run = run(&plan, RunOptions { keep_history: true, ..RunOptions::default() });
    let mut took = [(0.0, 0.0); 2];
    let mut begun = std::collections::BTreeMap::new();
    for event in run.history.events() {
        match &event.kind {
            contract::EventKind::Invoke(op) => {
                begun.insert(event.op, (event.time, op.is_read()));
            }
            contract::EventKind::Return(_) if event.client == ClientId(region) => {
                let (since, is_read) = begun[&event.op];
                if since.0 > 40_000_000_000 {
                    let sum = &mut took[usize::from(is_read)];
                    *sum = (sum.0 + event.time.since(since).as_secs_f64() * 1e3, sum.1 + 1.0);
                }
            }
            contract::EventKind::Return(_) => {}
        }
    }
    took.iter().map(|(sum, number)| sum / number).sum()
}

/// Each protocol with a leader, from each region.
pub(super) fn latencies() -> Vec<Line> {
    let mut lines = Vec::new();
    for (protocol, options) in LED {
        for (region, expected) in (1..).zip(PREDICTED) {
            lines.push(Line {
                what: format!("CASPaxos, {protocol} led from region 3, region {region}"),
                expected,
                measured: read_and_write(protocol, options, region),
                unit: "ms",
                tolerance: Tolerance::Share(0.05),
            });
        }
    }
    lines
}

//! OmniPaxos's Table 1 (Ng, Haridi and Carbone, EuroSys 2023): which protocol makes progress under a partial
//! partition. Five servers, three for the chain; time-outs of 50 ms; 60 s of partition in 100 s.
//!
//! *Quorum loss*: everyone reaches only the one in the middle, which does not lead. *Constrained election*:
//! the same, with the leader away altogether and the log of the middle behind the others'. *Chained*: the
//! leader, at one end of a row, does not reach the other end.

use contract::Seed;
use testbed::scenario::Scenario;
use testbed::{RunOptions, registry, run};

/// The least election time-out, in ms.
const TIMEOUT_MS: f64 = 50.0;
/// A row is dead if it was without an answer for so long, in ms: half of the partition.
const DEAD_MS: f64 = 30_000.0;

const SITUATIONS: [(&str, u16, &str); 3] = [
    (
        "quorum loss",
        5,
        "[[fault]]\nkind = \"partition\"\nat = \"20s\"\nfor = \"60s\"\ngroups = \"constrained\"\ntarget = \"@follower\"\n",
    ),
    (
        "constrained election",
        5,
        "[[fault]]\nname = \"behind\"\nkind = \"partition\"\nat = \"18s\"\nfor = \"2s\"\ngroups = [[\"n5\"], [\"*\"]]\n\
         [[fault]]\nname = \"star\"\nkind = \"partition\"\nat = \"20s\"\nfor = \"60s\"\ngroups = \"constrained\"\ntarget = \"n5\"\n\
         [[fault]]\nname = \"away\"\nkind = \"partition\"\nat = \"20s\"\nfor = \"60s\"\ngroups = [[\"@leader\"], [\"*\"]]\n",
    ),
    (
        "chained",
        3,
        "[[fault]]\nkind = \"partition\"\nat = \"20s\"\nfor = \"60s\"\ngroups = [[\"@leader\"], [\"@follower\"]]\n",
    ),
];

/// A protocol, its options, and what the table says of it, where it is not disputed: `true` makes progress.
struct Row {
    name: &'static str,
    protocol: &'static str,
    options: &'static str,
    published: [Option<bool>; 3],
}

const ROWS: [Row; 5] = [
    Row {
        name: "raft, plain",
        protocol: "raft",
        options: "election-timeout = [\"50ms\", \"100ms\"], heartbeat-interval = \"15ms\", pre-vote = false, check-quorum = false",
        published: [None, Some(false), None],
    },
    Row {
        name: "raft, pre-vote and check-quorum",
        protocol: "raft",
        options: "election-timeout = [\"50ms\", \"100ms\"], heartbeat-interval = \"15ms\", pre-vote = true, check-quorum = true",
        published: [Some(true), Some(false), Some(true)],
    },
    Row {
        name: "multi-paxos",
        protocol: "multi-paxos",
        options: "election-timeout = [\"50ms\", \"100ms\"], heartbeat-interval = \"15ms\"",
        published: [None, Some(true), None],
    },
    Row {
        name: "zab",
        protocol: "zab",
        options: "tick-time = \"25ms\", notification-interval = \"20ms\", finalize-wait = \"20ms\"",
        published: [None, None, None],
    },
    Row {
        name: "vr",
        protocol: "vr",
        options: "view-change-timeout = [\"50ms\", \"100ms\"], heartbeat-interval = \"15ms\"",
        published: [None, None, None],
    },
];

/// The longest time without an answer, in ms, if the protocol takes these options.
fn downtime(row: &Row, nodes: u16, faults: &str, seed: u64) -> Option<f64> {
    let options = row.options;
    let text = format!(
        "name = \"partial\"\n[cluster]\nnodes = {nodes}\nclients = {nodes}\nprotocol = \"{}\"\noptions = {{ {options} }}\n\
         [net]\nlatency = {{ constant = \"1ms\" }}\n[disk]\nprofile = \"nvme-plp\"\n\
         [[workload]]\nrate = 50.0\n{faults}\
         [budget]\ntime = \"100s\"\nevents = 50_000_000\n",
        row.protocol
    );
    let scenario = Scenario::parse(row.name, &text, &[]).ok()?;
    let plan = scenario.plan(Seed(seed), None).ok()?;
    Some(run(&plan, RunOptions::default()).report.availability.longest.as_secs_f64() * 1e3)
}

/// Prints the table; whether it agrees with what is published and not disputed.
pub(super) fn print() -> bool {
    println!(
        "\npartial partitions: the longest time without an answer, in election time-outs, of 5 seeds the median"
    );
    print!("{:<34}", "");
    SITUATIONS.iter().for_each(|(name, ..)| print!(" {name:>26}"));
    println!();
    let mut agrees = true;
    for row in ROWS.iter().filter(|row| registry::by_name(row.protocol).is_some()) {
        print!("{:<34}", row.name);
        for ((_, nodes, faults), published) in SITUATIONS.iter().zip(row.published) {
            let mut times: Vec<f64> = (0..5).filter_map(|seed| downtime(row, *nodes, faults, seed)).collect();
            times.sort_by(f64::total_cmp);
            let Some(median) = times.get(times.len() / 2) else {
                print!(" {:>26}", "has other options");
                continue;
            };
            let progress = *median < DEAD_MS;
            let shown = if progress { format!("{:.1}", median / TIMEOUT_MS) } else { "dead".to_owned() };
            let says = match published {
                None => "disputed or ✗",
                Some(true) => "✓",
                Some(false) => "✗",
            };
            let holds = published.is_none_or(|published| published == progress);
            agrees &= holds;
            print!(" {:>26}", format!("{shown} ({says}){}", if holds { "" } else { " !" }));
        }
        println!();
    }
    agrees
}

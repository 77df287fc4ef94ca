//! The simulator's speed: CPU time of one thread, medians of several runs.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use contract::{Address, Env, NodeId, Seed, Time, TimerId, WireSize};
use cpu_time::ProcessTime;
use sim::config::{DISK_PROFILES, Latency, NetConfig, WorldConfig};
use sim::{Event, World};
use testbed::scenario::Scenario;
use testbed::{RunOptions, Verdict};

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// The simulated world.
    #[default]
    World,
    /// The world and other projects' tools, side by side.
    Peers,
}

/// Measures and prints every figure.
pub(crate) fn run(runs: usize) {
    assert!(runs > 0, "at least one run");
    if cfg!(debug_assertions) {
        eprintln!("these are figures of an unoptimised build: use `cargo run --release -p xtask -- bench`");
    }
    println!("{:<58} {:>12} {:>14}", "", "measured", "target");
    let row = |what: &str, figure: f64, unit: &str, target: &str| {
        println!("{what:<58} {figure:>12.0} {target:>14} {unit}");
    };
    row("typed ping-pong, 5 nodes, full network", median(runs, ping_pong), "ns/message", "<= 150");
    row("1000 sleeping tasks", median(runs, sleepers), "ns/timer", "<= 100");
    row("1000 armed timers", median(runs, timers), "ns/timer", "<= 100");
    row("Raft, 5 nodes, idle", median(runs, || raft(0.0, 600)), "sim s/CPU s", ">= 25000");
    row("Raft on LSM and NVMe, 100 writes/s", median(runs, || raft(100.0, 60)), "sim s/CPU s", ">= 600");
}

fn median(runs: usize, measure: impl Fn() -> f64) -> f64 {
    let mut figures: Vec<f64> = (0..runs).map(|_| measure()).collect();
    figures.sort_by(f64::total_cmp);
    figures[runs / 2]
}

fn nanoseconds(work: impl FnOnce()) -> f64 {
    let start = ProcessTime::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn world_of(nodes: u16) -> WorldConfig {
    WorldConfig {
        seed: Seed(1),
        nodes,
        clients: 0,
        net: NetConfig {
            latency: Latency::LogNormal { median: Duration::from_micros(250), p99: Duration::from_millis(2) },
            loss: 0.0001,
            ..NetConfig::default()
        },
        disk: DISK_PROFILES[0].1,
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    }
}

#[derive(Clone, Debug, Hash)]
struct Ball(u64);

impl WireSize for Ball {
    fn wire_size(&self) -> usize {
        8
    }
}

/// Each node returns every ball to its sender; a lost one is replaced, so that the rally goes on.
fn ping_pong() -> f64 {
    const MESSAGES: u64 = 1_000_000;
    let world: World<Ball> = World::new(&world_of(5));
    let envs: Vec<_> = (1..=5).map(|node| world.env(NodeId(node))).collect();
    let mut delivered = 0;
    let total = nanoseconds(|| {
        while delivered < MESSAGES {
            for (place, env) in envs.iter().enumerate() {
                env.send(Address::Node(NodeId((place as u16 + 1) % 5 + 1)), Ball(delivered));
            }
            while delivered < MESSAGES
                && let Some(event) = world.next(Time::FAR)
            {
                if let Event::Message { to: Address::Node(to), from, message } = event {
                    delivered += 1;
                    envs[to.slot()].send(from, Ball(message.0 + 1));
                }
            }
        }
    });
    total / delivered as f64
}

/// Tasks that sleep for a millisecond each time.
fn sleepers() -> f64 {
    const SLEEPS: u64 = 1_000_000;
    let world: World<Ball> = World::new(&world_of(5));
    let slept = Rc::new(Cell::new(0));
    for task in 0..1000_u64 {
        let env = world.env(NodeId(1));
        let slept = Rc::clone(&slept);
        env.clone().spawn(async move {
            loop {
                env.sleep(Duration::from_micros(1000 + task)).await;
                slept.set(slept.get() + 1);
            }
        });
    }
    let total = nanoseconds(|| {
        let mut until = Time::ZERO;
        while slept.get() < SLEEPS {
            until = until + Duration::from_millis(10);
            while world.next(until).is_some() {}
        }
    });
    total / slept.get() as f64
}

/// Timers that are armed again when they fire.
fn timers() -> f64 {
    const FIRED: u64 = 1_000_000;
    let world: World<Ball> = World::new(&world_of(5));
    let env = world.env(NodeId(1));
    let within = Duration::from_millis(1)..=Duration::from_millis(2);
    (0..1000).for_each(|timer| env.set_timer(TimerId(timer), within.clone()));
    let mut fired = 0;
    let total = nanoseconds(|| {
        while fired < FIRED
            && let Some(event) = world.next(Time::FAR)
        {
            if let Event::Timer { timer, .. } = event {
                fired += 1;
                env.set_timer(timer, within.clone());
            }
        }
    });
    total / fired as f64
}

/// Operations per second of clients that as good as never ask for anything.
const IDLE: f64 = 1e-6;

/// Simulated seconds per CPU second of a whole Raft cluster with storage and monitors.
fn raft(writes_per_second: f64, seconds: u64) -> f64 {
    let text = format!(
        "name = \"bench\"\n[cluster]\nnodes = 5\nclients = 5\n[net]\nprofile = \"lan\"\n[disk]\nprofile = \
         \"nvme\"\n[[workload]]\nkind = \"kv\"\nrate = {rate}\nkeys = 100\nmix = {{ put = 1.0 }}\n[budget]\ntime = \
         \"{seconds}s\"\nevents = 1_000_000_000\n",
        rate = writes_per_second.max(IDLE),
    );
    let scenario = Scenario::parse("bench", &text, &[]).expect("the benchmark's scenario is well formed");
    let plan = scenario.plan(Seed(1), None).expect("the benchmark's scenario can be planned");
    let mut verdict = Verdict::Ok;
    let total = nanoseconds(|| verdict = testbed::run(&plan, RunOptions::default()).report.verdict);
    assert_eq!(verdict, Verdict::Ok, "a benchmark of a broken run says nothing");
    seconds as f64 * 1e9 / total
}

//! The simulator's speed: CPU time of one thread, medians of several runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
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
    /// The storage engines and other projects', side by side on a real disk.
    Storage,
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
    // First: what a process holds at most only grows.
    let _ = raft(100.0, 60);
    if let Some(kib) = memory() {
        row("memory of 60 s of Raft on LSM and NVMe, whole process", kib / 1024.0, "MiB", "<= 32");
    }
    row("typed ping-pong, 5 nodes, full network", median(runs, || ping_pong(5, 5)), "ns/message", "<= 150");
    let (few, many) = (median(runs, || ping_pong(3, 1000)), median(runs, || ping_pong(101, 1000)));
    row("  3 nodes, 1000 messages under way", few, "ns/message", "");
    row("  101 nodes, 1000 messages under way", many, "ns/message", &format!("<= {:.0}", few * 1.5));
    row("  5 nodes, 100000 messages under way", median(runs, || ping_pong(5, 100_000)), "ns/message", "");
    row("the same between tasks, 5 nodes", median(runs, || tasks(5, 5)), "ns/message", "<= 400");
    row("  101 nodes, 1000 messages under way", median(runs, || tasks(101, 1000)), "ns/message", "");
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

/// Between which nodes a ball goes: to each of the others in turn.
fn next(from: NodeId, nodes: u16, round: u64) -> Address {
    let step = 1 + (round % u64::from(nodes - 1)) as u16;
    Address::Node(NodeId((from.0 - 1 + step) % nodes + 1))
}

/// Each node returns every ball to its sender, who plays it to another; a lost one is replaced after a while,
/// so that the rally goes on.
fn ping_pong(nodes: u16, balls: u64) -> f64 {
    const MESSAGES: u64 = 1_000_000;
    let world: World<Ball> = World::new(&world_of(nodes));
    let envs: Vec<_> = (1..=nodes).map(|node| world.env(NodeId(node))).collect();
    let mut delivered = 0;
    let again = Duration::from_millis(20)..=Duration::from_millis(20);
    let total = nanoseconds(|| {
        for ball in 0..balls {
            let from = NodeId((ball % u64::from(nodes)) as u16 + 1);
            envs[from.slot()].send(next(from, nodes, ball), Ball(2 * ball));
        }
        envs[0].set_timer(TimerId(0), again.clone());
        while delivered < MESSAGES
            && let Some(event) = world.next(Time::FAR)
        {
            match event {
                Event::Message { to: Address::Node(to), from, message: Ball(hops) } => {
                    delivered += 1;
                    let back = if hops % 2 == 0 { from } else { next(to, nodes, hops / 2) };
                    envs[to.slot()].send(back, Ball(hops + 1));
                }
                _ => {
                    envs[0].set_timer(TimerId(0), again.clone());
                    envs[0].send(next(NodeId(1), nodes, delivered), Ball(0));
                }
            }
        }
    });
    total / delivered as f64
}

/// What a task waits for.
#[derive(Default)]
struct Inbox {
    balls: RefCell<VecDeque<(Address, Ball)>>,
    waiting: RefCell<Option<Waker>>,
}

impl Inbox {
    fn put(&self, from: Address, ball: Ball) {
        self.balls.borrow_mut().push_back((from, ball));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    async fn take(&self) -> (Address, Ball) {
        poll_fn(|context| match self.balls.borrow_mut().pop_front() {
            Some(ball) => Poll::Ready(ball),
            None => {
                *self.waiting.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// The rally between tasks that wait for balls, over links that lose none.
fn tasks(nodes: u16, balls: u64) -> f64 {
    const MESSAGES: u64 = 1_000_000;
    let mut config = world_of(nodes);
    config.net.loss = 0.0;
    let world: World<Ball> = World::new(&config);
    let inboxes: Vec<Rc<Inbox>> = (0..nodes).map(|_| Rc::default()).collect();
    for (own, inbox) in (1..=nodes).map(NodeId).zip(&inboxes) {
        let (env, inbox) = (world.env(own), Rc::clone(inbox));
        world.env(own).spawn(async move {
            loop {
                let (from, Ball(hops)) = inbox.take().await;
                let back = if hops % 2 == 0 { from } else { next(own, nodes, hops / 2) };
                env.send(back, Ball(hops + 1));
            }
        });
    }
    let total = nanoseconds(|| {
        for ball in 0..balls {
            inboxes[(ball % u64::from(nodes)) as usize].put(Address::Node(NodeId(1)), Ball(2 * ball + 1));
        }
        for _ in 0..MESSAGES {
            if let Some(Event::Message { to: Address::Node(to), from, message }) = world.next(Time::FAR) {
                inboxes[to.slot()].put(from, message);
            }
        }
    });
    total / MESSAGES as f64
}

/// The most memory that this process ever held, in KiB, where the system tells.
fn memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
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

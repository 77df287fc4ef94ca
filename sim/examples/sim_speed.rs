//! How fast the world turns, in nanoseconds of wall clock per unit of work, on one core.
//!
//! `cargo run --release -p seedbed-sim --example sim_speed [part of a name]`

#![expect(clippy::disallowed_types, reason = "measuring speed needs a wall clock; nothing simulated sees it")]

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use contract::{Address, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use seedbed_sim::{Event, NetConfig, World, WorldConfig, disk_profile, net_profile};

/// A small typed message.
#[derive(Clone, Debug, Hash)]
enum Message {
    Ping { round: u64 },
    Pong { round: u64 },
}

impl WireSize for Message {
    fn wire_size(&self) -> usize {
        9
    }
}

fn config(nodes: u16, clients: u16) -> WorldConfig {
    let lan = net_profile("lan").expect("a known profile");
    WorldConfig {
        seed: Seed(1),
        nodes,
        clients,
        net: NetConfig { loss: 0.001, ..lan },
        disk: disk_profile("nvme").expect("a known profile"),
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    }
}

/// Runs `work` seven times, and prints the median time per unit.
fn measure(what: &str, work: impl Fn() -> u64) {
    if std::env::args().nth(1).is_some_and(|part| !what.contains(&part)) {
        return;
    }
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            let units = black_box(work());
            start.elapsed().as_nanos() as f64 / units as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<60} {:>8.1} ns (best {:.1})", times[3], times[0]);
}

/// Every node keeps `window` requests to its neighbours under way; lost ones are not repeated, so
/// a timer starts each round anew.
fn ping_pong(window: u64) -> u64 {
    let world = World::new(&config(5, 0));
    let nodes: Vec<NodeId> = (1..=5).map(NodeId::new).collect();
    let envs: Vec<_> = nodes.iter().map(|node| world.env(*node)).collect();
    let next = |node: NodeId, round: u64| Address::Node(nodes[(node.slot() + 1 + round as usize % 4) % 5]);
    for (env, node) in envs.iter().zip(&nodes) {
        for round in 0..window {
            env.send(next(*node, round), Message::Ping { round });
        }
        env.set_timer(TimerId(0), Duration::from_millis(50)..=Duration::from_millis(50));
    }
    for _ in 0..1_000_000 {
        match world.next(Time::FAR) {
            Some(Event::Message { to: Address::Node(to), from, message }) => match message {
                Message::Ping { round } => envs[to.slot()].send(from, Message::Pong { round }),
                Message::Pong { round } => {
                    envs[to.slot()].send(next(to, round + 1), Message::Ping { round: round + 1 });
                }
            },
            Some(Event::Timer { at: Address::Node(at), timer }) => {
                let env = &envs[at.slot()];
                env.set_timer(timer, Duration::from_millis(50)..=Duration::from_millis(50));
                env.send(next(at, 0), Message::Ping { round: 0 });
            }
            other => unreachable!("{other:?}"),
        }
    }
    world.stats().messages_sent
}

/// Each of 1000 endpoints has a timer that is armed again whenever it fires.
fn timers() -> u64 {
    let world = World::<()>::new(&config(1000, 0));
    let envs: Vec<_> = (1..=1000).map(|node| world.env(NodeId::new(node))).collect();
    let within = Duration::from_millis(100)..=Duration::from_millis(200);
    envs.iter().for_each(|env| env.set_timer(TimerId(0), within.clone()));
    for _ in 0..1_000_000 {
        match world.next(Time::FAR) {
            Some(Event::Timer { at: Address::Node(at), timer }) => {
                envs[at.slot()].set_timer(timer, within.clone());
            }
            other => unreachable!("{other:?}"),
        }
    }
    1_000_000
}

/// A timer that is put off at every message, as an election timer is.
fn put_off() -> u64 {
    let world = World::<()>::new(&config(5, 0));
    let env = world.env(NodeId::new(1));
    for i in 0..1_000_000 {
        env.set_timer(TimerId(0), Duration::from_millis(100)..=Duration::from_millis(200));
        if i % 100 == 0 {
            let now = world.now();
            assert!(world.next(now + Duration::from_millis(1)).is_none());
        }
    }
    1_000_000
}

/// 1000 tasks sleep, 1000 times each.
fn sleepers() -> u64 {
    let world = World::<()>::new(&config(5, 1000));
    for client in 1..=1000 {
        let env = world.env(contract::ClientId(client));
        let sleeper = env.clone();
        env.spawn(async move {
            for i in 0..1000 {
                sleeper.sleep(Duration::from_micros(1000 + (u64::from(client) * 7919 + i) % 1000)).await;
            }
        });
    }
    assert!(world.next(Time::FAR).is_none());
    1_000_000
}

/// A journal's life: 4 KiB appended into preallocated space, then a flush.
fn write_and_flush() -> u64 {
    const ROUNDS: u64 = 100_000;
    let world = World::<()>::new(&config(1, 0));
    let node = NodeId::new(1);
    let (env, fs) = (world.env(node), world.fs(node));
    let done = Rc::new(Cell::new(false));
    let told = Rc::clone(&done);
    env.spawn(async move {
        let file = fs.open("journal", OpenMode::Create).await.expect("the root exists");
        let mut buf = vec![7; 4096];
        for round in 0..ROUNDS {
            if round % 4096 == 0 {
                file.set_len(0).await.expect("never fails");
                file.allocate(4096 * 4096).await.expect("never fails");
            }
            let written;
            (written, buf) = file.write_at(round % 4096 * 4096, buf).await;
            written.expect("never fails");
            file.sync_data().await.expect("never fails");
        }
        told.set(true);
    });
    assert!(world.next(Time::FAR).is_none());
    assert!(done.get());
    ROUNDS
}

fn main() {
    measure("ping-pong, 5 nodes, 1 request each under way, per message", || ping_pong(1));
    measure("ping-pong, 5 nodes, 20 requests each under way, per message", || ping_pong(20));
    measure("timer of 1000 endpoints, armed and fired", timers);
    measure("timer put off", put_off);
    measure("1000 sleeping tasks, per sleep", sleepers);
    measure("4 KiB write and flush", write_and_flush);
}

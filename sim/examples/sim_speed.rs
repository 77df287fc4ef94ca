//! How fast the world turns, in nanoseconds of CPU time per unit of work, on one core: and that the cost
//! of a message grows neither with the events that are pending nor with the nodes that there are.
//!
//! `cargo run --release -p seedbed-sim --example sim_speed [part of a name]`

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use contract::{Address, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use cpu_time::ProcessTime;
use seedbed_sim::{Event, NetConfig, SimEnv, World, WorldConfig, disk_profile, net_profile};

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
fn measure(what: impl AsRef<str>, work: impl Fn() -> u64) {
    let what = what.as_ref();
    if std::env::args().nth(1).is_some_and(|part| !what.contains(&part)) {
        return;
    }
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = ProcessTime::now();
            let units = black_box(work());
            start.elapsed().as_nanos() as f64 / units as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<60} {:>8.1} ns (best {:.1})", times[3], times[0]);
}

/// The nodes keep `pending` requests under way together, each to the next of all others in turn; lost ones
/// are not repeated, so a timer starts each round anew.
fn ping_pong(count: u16, pending: u64) -> u64 {
    let world = World::new(&config(count, 0));
    let nodes: Vec<NodeId> = (1..=count).map(NodeId::new).collect();
    let envs: Vec<_> = nodes.iter().map(|node| world.env(*node)).collect();
    let next = |node: NodeId, round: u64| {
        let step = 1 + round as usize % (nodes.len() - 1);
        Address::Node(nodes[(node.slot() + step) % nodes.len()])
    };
    for round in 0..pending {
        let node = nodes[round as usize % nodes.len()];
        envs[node.slot()].send(next(node, round), Message::Ping { round });
    }
    let again = Duration::from_millis(50)..=Duration::from_millis(50);
    envs[0].set_timer(TimerId(0), again.clone());
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
                env.set_timer(timer, again.clone());
                env.send(next(at, 0), Message::Ping { round: 0 });
            }
            other => unreachable!("{other:?}"),
        }
    }
    world.stats().messages_sent
}

/// What a task waits for.
#[derive(Default)]
struct Inbox {
    messages: RefCell<VecDeque<(Address, Message)>>,
    waiting: RefCell<Option<Waker>>,
}

impl Inbox {
    fn put(&self, from: Address, message: Message) {
        self.messages.borrow_mut().push_back((from, message));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    async fn take(&self) -> (Address, Message) {
        poll_fn(|context| match self.messages.borrow_mut().pop_front() {
            Some(message) => Poll::Ready(message),
            None => {
                *self.waiting.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// A node as a task that answers requests and sends the next one for each answer.
async fn node(env: SimEnv<Message>, own: NodeId, count: u16, inbox: Rc<Inbox>) {
    let next = |round: u64| {
        let step = 1 + (round % u64::from(count - 1)) as usize;
        Address::Node(NodeId::new(((own.slot() + step) % usize::from(count)) as u16 + 1))
    };
    loop {
        match inbox.take().await {
            (from, Message::Ping { round }) => env.send(from, Message::Pong { round }),
            (_, Message::Pong { round }) => env.send(next(round + 1), Message::Ping { round: round + 1 }),
        }
    }
}

/// The same between tasks, without loss.
fn ping_pong_tasks(count: u16, pending: u64) -> u64 {
    let mut config = config(count, 0);
    config.net.loss = 0.0;
    let world = World::new(&config);
    let inboxes: Vec<Rc<Inbox>> = (0..count).map(|_| Rc::default()).collect();
    for (own, inbox) in (1..=count).map(NodeId::new).zip(&inboxes) {
        world.env(own).spawn(node(world.env(own), own, count, Rc::clone(inbox)));
    }
    for round in 0..pending {
        let at = (round % u64::from(count)) as usize;
        inboxes[at].put(Address::Node(NodeId::new(1)), Message::Pong { round });
    }
    for _ in 0..1_000_000 {
        match world.next(Time::FAR) {
            Some(Event::Message { to: Address::Node(to), from, message }) => {
                inboxes[to.slot()].put(from, message);
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

/// The most memory that the process ever held, in KiB, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn main() {
    if std::env::args().len() == 1 {
        // First, while the process has done nothing else.
        let before = memory();
        black_box(ping_pong(5, 100));
        if let (Some(before), Some(after)) = (before, memory()) {
            println!("{:<60} {:>8} KiB", "memory of a world of 5 nodes, 1000000 messages", after - before);
        }
    }
    measure("typed ping-pong, 5 nodes, 5 pending, per message", || ping_pong(5, 5));
    measure("async ping-pong, 5 nodes, 5 pending, per message", || ping_pong_tasks(5, 5));
    for pending in [100, 1_000, 10_000, 100_000] {
        measure(format!("typed ping-pong, 5 nodes, {pending} pending, per message"), || {
            ping_pong(5, pending)
        });
    }
    for nodes in [3, 5, 11, 31, 101] {
        measure(format!("typed ping-pong, {nodes} nodes, 1000 pending, per message"), || {
            ping_pong(nodes, 1000)
        });
    }
    for nodes in [3, 5, 11, 31, 101] {
        measure(format!("async ping-pong, {nodes} nodes, 1000 pending, per message"), || {
            ping_pong_tasks(nodes, 1000)
        });
    }
    measure("timer of 1000 endpoints, armed and fired", timers);
    measure("timer put off", put_off);
    measure("1000 sleeping tasks, per sleep", sleepers);
    measure("4 KiB write and flush", write_and_flush);
}

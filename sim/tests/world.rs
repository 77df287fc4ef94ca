//! What a world promises of its queue, network, clocks, timers and tasks.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use contract::{Address, ClientId, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use seedbed_sim::fault::{Crash, Partition};
use seedbed_sim::{DiskConfig, Event, Fault, Injected, World, WorldConfig, disk_profile, net_profile};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {}", self.0)
    }
}

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        8
    }
}

fn config(seed: u64, nodes: u16, clients: u16) -> WorldConfig {
    let net = net_profile("lan").expect("a known profile");
    // Sectors are torn too, so that a power loss has all its outcomes.
    let disk = DiskConfig { torn_unit: 1, ..disk_profile("nvme").expect("a known profile") };
    let clock_skew = Duration::from_millis(100);
    WorldConfig { seed: Seed(seed), nodes, clients, net, disk, clock_skew, ..WorldConfig::default() }
}

fn n(number: u16) -> NodeId {
    NodeId::new(number)
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn exactly(duration: Duration) -> std::ops::RangeInclusive<Duration> {
    duration..=duration
}

/// A bit of everything: gossip with lost messages, timers that are put off, journals, sleepers on
/// clients, crashes, restarts and a partition.
struct Mix {
    world: World<Number>,
}

impl Mix {
    const NODES: u16 = 5;

    fn new(config: &WorldConfig) -> Self {
        let mut config = config.clone();
        config.net.loss = 0.05;
        let mix = Self { world: World::new(&config) };
        (1..=Self::NODES).for_each(|node| mix.start(n(node)));
        for client in (1..=config.clients).map(ClientId) {
            let env = mix.world.env(client);
            env.clone().spawn(async move {
                for i in 0.. {
                    env.sleep(ms(u64::from(client.0))).await;
                    env.send(n(1 + (i % 5) as u16).into(), Number(i));
                }
            });
        }
        for second in 1..10 {
            mix.world.schedule(Time(second * 100_000_000), second);
        }
        mix
    }

    fn start(&self, node: NodeId) {
        let (env, fs) = (self.world.env(node), self.world.fs(node));
        env.set_timer(TimerId(0), ms(5)..=ms(10));
        for task in 0..3_u64 {
            let (env, fs) = (env.clone(), fs.clone());
            env.clone().spawn(async move {
                let file = fs.open(&format!("file{task}"), OpenMode::Create).await.expect("the root exists");
                fs.sync_dir("").await.expect("the root exists");
                for i in 0_u64.. {
                    let data = vec![i as u8; 100 + (i * 331 % 3000) as usize];
                    file.write_at(i * 700, data).await.0.expect("never fails");
                    if i % 3 == task {
                        file.sync_data().await.expect("never fails");
                    }
                    env.sleep(Duration::from_micros(300)).await;
                }
            });
        }
    }

    fn run(&self, until: Time) {
        let (mut partition, mut down) = (None, None);
        while let Some(event) = self.world.next(until) {
            match event {
                Event::Message { to: Address::Node(to), message: Number(hops), .. } => {
                    let env = self.world.env(to);
                    let neighbour = n(1 + (to.0 + hops as u16) % Self::NODES);
                    if hops < 20 {
                        env.send(neighbour.into(), Number(hops + 1));
                    }
                    env.set_timer(TimerId(1), ms(2)..=ms(4));
                }
                Event::Timer { at, timer } => {
                    let env = self.world.env(at);
                    env.send(n(1).into(), Number(timer.0.into()));
                    env.set_timer(timer, ms(5)..=ms(10));
                }
                Event::Control(second) if second % 3 == 1 => {
                    self.world.note(&[second], || format!("second {second}"));
                    partition = Some(self.world.partition(&vec![vec![n(1), n(2)], vec![n(3), n(4)]]));
                }
                Event::Control(second) if second % 3 == 2 => {
                    self.world.heal(partition.take().expect("it was cut before"));
                    down = Some(n(second as u16 / 3 + 1));
                    self.world.crash(n(second as u16 / 3 + 1));
                }
                Event::Control(_) => {
                    let node = down.take().expect("it crashed before");
                    self.world.restart(node);
                    self.start(node);
                }
                other => unreachable!("{other:?}"),
            }
        }
    }
}

/// Same seed, same digest; with and without a trace; in debug and in release (the digest is fixed
/// here, and both builds compare with it). Another seed, another digest.
#[test]
fn a_seed_is_a_run() {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let digest = |seed, traced| {
        let mix = Mix::new(&config(seed, Mix::NODES, 3));
        if traced {
            let sink = Rc::clone(&lines);
            mix.world.set_trace(Box::new(move |line| sink.borrow_mut().push(line.to_owned())));
        }
        mix.run(Time(1_000_000_000));
        (mix.world.digest(), mix.world.stats())
    };
    let traced = digest(1, true);
    let plain = digest(1, false);
    assert_eq!(traced, plain);
    assert_ne!(digest(2, false).0, plain.0);
    assert_eq!(plain.0.to_string(), "2261dbbe90cc1787be89994658de60b5");

    let stats = plain.1;
    assert_eq!(stats.crashes, 3);
    assert!(stats.messages_lost > 0 && stats.messages_partitioned > 0 && stats.messages_to_down > 0);
    assert!(stats.lost.sectors_kept > 0 && stats.lost.sectors_dropped > 0 && stats.lost.sectors_torn > 0);
    let lines = lines.borrow();
    assert!(lines.iter().all(|line| !line.contains('\n')));
    for kind in
        ["send n1 > n2", "deliver", "cut", "down", "timer", "run n1 task", "crash n2", "note second 1"]
    {
        assert!(lines.iter().any(|line| line.contains(kind)), "the trace never says `{kind}`");
    }
}

/// Nothing that was added to the world since shows where it is off: this digest stood before faults
/// of links, streams, drift, computing and the mechanics of disks were there, but for the order of
/// controls at one moment.
#[test]
fn what_is_off_is_as_if_it_did_not_exist() {
    let disk = DiskConfig { torn_unit: 1, ..disk_profile("ideal").expect("a known profile") };
    let mix = Mix::new(&WorldConfig { disk, ..config(1, Mix::NODES, 3) });
    mix.run(Time(1_000_000_000));
    assert_eq!(mix.world.digest().to_string(), "04bfb0b2b0a89697675c29011f4920c8");
}

/// When messages among three nodes and a client arrive, and when a timer fires, while others talk too.
fn arrivals(nodes: u16, clients: u16) -> Vec<(Time, Address, String)> {
    let world = World::<Number>::new(&config(7, nodes, clients));
    let known = |address| match address {
        Address::Node(node) => node < n(4),
        Address::Client(client) => client == ClientId(1),
    };
    let mut seen = Vec::new();
    for i in 0..200 {
        for from in 1..=nodes {
            world.env(n(from)).send(n(1 + from % nodes.min(3)).into(), Number(i));
        }
        for client in 1..=clients {
            world.env(ClientId(client)).send(n(1).into(), Number(i));
            world.env(n(1)).send(ClientId(client).into(), Number(i));
        }
        world.env(n(2)).set_timer(TimerId(3), ms(0)..=ms(9));
        while let Some(event) = world.next(Time(i * 10_000_000)) {
            match event {
                Event::Message { to, from, message } if known(to) && known(from) => {
                    seen.push((world.now(), to, format!("{from} {message}")));
                }
                Event::Timer { at, timer } => seen.push((world.now(), at, timer.to_string())),
                _ => {}
            }
        }
    }
    seen.sort();
    seen
}

#[test]
fn more_endpoints_shift_no_draw() {
    let alone = arrivals(3, 1);
    assert_eq!(alone.len(), 200 * 5 + 199, "each message arrives, and each timer fires");
    assert_eq!(alone, arrivals(5, 1));
    assert_eq!(alone, arrivals(3, 9));
}

#[test]
fn clocks_are_skewed_and_survive_a_restart() {
    let world = World::<Number>::new(&config(3, 3, 1));
    let ahead: Vec<Time> = (1..=3).map(|node| world.env(n(node)).now()).collect();
    assert!(ahead.iter().all(|time| time.0 <= 100_000_000) && ahead[0] != ahead[1]);
    assert_eq!(world.env(ClientId(1)).now(), Time::ZERO);
    assert_eq!(world.next(Time(500)), None);
    assert_eq!(world.now(), Time(500));
    world.crash(n(1));
    world.restart(n(1));
    assert_eq!(world.env(n(1)).now(), ahead[0] + Duration::from_nanos(500));
}

/// The receivers of all messages that arrive from now on.
fn receivers(world: &World<Number>) -> Vec<Address> {
    let receiver = |event| match event {
        Event::Message { to, .. } => to,
        other => unreachable!("{other:?}"),
    };
    let mut receivers: Vec<_> = std::iter::from_fn(|| world.next(Time::FAR)).map(receiver).collect();
    receivers.sort();
    receivers
}

#[test]
fn partitions_overlap_and_heal() {
    let world = World::<Number>::new(&config(1, 4, 1));
    let broadcast = |from: Address| {
        let others = (1..=4).map(|node| Address::Node(n(node))).chain([ClientId(1).into()]);
        others.filter(|to| *to != from).for_each(|to| world.env(from).send(to, Number(0)));
        receivers(&world)
    };
    let all_but_1: Vec<Address> = vec![n(2).into(), n(3).into(), n(4).into(), ClientId(1).into()];
    assert_eq!(broadcast(n(1).into()), all_but_1);

    let first = world.partition(&vec![vec![n(1)], vec![n(2), n(3)]]);
    let second = world.partition(&vec![vec![n(1), n(4)], vec![n(3)]]);
    assert_eq!(broadcast(n(1).into()), [n(4).into(), ClientId(1).into()]);
    assert_eq!(broadcast(n(2).into()), [n(3).into(), n(4).into(), ClientId(1).into()]);
    assert_eq!(broadcast(ClientId(1).into()).len(), 4, "clients reach everyone");
    world.heal(first);
    assert_eq!(broadcast(n(1).into()), [n(2).into(), n(4).into(), ClientId(1).into()]);
    world.heal(second);
    assert_eq!(broadcast(n(1).into()), all_but_1);

    world.env(n(1)).send(n(2).into(), Number(0));
    let late = world.inject(&Fault::Partition(Partition { groups: vec![vec![n(1)], vec![n(2)]] }));
    assert_eq!(receivers(&world), [], "what is under way is cut as well");
    assert_eq!(world.recover(late), None);
    assert_eq!(world.stats().messages_partitioned, 3 + 1 + 1);
}

#[test]
fn a_message_to_oneself_arrives_at_once() {
    let world = World::<Number>::new(&config(1, 1, 0));
    world.env(n(1)).send(n(1).into(), Number(5));
    assert_eq!(receivers(&world), [n(1).into()]);
    assert_eq!(world.now(), Time::ZERO);
}

#[test]
fn a_timer_put_off_fires_once_and_late() {
    let world = World::<Number>::new(&config(1, 1, 0));
    let env = world.env(n(1));
    let (a, b, c) = (TimerId(0), TimerId(1), TimerId(2));
    env.set_timer(a, exactly(ms(10)));
    env.set_timer(b, exactly(ms(10)));
    env.set_timer(c, exactly(ms(10)));
    assert_eq!(world.next(Time(5_000_000)), None);
    env.set_timer(a, exactly(ms(10)));
    env.set_timer(b, exactly(ms(1)));
    env.cancel_timer(c);
    let fired: Vec<_> =
        std::iter::from_fn(|| world.next(Time::FAR).map(|event| (world.now(), event))).collect();
    let fires = |time, timer| (Time(time), Event::Timer { at: n(1).into(), timer });
    assert_eq!(fired, [fires(6_000_000, b), fires(15_000_000, a)]);
    assert_eq!(world.stats().timers_fired, 2);
}

/// A future that sets a flag when it is dropped.
struct Flag(Rc<Cell<u32>>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_dead_incarnation_is_inert() {
    let world = World::<Number>::new(&config(1, 2, 0));
    let (old, fs) = (world.env(n(1)), world.fs(n(1)));
    let (dropped, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let sleep = old.sleep(ms(1));
    let write = {
        let fs = fs.clone();
        async move {
            let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
            file.write_at(0, vec![1; 10]).await.0.expect("never fails");
        }
    };
    // Tasks of another node, polled before the crash, that wait for the dying one.
    let spawn_elsewhere = |future: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let done = Rc::clone(&done);
        world.env(n(2)).spawn(async move {
            future.await;
            done.set(done.get() + 1);
        });
    };
    spawn_elsewhere(Box::pin(sleep));
    spawn_elsewhere(Box::pin(write));
    let (env, flag) = (old.clone(), Flag(Rc::clone(&dropped)));
    old.spawn(async move {
        env.sleep(ms(1)).await;
        drop(flag);
        unreachable!("the task dies before");
    });
    old.set_timer(TimerId(0), exactly(ms(1)));
    world.env(n(2)).send(n(1).into(), Number(1));
    world.run_tasks();

    let crashed = world.inject(&Fault::Crash(Crash { node: n(1) }));
    assert_eq!(crashed, Injected::Crash(n(1)));
    assert_eq!(world.inject(&Fault::Crash(Crash { node: n(1) })), Injected::Nothing);
    assert_eq!(dropped.get(), 1, "its tasks are dropped");
    let while_down = world.env(n(1));
    assert_eq!(world.recover(crashed), Some(n(1)));
    assert!(world.is_up(n(1)));

    for dead in [&old, &while_down] {
        dead.send(n(2).into(), Number(2));
        dead.set_timer(TimerId(1), exactly(ms(1)));
        let flag = Flag(Rc::clone(&dropped));
        dead.spawn(async move {
            drop(flag);
            unreachable!("nothing runs for the dead");
        });
    }
    assert_eq!(dropped.get(), 3);
    spawn_elsewhere(Box::pin(async move {
        fs.exists("f").await.expect("never fails");
    }));
    assert_eq!(world.next(Time::FAR), None);
    assert_eq!(done.get(), 0, "nothing of the dead completes");
    let stats = world.stats();
    assert_eq!((stats.messages_sent, stats.messages_to_down, stats.timers_fired), (1, 1, 0));
}

#[test]
fn a_task_may_crash_its_own_node() {
    let world = World::<Number>::new(&config(1, 1, 0));
    let dropped = Rc::new(Cell::new(0));
    let (suicidal, flag) = (world.clone(), Flag(Rc::clone(&dropped)));
    world.env(n(1)).spawn(async move {
        let env = suicidal.env(n(1));
        suicidal.crash(n(1));
        env.sleep(ms(1)).await;
        drop(flag);
    });
    assert_eq!(world.next(Time::FAR), None);
    assert_eq!(dropped.get(), 1);
}

#[test]
fn tasks_go_with_the_last_world() {
    let world = World::<Number>::new(&config(1, 1, 0));
    let dropped = Rc::new(Cell::new(0));
    let (env, flag) = (world.env(n(1)), Flag(Rc::clone(&dropped)));
    env.clone().spawn(async move {
        env.sleep(ms(1)).await;
        drop(flag);
    });
    world.run_tasks();
    drop(world);
    assert_eq!(dropped.get(), 1);
}

/// Tasks that one event makes ready run in every order, over the seeds.
#[test]
fn the_seed_orders_ready_tasks() {
    let order = |seed| {
        let world = World::<Number>::new(&config(seed, 1, 0));
        let order = Rc::new(RefCell::new(Vec::new()));
        for task in 0..3 {
            let order = Rc::clone(&order);
            world.env(n(1)).spawn(async move { order.borrow_mut().push(task) });
        }
        world.run_tasks();
        order.take()
    };
    assert_eq!(order(1), order(1));
    let mut orders: Vec<_> = (0..60).map(order).collect();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 6);
}

#[test]
fn controls_come_back_on_time() {
    let world = World::<Number>::new(&config(1, 1, 0));
    world.schedule(Time(20), 2);
    world.schedule(Time(10), 1);
    assert_eq!((world.next(Time(30)), world.now()), (Some(Event::Control(1)), Time(10)));
    assert_eq!((world.next(Time(15)), world.now()), (None, Time(15)));
    assert_eq!((world.next(Time(30)), world.now()), (Some(Event::Control(2)), Time(20)));
}

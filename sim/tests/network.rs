//! What each fault of the network does, and that it leaves no trace when it is over.

use std::fmt;
use std::time::Duration;

use contract::{Address, ClientId, Env, NodeId, Seed, Time, TimerId, WireSize};
use seedbed_sim::config::{Bandwidth, Latency, LinkRule, Links, NetConfig, Weather};
use seedbed_sim::fault::{
    ClockDrift, Corrupt, Cut, Duplicate, Loss, Pause, Reorder, SlowCpu, SlowLink, SlowNode, Swizzle, Throttle,
};
use seedbed_sim::{Blocking, Event, Fault, World, WorldConfig, net_profile};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {}", self.0)
    }
}

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        1000
    }
}

fn n(number: u16) -> NodeId {
    NodeId::new(number)
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn constant(latency: Duration) -> NetConfig {
    NetConfig::with_latency(Latency::Constant(latency))
}

fn world_of(net: NetConfig, links: Vec<LinkRule>) -> World<Number> {
    World::new(&WorldConfig { seed: Seed(5), nodes: 5, clients: 1, net, links, ..WorldConfig::default() })
}

/// Sends numbers over one link, one every `every`; when which arrived.
fn arrivals(world: &World<Number>, count: u64, every: Duration) -> Vec<(u64, Time)> {
    let mut arrived = Vec::new();
    let start = world.now();
    for i in 0..count {
        world.env(n(1)).send(n(2).into(), Number(i));
        while let Some(event) = world.next(start + every * (i as u32 + 1)) {
            arrived.extend(number(world, event));
        }
    }
    while let Some(event) = world.next(Time::FAR) {
        arrived.extend(number(world, event));
    }
    arrived
}

fn number(world: &World<Number>, event: Event<Number>) -> Option<(u64, Time)> {
    match event {
        Event::Message { message: Number(number), .. } => Some((number, world.now())),
        _ => None,
    }
}

fn about(found: usize, expected: usize) -> bool {
    found.abs_diff(expected) * 10 <= expected
}

#[test]
fn loss_duplication_and_corruption_hit_their_share() {
    let links = Links::one_way(n(1), n(2));
    let lan = net_profile("lan").expect("a known profile");
    for (fault, expected) in [
        (Fault::Loss(Loss { links: links.clone(), ppm: 200_000 }), 8_000),
        (Fault::Corrupt(Corrupt { links: links.clone(), ppm: 200_000 }), 8_000),
        (Fault::Duplicate(Duplicate { links: links.clone(), ppm: 200_000 }), 12_000),
    ] {
        let world = world_of(lan, Vec::new());
        let injected = world.inject(&fault);
        let arrived = arrivals(&world, 10_000, Duration::from_micros(50));
        assert!(about(arrived.len(), expected), "{fault}: {}", arrived.len());
        let stats = world.stats();
        let counted = stats.messages_lost + stats.messages_corrupted + stats.messages_duplicated;
        assert_eq!(counted, (arrived.len() as u64).abs_diff(10_000), "{fault}");
        world.recover(injected);
        assert_eq!(arrivals(&world, 1000, ms(1)).len(), 1000, "{fault} is over");
    }
}

#[test]
fn reordering_holds_up_a_share() {
    let overtaken = |world: &World<Number>| {
        let arrived = arrivals(world, 1000, ms(1));
        assert_eq!(arrived.len(), 1000);
        arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count()
    };
    let world = world_of(constant(ms(1)), Vec::new());
    assert_eq!(overtaken(&world), 0);
    let fault = Fault::Reorder(Reorder { links: Links::all(), ppm: 100_000, by: ms(20) });
    let injected = world.inject(&fault);
    assert!(overtaken(&world) > 50);
    world.recover(injected);
    assert_eq!(overtaken(&world), 0);
}

#[test]
fn slow_links_and_nodes_are_slow() {
    let latency = |world: &World<Number>| arrivals(world, 1, ms(1))[0].1;
    let world = world_of(constant(ms(10)), Vec::new());
    let slow = Fault::SlowLink(SlowLink { links: Links::into(n(2)), permille: 3000, extra: ms(5) });
    let injected = world.inject(&slow);
    assert_eq!(latency(&world), Time(35_000_000));
    let node = world.inject(&Fault::SlowNode(SlowNode { node: n(1), permille: 2000 }));
    assert_eq!(latency(&world), Time(35_000_000) + ms(65), "they multiply");
    world.recover(injected);
    world.recover(node);
    assert_eq!(latency(&world), Time(100_000_000) + ms(10));
}

/// Bufferbloat: latency grows with the queue, and then the tail is dropped.
#[test]
fn a_narrow_link_queues_and_then_drops() {
    let bandwidth = Bandwidth { bytes_per_second: 1_000_000, queue_bytes: 10_000 };
    let world = world_of(constant(ms(1)), Vec::new());
    let injected = world.inject(&Fault::Throttle(Throttle { links: Links::all(), bandwidth }));
    for i in 0..20 {
        world.env(n(1)).send(n(2).into(), Number(i));
    }
    assert_eq!(world.queued_bytes(n(1), n(2)), 11_000, "ten wait, one is being sent");
    let arrived: Vec<_> =
        std::iter::from_fn(|| world.next(Time::FAR).and_then(|event| number(&world, event))).collect();
    let expected: Vec<_> = (0..11).map(|i| (i, Time(2_000_000 + i * 1_000_000))).collect();
    assert_eq!(arrived, expected);
    assert_eq!(world.stats().messages_overflowed, 9);
    world.recover(injected);
    assert_eq!(arrivals(&world, 20, Duration::ZERO).len(), 20);
}

#[test]
fn weather_is_a_function_of_link_and_spell() {
    let bad_spells = |every: u64| -> Vec<u64> {
        let weather = Weather { spell: ms(100), bad: 0.2, loss: 0.0, slowdown: 10.0 };
        let world = world_of(NetConfig { weather: Some(weather), ..constant(ms(1)) }, Vec::new());
        let sent_at = |number: u64| number * every;
        let arrived = arrivals(&world, 20_000 / every, ms(every));
        let slow = arrived.iter().filter(|(number, at)| at.0 / 1_000_000 - sent_at(*number) == 10);
        let mut spells: Vec<u64> = slow.map(|(number, _)| sent_at(*number) / 100).collect();
        spells.dedup();
        spells.sort_unstable();
        spells.dedup();
        spells
    };
    let bad = bad_spells(5);
    assert!((20..80).contains(&bad.len()), "about 40 of 200: {bad:?}");
    assert_eq!(bad_spells(5), bad_spells(20), "whatever the traffic");
}

/// Who of five nodes reaches whom.
fn reach(world: &World<Number>) -> Vec<(u16, u16)> {
    for (from, to) in (1..=5).flat_map(|from| (1..=5).map(move |to| (from, to))).filter(|(a, b)| a != b) {
        world.env(n(from)).send(n(to).into(), Number(0));
    }
    let mut reached = Vec::new();
    while let Some(Event::Message { to: Address::Node(to), from: Address::Node(from), .. }) =
        world.next(Time::FAR)
    {
        reached.push((from.0, to.0));
    }
    reached.sort_unstable();
    reached
}

#[test]
fn partitions_have_their_shapes() {
    let nodes: Vec<NodeId> = (1..=5).map(n).collect();
    let neighbours = |joined: &dyn Fn(u16, u16) -> bool| -> Vec<(u16, u16)> {
        let pairs = (1..=5).flat_map(|a| (1..=5).map(move |b| (a, b)));
        pairs.filter(|(a, b)| a != b && joined(*a.min(b), *a.max(b))).collect()
    };
    let shapes = [
        (Links::bridge(&nodes), neighbours(&|a, b| a == 1 || (a <= 3) == (b <= 3))),
        (Links::ring(&nodes), neighbours(&|a, b| b - a == 1 || b - a == 4)),
        (Links::chained(&nodes), neighbours(&|a, b| b - a == 1)),
        (Links::constrained(&nodes), neighbours(&|a, _| a == 1)),
    ];
    let world = world_of(constant(ms(1)), Vec::new());
    for (links, expected) in shapes {
        let cut = Fault::Cut(Cut { links, blocking: Blocking::Drop });
        let injected = world.inject(&cut);
        assert_eq!(reach(&world), expected, "{cut}");
        world.recover(injected);
    }
    assert_eq!(reach(&world).len(), 20);
    for (links, dead) in [
        (Links::one_way(n(1), n(2)), vec![(1, 2)]),
        (Links::into(n(3)), vec![(1, 3), (2, 3), (4, 3), (5, 3)]),
        (Links::out_of(n(3)), vec![(3, 1), (3, 2), (3, 4), (3, 5)]),
    ] {
        let cut = world.block(&[links], Blocking::Drop);
        assert!(
            reach(&world).iter().all(|pair| !dead.contains(pair)) && reach(&world).len() == 20 - dead.len()
        );
        world.heal(cut);
    }
}

#[test]
fn isolation_cuts_off_clients_too() {
    let world = world_of(constant(ms(1)), Vec::new());
    let cut = world.block(&[Links::into(n(1))], Blocking::Drop);
    world.env(ClientId(1)).send(n(1).into(), Number(0));
    world.env(n(1)).send(ClientId(1).into(), Number(1));
    assert!(matches!(world.next(Time::FAR), Some(Event::Message { message: Number(1), .. })));
    assert_eq!(world.next(Time::FAR), None);
    world.heal(cut);
}

/// A partition drops what is under way or holds it, by choice; a clog holds what is sent, too.
#[test]
fn what_is_under_way_is_dropped_or_held() {
    let arrived = |blocking| -> Vec<(u64, Time)> {
        let world = world_of(constant(ms(10)), Vec::new());
        world.env(n(1)).send(n(2).into(), Number(0));
        assert_eq!(world.next(Time(5_000_000)), None);
        let block = world.block(&[Links::one_way(n(1), n(2))], blocking);
        world.env(n(1)).send(n(2).into(), Number(1));
        assert_eq!(world.next(Time(50_000_000)), None);
        world.heal(block);
        std::iter::from_fn(|| world.next(Time::FAR).and_then(|event| number(&world, event))).collect()
    };
    assert_eq!(arrived(Blocking::Drop), []);
    assert_eq!(arrived(Blocking::HoldInFlight), [(0, Time(50_000_000))]);
    assert_eq!(arrived(Blocking::Hold), [(0, Time(50_000_000)), (1, Time(50_000_000))]);
}

#[test]
fn a_swizzle_delays_and_loses_nothing() {
    let world = world_of(constant(ms(1)), Vec::new());
    let swizzle = Fault::Swizzle(Swizzle { nodes: vec![n(1), n(2), n(3)], over: ms(1000) });
    let injected = world.inject(&swizzle);
    let arrived = arrivals(&world, 1000, ms(2));
    assert_eq!(arrived.len(), 1000);
    let late = arrived.iter().filter(|(number, at)| at.0 > number * 2_000_000 + 1_000_000).count();
    assert!((100..500).contains(&late), "{late} were held");
    assert!(arrived.iter().all(|(number, at)| *number < 500 || at.0 == number * 2_000_000 + 1_000_000));
    world.recover(injected);
    let ended = world.inject(&swizzle);
    assert!(world.next(world.now() + ms(450)).is_none());
    world.recover(ended);
    assert_eq!(arrivals(&world, 10, ms(2)).len(), 10, "a swizzle that ends early frees all");
    assert_eq!(world.stats().messages_delivered, 1010);
}

#[test]
fn zones_are_far_apart() {
    let zones = [vec![n(1), n(2)], vec![n(3), n(4), n(5)]];
    let world = world_of(constant(ms(1)), LinkRule::zones(&zones, constant(ms(40))));
    for (to, latency) in [(2, 1), (3, 40)] {
        let start = world.now();
        world.env(n(1)).send(n(to).into(), Number(0));
        assert!(world.next(Time::FAR).is_some());
        assert_eq!(world.now(), start + ms(latency));
    }
}

/// Traffic of five nodes; every event with its time, from the start of that traffic on.
fn traffic(prepare: impl FnOnce(&World<Number>), links: Vec<LinkRule>) -> Vec<String> {
    let lan = NetConfig { loss: 0.02, ..net_profile("lan").expect("a known profile") };
    let world = world_of(lan, links);
    prepare(&world);
    assert_eq!(world.next(Time(1_000_000_000)), None);
    let mut seen = Vec::new();
    for node in 1..=5 {
        world.env(n(node)).set_timer(TimerId(0), ms(1)..=ms(9));
    }
    while let Some(event) = world.next(Time(2_000_000_000)) {
        seen.push(format!("{} {event:?}", world.now()));
        match event {
            Event::Timer { at, timer } => {
                world.env(at).set_timer(timer, ms(1)..=ms(9));
                let others = (1..=5).map(|node| Address::Node(n(node))).filter(|to| *to != at);
                others.for_each(|to| world.env(at).send(to, Number(1)));
            }
            Event::Message { to, from, message: Number(hops) } if hops < 3 => {
                world.env(to).send(from, Number(hops + 1));
            }
            _ => {}
        }
    }
    assert!(seen.len() > 3000);
    seen
}

/// A fault that is over leaves everything as if it had never been, and rules that say what is so
/// anyway change nothing.
#[test]
fn a_fault_that_is_off_changes_nothing() {
    let plain = traffic(|_| (), Vec::new());
    let bandwidth = Bandwidth { bytes_per_second: 1000, queue_bytes: 10_000 };
    let (links, ppm, node) = (Links::all(), 500_000, n(2));
    for fault in [
        Fault::Loss(Loss { links: links.clone(), ppm }),
        Fault::Duplicate(Duplicate { links: links.clone(), ppm }),
        Fault::Corrupt(Corrupt { links: links.clone(), ppm }),
        Fault::Reorder(Reorder { links: links.clone(), ppm, by: ms(9) }),
        Fault::SlowLink(SlowLink { links: links.clone(), permille: 9000, extra: ms(1) }),
        Fault::SlowNode(SlowNode { node, permille: 9000 }),
        Fault::Throttle(Throttle { links: links.clone(), bandwidth }),
        Fault::Cut(Cut { links: vec![links.clone()], blocking: Blocking::Hold }),
        Fault::Swizzle(Swizzle { nodes: vec![n(1), n(2)], over: ms(10) }),
        Fault::SlowCpu(SlowCpu { node, permille: 1000, per_message: ms(1) }),
        Fault::Pause(Pause { node, clock_stops: false }),
        Fault::ClockDrift(ClockDrift { node, ppm: 100 }),
    ] {
        let over = |world: &World<Number>| {
            let injected = world.inject(&fault);
            assert_eq!(world.next(Time(500_000_000)), None);
            world.recover(injected);
        };
        assert!(traffic(over, Vec::new()) == plain, "{fault} left a trace");
    }
    let lan = NetConfig { loss: 0.02, ..net_profile("lan").expect("a known profile") };
    assert!(traffic(|_| (), vec![LinkRule { links, net: lan }]) == plain, "a rule that rules nothing");
}

/// A fault on one link leaves the latencies of all others, and of its own messages that it spares.
#[test]
fn a_fault_shifts_no_other_draw() {
    let run = |fault: Option<Fault>| -> Vec<(u64, Time)> {
        let world = world_of(net_profile("lan").expect("a known profile"), Vec::new());
        if let Some(fault) = &fault {
            let _ = world.inject(fault);
        }
        arrivals(&world, 500, ms(1))
    };
    let plain = run(None);
    let elsewhere = Fault::Duplicate(Duplicate { links: Links::into(n(3)), ppm: 900_000 });
    assert_eq!(run(Some(elsewhere)), plain);
    let twice = run(Some(Fault::Duplicate(Duplicate { links: Links::all(), ppm: 300_000 })));
    assert!(twice.len() > 600 && plain.iter().all(|arrival| twice.contains(arrival)));
    let damaged = run(Some(Fault::Corrupt(Corrupt { links: Links::all(), ppm: 300_000 })));
    assert!(damaged.len() < 400 && damaged.iter().all(|arrival| plain.contains(arrival)));
}

//! Clocks, pauses, computing and the end of processes.

use std::time::Duration;

use contract::{Address, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use seedbed_sim::config::{CpuConfig, Latency, NetConfig};
use seedbed_sim::fault::{ClockDrift, ClockJump, Kill, Pause, SlowCpu, Wipe};
use seedbed_sim::{Event, Fault, Injected, World, WorldConfig, disk_profile};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number(u64);

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        1000
    }
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn world(cpu: CpuConfig) -> World<Number> {
    World::new(&WorldConfig {
        seed: Seed(3),
        nodes: 2,
        net: NetConfig::with_latency(Latency::Constant(ms(1))),
        disk: disk_profile("nvme").expect("a known profile"),
        cpu,
        ..WorldConfig::default()
    })
}

fn free() -> World<Number> {
    world(CpuConfig::default())
}

#[test]
fn a_clock_drifts_and_its_timers_with_it() {
    let world = free();
    let injected = world.inject(&Fault::ClockDrift(ClockDrift { node: ONE, ppm: 200 }));
    world.env(ONE).set_timer(TimerId(0), ms(10_000)..=ms(10_000));
    assert!(matches!(world.next(Time::FAR), Some(Event::Timer { .. })));
    assert_eq!(world.now().0, 9_998_000_399, "10 s of a clock that is 200 ppm fast");
    let hour = Time(3_600_000_000_000);
    assert_eq!(world.next(hour), None);
    assert_eq!(world.env(ONE).now(), hour + ms(720));
    world.recover(injected);
    assert_eq!(world.next(hour + ms(1000)), None);
    assert_eq!(world.env(ONE).now(), hour + ms(1720), "it is right by then, and stays ahead");
    assert_eq!(world.env(TWO).now(), hour + ms(1000));
}

#[test]
fn clocks_of_a_drifting_world_differ() {
    let config = WorldConfig { seed: Seed(1), nodes: 50, clock_drift_ppm: 100, ..WorldConfig::default() };
    let world = World::<Number>::new(&config);
    assert_eq!(world.next(Time(1_000_000_000)), None);
    let shown: Vec<u64> = (1..=50).map(|node| world.env(NodeId(node)).now().0).collect();
    assert!(shown.iter().all(|shown| shown.abs_diff(1_000_000_000) <= 100_000));
    let (min, max) = (shown.iter().min(), shown.iter().max());
    assert!(min < Some(&999_930_000) && max > Some(&1_000_070_000), "{min:?} {max:?}");
}

#[test]
fn a_clock_jumps_both_ways() {
    let world = free();
    assert_eq!(world.next(Time(5_000_000_000)), None);
    for (by_ns, shown) in [(2_000_000_000, 7_000_000_000), (-3_000_000_000, 4_000_000_000)] {
        assert_eq!(world.inject(&Fault::ClockJump(ClockJump { node: ONE, by_ns })), Injected::Nothing);
        assert_eq!(world.env(ONE).now(), Time(shown));
    }
    world.env(ONE).set_timer(TimerId(0), ms(1)..=ms(1));
    assert!(world.next(Time(5_001_000_000)).is_some(), "timers do not look at the clock");
}

/// In a pause nothing is taken in; afterwards the timers come first, and then the rest in order.
#[test]
fn a_pause_holds_everything_back() {
    for clock_stops in [false, true] {
        let world = free();
        let env = world.env(ONE);
        let sleeper = env.clone();
        env.spawn(async move {
            sleeper.sleep(ms(50)).await;
            sleeper.send(TWO.into(), Number(99));
        });
        env.set_timer(TimerId(7), ms(60)..=ms(60));
        world.run_tasks();
        assert_eq!(world.next(Time(10_000_000)), None);
        let paused = world.inject(&Fault::Pause(Pause { node: ONE, clock_stops }));
        for i in 0..3 {
            world.env(TWO).send(ONE.into(), Number(i));
            assert_eq!(world.next(Time(20_000_000 + i)), None);
        }
        assert_eq!(world.next(Time(100_000_000)), None);
        world.recover(paused);
        let mut seen = Vec::new();
        while let Some(event) = world.next(Time::FAR) {
            let what = match event {
                Event::Timer { timer, .. } => format!("timer {}", timer.0),
                Event::Message { message, .. } => message.0.to_string(),
                other => unreachable!("{other:?}"),
            };
            seen.push((what, world.now().0 / 1_000_000));
        }
        let expected: &[(&str, u64)] = match clock_stops {
            false => &[("timer 7", 100), ("0", 100), ("1", 100), ("2", 100), ("99", 101)],
            true => &[("0", 100), ("1", 100), ("2", 100), ("99", 141), ("timer 7", 150)],
        };
        let expected: Vec<(String, u64)> =
            expected.iter().map(|(what, at)| ((*what).to_owned(), *at)).collect();
        assert_eq!(seen, expected);
        let shown = if clock_stops { 60 } else { 150 };
        let behind = world.now().0 - world.env(ONE).now().0;
        assert_eq!(behind, if clock_stops { 90_000_000 } else { 0 }, "{shown}");
    }
}

#[test]
fn a_crash_ends_a_pause() {
    let world = free();
    let paused = world.inject(&Fault::Pause(Pause { node: ONE, clock_stops: false }));
    world.env(TWO).send(ONE.into(), Number(0));
    assert_eq!(world.next(Time(5_000_000)), None);
    world.crash(ONE);
    world.restart(ONE);
    world.env(TWO).send(ONE.into(), Number(1));
    world.recover(paused);
    assert!(matches!(world.next(Time::FAR), Some(Event::Message { message: Number(1), .. })));
    assert_eq!(world.next(Time::FAR), None);
}

/// One message keeps a node busy for 1 ms and 1 µs per byte: 2 ms each, one after the other.
#[test]
fn computing_takes_time() {
    let cpu = CpuConfig { per_message: ms(1), ps_per_byte: 1_000_000 };
    let arrivals = |world: &World<Number>| -> Vec<u64> {
        let start = world.now();
        for i in 0..3 {
            world.env(TWO).send(ONE.into(), Number(i));
        }
        let arrived =
            std::iter::from_fn(|| world.next(Time::FAR).map(|_| world.now().since(start).as_millis() as u64));
        arrived.collect()
    };
    assert_eq!(arrivals(&free()), [1, 1, 1]);
    assert_eq!(arrivals(&world(cpu)), [3, 5, 7], "the sender computes, too");
    let slow = free();
    let slowed = slow.inject(&Fault::SlowCpu(SlowCpu { node: ONE, permille: 1000, per_message: ms(5) }));
    assert_eq!(arrivals(&slow), [1, 6, 11]);
    assert_eq!(slow.next(slow.now() + ms(10)), None);
    slow.recover(slowed);
    assert_eq!(arrivals(&slow), [1, 1, 1]);
}

/// Two faults of a kind strike a node, the second before the first has ended: the later is the one in force, and
/// with both gone all is as it was.
#[test]
fn faults_of_a_kind_that_overlap_end_in_any_order() {
    let slow = |extra| Fault::SlowCpu(SlowCpu { node: ONE, permille: 1000, per_message: ms(extra) });
    let drift = |ppm| Fault::ClockDrift(ClockDrift { node: ONE, ppm });
    // What two messages, and a millisecond of the world, take at node 1.
    let computing = |world: &World<Number>| {
        world.env(TWO).send(ONE.into(), Number(0));
        world.env(TWO).send(ONE.into(), Number(1));
        let arrived = [(); 2].map(|()| world.next(Time::FAR).map(|_| world.now().0));
        let [Some(first), Some(second)] = arrived else { panic!("both arrive") };
        assert_eq!(world.next(world.now() + ms(50)), None);
        (second - first) / 1_000_000
    };
    let rate = |world: &World<Number>| {
        let before = world.env(ONE).now();
        assert_eq!(world.next(world.now() + ms(1000)), None);
        world.env(ONE).now().since(before).as_millis() as u64
    };
    type Measure<'a> = &'a dyn Fn(&World<Number>) -> u64;
    let kinds: [(_, _, Measure<'_>, _); 2] = [
        (slow(5), slow(9), &computing, [0, 5, 9]),
        (drift(100_000), drift(-50_000), &rate, [1000, 1100, 950]),
    ];
    for (first, second, measure, [none, of_first, of_second]) in kinds {
        for first_ends_first in [true, false] {
            let world = free();
            let one = world.inject(&first);
            let two = world.inject(&second);
            assert_eq!(measure(&world), of_second, "{second} came later");
            let (sooner, later, left) =
                if first_ends_first { (one, two, of_second) } else { (two, one, of_first) };
            world.recover(sooner);
            assert_eq!(measure(&world), left, "one of them is still in force");
            world.recover(later);
            assert_eq!(measure(&world), none, "{first} and {second} are both over");
        }
    }
}

/// Writes something without a sync, and ends the node in some way; whether it is there afterwards.
fn survives(seed: u64, end: impl Fn(&World<Number>)) -> bool {
    let world = World::<Number>::new(&WorldConfig {
        seed: Seed(seed),
        nodes: 1,
        disk: disk_profile("nvme").expect("a known profile"),
        ..WorldConfig::default()
    });
    let fs = world.fs(ONE);
    world.env(ONE).spawn(async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        file.write_at(0, vec![7; 40_000]).await.0.expect("nothing fails");
    });
    assert_eq!(world.next(Time::FAR), None);
    end(&world);
    world.restart(ONE);
    let fs = world.fs(ONE);
    let all = std::rc::Rc::new(std::cell::Cell::new(false));
    let found = std::rc::Rc::clone(&all);
    world.env(ONE).spawn(async move {
        let Ok(file) = fs.open("f", OpenMode::Existing).await else { return };
        let (read, buf) = file.read_at(0, vec![0; 40_000]).await;
        found.set(read == Ok(40_000) && buf.iter().all(|byte| *byte == 7));
    });
    assert_eq!(world.next(Time::FAR), None);
    all.get()
}

#[test]
fn a_killed_process_leaves_its_page_cache() {
    let kill = |world: &World<Number>| {
        assert_eq!(world.inject(&Fault::Kill(Kill { node: ONE })), Injected::Crash(ONE));
    };
    assert!((0..20).all(|seed| survives(seed, kill)));
    let crash = |world: &World<Number>| drop(world.crash(ONE).to_string());
    assert!((0..20).filter(|seed| survives(*seed, crash)).count() < 10);
    let wipe = |world: &World<Number>| {
        assert_eq!(world.inject(&Fault::Wipe(Wipe { node: ONE })), Injected::Crash(ONE));
    };
    assert!((0..20).all(|seed| !survives(seed, wipe)));
}

#[test]
fn what_a_killed_process_had_asked_of_its_disk_is_done() {
    let world = free();
    let fs = world.fs(ONE);
    world.env(ONE).spawn(async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        file.write_at(0, vec![7; 4096]).await.0.expect("nothing fails");
        unreachable!("the process dies before");
    });
    assert_eq!(world.next(Time(1_000)), None);
    world.kill(ONE);
    assert_eq!(world.next(Time::FAR), None);
    world.restart(ONE);
    let (fs, env) = (world.fs(ONE), world.env(ONE));
    env.clone().spawn(async move {
        let file = fs.open("f", OpenMode::Existing).await.expect("it was created");
        env.send(Address::Node(TWO), Number(file.len().await.expect("nothing fails")));
    });
    assert!(matches!(world.next(Time::FAR), Some(Event::Message { message: Number(4096), .. })));
}

//! What streams promise: order, no gap within an epoch, and news of its end.

use std::time::Duration;

use contract::{Address, Env, NodeId, Seed, StreamId, Time, WireSize};
use seedbed_sim::config::{Latency, Links, NetConfig};
use seedbed_sim::fault::Pause;
use seedbed_sim::{Blocking, Event, Fault, World, WorldConfig};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Number(u64);

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        8
    }

    /// Numbers from 10 000 on go over another stream.
    fn stream(&self) -> StreamId {
        StreamId(u32::from(self.0 >= 10_000))
    }
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn world(seed: u64, loss: f64) -> World<Number> {
    let latency = Latency::Exponential { mean: ms(2) };
    let net = NetConfig {
        loss,
        reorder: 0.1,
        reorder_by: ms(10),
        duplicate: 0.1,
        ..NetConfig::with_latency(latency)
    };
    World::new(&WorldConfig { seed: Seed(seed), nodes: 3, net, ..WorldConfig::default() })
}

fn all(world: &World<Number>, until: Time) -> Vec<Event<Number>> {
    std::iter::from_fn(|| world.next(until)).collect()
}

fn told(at: NodeId, peer: NodeId) -> Event<Number> {
    Event::Disconnect { at: at.into(), peer: peer.into(), stream: StreamId(0) }
}

fn numbers(events: &[Event<Number>], to: NodeId) -> Vec<u64> {
    let number = |event: &Event<Number>| match event {
        Event::Message { to: Address::Node(receiver), message, .. } if *receiver == to => Some(message.0),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

/// Whatever links do, what is sent both ways arrives in order and once.
#[test]
fn a_stream_is_in_order_and_complete() {
    for seed in 0..20 {
        let world = world(seed, 0.2);
        let mut events = Vec::new();
        for i in 0..200 {
            world.env(ONE).send_stream(TWO.into(), Number(i));
            world.env(TWO).send_stream(ONE.into(), Number(1000 + i));
            events.extend(all(&world, Time(i * 1_000_000)));
        }
        events.extend(all(&world, Time::FAR));
        assert_eq!(numbers(&events, TWO), (0..200).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(numbers(&events, ONE), (1000..1200).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(world.stats().disconnects, 0);
        assert!(world.stats().segments_resent > 20);
    }
}

/// Three later segments tell of a lost one, which then takes some round trips more and not 200 ms: the
/// last segment of all, of which nothing tells, may take that.
#[test]
fn later_segments_tell_of_a_lost_one() {
    let mut slow = 0;
    for seed in 0..20 {
        let world = world(seed, 0.1);
        let mut sent = Vec::new();
        let mut events = Vec::new();
        let mut latest = Duration::ZERO;
        for i in 0..400 {
            let now = world.now();
            sent.push(now);
            world.env(ONE).send_stream(TWO.into(), Number(i));
            while let Some(event) = world.next(Time((i + 1) * 1_000_000)) {
                if let Event::Message { message: Number(number), .. } = &event {
                    latest = latest.max(world.now().since(sent[*number as usize]));
                }
                events.push(event);
            }
        }
        events.extend(all(&world, Time::FAR));
        assert_eq!(numbers(&events, TWO), (0..400).collect::<Vec<_>>(), "seed {seed}");
        slow += usize::from(latest > ms(100));
    }
    assert!(slow < 5, "in {slow} of 20 worlds a lost segment waited for its timer");
}

#[test]
fn a_short_partition_delays_and_a_long_one_disconnects() {
    let world = world(1, 0.0);
    world.env(ONE).send_stream(TWO.into(), Number(0));
    assert_eq!(numbers(&all(&world, Time(1_000_000_000)), TWO), [0]);
    let cut = world.block(&[Links::at(ONE)], Blocking::Drop);
    world.env(ONE).send_stream(TWO.into(), Number(1));
    assert_eq!(all(&world, Time(2_000_000_000)), []);
    world.heal(cut);
    assert_eq!(numbers(&all(&world, Time(5_000_000_000)), TWO), [1], "it was sent again");

    let cut = world.block(&[Links::at(ONE)], Blocking::Drop);
    world.env(ONE).send_stream(TWO.into(), Number(2));
    world.env(ONE).send_stream(TWO.into(), Number(3));
    assert_eq!(all(&world, Time(60_000_000_000)), [told(ONE, TWO)], "once, after ten seconds");
    world.heal(cut);
    world.env(ONE).send_stream(TWO.into(), Number(4));
    let events = all(&world, Time::FAR);
    assert_eq!(events[0], told(TWO, ONE), "the new connection tells of the old one's end");
    assert_eq!(numbers(&events, TWO), [4], "what the old one carried never comes");
}

#[test]
fn a_killed_process_resets_and_a_power_loss_is_silent() {
    for power_loss in [false, true] {
        let world = world(2, 0.0);
        world.env(ONE).send_stream(TWO.into(), Number(0));
        assert_eq!(all(&world, Time(1_000_000_000)).len(), 1);
        if power_loss {
            drop(world.crash(TWO).to_string())
        } else {
            world.kill(TWO)
        }
        let events = all(&world, Time(2_000_000_000));
        assert_eq!(events, if power_loss { vec![] } else { vec![told(ONE, TWO)] });
        world.restart(TWO);
        world.env(ONE).send_stream(TWO.into(), Number(1));
        let events = all(&world, Time(4_000_000_000));
        // After the power loss the old connection's segment is refused.
        assert_eq!(events.contains(&told(ONE, TWO)), power_loss);
        assert_eq!(numbers(&events, TWO), if power_loss { vec![] } else { vec![1] });
        world.env(ONE).send_stream(TWO.into(), Number(2));
        assert_eq!(numbers(&all(&world, Time::FAR), TWO), [2]);
    }
}

/// Who breaks a stream itself is not told; the peer is, once, before anything of the next connection.
#[test]
fn a_stream_that_is_closed_begins_anew() {
    for (seed, reset_is_lost) in (0..40).map(|seed| (seed, seed % 2 == 1)) {
        let world = world(seed, 0.0);
        let (one, two) = (world.env(ONE), world.env(TWO));
        one.close_stream(TWO.into(), StreamId(0));
        one.send_stream(TWO.into(), Number(0));
        assert_eq!(numbers(&all(&world, Time(1_000_000_000)), TWO), [0], "nothing was there to close");
        one.send_stream(TWO.into(), Number(1));
        two.send_stream(ONE.into(), Number(10));
        let cut = reset_is_lost.then(|| world.block(&[Links::one_way(ONE, TWO)], Blocking::Drop));
        one.close_stream(TWO.into(), StreamId(0));
        one.close_stream(TWO.into(), StreamId(0));
        cut.into_iter().for_each(|cut| world.heal(cut));
        one.send_stream(TWO.into(), Number(2));
        let events = all(&world, Time::FAR);
        let told_at = events.iter().position(|event| *event == told(TWO, ONE)).expect("the peer is told");
        assert!(numbers(&events[..told_at], TWO).iter().all(|number| *number == 1), "seed {seed}");
        assert_eq!(numbers(&events[told_at..], TWO), [2], "seed {seed}");
        assert!(numbers(&events, ONE).is_empty(), "what the peer had sent is lost");
        assert_eq!(world.stats().disconnects, 1, "seed {seed}");
    }
}

/// Two endpoints may have several streams: who breaks one loses nothing of another.
#[test]
fn streams_end_each_by_itself() {
    for seed in 0..20 {
        let world = world(seed, 0.2);
        let (one, two) = (world.env(ONE), world.env(TWO));
        for number in 0..10 {
            one.send_stream(TWO.into(), Number(number));
            one.send_stream(TWO.into(), Number(10_000 + number));
            two.send_stream(ONE.into(), Number(10_000 + number));
        }
        one.close_stream(TWO.into(), StreamId(0));
        let events = all(&world, Time::FAR);
        let others: Vec<u64> = (10_000..10_010).collect();
        let of_the_other = |to| numbers(&events, to).into_iter().filter(|number| *number >= 10_000);
        assert_eq!(of_the_other(TWO).collect::<Vec<_>>(), others, "seed {seed}");
        assert_eq!(of_the_other(ONE).collect::<Vec<_>>(), others, "seed {seed}");
        assert!(
            events
                .iter()
                .filter(|event| matches!(event, Event::Disconnect { .. }))
                .all(|e| *e == told(TWO, ONE))
        );
    }
}

/// What a paused process sends before it is told that its stream has ended goes nowhere, though its peer has opened
/// another one. Once it is told, or breaks the stream itself, that is the one it writes to.
#[test]
fn what_is_sent_to_a_stream_that_has_ended_is_lost() {
    for (seed, gives_up) in (0..40).map(|seed| (seed, seed % 2 == 1)) {
        let world = world(seed, 0.0);
        let one = world.env(ONE);
        one.send_stream(TWO.into(), Number(0));
        assert_eq!(numbers(&all(&world, Time(1_000_000_000)), TWO), [0]);
        let pause = world.inject(&Fault::Pause(Pause { node: ONE, clock_stops: false }));
        world.kill(TWO);
        world.restart(TWO);
        world.env(TWO).send_stream(ONE.into(), Number(10));
        assert!(all(&world, Time(2_000_000_000)).is_empty(), "the pause holds it all");
        one.send_stream(TWO.into(), Number(1));
        if gives_up {
            one.close_stream(TWO.into(), StreamId(0));
            one.send_stream(TWO.into(), Number(2));
        }
        world.recover(pause);
        let events = all(&world, Time(3_000_000_000));
        assert_eq!(numbers(&events, TWO), if gives_up { vec![2] } else { vec![] }, "seed {seed}");
        assert_eq!(numbers(&events, ONE), [10], "seed {seed}");
        assert_eq!(events.first() == Some(&told(ONE, TWO)), !gives_up, "seed {seed}");
        assert_eq!(world.stats().disconnects, u64::from(!gives_up), "seed {seed}");
        one.send_stream(TWO.into(), Number(3));
        assert_eq!(numbers(&all(&world, Time::FAR), TWO), [3], "seed {seed}");
    }
}

/// Crashes, kills and cuts at random: within what one side takes for one connection, the numbers that
/// arrive have no gap.
#[test]
fn an_epoch_has_no_gap() {
    for seed in 0..50 {
        let world = world(seed, 0.1);
        let (mut expected, mut arrived) = (None, 0);
        let mut cut = None;
        for i in 0..400_u64 {
            match (seed * 31 + i * 7) % 97 {
                0 => drop(world.crash(TWO).to_string()),
                1 => world.kill(TWO),
                2..8 => world.restart(TWO),
                9 => world.env(ONE).close_stream(TWO.into(), StreamId(0)),
                8 if cut.is_none() => {
                    cut = Some(world.block(&[Links::one_way(ONE, TWO)], Blocking::HoldInFlight))
                }
                20 => cut.take().into_iter().for_each(|cut| world.heal(cut)),
                _ => {}
            }
            world.env(ONE).send_stream(TWO.into(), Number(i));
            for event in all(&world, Time((i + 1) * 60_000_000)) {
                match event {
                    Event::Message { message: Number(number), .. } => {
                        assert!(
                            expected.is_none_or(|next| next == number),
                            "seed {seed}: {number}, not {expected:?}"
                        );
                        expected = Some(number + 1);
                        arrived += 1;
                    }
                    Event::Disconnect { .. } => expected = None,
                    other => unreachable!("{other:?}"),
                }
            }
            if !world.is_up(TWO) {
                expected = None;
            }
        }
        assert!(arrived > 20, "seed {seed}: {arrived}");
    }
}

//! All faults together, at random: a seed is still a run.

use std::time::Duration;

use contract::{Address, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_sim::config::{Bandwidth, CpuConfig, Links, NetConfig};
use seedbed_sim::fault::*;
use seedbed_sim::{
    Blocking, Digest, Event, Fault, Injected, Persistence, SyncFailure, World, WorldConfig, WorldStats,
    disk_profile, net_profile,
};

#[derive(Clone, Debug, Hash)]
struct Number(u64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        100
    }
}

const NODES: u16 = 5;
const KINDS: u32 = 29;

fn fault(kind: u32, dice: &mut ChaCha8Rng) -> Fault {
    let node = NodeId(dice.random_range(1..=NODES));
    let other = NodeId(node.0 % NODES + 1);
    let (ppm, permille) = (dice.random_range(0..500_000), dice.random_range(1000..20_000));
    let links =
        [Links::all(), Links::at(node), Links::one_way(node, other)].choose(dice).expect("three").clone();
    let by = Duration::from_millis(dice.random_range(0..100));
    let blocking = *[Blocking::Drop, Blocking::HoldInFlight, Blocking::Hold].choose(dice).expect("three");
    let manner =
        *[SyncFailure::Ext4Data, SyncFailure::Ext4Ordered, SyncFailure::Btrfs].choose(dice).expect("three");
    let (clusters, sectors) = (3, 8);
    match kind {
        0 => Fault::Partition(Partition { groups: vec![vec![node], vec![other]] }),
        1 => Fault::Cut(Cut { links: vec![links], blocking }),
        2 => Fault::Swizzle(Swizzle { nodes: vec![node, other], over: by }),
        3 => Fault::Loss(Loss { links, ppm }),
        4 => Fault::Duplicate(Duplicate { links, ppm }),
        5 => Fault::Corrupt(Corrupt { links, ppm }),
        6 => Fault::Reorder(Reorder { links, ppm, by }),
        7 => Fault::SlowLink(SlowLink { links, permille, extra: by }),
        8 => Fault::SlowNode(SlowNode { node, permille }),
        9 => {
            let bandwidth = Bandwidth { bytes_per_second: 10_000, queue_bytes: 1000 };
            Fault::Throttle(Throttle { links, bandwidth })
        }
        10 => Fault::Crash(Crash { node }),
        11 => Fault::Kill(Kill { node }),
        12 => Fault::Wipe(Wipe { node }),
        13 => Fault::Pause(Pause { node, clock_stops: dice.random() }),
        14 => Fault::SlowCpu(SlowCpu { node, permille, per_message: Duration::from_micros(100) }),
        15 => Fault::ClockJump(ClockJump { node, by_ns: dice.random_range(-1_000_000_000..1_000_000_000) }),
        16 => Fault::ClockDrift(ClockDrift { node, ppm: dice.random_range(-500..500) }),
        17 => Fault::IoError(IoError { node, read_ppm: ppm, write_ppm: ppm }),
        18 => Fault::SyncError(SyncError { node, ppm, manner }),
        19 => Fault::LatentSector(LatentSector { node, clusters, sectors }),
        20 => Fault::BitRot(BitRot { node, clusters, sectors }),
        21 => Fault::LostWrite(LostWrite { node, ppm }),
        22 => Fault::MisdirectedWrite(MisdirectedWrite { node, ppm }),
        23 => Fault::Garbage(Garbage { node, ppm }),
        24 => Fault::LyingFlush(LyingFlush { node }),
        25 => Fault::NoSpace(NoSpace { node, left_bytes: 1000 }),
        26 => Fault::ShortRead(ShortRead { node, ppm }),
        27 => Fault::DiskStall(DiskStall { node }),
        _ => Fault::SlowDisk(SlowDisk { node, permille }),
    }
}

/// Gossip over datagrams and streams, and files that are written, synced and read, whatever fails.
fn start(world: &World<Number>, node: NodeId) {
    let env = world.env(node);
    env.set_timer(TimerId(0), Duration::from_millis(5)..=Duration::from_millis(10));
    for task in 0..2_u64 {
        let (env, fs) = (env.clone(), world.fs(node));
        env.clone().spawn(async move {
            for i in 0_u64.. {
                if let Ok(file) = fs.open(&format!("f{task}"), OpenMode::Create).await {
                    let _ = file.write_at(i * 331 % 20_000, vec![i as u8; 1000]).await;
                    let _ = file.sync_data().await;
                    let (_, buf) = file.read_at(0, vec![0; 30_000]).await;
                    env.send_stream(NodeId(node.0 % NODES + 1).into(), Number(u64::from(buf[9])));
                    let _ = fs.rename(&format!("f{task}"), &format!("g{task}")).await;
                }
                env.sleep(Duration::from_millis(2)).await;
            }
        });
    }
}

fn run(seed: u64, traced: bool) -> (Digest, WorldStats) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let persistence = [
        Persistence::Journalled,
        Persistence::PosixWeak,
        Persistence::Ext4Ordered,
        Persistence::Xfs,
        Persistence::Btrfs,
    ][seed as usize % 5];
    let disk = disk_profile(["nvme", "hdd", "ebs-gp3", "sata-ssd", "ideal"][seed as usize / 5 % 5]);
    let mut disk = disk.expect("a known profile");
    disk.persistence = persistence;
    let world = World::new(&WorldConfig {
        seed: Seed(seed),
        nodes: NODES,
        net: NetConfig { loss: 0.01, ..net_profile("lan").expect("a known profile") },
        disk,
        clock_skew: Duration::from_millis(100),
        clock_drift_ppm: 100,
        cpu: CpuConfig { per_message: Duration::from_micros(seed % 2 * 5), ps_per_byte: 0 },
        ..WorldConfig::default()
    });
    if traced {
        world.set_trace(Box::new(|line| assert!(!line.contains('\n'))));
    }
    (1..=NODES).for_each(|node| start(&world, NodeId(node)));
    let mut in_force: Vec<Injected> = Vec::new();
    for step in 1..=60_u64 {
        while let Some(event) = world.next(Time(step * 20_000_000)) {
            match event {
                Event::Timer { at, timer } => {
                    let env = world.env(at);
                    env.set_timer(timer, Duration::from_millis(5)..=Duration::from_millis(10));
                    for to in (1..=NODES).map(|node| Address::Node(NodeId(node))).filter(|to| *to != at) {
                        env.send(to, Number(env.now().0));
                    }
                }
                Event::Message { .. } | Event::Disconnect { .. } => {}
                other => unreachable!("{other:?}"),
            }
        }
        let kind = (step as u32 * 7 + seed as u32) % KINDS;
        in_force.push(world.inject(&fault(kind, &mut dice)));
        if in_force.len() > 4 {
            let over = in_force.remove(dice.random_range(0..in_force.len()));
            if let Some(node) = world.recover(over) {
                start(&world, node);
            }
        }
    }
    (world.digest(), world.stats())
}

#[test]
fn every_fault_together_is_still_a_function_of_the_seed() {
    let runs: Vec<_> = (0..50).map(|seed| run(seed, false)).collect();
    for (seed, found) in runs.iter().enumerate().rev() {
        assert_eq!(run(seed as u64, true), *found, "seed {seed}");
    }
    let sum = |what: fn(&WorldStats) -> u64| runs.iter().map(|(_, stats)| what(stats)).sum::<u64>();
    let seen = [
        sum(|stats| stats.messages_lost),
        sum(|stats| stats.messages_corrupted),
        sum(|stats| stats.messages_overflowed),
        sum(|stats| stats.messages_duplicated),
        sum(|stats| stats.messages_partitioned),
        sum(|stats| stats.segments_resent),
        sum(|stats| stats.disconnects),
        sum(|stats| stats.disk_troubles),
        sum(|stats| stats.kills),
        sum(|stats| stats.lost.sectors_garbage),
    ];
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

//! No shared random stream: what one party does, or what befalls it, shifts no draw of the others.
//!
//! Four nodes and a client have a fixed traffic: timers, datagrams, streams, sleeping tasks, files that
//! are written and synced, a power loss and a restart. Then a node, two nodes, a client or any of the
//! faults is added, with traffic of its own that crosses theirs. Every line of the trace that concerns the
//! four and the client alone must stay as it was: each latency, loss, tie, delay, disk time and sector.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use contract::{Address, ClientId, Env, File, Fs, NodeId, OpenMode, Seed, Time, TimerId, WireSize};
use seedbed_sim::config::{Bandwidth, Links, NetConfig};
use seedbed_sim::fault::*;
use seedbed_sim::{Blocking, Event, Fault, SyncFailure, World, WorldConfig, disk_profile, net_profile};

/// Those whose draws are watched.
const NODES: u16 = 4;
const CLIENTS: u16 = 1;
/// A party that comes or goes; faults strike it.
const STRANGER: NodeId = NodeId(NODES + 1);

#[derive(Clone, Debug, Hash)]
struct Number(u64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl WireSize for Number {
    fn wire_size(&self) -> usize {
        200
    }
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A node's software: two files, and a stream to the next of the four.
fn start(world: &World<Number>, node: NodeId) {
    world.env(node).set_timer(TimerId(0), ms(1)..=ms(7));
    let (env, fs) = (world.env(node), world.fs(node));
    let next = Address::Node(NodeId(node.0 % NODES + 1));
    env.clone().spawn(async move {
        for i in 0_u64.. {
            if let Ok(file) = fs.open("f", OpenMode::Create).await {
                let _ = file.write_at(i * 700 % 9_000, vec![i as u8; 1500]).await;
                let _ = file.sync_data().await;
                let _ = file.read_at(0, vec![0; 9_000]).await;
                let _ = file.write_at(i * 300 % 9_000, vec![i as u8; 600]).await;
            }
            env.send_stream(next, Number(i));
            env.sleep(ms(3)).await;
        }
    });
}

/// Half a second of traffic. The trace's lines about the watched, without numbers that count all.
fn watched(nodes: u16, clients: u16, fault: Option<&Fault>) -> Vec<String> {
    let world = World::new(&WorldConfig {
        seed: Seed(7),
        nodes,
        clients,
        net: NetConfig { loss: 0.05, ..net_profile("lan").expect("a known profile") },
        disk: disk_profile("nvme").expect("a known profile"),
        clock_skew: ms(10),
        clock_drift_ppm: 50,
        ..WorldConfig::default()
    });
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&lines);
    world.set_trace(Box::new(move |line| sink.borrow_mut().push(line.to_owned())));
    (1..=nodes).for_each(|node| start(&world, NodeId(node)));
    for client in (1..=clients).map(ClientId) {
        world.env(client).set_timer(TimerId(0), ms(1)..=ms(7));
    }
    let everybody: Vec<Address> = (1..=nodes)
        .map(|node| Address::Node(NodeId(node)))
        .chain((1..=clients).map(|client| Address::Client(ClientId(client))))
        .collect();
    let mut injected = None;
    // Control 0: a power loss of a watched node; 1: its restart; 2: the fault; 3: its end.
    for (at, what) in [(201, 0), (250, 1), (100, 2), (400, 3)] {
        world.schedule(Time(at * 1_000_000), what);
    }
    while let Some(event) = world.next(Time(500_000_000)) {
        match event {
            Event::Timer { at, timer } => {
                world.env(at).set_timer(timer, ms(1)..=ms(7));
                // The stranger comes first: a stream of draws that were shared would be shifted.
                for to in everybody.iter().rev().filter(|to| **to != at) {
                    world.env(at).send(*to, Number(world.now().0));
                }
            }
            Event::Control(0) => drop(world.crash(NodeId(2))),
            Event::Control(1) => {
                world.restart(NodeId(2));
                start(&world, NodeId(2));
            }
            Event::Control(2) => injected = fault.map(|fault| world.inject(fault)),
            Event::Control(3) => {
                if let Some(node) = injected.take().and_then(|injected| world.recover(injected)) {
                    start(&world, node);
                }
            }
            Event::Message { .. } | Event::Disconnect { .. } => {}
            other => unreachable!("{other:?}"),
        }
    }
    let lines = lines.take();
    let is_of = |line: &str, name: &str| line.split([' ', ':', ',']).any(|word| word == name);
    let strangers: Vec<String> = (NODES + 1..=nodes.max(NODES + 1))
        .map(|node| format!("n{node}"))
        .chain((CLIENTS + 1..=clients.max(CLIENTS + 1)).map(|client| format!("c{client}")))
        .collect();
    let of_the_test = ["fault ", "control ", "partition ", "block ", "heal", "duplicate "];
    let is_watched = |line: &&String| {
        let what = line.split_once(' ').map_or("", |(_, what)| what);
        !strangers.iter().any(|name| is_of(line, name))
            && !of_the_test.iter().any(|word| what.starts_with(word))
    };
    let without_count = |line: &String| match line.split_once(" disk request ") {
        Some((done, _)) => done.to_owned(),
        None => line.clone(),
    };
    lines.iter().filter(is_watched).map(without_count).collect()
}

fn same(what: &str, plain: &[String], found: &[String]) {
    let differs = plain.iter().zip(found).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{what} shifted a draw");
    assert_eq!(plain.len(), found.len(), "{what} shifted a draw");
}

#[test]
fn neither_a_node_nor_a_client_shifts_a_draw() {
    let plain = watched(NODES, CLIENTS, None);
    for word in ["arrives", "lost", "deliver", "segment", "timer", "wake", "run", "disk", "done", "crash n2"]
    {
        assert!(plain.iter().any(|line| line.contains(word)), "no line says `{word}`");
    }
    assert!(plain.len() > 5_000, "{} lines say little", plain.len());
    for (nodes, clients) in [(1, 0), (2, 0), (0, 1), (3, 5)] {
        let found = watched(NODES + nodes, CLIENTS + clients, None);
        same(&format!("{nodes} more nodes and {clients} more clients"), &plain, &found);
    }
}

#[test]
fn no_fault_of_another_shifts_a_draw() {
    let plain = watched(NODES + 1, CLIENTS, None);
    let (node, ppm, permille, by) = (STRANGER, 500_000, 9_000, ms(20));
    let links = Links::at(node);
    let bandwidth = Bandwidth { bytes_per_second: 10_000, queue_bytes: 1_000 };
    let rest: Vec<NodeId> = (1..=NODES).map(NodeId).collect();
    let manner = SyncFailure::Ext4Ordered;
    let (clusters, sectors) = (3, 8);
    let faults = [
        Fault::Partition(Partition { groups: vec![vec![node], rest] }),
        Fault::Cut(Cut { links: vec![links.clone()], blocking: Blocking::Hold }),
        Fault::Cut(Cut { links: vec![links.clone()], blocking: Blocking::HoldInFlight }),
        Fault::Swizzle(Swizzle { nodes: vec![node], over: by }),
        Fault::Loss(Loss { links: links.clone(), ppm }),
        Fault::Duplicate(Duplicate { links: links.clone(), ppm }),
        Fault::Corrupt(Corrupt { links: links.clone(), ppm }),
        Fault::Reorder(Reorder { links: links.clone(), ppm, by }),
        Fault::SlowLink(SlowLink { links: links.clone(), permille, extra: by }),
        Fault::SlowNode(SlowNode { node, permille }),
        Fault::Throttle(Throttle { links, bandwidth }),
        Fault::Crash(Crash { node }),
        Fault::Kill(Kill { node }),
        Fault::Wipe(Wipe { node }),
        Fault::Pause(Pause { node, clock_stops: true }),
        Fault::SlowCpu(SlowCpu { node, permille, per_message: Duration::from_micros(100) }),
        Fault::ClockJump(ClockJump { node, by_ns: -50_000_000 }),
        Fault::ClockDrift(ClockDrift { node, ppm: 400 }),
        Fault::IoError(IoError { node, read_ppm: ppm, write_ppm: ppm }),
        Fault::SyncError(SyncError { node, ppm, manner }),
        Fault::LatentSector(LatentSector { node, clusters, sectors }),
        Fault::BitRot(BitRot { node, clusters, sectors }),
        Fault::LostWrite(LostWrite { node, ppm }),
        Fault::MisdirectedWrite(MisdirectedWrite { node, ppm }),
        Fault::Garbage(Garbage { node, ppm }),
        Fault::LyingFlush(LyingFlush { node }),
        Fault::NoSpace(NoSpace { node, left_bytes: 1000 }),
        Fault::ShortRead(ShortRead { node, ppm }),
        Fault::DiskStall(DiskStall { node }),
        Fault::SlowDisk(SlowDisk { node, permille }),
    ];
    for fault in &faults {
        same(&fault.to_string(), &plain, &watched(NODES + 1, CLIENTS, Some(fault)));
    }
}

//! What a host owes a protocol that talks over streams: a message belongs to the connection of the moment
//! at which the replica asked for it, and what comes while the host recovers is heard afterwards.

mod common;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use contract::{
    Address, Channel, Cluster, Command, Effects, Entry, Epoch, FailureModel, GroupId, Index, JournalRecord,
    Mark, Membership, NoObserver, NodeId, ProtocolOptions, Recovered, Replica, RequestId, Role, Seed,
    SnapshotChunk, Time, Token, View, WireSize,
};
use node::{PacketOf, Setup};
use protocols::KvService;
use seedbed_node as node;
use serde::{Deserialize, Serialize};
use sim::config::{Latency, NetConfig, disk_profile};
use sim::{Event, SimEnv, SimFs, World, WorldConfig};
use storage::{Lsm, LsmOptions};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

/// What a replica was told; its bits stand in the view as the commit index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Said {
    Held = 1,
    Plain = 2,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl WireSize for Said {
    fn wire_size(&self) -> usize {
        1
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Note;

impl JournalRecord for Note {
    fn entry(&self) -> Option<&Entry> {
        None
    }

    fn log_start(&self) -> Option<Mark> {
        None
    }

    fn is_hard_state(&self) -> bool {
        true
    }
}

/// Whether node 1 breaks its stream before what it holds back may leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Breaks(bool);

impl ProtocolOptions for Breaks {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Node 1 says at its start that it held something back for a write, and then something else. The others
/// listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Talker {
    group: Membership,
    heard: u64,
}

impl Replica for Talker {
    const NAME: &'static str = "talker";
    const CHANNEL: Channel = Channel::Stream;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    type Options = Breaks;
    type Message = Said;
    type Timer = ();
    type Record = Note;

    fn start(cluster: &Cluster<Breaks>, _: Recovered<Note>, fx: &mut Effects<Self>) -> Self {
        if cluster.me == ONE {
            let token = fx.persist(vec![Note]);
            fx.send(TWO, Said::Held, Some(token));
            if cluster.options.0 {
                fx.disconnect(TWO);
            }
            fx.send(TWO, Said::Plain, None);
        }
        Self { group: cluster.founders.clone(), heard: 0 }
    }

    fn on_message(&mut self, _: NodeId, said: Said, _: &mut Effects<Self>) {
        self.heard |= said as u64;
    }

    fn on_timer(&mut self, (): (), _: &mut Effects<Self>) {}
    fn on_durable(&mut self, _: Token, _: &mut Effects<Self>) {}
    fn on_failed(&mut self, _: Token, _: &mut Effects<Self>) {}
    fn on_applied(&mut self, _: Index, _: Mark, _: &mut Effects<Self>) {}
    fn on_chunk(&mut self, _: NodeId, _: SnapshotChunk, _: &mut Effects<Self>) {}
    fn propose(&mut self, _: RequestId, _: Command, _: &mut Effects<Self>) {}
    fn read(&mut self, _: RequestId, _: &mut Effects<Self>) {}

    fn view(&self) -> View {
        let commit = Index(self.heard);
        View {
            role: Role::Follower,
            epoch: Epoch::ZERO,
            leader: None,
            last: Mark::ZERO,
            commit,
            broken: None,
        }
    }

    fn membership(&self) -> &Membership {
        &self.group
    }
}

type Packet = PacketOf<Talker, KvService>;
type Server = node::Server<Talker, KvService, Lsm<SimFs>, SimEnv<Packet>>;

fn world(latency: Duration) -> World<Packet> {
    let net = NetConfig::with_latency(Latency::Constant(latency));
    let disk = disk_profile("nvme").expect("a known profile");
    World::new(&WorldConfig { seed: Seed(1), nodes: 2, net, disk, ..WorldConfig::default() })
}

fn start(world: &World<Packet>, me: NodeId, breaks: bool) -> Server {
    let setup = Setup {
        cluster: Cluster::new(me, 2, Breaks(breaks)),
        env: world.env(me),
        fs: world.fs(me),
        engine: LsmOptions::default(),
        options: common::host_options(),
        observer: Rc::new(NoObserver),
    };
    Server::start([(setup, KvService { bugs: contract::Bugs::NONE })].into_iter(), None)
}

/// Lets the world go on, and returns whether a message reached node 2 while that still recovered.
fn run(world: &World<Packet>, servers: &[&Server; 2], until: Time) -> bool {
    let mut early = false;
    while let Some(event) = world.next(until) {
        match event {
            Event::Message { to: Address::Node(node), from, message } => {
                let server = servers[node.slot()];
                early |= node == TWO && server.view(GroupId(0)).is_none();
                server.on_packet(from, message);
            }
            Event::Timer { at: Address::Node(node), timer } => servers[node.slot()].on_timer(timer),
            Event::Disconnect { at: Address::Node(node), peer: Address::Node(peer), stream } => {
                servers[node.slot()].on_disconnect(peer, stream);
            }
            other => unreachable!("{}", std::any::type_name_of_val(&other)),
        }
    }
    early
}

fn heard(server: &Server) -> u64 {
    server.view(GroupId(0)).expect("it has recovered").commit.0
}

#[test]
fn what_is_held_back_is_lost_with_its_stream() {
    for breaks in [false, true] {
        let world = world(Duration::from_millis(1));
        let (one, two) = (start(&world, ONE, breaks), start(&world, TWO, breaks));
        run(&world, &[&one, &two], Time(5_000_000_000));
        let expected = if breaks { Said::Plain as u64 } else { Said::Held as u64 | Said::Plain as u64 };
        assert_eq!(heard(&two), expected, "breaks: {breaks}");
    }
}

#[test]
fn what_comes_while_a_host_recovers_is_heard_afterwards() {
    let world = world(Duration::from_micros(100));
    let one = start(&world, ONE, true);
    let mut until = Time::ZERO;
    while one.view(GroupId(0)).is_none() {
        until = until + Duration::from_micros(10);
        assert!(world.next(until).is_none(), "nothing is under way yet");
    }
    // Its message takes 0.3 ms; a recovery waits for flushes of 1 ms.
    let two = start(&world, TWO, true);
    assert!(run(&world, &[&one, &two], Time(5_000_000_000)), "it came before node 2 had recovered");
    assert_eq!(heard(&two), Said::Plain as u64);
}

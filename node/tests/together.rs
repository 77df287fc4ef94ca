//! What a server with many groups saves: the heartbeats of all groups that it leads, and the answers to them,
//! take one packet for each peer.

mod common;

use std::rc::Rc;
use std::time::Duration;

use contract::{Address, Bugs, Cluster, Control, GroupId, NoObserver, NodeId, Role, Seed};
use node::{PacketOf, Setup};
use protocols::KvService;
use protocols::raft::{Options, Raft};
use seedbed_node as node;
use sim::config::{Latency, NetConfig, disk_profile};
use sim::{Event, SimEnv, SimFs, World, WorldConfig};
use storage::{Lsm, LsmOptions};

const NODES: u16 = 3;
const LEADER: NodeId = NodeId(1);
const SECOND: Duration = Duration::from_secs(1);

type Packet = PacketOf<Raft, KvService>;
type Server = node::Server<Raft, KvService, Lsm<SimFs>, SimEnv<Packet>>;

fn start(world: &World<Packet>, me: NodeId, groups: u32) -> Server {
    let setup = |group| Setup {
        cluster: Cluster { group: GroupId(group), ..Cluster::new(me, NODES, Options::default()) },
        env: world.env(me),
        fs: world.fs(me),
        engine: LsmOptions::default(),
        options: common::host_options(),
        observer: Rc::new(NoObserver),
    };
    let groups: Vec<_> = (0..groups).map(|group| (setup(group), KvService { bugs: Bugs::NONE })).collect();
    Server::start(groups.into_iter(), None)
}

/// Three servers with so many idle groups.
struct Running {
    world: World<Packet>,
    servers: Vec<Server>,
}

impl Running {
    fn start(groups: u32) -> Self {
        let net = NetConfig::with_latency(Latency::Constant(Duration::from_millis(1)));
        let disk = disk_profile("nvme").expect("a known profile");
        let config = WorldConfig { seed: Seed(1), nodes: NODES, net, disk, ..WorldConfig::default() };
        let world = World::new(&config);
        let servers = (1..=NODES).map(|node| start(&world, NodeId(node), groups)).collect();
        Self { world, servers }
    }

    fn run(&self, lasts: Duration) {
        let until = self.world.now() + lasts;
        while let Some(event) = self.world.next(until) {
            match event {
                Event::Message { to: Address::Node(node), from, message } => {
                    self.servers[node.slot()].on_packet(from, message);
                }
                Event::Timer { at: Address::Node(node), timer } => self.servers[node.slot()].on_timer(timer),
                other => unreachable!("{}", std::any::type_name_of_val(&other)),
            }
        }
    }

    /// How many groups a node leads.
    fn led_by(&self, node: NodeId) -> usize {
        self.servers[node.slot()].views().filter(|(_, view)| view.role == Role::Leader).count()
    }

    fn messages_in(&self, lasts: Duration) -> u64 {
        let before = self.world.stats().messages_sent;
        self.run(lasts);
        self.world.stats().messages_sent - before
    }
}

#[test]
fn heartbeats_of_all_groups_that_a_server_leads_take_one_packet() {
    let idle = |groups: u32| {
        let cluster = Running::start(groups);
        cluster.run(2 * SECOND);
        let led: Vec<_> = (1..=NODES).map(|node| cluster.led_by(NodeId(node))).collect();
        assert_eq!(led.iter().sum::<usize>(), groups as usize, "each group has a leader");
        cluster.servers.iter().for_each(|server| server.control(&Control::Transfer { to: LEADER }));
        cluster.run(2 * SECOND);
        assert_eq!(cluster.led_by(LEADER), groups as usize, "they were handed over");
        (led, cluster.messages_in(2 * SECOND))
    };
    let (_, of_one) = idle(1);
    let (led, of_many) = idle(8);
    assert!(
        led.iter().filter(|led| **led > 0).count() > 1,
        "their beats began at different moments: {led:?}"
    );
    assert!(of_one > 0);
    assert_eq!(of_many, of_one, "eight groups take as many packets as one");
}

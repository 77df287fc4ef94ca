//! What a server with many groups does for all of them. The heartbeats of the groups that it leads, and the answers
//! to them, take one packet for each peer; and it reports how they stand, and does what it is told.

mod common;

use std::rc::Rc;
use std::time::Duration;

use contract::{Address, Bug, Bugs, Cluster, Control, GroupId, NoObserver, NodeId, Role, Seed};
use node::{PacketOf, Setup};
use protocols::percolator::{PercolatorService, Region, Span};
use protocols::raft::{Options, Raft};
use seedbed_node as node;
use sim::config::{Latency, NetConfig, disk_profile};
use sim::{Event, SimEnv, SimFs, World, WorldConfig};
use storage::{Lsm, LsmOptions};

const NODES: u16 = 3;
const LEADER: NodeId = NodeId(1);
const SECOND: Duration = Duration::from_secs(1);

type Packet = PacketOf<Raft, PercolatorService>;
type Server = node::Server<Raft, PercolatorService, Lsm<SimFs>, SimEnv<Packet>>;

/// How a cluster is made.
#[derive(Clone, Copy)]
struct Plan {
    groups: u32,
    report_every: Option<Duration>,
    bugs: Bugs,
}

fn start(world: &World<Packet>, me: NodeId, plan: Plan) -> Server {
    let setup = |group| Setup {
        cluster: Cluster { group: GroupId(group), ..Cluster::new(me, NODES, Options::default()) },
        env: world.env(me),
        fs: world.fs(me),
        engine: LsmOptions::default(),
        options: common::host_options(),
        observer: Rc::new(NoObserver),
    };
    let region = Region { span: Span::all(), version: 1, group: GroupId(1), moving_from: None };
    let service = |group| PercolatorService::new(plan.bugs, GroupId(group), vec![region.clone()]);
    let groups: Vec<_> = (0..plan.groups).map(|group| (setup(group), service(group))).collect();
    Server::start(groups.into_iter(), plan.report_every)
}

/// Three servers with idle groups.
struct Running {
    world: World<Packet>,
    servers: Vec<Server>,
    groups: usize,
}

impl Running {
    fn start(plan: Plan) -> Self {
        let net = NetConfig::with_latency(Latency::Constant(Duration::from_millis(1)));
        let disk = disk_profile("nvme").expect("a known profile");
        let config = WorldConfig { seed: Seed(1), nodes: NODES, net, disk, ..WorldConfig::default() };
        let world = World::new(&config);
        let servers = (1..=NODES).map(|node| start(&world, NodeId(node), plan)).collect();
        Self { world, servers, groups: plan.groups as usize }
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

    /// How many groups each server leads; each group has a leader.
    fn led(&self) -> Vec<usize> {
        let led = |server: &Server| server.views().filter(|(_, view)| view.role == Role::Leader).count();
        let led: Vec<_> = self.servers.iter().map(led).collect();
        assert_eq!(led.iter().sum::<usize>(), self.groups, "each group has a leader");
        led
    }

    /// Has everything handed over to one leader. Returns how many groups each server led before it, and leads
    /// some time later.
    fn hand_over(&self) -> (Vec<usize>, Vec<usize>) {
        self.run(2 * SECOND);
        let before = self.led();
        self.servers.iter().for_each(|server| server.control(&Control::Transfer { to: LEADER }));
        self.run(2 * SECOND);
        (before, self.led())
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
        let cluster = Running::start(Plan { groups, report_every: None, bugs: Bugs::NONE });
        let (led, after) = cluster.hand_over();
        assert_eq!(after, [groups as usize, 0, 0], "they were handed over");
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

#[test]
fn leaders_are_spread_over_the_servers() {
    let spread = |bugs| {
        let cluster = Running::start(Plan { groups: 8, report_every: Some(SECOND / 5), bugs });
        cluster.hand_over().1
    };
    let mut led = spread(Bugs::NONE);
    led.sort_unstable();
    assert_eq!(led, [2, 3, 3], "nobody leads two groups more than another one");
    assert_eq!(spread(Bugs(Some(Bug::LeadersNotBalanced))), [8, 0, 0], "one server leads everything");
}

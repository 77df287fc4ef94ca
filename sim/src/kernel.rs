//! What all handles on a world share, whatever its messages are: state, tasks and the rules by which
//! events change them.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::task::{Context, Waker};
use std::time::Duration;

use contract::{Address, NodeId, Time, TimerId};

use crate::clock::Clock;
use crate::config::{StreamConfig, WorldConfig};
use crate::digest::{Kind, Rolling};
use crate::disk::{Aftermath, Disk, Request};
use crate::fault::Faults;
use crate::fault::swizzle::Step;
use crate::frontier::{Frontier, Image};
use crate::gate::Gates;
use crate::latency::nanos;
use crate::network::stream::{Connections, Way};
use crate::network::{Network, code};
use crate::queue::{Queue, Topic};
use crate::rng::{Keys, Purpose, philox, up_to};
use crate::slab::{Slab, Ticket};
use crate::stats::{CrashReport, WorldStats};
use crate::task::{Sleeping, TaskFuture, Tasks};
use crate::timer::Timers;

/// One who can send and receive, by its index: nodes first, then clients.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// The address as a number that does not depend on how many others there are.
    pub(crate) code: u64,
    /// Odd while it is up: counts starts and crashes.
    pub(crate) incarnation: u32,
    /// Whether its machine has power; its software may be down all the same.
    powered: bool,
    pub(crate) clock: Clock,
    /// How long its clock has stood still in pauses.
    pub(crate) frozen: Duration,
    /// Since when it is paused, and whether its clock stands still.
    pub(crate) paused: Option<(Time, bool)>,
    timer_key: u64,
    sleep_key: u64,
    task_key: u64,
    sleeps: u64,
    spawned: u32,
}

impl Endpoint {
    fn new(address: Address, config: &WorldConfig, keys: &Keys) -> Self {
        let code = code(address);
        let clock = match address {
            Address::Node(_) => {
                let ahead = up_to(nanos(config.clock_skew), keys.key(Purpose::CLOCK, code));
                let most = u64::from(config.clock_drift_ppm) * 1000;
                let drift = up_to(2 * most, keys.key(Purpose::DRIFT, code)) as i64 - most as i64;
                Clock::new(ahead, drift)
            }
            Address::Client(_) => Clock::new(0, 0),
        };
        Self {
            address,
            code,
            incarnation: 1,
            powered: true,
            clock,
            frozen: Duration::ZERO,
            paused: None,
            timer_key: keys.key(Purpose::TIMER, code),
            sleep_key: keys.key(Purpose::SLEEP, code),
            task_key: keys.key(Purpose::TASK, code),
            sleeps: 0,
            spawned: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.incarnation % 2 == 1
    }
}

/// One incarnation of an endpoint, as handles remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) endpoint: u32,
    pub(crate) number: u32,
}

/// Somebody who sleeps.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) endpoint: u32,
    number: u32,
    deadline: Time,
    /// How long the endpoint's clock had stood still when the deadline was set.
    frozen: Duration,
    /// Empty once the time has come.
    pub(crate) sleeping: Option<Sleeping>,
}

/// Disk operations wait, because a break point was reached.
#[derive(Debug)]
pub(crate) struct Held {
    node: NodeId,
    operation: u64,
    reported: bool,
    pub(crate) waiters: Vec<Waker>,
}

/// Where a trace goes, line by line.
type Sink = Box<dyn FnMut(&str)>;

pub(crate) struct State {
    pub(crate) now: Time,
    pub(crate) queue: Queue,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) network: Network,
    pub(crate) timers: Timers,
    pub(crate) sleepers: Slab<Sleeper>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) requests: Slab<Request>,
    pub(crate) requests_made: u64,
    pub(crate) controls: Slab<u64>,
    pub(crate) held: Option<Held>,
    pub(crate) gates: Gates,
    pub(crate) connections: Connections,
    pub(crate) streams: StreamConfig,
    pub(crate) steps: Slab<Step>,
    pub(crate) faults: Faults,
    pub(crate) digest: Rolling,
    pub(crate) stats: WorldStats,
    sink: Option<Sink>,
}

/// The part of a world that knows nothing of its messages.
pub(crate) struct Kernel {
    pub(crate) state: RefCell<State>,
    pub(crate) tasks: Tasks,
    /// Whether `State::held` is there: asked at every event.
    pub(crate) holding: Cell<bool>,
}

impl Kernel {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        let keys = Keys::new(config.seed);
        let nodes = (1..=config.nodes).map(|node| Address::Node(NodeId(node)));
        let clients = (1..=config.clients).map(|client| Address::Client(contract::ClientId(client)));
        let endpoints: Vec<Endpoint> =
            nodes.chain(clients).map(|address| Endpoint::new(address, config, &keys)).collect();
        let addresses = endpoints.iter().map(|endpoint| endpoint.address).collect();
        let node_count = usize::from(config.nodes);
        let state = State {
            now: Time::ZERO,
            queue: Queue::default(),
            network: Network::new(&config.net, &config.links, keys, addresses),
            timers: Timers::new(endpoints.len()),
            sleepers: Slab::default(),
            disks: (1..=config.nodes).map(|node| Disk::new(&config.disk, &keys, node.into())).collect(),
            requests: Slab::default(),
            requests_made: 0,
            controls: Slab::default(),
            held: None,
            gates: Gates::new(config.cpu, node_count),
            connections: Connections::default(),
            streams: config.streams,
            steps: Slab::default(),
            faults: Faults::new(keys),
            digest: Rolling::new(config.seed),
            stats: WorldStats::default(),
            sink: None,
            endpoints,
        };
        Self { state: RefCell::new(state), tasks: Tasks::default(), holding: Cell::new(false) }
    }

    pub(crate) fn is_alive(&self, incarnation: Incarnation) -> bool {
        self.state.borrow().is_alive(incarnation)
    }

    /// Takes in a task of a living incarnation; any other is dropped.
    pub(crate) fn spawn(&self, owner: Incarnation, future: TaskFuture) {
        let number = {
            let state = &mut *self.state.borrow_mut();
            if !state.is_alive(owner) {
                None
            } else {
                let endpoint = &mut state.endpoints[owner.endpoint as usize];
                endpoint.spawned += 1;
                Some(endpoint.spawned)
            }
        };
        if let Some(number) = number {
            self.tasks.spawn(owner.endpoint, number, future);
        }
    }

    /// Runs tasks until none is ready, or a break point holds the world.
    #[inline]
    pub(crate) fn run_tasks(&self) {
        if self.holding.get() {
            self.release();
        }
        while !self.holding.get() {
            let turn = self.tasks.next(|endpoint, position| {
                let state = self.state.borrow();
                philox(state.endpoints[endpoint as usize].task_key, state.now.0, position)
            });
            let Some(mut turn) = turn else { return };
            self.state.borrow_mut().task_runs(turn.endpoint, turn.number);
            let poll = turn.future.as_mut().poll(&mut Context::from_waker(&turn.waker));
            if poll.is_ready() {
                self.tasks.finish(turn.ticket);
            } else {
                drop(self.tasks.suspend(turn));
            }
        }
    }

    /// The break point that was reached and not told yet.
    pub(crate) fn break_reached(&self) -> Option<(NodeId, u64)> {
        let state = &mut *self.state.borrow_mut();
        let held = state.held.as_mut().filter(|held| !held.reported)?;
        held.reported = true;
        Some((held.node, held.operation))
    }

    /// Lets disk operations go on, once the break point was told.
    fn release(&self) {
        let held = self.state.borrow_mut().held.take_if(|held| held.reported);
        if let Some(held) = held {
            self.holding.set(false);
            held.waiters.into_iter().for_each(Waker::wake);
        }
    }

    /// The end of a node's incarnation, by power loss or not. What had waited for the node is dropped
    /// outside of the borrow.
    pub(crate) fn crash(&self, node: NodeId, power_loss: bool) -> CrashReport {
        let endpoint = self.state.borrow().index(node.into());
        if !self.state.borrow().endpoints[endpoint as usize].is_up() {
            return CrashReport::default();
        }
        let (report, requests) = match power_loss {
            true => self.state.borrow_mut().crash(endpoint),
            false => (CrashReport::default(), self.state.borrow_mut().kill(endpoint)),
        };
        drop(requests);
        drop(self.tasks.take_all(Some(endpoint)));
        report
    }
}

impl State {
    /// An endpoint's index.
    pub(crate) fn index(&self, address: Address) -> u32 {
        let nodes = self.disks.len();
        let index = match address {
            Address::Node(node) => {
                Some(node).filter(|n| (1..=nodes).contains(&usize::from(n.0))).map(NodeId::slot)
            }
            Address::Client(client) => usize::from(client.0).checked_sub(1).map(|slot| nodes + slot),
        };
        let index = index.filter(|index| *index < self.endpoints.len());
        index.unwrap_or_else(|| panic!("{address} is not in this world")) as u32
    }

    pub(crate) fn incarnation(&self, address: Address) -> Incarnation {
        let endpoint = self.index(address);
        Incarnation { endpoint, number: self.endpoints[endpoint as usize].incarnation }
    }

    /// Whether an incarnation is the present one, and up.
    #[inline]
    pub(crate) fn is_alive(&self, incarnation: Incarnation) -> bool {
        let endpoint = &self.endpoints[incarnation.endpoint as usize];
        endpoint.incarnation == incarnation.number && endpoint.is_up()
    }

    pub(crate) fn set_sink(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.sink.is_some()
    }

    /// Writes a line into the trace, if anybody reads it.
    #[inline]
    pub(crate) fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.sink.is_some() {
            let line = format!("{} {}", self.now, line(self));
            if let Some(sink) = &mut self.sink {
                sink(&line);
            }
        }
    }

    pub(crate) fn address(&self, endpoint: u32) -> Address {
        self.endpoints[endpoint as usize].address
    }

    pub(crate) fn code(&self, endpoint: u32) -> u64 {
        self.endpoints[endpoint as usize].code
    }

    fn task_runs(&mut self, endpoint: u32, number: u32) {
        self.digest.event(Kind::Task, [self.now.0, self.code(endpoint), number.into()]);
        self.trace(|state| format!("run {} task {number}", state.address(endpoint)));
    }

    #[inline]
    pub(crate) fn arm(&mut self, owner: Incarnation, timer: TimerId, within: &RangeInclusive<Duration>) {
        if self.is_alive(owner) {
            let Endpoint { timer_key, clock, .. } = &self.endpoints[owner.endpoint as usize];
            let on_clock = match clock.drift_ppb() {
                0 => within,
                _ => &(clock.wait(*within.start())..=clock.wait(*within.end())),
            };
            self.timers.arm((self.now, &mut self.queue), (owner.endpoint, *timer_key), timer, on_clock);
        }
    }

    /// A timer's event popped: who is told, if it fires.
    #[inline]
    pub(crate) fn timer_pops(&mut self, ticket: Ticket) -> Option<(Address, TimerId)> {
        let (endpoint, timer) = self.timers.pop(self.now, ticket, &mut self.queue)?;
        self.stats.events += 1;
        self.stats.timers_fired += 1;
        self.digest.event(Kind::Timer, [self.now.0, self.code(endpoint), timer.0.into()]);
        self.trace(|state| format!("timer {} {timer}", state.address(endpoint)));
        Some((self.address(endpoint), timer))
    }

    /// Puts somebody to sleep until `deadline`.
    pub(crate) fn sleep(&mut self, owner: Incarnation, deadline: Time, sleeping: Sleeping) -> Ticket {
        let endpoint = &mut self.endpoints[owner.endpoint as usize];
        let draw = philox(endpoint.sleep_key, 0, endpoint.sleeps);
        endpoint.sleeps += 1;
        let sleeper = Sleeper {
            endpoint: owner.endpoint,
            number: owner.number,
            deadline,
            frozen: endpoint.frozen,
            sleeping: Some(sleeping),
        };
        let ticket = self.sleepers.insert(sleeper);
        self.queue.push(deadline, draw[3], Topic::Sleep, ticket);
        ticket
    }

    /// A sleeper's time has come: whom to wake.
    #[inline]
    pub(crate) fn sleep_ends(&mut self, ticket: Ticket) -> Option<Sleeping> {
        let sleeper = self.sleepers.get_mut(ticket)?;
        let owner = Incarnation { endpoint: sleeper.endpoint, number: sleeper.number };
        let frozen = self.endpoints[owner.endpoint as usize].frozen;
        if frozen > sleeper.frozen {
            sleeper.deadline = sleeper.deadline + (frozen - sleeper.frozen);
            sleeper.frozen = frozen;
            if sleeper.deadline > self.now {
                self.queue.push(sleeper.deadline, 0, Topic::Sleep, ticket);
                return None;
            }
        }
        let sleeping = sleeper.sleeping.take();
        if !self.is_alive(owner) {
            return None;
        }
        self.stats.events += 1;
        self.digest.event(Kind::Wake, [self.now.0, self.code(owner.endpoint)]);
        self.trace(|state| format!("wake {}", state.address(owner.endpoint)));
        sleeping
    }

    /// Controls come behind all else at their moment: so a fault that a state called for, and the same
    /// fault timed for that moment, strike between the same two events.
    const BEHIND_ALL: u32 = u32::MAX;

    pub(crate) fn schedule(&mut self, at: Time, what: u64) {
        assert!(at >= self.now, "at {} it is too late to schedule something for {at}", self.now);
        let ticket = self.controls.insert(what);
        self.queue.push(at, Self::BEHIND_ALL, Topic::Control, ticket);
    }

    pub(crate) fn control_pops(&mut self, ticket: Ticket) -> Option<u64> {
        let what = self.controls.remove(ticket)?;
        self.stats.events += 1;
        self.digest.event(Kind::Control, [self.now.0, what]);
        self.trace(|_| format!("control {what}"));
        Some(what)
    }

    /// Counts a disk operation, unless the world must stop before it: then it has to wait.
    pub(crate) fn begin_operation(&mut self, node: u32, waker: &Waker) -> bool {
        if let Some(held) = &mut self.held {
            held.waiters.push(waker.clone());
            return false;
        }
        let disk = &mut self.disks[node as usize];
        let operation = disk.operations + 1;
        if disk.break_at == Some(operation) {
            disk.break_at = None;
            let node = NodeId::new(node as u16 + 1);
            self.held = Some(Held { node, operation, reported: false, waiters: vec![waker.clone()] });
            return false;
        }
        disk.operations = operation;
        true
    }

    /// Whether anything stands in anybody's way: at a link, or at a gate.
    #[inline]
    pub(crate) fn is_obstructed(&self) -> bool {
        !self.network.blocks.is_empty() || self.gates.any()
    }

    /// Whether an endpoint is up.
    pub(crate) fn is_up(&self, endpoint: u32) -> bool {
        self.endpoints[endpoint as usize].is_up()
    }

    pub(crate) fn is_powered(&self, endpoint: u32) -> bool {
        self.endpoints[endpoint as usize].powered
    }

    /// A directed link, as the digest knows it.
    pub(crate) fn pair(&self, from: u32, to: u32) -> u64 {
        self.code(from) << 32 | self.code(to)
    }

    /// A stream's way, as the digest knows it: that of the first stream is its link's.
    pub(crate) fn way(&self, way: Way) -> u64 {
        self.pair(way.from, way.to) ^ u64::from(way.stream.0).rotate_right(8)
    }

    /// How long a small message takes there and back, in nanoseconds.
    pub(crate) fn round_trip(&mut self, from: u32, to: u32) -> u64 {
        let (from, to) = (from as usize, to as usize);
        let there = self.network.draw_stream(self.now, from, to, 0).latency;
        there + self.network.draw_stream(self.now, to, from, 0).latency
    }

    /// A node's software ends, and its machine goes on: what it asked of its disk is done, and nobody
    /// waits for it.
    fn kill(&mut self, node: u32) -> Vec<Request> {
        self.end_incarnation(node);
        let orphaned = self.requests.drain_where(|request| request.node == node && request.done);
        for (_, request) in self.requests.iter_mut().filter(|(_, request)| request.node == node) {
            request.abandoned = true;
        }
        self.digest.event(Kind::Crash, [self.now.0, self.code(node), 1]);
        self.stats.kills += 1;
        self.trace(|state| format!("kill {}", state.address(node)));
        orphaned
    }

    fn end_incarnation(&mut self, node: u32) {
        let endpoint = &mut self.endpoints[node as usize];
        endpoint.incarnation += 1;
        endpoint.paused = None;
        self.timers.disarm_all(node);
        let opens = self.gates.crash(node, self.now);
        self.gate_opens(node, opens);
    }

    /// The power fails under a node. Returns what it had asked of its disk, to be dropped.
    fn crash(&mut self, node: u32) -> (CrashReport, Vec<Request>) {
        self.end_incarnation(node);
        self.endpoints[node as usize].powered = false;
        let mut requests = self.requests.drain_where(|request| request.node == node);
        requests.sort_unstable_by_key(|request| request.number);
        self.digest.event(Kind::Crash, [self.now.0, self.code(node)]);
        let digest = &mut self.digest;
        let report = self.disks[node as usize].power_loss(&requests, |aftermath| match aftermath {
            Aftermath::Sector { file, sector, fate } => {
                digest.event(Kind::Sector, [file, sector, fate as u64]);
            }
            Aftermath::Size { file, size } => digest.event(Kind::Size, [file, size]),
        });
        let CrashReport { sectors_kept, sectors_dropped, sectors_torn, directory_changes_lost, .. } = report;
        let words = [sectors_kept, sectors_dropped, sectors_torn, directory_changes_lost];
        self.digest.event(Kind::Lost, words);
        self.stats.crashes += 1;
        self.stats.lost.add(&report);
        self.trace(|state| format!("crash {} {report}", state.address(node)));
        (report, requests)
    }

    /// What a power loss may leave of a node's disk.
    pub(crate) fn frontier(&self, node: NodeId) -> Frontier {
        self.disks[node.slot()].frontier(&self.in_flight(node))
    }

    /// What a power loss that is drawn so leaves of a node's disk, or the end of its process alone.
    pub(crate) fn image(&self, node: NodeId, power_loss: Option<u64>) -> Image {
        self.disks[node.slot()].image(&self.in_flight(node), power_loss)
    }

    /// The requests to a node's disk that have not completed, in the order of their issue.
    fn in_flight(&self, node: NodeId) -> Vec<&Request> {
        let node = self.index(node.into());
        let mut requests: Vec<&Request> =
            self.requests.iter().filter(|request| request.node == node).collect();
        requests.sort_unstable_by_key(|request| request.number);
        requests
    }

    pub(crate) fn restart(&mut self, node: NodeId) {
        let index = self.index(node.into());
        let endpoint = &mut self.endpoints[index as usize];
        if !endpoint.is_up() {
            endpoint.incarnation += 1;
            endpoint.powered = true;
            let code = endpoint.code;
            self.digest.event(Kind::Restart, [self.now.0, code]);
            self.trace(|_| format!("restart {node}"));
        }
    }
}

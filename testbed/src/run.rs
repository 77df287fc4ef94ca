//! One run: a plan carried out in a world, watched, and judged.

use std::cell::RefCell;
use std::rc::Rc;

use checker::{Budget, judge_kv};
use contract::kv::{Op, Ret};
use contract::{
    Address, Bug, ClientId, Cluster, Engine, GroupId, History, NodeId, PacketBody, Replica, Role, Time,
};
use node::{Host, HostOptions, HostStats, Setup};
use protocols::KvService;
use sim::{Event, PartitionId, SimEnv, SimFs, World};
use storage::journal::JournalOptions;

use crate::client::{Client, Records};
use crate::nemesis::{Alarms, Ground, Nemesis, Wake};
use crate::panics::{self, Caught};
use crate::plan::Plan;
use crate::report::{Finding, Latency, Operations, Report, Storage, Verdict};
use crate::watch::Watch;

/// Takes the lines of a trace.
pub type TraceSink = Box<dyn FnMut(&str)>;

/// What to keep of a run beside its report.
#[derive(Default)]
pub struct RunOptions {
    /// Gets one line for each event.
    pub trace: Option<TraceSink>,
}

/// A finished run.
pub struct Run {
    /// What it came to.
    pub report: Report,
    /// What the clients saw.
    pub history: History<Op, Ret>,
    /// Which arrivals became operations, in order of invocation.
    pub invoked: Vec<(ClientId, u64)>,
}

/// What servers of a protocol and their clients say to each other.
type PacketOf<R> = node::host::PacketOf<R, KvService>;
type Env<R> = SimEnv<PacketOf<R>>;
type Server<R, E> = Host<R, KvService, E, Env<R>>;

/// The size of one segment of a node's journal.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// How many entries a node applies before it flushes its engine.
const FLUSH_EVERY: u64 = 256;
/// The size of one part of a snapshot.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many requests may wait at one node.
const WAITING_REQUESTS: usize = 10_000;

/// The nodes of a run and the world they live in.
struct Arena<R: Replica, E: Engine<Fs = SimFs>> {
    plan: Plan,
    options: R::Options,
    engine: E::Options,
    world: World<PacketOf<R>>,
    watch: Rc<Watch<R>>,
    servers: Vec<Option<Server<R, E>>>,
    /// What hosts did that crashed since.
    past: HostStats,
}

impl<R: Replica, E: Engine<Fs = SimFs>> Arena<R, E> {
    fn start_server(&mut self, node: NodeId) {
        let mut cluster = Cluster::new(node, self.plan.world.nodes, self.options.clone());
        cluster.group = GroupId(0);
        cluster.bugs = self.plan.bugs;
        let setup = Setup {
            cluster,
            env: self.world.env(node),
            fs: self.world.fs(node),
            engine: self.engine.clone(),
            options: HostOptions {
                journal: JournalOptions {
                    segment_bytes: SEGMENT_BYTES,
                    acknowledge_before_flush: self.plan.bugs.has(Bug::AckBeforeFsync),
                },
                flush_every: FLUSH_EVERY,
                chunk_bytes: CHUNK_BYTES,
                waiting_requests: WAITING_REQUESTS,
            },
            observer: Rc::<Watch<R>>::clone(&self.watch),
        };
        self.servers[node.slot()] = Some(Host::start(setup, KvService));
    }

    fn stats(&self) -> HostStats {
        self.servers.iter().flatten().fold(self.past, |sum, server| add(sum, server.stats()))
    }

    /// The first node that stopped by itself, and why.
    fn stopped(&self) -> Option<(NodeId, String)> {
        let mut nodes = (1..).map(NodeId).zip(&self.servers);
        nodes.find_map(|(node, server)| Some((node, server.as_ref()?.failure()?.to_string())))
    }
}

fn add(a: HostStats, b: HostStats) -> HostStats {
    let mut sum = a;
    sum.journal.flushes += b.journal.flushes;
    sum.journal.records += b.journal.records;
    sum.engine.flushes += b.engine.flushes;
    sum.engine.compactions += b.engine.compactions;
    sum.engine.bytes_written_by_callers += b.engine.bytes_written_by_callers;
    sum.engine.bytes_written_to_files += b.engine.bytes_written_to_files;
    sum.snapshots_installed += b.snapshots_installed;
    sum
}

impl<R: Replica, E: Engine<Fs = SimFs>> Ground for Arena<R, E> {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn wake_at(&self, at: Time, wake: Wake) {
        self.world.schedule(at, wake.encode());
    }

    fn leader(&self) -> Option<NodeId> {
        let views = (1..).map(NodeId).zip(&self.servers).filter_map(|(node, server)| {
            let view = server.as_ref()?.view()?;
            (view.role == Role::Leader).then_some((view.epoch, node))
        });
        views.max().map(|(_, node)| node)
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.servers[node.slot()].is_some()
    }

    fn crash(&mut self, node: NodeId) -> String {
        let server = self.servers[node.slot()].take().expect("only a node that is up crashes");
        self.past = add(self.past, server.stats());
        let report = self.world.crash(node);
        let lost = report.sectors_dropped + report.sectors_torn;
        let unflushed = lost + report.sectors_kept;
        format!("{lost} of {unflushed} un-flushed sectors lost")
    }

    fn restart(&mut self, node: NodeId) {
        self.world.restart(node);
        self.start_server(node);
    }

    fn partition(&mut self, groups: Vec<Vec<NodeId>>) -> PartitionId {
        self.world.partition(&groups)
    }

    fn heal(&mut self, partition: PartitionId) {
        self.world.heal(partition);
    }
}

/// Carries out a plan with a protocol and an engine. A panic inside the run is a finding: an assert
/// that states a broken law.
pub(crate) fn run<R: Replica, E: Engine<Fs = SimFs>>(
    plan: &Plan,
    protocol: R::Options,
    engine: E::Options,
    options: RunOptions,
) -> Run {
    let world = World::new(&plan.world);
    if let Some(trace) = options.trace {
        world.set_trace(trace);
    }
    let alarms = Alarms::default();
    let watch = Rc::new({
        let (alarms, world) = (Rc::clone(&alarms), world.clone());
        let awaited = plan.conditions();
        let alarm = Box::new(move |condition, node| {
            if awaited.contains(&condition) {
                alarms.borrow_mut().push_back((condition, node));
                world.schedule(world.now(), Wake::Alarm.encode());
            }
        });
        Watch::<R>::new(&plan.checks.monitors, usize::from(plan.world.nodes), alarm)
    });
    let records = Rc::new(RefCell::new(Records::new(plan.quiet_from)));
    let mut arena = Arena::<R, E> {
        plan: plan.clone(),
        options: protocol,
        engine,
        world: world.clone(),
        watch: Rc::clone(&watch),
        servers: (0..plan.world.nodes).map(|_| None).collect(),
        past: HostStats::default(),
    };
    let mut nemesis = Nemesis::new(plan, alarms, &arena);

    let stopped = panics::catch(|| simulate(&mut arena, &mut nemesis, &records));
    let stopped = stopped.unwrap_or_else(|panic| Some(Stopped::Finding(finding_of(&panic))));

    watch.close();

    let records = records.borrow();
    let verdict = match stopped {
        Some(Stopped::Finding(finding)) => Verdict::Violation(finding),
        Some(Stopped::OutOf(what)) => Verdict::Inconclusive { what },
        None => judge(plan, &records),
    };
    let stats = arena.stats();
    let report = Report {
        scenario: plan.scenario.clone(),
        seed: plan.seed,
        bug: plan.bugs.0,
        verdict,
        digest: world.digest(),
        simulated: world.now(),
        world: world.stats(),
        seen: watch.seen(),
        operations: operations(&records),
        latency: latency(&records),
        storage: Storage {
            journal_flushes: stats.journal.flushes,
            journal_records: stats.journal.records,
            engine_flushes: stats.engine.flushes,
            engine_compactions: stats.engine.compactions,
        },
        fired: nemesis.fired().to_vec(),
    };
    Run { report, history: records.history.clone(), invoked: records.invoked.clone() }
}

/// Why a run ended before its time.
enum Stopped {
    Finding(Finding),
    OutOf(String),
}

fn simulate<R: Replica, E: Engine<Fs = SimFs>>(
    arena: &mut Arena<R, E>,
    nemesis: &mut Nemesis,
    records: &Rc<RefCell<Records>>,
) -> Option<Stopped> {
    let (world, plan) = (arena.world.clone(), arena.plan.clone());
    let nodes = plan.world.nodes;
    for node in (1..=nodes).map(NodeId) {
        arena.start_server(node);
    }
    let mut clients: Vec<_> = (1..=plan.world.clients)
        .map(ClientId)
        .map(|client| {
            let workload = &plan.workloads[client.slot() % plan.workloads.len()];
            let shared_by = plan.clients_of(client.slot() % plan.workloads.len());
            Client::new(client, world.env(client), &plan, workload, shared_by, Rc::clone(records))
        })
        .collect();
    clients.iter_mut().for_each(Client::start);

    let mut events = 0;
    while let Some(event) = world.next(plan.until) {
        match event {
            Event::Message { to: Address::Node(node), from, message } => {
                if let Some(server) = &arena.servers[node.slot()] {
                    server.on_packet(from, message);
                }
            }
            Event::Message { to: Address::Client(client), from, message } => match message.body {
                PacketBody::Response(response) => clients[client.slot()].on_response(from, response),
                PacketBody::Peer(_) | PacketBody::Request(_) => unreachable!("servers only answer clients"),
            },
            Event::Timer { at: Address::Node(node), timer } => {
                if let Some(server) = &arena.servers[node.slot()] {
                    server.on_timer(timer);
                }
            }
            Event::Timer { at: Address::Client(client), timer } => clients[client.slot()].on_timer(timer),
            Event::Control(number) => nemesis.on_wake(Wake::decode(number), arena),
            Event::Disconnect { .. } => unreachable!("a run opens no streams"),
            Event::DiskOp { .. } => unreachable!("a run sets no breakpoints"),
        }
        if let Some(finding) = arena.watch.finding() {
            return Some(Stopped::Finding(finding));
        }
        events += 1;
        if events > plan.events {
            return Some(Stopped::OutOf(format!(
                "the budget of {} events ended at {}",
                plan.events,
                world.now()
            )));
        }
    }
    arena.stopped().map(|(node, why)| {
        let message = format!("{node} stopped by itself: {why}");
        Stopped::Finding(Finding::of_run("node-stopped", message, Vec::new()))
    })
}

fn finding_of(panic: &Caught) -> Finding {
    Finding {
        check: "assertion".to_owned(),
        message: format!("an assertion of the code under test failed at {}: {}", panic.place, panic.message),
        evidence: Vec::new(),
        signature: format!("assertion/{}", panic.place),
    }
}

fn judge(plan: &Plan, records: &Records) -> Verdict {
    if let Some(liveness) = &plan.checks.liveness
        && records.answered_in_quiet < liveness.operations
    {
        let message = format!(
            "only {} operations were answered in the {} s after the faults had ended, {} were demanded",
            records.answered_in_quiet,
            liveness.after_heal.as_secs_f64(),
            liveness.operations
        );
        return Verdict::Violation(Finding::of_run("liveness", message, Vec::new()));
    }
    let judged = judge_kv(&records.history, Budget { steps: plan.checks.steps });
    match judged.expect("clients record well-formed histories") {
        checker::Verdict::Ok => Verdict::Ok,
        checker::Verdict::Violation(violation) => Verdict::Violation(Finding {
            check: "linearizable".to_owned(),
            message: violation.to_string(),
            signature: violation.signature(),
            evidence: violation.window.clone(),
        }),
        checker::Verdict::Unknown(exhausted) => Verdict::Inconclusive { what: exhausted.to_string() },
    }
}

fn operations(records: &Records) -> Operations {
    let invoked = records.history.operations() as u64;
    Operations {
        invoked,
        answered: records.answered,
        unknown: records.unknown,
        open: invoked - records.answered - records.unknown,
        answered_in_quiet: records.answered_in_quiet,
    }
}

fn latency(records: &Records) -> Latency {
    let at = |quantile| records.latency.value_at_quantile(quantile);
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: records.latency.max() }
}

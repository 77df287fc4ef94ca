//! One run: a plan carried out in a world, watched, and judged.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use contract::kv::{Op, Ret};
use contract::{
    Address, ClientId, Cluster, Control, GroupId, History, Membership, NodeId, OpId, Packet, ProtocolOptions,
    Replica, Role, Time,
};
use node::{HostOptions, HostStats, Setup};
use protocols::KvService;
use protocols::percolator::PercolatorService;
use sim::fault::Fault;
use sim::{CrashReport, Event, Injected, SimEnv, World};
use storage::journal::JournalOptions;

use crate::client::Records;
use crate::clients::AnyClient;
use crate::engine::{AnyEngine, AnyOptions};
use crate::judge::{OnTheFly, judge, level};
use crate::measure::{Expectation, Gauges, Moment};
use crate::nemesis::{Ground, Nemesis, SharedAlarms, Stop, Wake};
use crate::panics::{self, Caught};
use crate::plan::Plan;
use crate::report::{Finding, Latency, Operations, Report, Storage, Verdict};
use crate::service::AnyService;
use crate::transaction::record::{SharedRecords, TransactionHistory};
use crate::watch::{Alert, Seen, Surroundings, Watch};

/// Takes the lines of a trace.
pub type TraceSink = Box<dyn FnMut(&str)>;

/// What to keep of a run beside its report.
#[derive(Default)]
pub struct RunOptions {
    /// Gets one line for each event.
    pub trace: Option<TraceSink>,
    /// Whether [`Run::history`] is wanted even of a run that is judged while it goes on.
    pub keep_history: bool,
}

/// A finished run.
pub struct Run {
    /// What it came to.
    pub report: Report,
    /// What the clients saw of operations.
    pub history: History<Op, Ret>,
    /// What the clients saw of transactions.
    pub transactions: TransactionHistory,
    /// The order in which the service took in its operations, as far as it was seen: not of a run that
    /// is judged while it goes on.
    pub order: Vec<OpId>,
    /// Which arrivals became operations, in order of invocation.
    pub invoked: Vec<(ClientId, u64)>,
}

/// What servers of a protocol and their clients say to each other.
type PacketOf<R> = node::PacketOf<R, AnyService>;
type Env<R> = SimEnv<PacketOf<R>>;
type Server<R> = node::Server<R, AnyService, AnyEngine, Env<R>>;

/// The size of one segment of a node's journal.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// How many entries a node applies before it flushes its engine.
const FLUSH_EVERY: u64 = 256;
/// The size of one part of a snapshot.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many requests may wait at one node.
const WAITING_REQUESTS: usize = 10_000;

/// The nodes of a run and the world they live in.
struct Arena<R: Replica> {
    plan: Plan,
    options: R::Options,
    engine: AnyOptions,
    world: World<PacketOf<R>>,
    /// What clients write down of transactions.
    of_transactions: SharedRecords,
    /// Of each group.
    watches: Vec<Rc<Watch<R>>>,
    servers: Vec<Option<Server<R>>>,
    /// What hosts did that crashed since.
    past: HostStats,
}

impl<R: Replica> Arena<R> {
    fn start_server(&mut self, node: NodeId) {
        let groups = (0..).map(GroupId).zip(&self.watches);
        let groups: Vec<_> = groups.map(|(group, watch)| self.group(node, group, watch)).collect();
        let report_every =
            self.plan.transactions.as_ref().and_then(|transactions| transactions.balance_every);
        self.servers[node.slot()] = Some(node::Server::start(groups.into_iter(), report_every));
    }

    /// What a server's part in a group is made of.
    fn group(
        &self,
        node: NodeId,
        group: GroupId,
        watch: &Rc<Watch<R>>,
    ) -> (Setup<R, AnyEngine, Env<R>>, AnyService) {
        let bugs = self.plan.bugs;
        let mut cluster = Cluster::new(node, self.plan.world.nodes, self.options.clone());
        cluster.group = group;
        cluster.founders = self.plan.founders();
        cluster.bugs = bugs;
        let setup = Setup {
            cluster,
            env: self.world.env(node),
            fs: self.world.fs(node),
            engine: self.engine.clone(),
            options: HostOptions {
                journal: JournalOptions { segment_bytes: SEGMENT_BYTES, bugs },
                flush_every: FLUSH_EVERY,
                chunk_bytes: CHUNK_BYTES,
                waiting_requests: WAITING_REQUESTS,
            },
            observer: Rc::<Watch<R>>::clone(watch),
        };
        let service = match &self.plan.transactions {
            None => AnyService::Kv(KvService { bugs }),
            Some(plan) => AnyService::Percolator(PercolatorService::new(bugs, group, plan.regions())),
        };
        (setup, service)
    }

    /// What each node is and knows at the end: why a cluster does not recover shows in it.
    fn state_of_nodes(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut up = 0;
        for (node, server) in (1..).map(NodeId).zip(&self.servers) {
            let state = match server {
                None => "down".to_owned(),
                Some(server) => match (server.view(GroupId(0)), server.failure()) {
                    (Some(view), _) => {
                        up += 1;
                        let leader = view.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
                        format!(
                            "{} of term {}, follows {leader}, its log ends at {}, committed up to {}",
                            view.role, view.epoch.0, view.last.index.0, view.commit.0
                        )
                    }
                    (None, Some(failure)) => format!("stopped: {failure}"),
                    (None, None) => "still recovering".to_owned(),
                },
            };
            lines.push(format!("{node} is {state}"));
        }
        let membership = Ground::membership(self);
        let is_up =
            |node: NodeId| self.servers[node.slot()].as_ref().is_some_and(|s| s.view(GroupId(0)).is_some());
        let whether = if membership.is_quorum(is_up) { "a quorum" } else { "no quorum" };
        let nodes = self.servers.len();
        lines.push(format!("{up} of {nodes} nodes are up, {whether} of those who vote: {membership}"));
        let leader = Ground::leader(self).map_or("nobody leads".to_owned(), |node| format!("{node} leads"));
        lines.push(format!("{leader}, after {} elections", self.seen().elections));
        let others = (0..).map(GroupId).zip(&self.watches).skip(1);
        lines.extend(others.map(|(group, _)| match self.leader_of(group) {
            Some(node) => format!("{node} leads {group}"),
            None => format!("nobody leads {group}"),
        }));
        lines
    }

    /// The numbers of the run so far.
    fn moment(&self, records: &Records) -> Moment {
        Moment {
            at: self.world.now(),
            world: self.world.stats(),
            seen: self.seen(),
            operations: operations(records),
            storage: storage(self.stats()),
            transactions: self.of_transactions.borrow().counts,
            gauges: self.gauges(),
        }
    }

    /// What was seen, over all groups.
    fn seen(&self) -> Seen {
        self.watches.iter().map(|watch| watch.seen()).reduce(Seen::and).expect("a run has a group")
    }

    fn gauges(&self) -> Gauges {
        let up = (1..).map(NodeId).zip(&self.servers);
        let up: Vec<_> = up.filter_map(|(node, server)| Some((node, server.as_ref()?))).collect();
        let membership = Ground::membership(self);
        let mut gauges = Gauges { voters: membership.voters.len() as u64, ..Gauges::default() };
        let may_lead = |node: NodeId, server: &Server<R>| {
            membership.votes(node) && !membership.is_witness(node) && server.failure().is_none()
        };
        let led = |server: &Server<R>| server.views().filter(|(_, view)| view.role == Role::Leader).count();
        let led = up.iter().filter(|(node, server)| may_lead(*node, server)).map(|(_, server)| led(server));
        let (least, most) = led.fold((usize::MAX, 0), |(least, most), led| (least.min(led), most.max(led)));
        gauges.leaders_apart = most.saturating_sub(least) as u64;
        for (group, watch) in (0..).map(GroupId).zip(&self.watches) {
            let (mut least, mut most) = (u64::MAX, 0);
            for (node, view) in up.iter().filter_map(|(node, server)| Some((*node, server.view(group)?))) {
                let (applied, entries) = watch.log_of(node, view.last.index);
                (least, most) = (least.min(applied.0), most.max(applied.0));
                gauges.leaders += u64::from(view.role == Role::Leader);
                gauges.epoch = gauges.epoch.max(view.epoch.0);
                gauges.log_entries = gauges.log_entries.max(entries);
            }
            gauges.lag = gauges.lag.max(most.saturating_sub(least));
        }
        gauges
    }

    fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let views = (1..).map(NodeId).zip(&self.servers).filter_map(|(node, server)| {
            let view = server.as_ref()?.view(group)?;
            (view.role == Role::Leader).then_some((view.epoch, node))
        });
        views.max().map(|(_, node)| node)
    }

    fn stats(&self) -> HostStats {
        self.servers.iter().flatten().map(Server::stats).chain([self.past]).sum()
    }
}

impl<R: Replica> Ground for Arena<R> {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn wake_at(&self, at: Time, wake: Wake) {
        self.world.schedule(at, wake.encode());
    }

    fn leader(&self) -> Option<NodeId> {
        self.leader_of(GroupId(0))
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.servers[node.slot()].is_some()
    }

    fn remembers(&self, node: NodeId) -> bool {
        let server = self.servers[node.slot()].as_ref();
        let Some(server) = server else { return false };
        let recovered = server.views().filter(|(_, view)| view.role != Role::Recovering);
        recovered.count() == self.watches.len()
    }

    fn stop(&self, node: NodeId) -> Option<Stop> {
        let failure = self.servers[node.slot()].as_ref()?.failure()?;
        Some(Stop { why: failure.to_string(), corrupt: failure.is_corruption() })
    }

    fn inject(&mut self, fault: &Fault) -> (Injected, Option<String>) {
        let goes_down = match fault {
            Fault::Crash(crash) => Some(crash.node),
            Fault::Kill(kill) => Some(kill.node),
            Fault::Wipe(wipe) => Some(wipe.node),
            _ => None,
        };
        let before = self.world.stats().lost;
        if let Some(server) = goes_down.and_then(|node| self.servers[node.slot()].take()) {
            self.past += server.stats();
        }
        let injected = self.world.inject(fault);
        let Some(node) = goes_down else { return (injected, None) };
        self.watches.iter().for_each(|watch| watch.went_down(node));
        let after = self.world.stats().lost;
        let lost =
            |report: CrashReport| report.sectors_dropped + report.sectors_torn + report.sectors_garbage;
        let gone = lost(after) - lost(before);
        let unflushed = gone + after.sectors_kept - before.sectors_kept;
        (injected, Some(format!("{gone} of {unflushed} un-flushed sectors lost")))
    }

    fn recover(&mut self, injected: Injected) {
        if let Some(node) = self.world.recover(injected) {
            self.start_server(node);
        }
    }

    fn restart(&mut self, node: NodeId) {
        self.world.restart(node);
        self.start_server(node);
    }

    fn membership(&self) -> Membership {
        let leader = Ground::leader(self).and_then(|node| self.servers[node.slot()].as_ref());
        let known = leader.and_then(|leader| leader.membership(GroupId(0)));
        known.unwrap_or_else(|| self.plan.founders())
    }

    fn steps(&self, node: NodeId, to: &Membership) -> Vec<Membership> {
        self.options.steps(node, &Ground::membership(self), to)
    }

    fn control(&mut self, node: NodeId, control: Control) {
        if let Some(server) = &self.servers[node.slot()] {
            server.control(&control);
        }
    }

    fn note(&self, text: &str) {
        self.world.note(&[], || text.to_owned());
    }
}

/// Carries out a plan with a protocol and an engine. A panic inside the run is a finding: an assert
/// that states a broken law.
pub(crate) fn run<R: Replica>(
    plan: &Plan,
    protocol: R::Options,
    engine: AnyOptions,
    options: RunOptions,
) -> Run {
    let world = World::new(&plan.world);
    if let Some(trace) = options.trace {
        world.set_trace(trace);
    }
    let alarms = SharedAlarms::default();
    let records = Rc::new(RefCell::new(Records::new(plan.quiet_from)));
    let groups = plan.transactions.as_ref().map_or(1, |transactions| 1 + transactions.groups());
    let watches = (0..groups).map(|_| {
        let (alarms, clock, world) = (Rc::clone(&alarms), world.clone(), world.clone());
        let alarm = Box::new(move |alert| {
            match alert {
                Alert::Reached(condition, node) => alarms.borrow_mut().reached.push_back((condition, node)),
                Alert::Stopped(node) => alarms.borrow_mut().stopped.push_back(node),
            }
            world.schedule(world.now(), Wake::Alarm.encode());
        });
        let nodes = usize::from(plan.world.nodes);
        let around = Surroundings { alarm, clock: Box::new(move || clock.now()) };
        let watch =
            Watch::<R>::new(&plan.checks.monitors, nodes, plan.conditions(), Rc::clone(&records), around);
        Rc::new(watch)
    });
    let watches: Vec<_> = watches.collect();
    if plan.checks.stop_at_first || plan.transactions.is_some() {
        // Nobody asks for the order, and it would grow with the run.
        watches.iter().for_each(|watch| drop(watch.take_order()));
    }
    let of_transactions = SharedRecords::default();
    let mut arena = Arena::<R> {
        plan: plan.clone(),
        options: protocol,
        engine,
        world: world.clone(),
        of_transactions: Rc::clone(&of_transactions),
        watches: watches.clone(),
        servers: (0..plan.world.nodes).map(|_| None).collect(),
        past: HostStats::default(),
    };
    let at_once = plan.checks.stop_at_first && plan.transactions.is_none();
    let mut judge_at_once = at_once.then(|| OnTheFly::new(plan, options.keep_history));
    let mut nemesis = Nemesis::new(plan, R::FAILURES, arena.options.clock_drift_bound(), alarms, &arena);

    let mut expectations = Expectations::schedule(plan, &arena);
    let stopped = panics::catch(|| {
        let records = (&records, &of_transactions);
        simulate(&mut arena, &mut nemesis, records, &mut judge_at_once, &mut expectations)
    });
    let stopped = stopped.unwrap_or_else(|panic| Some(Stopped::Finding(finding_of(&panic))));

    let records = &mut *records.borrow_mut();
    let moment = arena.moment(records);
    let failed = expectations.unmet(&plan.expectations, &moment);
    watches.iter().for_each(|watch| watch.close());

    if let (Some(_), Some(judge)) = (&stopped, &mut judge_at_once) {
        judge.put_back(records);
    }
    let order = watches[0].take_order().map_or_else(Vec::new, |order| order.operations(records));
    let of_transactions = &mut *of_transactions.borrow_mut();
    of_transactions.close();
    let verdict = match stopped {
        Some(Stopped::Finding(finding)) => Verdict::Violation(finding),
        Some(Stopped::OutOf(what)) => Verdict::Inconclusive { what },
        None => liveness(plan, records, || arena.state_of_nodes()).unwrap_or_else(|| match judge_at_once {
            Some(judge) => judge.finish(records),
            None if plan.transactions.is_some() => match of_transactions.audit() {
                Some(finding) => Verdict::Violation(finding),
                None => of_transactions.judge(level(plan)),
            },
            None => judge(plan, &records.history, &order),
        }),
    };
    let verdict = match (verdict, failed) {
        (Verdict::Ok, Some(finding)) => Verdict::Violation(finding),
        (verdict, _) => verdict,
    };
    let report = Report {
        scenario: plan.scenario.clone(),
        seed: plan.seed,
        bug: plan.bugs.0,
        verdict,
        digest: world.digest(),
        simulated: world.now(),
        world: moment.world,
        seen: moment.seen,
        operations: moment.operations,
        latency: latency(records),
        availability: records.availability(world.now()),
        storage: moment.storage,
        transactions: plan.transactions.is_some().then_some(of_transactions.counts),
        fired: nemesis.fired().to_vec(),
        extent: nemesis.extent(),
    };
    let transactions = std::mem::take(&mut of_transactions.history);
    let history = records.history.clone();
    Run { report, history, transactions, order, invoked: records.invoked.clone() }
}

/// The numbers at the moments between which a plan's expectations are measured.
#[derive(Default)]
struct Expectations {
    moments: BTreeMap<Time, Moment>,
}

impl Expectations {
    /// Asks to be woken at each of them that is neither the start nor the end.
    fn schedule(plan: &Plan, ground: &impl Ground) -> Self {
        let bounds = plan.expectations.iter().flat_map(|expected| [expected.from, expected.until]);
        let within: BTreeSet<Time> = bounds.filter(|at| *at > Time::ZERO && *at < plan.until).collect();
        for at in within {
            ground.wake_at(at, Wake::Measure);
        }
        Self::default()
    }

    fn measure(&mut self, moment: Moment) {
        self.moments.insert(moment.at, moment);
    }

    /// The first that does not hold, if the run came to its end.
    fn unmet(&self, expected: &[Expectation], end: &Moment) -> Option<Finding> {
        let at = |time: Time| match self.moments.get(&time) {
            _ if time == Time::ZERO => Moment::default(),
            Some(moment) => *moment,
            None => *end,
        };
        expected.iter().find_map(|expected| {
            let (holds, value) = expected.that.judge(&at(expected.from), &at(expected.until));
            let Expectation { name, that, from, until } = expected;
            (!holds).then(|| {
                let message = format!(
                    "{name}: expected {that} from {from} to {until}, but {} was {value}",
                    that.subject()
                );
                Finding::of_run(&format!("expect/{name}"), message, Vec::new())
            })
        })
    }
}

/// Why a run ended before its time.
enum Stopped {
    Finding(Finding),
    OutOf(String),
}

fn simulate<R: Replica>(
    arena: &mut Arena<R>,
    nemesis: &mut Nemesis,
    (records, of_transactions): (&Rc<RefCell<Records>>, &SharedRecords),
    judge_at_once: &mut Option<OnTheFly>,
    expectations: &mut Expectations,
) -> Option<Stopped> {
    let (world, plan) = (arena.world.clone(), arena.plan.clone());
    let nodes = plan.world.nodes;
    for node in (1..=nodes).map(NodeId) {
        arena.start_server(node);
    }
    let retries = R::RETRIES_ARE_SAFE;
    let mut clients = AnyClient::all(&plan, |client| world.env(client), retries, records, of_transactions);
    clients.iter_mut().for_each(AnyClient::start);

    let mut events = 0;
    while let Some(event) = world.next(plan.until) {
        match event {
            Event::Message { to: Address::Node(node), from, message } => {
                if let Some(server) = &arena.servers[node.slot()] {
                    server.on_packet(from, message);
                }
            }
            Event::Message { to: Address::Client(client), from, message } => {
                let Packet::Response { response, .. } = message else {
                    unreachable!("servers only answer clients")
                };
                clients[client.slot()].on_response(from, response);
            }
            Event::Timer { at: Address::Node(node), timer } => {
                if let Some(server) = &arena.servers[node.slot()] {
                    server.on_timer(timer);
                }
            }
            Event::Timer { at: Address::Client(client), timer } => clients[client.slot()].on_timer(timer),
            Event::Control(number) => match Wake::decode(number) {
                Wake::Measure => expectations.measure(arena.moment(&records.borrow())),
                wake => nemesis.on_wake(wake, arena),
            },
            Event::Disconnect { at: Address::Node(node), peer: Address::Node(peer), stream } => {
                if let Some(server) = &arena.servers[node.slot()] {
                    server.on_disconnect(peer, stream);
                }
            }
            Event::Disconnect { .. } => unreachable!("only servers open streams, to each other"),
            Event::DiskOp { .. } => unreachable!("a run sets no breakpoints"),
        }
        let seen = arena.watches.iter().find_map(|watch| watch.finding());
        if let Some(finding) = seen.or_else(|| of_transactions.borrow_mut().finding.take()) {
            return Some(Stopped::Finding(finding));
        }
        if let Some(judge) = judge_at_once
            && let Some(finding) = judge.listen(&mut records.borrow_mut())
        {
            return Some(Stopped::Finding(finding));
        }
        if let Some((node, stop)) = nemesis.unexplained() {
            let message = format!("{node} stopped by itself: {}", stop.why);
            return Some(Stopped::Finding(Finding::of_run("node-stopped", message, Vec::new())));
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
    None
}

fn finding_of(panic: &Caught) -> Finding {
    Finding {
        check: "assertion".to_owned(),
        message: format!("an assertion of the code under test failed at {}: {}", panic.place, panic.message),
        evidence: Vec::new(),
        signature: panic.signature(),
    }
}

/// Whether the quiet tail brought less progress than demanded.
fn liveness(plan: &Plan, records: &Records, nodes: impl Fn() -> Vec<String>) -> Option<Verdict> {
    let liveness = plan.checks.liveness?;
    if records.answered_in_quiet >= liveness.operations {
        return None;
    }
    let message = format!(
        "only {} operations were answered in the {} s after the faults had ended, {} were demanded",
        records.answered_in_quiet,
        liveness.after_heal.as_secs_f64(),
        liveness.operations
    );
    Some(Verdict::Violation(Finding::of_run("liveness", message, nodes())))
}

fn storage(stats: HostStats) -> Storage {
    Storage {
        journal_flushes: stats.journal.flushes,
        journal_records: stats.journal.records,
        engine_flushes: stats.engine.flushes,
        engine_compactions: stats.engine.compactions,
    }
}

fn operations(records: &Records) -> Operations {
    Operations {
        invoked: records.invoked.len() as u64,
        answered: records.answered,
        unknown: records.unknown,
        open: records.under_way,
        answered_in_quiet: records.answered_in_quiet,
    }
}

fn latency(records: &Records) -> Latency {
    let at = |quantile| records.latency.value_at_quantile(quantile);
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: records.latency.max() }
}

//! Draws: small plans put together from what struck in the run that failed.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use contract::{NodeId, Seed, Time};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand_chacha::ChaCha8Rng;
use sim::config::{Latency, NetConfig};
use sim::rng::{Keys, Purpose};

use super::fault_steps::{in_order, isolated, with_nodes};
use super::search::Best;
use super::steps::{PLAIN_LATENCY, with_clients};
use super::weight::ideal_disk;
use crate::plan::{Action, Aim, Cause, Draw, Event, Plan, PlannedFault, Predicate, Target, Trigger};
use crate::report::Fired;
use crate::scenario::draw::nano;

const PURPOSE: Purpose = Purpose::new("shrink");
/// What a drawn plan has at most.
const FAULTS: usize = 3;
/// The share of draws without any fault.
const WITHOUT_FAULTS: f64 = 0.05;
/// When the first fault strikes, in milliseconds: around the first elections.
const BEGIN: Range<u64> = 100..1_200;
/// How long a plan goes on after its faults, in milliseconds.
const TAIL: Range<u64> = 200..1_500;

/// What small plans are drawn from: everything that struck, as it did.
pub(super) struct Quarry {
    original: Plan,
    struck: Vec<Strike>,
    keys: Keys,
}

type Strike = (Fired, Action);

impl Quarry {
    pub(super) fn new(best: &Best) -> Self {
        Self { original: best.plan.clone(), struck: struck(best), keys: Keys::new(best.plan.seed) }
    }

    /// Small plans, each a function of its number, of the plan that failed first and of the best one
    /// since.
    pub(super) fn small<'a>(
        &'a self,
        best: &Best,
        numbers: Range<u64>,
    ) -> impl Iterator<Item = Plan> + use<'a> {
        let (plan, since) = (best.plan.clone(), struck(best));
        numbers.map(move |number| {
            let rng = &mut self.keys.stream(PURPOSE, number);
            let base = if rng.random_bool(0.5) { &self.original } else { &plan };
            let struck = if rng.random_bool(0.5) { &self.struck } else { &since };
            let most = if struck.is_empty() { 0 } else { plan.faults.len().min(FAULTS) };
            small(base, struck, most, rng)
        })
    }
}

fn struck(best: &Best) -> Vec<Strike> {
    let struck = best.report.fired.iter();
    struck.filter_map(|fired| Some((fired.clone(), fired.action.clone()?))).collect()
}

fn small(base: &Plan, struck: &[Strike], most: usize, rng: &mut ChaCha8Rng) -> Plan {
    let mut plan = Plan { faults: Vec::new(), only: None, ..base.clone() };
    plan.world.seed = Seed(plan.seed.0.wrapping_add(rng.random::<u32>().into()));
    plan.checks.liveness = None;
    simplify_world(&mut plan, rng);
    let mut at = Time::ZERO + Duration::from_millis(rng.random_range(BEGIN));
    let mut end = at;
    let none = most == 0 || rng.random_bool(WITHOUT_FAULTS);
    let number = if none { 0 } else { rng.random_range(1..=most) };
    for id in 0..number as u32 {
        let (fired, action) = draw_strike(struck, rng);
        let fault = draw_fault(fired, action, at, plan.world.nodes, rng);
        end = end.max(fault.action.lasts.as_ref().map_or(at, |lasts| at + lasts.max()));
        plan.faults.push(PlannedFault { id, ..fault });
        at = at + draw_gap(rng);
    }
    let until = end.max(at) + Duration::from_millis(rng.random_range(TAIL));
    (plan.until, plan.quiet_from) = (until, until);
    draw_operations(&mut plan, rng);
    in_order(&mut plan);
    plan
}

/// One of what struck, each fault of the scenario as likely as the other, however often it did.
fn draw_strike<'a>(struck: &'a [Strike], rng: &mut ChaCha8Rng) -> &'a Strike {
    let origin = |(fired, _): &Strike| fired.name.split('#').next().unwrap_or_default().to_owned();
    let origins: BTreeSet<String> = struck.iter().map(origin).collect();
    let drawn = origins.iter().choose(rng).expect("something struck");
    struck.iter().filter(|strike| origin(strike) == *drawn).choose(rng).expect("it struck")
}

fn draw_fault(fired: &Fired, action: &Action, at: Time, nodes: u16, rng: &mut ChaCha8Rng) -> PlannedFault {
    let mut action = action.clone();
    action.aim = draw_aim(&action.aim, nodes, rng);
    if let Some(Draw::Fixed(lasts)) = &mut action.lasts {
        *lasts = draw_length(*lasts, rng);
    }
    let trigger = draw_trigger(fired, at, nodes, rng);
    // What waits for a node's state mostly strikes that node.
    if let (Trigger::Nth(cause), Aim::Nodes(targets)) = (&trigger, &action.aim)
        && targets.len() == 1
        && *targets != [Target::Rest]
        && rng.random_bool(0.8)
    {
        action.aim = Aim::Nodes(vec![Target::Node(cause.node)]);
    }
    PlannedFault { id: 0, name: fired.name.clone(), trigger, action }
}

fn simplify_world(plan: &mut Plan, rng: &mut ChaCha8Rng) {
    if rng.random_bool(0.7)
        && plan.world.nodes > 3
        && let Some(few) = with_nodes(plan, 3)
    {
        *plan = few;
    }
    let latency = plan.world.net.latency;
    plan.world.net = match rng.random_range(0..10) {
        0..5 => plan.world.net,
        5..7 => NetConfig::with_latency(latency),
        _ => NetConfig::with_latency(Latency::Constant(PLAIN_LATENCY)),
    };
    if rng.random_bool(0.2) {
        plan.world.disk = ideal_disk(&plan.world.disk).unwrap_or(plan.world.disk);
    }
}

fn draw_gap(rng: &mut ChaCha8Rng) -> Duration {
    match rng.random_range(0..3) {
        0 => Duration::ZERO,
        1 => Duration::from_millis(rng.random_range(1..50)),
        _ => Duration::from_millis(rng.random_range(50..700)),
    }
}

fn draw_length(was: Duration, rng: &mut ChaCha8Rng) -> Duration {
    match rng.random_range(0..3) {
        0 => was.min(Duration::from_secs(2)),
        1 => Duration::from_millis(rng.random_range(1..30)),
        _ => Duration::from_millis(rng.random_range(30..1_000)),
    }
}

/// As it struck if those nodes are there, or others as many or more.
fn draw_aim(aim: &Aim, nodes: u16, rng: &mut ChaCha8Rng) -> Aim {
    let there = aim.targets().iter().all(|target| !matches!(target, Target::Node(node) if node.0 > nodes));
    if there && rng.random_bool(0.4) {
        return aim.clone();
    }
    match aim {
        Aim::Nodes(targets) if targets == &[Target::Rest] => aim.clone(),
        Aim::Nodes(_) => {
            let number =
                *[1, 1, 1, usize::from(nodes / 2 + 1), usize::from(nodes)].choose(rng).expect("some");
            let all: Vec<u16> = (1..=nodes).collect();
            let mut some: Vec<u16> = all.choose_multiple(rng, number).copied().collect();
            some.sort_unstable();
            Aim::Nodes(some.into_iter().map(|node| Target::Node(NodeId(node))).collect())
        }
        Aim::Groups(_) | Aim::Shape(..) => isolated(NodeId(rng.random_range(1..=nodes)), nodes),
    }
}

/// A moment, or a state of a node: the one that the fault struck at, or any that comes often.
fn draw_trigger(fired: &Fired, at: Time, nodes: u16, rng: &mut ChaCha8Rng) -> Trigger {
    const STATES: [Event; 3] =
        [Event::LeaderElected, Event::HardStateWritePending, Event::LeaderAboutToCommit];
    let node = NodeId(rng.random_range(1..=nodes));
    let nth = if rng.random_bool(0.6) { 1 } else { rng.random_range(2..=4) };
    match &fired.cause {
        Some(cause) if rng.random_bool(0.7) => {
            Trigger::Nth(Cause { condition: cause.condition.clone(), node, nth })
        }
        _ if rng.random_bool(0.3) => {
            let condition = Predicate::Event(*STATES.choose(rng).expect("some"));
            Trigger::Nth(Cause { condition, node, nth })
        }
        _ => Trigger::At(at),
    }
}

/// None, a few or some operations in the time there is.
fn draw_operations(plan: &mut Plan, rng: &mut ChaCha8Rng) {
    let seconds = plan.until.as_secs_f64();
    let number = match rng.random_range(0..3) {
        0 => {
            plan.only = Some(Vec::new());
            return;
        }
        1 => rng.random_range(2..12),
        _ => rng.random_range(12..60),
    };
    let workloads = plan.workloads.len();
    for workload in &mut plan.workloads {
        workload.rate = nano(f64::from(number) / seconds / workloads as f64);
        if rng.random_bool(0.5) {
            workload.keys = 1;
        }
    }
    let clients = rng.random_range(1..=3).max(workloads as u16);
    if clients < plan.world.clients {
        let rates: Vec<f64> = plan.workloads.iter().map(|workload| workload.rate).collect();
        *plan = with_clients(plan, clients);
        for (workload, rate) in plan.workloads.iter_mut().zip(rates) {
            workload.rate = rate;
        }
    }
}

//! Draws: small plans put together from what struck in the run that failed.

use std::time::Duration;

use contract::{NodeId, Seed, Time};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use sim::config::{Latency, NetConfig};
use sim::rng::{Keys, Purpose};

use super::fault_steps::{in_order, isolated, with_nodes};
use super::search::Best;
use super::steps::with_clients;
use super::weight::ideal_disk;
use crate::plan::{Action, Aim, Cause, Draw, Event, Plan, PlannedFault, Predicate, Target, Trigger};
use crate::report::Fired;

const PURPOSE: Purpose = Purpose::new("shrink");
/// What a drawn plan has at most.
const FAULTS: usize = 3;
/// A node is up, and soon a leader elected, in this time.
const BEGIN: std::ops::Range<u64> = 100..1_200;

/// What small plans are drawn from: everything that struck, as it did.
pub(super) struct Quarry {
    struck: Vec<(Fired, Action)>,
    keys: Keys,
}

impl Quarry {
    pub(super) fn new(best: &Best) -> Self {
        let struck = best.report.fired.iter();
        let struck = struck.filter_map(|fired| Some((fired.clone(), fired.action.clone()?))).collect();
        Self { struck, keys: Keys::new(best.plan.seed) }
    }

    /// One plan, a function of its number, of the plan that failed first and the best one since.
    pub(super) fn small(&self, original: &Plan, best: &Plan, number: u64) -> Plan {
        let rng = &mut self.keys.stream(PURPOSE, number);
        let base = if rng.random_bool(0.5) { original } else { best };
        let mut plan = Plan { faults: Vec::new(), only: None, ..base.clone() };
        plan.world.seed = Seed(plan.seed.0.wrapping_add(rng.random::<u32>().into()));
        plan.checks.liveness = None;
        simplify_world(&mut plan, rng);
        let most = best.faults.len().clamp(1, FAULTS).min(self.struck.len());
        let mut at = Time::ZERO + Duration::from_millis(rng.random_range(BEGIN));
        let mut end = at;
        for id in 0..rng.random_range(0..=most) as u32 {
            let (fired, action) = self.struck.choose(rng).expect("something struck");
            let mut action = action.clone();
            action.aim = draw_aim(&action.aim, plan.world.nodes, rng);
            if let Some(Draw::Fixed(lasts)) = &mut action.lasts {
                *lasts = draw_length(*lasts, rng);
            }
            let trigger = draw_trigger(fired, at, plan.world.nodes, rng);
            let over = action.lasts.as_ref().map_or(at, |lasts| at + lasts.max());
            end = end.max(over);
            plan.faults.push(PlannedFault { id, name: fired.name.clone(), trigger, action });
            at = at + draw_gap(rng);
        }
        let until = end.max(at) + Duration::from_millis(rng.random_range(200..1_500));
        (plan.until, plan.quiet_from) = (until, until);
        draw_operations(&mut plan, rng);
        in_order(&mut plan);
        plan
    }
}

fn simplify_world(plan: &mut Plan, rng: &mut ChaCha8Rng) {
    if rng.random_bool(0.5)
        && plan.world.nodes > 3
        && let Some(few) = with_nodes(plan, 3)
    {
        *plan = few;
    }
    if rng.random_bool(0.3) {
        let latency = match rng.random_bool(0.5) {
            true => Latency::Constant(Duration::from_millis(1)),
            false => plan.world.net.latency,
        };
        plan.world.net = NetConfig::with_latency(latency);
    }
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
            let number = *[1, 1, 1, usize::from(nodes / 2 + 1), usize::from(nodes)].choose(rng).expect("some");
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
    const STATES: [Event; 3] = [Event::LeaderElected, Event::HardStateWritePending, Event::LeaderAboutToCommit];
    let node = NodeId(rng.random_range(1..=nodes));
    let nth = rng.random_range(1..=3);
    match &fired.cause {
        Some(cause) if rng.random_bool(0.5) => {
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
        workload.rate = f64::from(number) / seconds / workloads as f64;
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

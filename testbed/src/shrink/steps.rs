//! Steps: each makes one thing about a plan simpler.

use std::time::Duration;

use contract::Time;
use sim::config::{CpuConfig, Latency, NetConfig};

use super::cut::ending;
use super::fault_steps::{fault_steps, in_order, moment, with_nodes};
use super::search::Best;
use super::weight::ideal_disk;
use crate::plan::{CommitMode, Isolation, KvMix, Plan, TransactionPlan, Trigger};
use crate::registry;
use crate::scenario::draw::nano;

/// How many pieces of the list of operations are left out in turn.
const PIECES: usize = 32;
/// How long a cluster is given before the first fault.
const WARM_UP: Duration = Duration::from_millis(100);
/// How long a message takes in a plain world.
pub(super) const PLAIN_LATENCY: Duration = Duration::from_millis(1);

/// Everything that could be simpler, one thing at a time, what weighs most first. In a plan that fails
/// for want of progress, clients and the quiet tail stay as they are.
pub(super) fn steps(best: &Best, liveness: bool) -> Vec<Plan> {
    let mut steps = fault_steps(best);
    if !liveness {
        steps.extend(operations(best));
        steps.extend(times(best));
        steps.extend(clients(best));
    }
    steps.extend(store(&best.plan));
    steps.extend(cluster(&best.plan));
    steps.extend(world(&best.plan));
    steps.retain(|plan| *plan != best.plan);
    steps
}

fn changed(plan: &Plan, change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan.clone();
    change(&mut plan);
    plan
}

fn operations(best: &Best) -> Vec<Plan> {
    let (plan, invoked) = (&best.plan, &best.invoked);
    let only = |only| changed(plan, |plan| plan.only = Some(only));
    let slower = |factor: f64| {
        changed(plan, |plan| {
            plan.workloads.iter_mut().for_each(|workload| workload.rate = nano(workload.rate * factor))
        })
    };
    let mut steps = vec![only(Vec::new())];
    if plan.only.is_none() {
        steps.extend([slower(0.25), slower(0.5), slower(0.8)]);
    }
    let piece = invoked.len().div_ceil(PIECES).max(1);
    for start in (0..invoked.len()).step_by(piece) {
        let mut rest = invoked.clone();
        rest.drain(start..(start + piece).min(invoked.len()));
        steps.push(only(rest));
    }
    steps.push(only(invoked.clone()));
    steps
}

fn times(best: &Best) -> Vec<Plan> {
    let (plan, end) = (&best.plan, best.report.simulated);
    let mut steps = vec![ending(plan, end + Duration::from_nanos(1))];
    for eighths in [4, 6, 7] {
        steps.push(ending(plan, Time(plan.until.0 / 8 * eighths)));
    }
    if let Some(first) = plan.faults.iter().filter_map(moment).min() {
        let most = first.since(Time::ZERO + WARM_UP);
        steps.extend([most, most / 2, most / 4].map(|by| sooner(plan, by)));
    }
    steps
}

/// All timed faults, and the end, that much earlier.
fn sooner(plan: &Plan, by: Duration) -> Plan {
    let earlier = |time: Time| Time::ZERO + time.since(Time::ZERO + by);
    let mut plan = plan.clone();
    for fault in &mut plan.faults {
        if let Trigger::At(time) = &mut fault.trigger {
            *time = earlier(*time);
        }
    }
    (plan.until, plan.quiet_from) = (earlier(plan.until), earlier(plan.quiet_from));
    in_order(&mut plan);
    plan
}

fn clients(best: &Best) -> Vec<Plan> {
    let plan = &best.plan;
    let mut steps = Vec::new();
    let needed = best.invoked.iter().map(|(client, _)| client.0).max().unwrap_or(1);
    for clients in [1, needed, needed.saturating_sub(1)] {
        if clients >= 1 && clients < plan.world.clients && usize::from(clients) >= plan.workloads.len() {
            steps.push(with_clients(plan, clients));
        }
    }
    for place in 0..plan.workloads.len() {
        let workload = &plan.workloads[place];
        for keys in [1, workload.keys / 2, workload.keys - 1] {
            if keys >= 1 && keys < workload.keys {
                steps.push(changed(plan, |plan| plan.workloads[place].keys = keys));
            }
        }
        for mix in simpler_mixes(&workload.mix) {
            steps.push(changed(plan, |plan| plan.workloads[place].mix = mix));
        }
        steps.push(changed(plan, |plan| plan.workloads[place].value_size = 1));
    }
    steps
}

/// Fewer clients, which keep their pace.
pub(super) fn with_clients(plan: &Plan, clients: u16) -> Plan {
    let mut few = plan.clone();
    few.world.clients = clients;
    for place in 0..plan.workloads.len() {
        let share = few.clients_of(place) as f64 / plan.clients_of(place) as f64;
        few.workloads[place].rate = nano(plan.workloads[place].rate * share);
    }
    few
}

/// One kind of operation less.
fn simpler_mixes(mix: &KvMix) -> Vec<KvMix> {
    let shares = mix.shares();
    let without = |place: usize| {
        let mut shares = shares;
        shares[place] = 0.0;
        let sum: f64 = shares.iter().sum();
        (sum > 0.0).then(|| KvMix::of(shares.map(|share| nano(share / sum))))
    };
    (0..shares.len()).filter(|place| shares[*place] > 0.0).filter_map(without).collect()
}

/// Fewer shards and keys, and plainer ways to commit.
fn store(plan: &Plan) -> Vec<Plan> {
    let Some(store) = &plan.transactions else { return Vec::new() };
    let keys = [store.keys / 2, store.keys - 1].into_iter().filter(|keys| *keys >= store.shards.max(1));
    let fewer_keys = keys.map(|keys| TransactionPlan { keys, ..store.clone() });
    let fewer_shards =
        (store.shards > 1).then(|| TransactionPlan { shards: store.shards - 1, ..store.clone() });
    let plainer = [
        TransactionPlan { move_every: None, ..store.clone() },
        TransactionPlan { balance_every: None, split_above: None, ..store.clone() },
        TransactionPlan { collect_every: None, ..store.clone() },
        TransactionPlan { leaves: 0.0, ..store.clone() },
        TransactionPlan { spares: 0, ..store.clone() },
        TransactionPlan { spares: store.spares.saturating_sub(1), ..store.clone() },
        TransactionPlan { isolation: Isolation::Snapshot, ..store.clone() },
        TransactionPlan { mode: CommitMode::Optimistic, ..store.clone() },
    ];
    let plainer = plainer.into_iter().chain(fewer_shards).chain(fewer_keys);
    let with = |store: TransactionPlan| {
        changed(plan, |plan| {
            // What is promised is what is asked for.
            plan.checks.history = store.isolation.promises().to_owned();
            plan.transactions = Some(store);
        })
    };
    plainer.map(with).collect()
}

fn cluster(plan: &Plan) -> Vec<Plan> {
    let fewer = [3, 5].into_iter().filter(|nodes| *nodes < plan.world.nodes);
    let mut steps: Vec<Plan> = fewer.filter_map(|nodes| with_nodes(plan, nodes)).collect();
    let options = plan.options.as_object().map_or(Vec::new(), |options| options.keys().cloned().collect());
    for name in options {
        let mut plain = plan.clone();
        plain.options.as_object_mut().expect("it was one").remove(&name);
        let voters = plain.founders().voters.len();
        if registry::check_options(&plain.protocol, &plain.options, Some(voters)).is_ok() {
            steps.push(plain);
        }
    }
    steps
}

fn world(plan: &Plan) -> Vec<Plan> {
    let net = plan.world.net;
    let plain = Latency::Constant(PLAIN_LATENCY);
    let nets = [
        NetConfig::with_latency(plain),
        NetConfig { latency: plain, ..net },
        NetConfig { loss: 0.0, ..net },
        NetConfig { duplicate: 0.0, ..net },
        NetConfig { corrupt: 0.0, ..net },
        NetConfig { reorder: 0.0, ..net },
        NetConfig { bandwidth: None, ..net },
        NetConfig { weather: None, ..net },
    ];
    let mut steps: Vec<Plan> = nets.map(|net| changed(plan, |plan| plan.world.net = net)).into();
    steps.extend(ideal_disk(&plan.world.disk).map(|disk| changed(plan, |plan| plan.world.disk = disk)));
    steps.push(changed(plan, |plan| (plan.zones, plan.world.links) = (Vec::new(), Vec::new())));
    steps.push(changed(plan, |plan| plan.world.clock_skew = Duration::ZERO));
    steps.push(changed(plan, |plan| plan.world.clock_drift_ppm = 0));
    steps.push(changed(plan, |plan| plan.world.cpu = CpuConfig::default()));
    steps
}

//! How much there is to read in a failing plan, as one number.
//!
//! The search takes a plan only if it is lighter than the best so far, so it ends, and whatever it
//! tries cannot make a plan worse. The figures are a judgement: ten operations are as much to
//! understand as one fault, and what the world does to everyone alike (loss, jitter) is worth less than
//! any of them.

use std::time::Duration;

use contract::Time;
use sim::config::{DiskConfig, Latency, NetConfig, disk_profile};

use super::fault_steps::moment;
use crate::plan::{
    Aim, CommitMode, Draw, Isolation, Plan, PlannedFault, TransactionPlan, Trigger, WorkloadPlan,
};

const FAULT: u64 = 100_000;
const TARGET: u64 = 3_000;
const STATE_AWARE: u64 = 5_000;
const OPERATION: u64 = 10_000;
const NODE: u64 = 10_000;
const CLIENT: u64 = 4_000;
const KEY: u64 = 1_000;
const IRREGULAR: u64 = 2_000;
const CHOICE: u64 = 500;
const LISTED: u64 = 10;
/// A moment or a length that is no whole millisecond.
const ODD: u64 = 100;
/// A second of a run; of a fault it is an eighth.
const SECOND: u64 = 4_000;

/// The weight of a plan whose run took this course.
pub(super) fn weight(plan: &Plan, struck: usize, operations: usize, simulated: Time) -> u64 {
    // A state-aware fault counts as often as it strikes.
    let more = struck.saturating_sub(plan.faults.len()) as u64;
    least(plan) + more * FAULT + operations as u64 * OPERATION + time(simulated)
}

/// What the plan weighs however its run goes.
pub(super) fn least(plan: &Plan) -> u64 {
    faults(plan) + world(plan) + clients(plan) + plan.transactions.as_ref().map_or(0, store)
}

fn store(store: &TransactionPlan) -> u64 {
    let irregular = u64::from(store.move_every.is_some())
        + u64::from(store.balance_every.is_some())
        + u64::from(store.collect_every.is_some())
        + u64::from(store.leaves > 0.0)
        + u64::from(store.isolation != Isolation::Snapshot)
        + u64::from(store.mode != CommitMode::Optimistic);
    irregular * IRREGULAR + u64::from(store.groups()) * NODE + u64::from(store.keys) * KEY
}

fn time(time: Time) -> u64 {
    time.0 / 1_000 * SECOND / 1_000_000
}

fn odd(time: Time) -> u64 {
    if time.0.is_multiple_of(1_000_000) { 0 } else { ODD }
}

fn faults(plan: &Plan) -> u64 {
    let of = |fault: &PlannedFault| {
        let targets = match &fault.action.aim {
            Aim::Nodes(targets) | Aim::Shape(_, targets) => targets.len(),
            // The largest group is all the others.
            Aim::Groups(groups) => {
                let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
                groups.iter().map(Vec::len).sum::<usize>() - largest
            }
        };
        let trigger = if matches!(fault.trigger, Trigger::When { .. }) { STATE_AWARE } else { 0 };
        let shape = if matches!(fault.action.aim, Aim::Shape(..)) { IRREGULAR } else { 0 };
        let lasts = Time::ZERO + fault.action.lasts.as_ref().map_or(Duration::ZERO, Draw::max);
        let odd = odd(lasts) + moment(fault).map_or(0, odd);
        FAULT + targets as u64 * TARGET + trigger + shape + time(lasts) / 8 + odd
    };
    plan.faults.iter().map(of).sum()
}

fn world(plan: &Plan) -> u64 {
    let world = &plan.world;
    let irregular = irregular_net(&world.net)
        + irregular_disk(&world.disk)
        + world.links.len() as u64
        + u64::from(!world.clock_skew.is_zero())
        + u64::from(world.clock_drift_ppm > 0)
        + u64::from(!world.cpu.is_free());
    let options = plan.options.as_object().map_or(0, |options| options.len() as u64);
    u64::from(world.nodes) * NODE + (irregular + plan.zones.len() as u64) * IRREGULAR + options * CHOICE
}

fn irregular_net(net: &NetConfig) -> u64 {
    let shares = [net.loss, net.duplicate, net.corrupt, net.reorder];
    shares.iter().filter(|share| **share > 0.0).count() as u64
        + u64::from(!matches!(net.latency, Latency::Constant(_)))
        + u64::from(net.bandwidth.is_some())
        + u64::from(net.weather.is_some())
}

fn irregular_disk(disk: &DiskConfig) -> u64 {
    u64::from(ideal_disk(disk).is_some_and(|ideal| ideal != *disk))
}

/// The simplest disk that keeps the same promises.
pub(super) fn ideal_disk(disk: &DiskConfig) -> Option<DiskConfig> {
    disk_profile("ideal").map(|ideal| DiskConfig { persistence: disk.persistence, ..ideal })
}

fn clients(plan: &Plan) -> u64 {
    let of = |workload: &WorkloadPlan| {
        let kinds = workload.mix.shares();
        let kinds = kinds.iter().filter(|share| **share > 0.0).count() as u64;
        u64::from(workload.keys) * KEY + kinds * CHOICE + workload.value_size as u64
    };
    let only = plan.only.as_ref().map_or(0, |only| only.len() as u64);
    u64::from(plan.world.clients) * CLIENT + plan.workloads.iter().map(of).sum::<u64>() + only * LISTED
}

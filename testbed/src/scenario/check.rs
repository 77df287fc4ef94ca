//! What a scenario's fields must be to each other.

use std::time::Duration;

use super::decode::At;
use super::diagnostic::Problems;
use super::draw::Draw;
use super::fault::{self, FaultSpec, SwarmSpec};
use super::latency::Latency;
use super::scalar::{Scalar, Size};
use super::sections::{Cluster, File, Workload};
use crate::plan::Target;
use crate::registry;
use crate::units::format_duration;
use crate::workload::transactions;

/// The bounds of a run, over all seeds.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The fewest nodes that a seed can draw.
    pub(super) nodes: u16,
    /// The latest moment at which faults may still strike.
    pub(super) quiet: Duration,
    /// The latest end.
    pub(super) end: Duration,
    /// Whether nodes stand in zones.
    pub(super) zones: bool,
}

/// Notes impossible combinations and returns the faults in the form in which a plan needs them.
pub(super) fn check(file: &File, problems: &mut Problems) -> (Vec<FaultSpec>, Option<SwarmSpec>) {
    if file.name.value.trim().is_empty() {
        problems.add::<()>(file.name.span.clone(), "a scenario needs a name");
    }
    at_least(&file.cluster.nodes, 1, "a cluster has at least one node", problems);
    at_least(&file.cluster.clients, 1, "a run needs at least one client", problems);
    at_least(&file.engine.memtable, Size(1024), "a memtable holds at least 1KiB", problems);
    if let Some(unit) = &file.disk.torn_unit {
        let fits = |size: &Size| size.0.is_power_of_two() && size.0 <= 4096;
        let all = match &unit.value {
            Draw::Fixed(size) => fits(size),
            Draw::OneOf(sizes) => sizes.iter().all(fits),
            Draw::Range { .. } => false,
        };
        if !all {
            let help = "for example \"512B\", or { one_of = [\"1B\", \"512B\", \"4KiB\"] }";
            let message = "a torn unit is a power of two of at most 4KiB";
            problems.add_with_help::<()>(unit.span.clone(), message, help);
        }
    }
    at_least(&file.budget.time, Duration::from_nanos(1), "a run takes some time", problems);
    at_least(&file.budget.events, 1, "a run takes at least one event", problems);
    let disk = [&file.disk.read, &file.disk.write, &file.disk.flush, &file.disk.flush_metadata];
    for latency in [&file.net.latency].into_iter().chain(disk).flatten() {
        check_latency(latency, problems);
    }
    for workload in &file.workloads {
        check_workload(&workload.value, file.cluster.protocol.text, problems);
    }
    check_transactions(file, problems);
    check_parts(&file.cluster, problems);
    let fewest_clients = usize::from(file.cluster.clients.value.min());
    match file.workloads.get(fewest_clients) {
        // Clients take the workloads in turn.
        Some(workload) if fewest_clients > 0 => {
            let message = format!("there is no client for this workload, `clients` is {fewest_clients}");
            problems.add::<()>(workload.span.clone(), message);
        }
        _ if file.workloads.is_empty() => {
            problems.add::<()>(0..0, "a scenario has a workload");
        }
        _ => {}
    }
    let end = file.budget.time.value.clone();
    let tail = file.check.liveness.as_ref().map(|liveness| &liveness.value.after_heal);
    if let Some(tail) = tail.filter(|tail| tail.value.max() >= end.min()) {
        let message = format!(
            "a quiet tail of {} leaves nothing of a run of {}",
            format_duration(tail.value.max()),
            format_duration(end.min())
        );
        problems.add_with_help::<()>(
            tail.span.clone(),
            message,
            "lengthen `budget.time` or shorten the tail",
        );
        return (Vec::new(), None);
    }
    let tail = tail.map_or(Duration::ZERO, |tail| tail.value.min());
    let nodes = file.cluster.nodes.value.min();
    check_zones(file, nodes, problems);
    let zones = file.net.zones.is_some();
    let bounds = Bounds { nodes, quiet: end.max() - tail, end: end.max(), zones };
    let swarm = file.swarm.as_ref().and_then(|swarm| fault::check_swarm(swarm, problems));
    (fault::check(&file.faults, bounds, problems), swarm)
}

fn check_zones(file: &File, nodes: u16, problems: &mut Problems) {
    let mut named = Vec::new();
    for target in file.net.zones.iter().flat_map(|zones| &zones.value).flat_map(|zone| &zone.value) {
        match target.value {
            Target::Node(node) if node.0 > nodes => {
                problems.add::<()>(target.span.clone(), format!("there is no node {node}"));
            }
            Target::Node(node) if named.contains(&node) => {
                problems.add::<()>(target.span.clone(), format!("{node} is in a zone already"));
            }
            Target::Node(node) => named.push(node),
            role => {
                problems.add::<()>(
                    target.span.clone(),
                    format!("`{role}` names no node that could be in a zone"),
                );
            }
        }
    }
}

fn at_least<T: Scalar>(field: &At<Draw<T>>, least: T, law: &str, problems: &mut Problems) {
    if field.value.min() < least {
        problems.add::<()>(field.span.clone(), law);
    }
}

fn check_latency(latency: &At<Latency>, problems: &mut Problems) {
    let message = match &latency.value {
        Latency::Uniform(uniform) if uniform.min.max() > uniform.max.min() => "`min` is above `max`",
        Latency::LogNormal(log_normal) if log_normal.median.max() > log_normal.p99.min() => {
            "`median` is above `p99`"
        }
        Latency::LogNormal(log_normal) if log_normal.median.min().is_zero() => {
            "the median of a log-normal latency is more than 0"
        }
        _ => return,
    };
    problems.add::<()>(latency.span.clone(), message);
}

/// Someone must vote, and someone who votes must keep the state.
fn check_parts(cluster: &Cluster, problems: &mut Problems) {
    let nodes = cluster.nodes.value.min();
    let aside = [&cluster.spares, &cluster.learners, &cluster.witnesses];
    let most: u32 = aside.iter().map(|part| u32::from(part.value.max())).sum();
    if most >= u32::from(nodes) && most > 0 {
        let part = aside.into_iter().find(|part| part.value.max() > 0).expect("the sum is above 0");
        let message = format!("of {nodes} nodes none is left that votes and keeps the state");
        problems.add_with_help::<()>(part.span.clone(), message, "have more `nodes`, or fewer of these");
    }
}

/// Transactions need a store of many groups, and that serves nothing else.
fn check_transactions(file: &File, problems: &mut Problems) {
    let transactional = |kind: &str| transactions::kind(kind).is_some();
    let workloads = file.workloads.iter().map(|workload| (&workload.span, workload.value.kind.text));
    let Some(At { value: given, span }) = &file.transactions else {
        for (span, kind) in workloads.filter(|(_, kind)| transactional(kind)) {
            let message = format!("`{kind}` is a workload of transactions");
            problems.add_with_help::<()>(span.clone(), message, "add a table [transactions]");
        }
        if let Some(level) = file.check.history.as_ref().filter(|given| given.text != "linearizable") {
            let message = format!("`check.history` is {}, which is said of transactions", level.text);
            problems.add_with_help::<()>(0..0, message, "leave it out, or add a table [transactions]");
        }
        return;
    };
    at_least(&given.shards, 1, "a store has at least one shard", problems);
    for every in [&given.move_every, &given.balance_every, &given.collect_every].into_iter().flatten() {
        at_least(every, Duration::from_millis(1), "give at least 1ms", problems);
    }
    if let (Some(above), None) = (&given.split_above, &given.balance_every) {
        let message = "nobody looks at how large regions are";
        problems.add_with_help::<()>(above.span.clone(), message, "give `balance-every`, too");
    }
    for (span, kind) in workloads.filter(|(_, kind)| !transactional(kind)) {
        let message = format!("`{kind}` is no workload of transactions");
        problems.add_with_help::<()>(
            span.clone(),
            message,
            format!("those are {}", transactions::KINDS.map(|(kind, _)| kind).join(", ")),
        );
    }
    let protocol = file.cluster.protocol.text;
    if !registry::by_name(protocol).expect("a known name").replicates {
        let message = format!("{protocol} replicates no shards");
        let help = "take one that keeps a log, for example `cluster.protocol = \"raft\"`";
        problems.add_with_help::<()>(span.clone(), message, help);
    }
    let fewest_keys = file.workloads.iter().map(|workload| workload.value.keys.value.min()).min();
    if fewest_keys.is_some_and(|keys| keys < given.shards.value.max()) {
        let message = "there are fewer keys than shards";
        problems.add_with_help::<()>(given.shards.span.clone(), message, "raise `keys` of the workload");
    }
    for workload in &file.workloads {
        at_least(&workload.value.actions, 1, "a transaction has at least one step", problems);
    }
    if file.check.history.as_ref().is_some_and(|given| given.text == "linearizable") {
        let message = "transactions are judged by an isolation level";
        problems.add_with_help::<()>(span.clone(), message, "leave `check.history` out, or name a level");
    }
}

fn check_workload(workload: &Workload, protocol: &str, problems: &mut Problems) {
    at_least(&workload.keys, 1, "a workload needs at least one key", problems);
    at_least(&workload.retry_after, Duration::from_millis(1), "a client waits at least 1ms", problems);
    at_least(&workload.timeout, Duration::from_nanos(1), "a timeout is more than 0", problems);
    let Some(At { value: mix, span }) = &workload.mix else { return };
    let weights = mix.weights();
    if weights.iter().all(|(_, weight)| weight.min().0 == 0.0) {
        let message = "the weights of a mix sum to 0";
        let help = "give at least one operation a weight, for example { get = 1 }";
        problems.add_with_help::<()>(span.clone(), message, help);
    }
    let serves = registry::by_name(protocol).expect("a known name").operations;
    if let Some((name, _)) =
        weights.iter().find(|(name, weight)| weight.max().0 > 0.0 && !serves.contains(name))
    {
        let message = format!("{protocol} does not serve {name}");
        let help = format!("it serves {}; without `mix` those are taken", serves.join(", "));
        problems.add_with_help::<()>(span.clone(), message, help);
    }
}

//! Steps that make the faults of a plan simpler.

use std::time::Duration;

use contract::{NodeId, Time};

use super::search::Best;
use crate::plan::{Aim, Draw, Plan, PlannedFault, Target, Trigger};
use crate::registry;
use crate::report::Fired;

/// Shorter than this, the length of a fault means nothing to a reader.
const SHORT: Duration = Duration::from_millis(1);

const MILLISECOND: u64 = 1_000_000;

/// The plan with what its faults did in their place: nothing left to be drawn, no role, and each that
/// strikes several times as many faults. `trigger` may give them another moment than the time at which
/// they struck; the world lets all else at that time come first, as it did then.
pub(super) fn as_struck(best: &Best, trigger: impl Fn(&Fired) -> Option<Trigger>) -> Plan {
    let struck = best.report.fired.iter().filter_map(|fired| Some((fired, fired.action.clone()?)));
    let concrete = (0..).zip(struck).map(|(id, (fired, action))| PlannedFault {
        id,
        name: fired.name.clone(),
        trigger: trigger(fired).unwrap_or(Trigger::At(fired.at)),
        action,
    });
    let mut plan = Plan { faults: concrete.collect(), ..best.plan.clone() };
    in_order(&mut plan);
    plan
}

/// Timed faults first, by time.
pub(super) fn in_order(plan: &mut Plan) {
    plan.faults.sort_by_key(|fault| moment(fault).unwrap_or(Time::FAR));
}

pub(super) fn moment(fault: &PlannedFault) -> Option<Time> {
    match fault.trigger {
        Trigger::At(time) => Some(time),
        Trigger::When { .. } | Trigger::Nth(_) => None,
    }
}

/// Everything that could be simpler about the faults, one at a time.
pub(super) fn fault_steps(best: &Best) -> Vec<Plan> {
    let plan = &best.plan;
    let mut steps = Vec::new();
    for place in 0..plan.faults.len() {
        steps.push(without(plan, place));
    }
    if plan.faults.iter().any(|fault| matches!(fault.trigger, Trigger::When { .. })) {
        steps.push(as_struck(best, |fired| fired.cause.clone().map(Trigger::Nth)));
        steps.push(as_struck(best, |_| None));
    }
    for place in 0..plan.faults.len() {
        for other in 0..plan.faults.len() {
            steps.extend(merged(plan, place, other));
        }
    }
    for place in 0..plan.faults.len() {
        steps.extend(aims(&plan.faults[place].action.aim, plan.world.nodes).into_iter().map(|aim| {
            let mut plan = plan.clone();
            plan.faults[place].action.aim = aim;
            plan
        }));
        steps.extend(shorter(plan, place));
        steps.push(even(plan, place));
    }
    steps
}

/// The moment and the length of a fault in whole milliseconds.
fn even(plan: &Plan, place: usize) -> Plan {
    let mut plan = plan.clone();
    let fault = &mut plan.faults[place];
    if let Trigger::At(time) = &mut fault.trigger {
        *time = Time(time.0.div_ceil(MILLISECOND) * MILLISECOND);
    }
    if let Some(lasts) = &mut fault.action.lasts {
        *lasts = Draw::Fixed(Duration::from_micros(lasts.max().as_micros().div_ceil(1_000) as u64 * 1_000));
    }
    in_order(&mut plan);
    plan
}

fn without(plan: &Plan, place: usize) -> Plan {
    let mut plan = plan.clone();
    plan.faults.remove(place);
    plan
}

/// Two faults of one kind on nodes as one, at the moment of the first.
fn merged(plan: &Plan, place: usize, other: usize) -> Option<Plan> {
    let (one, two) = (&plan.faults[place].action, &plan.faults[other].action);
    let (Aim::Nodes(mine), Aim::Nodes(theirs)) = (&one.aim, &two.aim) else { return None };
    if place == other || one.kind != two.kind || theirs.iter().all(|target| mine.contains(target)) {
        return None;
    }
    let mut both = [mine.clone(), theirs.clone()].concat();
    both.sort_by_key(|target| match target {
        Target::Node(node) => node.0,
        _ => u16::MAX,
    });
    both.dedup();
    let mut plan = plan.clone();
    plan.faults[place].action.aim = Aim::Nodes(both);
    plan.faults.remove(other);
    Some(plan)
}

/// Simpler aims: fewer nodes, or one of them cut off from all others.
fn aims(aim: &Aim, nodes: u16) -> Vec<Aim> {
    match aim {
        Aim::Nodes(targets) if targets.len() > 1 => {
            let without = |place: usize| {
                let mut targets = targets.clone();
                targets.remove(place);
                Aim::Nodes(targets)
            };
            (0..targets.len()).map(without).collect()
        }
        Aim::Nodes(_) => Vec::new(),
        Aim::Groups(groups) if groups.len() == 2 && groups.iter().any(|group| group.len() == 1) => Vec::new(),
        Aim::Groups(_) | Aim::Shape(..) => (1..=nodes).map(|node| isolated(NodeId(node), nodes)).collect(),
    }
}

/// One node cut off from all others.
pub(super) fn isolated(node: NodeId, nodes: u16) -> Aim {
    let others = (1..=nodes).map(NodeId).filter(|other| *other != node);
    Aim::Groups(vec![vec![Target::Node(node)], others.map(Target::Node).collect()])
}

fn shorter(plan: &Plan, place: usize) -> Vec<Plan> {
    let Some(lasts) = &plan.faults[place].action.lasts else { return Vec::new() };
    let lasts = lasts.max();
    let shorter = [lasts / 8, lasts / 2].into_iter().filter(|shorter| *shorter >= SHORT);
    let plans = shorter.map(|shorter| {
        let mut plan = plan.clone();
        plan.faults[place].action.lasts = Some(Draw::Fixed(shorter));
        plan
    });
    plans.collect()
}

/// The plan with fewer nodes, if no fault names one of those that go, none has a part to play, and the
/// protocol's options suit so few.
pub(super) fn with_nodes(plan: &Plan, nodes: u16) -> Option<Plan> {
    let suits = registry::check_options(&plan.protocol, &plan.options, Some(usize::from(nodes))).is_ok();
    if plan.founders.is_some() || !suits {
        return None;
    }
    let stays = |target: &Target| !matches!(target, Target::Node(node) if node.0 > nodes);
    let mut plan = plan.clone();
    plan.world.nodes = nodes;
    (plan.zones, plan.world.links) = (Vec::new(), Vec::new());
    for fault in &mut plan.faults {
        match &mut fault.action.aim {
            Aim::Groups(groups) => {
                groups.iter_mut().for_each(|group| group.retain(stays));
                groups.retain(|group| !group.is_empty());
                if groups.len() < 2 {
                    return None;
                }
            }
            Aim::Nodes(targets) | Aim::Shape(_, targets) => {
                targets.retain(stays);
                if targets.is_empty() {
                    return None;
                }
            }
        }
    }
    Some(plan)
}

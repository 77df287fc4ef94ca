//! The faults of a scenario: which keys belong together, and whom they can strike.

use std::collections::BTreeSet;
use std::time::Duration;

use super::check::Bounds;
use super::decode::At;
use super::diagnostic::{Problems, Span};
use super::draw::Draw;
use super::numbered;
use super::scalar::Share;
use super::sections::{Fault, Groups, TargetName};
use crate::plan::Condition;
use crate::units::format_duration;

/// More occurrences than this of one repeated fault are taken for a slip.
const OCCURRENCES_MAX: u128 = 100_000;

/// A fault whose keys fit together.
#[derive(Clone, Debug)]
pub(crate) struct FaultSpec {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) action: ActionSpec,
}

/// When it strikes.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    At(Draw<Duration>),
    /// One interval after `from`, and then after each further interval.
    Every {
        interval: Draw<Duration>,
        from: Draw<Duration>,
    },
    When {
        condition: Condition,
        probability: Draw<Share>,
        at_most: Draw<u32>,
    },
}

/// What it does.
#[derive(Clone, Debug)]
pub(crate) enum ActionSpec {
    Partition { shape: Shape, lasts: Draw<Duration> },
    Crash { target: TargetName, restart_after: Draw<Duration> },
}

/// Who is cut off from whom.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    RandomHalves,
    IsolateOne,
    Listed(Vec<Vec<TargetName>>),
}

/// The faults whose keys fit together; what is wrong with the others is noted.
pub(super) fn check(faults: &[At<Fault>], bounds: Bounds, problems: &mut Problems) -> Vec<FaultSpec> {
    let names = numbered(faults.iter().map(|At { value: fault, .. }| {
        (fault.name.as_ref().map(|name| name.value.as_str()), fault.kind.value.text)
    }));
    let mut taken = BTreeSet::new();
    let mut specs = Vec::new();
    for (At { value: fault, span }, name) in faults.iter().zip(names) {
        let place = fault.name.as_ref().map_or(span, |name| &name.span);
        check_name(&name, place, problems);
        if !taken.insert(name.clone()) {
            problems.add::<()>(place.clone(), format!("another fault is named `{name}` too"));
        }
        check_strangers(fault, problems);
        let schedule = schedule(fault, span, bounds, problems);
        let action = action(fault, span, bounds, problems);
        if let (Some(schedule), Some(action)) = (schedule, action) {
            specs.push(FaultSpec { name, schedule, action });
        }
    }
    specs
}

fn check_name(name: &str, span: &Span, problems: &mut Problems) {
    let allowed = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(allowed) {
        problems.add_with_help::<()>(
            span.clone(),
            format!("`{name}` cannot be a fault's name"),
            "names are made of letters, digits, `-` and `_`",
        );
    }
}

/// Keys that mean something only beside another one.
fn check_strangers(fault: &Fault, problems: &mut Problems) {
    fn place<T>(field: &Option<At<T>>) -> Option<Span> {
        field.as_ref().map(|at| at.span.clone())
    }
    let kind = fault.kind.value.text;
    let belongs = [
        ("groups", place(&fault.groups), kind == "partition", "a partition"),
        ("for", place(&fault.lasts), kind == "partition", "a partition"),
        ("target", place(&fault.target), kind == "crash", "a crash"),
        ("restart-after", place(&fault.restart_after), kind == "crash", "a crash"),
        ("from", place(&fault.from), fault.every.is_some(), "a fault with `every`"),
        ("probability", place(&fault.probability), fault.when.is_some(), "a fault with `when`"),
        ("at-most", place(&fault.at_most), fault.when.is_some(), "a fault with `when`"),
    ];
    for (key, span, fits, owner) in belongs {
        if let (Some(span), false) = (span, fits) {
            problems.add::<()>(span, format!("`{key}` belongs to {owner}"));
        }
    }
}

fn schedule(fault: &Fault, span: &Span, bounds: Bounds, problems: &mut Problems) -> Option<Schedule> {
    match (&fault.at, &fault.every, &fault.when) {
        (Some(at), None, None) => {
            in_time(at.value.min(), &at.span, bounds, problems)?;
            check_end(fault, at, bounds, problems)?;
            Some(Schedule::At(at.value.clone()))
        }
        (None, Some(every), None) => {
            let from = fault.from.as_ref().map_or(Draw::Fixed(Duration::ZERO), |from| from.value.clone());
            if every.value.min().is_zero() {
                return problems.add(every.span.clone(), "an interval is more than 0");
            }
            in_time(from.min() + every.value.min(), &every.span, bounds, problems)?;
            let occurrences = bounds.quiet.as_nanos() / every.value.min().as_nanos();
            if occurrences > OCCURRENCES_MAX {
                let message = format!("it would strike up to {occurrences} times in one run");
                return problems.add_with_help(every.span.clone(), message, "take a longer interval");
            }
            Some(Schedule::Every { interval: every.value.clone(), from })
        }
        (None, None, Some(when)) => {
            let known = |condition: &Condition| condition.name() == when.value.text;
            Some(Schedule::When {
                condition: Condition::ALL.into_iter().find(known).expect("registered conditions are known"),
                probability: fault
                    .probability
                    .as_ref()
                    .map_or(Draw::Fixed(Share(1.0)), |at| at.value.clone()),
                at_most: fault.at_most.as_ref().map_or(Draw::Fixed(20), |at| at.value.clone()),
            })
        }
        (None, None, None) => problems.add_with_help(
            span.clone(),
            "the fault does not say when it strikes",
            "give it one of `at`, `every`, `when`",
        ),
        (at, every, when) => {
            let spans = [
                at.as_ref().map(|at| &at.span),
                every.as_ref().map(|at| &at.span),
                when.as_ref().map(|at| &at.span),
            ];
            let last = spans.into_iter().flatten().max_by_key(|span| span.start).expect("two are given");
            problems.add_with_help(
                last.clone(),
                "the fault says more than once when it strikes",
                "keep one of `at`, `every`, `when`",
            )
        }
    }
}

/// Notes a first moment that lies beyond the last one at which faults may strike.
fn in_time(first: Duration, span: &Span, bounds: Bounds, problems: &mut Problems) -> Option<()> {
    if first < bounds.quiet {
        return Some(());
    }
    let (first, quiet) = (format_duration(first), format_duration(bounds.quiet));
    let why = if bounds.quiet < bounds.end { "the quiet tail begins" } else { "the run ends" };
    problems.add(span.clone(), format!("it would strike at {first}, but {why} at {quiet}"))
}

/// Notes a fault that would certainly outlast the run: one of the two numbers is a slip.
fn check_end(fault: &Fault, at: &At<Draw<Duration>>, bounds: Bounds, problems: &mut Problems) -> Option<()> {
    let Some(lasts) = &fault.lasts else { return Some(()) };
    let end = at.value.min() + lasts.value.min();
    if end <= bounds.end {
        return Some(());
    }
    let (end, run) = (format_duration(end), format_duration(bounds.end));
    let message = format!("it would last until {end}, but the run ends at {run}");
    problems.add_with_help(lasts.span.clone(), message, "shorten `for`, or lengthen `budget.time`")
}

fn action(fault: &Fault, span: &Span, bounds: Bounds, problems: &mut Problems) -> Option<ActionSpec> {
    let state_aware = fault.when.is_some();
    match fault.kind.value.text {
        "partition" => {
            if bounds.nodes < 2 {
                return problems.add(fault.kind.span.clone(), "a partition needs two nodes");
            }
            let shape = fault
                .groups
                .as_ref()
                .map_or(Some(Shape::RandomHalves), |groups| shape(groups, state_aware, bounds, problems));
            let Some(lasts) = &fault.lasts else {
                let help = "say how long it lasts, for example for = \"5s\"";
                return problems.add_with_help(span.clone(), "the partition has no `for`", help);
            };
            Some(ActionSpec::Partition { shape: shape?, lasts: lasts.value.clone() })
        }
        "crash" => {
            let target = match &fault.target {
                Some(target) => crash_target(target, state_aware, bounds, problems),
                None if state_aware => Some(TargetName::Subject),
                None => Some(TargetName::Random),
            };
            let Some(restart_after) = &fault.restart_after else {
                let help = "say when the node comes back, for example restart-after = \"1s\"";
                return problems.add_with_help(span.clone(), "the crash has no `restart-after`", help);
            };
            Some(ActionSpec::Crash { target: target?, restart_after: restart_after.value.clone() })
        }
        other => unreachable!("`{other}` is registered but has no meaning here"),
    }
}

fn crash_target(
    target: &At<TargetName>,
    state_aware: bool,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<TargetName> {
    if target.value == TargetName::Rest {
        return problems.add_with_help(
            target.span.clone(),
            "`*` names no single node",
            "did you mean `@random`?",
        );
    }
    check_target(target, state_aware, bounds, problems)
}

fn check_target(
    target: &At<TargetName>,
    state_aware: bool,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<TargetName> {
    match target.value {
        TargetName::Node(number) if number > bounds.nodes => {
            let nodes = bounds.nodes;
            let help = if nodes == 1 {
                "the only node is n1".to_owned()
            } else {
                format!("the nodes are n1 to n{nodes}")
            };
            problems.add_with_help(target.span.clone(), format!("there is no node n{number}"), help)
        }
        TargetName::Subject if !state_aware => problems.add_with_help(
            target.span.clone(),
            "`@subject` is the node whose state a fault waits for, and this one waits for none",
            "use it with `when`, or take `@leader` or `@random`",
        ),
        known => Some(known),
    }
}

fn shape(groups: &At<Groups>, state_aware: bool, bounds: Bounds, problems: &mut Problems) -> Option<Shape> {
    let listed = match &groups.value {
        Groups::RandomHalves => return Some(Shape::RandomHalves),
        Groups::IsolateOne => return Some(Shape::IsolateOne),
        Groups::Listed(listed) => listed,
    };
    if listed.len() < 2 {
        let help = "add [\"*\"] for all other nodes";
        return problems.add_with_help(groups.span.clone(), "a partition has at least two groups", help);
    }
    let mut fits = true;
    let mut named: Vec<TargetName> = Vec::new();
    for group in listed {
        if group.value.is_empty() {
            fits = false;
            problems.add::<()>(group.span.clone(), "the group is empty");
        }
        for target in &group.value {
            fits &= check_target(target, state_aware, bounds, problems).is_some();
            if target.value != TargetName::Random && named.contains(&target.value) {
                fits = false;
                let text = crate::plan::make::resolved(target.value);
                problems.add::<()>(target.span.clone(), format!("`{text}` is in a group already"));
            }
            named.push(target.value);
        }
    }
    let single = named.iter().filter(|target| **target != TargetName::Rest).count();
    // One node more, so that the rest is someone.
    let needed = single + usize::from(named.contains(&TargetName::Rest));
    if fits && needed > usize::from(bounds.nodes) {
        let message = format!("the groups need {needed} nodes, and there are {}", bounds.nodes);
        return problems.add(groups.span.clone(), message);
    }
    let plain = listed.iter().map(|group| group.value.iter().map(|target| target.value).collect());
    fits.then(|| Shape::Listed(plain.collect()))
}

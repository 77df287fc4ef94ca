//! The faults of a scenario: which keys belong together, and whom they can strike.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::NodeId;

use super::aim::Groups;
use super::check::Bounds;
use super::decode::At;
use super::diagnostic::{Problems, Span};
use super::draw::Draw;
use super::names::{Faults, Name};
use super::numbered;
use super::scalar::Share;
use super::sections::{Fault, Swarm};
use crate::plan::{
    Drawable, KINDS, Kind, KindInfo, Length, Measure, Measures, Predicate, Scope, Setting, Settings, Shape,
    Target, Word,
};
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
        condition: Predicate,
        probability: Draw<Share>,
        at_most: Draw<u32>,
    },
}

/// What it does.
#[derive(Clone, Debug)]
pub(crate) struct ActionSpec {
    pub(crate) kind: Kind,
    pub(crate) aim: AimSpec,
    pub(crate) measures: Measures,
    pub(crate) settings: Settings,
    /// `None` for what is over at once.
    pub(crate) lasts: Option<Draw<Duration>>,
}

/// Whom it strikes.
#[derive(Clone, Debug)]
pub(crate) enum AimSpec {
    /// These nodes, or their links.
    Nodes(Vec<Target>),
    /// Two random halves.
    RandomHalves,
    /// Groups.
    Listed(Vec<Vec<Target>>),
    /// A shape, and who is in its middle.
    Shape(Shape, Target),
}

/// What breaks at random.
#[derive(Clone, Debug)]
pub(crate) struct SwarmSpec {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) on: Draw<Share>,
    pub(crate) every: Draw<Duration>,
    pub(crate) lasts: Draw<Duration>,
    pub(crate) at_once: Draw<u32>,
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
        let info = kind(&fault.kind.value).info();
        check_strangers(fault, info, problems);
        let schedule = schedule(fault, span, bounds, problems);
        let action = action(fault, info, span, bounds, problems);
        if let (Some(schedule), Some(action), true) = (schedule, action, fault.enabled) {
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

/// The measures that a fault gives.
fn measures(fault: &Fault) -> Vec<(Measure, Span, Draw<f64>)> {
    fn given<T: Drawable>(
        measure: Measure,
        field: &Option<At<Draw<T>>>,
        number: impl Fn(T) -> f64,
    ) -> Option<(Measure, Span, Draw<f64>)> {
        field.as_ref().map(|at| (measure, at.span.clone(), at.value.map(number)))
    }
    [
        given(Measure::Share, &fault.share, |share| share.0),
        given(Measure::Factor, &fault.factor, |factor| factor.0),
        given(Measure::By, &fault.by, |by| by.as_secs_f64()),
        given(Measure::Drift, &fault.drift, |drift| drift.0),
        given(Measure::Bandwidth, &fault.bandwidth, |rate| rate.0 as f64),
        given(Measure::Queue, &fault.queue, |size| size.0 as f64),
        given(Measure::Left, &fault.left, |size| size.0 as f64),
        given(Measure::Clusters, &fault.clusters, f64::from),
        given(Measure::Sectors, &fault.sectors, f64::from),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The settings that a fault gives.
fn settings(fault: &Fault) -> Vec<(Setting, &At<Draw<Word>>)> {
    let given = [
        (Setting::InFlight, &fault.in_flight),
        (Setting::Direction, &fault.direction),
        (Setting::Way, &fault.way),
        (Setting::Clock, &fault.clock),
        (Setting::Side, &fault.side),
        (Setting::Manner, &fault.manner),
        (Setting::Change, &fault.change),
    ];
    given.into_iter().filter_map(|(setting, field)| Some((setting, field.as_ref()?))).collect()
}

/// The keys of a kind, beside those that say when it strikes.
fn keys(info: &KindInfo) -> Vec<&'static str> {
    let aim: &[_] = if info.scope == Scope::Groups { &["groups", "target"] } else { &["target"] };
    let length = match info.length {
        Length::For => Some("for"),
        Length::Restart => Some("restart-after"),
        Length::Instant => None,
    };
    let measures = info.measures.iter().map(|(measure, ..)| measure.name());
    let settings = info.settings.iter().map(|(setting, _)| setting.name());
    aim.iter().copied().chain(length).chain(measures).chain(settings).collect()
}

/// Keys that mean something only beside another one.
fn check_strangers(fault: &Fault, info: &KindInfo, problems: &mut Problems) {
    fn place<T>(field: &Option<At<T>>) -> Option<Span> {
        field.as_ref().map(|at| at.span.clone())
    }
    let own = keys(info);
    let mut given = vec![
        ("groups", place(&fault.groups)),
        ("target", place(&fault.target)),
        ("for", place(&fault.lasts)),
        ("restart-after", place(&fault.restart_after)),
    ];
    given.extend(measures(fault).into_iter().map(|(measure, span, _)| (measure.name(), Some(span))));
    given.extend(settings(fault).into_iter().map(|(setting, at)| (setting.name(), Some(at.span.clone()))));
    for (key, span) in given {
        if let (Some(span), false) = (span, own.contains(&key)) {
            let message = format!("a {} has no `{key}`", info.name);
            problems.add_with_help::<()>(span, message, format!("it has {}", own.join(", ")));
        }
    }
    let belongs = [
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
            if let Some(node) = when.value.nodes().into_iter().find(|node| node.0 > bounds.nodes) {
                return no_such_node(node, &when.span, bounds, problems);
            }
            Some(Schedule::When {
                condition: when.value.clone(),
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

fn kind(name: &Name<Faults>) -> Kind {
    KINDS.iter().find(|info| info.name == name.text).expect("a known name").kind
}

fn action(
    fault: &Fault,
    info: &KindInfo,
    span: &Span,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<ActionSpec> {
    let aim = aim(fault, info, bounds, problems);
    let lasts = match info.length {
        Length::Instant => None,
        Length::For => match &fault.lasts {
            Some(lasts) => Some(lasts.value.clone()),
            None => {
                let help = "say how long it lasts, for example for = \"5s\"";
                return problems.add_with_help(span.clone(), format!("the {} has no `for`", info.name), help);
            }
        },
        Length::Restart => match &fault.restart_after {
            Some(after) => Some(after.value.clone()),
            None => {
                let help = "say when the node comes back, for example restart-after = \"1s\"";
                let message = format!("the {} has no `restart-after`", info.name);
                return problems.add_with_help(span.clone(), message, help);
            }
        },
    };
    let mut given: Measures = info.kind.usual();
    given.extend(measures(fault).into_iter().map(|(measure, _, draw)| (measure, draw)));
    let mut words = Settings::new();
    for (setting, at) in settings(fault) {
        let known =
            info.settings.iter().find(|(known, _)| *known == setting).map_or(&[][..], |(_, words)| words);
        let fits = match &at.value {
            Draw::Fixed(word) => known.contains(word),
            Draw::OneOf(choices) => choices.iter().all(|word| known.contains(word)),
            Draw::Range { .. } => false,
        };
        if !fits && !known.is_empty() {
            let names: Vec<_> = known.iter().map(|word| word.name()).collect();
            let message = format!("`{}` is one of {}", setting.name(), names.join(", "));
            problems.add::<()>(at.span.clone(), message);
        }
        words.insert(setting, at.value.clone());
    }
    Some(ActionSpec { kind: info.kind, aim: aim?, measures: given, settings: words, lasts })
}

fn aim(fault: &Fault, info: &KindInfo, bounds: Bounds, problems: &mut Problems) -> Option<AimSpec> {
    let state_aware = fault.when.is_some();
    let targets = match &fault.target {
        None => None,
        Some(targets) => Some(check_targets(&targets.value.0, &targets.span, state_aware, bounds, problems)?),
    };
    let usual = if state_aware { Target::Subject } else { Target::Random };
    if info.scope != Scope::Groups {
        let usual = match info.kind {
            Kind::Transfer if !state_aware => Target::Follower,
            _ if info.scope == Scope::Links => Target::Rest,
            _ => usual,
        };
        return Some(AimSpec::Nodes(targets.unwrap_or_else(|| vec![usual])));
    }
    if bounds.nodes < 2 {
        return problems.add(fault.kind.span.clone(), "a partition needs two nodes");
    }
    let middle = match (targets.as_deref(), &fault.target) {
        (None, _) => usual,
        (Some([one]), _) if one.least(bounds.nodes) == 1 && !matches!(one, Target::Rest | Target::Zone) => {
            *one
        }
        (_, target) => {
            let span = target.as_ref().expect("it is given").span.clone();
            return problems.add(span, "in the middle of a partition is one node");
        }
    };
    let has_middle = matches!(
        fault.groups.as_ref().map(|groups| &groups.value),
        Some(Groups::IsolateOne | Groups::Shape(_))
    );
    if let (Some(target), false) = (&fault.target, has_middle) {
        let message = "`target` is who is in the middle of a shape, and this partition has none";
        problems.add_with_help::<()>(target.span.clone(), message, "for example groups = \"isolate-one\"");
    }
    match fault.groups.as_ref().map(|groups| (&groups.value, &groups.span)) {
        None | Some((Groups::RandomHalves, _)) => Some(AimSpec::RandomHalves),
        Some((Groups::IsolateOne, _)) => Some(AimSpec::Listed(vec![vec![middle], vec![Target::Rest]])),
        Some((Groups::Shape(shape), _)) => Some(AimSpec::Shape(*shape, middle)),
        Some((Groups::Listed(listed), span)) => groups(listed, span, state_aware, bounds, problems),
    }
}

fn check_targets(
    targets: &[At<Target>],
    span: &Span,
    state_aware: bool,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<Vec<Target>> {
    if targets.is_empty() {
        return problems.add(span.clone(), "the list of targets is empty");
    }
    let checked: Vec<_> =
        targets.iter().map(|target| check_target(target, state_aware, bounds, problems)).collect();
    let checked: Vec<Target> = checked.into_iter().collect::<Option<_>>()?;
    check_number(&checked, span, bounds, problems)?;
    Some(checked)
}

/// Notes targets that stand for more nodes than there are.
fn check_number(targets: &[Target], span: &Span, bounds: Bounds, problems: &mut Problems) -> Option<()> {
    let needed: u32 = targets.iter().map(|target| u32::from(target.least(bounds.nodes))).sum();
    if needed <= u32::from(bounds.nodes) {
        return Some(());
    }
    problems.add(span.clone(), format!("this needs {needed} nodes, and there are {}", bounds.nodes))
}

fn no_such_node<T>(node: NodeId, span: &Span, bounds: Bounds, problems: &mut Problems) -> Option<T> {
    let nodes = bounds.nodes;
    let help =
        if nodes == 1 { "the only node is n1".to_owned() } else { format!("the nodes are n1 to n{nodes}") };
    problems.add_with_help(span.clone(), format!("there is no node {node}"), help)
}

fn check_target(
    target: &At<Target>,
    state_aware: bool,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<Target> {
    match target.value {
        Target::Node(node) if node.0 > bounds.nodes => no_such_node(node, &target.span, bounds, problems),
        Target::Subject if !state_aware => problems.add_with_help(
            target.span.clone(),
            "`@subject` is the node whose state a fault waits for, and this one waits for none",
            "use it with `when`, or take `@leader` or `@random`",
        ),
        Target::Zone if !bounds.zones => problems.add_with_help(
            target.span.clone(),
            "there are no zones",
            "name them, as in [net] zones = [[\"n1\", \"n2\"], [\"n3\"]]",
        ),
        known => Some(known),
    }
}

fn groups(
    listed: &[At<Vec<At<Target>>>],
    span: &Span,
    state_aware: bool,
    bounds: Bounds,
    problems: &mut Problems,
) -> Option<AimSpec> {
    if listed.len() < 2 {
        let help = "add [\"*\"] for all other nodes";
        return problems.add_with_help(span.clone(), "a partition has at least two groups", help);
    }
    let mut fits = true;
    let mut named: Vec<Target> = Vec::new();
    for group in listed {
        if group.value.is_empty() {
            fits = false;
            problems.add::<()>(group.span.clone(), "the group is empty");
        }
        for target in &group.value {
            fits &= check_target(target, state_aware, bounds, problems).is_some();
            if target.value != Target::Random && named.contains(&target.value) {
                fits = false;
                problems.add::<()>(target.span.clone(), format!("`{}` is in a group already", target.value));
            }
            named.push(target.value);
        }
    }
    if fits {
        check_number(&named, span, bounds, problems)?;
    }
    let plain = listed.iter().map(|group| group.value.iter().map(|target| target.value).collect());
    fits.then(|| AimSpec::Listed(plain.collect()))
}

/// The swarm, if its keys fit together.
pub(super) fn check_swarm(swarm: &At<Swarm>, problems: &mut Problems) -> Option<SwarmSpec> {
    let At { value: swarm, .. } = swarm;
    if swarm.every.value.min() < Duration::from_millis(1) {
        return problems.add(swarm.every.span.clone(), "an interval is at least 1ms");
    }
    if swarm.at_once.value.min() == 0 {
        return problems.add(swarm.at_once.span.clone(), "a swarm of no faults at once is none");
    }
    Some(SwarmSpec {
        kinds: match &swarm.kinds {
            Some(kinds) => kinds.iter().map(|name| kind(&name.value)).collect(),
            None => KINDS.iter().map(|info| info.kind).collect(),
        },
        on: swarm.on.value.clone(),
        every: swarm.every.value.clone(),
        lasts: swarm.lasts.value.clone(),
        at_once: swarm.at_once.value.clone(),
    })
}

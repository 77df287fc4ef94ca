//! From the faults of a scenario and a seed to a schedule.
//!
//! Everything random about a timed fault is drawn here; roles wait until it strikes. A swarm becomes
//! plain faults too: per seed each of its kinds is on or off, and of those that are on each strikes on
//! its own, with every magnitude drawn from its usual range.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{NodeId, Time};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::fault::{Action, Aim, PlannedFault, Settings, Shape, Target, Trigger};
use super::kind::{Kind, Length, Scope, Setting, Word};
use super::make::{Choices, hash};
use super::predicate::{Event, Predicate};
use super::{Draw, Drawable};
use crate::scenario::fault::{ActionSpec, AimSpec, FaultSpec, Schedule, SwarmSpec};

/// The share of a swarm's kinds of faults that wait for a state instead of a time.
const STATE_AWARE: f64 = 0.2;

/// What the choices about faults depend on.
pub(super) struct Faults<'a> {
    pub(super) choices: Choices,
    pub(super) nodes: u16,
    pub(super) zones: &'a [Vec<NodeId>],
    pub(super) quiet_from: Time,
}

impl Faults<'_> {
    pub(super) fn plan(&self, specs: &[FaultSpec], swarm: Option<&SwarmSpec>) -> Vec<PlannedFault> {
        let mut faults: Vec<PlannedFault> = specs.iter().flat_map(|spec| self.occurrences(spec)).collect();
        if let Some(swarm) = swarm {
            faults.extend(self.swarm(swarm));
        }
        // State-aware faults last; at equal times the scenario's order.
        faults.sort_by_key(|fault| match fault.trigger {
            Trigger::At(time) => time,
            Trigger::When { .. } | Trigger::Nth(_) => Time::FAR,
        });
        let mut taken = BTreeSet::new();
        for fault in &mut faults {
            let hashed = hash(&fault.name);
            fault.id = (hashed ^ hashed >> 32) as u32;
            while !taken.insert(fault.id) {
                fault.id = fault.id.wrapping_add(1);
            }
        }
        faults
    }

    fn occurrences(&self, spec: &FaultSpec) -> Vec<PlannedFault> {
        let path = |field: &str| format!("fault.{}.{field}", spec.name);
        match &spec.schedule {
            Schedule::At(draw) => {
                let at = Time::ZERO + self.choices.make(&path("at"), draw);
                self.timed(&spec.name, &spec.action, spec.name.clone(), at, 0).into_iter().collect()
            }
            Schedule::Every { interval, from } => {
                let mut at = Time::ZERO + self.choices.make(&path("from"), from);
                let mut faults = Vec::new();
                for number in 1.. {
                    at = at + interval.draw(&mut self.choices.stream(&path("every"), number));
                    match self.timed(&spec.name, &spec.action, format!("{}#{number}", spec.name), at, number)
                    {
                        Some(fault) => faults.push(fault),
                        None => break,
                    }
                }
                faults
            }
            Schedule::When { condition, probability, at_most } => {
                let trigger = Trigger::When {
                    condition: condition.clone(),
                    probability: self.choices.make(&path("probability"), probability).0,
                    at_most: self.choices.make(&path("at-most"), at_most),
                };
                let action = open(&spec.action, self.nodes);
                vec![PlannedFault { id: 0, name: spec.name.clone(), trigger, action }]
            }
        }
    }

    /// The occurrence of a fault at a moment; none once the quiet tail has begun.
    fn timed(
        &self,
        of: &str,
        spec: &ActionSpec,
        name: String,
        at: Time,
        number: u64,
    ) -> Option<PlannedFault> {
        if at >= self.quiet_from {
            return None;
        }
        let stream = |field: &str| self.choices.stream(&format!("fault.{of}.{field}"), number);
        let length = if spec.kind.info().length == Length::Restart { "restart-after" } else { "for" };
        let cut =
            |draw: &Draw<Duration>| Draw::Fixed(draw.draw(&mut stream(length)).min(self.quiet_from - at));
        fn fixed<T: Drawable>(draw: &Draw<T>, rng: &mut impl Rng) -> Draw<T> {
            Draw::Fixed(draw.draw(rng))
        }
        let measures = spec.measures.iter();
        let settings = spec.settings.iter();
        let action = Action {
            kind: spec.kind,
            aim: self.settled(
                &spec.aim,
                &mut stream(if spec.kind.info().scope == Scope::Groups { "groups" } else { "target" }),
            ),
            measures: measures.map(|(m, draw)| (*m, fixed(draw, &mut stream(m.name())))).collect(),
            settings: settings.map(|(s, draw)| (*s, fixed(draw, &mut stream(s.name())))).collect(),
            lasts: spec.lasts.as_ref().map(cut),
        };
        Some(PlannedFault { id: 0, name, trigger: Trigger::At(at), action })
    }

    /// An aim in which only roles are open.
    fn settled(&self, aim: &AimSpec, rng: &mut impl Rng) -> Aim {
        let mut shuffled: Vec<u16> = (1..=self.nodes).collect();
        shuffled.shuffle(rng);
        let node = |number: &u16| Target::Node(NodeId(*number));
        match aim {
            AimSpec::RandomHalves => {
                let (one, other) = shuffled.split_at_mut(usize::from(self.nodes / 2));
                one.sort_unstable();
                other.sort_unstable();
                Aim::Groups(vec![one.iter().map(node).collect(), other.iter().map(node).collect()])
            }
            AimSpec::Nodes(targets) => {
                let mut free = Free::new(shuffled, targets);
                Aim::Nodes(targets.iter().flat_map(|target| self.settle(*target, &mut free, rng)).collect())
            }
            AimSpec::Listed(groups) => {
                let mut free = Free::new(shuffled, &groups.concat());
                let mut group = |targets: &Vec<Target>| {
                    targets.iter().flat_map(|target| self.settle(*target, &mut free, rng)).collect()
                };
                Aim::Groups(groups.iter().map(&mut group).collect())
            }
            AimSpec::Shape(shape, middle) if middle.is_role() => {
                Aim::Shape(*shape, vec![*middle, Target::Rest])
            }
            AimSpec::Shape(shape, middle) => {
                let mut free = Free::new(shuffled, &[*middle]);
                let mut order = self.settle(*middle, &mut free, rng);
                order.extend(free.0.iter().map(node));
                Aim::Shape(*shape, order)
            }
        }
    }

    fn settle(&self, target: Target, free: &mut Free, rng: &mut impl Rng) -> Vec<Target> {
        match target {
            Target::Random => free.take(1),
            Target::Minority | Target::Majority => free.take(target.least(self.nodes)),
            Target::Zone => {
                let zone = self.zones.choose(rng).expect("a scenario with zones");
                zone.iter().copied().map(Target::Node).collect()
            }
            fixed => vec![fixed],
        }
    }

    fn swarm(&self, spec: &SwarmSpec) -> Vec<PlannedFault> {
        let on = self.choices.make("swarm.on", &spec.on).0;
        let at_once = self.choices.make("swarm.at-once", &spec.at_once);
        let mut faults = Vec::new();
        for kind in &spec.kinds {
            let name = format!("swarm-{kind}");
            let stream = |field: &str, number| self.choices.stream(&format!("{name}.{field}"), number);
            if !stream("on", 0).random_bool(on) {
                continue;
            }
            if stream("state-aware", 0).random_bool(STATE_AWARE) {
                faults.extend(self.state_aware(*kind, &name, spec));
                continue;
            }
            let mut at = Time::ZERO;
            for number in 1.. {
                at = at + spec.every.draw(&mut stream("every", number));
                let action = usual(*kind, &spec.lasts, false, &mut stream("action", number));
                match self.timed(&name, &action, format!("{name}#{number}"), at, number) {
                    Some(fault) => faults.push(fault),
                    None => break,
                }
            }
        }
        thinned(faults, at_once)
    }

    fn state_aware(&self, kind: Kind, name: &str, spec: &SwarmSpec) -> Option<PlannedFault> {
        let rng = &mut self.choices.stream(&format!("{name}.when"), 0);
        let events = [
            Event::LeaderElected,
            Event::HardStateWritePending,
            Event::LeaderAboutToCommit,
            Event::SnapshotInstalling,
        ];
        let trigger = Trigger::When {
            condition: Predicate::Event(*events.choose(rng).expect("there are events")),
            probability: f64::between(0.05, 0.5, rng),
            at_most: rng.random_range(1..=5),
        };
        let action = open(&usual(kind, &spec.lasts, true, rng), self.nodes);
        Some(PlannedFault { id: 0, name: name.to_owned(), trigger, action })
    }
}

/// A kind of fault as it usually is, on someone.
fn usual(kind: Kind, lasts: &Draw<Duration>, state_aware: bool, rng: &mut impl Rng) -> ActionSpec {
    let info = kind.info();
    let one = if state_aware { Target::Subject } else { Target::Random };
    let someone = *[one, one, Target::Leader, Target::Follower].choose(rng).expect("there is someone");
    let aim = match info.scope {
        Scope::Groups => match rng.random_range(0..10) {
            0..=2 => AimSpec::RandomHalves,
            3 | 4 => AimSpec::Listed(vec![vec![someone], vec![Target::Rest]]),
            _ => AimSpec::Shape(Shape::ALL.choose(rng).expect("there are shapes").1, someone),
        },
        Scope::Links if rng.random_bool(0.5) => AimSpec::Nodes(vec![Target::Rest]),
        Scope::Links => AimSpec::Nodes(vec![someone]),
        Scope::Nodes if kind == Kind::Swizzle => AimSpec::Nodes(vec![Target::Rest]),
        // Several nodes go down at once when a rack loses its power.
        Scope::Nodes if info.length == Length::Restart && rng.random_bool(0.2) => {
            AimSpec::Nodes(vec![*[Target::Minority, Target::Majority].choose(rng).expect("there are two")])
        }
        Scope::Nodes => AimSpec::Nodes(vec![someone]),
    };
    let word = |(setting, words): &(_, &'static [_])| (*setting, Draw::OneOf(words.to_vec()));
    let mut settings: Settings = info.settings.iter().map(word).collect();
    let mut aim = aim;
    if kind == Kind::Reconfigure && rng.random_bool(0.3) {
        // Who is all that votes from now on is more than one.
        aim = AimSpec::Nodes(vec![Target::Majority]);
        settings.insert(Setting::Change, Draw::Fixed(Word::Set));
    } else if kind == Kind::Reconfigure {
        let one_by_one = vec![Word::Add, Word::Add, Word::Remove, Word::Learn, Word::Witness];
        settings.insert(Setting::Change, Draw::OneOf(one_by_one));
    }
    let lasts = (info.length != Length::Instant).then(|| lasts.clone());
    ActionSpec { kind, aim, measures: kind.usual(), settings, lasts }
}

/// What a state-aware fault does: its choices are made each time it strikes.
fn open(spec: &ActionSpec, nodes: u16) -> Action {
    let aim = match &spec.aim {
        AimSpec::RandomHalves => {
            Aim::Groups(vec![vec![Target::Random; usize::from(nodes / 2)], vec![Target::Rest]])
        }
        AimSpec::Nodes(targets) => Aim::Nodes(targets.clone()),
        AimSpec::Listed(groups) => Aim::Groups(groups.clone()),
        AimSpec::Shape(shape, middle) => Aim::Shape(*shape, vec![*middle, Target::Rest]),
    };
    Action {
        kind: spec.kind,
        aim,
        measures: spec.measures.clone(),
        settings: spec.settings.clone(),
        lasts: spec.lasts.clone(),
    }
}

/// Leaves out timed faults that would make more than `at_once`.
fn thinned(mut faults: Vec<PlannedFault>, at_once: u32) -> Vec<PlannedFault> {
    let begin = |fault: &PlannedFault| match fault.trigger {
        Trigger::At(at) => Some(at),
        Trigger::When { .. } | Trigger::Nth(_) => None,
    };
    faults.sort_by_key(|fault| begin(fault).unwrap_or(Time::FAR));
    let mut ends: Vec<Time> = Vec::new();
    faults.retain(|fault| {
        let (Some(at), Some(lasts)) = (begin(fault), &fault.action.lasts) else { return true };
        ends.retain(|end| *end > at);
        let fits = ends.len() < at_once as usize;
        if fits {
            ends.push(at + lasts.max());
        }
        fits
    });
    faults
}

/// The nodes that no target names, in random order.
struct Free(Vec<u16>);

impl Free {
    fn new(shuffled: Vec<u16>, named: &[Target]) -> Self {
        let is_free = |number: &u16| !named.contains(&Target::Node(NodeId(*number)));
        Self(shuffled.into_iter().filter(is_free).collect())
    }

    fn take(&mut self, number: u16) -> Vec<Target> {
        let taken = self.0.drain(..usize::from(number).min(self.0.len()));
        let mut taken: Vec<u16> = taken.collect();
        taken.sort_unstable();
        taken.into_iter().map(|number| Target::Node(NodeId(number))).collect()
    }
}

//! Faults as a plan holds them: when, whom, and how much.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use contract::{NodeId, Time};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::kind::{Kind, Measure, Setting, Word};
use super::predicate::Predicate;
use super::{Draw, Drawable};

/// A fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// What draws at run time are keyed by: a function of the fault's name alone, so that another
    /// fault in the scenario does not change them.
    pub id: u32,
    /// The scenario's name for it; occurrences of a repeated fault are numbered, as in `cut#3`.
    pub name: String,
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// At a moment.
    At(Time),
    /// When a node reaches a state.
    When {
        /// The state.
        condition: Predicate,
        /// How likely it strikes each time, 0 to 1.
        probability: f64,
        /// How often it strikes at most.
        at_most: u32,
    },
    /// When one node reaches a state for the nth time: what a state-aware fault becomes once it is
    /// known what made it strike.
    Nth(Cause),
}

/// The event that made a state-aware fault strike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The state that was reached.
    pub condition: Predicate,
    /// By which node.
    pub node: NodeId,
    /// For which time, counted from 1.
    pub nth: u32,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {}.", self.condition, self.node, self.nth)
    }
}

/// How much of a fault.
pub type Measures = BTreeMap<Measure, Draw<f64>>;
/// In which way.
pub type Settings = BTreeMap<Setting, Draw<Word>>;

/// What a fault does. Timed faults have fixed magnitudes; those of state-aware faults are drawn each
/// time they strike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// What breaks.
    pub kind: Kind,
    /// Whom.
    pub aim: Aim,
    /// How much.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: Measures,
    /// In which way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: Settings,
    /// How long, for what lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Draw<Duration>>,
}

impl Action {
    /// A measure that has no choice left.
    ///
    /// # Panics
    /// If the kind has no such measure, or it is still to be drawn.
    pub fn measure(&self, measure: Measure) -> f64 {
        match self.measures.get(&measure) {
            Some(Draw::Fixed(value)) => *value,
            other => panic!("{} is {other:?} in a {} that strikes", measure.name(), self.kind),
        }
    }

    /// A setting: what it says, or the kind's default.
    ///
    /// # Panics
    /// If the kind has no such setting, or it is still to be drawn.
    pub fn setting(&self, setting: Setting) -> Word {
        let default = || {
            let known = self.kind.info().settings.iter().find(|(known, _)| *known == setting);
            known.expect("a kind is asked for its own settings").1[0]
        };
        match self.settings.get(&setting) {
            None => default(),
            Some(Draw::Fixed(word)) => *word,
            Some(other) => panic!("{} is {other:?} in a {} that strikes", setting.name(), self.kind),
        }
    }

    /// The same with every magnitude drawn; its aim stays.
    #[must_use]
    pub fn drawn(&self, rng: &mut impl Rng) -> Self {
        fn all<K: Copy + Ord, T: Drawable>(
            from: &BTreeMap<K, Draw<T>>,
            rng: &mut impl Rng,
        ) -> BTreeMap<K, Draw<T>> {
            from.iter().map(|(key, draw)| (*key, Draw::Fixed(draw.draw(rng)))).collect()
        }
        Self {
            kind: self.kind,
            aim: self.aim.clone(),
            lasts: self.lasts.as_ref().map(|lasts| Draw::Fixed(lasts.draw(rng))),
            measures: all(&self.measures, rng),
            settings: all(&self.settings, rng),
        }
    }
}

/// Whom a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// These nodes, or their links.
    Nodes(Vec<Target>),
    /// Links between different groups; at least two.
    Groups(Vec<Vec<Target>>),
    /// Links of a shape over nodes, the one in its middle first.
    Shape(Shape, Vec<Target>),
}

impl Aim {
    /// Everyone it names.
    pub fn targets(&self) -> Vec<Target> {
        match self {
            Self::Nodes(targets) | Self::Shape(_, targets) => targets.clone(),
            Self::Groups(groups) => groups.concat(),
        }
    }
}

/// A partial partition: what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two halves that only the one in the middle reaches both.
    Bridge,
    /// A circle of neighbours.
    Ring,
    /// A row of neighbours.
    Chained,
    /// The one in the middle reaches all, and nobody reaches anyone else.
    Constrained,
    /// Two halves, of which the first is not heard by the second.
    OneWay,
    /// The one in the middle hears nobody.
    IsolateInbound,
    /// Nobody hears the one in the middle.
    IsolateOutbound,
}

impl Shape {
    /// Every shape with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("bridge", Self::Bridge),
        ("ring", Self::Ring),
        ("chained", Self::Chained),
        ("constrained", Self::Constrained),
        ("one-way", Self::OneWay),
        ("isolate-inbound", Self::IsolateInbound),
        ("isolate-outbound", Self::IsolateOutbound),
    ];
}

/// Whom a fault strikes. Roles are resolved when it strikes; what is random in a timed fault is drawn
/// with the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This node.
    Node(NodeId),
    /// The leader at that moment.
    Leader,
    /// A node that does not lead, drawn among those that are up.
    Follower,
    /// The node whose state the fault waited for; in state-aware faults only.
    Subject,
    /// A node that no other target of the fault stands for, drawn.
    Random,
    /// Fewer than half of the nodes, as many as there can be, drawn.
    Minority,
    /// The smallest majority, drawn.
    Majority,
    /// Such a minority with the leader in it.
    MinorityWithLeader,
    /// Such a majority with the leader in it.
    MajorityWithLeader,
    /// The nodes of a zone, drawn.
    Zone,
    /// Everyone that no other target of the fault stands for.
    Rest,
}

impl Target {
    /// Every target but single nodes, with its name.
    pub const ROLES: [(&'static str, Self); 10] = [
        ("@leader", Self::Leader),
        ("@follower", Self::Follower),
        ("@random", Self::Random),
        ("@subject", Self::Subject),
        ("@minority", Self::Minority),
        ("@majority", Self::Majority),
        ("@minority-with-leader", Self::MinorityWithLeader),
        ("@majority-with-leader", Self::MajorityWithLeader),
        ("@zone", Self::Zone),
        ("*", Self::Rest),
    ];

    /// Whether only the moment at which a fault strikes can tell whom it means.
    pub fn is_role(self) -> bool {
        matches!(
            self,
            Self::Leader
                | Self::Follower
                | Self::Subject
                | Self::MinorityWithLeader
                | Self::MajorityWithLeader
        )
    }

    /// How many nodes it stands for at least, of so many.
    pub fn least(self, nodes: u16) -> u16 {
        match self {
            Self::Minority | Self::MinorityWithLeader => (nodes - 1) / 2,
            Self::Majority | Self::MajorityWithLeader => nodes / 2 + 1,
            _ => 1,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            role => {
                let named = Self::ROLES.iter().find(|(_, known)| known == role);
                f.write_str(named.expect("every role has a name").0)
            }
        }
    }
}

//! The nemesis: fires the faults of a plan at their time, or when the state that they wait for has
//! come, and takes them back.
//!
//! What it fired is data: each fault stands in the report with its time and its cause. Every draw is
//! keyed by (fault, how many times it had its chance), so that one fault does not shift another's.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use contract::{NodeId, Time};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::PartitionId;
use sim::rng::{Keys, Purpose};

use crate::plan::{Action, Condition, Draw, Plan, PlannedFault, Target, Trigger};
use crate::report::Fired;

/// What the nemesis has the world wake it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A timed fault is due.
    Fault(u32),
    /// A partition is over.
    Heal(u32),
    /// A crashed node comes back.
    Restart(NodeId),
    /// A condition holds somewhere.
    Alarm,
    /// The quiet tail begins.
    Quiet,
}

impl Wake {
    /// As the number that the world hands back.
    pub fn encode(self) -> u64 {
        let (kind, which) = match self {
            Self::Fault(id) => (0, id),
            Self::Heal(id) => (1, id),
            Self::Restart(node) => (2, u32::from(node.0)),
            Self::Alarm => (3, 0),
            Self::Quiet => (4, 0),
        };
        kind << 32 | u64::from(which)
    }

    /// From the number that [`Wake::encode`] made.
    pub fn decode(number: u64) -> Self {
        let which = number as u32;
        match number >> 32 {
            0 => Self::Fault(which),
            1 => Self::Heal(which),
            2 => Self::Restart(NodeId(u16::try_from(which).expect("a node's number has 16 bits"))),
            3 => Self::Alarm,
            4 => Self::Quiet,
            other => unreachable!("{other} is no kind of wake-up"),
        }
    }
}

/// Where state-aware faults hear that their state has come.
pub type Alarms = Rc<RefCell<VecDeque<(Condition, NodeId)>>>;

/// What a fault did, in words and as data.
type Done = (String, Option<Action>);

/// What the nemesis acts upon.
pub trait Ground {
    /// Simulated time.
    fn now(&self) -> Time;
    /// Asks to be woken.
    fn wake_at(&self, at: Time, wake: Wake);
    /// The leader of the latest epoch among the nodes that are up.
    fn leader(&self) -> Option<NodeId>;
    /// Whether a node is up.
    fn is_up(&self, node: NodeId) -> bool;
    /// Takes a node's power; says what its disk lost.
    fn crash(&mut self, node: NodeId) -> String;
    /// Gives it back.
    fn restart(&mut self, node: NodeId);
    /// Cuts the links between groups.
    fn partition(&mut self, groups: Vec<Vec<NodeId>>) -> PartitionId;
    /// Joins them again.
    fn heal(&mut self, partition: PartitionId);
}

/// Fires a plan's faults.
pub struct Nemesis {
    faults: Vec<PlannedFault>,
    nodes: u16,
    keys: Keys,
    quiet_from: Time,
    quiet: bool,
    partitions: BTreeMap<u32, PartitionId>,
    next_partition: u32,
    alarms: Alarms,
    /// Per fault: how many chances it had, and how often it fired.
    chances: BTreeMap<u32, (u64, u32)>,
    fired: Vec<Fired>,
}

impl Nemesis {
    /// For a plan; asks to be woken for each timed fault.
    pub fn new(plan: &Plan, alarms: Alarms, ground: &impl Ground) -> Self {
        for fault in &plan.faults {
            if let Trigger::At(time) = fault.trigger {
                ground.wake_at(time, Wake::Fault(fault.id));
            }
        }
        ground.wake_at(plan.quiet_from, Wake::Quiet);
        Self {
            faults: plan.faults.clone(),
            nodes: plan.world.nodes,
            keys: Keys::new(plan.seed),
            quiet_from: plan.quiet_from,
            quiet: false,
            partitions: BTreeMap::new(),
            next_partition: 0,
            alarms,
            chances: BTreeMap::new(),
            fired: Vec::new(),
        }
    }

    /// What fired so far, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// The world woke the nemesis.
    pub fn on_wake(&mut self, wake: Wake, ground: &mut impl Ground) {
        match wake {
            Wake::Fault(id) => {
                let fault = self.faults.iter().find(|fault| fault.id == id).expect("a plan's fault").clone();
                let draws = self.draws(&fault, 0);
                self.fire(&fault, None, draws, format!("at {}", ground.now()), ground);
            }
            Wake::Heal(id) => {
                if let Some(partition) = self.partitions.remove(&id) {
                    ground.heal(partition);
                }
            }
            Wake::Restart(node) => {
                if !ground.is_up(node) {
                    ground.restart(node);
                }
            }
            Wake::Alarm => self.on_alarm(ground),
            Wake::Quiet => self.end(ground),
        }
    }

    /// From now on nothing fires; what was broken is mended.
    fn end(&mut self, ground: &mut impl Ground) {
        self.quiet = true;
        for (_, partition) in std::mem::take(&mut self.partitions) {
            ground.heal(partition);
        }
        for node in (1..=self.nodes).map(NodeId) {
            if !ground.is_up(node) {
                ground.restart(node);
            }
        }
    }

    fn on_alarm(&mut self, ground: &mut impl Ground) {
        loop {
            let Some((condition, node)) = self.alarms.borrow_mut().pop_front() else { return };
            if self.quiet || !ground.is_up(node) {
                continue;
            }
            for fault in self.faults.clone() {
                let Trigger::When { condition: awaited, probability, at_most } = fault.trigger else {
                    continue;
                };
                if awaited != condition {
                    continue;
                }
                let (chance, times) = *self.chances.entry(fault.id).or_default();
                let mut draws = self.draws(&fault, chance);
                let lucky = draws.random_bool(probability);
                let fires = lucky && times < at_most;
                self.chances.insert(fault.id, (chance + 1, times + u32::from(fires)));
                if fires {
                    self.fire(&fault, Some(node), draws, format!("{condition} at {node}"), ground);
                }
            }
        }
    }

    fn draws(&self, fault: &PlannedFault, chance: u64) -> ChaCha8Rng {
        self.keys.stream(Purpose::new("nemesis"), u64::from(fault.id) << 32 | chance)
    }

    fn fire(
        &mut self,
        fault: &PlannedFault,
        subject: Option<NodeId>,
        mut draws: ChaCha8Rng,
        because: String,
        ground: &mut impl Ground,
    ) {
        let (what, action) = match &fault.action {
            Action::Crash { target, restart_after } => {
                let after = restart_after.draw(&mut draws);
                match self.resolve(target, subject, &[], &mut draws, ground) {
                    Some(node) if ground.is_up(node) => self.crash(node, after, ground),
                    Some(node) => (format!("nothing: {node} is down already"), None),
                    None => ("nothing: there is no such node now".to_owned(), None),
                }
            }
            Action::Partition { groups, lasts } => {
                let lasts = lasts.draw(&mut draws);
                self.partition(groups, subject, lasts, &mut draws, ground)
            }
        };
        self.fired.push(Fired { at: ground.now(), name: fault.name.clone(), because, what, action });
    }

    fn crash(&mut self, node: NodeId, restart_after: Duration, ground: &mut impl Ground) -> Done {
        let lost = ground.crash(node);
        let back = (ground.now() + restart_after).min(self.quiet_from);
        ground.wake_at(back, Wake::Restart(node));
        let action = Action::Crash { target: Target::Node(node), restart_after: Draw::Fixed(restart_after) };
        (format!("crash of {node} until {back}, {lost}"), Some(action))
    }

    fn partition(
        &mut self,
        groups: &[Vec<Target>],
        subject: Option<NodeId>,
        lasts: Duration,
        draws: &mut ChaCha8Rng,
        ground: &mut impl Ground,
    ) -> Done {
        let mut sides: Vec<Vec<NodeId>> = vec![Vec::new(); groups.len()];
        let mut taken = Vec::new();
        // Named nodes first: what is drawn, and the rest, is what they leave.
        for pass in [is_fixed as fn(&Target) -> bool, |target| *target == Target::Random] {
            for (side, group) in sides.iter_mut().zip(groups) {
                for target in group.iter().filter(|target| pass(target)) {
                    let node = self.resolve(target, subject, &taken, draws, ground);
                    if let Some(node) = node.filter(|node| !taken.contains(node)) {
                        taken.push(node);
                        side.push(node);
                    }
                }
            }
        }
        for (side, group) in sides.iter_mut().zip(groups) {
            if group.contains(&Target::Rest) {
                side.extend((1..=self.nodes).map(NodeId).filter(|node| !taken.contains(node)));
            }
            side.sort_unstable();
        }
        let text: Vec<_> = sides
            .iter()
            .map(|side| side.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        let groups = sides.iter().map(|side| side.iter().copied().map(Target::Node).collect()).collect();
        let action = Action::Partition { groups, lasts: Draw::Fixed(lasts) };
        let partition = ground.partition(sides);
        let until = (ground.now() + lasts).min(self.quiet_from);
        self.partitions.insert(self.next_partition, partition);
        ground.wake_at(until, Wake::Heal(self.next_partition));
        self.next_partition += 1;
        (format!("partition into {} until {until}", text.join(" | ")), Some(action))
    }

    /// The node that a target names now, if any does.
    fn resolve(
        &self,
        target: &Target,
        subject: Option<NodeId>,
        taken: &[NodeId],
        draws: &mut ChaCha8Rng,
        ground: &impl Ground,
    ) -> Option<NodeId> {
        match target {
            Target::Node(node) => Some(*node),
            Target::Leader => ground.leader(),
            Target::Subject => subject,
            Target::Random => {
                let free: Vec<_> =
                    (1..=self.nodes).map(NodeId).filter(|node| !taken.contains(node)).collect();
                (!free.is_empty()).then(|| free[draws.random_range(0..free.len())])
            }
            Target::Rest => unreachable!("the rest is known only when all groups are"),
        }
    }
}

fn is_fixed(target: &Target) -> bool {
    !matches!(target, Target::Random | Target::Rest)
}

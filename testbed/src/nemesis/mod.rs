//! The nemesis: fires the faults of a plan at their time, or when the state that they wait for has
//! come, and takes them back.
//!
//! What it fired is data: each fault stands in the trace and in the report with its time and its
//! cause. It is the operator of the cluster too, who asks for elections and other memberships. Every draw is keyed by (fault, how many times it had its chance), so that one fault does not
//! shift another's. And as an operator it sees to it that a node that stopped because its disk failed
//! it is rebooted after a while (with the page cache gone: what a failed fsync left there is not on the
//! disk), unless it is doomed.

mod aim;
mod concrete;
mod doom;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use contract::{Control, FailureModel, Membership, NodeId, Time};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sim::config::Links;
use sim::fault::{self, Fault};
use sim::rng::{Keys, Purpose};
use sim::{Blocking, Injected};

use crate::plan::{
    Action, Aim, Cause, Core, Draw, Kind, Length, Limits, Plan, PlannedFault, Predicate, Scope, Target,
    Trigger,
};
use crate::report::{Extent, Fired};
use aim::Cast;
use doom::{Doom, Withheld};

/// How long an operator takes to reboot a node that stopped by itself.
const REBOOT_AFTER: std::ops::RangeInclusive<u64> = 100..=1_500;

/// What the nemesis has the world wake it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A timed fault is due.
    Fault(u32),
    /// A fault is over.
    End(u32),
    /// A node is started again.
    Restart(NodeId),
    /// A condition holds somewhere, or a node stopped.
    Alarm,
    /// The quiet tail begins.
    Quiet,
    /// An expectation is measured from or until now; not the nemesis's affair.
    Measure,
}

impl Wake {
    /// As the number that the world hands back.
    pub fn encode(self) -> u64 {
        let (kind, which) = match self {
            Self::Fault(id) => (0, id),
            Self::End(id) => (1, id),
            Self::Restart(node) => (2, u32::from(node.0)),
            Self::Alarm => (3, 0),
            Self::Quiet => (4, 0),
            Self::Measure => (5, 0),
        };
        kind << 32 | u64::from(which)
    }

    /// From the number that [`Wake::encode`] made.
    pub fn decode(number: u64) -> Self {
        let which = number as u32;
        match number >> 32 {
            0 => Self::Fault(which),
            1 => Self::End(which),
            2 => Self::Restart(NodeId(u16::try_from(which).expect("a node's number has 16 bits"))),
            3 => Self::Alarm,
            4 => Self::Quiet,
            5 => Self::Measure,
            other => unreachable!("{other} is no kind of wake-up"),
        }
    }
}

/// What the nemesis is told, until it is woken.
#[derive(Debug, Default)]
pub struct Alarms {
    /// Conditions of the plan, by their place among them, that nodes have reached.
    pub reached: VecDeque<(usize, NodeId)>,
    /// Nodes that stopped by themselves.
    pub stopped: VecDeque<NodeId>,
}

/// Where the nemesis hears of states.
pub type SharedAlarms = Rc<RefCell<Alarms>>;

/// Why a node stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// In words.
    pub why: String,
    /// Whether it is because of what it read.
    pub corrupt: bool,
}

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
    /// Whether a node is up and has what it keeps in memory: it is not recovering.
    fn remembers(&self, node: NodeId) -> bool;
    /// Why a node that is up does nothing any more, if it stopped by itself.
    fn stop(&self, node: NodeId) -> Option<Stop>;
    /// Lets a fault happen; says what it did besides.
    fn inject(&mut self, fault: &Fault) -> (Injected, Option<String>);
    /// Takes it back.
    fn recover(&mut self, injected: Injected);
    /// Starts a node that is down.
    fn restart(&mut self, node: NodeId);
    /// Who takes part, as the leader knows it; without one, who did at first.
    fn membership(&self) -> Membership;
    /// The memberships that a change goes through if a node is asked for it now: the last is `to`.
    fn steps(&self, node: NodeId, to: &Membership) -> Vec<Membership>;
    /// An operator asks a node for something. One that is down does not hear of it.
    fn control(&mut self, node: NodeId, control: Control);
    /// Writes an event of the nemesis into trace and digest.
    fn note(&self, text: &str);
}

/// A fault of the world that is not over.
struct InForce {
    kind: Kind,
    fault: Fault,
    injected: Injected,
}

/// Fires a plan's faults.
pub struct Nemesis {
    faults: Vec<PlannedFault>,
    conditions: Vec<Predicate>,
    nodes: u16,
    zones: Vec<Vec<NodeId>>,
    keys: Keys,
    quiet_from: Time,
    quiet: bool,
    core: Core,
    in_force: BTreeMap<u32, Vec<InForce>>,
    begun: u32,
    alarms: SharedAlarms,
    /// Per fault: how many chances it had, and how often it fired.
    chances: BTreeMap<u32, (u64, u32)>,
    /// Per condition and node: how often it was reached.
    reached: BTreeMap<(usize, NodeId), u32>,
    reboots: u64,
    doom: Doom,
    limits: Limits,
    fired: Vec<Fired>,
    unexplained: Option<(NodeId, Stop)>,
}

impl Nemesis {
    /// For a plan of a protocol with a failure model, and a bound on how its clocks may drift; asks to be woken for
    /// each timed fault.
    pub fn new(
        plan: &Plan,
        model: FailureModel,
        drift_bound: Option<u32>,
        alarms: SharedAlarms,
        ground: &impl Ground,
    ) -> Self {
        for fault in &plan.faults {
            if let Trigger::At(time) = fault.trigger {
                ground.wake_at(time, Wake::Fault(fault.id));
            }
        }
        ground.wake_at(plan.quiet_from, Wake::Quiet);
        Self {
            faults: plan.faults.clone(),
            conditions: plan.conditions(),
            nodes: plan.world.nodes,
            zones: plan.zones.clone(),
            keys: Keys::new(plan.seed),
            quiet_from: plan.quiet_from,
            quiet: false,
            core: plan.checks.liveness.map_or(Core::All, |liveness| liveness.core),
            in_force: BTreeMap::new(),
            begun: 0,
            alarms,
            chances: BTreeMap::new(),
            reached: BTreeMap::new(),
            reboots: 0,
            doom: Doom::new(plan.limits, model, plan.founders()).with_clocks(drift_bound),
            limits: plan.limits,
            fired: Vec::new(),
            unexplained: None,
        }
    }

    /// What fired so far, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }

    /// How far it went.
    pub fn extent(&self) -> Extent {
        Extent {
            limits: self.limits,
            withheld: self.doom.withheld(),
            damaged: self.doom.damaged(),
            reboots: self.reboots,
        }
    }

    /// A node that stopped by itself although nothing that was done to its disk explains it.
    pub fn unexplained(&self) -> Option<&(NodeId, Stop)> {
        self.unexplained.as_ref()
    }

    /// The world woke the nemesis.
    pub fn on_wake(&mut self, wake: Wake, ground: &mut impl Ground) {
        match wake {
            Wake::Fault(id) => {
                let fault = self.faults.iter().find(|fault| fault.id == id).expect("a plan's fault").clone();
                let draws = self.draws(&fault, 0);
                self.fire(&fault, None, draws, ground);
            }
            Wake::End(number) => {
                for InForce { injected, .. } in self.in_force.remove(&number).unwrap_or_default() {
                    self.take_back(injected, ground);
                }
            }
            Wake::Restart(node) => self.start(node, ground),
            Wake::Alarm => {
                self.on_stopped(ground);
                self.on_reached(ground);
            }
            Wake::Quiet => self.end(ground),
            Wake::Measure => unreachable!("a run measures by itself"),
        }
    }

    fn take_back(&self, injected: Injected, ground: &mut impl Ground) {
        match injected {
            Injected::Nothing => {}
            Injected::Crash(node) => self.start(node, ground),
            other => ground.recover(other),
        }
    }

    fn start(&self, node: NodeId, ground: &mut impl Ground) {
        if !ground.is_up(node) && !self.doom.is_doomed(node) {
            ground.restart(node);
        }
    }

    /// From now on nothing fires; what was broken is mended, for everyone or for a core.
    fn end(&mut self, ground: &mut impl Ground) {
        self.quiet = true;
        let core = self.draw_core();
        for faults in std::mem::take(&mut self.in_force).into_values() {
            for InForce { fault, injected, .. } in faults {
                // What stays is forgotten, so that it does not end by its own time.
                if struck(&fault).is_some_and(|node| !core.contains(&node)) {
                    continue;
                }
                self.take_back(injected, ground);
                if let Some(rest) = outside(&fault, self.nodes, &core) {
                    let _ = ground.inject(&rest);
                }
            }
        }
        for node in core {
            self.start(node, ground);
        }
    }

    /// Whose faults end.
    fn draw_core(&self) -> BTreeSet<NodeId> {
        let all = (1..=self.nodes).map(NodeId);
        // Which majority counts is not known for sure once a membership was to change.
        if self.core == Core::All || self.doom.memberships() > 1 {
            return all.collect();
        }
        let mut whole: Vec<NodeId> = all.filter(|node| !self.doom.is_doomed(*node)).collect();
        whole.shuffle(&mut self.keys.stream(Purpose::new("core"), 0));
        whole.truncate(usize::from(self.nodes / 2 + 1));
        whole.into_iter().collect()
    }

    /// Nodes that stopped by themselves: explained by their disks, and rebooted; or a finding.
    fn on_stopped(&mut self, ground: &mut impl Ground) {
        loop {
            let Some(node) = self.alarms.borrow_mut().stopped.pop_front() else { return };
            if !ground.is_up(node) {
                continue;
            }
            let Some(stop) = ground.stop(node) else { continue };
            if !self.doom.explains(node, stop.corrupt) {
                self.unexplained.get_or_insert((node, stop));
                return;
            }
            let doomed = self.doom.is_doomed(node);
            let then = if doomed || stop.corrupt { "it stays down" } else { "it is rebooted" };
            ground.note(&format!("{node} stopped by itself, {then}: {}", stop.why));
            let _ = ground.inject(&Fault::Crash(fault::Crash { node }));
            if !doomed && !stop.corrupt {
                self.reboots += 1;
                let mut draws = self.keys.stream(Purpose::new("reboot"), self.reboots);
                let after = Duration::from_millis(draws.random_range(REBOOT_AFTER));
                ground.wake_at(ground.now() + after, Wake::Restart(node));
            }
        }
    }

    fn on_reached(&mut self, ground: &mut impl Ground) {
        loop {
            let Some((which, node)) = self.alarms.borrow_mut().reached.pop_front() else { return };
            let nth = self.reached.entry((which, node)).or_default();
            *nth += 1;
            let cause = Cause { condition: self.conditions[which].clone(), node, nth: *nth };
            if self.quiet || !ground.is_up(node) {
                continue;
            }
            for fault in self.faults.clone() {
                match &fault.trigger {
                    Trigger::At(_) => {}
                    Trigger::Nth(awaited) => {
                        if *awaited == cause {
                            let draws = self.draws(&fault, 0);
                            self.fire(&fault, Some(&cause), draws, ground);
                        }
                    }
                    Trigger::When { condition, .. } if *condition != cause.condition => {}
                    Trigger::When { probability, at_most, .. } => {
                        let (chance, times) = *self.chances.entry(fault.id).or_default();
                        let mut draws = self.draws(&fault, chance);
                        let lucky = draws.random_bool(*probability);
                        let fires = lucky && times < *at_most;
                        self.chances.insert(fault.id, (chance + 1, times + u32::from(fires)));
                        if fires {
                            self.fire(&fault, Some(&cause), draws, ground);
                        }
                    }
                }
            }
        }
    }

    /// Who lacks what it keeps in memory, or may lose it at any moment.
    fn forgetful(&self, ground: &impl Ground) -> BTreeSet<NodeId> {
        let troubled = self.in_force.values().flatten().filter(|fault| fault.kind.troubles_disk());
        let nodes = (1..=self.nodes).map(NodeId).filter(|node| !ground.remembers(*node));
        nodes.chain(troubled.filter_map(|fault| struck(&fault.fault))).collect()
    }

    fn draws(&self, fault: &PlannedFault, chance: u64) -> ChaCha8Rng {
        self.keys.stream(Purpose::new("nemesis"), u64::from(fault.id) << 32 | chance)
    }

    fn fire(
        &mut self,
        fault: &PlannedFault,
        cause: Option<&Cause>,
        mut draws: ChaCha8Rng,
        ground: &mut impl Ground,
    ) {
        let action = self.resolve(&fault.action, cause, &mut draws, ground);
        let (what, action) = self.strike(action, ground);
        let at = ground.now();
        let because = cause.map_or_else(|| format!("at {at}"), Cause::to_string);
        ground.note(&format!("nemesis {} ({because}): {what}", fault.name));
        self.fired.push(Fired { at, name: fault.name.clone(), because, what, action, cause: cause.cloned() });
    }

    /// The action with roles resolved and everything drawn.
    fn resolve(
        &self,
        action: &Action,
        cause: Option<&Cause>,
        draws: &mut ChaCha8Rng,
        ground: &impl Ground,
    ) -> Action {
        let mut action = action.drawn(draws);
        if let Some(Draw::Fixed(lasts)) = &mut action.lasts {
            *lasts = (*lasts).min(self.quiet_from.since(ground.now()));
        }
        let all_links =
            action.kind.info().scope == Scope::Links && action.aim == Aim::Nodes(vec![Target::Rest]);
        if !all_links {
            let subject = cause.map(|cause| cause.node);
            let cast = Cast { ground, nodes: self.nodes, zones: &self.zones, subject };
            action.aim = cast.resolve(&action.aim, draws);
        }
        action
    }

    /// Lets an action happen that has nothing open: what it did, in words and as data.
    fn strike(&mut self, mut action: Action, ground: &mut impl Ground) -> (String, Option<Action>) {
        let goes_down = action.kind.info().length == Length::Restart;
        let mut forgetful = self.forgetful(ground);
        let mut not = None;
        if !self.doom.admits_clock(&action) {
            return ("withheld: promises rest on clocks".to_owned(), None);
        }
        if let Aim::Nodes(targets) = &mut action.aim {
            targets.retain(|target| {
                let Target::Node(node) = *target else { return true };
                if goes_down && !ground.is_up(node) {
                    not = Some(format!("nothing: {node} is down already"));
                    return false;
                }
                match self.doom.admits(action.kind, &action.settings, node, &forgetful) {
                    Ok(()) => {
                        if action.kind.may_stop(&action.settings) {
                            forgetful.insert(node);
                        }
                        return true;
                    }
                    Err(Withheld::Disk) => {
                        not = Some(format!("withheld: it would take the disk of {node} too"));
                    }
                    Err(Withheld::Memory) => {
                        not = Some(format!("withheld: it could take the memory of {node} too"));
                    }
                }
                false
            });
        }
        if action.kind.is_request() {
            return self.request(action, ground);
        }
        let faults = concrete::faults(&action);
        if faults.is_empty() {
            return (not.unwrap_or_else(|| "nothing: there is no such node now".to_owned()), None);
        }
        let mut texts = Vec::new();
        let mut in_force = Vec::new();
        for fault in faults {
            let (injected, more) = ground.inject(&fault);
            texts.push(more.map_or_else(|| fault.to_string(), |more| format!("{fault}, {more}")));
            in_force.push(InForce { kind: action.kind, fault, injected });
        }
        let mut what = texts.join("; ");
        if let Some(Draw::Fixed(lasts)) = &action.lasts {
            let until = ground.now() + *lasts;
            what = format!("{what}; until {until}");
            self.in_force.insert(self.begun, in_force);
            ground.wake_at(until, Wake::End(self.begun));
            self.begun += 1;
        }
        (what, Some(action))
    }

    /// An operator asks for something: what, in words, and the action if it was asked for.
    fn request(&mut self, action: Action, ground: &mut impl Ground) -> (String, Option<Action>) {
        let Some(leader) =
            ground.leader().or_else(|| (1..=self.nodes).map(NodeId).find(|n| ground.is_up(*n)))
        else {
            return ("nothing: there is nobody to ask".to_owned(), None);
        };
        let forgetful = self.forgetful(ground);
        let requests = concrete::requests(&action, leader, &ground.membership());
        if requests.is_empty() {
            return ("nothing: there is no such node now".to_owned(), None);
        }
        let mut texts = Vec::new();
        for (node, control) in requests {
            if let Control::Reconfigure { to } = &control
                && !self.doom.admits_memberships(&ground.steps(node, to), &forgetful)
            {
                return (format!("withheld: too many of {to} may have lost something"), None);
            }
            texts.push(format!("asks {node} to {control}"));
            ground.control(node, control);
        }
        (texts.join("; "), Some(action))
    }
}

/// The one node that a fault is about, if it is about one.
fn struck(fault: &Fault) -> Option<NodeId> {
    match fault {
        Fault::SlowNode(fault) => Some(fault.node),
        Fault::Crash(fault) => Some(fault.node),
        Fault::Kill(fault) => Some(fault.node),
        Fault::Wipe(fault) => Some(fault.node),
        Fault::Pause(fault) => Some(fault.node),
        Fault::SlowCpu(fault) => Some(fault.node),
        Fault::ClockJump(fault) => Some(fault.node),
        Fault::ClockDrift(fault) => Some(fault.node),
        Fault::IoError(fault) => Some(fault.node),
        Fault::SyncError(fault) => Some(fault.node),
        Fault::LatentSector(fault) => Some(fault.node),
        Fault::BitRot(fault) => Some(fault.node),
        Fault::LostWrite(fault) => Some(fault.node),
        Fault::MisdirectedWrite(fault) => Some(fault.node),
        Fault::Garbage(fault) => Some(fault.node),
        Fault::LyingFlush(fault) => Some(fault.node),
        Fault::NoSpace(fault) => Some(fault.node),
        Fault::ShortRead(fault) => Some(fault.node),
        Fault::DiskStall(fault) => Some(fault.node),
        Fault::SlowDisk(fault) => Some(fault.node),
        Fault::Partition(_)
        | Fault::Cut(_)
        | Fault::Swizzle(_)
        | Fault::Loss(_)
        | Fault::Duplicate(_)
        | Fault::Corrupt(_)
        | Fault::Reorder(_)
        | Fault::SlowLink(_)
        | Fault::Throttle(_) => None,
    }
}

/// What stays of a cut when the links within a core are mended.
fn outside(fault: &Fault, nodes: u16, core: &BTreeSet<NodeId>) -> Option<Fault> {
    let (cut, blocking) = match fault {
        Fault::Partition(partition) => (Links::between_groups(&partition.groups), Blocking::Drop),
        Fault::Cut(cut) => (cut.links.clone(), cut.blocking),
        _ => return None,
    };
    let all = || (1..=nodes).map(NodeId);
    let pairs = all().flat_map(|from| all().map(move |to| (from, to)));
    let stays = pairs.filter(|(from, to)| {
        let within = core.contains(from) && core.contains(to);
        !within && cut.iter().any(|links| links.covers((*from).into(), (*to).into()))
    });
    let links: Vec<Links> = stays.map(|(from, to)| Links::one_way(from, to)).collect();
    (!links.is_empty()).then_some(Fault::Cut(fault::Cut { links, blocking }))
}

//! What a protocol promises to survive, and how far a run went beyond it.
//!
//! Replication survives nodes that forget nothing. A disk that may have lost what it promised to hold
//! breaks that promise in silence: its node, once restarted, could vote or acknowledge against what it
//! did before. Within the limits such a node is *doomed*: it works on, since what it knows it still
//! holds in memory, but once it goes down it stays down, as an operator would have it whose disk has
//! failed. And of all nodes only so many may ever be doomed that the others are a quorum; what would
//! doom one more is withheld. Of each membership that was ever asked for, or that lies on the way to it, that holds by
//! itself, since any of them may be in force. And one voter at least must be whole that keeps the state.
//!
//! Where promises rest on clocks, as leases do, what makes a clock drift beyond the bound that was declared, or
//! stand still, is withheld too.
//!
//! A protocol without stable storage keeps what it promised in memory, and a crash takes that too. Its nodes
//! come back and ask the others; until they have it again they count as those that are down. What would take
//! the memory of one more than the protocol survives is withheld: a crash, and whatever may make a node stop.

use std::collections::BTreeSet;

use contract::{FailureModel, Membership, NodeId};

use crate::plan::{Action, Kind, Limits, Measure, Setting, Settings, Word};

#[derive(Debug)]
pub(super) struct Doom {
    limits: Limits,
    model: FailureModel,
    /// By how much clocks may drift, in parts per million; as they like, if nothing rests on them.
    drift_bound: Option<u32>,
    /// Every membership that may be in force: the first one, and all that were asked for.
    memberships: Vec<Membership>,
    /// Whose disk may have lost what it promised to hold.
    damaged: BTreeSet<NodeId>,
    /// Whose disk did not do what it was asked to, which a node may notice.
    troubled: BTreeSet<NodeId>,
    withheld: u64,
}

/// Why a fault must not strike a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// Too many disks may have lost something.
    Disk,
    /// Too many nodes would be without what they keep in memory.
    Memory,
}

impl Doom {
    pub(super) fn new(limits: Limits, model: FailureModel, founders: Membership) -> Self {
        let memberships = vec![founders];
        let (damaged, troubled) = (BTreeSet::new(), BTreeSet::new());
        Self { limits, model, drift_bound: None, memberships, damaged, troubled, withheld: 0 }
    }

    pub(super) fn with_clocks(self, drift_bound: Option<u32>) -> Self {
        Self { drift_bound, ..self }
    }

    /// Whether what an action does to clocks may be done; notes if it was withheld.
    pub(super) fn admits_clock(&mut self, action: &Action) -> bool {
        let Some(bound) = self.drift_bound.filter(|_| self.limits == Limits::Survivable) else { return true };
        let fits = match action.kind {
            Kind::ClockDrift => action.measure(Measure::Drift).abs() <= f64::from(bound),
            Kind::Pause => action.setting(Setting::Clock) != Word::Stops,
            _ => true,
        };
        self.withheld += u64::from(!fits);
        fits
    }

    /// Whether the other voters are a quorum if these are lost, and one of them keeps the state.
    fn survives(&self, membership: &Membership, lost: &BTreeSet<NodeId>) -> bool {
        let most = self.model.tolerated(membership.voters.len());
        let mut keepers = membership.voters.difference(&membership.witnesses);
        membership.voters.intersection(lost).count() <= most && keepers.any(|node| !lost.contains(node))
    }

    /// Whose memory is not to be relied on, besides those that have lost it.
    fn without_memory(&self, forgetful: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        if self.model.stable_storage { BTreeSet::new() } else { forgetful | &self.damaged }
    }

    /// Whether a change that goes through these memberships may be asked for while some nodes lack what they keep
    /// in memory; notes that it was, or that it was withheld. A change may come to an end at any of them: with its
    /// leader, or because it makes a voter of one whose disk is lost before it lets another such one go.
    pub(super) fn admits_memberships(&mut self, steps: &[Membership], forgetful: &BTreeSet<NodeId>) -> bool {
        let without_memory = self.without_memory(forgetful);
        let survives = |step| self.survives(step, &self.damaged) && self.survives(step, &without_memory);
        if self.limits == Limits::Survivable && !steps.iter().all(survives) {
            self.withheld += 1;
            return false;
        }
        for step in steps {
            if !self.memberships.contains(step) {
                self.memberships.push(step.clone());
            }
        }
        true
    }

    /// How many memberships may be in force.
    pub(super) fn memberships(&self) -> usize {
        self.memberships.len()
    }

    /// Whether a fault of a kind may strike a node while some nodes lack what they keep in memory, or may
    /// lose it at any moment; notes that it does, or that it was withheld.
    pub(super) fn admits(
        &mut self,
        kind: Kind,
        settings: &Settings,
        node: NodeId,
        forgetful: &BTreeSet<NodeId>,
    ) -> Result<(), Withheld> {
        let fits = |mut lost: BTreeSet<NodeId>| {
            lost.insert(node);
            self.memberships.iter().all(|membership| self.survives(membership, &lost))
        };
        let takes_disk = kind.takes_durable(settings);
        let takes_memory = kind.may_stop(settings) && !self.model.stable_storage;
        let withheld = if takes_disk && !fits(self.damaged.clone()) {
            Some(Withheld::Disk)
        } else if takes_memory && !fits(self.without_memory(forgetful)) {
            Some(Withheld::Memory)
        } else {
            None
        };
        if let (Limits::Survivable, Some(why)) = (self.limits, withheld) {
            self.withheld += 1;
            return Err(why);
        }
        if takes_disk {
            self.damaged.insert(node);
        }
        if kind.troubles_disk() {
            self.troubled.insert(node);
        }
        Ok(())
    }

    /// Whether a node must not come back.
    pub(super) fn is_doomed(&self, node: NodeId) -> bool {
        self.limits == Limits::Survivable && self.damaged.contains(&node)
    }

    /// Whether what was done to a node's disk explains that it stopped by itself; `corrupt` if it did
    /// because of what it read.
    pub(super) fn explains(&self, node: NodeId, corrupt: bool) -> bool {
        self.damaged.contains(&node) || self.troubled.contains(&node) && !corrupt
    }

    pub(super) fn withheld(&self) -> u64 {
        self.withheld
    }

    pub(super) fn damaged(&self) -> Vec<NodeId> {
        self.damaged.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Aim, Draw, Target};

    const RAFT: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    const VR: FailureModel = FailureModel { stable_storage: false, tolerated_percent: 50 };

    /// Whether a fault strikes while all nodes have their memory.
    fn strike(doom: &mut Doom, kind: Kind, node: u16) -> bool {
        doom.admits(kind, &Settings::new(), NodeId(node), &BTreeSet::new()).is_ok()
    }

    fn set(nodes: &[u16]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn founders(nodes: u16) -> Membership {
        Membership::of((1..=nodes).map(NodeId))
    }

    #[test]
    fn a_membership_in_which_too_many_are_doomed_is_withheld() {
        let mut doom = Doom::new(Limits::Survivable, RAFT, founders(5));
        let wipe = |doom: &mut Doom, node| strike(doom, Kind::Wipe, node);
        assert!(wipe(&mut doom, 1));
        let change = |doom: &mut Doom, steps: &[&[u16]]| {
            let steps: Vec<_> =
                steps.iter().map(|step| Membership::of(step.iter().copied().map(NodeId))).collect();
            doom.admits_memberships(&steps, &BTreeSet::new())
        };
        assert!(!change(&mut doom, &[&[1, 2]]), "one of two is half");
        assert!(change(&mut doom, &[&[1, 2, 3]]));
        assert!(!wipe(&mut doom, 2), "of the three that were asked for, one is doomed already");
        assert!(wipe(&mut doom, 4), "of these it is none, and of the five the second");
        assert!(!change(&mut doom, &[&[1, 2, 3, 4], &[2, 3, 4]]), "on the way two of four are doomed");
        assert!(change(&mut doom, &[&[2, 3, 4]]), "where nothing lies on the way, one of three");
    }

    #[test]
    fn the_only_voter_that_keeps_the_state_is_not_doomed() {
        let group = Membership { witnesses: set(&[2, 3]), ..founders(3) };
        let mut doom = Doom::new(Limits::Survivable, RAFT, group);
        assert!(!strike(&mut doom, Kind::Wipe, 1));
        assert!(strike(&mut doom, Kind::Wipe, 2));
    }

    #[test]
    fn clocks_keep_to_the_bound_that_promises_rest_on() {
        let action = |kind, measures: &[(Measure, f64)], settings: &[(Setting, Word)]| Action {
            kind,
            aim: Aim::Nodes(vec![Target::Node(NodeId(1))]),
            measures: measures.iter().map(|(measure, value)| (*measure, Draw::Fixed(*value))).collect(),
            settings: settings.iter().map(|(setting, word)| (*setting, Draw::Fixed(*word))).collect(),
            lasts: None,
        };
        let drift = |ppm| action(Kind::ClockDrift, &[(Measure::Drift, ppm)], &[]);
        let pause = |clock| action(Kind::Pause, &[], &[(Setting::Clock, clock)]);
        let doom = |limits, bound| Doom::new(limits, RAFT, founders(3)).with_clocks(bound);
        let mut bound = doom(Limits::Survivable, Some(100));
        assert!(bound.admits_clock(&drift(-100.0)) && !bound.admits_clock(&drift(-101.0)));
        assert!(bound.admits_clock(&pause(Word::Runs)) && !bound.admits_clock(&pause(Word::Stops)));
        assert_eq!(bound.withheld(), 2);
        assert!(doom(Limits::Any, Some(100)).admits_clock(&pause(Word::Stops)));
        assert!(doom(Limits::Survivable, None).admits_clock(&drift(500.0)));
    }

    #[test]
    fn a_minority_at_most_is_doomed_and_no_healthy_node_is() {
        for (nodes, most) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let mut doom = Doom::new(Limits::Survivable, RAFT, founders(nodes));
            let struck = (1..=nodes).filter(|n| strike(&mut doom, Kind::Wipe, *n)).count();
            assert_eq!(struck, most, "{nodes} nodes");
            assert_eq!(doom.withheld(), u64::from(nodes) - most as u64);
            assert!(most == 0 || strike(&mut doom, Kind::BitRot, 1), "it is doomed anyway");
        }
        let mut any = Doom::new(Limits::Any, RAFT, founders(3));
        assert!((1..=3).all(|node| strike(&mut any, Kind::Wipe, node)));
        assert!(!any.is_doomed(NodeId(1)), "it comes back, whatever that breaks");
        assert_eq!(any.damaged().len(), 3);
    }

    #[test]
    fn a_crash_waits_until_the_others_have_their_memory_back() {
        for (nodes, most) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let mut doom = Doom::new(Limits::Survivable, VR, founders(nodes));
            let mut forgetful = BTreeSet::new();
            for node in (1..=nodes).map(NodeId) {
                if doom.admits(Kind::Crash, &Settings::new(), node, &forgetful).is_ok() {
                    forgetful.insert(node);
                }
            }
            assert_eq!(forgetful.len(), most, "{nodes} nodes");
        }
        let mut doom = Doom::new(Limits::Survivable, VR, founders(5));
        let mut crash = |node, forgetful: &[u16]| {
            doom.admits(Kind::Crash, &Settings::new(), NodeId(node), &set(forgetful))
        };
        assert_eq!(crash(1, &[2]), Ok(()));
        assert_eq!(crash(1, &[2, 3]), Err(Withheld::Memory), "whether they are down or ask for it");
        assert_eq!(crash(2, &[2, 3]), Ok(()), "one that has not recovered has nothing to lose");
        assert_eq!(crash(1, &[3]), Ok(()), "as soon as one has recovered");
        assert_eq!(crash(1, &[6, 7]), Ok(()), "who has no part does not count");
        assert_eq!(crash(1, &[1, 2, 3, 4, 5]), Err(Withheld::Memory), "nobody has begun yet");
        let error =
            |doom: &mut Doom, node| doom.admits(Kind::IoError, &Settings::new(), NodeId(node), &set(&[2, 3]));
        assert_eq!(error(&mut doom, 1), Err(Withheld::Memory), "a disk that fails may stop its node");
        assert_eq!(doom.admits(Kind::Pause, &Settings::new(), NodeId(1), &set(&[2, 3])), Ok(()));
        let small = Membership::of([1, 2, 3].map(NodeId));
        let small = std::slice::from_ref(&small);
        assert!(!doom.admits_memberships(small, &set(&[2, 3])), "in which these would be too many");
        assert!(doom.admits_memberships(small, &set(&[2, 5])));
        assert_eq!(doom.withheld(), 4);
    }

    #[test]
    fn a_damaged_disk_may_take_the_memory_too() {
        let mut doom = Doom::new(Limits::Survivable, VR, founders(5));
        assert!(strike(&mut doom, Kind::BitRot, 1) && strike(&mut doom, Kind::BitRot, 2));
        assert!(!strike(&mut doom, Kind::Crash, 3) && strike(&mut doom, Kind::Crash, 1));
        let mut doom = Doom::new(Limits::Survivable, RAFT, founders(3));
        assert!((1..=3).all(|node| strike(&mut doom, Kind::Crash, node)), "a disk remembers");
    }

    #[test]
    fn an_error_explains_a_stop_and_corruption_needs_damage() {
        let mut doom = Doom::new(Limits::Survivable, RAFT, founders(3));
        assert!(!doom.explains(NodeId(1), false));
        assert!(strike(&mut doom, Kind::IoError, 1));
        assert!(doom.explains(NodeId(1), false) && !doom.explains(NodeId(1), true));
        assert!(strike(&mut doom, Kind::BitRot, 1));
        assert!(doom.explains(NodeId(1), true) && !doom.explains(NodeId(2), true));
    }
}

//! What a protocol promises to survive, and how far a run went beyond it.
//!
//! Replication survives nodes that forget nothing. A disk that may have lost what it promised to hold
//! breaks that promise in silence: its node, once restarted, could vote or acknowledge against what it
//! did before. Within the limits such a node is *doomed*: it works on, since what it knows it still
//! holds in memory, but once it goes down it stays down, as an operator would have it whose disk has
//! failed. And of all nodes only so many may ever be doomed that the others are a quorum; what would
//! doom one more is withheld. Of each membership that was ever asked for that holds by itself, since any of
//! them may be in force. And one voter at least must be whole that keeps the state.
//!
//! Where promises rest on clocks, as leases do, what makes a clock drift beyond the bound that was declared, or
//! stand still, is withheld too.

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

    /// Whether the voters that are whole are a quorum if these are damaged, and one of them keeps the state.
    fn survives(&self, membership: &Membership, damaged: &BTreeSet<NodeId>) -> bool {
        let voters = membership.voters.len();
        // Strictly less than the share that progress needs.
        let most = (voters * usize::from(self.model.tolerated_percent)).saturating_sub(1) / 100;
        let mut keepers = membership.voters.difference(&membership.witnesses);
        let fits = membership.voters.intersection(damaged).count() <= most;
        !self.model.stable_storage || fits && keepers.any(|node| !damaged.contains(node))
    }

    /// Whether a membership may be asked for; notes that it was, or that it was withheld.
    pub(super) fn admits_membership(&mut self, to: &Membership) -> bool {
        if self.limits == Limits::Survivable && !self.survives(to, &self.damaged) {
            self.withheld += 1;
            return false;
        }
        if !self.memberships.contains(to) {
            self.memberships.push(to.clone());
        }
        true
    }

    /// How many memberships may be in force.
    pub(super) fn memberships(&self) -> usize {
        self.memberships.len()
    }

    /// Whether a fault of a kind may strike a node; notes that it does, or that it was withheld.
    pub(super) fn admits(&mut self, kind: Kind, settings: &Settings, node: NodeId) -> bool {
        if kind.takes_durable(settings) {
            let mut damaged = self.damaged.clone();
            let fits = !damaged.insert(node) || self.memberships.iter().all(|m| self.survives(m, &damaged));
            if self.limits == Limits::Survivable && !fits {
                self.withheld += 1;
                return false;
            }
            self.damaged.insert(node);
        }
        if kind.troubles_disk() {
            self.troubled.insert(node);
        }
        true
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

    fn founders(nodes: u16) -> Membership {
        Membership::of((1..=nodes).map(NodeId))
    }

    #[test]
    fn a_membership_in_which_too_many_are_doomed_is_withheld() {
        let raft = FailureModel { stable_storage: true, tolerated_percent: 50 };
        let mut doom = Doom::new(Limits::Survivable, raft, founders(5));
        let wipe = |doom: &mut Doom, node| doom.admits(Kind::Wipe, &Settings::new(), NodeId(node));
        assert!(wipe(&mut doom, 1));
        assert!(!doom.admits_membership(&Membership::of([1, 2].map(NodeId))), "one of two is half");
        assert!(doom.admits_membership(&Membership::of([1, 2, 3].map(NodeId))));
        assert!(!wipe(&mut doom, 2), "of the three that were asked for, one is doomed already");
        assert!(wipe(&mut doom, 4), "of these it is none, and of the five the second");
    }

    #[test]
    fn the_only_voter_that_keeps_the_state_is_not_doomed() {
        let raft = FailureModel { stable_storage: true, tolerated_percent: 50 };
        let group = Membership { witnesses: [2, 3].map(NodeId).into(), ..founders(3) };
        let mut doom = Doom::new(Limits::Survivable, raft, group);
        assert!(!doom.admits(Kind::Wipe, &Settings::new(), NodeId(1)));
        assert!(doom.admits(Kind::Wipe, &Settings::new(), NodeId(2)));
    }

    #[test]
    fn clocks_keep_to_the_bound_that_promises_rest_on() {
        let raft = FailureModel { stable_storage: true, tolerated_percent: 50 };
        let action = |kind, measures: &[(Measure, f64)], settings: &[(Setting, Word)]| Action {
            kind,
            aim: Aim::Nodes(vec![Target::Node(NodeId(1))]),
            measures: measures.iter().map(|(measure, value)| (*measure, Draw::Fixed(*value))).collect(),
            settings: settings.iter().map(|(setting, word)| (*setting, Draw::Fixed(*word))).collect(),
            lasts: None,
        };
        let drift = |ppm| action(Kind::ClockDrift, &[(Measure::Drift, ppm)], &[]);
        let pause = |clock| action(Kind::Pause, &[], &[(Setting::Clock, clock)]);
        let doom = |limits, bound| Doom::new(limits, raft, founders(3)).with_clocks(bound);
        let mut bound = doom(Limits::Survivable, Some(100));
        assert!(bound.admits_clock(&drift(-100.0)) && !bound.admits_clock(&drift(-101.0)));
        assert!(bound.admits_clock(&pause(Word::Runs)) && !bound.admits_clock(&pause(Word::Stops)));
        assert_eq!(bound.withheld(), 2);
        assert!(doom(Limits::Any, Some(100)).admits_clock(&pause(Word::Stops)));
        assert!(doom(Limits::Survivable, None).admits_clock(&drift(500.0)));
    }

    #[test]
    fn a_minority_at_most_is_doomed_and_no_healthy_node_is() {
        let raft = FailureModel { stable_storage: true, tolerated_percent: 50 };
        for (nodes, most) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)] {
            let mut doom = Doom::new(Limits::Survivable, raft, founders(nodes));
            let struck =
                (1..=nodes).filter(|n| doom.admits(Kind::Wipe, &Settings::new(), NodeId(*n))).count();
            assert_eq!(struck, most, "{nodes} nodes");
            assert_eq!(doom.withheld(), u64::from(nodes) - most as u64);
            assert!(
                most == 0 || doom.admits(Kind::BitRot, &Settings::new(), NodeId(1)),
                "it is doomed anyway"
            );
        }
        let mut any = Doom::new(Limits::Any, raft, founders(3));
        assert!((1..=3).all(|node| any.admits(Kind::Wipe, &Settings::new(), NodeId(node))));
        assert!(!any.is_doomed(NodeId(1)), "it comes back, whatever that breaks");
        assert_eq!(any.damaged().len(), 3);
    }

    #[test]
    fn an_error_explains_a_stop_and_corruption_needs_damage() {
        let raft = FailureModel { stable_storage: true, tolerated_percent: 50 };
        let mut doom = Doom::new(Limits::Survivable, raft, founders(3));
        assert!(!doom.explains(NodeId(1), false));
        assert!(doom.admits(Kind::IoError, &Settings::new(), NodeId(1)));
        assert!(doom.explains(NodeId(1), false) && !doom.explains(NodeId(1), true));
        assert!(doom.admits(Kind::BitRot, &Settings::new(), NodeId(1)));
        assert!(doom.explains(NodeId(1), true) && !doom.explains(NodeId(2), true));
    }
}

//! Changes of the membership: by joint consensus (§6) or one voter at a time (dissertation §4.1).
//!
//! A membership is an entry of the log and holds from when it is appended, committed or not. A change goes by
//! steps, each of which must be committed before the next begins:
//!
//! - *Joint*: first a membership in which the old voters and the new ones must agree, each by a majority of
//!   theirs, then the new one. Whoever leads when the joint one is committed takes the second step, so that a
//!   change that has begun is finished by the next leader if need be.
//! - *Single server*: a voter is added or removed at a time, so that the majorities of two successive
//!   memberships overlap. Whoever began takes the next step; with its office the rest of the change is lost,
//!   and what holds then is a membership like any other.
//!
//! What both need is that no change begins before an entry of the leader's own term is committed: otherwise two
//! leaders could each take a step from the same membership (Ongaro on raft-dev, 2015).
//!
//! A leader that is no voter any more leads until that is committed (dissertation §4.2.2), without counting
//! itself, then appoints a successor.

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::{Bug, Effect, Effects, Membership, NodeId, Payload, Rejection, RequestId};

use super::options::ChangeMode;
use super::progress::Progress;
use super::{Raft, Standing};

/// A change that an operator asked this leader for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    pub(super) request: RequestId,
    to: Membership,
}

/// Whether a group can be this: who votes and who learns differ, witnesses are voters, and some voter keeps
/// the state.
fn is_sound(membership: &Membership) -> bool {
    let Membership { voters, outgoing, learners, witnesses } = membership;
    let serves = voters.difference(witnesses).next().is_some();
    serves && outgoing.is_empty() && learners.is_disjoint(voters) && witnesses.is_subset(voters)
}

/// The membership in which both the voters of `from` and those of `to` must agree.
fn joint(from: &Membership, to: &Membership) -> Membership {
    // Who leaves keeps its part until it has left.
    let leaving = from.witnesses.difference(&to.voters);
    let witnesses = to.witnesses.iter().chain(leaving).copied().collect();
    Membership { outgoing: from.voters.clone(), witnesses, ..to.clone() }
}

/// What comes after a joint membership.
fn left(joint: &Membership) -> Membership {
    let witnesses = joint.witnesses.intersection(&joint.voters).copied().collect();
    Membership { outgoing: BTreeSet::new(), witnesses, ..joint.clone() }
}

/// The next step from `from` to `to` that changes one voter at most; `me` is removed last.
pub(super) fn one_step(from: &Membership, to: &Membership, me: NodeId) -> Membership {
    let mut next = from.clone();
    let removed = || from.voters.difference(&to.voters).copied();
    if let Some(added) = to.voters.difference(&from.voters).next() {
        next.voters.insert(*added);
        next.learners.remove(added);
        if to.is_witness(*added) {
            next.witnesses.insert(*added);
        }
    } else if let Some(removed) = removed().find(|node| *node != me).or_else(|| removed().next()) {
        next.voters.remove(&removed);
        next.witnesses.remove(&removed);
        if to.learners.contains(&removed) {
            next.learners.insert(removed);
        }
    } else {
        next = to.clone();
    }
    next
}

impl Raft {
    pub(super) fn reconfigure(&mut self, request: RequestId, to: Membership, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal().or_else(|| self.refusal_of_change(&to)) {
            return fx.push(Effect::Reject { request, reason });
        }
        self.leading_mut().change = Some(Change { request, to });
        self.advance_change(fx);
    }

    fn refusal_of_change(&self, to: &Membership) -> Option<Rejection> {
        let (leading, membership) = (self.leading(), self.log.membership());
        let busy = leading.change.is_some() || leading.handover.is_some();
        let early = self.commit < leading.first && !self.cluster.bugs.has(Bug::ChangeBeforeOwnCommit);
        if !is_sound(to) {
            return Some(Rejection::Unsupported);
        }
        let under_way = self.log.membership_index() > self.commit || membership.is_joint();
        let next = self.next_step(membership, to);
        let refused = busy || early || under_way || !self.keeps_state(membership, &next);
        refused.then_some(Rejection::Overloaded)
    }

    fn next_step(&self, from: &Membership, to: &Membership) -> Membership {
        match self.cluster.options.membership_change {
            ChangeMode::SingleServer => one_step(from, to, self.cluster.me),
            ChangeMode::Joint if from.voters == to.voters => to.clone(),
            ChangeMode::Joint => joint(from, to),
        }
    }

    /// Where there are witnesses, a log that a quorum holds does not make a state. So in the next membership someone
    /// who votes must have all of it; and before anyone may give his up, a quorum must have what it owes.
    fn keeps_state(&self, from: &Membership, to: &Membership) -> bool {
        let leading = self.leading();
        let lacking = leading.peers.iter().any(|peer| peer.lacks.is_some());
        if from.witnesses.is_empty() && to.witnesses.is_empty() && !lacking && !self.lacks_state() {
            return true;
        }
        let keeps = |group: &Membership, node| group.votes(node) && !group.is_witness(node);
        // What a witness has now it may drop before it learns that it is to keep it.
        let has = |node: NodeId| match leading.slot_of(node) {
            _ if from.is_witness(node) => false,
            _ if node == self.cluster.me => !self.lacks_state(),
            Some(slot) => leading.peers[slot].lacks.is_none() && leading.peers[slot].matched >= self.commit,
            None => false,
        };
        let gives_up = from.all().any(|node| keeps(from, node) && !keeps(to, node));
        to.all().any(|node| keeps(to, node) && has(node))
            && (!gives_up || to.is_quorum(|node| to.is_witness(node) || has(node)))
    }

    /// Takes the next step of a change, if the last one is committed.
    pub(super) fn advance_change(&mut self, fx: &mut Effects<Self>) {
        let membership = Arc::clone(self.log.membership());
        let Standing::Leader(leading) = &mut self.standing else { return };
        if self.log.membership_index() > self.commit {
            return;
        }
        let next = match &leading.change {
            None if !membership.is_joint() => None,
            // Planted: only who asked for a joint membership leaves it, or nobody does.
            None if self.cluster.bugs.has(Bug::AutoLeaveLost) => None,
            _ if membership.is_joint() && self.cluster.bugs.has(Bug::JointNeverLeft) => None,
            _ if membership.is_joint() => Some(left(&membership)),
            Some(change) if change.to == *membership => {
                fx.push(Effect::Controlled { request: change.request });
                leading.change = None;
                None
            }
            Some(change) => Some(change.to.clone()),
            None => unreachable!("handled above"),
        };
        match next {
            Some(to) => {
                let next = if membership.is_joint() { to } else { self.next_step(&membership, &to) };
                if self.keeps_state(&membership, &next) {
                    self.append_own(Payload::Membership(next), fx);
                }
            }
            None if !membership.votes(self.cluster.me) => self.abdicate(fx),
            None => {}
        }
    }

    /// The leader appended a membership: from now on it is that one's members that it sends to and counts.
    pub(super) fn regroup(&mut self, before: &Membership) {
        let (me, last) = (self.cluster.me, self.log.last().index);
        let now = Arc::clone(self.log.membership());
        let leading = self.leading_mut();
        // Whoever was a witness has acknowledged a log, and now owes a state too.
        let stays = |peer| now.contains(peer) && (!before.is_witness(peer) || now.is_witness(peer));
        leading.peers.retain(|progress| stays(progress.peer));
        for peer in now.all().filter(|peer| *peer != me) {
            if leading.slot_of(peer).is_none() {
                leading.peers.push(Progress::new(peer, last));
            }
        }
        leading.peers.sort_by_key(|progress| progress.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u16]) -> BTreeSet<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    fn group(voters: &[u16], learners: &[u16], witnesses: &[u16]) -> Membership {
        let (learners, witnesses) = (nodes(learners), nodes(witnesses));
        Membership { voters: nodes(voters), outgoing: BTreeSet::new(), learners, witnesses }
    }

    #[test]
    fn a_sound_group_has_someone_who_votes_and_keeps_the_state() {
        assert!(is_sound(&group(&[1, 2], &[3], &[2])));
        assert!(!is_sound(&group(&[], &[3], &[])), "nobody votes");
        assert!(!is_sound(&group(&[1, 2], &[], &[1, 2])), "nobody keeps the state");
        assert!(!is_sound(&group(&[1, 2], &[2], &[])), "both voter and learner");
        assert!(!is_sound(&group(&[1, 2], &[], &[3])), "a witness that is no voter");
        assert!(!is_sound(&joint(&group(&[1], &[], &[]), &group(&[2], &[], &[]))), "joint");
    }

    #[test]
    fn single_steps_reach_any_membership_one_voter_at_a_time() {
        let (from, to) = (group(&[1, 2, 3], &[4], &[3]), group(&[2, 4, 5], &[1], &[5]));
        let mut path = vec![from];
        while path[path.len() - 1] != to {
            let last = &path[path.len() - 1];
            let next = one_step(last, &to, NodeId(1));
            let changed = last.voters.symmetric_difference(&next.voters).count();
            assert!(changed <= 1 && next != *last && is_sound(&next), "{last} is followed by {next}");
            path.push(next);
        }
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        let expected = [
            "n1,n2,n3 learners n4 witnesses n3",
            "n1,n2,n3,n4 witnesses n3",
            "n1,n2,n3,n4,n5 witnesses n3,n5",
            "n1,n2,n4,n5 witnesses n5",
            "n2,n4,n5 learners n1 witnesses n5",
        ];
        assert_eq!(path, expected);
    }

    #[test]
    fn a_joint_membership_is_left_for_the_one_that_was_asked_for() {
        let (from, to) = (group(&[1, 2, 3], &[4], &[3]), group(&[2, 4, 5], &[1], &[5]));
        let both = joint(&from, &to);
        assert_eq!(both.to_string(), "n2,n4,n5 replacing n1,n2,n3 learners n1 witnesses n3,n5");
        assert_eq!(left(&both), to);
    }
}

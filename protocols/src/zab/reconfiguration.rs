//! Changes of who takes part, and of who leads (Shraer, Reed, Malkhi and Junqueira, *Dynamic
//! Reconfiguration of Primary/Backup Clusters*, ATC 2012).
//!
//! A membership is a transaction. The leader first invites whoever is new and brings them to its
//! history, as observers; once a quorum of the new voters keeps up it proposes the membership, and
//! that, and all behind it, commits when quorums of the old *and* of the new voters hold it. Whoever
//! has it in its history without knowing whether it is committed asks both, in elections too; so each
//! quorum that may be used meets each other one. A second change waits for the first.
//!
//! A leader that is not among the new voters hands over once the change is committed. Handing over
//! skips the election: the successor, who holds all of the leader's history, begins to lead and tells
//! everyone; discovery, which is what counts, follows as after any election.

use std::collections::BTreeSet;

use contract::{Control, Effect, Effects, Epoch, Membership, NodeId, Payload, Rejection, RequestId};

use super::message::{Message, Vote};
use super::{Law, Learner, Phase, Stage, Standing, Then, Zab};

/// Something that the leader is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Who asked for it; `None`: the leader itself, which takes no part any more.
    pub(super) request: Option<RequestId>,
    pub(super) what: What,
    /// How long it has waited.
    ticks: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// To propose a membership, once its voters keep up.
    Reconfigure(Membership),
    /// To hand over, once the successor holds all.
    HandOver { to: NodeId, asked: bool },
}

impl Zab {
    pub(super) fn obey(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        let reject = |reason, fx: &mut Effects<Self>| fx.push(Effect::Reject { request, reason });
        match control {
            _ if self.failed => reject(Rejection::Stopped, fx),
            Control::Campaign if !self.group.votes(self.cluster.me) => reject(Rejection::Unsupported, fx),
            Control::Campaign => {
                if !matches!(self.standing, Standing::Leading(_)) && !self.is_installing() {
                    self.abandon(Then::Look, fx);
                }
                fx.push(Effect::Controlled { request });
            }
            Control::Compact => {
                if !self.is_installing() {
                    self.compact(0, fx);
                }
                fx.push(Effect::Controlled { request });
            }
            Control::Transfer { .. } | Control::Reconfigure { .. } if !self.serves_as_leader() => {
                reject(Rejection::NotLeader { leader: self.serving_leader() }, fx);
            }
            Control::Transfer { to } if to == self.cluster.me => fx.push(Effect::Controlled { request }),
            Control::Transfer { .. } | Control::Reconfigure { .. } if self.is_changing() => {
                reject(Rejection::Overloaded, fx);
            }
            Control::Transfer { to } => {
                let synced = self.leading().learners.get(&to).is_some_and(Learner::is_synced);
                if !synced || !self.group.votes(to) {
                    return reject(Rejection::Unsupported, fx);
                }
                self.change(Some(request), What::HandOver { to, asked: false }, fx);
            }
            Control::Reconfigure { to } => {
                if to.voters.is_empty() || to.is_joint() || !to.witnesses.is_empty() {
                    return reject(Rejection::Unsupported, fx);
                }
                self.change(Some(request), What::Reconfigure(to), fx);
                // Unless that took the last that its epoch had left.
                if self.serves_as_leader() {
                    self.invite_absent(fx);
                }
            }
        }
    }

    /// Whether a change is under way, or proposed and not committed.
    fn is_changing(&self) -> bool {
        self.leading().change.is_some() || self.log.pending_membership(self.commit).is_some()
    }

    /// Whether the leader is about to go, so that it takes no more proposals.
    pub(super) fn is_leaving(&self) -> bool {
        let change = self.leading().change.as_ref();
        let hands_over = change.is_some_and(|change| matches!(change.what, What::HandOver { .. }));
        hands_over || !self.group.voters.contains(&self.cluster.me)
    }

    fn change(&mut self, request: Option<RequestId>, what: What, fx: &mut Effects<Self>) {
        self.leading_mut().change = Some(Change { request, what, ticks: 0 });
        self.go_on_with_change(fx);
    }

    /// Whether what a change waited for has come.
    pub(super) fn go_on_with_change(&mut self, fx: &mut Effects<Self>) {
        let (me, last, epoch) = (self.cluster.me, self.log.last().index, self.accepted);
        let used_up = self.is_used_up();
        let leading = self.leading_mut();
        let Some(change) = &mut leading.change else { return };
        match &mut change.what {
            What::Reconfigure(to) => {
                let learners = &leading.learners;
                let synced = |node| learners.get(&node).is_some_and(Learner::is_synced);
                if to.is_quorum(|node| node == me || synced(node)) {
                    if used_up {
                        return self.abandon(Then::Look, fx);
                    }
                    let (request, to) = (change.request, to.clone());
                    leading.change = None;
                    self.propose_membership(request, to, fx);
                }
            }
            What::HandOver { to, asked } => {
                let to = *to;
                let holds_all = leading.learners.get(&to).is_some_and(|l| l.is_synced() && l.acked >= last);
                if holds_all && !*asked {
                    *asked = true;
                    fx.send(to, Message::HandOver { epoch }, None);
                }
            }
        }
    }

    fn propose_membership(&mut self, request: Option<RequestId>, to: Membership, fx: &mut Effects<Self>) {
        // Who is to vote is sent proposals from here on, this one first.
        let last = self.log.last().index;
        let Self { log, standing: Standing::Leading(leading), .. } = self else {
            panic!("only leaders propose")
        };
        for (node, learner) in &mut leading.learners {
            if to.votes(*node) && learner.observes {
                learner.observes = false;
                if learner.is_forwarded() {
                    for entry in log.between(learner.sent, last) {
                        fx.send(*node, Message::Propose { entry }, None);
                    }
                    learner.sent = last;
                }
            }
        }
        let mark = self.broadcast(Payload::Membership(to), fx);
        if let Some(request) = request {
            fx.push(Effect::Proposed { request, mark });
        }
        self.advance(fx);
    }

    /// A membership is committed: who is in none of its sets is sent nothing more.
    pub(super) fn activate(&mut self, fx: &mut Effects<Self>) {
        let group = &self.group;
        assert!(!group.is_joint(), "a committed membership needs no other");
        let me = self.cluster.me;
        let Standing::Leading(leading) = &mut self.standing else { panic!("leaders activate") };
        leading.learners.retain(|node, _| group.contains(*node));
        for (node, learner) in &mut leading.learners {
            learner.observes = !group.votes(*node);
        }
        if group.votes(me) {
            // Whose word reads still wait for may have no say any more, and will not be heard again.
            return self.finish_reads(fx);
        }
        let synced = leading.learners.iter().filter(|(_, learner)| learner.is_synced() && !learner.observes);
        match synced.max_by_key(|(node, learner)| (learner.acked, **node)).map(|(node, _)| *node) {
            Some(to) => self.change(None, What::HandOver { to, asked: false }, fx),
            None => self.abandon(Then::Look, fx),
        }
    }

    /// A tick: a change that waits for too long is given up.
    pub(super) fn count_change(&mut self, fx: &mut Effects<Self>) {
        let limit = self.cluster.options.init_limit;
        let Some(change) = &mut self.leading_mut().change else { return };
        change.ticks += 1;
        if change.ticks <= limit {
            return;
        }
        match self.leading_mut().change.take().and_then(|change| change.request) {
            Some(request) => fx.push(Effect::Reject { request, reason: Rejection::Unsupported }),
            None => self.abandon(Then::Look, fx),
        }
    }

    /// Asks those to come who take part, or are to, and are not here: a member that does not know of the
    /// present membership could look for its leader in vain.
    pub(super) fn invite_absent(&mut self, fx: &mut Effects<Self>) {
        let (me, epoch) = (self.cluster.me, self.accepted);
        self.leading_mut().uninvited = 0;
        let leading = self.leading();
        let planned = match leading.change.as_ref().map(|change| &change.what) {
            Some(What::Reconfigure(to)) => Some(to),
            _ => None,
        };
        let mut absent: BTreeSet<NodeId> = self.group.all().collect();
        absent.extend(planned.into_iter().flat_map(Membership::all));
        absent.retain(|node| *node != me && !leading.learners.contains_key(node));
        for node in absent {
            fx.send(node, Message::Invite { epoch: Some(epoch) }, None);
        }
    }

    /// Somebody leads, or is about to.
    pub(super) fn on_invite(&mut self, from: NodeId, epoch: Option<Epoch>, fx: &mut Effects<Self>) {
        if self.is_installing() {
            return;
        }
        let is_of_this_epoch = epoch == Some(self.accepted);
        match &mut self.standing {
            // Whatever its epoch: an older one than was accepted is refused in discovery.
            Standing::Resting | Standing::Looking(_) => {
                self.abandon(Then::Follow(from), fx);
            }
            Standing::Following(following)
                if following.leader != from && (following.phase == Phase::Discovery || is_of_this_epoch) =>
            {
                self.abandon(Then::Follow(from), fx);
            }
            // It leads nobody yet, and may have agreed to whoever invites it.
            Standing::Leading(leading) if leading.stage < Stage::Synchronisation => {
                self.abandon(Then::Follow(from), fx);
            }
            Standing::Leading(leading) if leading.stage > Stage::Electing && is_of_this_epoch => {
                let Some(Change { request, what: What::HandOver { to, .. }, .. }) = leading.change.take()
                else {
                    return self.breaks(Law::EpochUniqueness);
                };
                if to != from {
                    return self.breaks(Law::EpochUniqueness);
                }
                request.into_iter().for_each(|request| fx.push(Effect::Controlled { request }));
                let member = self.group.contains(self.cluster.me);
                self.abandon(if member { Then::Follow(from) } else { Then::Rest }, fx);
            }
            _ => {}
        }
    }

    /// The leader hands over to this server.
    pub(super) fn on_hand_over(&mut self, epoch: Epoch, fx: &mut Effects<Self>) {
        let following = self.following_mut();
        if following.phase != Phase::Broadcast || following.epoch != epoch {
            return self.breaks(Law::PrimaryOrder);
        }
        let leader = following.leader;
        if self.group.votes(self.cluster.me) {
            self.abandon(Then::Lead, fx);
            // The old leader hears it too, whether it is a member still or not.
            let members = self.group.all().filter(|node| *node != leader && *node != self.cluster.me);
            for node in members.chain([leader]) {
                fx.send(node, Message::Invite { epoch: Some(epoch) }, None);
            }
        }
    }

    /// The vote by which a server follows or leads without an election.
    pub(super) fn vote_for(&self, leader: NodeId) -> Vote {
        Vote { summary: self.summary(), leader }
    }
}

#[cfg(test)]
mod tests {
    use contract::{Cluster, Mark, Recovered, Replica};

    use super::*;

    /// It agreed to somebody while it led nobody, and somebody else came first.
    #[test]
    fn an_invitation_from_an_election_comes_too_late_for_one_who_leads() {
        let mut fx = Effects::default();
        let durable = Recovered { records: Vec::new(), applied: Mark::ZERO };
        let mut zab = Zab::start(&Cluster::new(NodeId(2), 3, Default::default()), durable, &mut fx);
        zab.abandon(Then::Lead, &mut fx);
        zab.leading_mut().stage = Stage::Synchronisation;
        zab.on_message(NodeId(3), Message::Invite { epoch: None }, &mut fx);
        assert!(matches!(zab.standing, Standing::Leading(_)), "it goes on");
        assert_eq!(zab.broken_law(), None, "nobody has claimed its epoch");
        zab.on_message(NodeId(3), Message::Invite { epoch: Some(zab.accepted) }, &mut fx);
        assert_eq!(zab.broken_law(), Some(Law::EpochUniqueness));
    }
}

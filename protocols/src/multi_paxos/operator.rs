//! What an operator asks for: elections, transfers, changes of the membership, compaction.
//!
//! **A change of the membership** is a value like any other, and a *stop sign*: the leader proposes nothing
//! behind it until it is decided, and all slots behind it are the new membership's. The other way, by which
//! a membership comes into force α slots later (Paxos Made Simple, §3), never stops the window, but two
//! memberships decide slots of one window, a leader needs Phase 1 with both, and a change takes effect only
//! once α more slots are filled. Changes are rare, and this one costs a round trip.
//!
//! Its dangers, and what is against them:
//!
//! - *The new members are not there.* Nothing could be decided any more. So the leader first takes them for
//!   peers, which catch up, and proposes the change once a quorum of Phase 1 of them is at most a window
//!   behind.
//! - *The old members go, and with them what only they hold.* So a voter counts in Phase 1 only once it
//!   knows the membership by which it counts, and with that, durably, all that was decided before.
//! - *Who is removed does not hear of it.* It remains a peer until it does; after a change of leaders it
//!   finds out when it probes, for it is refused, and told the commit index.
//! - *The leader is removed.* Having committed that, it tells all, asks the voter that knows most to stand,
//!   and steps down.
//! - *Only those who are removed know that they are.* Each of them tells the voters, as often as it would
//!   have probed, until a quorum of Phase 1 of them has said that it knows. Only then it rests.

use std::collections::BTreeSet;

use contract::{Control, Effect, Effects, Epoch, Index, Membership, NodeId, Payload, Rejection, RequestId};

use super::message::Message;
use super::{MultiPaxos, Standing, Timer};

/// A change of the membership that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// The request, while the change waits for its voters to catch up: then it is queued.
    pub(super) request: Option<RequestId>,
    pub(super) to: Membership,
}

/// Another replica was asked to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) request: RequestId,
    pub(super) to: NodeId,
    /// It was asked before the leader last counted.
    is_old: bool,
}

impl MultiPaxos {
    pub(super) fn carry_out(&mut self, request: RequestId, control: Control, fx: &mut Effects<Self>) {
        let leader_only = matches!(control, Control::Transfer { .. } | Control::Reconfigure { .. });
        if leader_only && !self.leads() {
            let reason = Rejection::NotLeader { leader: self.leader() };
            return fx.push(Effect::Reject { request, reason });
        }
        let done = match control {
            Control::Campaign => self.stand(fx),
            Control::Compact => {
                self.compact(0, fx);
                true
            }
            Control::Transfer { to } => return self.transfer(request, to, fx),
            Control::Reconfigure { to } => return self.reconfigure(request, to, fx),
        };
        let reason = Rejection::Unsupported;
        fx.push(if done { Effect::Controlled { request } } else { Effect::Reject { request, reason } });
    }

    fn stand(&mut self, fx: &mut Effects<Self>) -> bool {
        // Where leases are given, whoever trusts a leader promises nobody anything: not itself either.
        let bound = self.cluster.options.lease_reads && self.trusts();
        if !self.votes() || self.incoming.is_some() || bound {
            return false;
        }
        if !self.leads() {
            self.campaign(false, fx);
        }
        true
    }

    fn transfer(&mut self, request: RequestId, to: NodeId, fx: &mut Effects<Self>) {
        if to == self.cluster.me {
            return fx.push(Effect::Controlled { request });
        }
        if !self.config.members.votes(to) || self.proposer().transfer.is_some() {
            return fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
        }
        self.proposer().transfer = Some(Transfer { request, to, is_old: false });
        self.ask_to_stand(to, fx);
    }

    fn ask_to_stand(&mut self, to: NodeId, fx: &mut Effects<Self>) {
        let ballot = self.promised;
        let lease = &mut self.proposer().lease;
        lease.drop_lease();
        lease.given_up = true;
        fx.send(to, Message::Stand { ballot }, None);
    }

    /// Whoever was asked has had an election timeout: it is not coming.
    pub(super) fn transfer_takes_time(&mut self, fx: &mut Effects<Self>) {
        match &mut self.proposer().transfer {
            Some(Transfer { request, is_old: true, .. }) => {
                let request = *request;
                self.proposer().transfer = None;
                fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
            }
            Some(transfer) => transfer.is_old = true,
            None => {}
        }
    }

    /// The leader of a ballot asks this replica to take its place.
    pub(super) fn on_stand(&mut self, ballot: Epoch, fx: &mut Effects<Self>) {
        let is_free = !matches!(self.standing, Standing::Proposer(_)) && self.incoming.is_none();
        if ballot >= self.promised && is_free && self.votes() {
            self.seen = ballot.max(self.seen);
            self.campaign(true, fx);
        }
    }

    fn reconfigure(&mut self, request: RequestId, to: Membership, fx: &mut Effects<Self>) {
        if to == self.config.members {
            return fx.push(Effect::Controlled { request });
        }
        let sound = to.witnesses.is_empty()
            && to.outgoing.is_empty()
            && to.voters.is_disjoint(&to.learners)
            && !to.voters.is_empty()
            && self.cluster.options.quorums(to.voters.len()).is_ok();
        if !sound || self.is_changing() {
            return fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
        }
        let change = Change { request: Some(request), to };
        if let Some(request) = self.proposer().change.replace(change).and_then(|given_up| given_up.request) {
            fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
        }
        self.keep_peers();
        self.broadcast(fx);
        self.consider_change();
        self.proceed(fx);
    }

    /// Whether a change of the membership is proposed, or about to be.
    fn is_changing(&mut self) -> bool {
        let is_change = |payload: &Payload| matches!(payload, Payload::Membership(_));
        let open = self.slots.from(self.commit.next()).any(|slot| is_change(&slot.entry.payload));
        let proposer = self.proposer();
        open || proposer.adopted.values().any(|entry| is_change(&entry.payload))
            || proposer.queue.iter().any(|(_, payload)| is_change(payload))
    }

    /// Proposes the change that waits once enough of its voters have caught up.
    pub(super) fn consider_change(&mut self) {
        let (me, commit, window) = (self.cluster.me, self.commit, self.cluster.options.window);
        let Standing::Proposer(proposer) = &mut self.standing else { return };
        let Some(change) = &mut proposer.change else { return };
        let is_near = |node: &NodeId| {
            let near = proposer.peers.get(node).filter(|peer| peer.active);
            *node == me || near.is_some_and(|peer| peer.commit.0 + window >= commit.0)
        };
        let ready = change.to.voters.iter().filter(|node| is_near(node)).count();
        let quorums = self.cluster.options.quorums(change.to.voters.len());
        if ready >= quorums.expect("checked when it was asked for").first
            && let Some(request) = change.request.take()
        {
            proposer.queue.push_back((request, Payload::Membership(change.to.clone())));
        }
    }

    /// A membership has come into force.
    pub(super) fn enter_membership(&mut self, fx: &mut Effects<Self>) {
        self.retire();
        let votes = self.votes();
        let (is_proposer, leads) = (matches!(self.standing, Standing::Proposer(_)), self.leads());
        if is_proposer {
            self.proposer().change = None;
            self.keep_peers();
        }
        if is_proposer && votes {
            self.proposer().lease.drop_lease();
            if leads {
                self.broadcast(fx);
            }
            if !self.has_phase_one() {
                self.ask_promises(fx);
            }
        } else if is_proposer {
            if leads {
                self.hand_over(fx);
            }
            self.follow(None, false, fx);
        } else if !self.trusts() {
            self.follow(None, false, fx);
        }
    }

    /// The last act of a leader that is no longer a voter.
    fn hand_over(&mut self, fx: &mut Effects<Self>) {
        self.broadcast(fx);
        let peers = &self.proposer().peers.clone();
        let voters = self.other_voters().filter_map(|voter| Some((peers.get(&voter)?.commit, voter)));
        if let Some((_, to)) = voters.max_by_key(|(commit, voter)| (*commit, std::cmp::Reverse(*voter))) {
            self.ask_to_stand(to, fx);
        }
    }

    /// Whoever knows of a membership in which it has no vote sees to it that those know who have.
    pub(super) fn retire(&mut self) {
        let in_doubt = !self.votes() && self.config.since > Index::ZERO;
        self.retiring = in_doubt.then(BTreeSet::new);
    }

    /// Tells the voters how far the log is decided: they ask for what they lack.
    pub(super) fn announce(&mut self, fx: &mut Effects<Self>) {
        let Some(informed) = &self.retiring else { return };
        let (ballot, commit) = (self.promised, self.commit);
        for voter in self.other_voters().filter(|voter| !informed.contains(voter)) {
            fx.send(voter, Message::Probe { ballot, commit }, None);
        }
    }

    /// A replica has told how far it knows the log to be decided.
    pub(super) fn note_informed(&mut self, node: NodeId, commit: Index, fx: &mut Effects<Self>) {
        let first = self.quorums().first;
        let Some(informed) = &mut self.retiring else { return };
        if commit >= self.config.since && self.config.members.votes(node) {
            informed.insert(node);
        }
        if informed.len() >= first {
            self.retiring = None;
            fx.push(Effect::CancelTimer(Timer::Election));
        }
    }

    /// Forgets the peers that take no part, once they know of it.
    pub(super) fn drop_informed_peers(&mut self) {
        let Self { standing: Standing::Proposer(proposer), config, .. } = self else { return };
        let joins = |node: &NodeId| proposer.change.as_ref().is_some_and(|change| change.to.contains(*node));
        proposer
            .peers
            .retain(|node, peer| config.members.contains(*node) || joins(node) || peer.commit < config.since);
    }
}

//! Broadcast (phase 3): the leader proposes transactions in its order, each behind the last; whoever
//! holds one durably acknowledges all up to it; what a quorum acknowledged is committed, in order.
//!
//! A follower that still takes over the leader's history is sent the proposals too: they stand behind
//! that history in its stream. Its acknowledgements count once it has acknowledged the history.

use contract::{Bug, Effect, Effects, Entry, Index, Mark, Membership, NodeId, Payload};

use super::message::Message;
use super::{Law, Phase, Stage, Standing, Then, Zab};

/// The leader's side.
impl Zab {
    /// Proposes a transaction. The leader itself counts towards the quorum when its write is durable,
    /// like everyone else.
    pub(super) fn broadcast(&mut self, payload: Payload, fx: &mut Effects<Self>) -> Mark {
        assert!(self.serves_as_leader(), "only an established leader broadcasts");
        let mark = Mark { epoch: self.accepted, index: self.log.last().index.next() };
        assert!(self.counter_of(mark) <= self.cluster.options.max_counter, "counters do not overflow");
        let entry = Entry { mark, payload };
        self.store(vec![entry.clone()], fx);
        let planted = self.cluster.bugs.has(Bug::ProposalsToSyncedOnly);
        let leading = self.leading_mut();
        for (node, learner) in &mut leading.learners {
            let is_told = if planted { learner.is_synced() } else { learner.is_forwarded() };
            if is_told && !learner.observes {
                fx.send(*node, Message::Propose { entry: entry.clone() }, None);
                learner.sent = mark.index;
            }
        }
        mark
    }

    /// A transaction's place in its leader's epoch, from 1: the counter of its zxid.
    fn counter_of(&self, mark: Mark) -> u64 {
        mark.index.0 - self.leading().first.0 + 1
    }

    /// Whether the next transaction would need a new epoch.
    pub(super) fn is_used_up(&self) -> bool {
        let next = Mark { epoch: self.accepted, index: self.log.last().index.next() };
        self.counter_of(next) > self.cluster.options.max_counter
    }

    pub(super) fn on_ack(&mut self, from: NodeId, index: Index, fx: &mut Effects<Self>) {
        let last = self.log.last().index;
        let learner = self.learner_mut(from);
        if index > last || !learner.is_forwarded() {
            return self.breaks(Law::Integrity);
        }
        learner.acked = index.max(learner.acked);
        self.advance(fx);
    }

    /// Up to where a quorum holds the history. While a membership is pending, it and all behind it need
    /// a quorum of those who are replaced and one of those who replace them; what stands before it, the
    /// former alone.
    fn agreed(&self) -> Index {
        let held = |node: NodeId| {
            let learner = self.leading().learners.get(&node).filter(|learner| learner.is_synced());
            match node == self.cluster.me {
                true => self.log.durable(),
                false => learner.map_or(Index::ZERO, |learner| learner.acked),
            }
        };
        let agreed = |group: &Membership| {
            let held_by_voters = group.voters.iter().chain(&group.outgoing).map(|voter| held(*voter));
            let by_quorum = held_by_voters.filter(|index| group.is_quorum(|node| held(node) >= *index));
            by_quorum.max().unwrap_or(Index::ZERO)
        };
        match self.log.pending_membership(self.commit) {
            None => agreed(&self.group),
            Some(pending) => {
                let before = agreed(self.log.membership_at(pending.prev()));
                agreed(&self.group).max(before.min(pending.prev()))
            }
        }
    }

    /// Commits what a quorum holds, in order.
    pub(super) fn advance_commit(&mut self, fx: &mut Effects<Self>) {
        let agreed = self.agreed();
        if agreed > self.commit {
            let regrouped = self.commit_to(agreed, fx);
            for (node, learner) in &self.leading().learners {
                if learner.is_forwarded() && !learner.observes {
                    fx.send(*node, Message::Commit { index: agreed }, None);
                }
            }
            self.inform_observers(fx);
            if regrouped {
                return self.activate(fx);
            }
        }
        self.go_on_with_change(fx);
    }

    /// Observers are sent what is committed, once it is.
    pub(super) fn inform_observers(&mut self, fx: &mut Effects<Self>) {
        let commit = self.commit;
        let Self { log, standing: Standing::Leading(leading), .. } = self else {
            panic!("only leaders inform")
        };
        for (node, learner) in &mut leading.learners {
            if learner.is_forwarded() && learner.observes {
                let entries = log.between(learner.sent.min(commit), commit);
                learner.sent = commit.max(learner.sent);
                fx.send(*node, Message::Inform { entries, commit }, None);
            }
        }
    }
}

/// The learner's side.
impl Zab {
    pub(super) fn on_propose(&mut self, from: NodeId, entry: Entry, fx: &mut Effects<Self>) {
        let (index, epoch) = (entry.mark.index, entry.mark.epoch);
        let following = self.following_mut();
        if following.phase < Phase::Acknowledged || epoch != following.epoch {
            return self.breaks(Law::PrimaryOrder);
        }
        let prev = self.history_end();
        if index != prev.index.next() {
            return self.breaks(Law::PrimaryOrder);
        }
        if let Some(token) = self.take_in(vec![entry], fx) {
            fx.send(from, Message::Ack { index }, Some(token));
        }
    }

    /// All up to `index` is committed. Before UPTODATE that is noted, and delivered then.
    pub(super) fn on_commit(&mut self, index: Index, fx: &mut Effects<Self>) {
        if index > self.history_end().index {
            return self.breaks(Law::Integrity);
        }
        let regrouped = self.commit_to(index.min(self.log.last().index).max(self.commit), fx);
        // Who is not a member yet stays: it was invited.
        if regrouped && !self.group.contains(self.cluster.me) {
            self.abandon(Then::Rest, fx);
        }
    }

    /// What an observer is told.
    pub(super) fn on_inform(&mut self, entries: Vec<Entry>, commit: Index, fx: &mut Effects<Self>) {
        let prev = self.history_end();
        if self.following_mut().phase < Phase::Acknowledged || !self.follows_on(prev, &entries) {
            return self.breaks(Law::PrimaryOrder);
        }
        self.take_in(entries, fx);
        self.on_commit(commit, fx);
    }
}

impl Zab {
    /// Whether this server leads, and a quorum has acknowledged that.
    pub(super) fn serves_as_leader(&self) -> bool {
        matches!(&self.standing, Standing::Leading(leading) if leading.stage == Stage::Broadcast)
    }

    /// Whether transactions may be handed to the service. Not before UPTODATE: what a learner cut off or
    /// took over before is durable by then, so that the service is never beside its journal.
    fn may_deliver(&self) -> bool {
        match &self.standing {
            Standing::Leading(leading) => leading.stage == Stage::Broadcast,
            Standing::Following(following) => following.phase == Phase::Broadcast,
            Standing::Looking(_) | Standing::Resting => false,
        }
    }

    /// Notes up to where the history is committed. Whether that includes a membership that was pending.
    pub(super) fn commit_to(&mut self, index: Index, fx: &mut Effects<Self>) -> bool {
        assert!(index >= self.commit, "a commit index never falls");
        assert!(index <= self.log.last().index, "only transactions that exist are committed");
        assert!(!self.is_installing(), "the service's state is being replaced");
        let pending = self.log.pending_membership(self.commit);
        self.commit = index;
        let regrouped = pending.is_some_and(|pending| pending <= index);
        if regrouped {
            self.regroup();
        }
        self.deliver(fx);
        regrouped
    }

    /// Hands to the service what is committed, in order; a membership only once it is durable here, so
    /// that who takes part is known of all that the service includes.
    pub(super) fn deliver(&mut self, fx: &mut Effects<Self>) {
        if !self.may_deliver() {
            return;
        }
        let volatile = self.log.volatile_membership(self.delivered).map(Index::prev);
        let to = volatile.map_or(self.commit, |stop| stop.min(self.commit));
        if to > self.delivered {
            fx.push(Effect::Commit(self.log.between(self.delivered, to)));
            self.delivered = to;
        }
    }
}

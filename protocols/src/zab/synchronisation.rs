//! Synchronisation (phase 2): the leader's history becomes that of its learners.
//!
//! A learner told where its history ends. The leader finds where the two part, in one step (see the
//! module documentation): it has the learner cut off what stands behind (TRUNC), sends what it lacks
//! (DIFF), or its service's state if that has left the log (SNAP), and then says so (NEWLEADER). The
//! learner writes the history, *then* that it is the epoch's (`currentEpoch`), *then* acknowledges:
//! the journal keeps the order, and the acknowledgement waits for the last of these writes.
//!
//! Once a quorum acknowledged, the epoch is established, and all of the leader's history committed.

use contract::{Bug, Effect, Effects, Entry, Epoch, Index, Mark, NodeId, Token};

use super::learner::{Learner, Step};
use super::message::Message;
use super::record::Record;
use super::{Law, Phase, Stage, Standing, Then, Timer, Zab};

/// The leader's side.
impl Zab {
    /// Brings a learner's history to the own one. From here on it is sent every proposal too.
    pub(super) fn synchronise(&mut self, node: NodeId, fx: &mut Effects<Self>) {
        let Step::Promised(promise) = self.learner_mut(node).step else {
            panic!("a learner is synchronised once it accepted the epoch");
        };
        let theirs = promise.summary.last;
        let Some(agreed) = self.log.agreement(theirs) else {
            return self.begin_snapshot(node, promise.staged, fx);
        };
        if agreed != theirs {
            fx.send(node, Message::Trunc { to: agreed }, None);
        }
        self.send_history(node, agreed, fx);
    }

    /// Sends what stands behind `after`, and NEWLEADER. An observer is sent what is committed.
    pub(super) fn send_history(&mut self, node: NodeId, after: Mark, fx: &mut Effects<Self>) {
        let observes = self.learner_mut(node).observes;
        let end = if observes { self.commit.max(after.index) } else { self.log.last().index };
        let last = self.log.mark_at(end);
        let limit = self.cluster.options.max_diff_entries as u64;
        let mut prev = after;
        loop {
            let to = self.log.mark_at(Index(end.0.min(prev.index.0 + limit)));
            let entries = self.log.between(prev.index, to.index);
            fx.send(node, Message::Diff { prev, entries }, None);
            prev = to;
            if prev == last {
                break;
            }
        }
        fx.send(node, Message::NewLeader { epoch: self.accepted, last }, None);
        let learner = self.learner_mut(node);
        (learner.step, learner.sent) = (Step::Synchronising(last), end);
    }

    /// A learner durably holds the history that it was sent.
    pub(super) fn on_ack_leader(&mut self, from: NodeId, epoch: Epoch, last: Mark, fx: &mut Effects<Self>) {
        let (accepted, commit) = (self.accepted, self.commit);
        let leading = self.leading_mut();
        let learner = leading.learners.get_mut(&from).expect("it was found where the message entered");
        if epoch != accepted || learner.step != Step::Synchronising(last) {
            return self.breaks(Law::Integrity);
        }
        learner.step = Step::Synced;
        learner.acked = last.index.max(learner.acked);
        if leading.stage == Stage::Broadcast {
            fx.send(from, Message::UpToDate { commit: commit.min(learner.sent) }, None);
        }
        self.advance(fx);
    }

    /// Once a quorum holds the history: all of it is committed, and the leader serves.
    pub(super) fn establish(&mut self, fx: &mut Effects<Self>) {
        if !self.has_quorum(Learner::is_synced) {
            return;
        }
        assert_eq!(self.log.last().index.next(), self.leading().first, "nothing was proposed yet");
        self.leading_mut().stage = Stage::Broadcast;
        fx.push(Effect::CancelTimer(Timer::Limit));
        let regrouped = self.commit_to(self.log.last().index, fx);
        self.inform_observers(fx);
        let commit = self.commit;
        for (node, learner) in self.leading().learners.iter().filter(|(_, learner)| learner.is_synced()) {
            fx.send(*node, Message::UpToDate { commit: commit.min(learner.sent) }, None);
        }
        if regrouped {
            self.activate(fx);
        }
    }
}

/// The learner's side.
impl Zab {
    /// What stands behind `to` is not the leader's. None of it can have been delivered here: what is
    /// committed is in the history of every later leader.
    pub(super) fn on_trunc(&mut self, to: Mark, fx: &mut Effects<Self>) {
        if to.index < self.commit || !self.log.holds(to) {
            return self.breaks(Law::Agreement);
        }
        if self.following_mut().phase != Phase::Synchronisation || to == self.log.last() {
            return self.breaks(Law::PrimaryOrder);
        }
        self.begin_to_take_over(fx);
        assert!(to.index >= self.delivered, "what was delivered is never undone");
        self.log.truncate(to.index);
        self.regroup();
        fx.persist(vec![Record::Truncated { last: to }]);
    }

    pub(super) fn on_diff(&mut self, prev: Mark, entries: Vec<Entry>, fx: &mut Effects<Self>) {
        if self.following_mut().phase != Phase::Synchronisation || !self.follows_on(prev, &entries) {
            return self.breaks(Law::PrimaryOrder);
        }
        self.begin_to_take_over(fx);
        self.take_in(entries, fx);
    }

    /// All of the leader's history has come: it is the epoch's, from here on.
    pub(super) fn on_new_leader(&mut self, from: NodeId, epoch: Epoch, last: Mark, fx: &mut Effects<Self>) {
        let following = self.following_mut();
        if epoch != following.epoch || following.phase != Phase::Synchronisation {
            return self.breaks(Law::EpochUniqueness);
        }
        following.phase = Phase::Acknowledged;
        if last != self.history_end() {
            return self.breaks(Law::PrimaryOrder);
        }
        self.incoming = None;
        self.current = epoch.max(self.current);
        let token = self.save_epochs(fx);
        let after = (!self.cluster.bugs.has(Bug::NewLeaderAckedEarly)).then_some(token);
        fx.send(from, Message::AckLeader { epoch, last }, after);
    }

    /// A quorum holds the leader's history: what it says to be committed may be delivered.
    pub(super) fn on_up_to_date(&mut self, from: NodeId, commit: Index, fx: &mut Effects<Self>) {
        let following = self.following_mut();
        if following.phase != Phase::Acknowledged {
            return self.breaks(Law::PrimaryOrder);
        }
        following.phase = Phase::Broadcast;
        let unlogged = std::mem::take(&mut following.unlogged);
        if let Some(last) = unlogged.last().map(|entry| entry.mark.index) {
            let token = self.store(unlogged, fx);
            fx.send(from, Message::Ack { index: last }, Some(token));
        }
        self.arm_sync_limit(fx);
        self.on_commit(commit, fx);
    }

    /// Whether entries follow the history that has come so far, and each other.
    pub(super) fn follows_on(&mut self, prev: Mark, entries: &[Entry]) -> bool {
        let accepted = self.accepted;
        let mut before = prev;
        prev == self.history_end()
            && entries.iter().all(|entry| {
                let follows = entry.mark.index == before.index.next() && entry.mark.epoch >= before.epoch;
                before = entry.mark;
                follows && entry.mark.epoch <= accepted
            })
    }

    /// The last transaction that has come.
    pub(super) fn history_end(&mut self) -> Mark {
        let last = self.log.last();
        self.following_mut().unlogged.last().map_or(last, |entry| entry.mark)
    }

    /// Writes what the leader sent.
    pub(super) fn take_in(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) -> Option<Token> {
        let planted = self.cluster.bugs.has(Bug::DiffNotLogged);
        let following = self.following_mut();
        if planted && following.phase < Phase::Broadcast {
            following.unlogged.extend(entries);
            return None;
        }
        (!entries.is_empty()).then(|| self.store(entries, fx))
    }

    /// Planted: [`Bug::EpochBeforeHistory`].
    fn begin_to_take_over(&mut self, fx: &mut Effects<Self>) {
        if self.cluster.bugs.has(Bug::EpochBeforeHistory) && self.current < self.accepted {
            self.current = self.accepted;
            self.save_epochs(fx);
        }
    }
}

impl Zab {
    /// Writes transactions, and adds them to the history.
    pub(super) fn store(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) -> Token {
        assert!(!entries.is_empty(), "a write writes something");
        let token = fx.persist(entries.iter().cloned().map(Record::Entry).collect());
        for entry in entries {
            self.log.append(entry, token);
        }
        self.regroup();
        token
    }

    fn arm_sync_limit(&self, fx: &mut Effects<Self>) {
        let options = &self.cluster.options;
        let limit = options.tick_time * options.sync_limit;
        fx.push(Effect::SetTimer { timer: Timer::Limit, within: limit..=limit });
    }

    /// The leader was heard.
    pub(super) fn arm_limit(&mut self, fx: &mut Effects<Self>) {
        match self.following_mut().phase {
            Phase::Broadcast => self.arm_sync_limit(fx),
            Phase::Discovery | Phase::Synchronisation | Phase::Acknowledged => self.arm_init_limit(fx),
        }
    }

    /// A recovery took too long, or the leader is silent.
    pub(super) fn on_limit_timer(&mut self, fx: &mut Effects<Self>) {
        match &self.standing {
            Standing::Following(following) if following.phase == Phase::Broadcast => {
                self.abandon(Then::Look, fx);
            }
            Standing::Following(_) => self.abandon(Then::Pause, fx),
            Standing::Leading(leading) if leading.stage < Stage::Broadcast => {
                self.abandon(Then::Pause, fx);
            }
            _ => {}
        }
    }
}

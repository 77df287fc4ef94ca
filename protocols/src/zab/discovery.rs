//! Discovery (phase 1): the leader finds an epoch above all that a quorum has accepted, and the quorum
//! promises to follow none below it. Since each server promises an epoch once, no two leaders are
//! promised the same one by a quorum.
//!
//! The leader's history must be as recent as that of everyone who promises, or it could lack what is
//! committed: a leader that hears of a later one gives up. (The election saw to it; but it goes by what
//! was told some time ago.)

use contract::{Bug, Effect, Effects, Epoch, NodeId, Token};

use super::learner::{Learner, Promise, Step};
use super::message::{Message, Vote};
use super::read::Reads;
use super::record::Record;
use super::{Following, Law, Leading, Phase, Stage, Standing, Then, Timer, Zab};

/// The leader's side.
impl Zab {
    /// Was elected, or was handed the office: waits for learners.
    pub(super) fn lead(&mut self, vote: Vote, fx: &mut Effects<Self>) {
        assert!(self.group.votes(self.cluster.me), "only voters lead");
        assert!(!self.is_installing(), "a leader's history stands");
        let early = std::mem::take(&mut self.early);
        let group = &self.group;
        let learners = early.into_iter().map(|(node, epoch)| (node, Learner::new(epoch, !group.votes(node))));
        self.standing = Standing::Leading(Leading {
            vote,
            stage: Stage::Connecting,
            learners: learners.collect(),
            own: None,
            first: self.log.last().index.next(),
            reads: Reads::default(),
            change: None,
            uninvited: 0,
        });
        self.incoming = None;
        self.arm_tick(fx);
        self.arm_init_limit(fx);
        self.advance(fx);
    }

    /// A learner comes.
    pub(super) fn on_cepoch(&mut self, from: NodeId, accepted: Epoch, fx: &mut Effects<Self>) {
        match &mut self.standing {
            Standing::Leading(leading) => {
                leading.learners.insert(from, Learner::new(accepted, !self.group.votes(from)));
                // What it asked over an earlier connection it does not wait for any more.
                leading.reads.forget(from);
                if leading.stage > Stage::Connecting {
                    let (epoch, own) = (self.accepted, leading.own);
                    return fx.send(from, Message::NewEpoch { epoch }, own);
                }
                self.advance(fx);
            }
            Standing::Looking(_) => drop(self.early.insert(from, accepted)),
            // The leader itself looks for another one. What it says goes with the connection over which it came.
            Standing::Following(following) if following.leader == from => self.abandon(Then::Look, fx),
            Standing::Following(_) | Standing::Resting => fx.disconnect(from),
        }
    }

    /// Once a quorum came: proposes an epoch that is above all theirs, behind its own promise.
    pub(super) fn propose_epoch(&mut self, fx: &mut Effects<Self>) {
        if !self.has_quorum(|_| true) {
            return;
        }
        let known = self.leading().learners.values().map(|learner| learner.accepted);
        let highest = known.fold(self.accepted, Epoch::max);
        self.accepted = highest.next();
        let token = self.save_epochs(fx);
        let epoch = self.accepted;
        let leading = self.leading_mut();
        leading.stage = Stage::Electing;
        leading.own = Some(token);
        for node in leading.learners.keys() {
            fx.send(*node, Message::NewEpoch { epoch }, Some(token));
        }
        self.arm_init_limit(fx);
    }

    /// A learner accepted the epoch.
    pub(super) fn on_ack_epoch(&mut self, from: NodeId, promise: Promise, fx: &mut Effects<Self>) {
        let votes = self.group.votes(from);
        let own = self.summary();
        let leading = self.leading_mut();
        let learner = leading.learners.get_mut(&from).expect("it was found where the message entered");
        if learner.step != Step::Connected || leading.stage == Stage::Connecting {
            return;
        }
        learner.step = Step::Promised(promise);
        if leading.stage > Stage::Electing {
            return self.synchronise(from, fx);
        }
        if votes && promise.fresh && self.is_ahead(promise.summary, own) {
            return self.abandon(Then::Pause, fx);
        }
        self.advance(fx);
    }

    /// Once a quorum promised: the epoch is this leader's, and its history the epoch's.
    pub(super) fn begin_synchronisation(&mut self, fx: &mut Effects<Self>) {
        if !self.has_quorum(Learner::promised) {
            return;
        }
        assert!(self.current < self.accepted, "an epoch begins once");
        assert!(self.log.last().epoch < self.accepted, "nothing was proposed in an epoch before it begins");
        self.current = self.accepted;
        let token = self.save_epochs(fx);
        let first = self.log.last().index.next();
        let leading = self.leading_mut();
        leading.stage = Stage::Synchronisation;
        leading.own = Some(token);
        leading.first = first;
        let promised =
            leading.learners.iter().filter(|(_, learner)| matches!(learner.step, Step::Promised(_)));
        for node in promised.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.synchronise(node, fx);
        }
        self.arm_init_limit(fx);
    }
}

/// The learner's side.
impl Zab {
    pub(super) fn follow(&mut self, vote: Vote, fx: &mut Effects<Self>) {
        let leader = vote.leader;
        assert!(leader != self.cluster.me, "nobody follows themselves");
        assert!(!self.is_installing(), "what a learner tells of its history stands");
        // Whoever took this server for the leader was wrong.
        for (peer, _) in std::mem::take(&mut self.early) {
            if peer != leader {
                fx.disconnect(peer);
            }
        }
        self.standing = Standing::Following(Following {
            leader,
            vote,
            phase: Phase::Discovery,
            epoch: Epoch::ZERO,
            syncs: Default::default(),
            last_sync: 0,
            unlogged: Vec::new(),
        });
        fx.send(leader, Message::CEpoch { accepted: self.accepted }, None);
        self.arm_init_limit(fx);
    }

    /// The leader proposes its epoch. An older one than was accepted is refused, for good. The same one
    /// again is no promise: it may have been made to another leader, whom no quorum followed.
    pub(super) fn on_new_epoch(&mut self, from: NodeId, epoch: Epoch, fx: &mut Effects<Self>) {
        let planted = self.cluster.bugs.has(Bug::LowerEpochAccepted);
        if epoch < self.accepted && !planted {
            return self.abandon(Then::Pause, fx);
        }
        let following = self.following_mut();
        if following.phase != Phase::Discovery {
            return self.breaks(Law::EpochUniqueness);
        }
        (following.phase, following.epoch) = (Phase::Synchronisation, epoch);
        let fresh = epoch != self.accepted;
        let after = fresh.then(|| {
            self.accepted = epoch;
            self.save_epochs(fx)
        });
        let summary = self.summary();
        let staged = self.resumable(epoch);
        fx.send(from, Message::AckEpoch { summary, fresh, staged }, after);
    }
}

impl Zab {
    pub(super) fn save_epochs(&self, fx: &mut Effects<Self>) -> Token {
        assert!(self.accepted >= self.current, "an epoch is accepted before its history is");
        fx.persist(vec![Record::Epochs { accepted: self.accepted, current: self.current }])
    }

    pub(super) fn arm_init_limit(&self, fx: &mut Effects<Self>) {
        let options = &self.cluster.options;
        let limit = options.tick_time * options.init_limit;
        fx.push(Effect::SetTimer { timer: Timer::Limit, within: limit..=limit });
    }
}

#[cfg(test)]
mod tests {
    use contract::{Cluster, Mark, Recovered, Replica};

    use super::*;

    #[test]
    fn what_comes_over_a_connection_that_is_given_up_goes_with_it() {
        let mut fx = Effects::default();
        let durable = Recovered { records: Vec::new(), applied: Mark::ZERO };
        let mut zab = Zab::start(&Cluster::new(NodeId(3), 3, Default::default()), durable, &mut fx);
        zab.abandon(Then::Follow(NodeId(1)), &mut fx);
        zab.on_message(NodeId(1), Message::CEpoch { accepted: Epoch(1) }, &mut fx);
        assert!(matches!(zab.standing, Standing::Looking(_)), "neither follows the other");
        assert!(zab.early.is_empty(), "it will come over another connection, if it comes");
    }
}

//! What a server takes itself for, what it knows by that, and how it goes from one part to another.

use std::collections::{BTreeMap, VecDeque};

use contract::{Bug, Effect, Effects, Entry, Epoch, Index, NodeId, Rejection, RequestId, Token};

use super::election::Looking;
use super::learner::Learner;
use super::message::Vote;
use super::read::Reads;
use super::reconfiguration::Change;
use super::{Timer, Zab};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// Takes no part, until it is invited.
    Resting,
    Looking(Looking),
    Following(Following),
    Leading(Leading),
}

/// What a learner knows of its leader: followers and observers are learners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Following {
    pub(super) leader: NodeId,
    /// The vote by which it came to follow.
    pub(super) vote: Vote,
    pub(super) phase: Phase,
    /// The leader's, once it is known.
    pub(super) epoch: Epoch,
    /// Reads that wait for the leader's word, by number.
    pub(super) syncs: VecDeque<(u64, RequestId)>,
    pub(super) last_sync: u64,
    /// Planted: [`Bug::DiffNotLogged`]. Transactions that came before UPTODATE and are not logged yet.
    pub(super) unlogged: Vec<Entry>,
}

/// How far a learner has come with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// It told which epoch it accepted last.
    Discovery,
    /// It accepted the leader's epoch, and takes over its history.
    Synchronisation,
    /// It has the whole history, and acknowledges that once it is durable.
    Acknowledged,
    /// A quorum has: it serves.
    Broadcast,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    pub(super) vote: Vote,
    pub(super) stage: Stage,
    pub(super) learners: BTreeMap<NodeId, Learner>,
    /// The write by which this server accepts its own epoch, or its own history, while it is under way.
    pub(super) own: Option<Token>,
    /// The first index of its epoch: counters count from there.
    pub(super) first: Index,
    pub(super) reads: Reads,
    pub(super) change: Option<Change>,
    /// Ticks since absent members were last invited.
    pub(super) uninvited: u32,
}

/// How far a leader has come. Each stage waits for a quorum, itself among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Stage {
    /// For learners, who tell which epochs they accepted.
    Connecting,
    /// For their promises to accept none below its own.
    Electing,
    /// For their word that they hold its history.
    Synchronisation,
    /// It is established, and broadcasts.
    Broadcast,
}

/// What a server does after it gave up its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Looks for a leader.
    Look,
    /// Looks for a leader, after a while: the last attempt came to nothing.
    Pause,
    /// Follows somebody.
    Follow(NodeId),
    /// Takes over.
    Lead,
    /// Nothing: it is of no use any more.
    Rest,
}

impl Zab {
    /// A leader pings, gives up the learners that are silent, and itself if no quorum is left.
    pub(super) fn on_tick(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leading(leading) = &mut self.standing else { return };
        let options = &self.cluster.options;
        leading.learners.retain(|node, learner| {
            learner.silent += 1;
            let limit = if learner.is_synced() { options.sync_limit } else { options.init_limit };
            let silent = learner.silent > limit;
            if silent {
                fx.disconnect(*node);
            }
            !silent
        });
        leading.uninvited += 1;
        let invites = leading.uninvited >= options.init_limit;
        if self.serves_as_leader() && !self.has_quorum(Learner::is_synced) {
            return self.abandon(Then::Look, fx);
        }
        self.arm_tick(fx);
        self.ping(fx);
        if invites && self.serves_as_leader() {
            self.invite_absent(fx);
        }
        self.count_change(fx);
    }

    pub(super) fn arm_tick(&self, fx: &mut Effects<Self>) {
        let tick = self.cluster.options.tick_time;
        fx.push(Effect::SetTimer { timer: Timer::Tick, within: tick..=tick });
    }

    pub(super) fn leading(&self) -> &Leading {
        match &self.standing {
            Standing::Leading(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    pub(super) fn leading_mut(&mut self) -> &mut Leading {
        match &mut self.standing {
            Standing::Leading(leading) => leading,
            _ => panic!("only leaders lead"),
        }
    }

    pub(super) fn following_mut(&mut self) -> &mut Following {
        match &mut self.standing {
            Standing::Following(following) => following,
            _ => panic!("only learners follow"),
        }
    }

    pub(super) fn learner_mut(&mut self, node: NodeId) -> &mut Learner {
        let learner = self.leading_mut().learners.get_mut(&node);
        learner.expect("a learner is looked up where its message enters")
    }

    /// Whom this server follows or is, once that one's epoch is accepted.
    pub(super) fn leader(&self) -> Option<NodeId> {
        match &self.standing {
            Standing::Following(following) if following.phase > Phase::Discovery => Some(following.leader),
            Standing::Leading(leading) if leading.stage > Stage::Electing => Some(self.cluster.me),
            _ => None,
        }
    }

    /// The leader to whom clients may be sent.
    pub(super) fn serving_leader(&self) -> Option<NodeId> {
        match &self.standing {
            Standing::Following(following) if following.phase == Phase::Broadcast => Some(following.leader),
            _ => None,
        }
    }

    /// Gives up its part: breaks the streams that it had by it, so that nothing of it comes late, and
    /// refuses what it still holds.
    pub(super) fn abandon(&mut self, then: Then, fx: &mut Effects<Self>) {
        let reason = if self.failed { Rejection::Stopped } else { Rejection::NotLeader { leader: None } };
        let mut held = Vec::new();
        match std::mem::replace(&mut self.standing, Standing::Resting) {
            Standing::Leading(leading) => {
                leading.learners.keys().for_each(|learner| fx.disconnect(*learner));
                held.extend(leading.reads.into_requests());
                held.extend(leading.change.and_then(|change| change.request));
                fx.push(Effect::CancelTimer(Timer::Tick));
                fx.push(Effect::CancelTimer(Timer::Limit));
            }
            Standing::Following(following) => {
                fx.disconnect(following.leader);
                held.extend(following.syncs.into_iter().map(|(_, request)| request));
                fx.push(Effect::CancelTimer(Timer::Limit));
            }
            Standing::Looking(_) => {
                fx.push(Effect::CancelTimer(Timer::Notify));
                fx.push(Effect::CancelTimer(Timer::Finalize));
            }
            Standing::Resting => {}
        }
        for request in held {
            fx.push(Effect::Reject { request, reason });
        }
        if self.cluster.bugs.has(Bug::ElectionByDeliveredState) && self.commit < self.log.last().index {
            self.log.truncate(self.commit);
            self.regroup();
        }
        self.begin(then, fx);
    }

    /// Begins a new part.
    pub(super) fn begin(&mut self, then: Then, fx: &mut Effects<Self>) {
        match then {
            _ if self.failed => {}
            Then::Follow(leader) => self.follow(self.vote_for(leader), fx),
            Then::Lead => self.lead(self.vote_for(self.cluster.me), fx),
            Then::Look | Then::Pause if !self.group.contains(self.cluster.me) => {
                self.standing = Standing::Resting;
            }
            Then::Look if !self.is_installing() => self.look(fx),
            Then::Look | Then::Pause => self.pause(fx),
            Then::Rest => self.standing = Standing::Resting,
        }
    }
}

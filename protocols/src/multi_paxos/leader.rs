//! The leader: that it is heard of, that what was lost is said again, and its own doubt.

use contract::{Effect, Effects, Entry, Index, NodeId};

use super::message::Message;
use super::{MultiPaxos, Standing, Timer};

impl MultiPaxos {
    /// Says that it leads, and up to where all is decided.
    pub(super) fn broadcast(&mut self, fx: &mut Effects<Self>) {
        let (ballot, commit, round) = (self.promised, self.commit, self.proposer().reads.round);
        let peers: Vec<NodeId> = self.proposer().peers.keys().copied().collect();
        for peer in peers {
            fx.send(peer, Message::Accept { ballot, entries: Vec::new(), commit, round }, None);
        }
    }

    pub(super) fn on_heartbeat_timer(&mut self, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &self.standing else { return };
        let leads = proposer.leads;
        self.arm_heartbeat_timer(fx);
        if !self.has_phase_one() {
            self.ask_promises(fx);
        }
        if !leads {
            return;
        }
        self.ask_for_lease(fx);
        let (ballot, commit, round) = (self.promised, self.commit, self.proposer().reads.round);
        let peers: Vec<NodeId> = self.proposer().peers.keys().copied().collect();
        for peer in peers {
            let entries = self.unanswered(peer);
            fx.send(peer, Message::Accept { ballot, entries, commit, round }, None);
        }
        self.proposer().open.iter_mut().for_each(|open| open.is_old = true);
    }

    /// What was proposed a heartbeat ago or more and a voter has not accepted, as far as is known.
    fn unanswered(&mut self, voter: NodeId) -> Vec<Entry> {
        if !self.config.members.votes(voter) {
            return Vec::new();
        }
        let first = self.commit.next();
        let limit = self.cluster.options.max_batch;
        let open = &self.proposer().open;
        let lacks = open.iter().map(|open| open.lacks(voter)).collect::<Vec<_>>();
        let slots = (first.0..).map(Index).zip(lacks).filter_map(|(slot, lacks)| lacks.then_some(slot));
        let held = slots.filter(|slot| !self.slots.is_chosen(*slot)).take(limit);
        held.map(|slot| self.slots.get(slot).expect("it was proposed").entry.clone()).collect()
    }

    /// The leader counts who was heard from since it last did. Without a quorum it steps down: another may
    /// lead by now, and as long as this one is heard its followers would not look for one.
    pub(super) fn check_quorum(&mut self, fx: &mut Effects<Self>) {
        let me = self.cluster.me;
        let peers = self.proposer().peers.clone();
        let heard = |node: NodeId| node == me || peers.get(&node).is_some_and(|peer| peer.active);
        if self.voters_for_whom(heard) < self.quorums().second {
            return self.follow(None, false, fx);
        }
        self.proposer().peers.values_mut().for_each(|peer| peer.active = false);
        self.transfer_takes_time(fx);
        self.arm_quorum_timer(fx);
    }

    /// Whoever takes part is a peer, and whoever is about to; and whoever took part until now, so that it
    /// hears of that.
    pub(super) fn keep_peers(&mut self) {
        let me = self.cluster.me;
        let mut nodes: Vec<NodeId> = self.config.members.all().collect();
        let proposer = self.proposer();
        nodes.extend(proposer.change.iter().flat_map(|change| change.to.all()));
        for node in nodes.into_iter().filter(|node| *node != me) {
            proposer.peers.entry(node).or_default();
        }
    }

    /// The leader's use of the election timer: by then its followers would have given it up.
    pub(super) fn arm_quorum_timer(&self, fx: &mut Effects<Self>) {
        let (_, max) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Election, within: max..=max });
    }

    pub(super) fn arm_heartbeat_timer(&self, fx: &mut Effects<Self>) {
        let interval = self.cluster.options.heartbeat_interval;
        fx.push(Effect::SetTimer { timer: Timer::Heartbeat, within: interval..=interval });
    }
}

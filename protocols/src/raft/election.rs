//! Elections (§5.2, §5.4.1) and the leader's own doubt (dissertation §6.2).

use std::collections::BTreeSet;

use contract::{Bug, Effect, Effects, Mark, NodeId, Payload};

use super::message::Message;
use super::progress::Progress;
use super::read::Reads;
use super::{Leading, Raft, Standing, Timer};

impl Raft {
    /// Stands for election. The requests leave once the new term, the vote for itself *and the log
    /// that they boast of* are durable: a candidate that forgot any of them in a crash could
    /// otherwise gather the votes for what it no longer is.
    pub(super) fn campaign(&mut self, fx: &mut Effects<Self>) {
        assert!(!self.is_leader(), "a leader does not stand against itself");
        self.arm_election_timer(fx);
        if self.is_installing() {
            // What its log says is out of date; in a moment it holds more.
            return;
        }
        self.term = self.term.next();
        self.vote = Some(self.cluster.me);
        self.unsaved = true;
        self.standing = Standing::Candidate { votes: BTreeSet::new() };
        let token = self.write(Vec::new(), fx);
        let (term, last) = (self.term, self.log.last());
        for peer in self.cluster.peers() {
            fx.send(peer, Message::RequestVote { term, last }, Some(token));
        }
    }

    /// A candidate of the current term asks for the vote.
    pub(super) fn answer_candidate(&mut self, candidate: NodeId, last: Mark, fx: &mut Effects<Self>) {
        // One vote per term; and the log of a leader must hold all that is committed (§5.4.1), which
        // a log that is at least as up to date as those of a quorum does. Marks compare by epoch first.
        let free = self.vote.is_none_or(|vote| vote == candidate);
        let granted = free && last >= self.log.last();
        if granted && self.vote.is_none() {
            assert!(matches!(self.standing, Standing::Follower { .. }), "candidates voted for themselves");
            self.vote = Some(candidate);
            self.unsaved = true;
            self.arm_election_timer(fx);
        }
        self.save(fx);
        let planted = self.cluster.bugs.has(Bug::VoteNotDurable);
        let after = if granted && !planted { self.saving } else { None };
        fx.send(candidate, Message::Vote { term: self.term, granted }, after);
    }

    /// A vote counts for the term in which it was asked for, which is the current one; a candidate's
    /// own counts once it is durable.
    pub(super) fn count_vote(&mut self, voter: NodeId, fx: &mut Effects<Self>) {
        let Standing::Candidate { votes } = &mut self.standing else { return };
        votes.insert(voter);
        if votes.len() >= self.cluster.quorum() && votes.contains(&self.cluster.me) {
            self.win(fx);
        }
    }

    fn win(&mut self, fx: &mut Effects<Self>) {
        assert_eq!(self.vote, Some(self.cluster.me), "a leader voted for itself");
        assert!(self.saving.is_none() && !self.unsaved, "a leader's term is durable before it reigns");
        assert!(self.incoming.as_ref().is_none_or(|incoming| !incoming.is_installing()));
        let last = self.log.last();
        assert!(last.epoch < self.term, "the entries of a term are its leader's, and it has not begun");
        let peers = self.cluster.peers().map(|peer| Progress::new(peer, last.index)).collect();
        self.incoming = None;
        self.standing =
            Standing::Leader(Leading { peers, reads: Reads::default(), first: last.index.next() });
        self.arm_quorum_timer(fx);
        self.arm_heartbeat_timer(fx);
        // An entry of its own term commits all before it (§5.4.2, §8).
        self.append_own(Payload::Noop, fx);
    }

    /// The leader counts who was heard from since it last did. Without a quorum it steps down:
    /// another may lead by now, and its clients had better ask elsewhere.
    pub(super) fn check_quorum(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        let heard = 1 + leading.peers.iter().filter(|peer| peer.active).count();
        for peer in &mut leading.peers {
            peer.active = false;
        }
        if heard < self.cluster.quorum() && self.cluster.options.check_quorum {
            return self.step_down(None, fx);
        }
        self.arm_quorum_timer(fx);
    }

    pub(super) fn arm_election_timer(&self, fx: &mut Effects<Self>) {
        let (min, max) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Election, within: min..=max });
    }

    /// The leader's use of the election timer: by then its followers would have given it up.
    fn arm_quorum_timer(&self, fx: &mut Effects<Self>) {
        let (_, max) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Election, within: max..=max });
    }

    pub(super) fn arm_heartbeat_timer(&self, fx: &mut Effects<Self>) {
        let interval = self.cluster.options.heartbeat_interval;
        fx.push(Effect::SetTimer { timer: Timer::Heartbeat, within: interval..=interval });
    }
}

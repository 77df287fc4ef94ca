//! Elections (§5.2, §5.4.1), what keeps them from being needless (pre-votes and loyalty: dissertation §9.6,
//! §4.2.3), and the leader's own doubt (§6.2).
//!
//! *Loyalty*: a follower that heard its leader within the least election timeout ignores whoever asks for its
//! vote, unless the leader appointed that one. So a replica that was cut off, or removed, deposes nobody. A
//! leader's lease is made of it (`lease.rs`), and so after a restart, which forgets what was heard, a voter is
//! loyal to whomever it may have been, where there are leases.
//!
//! The election timeout is served in two parts: the least one, after which loyalty ends, then the rest, drawn.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{Bug, Effect, Effects, Epoch, Mark, NodeId, Payload, Rejection, RequestId};

use super::message::Message;
use super::progress::Progress;
use super::{Leading, Raft, Standing, Timer};

impl Raft {
    pub(super) fn on_election_timer(&mut self, fx: &mut Effects<Self>) {
        match &mut self.standing {
            Standing::Leader(_) => self.check_quorum(fx),
            Standing::Follower { loyal: loyal @ true, .. } => {
                *loyal = false;
                let (min, max) = self.election_timeout();
                let least = self.cluster.options.election_timeout.0;
                fx.push(Effect::SetTimer { timer: Timer::Election, within: min - least..=max - least });
            }
            Standing::Follower { .. } | Standing::PreCandidate { .. } | Standing::Candidate { .. } => {
                self.stand(fx);
            }
        }
    }

    /// An operator has it stand. That ends no promise that a lease is made of.
    pub(super) fn stand_on_request(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        let bound = self.cluster.options.lease().is_some()
            && matches!(self.standing, Standing::Follower { loyal: true, .. });
        if bound || !self.may_stand() || self.is_installing() {
            return fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
        }
        if !self.is_leader() {
            self.stand(fx);
        }
        fx.push(Effect::Controlled { request });
    }

    /// Stands for election, or asks first who would agree.
    pub(super) fn stand(&mut self, fx: &mut Effects<Self>) {
        assert!(!self.is_leader(), "a leader does not stand against itself");
        if !self.may_stand() {
            // Whoever makes it a voter is a leader, and with the first word of that the timer is armed.
            return;
        }
        if self.is_installing() {
            // What its log says is out of date; in a moment it holds more.
            self.arm_election_timer(fx);
        } else if self.cluster.options.pre_vote {
            self.ask_first(fx);
        } else {
            self.campaign(false, fx);
        }
    }

    /// A voter stands, and so does one that is none any more as long as that is not known to be committed: it may
    /// hold the only log that can win (dissertation §4.2.2).
    pub(super) fn may_stand(&self) -> bool {
        self.log.votes_since(self.commit, self.cluster.me)
    }

    /// Who cannot win learns it here, without a new term, which would depose whoever leads (§9.6).
    fn ask_first(&mut self, fx: &mut Effects<Self>) {
        let (term, last, me) = (self.term, self.log.last(), self.cluster.me);
        if self.log.membership().is_quorum(|voter| voter == me) {
            return self.campaign(false, fx);
        }
        self.standing = Standing::PreCandidate { votes: BTreeSet::from([me]) };
        self.arm_election_timer(fx);
        for voter in self.other_voters() {
            fx.send(voter, Message::RequestPreVote { term, last }, None);
        }
    }

    /// Stands for election. The requests leave once the new term, the vote for itself *and the log
    /// that they boast of* are durable: a candidate that forgot any of them in a crash could
    /// otherwise gather the votes for what it no longer is.
    pub(super) fn campaign(&mut self, appointed: bool, fx: &mut Effects<Self>) {
        assert!(!self.is_leader() && !self.is_installing(), "whoever stands is free to lead");
        assert!(self.may_stand(), "only voters stand for election");
        self.term = self.term.next();
        self.vote = Some(self.cluster.me);
        self.unsaved = true;
        self.standing = Standing::Candidate { votes: BTreeSet::new() };
        self.arm_election_timer(fx);
        let token = self.write(Vec::new(), fx);
        let (term, last) = (self.term, self.log.last());
        for voter in self.other_voters() {
            fx.send(voter, Message::RequestVote { term, last, appointed }, Some(token));
        }
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        let membership = self.log.membership();
        let me = self.cluster.me;
        membership.voters.union(&membership.outgoing).copied().filter(move |voter| *voter != me)
    }

    /// Whether a request for a vote is not even heard.
    pub(super) fn ignores(&self, message: &Message) -> bool {
        match message {
            Message::RequestPreVote { .. } | Message::RequestVote { appointed: false, .. } => {}
            _ => return false,
        }
        match self.standing {
            Standing::Follower { loyal, .. } => loyal,
            Standing::Leader(_) => self.cluster.options.pre_vote,
            Standing::PreCandidate { .. } | Standing::Candidate { .. } => false,
        }
    }

    /// Someone asks for the vote in the term behind `term`. Whether it will get it is still open.
    pub(super) fn answer_pre_candidate(&self, from: NodeId, term: Epoch, last: Mark, fx: &mut Effects<Self>) {
        let granted = !self.is_leader() && last >= self.log.last();
        fx.send(from, Message::PreVote { term, granted }, None);
    }

    pub(super) fn count_pre_vote(&mut self, from: NodeId, fx: &mut Effects<Self>) {
        let Standing::PreCandidate { votes } = &mut self.standing else { return };
        votes.insert(from);
        if self.log.membership().is_quorum(|voter| votes.contains(&voter)) {
            self.campaign(false, fx);
        }
    }

    /// A candidate of the current term asks for the vote. It gets an answer whether or not it is known as a
    /// voter: of the latest membership a voter may be the last to hear (dissertation §4.2.2).
    pub(super) fn answer_candidate(&mut self, candidate: NodeId, last: Mark, fx: &mut Effects<Self>) {
        // One vote per term; and the log of a leader must hold all that is committed (§5.4.1), which
        // a log that is at least as up to date as those of a quorum does. Marks compare by epoch first.
        let free = self.vote.is_none_or(|vote| vote == candidate);
        let granted = free && last >= self.log.last();
        if granted && self.vote.is_none() {
            self.vote = Some(candidate);
            self.unsaved = true;
            match self.standing {
                Standing::Follower { .. } => {}
                Standing::PreCandidate { .. } => self.step_down(None, fx),
                Standing::Candidate { .. } | Standing::Leader(_) => panic!("candidates vote for themselves"),
            }
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
        let elected = self.log.membership().is_quorum(|voter| votes.contains(&voter));
        if elected && votes.contains(&self.cluster.me) {
            self.win(fx);
        }
    }

    fn win(&mut self, fx: &mut Effects<Self>) {
        let me = self.cluster.me;
        assert_eq!(self.vote, Some(me), "a leader voted for itself");
        assert!(self.saving.is_none() && !self.unsaved, "a leader's term is durable before it reigns");
        assert!(!self.is_installing(), "whoever is about to hold more does not stand");
        let last = self.log.last();
        assert!(last.epoch < self.term, "the entries of a term are its leader's, and it has not begun");
        let others = self.log.membership().all().filter(|member| *member != me);
        let peers = others.map(|peer| Progress::new(peer, last.index)).collect();
        let uncommitted = self.log.bytes_between(self.commit, last.index);
        self.incoming = None;
        self.standing = Standing::Leader(Box::new(Leading::new(peers, last.index.next(), uncommitted)));
        self.arm_quorum_timer(fx);
        self.arm_heartbeat_timer(fx);
        self.begin_lease_round(fx);
        // An entry of its own term commits all before it (§5.4.2, §8).
        self.append_own(Payload::Noop, fx);
    }

    /// The leader counts who was heard from since it last did. Without a quorum it steps down:
    /// another may lead by now, and its clients had better ask elsewhere.
    fn check_quorum(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { panic!("only leaders are in doubt") };
        let me = self.cluster.me;
        let heard = self.log.membership().is_quorum(|voter| voter == me || leading.peer(voter).active);
        for peer in &mut leading.peers {
            peer.active = false;
        }
        if !heard && self.cluster.options.check_quorum {
            return self.step_down(None, fx);
        }
        self.arm_quorum_timer(fx);
    }

    /// From when to when this replica stands for election if it hears nobody. Who could not lead for long
    /// lets the others go first.
    fn election_timeout(&self) -> (Duration, Duration) {
        let (min, max) = self.cluster.options.election_timeout;
        if self.cluster.bugs.has(Bug::ElectionTooPatient) {
            return (16 * min, 16 * max);
        }
        if self.keeps_no_state() { (max, max + (max - min)) } else { (min, max) }
    }

    pub(super) fn arm_election_timer(&self, fx: &mut Effects<Self>) {
        let loyal = matches!(self.standing, Standing::Follower { loyal: true, .. });
        let least = self.cluster.options.election_timeout.0;
        let (min, max) = if loyal { (least, least) } else { self.election_timeout() };
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

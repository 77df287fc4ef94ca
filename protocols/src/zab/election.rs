//! Fast leader election: how servers come to agree on whom to follow.
//!
//! A server that looks for a leader begins a new *round*, votes for itself and tells all voters. It
//! changes its vote whenever it hears of a better candidate: of a later `currentEpoch`, in the same
//! epoch of a later zxid, with the same history of a higher sid. A vote that a quorum shares is
//! believed, after a moment in which a better one may still come. Votes of older rounds do not count;
//! one of a later round takes its receiver there.
//!
//! Servers that follow or lead do not vote. They tell who their leader is, and if a quorum follows it
//! and it says itself that it leads, the one that looks follows it too: so a late server joins.
//!
//! While the group changes, servers disagree on who votes: one that was removed rests, or looks for a leader
//! as an observer, and may be needed by those who do not know that the change is committed; one that was
//! added may not know of it. So a server without a vote answers too. It is no candidate, and tells what it
//! knows to be committed, and agrees to any vote for a history as recent as its own; and so does one that
//! looks in a group which the other one is not in. Whoever is elected by such votes invites who gave them.
//!
//! For the same reason an election may succeed that leads nowhere: its leader needs, by its own history, somebody
//! who follows or leads elsewhere in vain, and whom nothing but time would free; and when it is free, the same can
//! happen again. Two servers may even lead in vain by turns, each elected while the other one waits for learners. So
//! whoever has chosen, and has heard nothing of an epoch by that yet, agrees to a vote that outranks its own all
//! the same, and lets itself be invited. It breaks no promise by that: it has given none, and a leader that goes
//! has not begun its epoch.
//!
//! Nothing here is relied on: it is discovery that makes a leader unique and its history recent. A wrong
//! election costs time. So nothing of it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::{Bug, Effect, Effects, Mark, NodeId};

use super::message::{Message, PeerState, Summary, Vote};
use super::{Phase, Stage, Standing, Then, Timer, Zab};

/// What a server that looks for a leader knows of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Looking {
    mode: Mode,
    /// Its own vote.
    vote: Vote,
    /// The votes of this round, its own among them (ZooKeeper's received set).
    votes: BTreeMap<NodeId, Vote>,
    /// Whom those follow who have a leader, and whether they lead themselves (the out-of-election set).
    settled: BTreeMap<NodeId, (NodeId, bool)>,
    /// Who agreed to a vote and would not come by itself.
    resting: BTreeSet<NodeId>,
    /// Who was heard of since the vote was last repeated.
    heard: BTreeSet<NodeId>,
    /// Whose connection broke since: what they were told may be lost.
    cut_off: BTreeSet<NodeId>,
    /// How long until it is repeated.
    interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mode {
    /// It waits before it begins.
    Pausing,
    Voting,
    /// A quorum shares its vote.
    Finalizing,
}

impl Looking {
    pub(super) fn votes_now(&self) -> bool {
        self.mode != Mode::Pausing
    }

    /// The connection to a peer broke.
    pub(super) fn is_cut_off(&mut self, peer: NodeId) {
        self.cut_off.insert(peer);
    }
}

impl Zab {
    /// How recent the own history is.
    pub(super) fn summary(&self) -> Summary {
        Summary { current: self.current, last: self.log.last() }
    }

    /// Whether a history is more recent than another: epochs first.
    pub(super) fn is_ahead(&self, one: Summary, other: Summary) -> bool {
        if self.cluster.bugs.has(Bug::ElectionIgnoresEpoch) {
            return one.last.index > other.last.index;
        }
        one > other
    }

    fn outranks(&self, one: Vote, other: Vote) -> bool {
        self.is_ahead(one.summary, other.summary)
            || !self.is_ahead(other.summary, one.summary) && one.leader > other.leader
    }

    /// Begins a round of elections.
    pub(super) fn look(&mut self, fx: &mut Effects<Self>) {
        assert!(
            !self.is_installing(),
            "a server whose history is being replaced does not stand for election"
        );
        self.round += 1;
        let me = self.cluster.me;
        let vote = Vote { summary: self.summary(), leader: me };
        let votes = self.group.votes(me).then_some((me, vote)).into_iter().collect();
        let interval = self.cluster.options.notification_interval;
        self.standing = Standing::Looking(Looking {
            mode: Mode::Voting,
            vote,
            votes,
            settled: BTreeMap::new(),
            resting: BTreeSet::new(),
            heard: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            interval,
        });
        self.notify_all(fx);
        fx.push(Effect::SetTimer { timer: Timer::Notify, within: interval..=interval });
        self.count_votes(fx);
    }

    /// Waits before it looks, so that a server that cannot follow anybody does not keep the others busy.
    pub(super) fn pause(&mut self, fx: &mut Effects<Self>) {
        let vote = Vote { summary: self.summary(), leader: self.cluster.me };
        let tick = self.cluster.options.tick_time;
        self.standing = Standing::Looking(Looking {
            mode: Mode::Pausing,
            vote,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            resting: BTreeSet::new(),
            heard: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            interval: tick,
        });
        fx.push(Effect::SetTimer { timer: Timer::Notify, within: tick..=2 * tick });
    }

    fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.group.all().filter(|node| self.group.votes(*node) && *node != self.cluster.me)
    }

    /// The vote of this server as others are told it.
    fn notification(&self) -> Option<Message> {
        let (vote, state) = match &self.standing {
            Standing::Looking(looking) if self.group.votes(self.cluster.me) => {
                (looking.vote, PeerState::Looking)
            }
            Standing::Looking(looking) => (looking.vote, PeerState::Asking),
            Standing::Following(following) => (following.vote, PeerState::Following),
            Standing::Leading(leading) => (leading.vote, PeerState::Leading),
            Standing::Resting => return None,
        };
        Some(Message::Notification { round: self.round, vote, state })
    }

    fn notify_all(&self, fx: &mut Effects<Self>) {
        let notification = self.notification().expect("who looks has a vote");
        for voter in self.voters() {
            fx.send(voter, notification.clone(), None);
        }
    }

    pub(super) fn on_notification(
        &mut self,
        from: NodeId,
        round: u64,
        vote: Vote,
        state: PeerState,
        fx: &mut Effects<Self>,
    ) {
        let Standing::Looking(looking) = &mut self.standing else {
            if state == PeerState::Looking && self.would_rather(vote) {
                return self.agree(from, round, vote, fx);
            }
            if matches!(state, PeerState::Looking | PeerState::Asking) {
                match self.notification() {
                    Some(notification) => fx.send(from, notification, None),
                    None => self.answer_without_vote(from, round, vote, state, fx),
                }
            }
            return;
        };
        if !looking.votes_now() {
            return;
        }
        looking.heard.insert(from);
        // Two servers that repeat their votes at the same moments could each break, every time, the connection over
        // which the other one's is coming. Who comes back is told again.
        if looking.cut_off.remove(&from) && state == PeerState::Looking && round == self.round {
            let notification = self.notification().expect("who looks has a vote");
            fx.send(from, notification, None);
        }
        let Standing::Looking(looking) = &mut self.standing else { unreachable!("it looks") };
        match state {
            // It hears of a leader as soon as there is one.
            PeerState::Asking => return,
            PeerState::Looking if !self.group.votes(self.cluster.me) => {
                return self.answer_without_vote(from, round, vote, state, fx);
            }
            // It may vote in a group that this server does not know of.
            PeerState::Looking if !self.group.votes(from) => {
                let standing = looking.vote;
                if self.outranks(vote, standing) {
                    self.agree(from, round, vote, fx);
                }
                return;
            }
            PeerState::Resting => {
                looking.settled.remove(&from);
                if round == self.round && self.group.votes(from) {
                    looking.votes.insert(from, vote);
                    looking.resting.insert(from);
                }
            }
            // It missed the beginning of this round.
            PeerState::Looking if round < self.round => {
                let notification = self.notification().expect("who looks has a vote");
                return fx.send(from, notification, None);
            }
            PeerState::Looking => {
                looking.settled.remove(&from);
                self.join_round(round, vote, fx);
                let Standing::Looking(looking) = &mut self.standing else { return };
                looking.votes.insert(from, vote);
            }
            PeerState::Following | PeerState::Leading => {
                looking.settled.insert(from, (vote.leader, state == PeerState::Leading));
                if round == self.round && self.group.votes(from) {
                    looking.votes.insert(from, vote);
                }
                if self.is_settled_on(vote, round) {
                    self.round = self.round.max(round);
                    return self.conclude(vote, fx);
                }
            }
        }
        self.count_votes(fx);
    }

    /// Whether this server has a leader, or is one, of whom nothing has come yet, and somebody looks for one that
    /// outranks it.
    fn would_rather(&self, vote: Vote) -> bool {
        match &self.standing {
            Standing::Following(following) if following.phase == Phase::Discovery => {
                self.outranks(vote, following.vote)
            }
            Standing::Leading(leading) if leading.stage < Stage::Synchronisation => {
                self.outranks(vote, leading.vote)
            }
            _ => false,
        }
    }

    /// Agrees to another server's vote, without one of its own.
    fn agree(&self, to: NodeId, round: u64, vote: Vote, fx: &mut Effects<Self>) {
        fx.send(to, Message::Notification { round, vote, state: PeerState::Resting }, None);
    }

    fn answer_without_vote(
        &mut self,
        to: NodeId,
        round: u64,
        vote: Vote,
        state: PeerState,
        fx: &mut Effects<Self>,
    ) {
        if self.is_installing() {
            return;
        }
        fx.send(to, Message::Known { commit: self.log.mark_at(self.commit) }, None);
        if state == PeerState::Looking && !self.is_ahead(self.summary(), vote.summary) {
            self.agree(to, round, vote, fx);
        }
    }

    /// A server without a vote tells what is committed. If that settles who takes part, the election begins anew.
    pub(super) fn on_known(&mut self, from: NodeId, commit: Mark, fx: &mut Effects<Self>) {
        let Standing::Looking(looking) = &mut self.standing else { return };
        looking.heard.insert(from);
        let is_news = commit.index > self.commit && self.log.holds(commit) && !self.is_installing();
        if is_news && self.commit_to(commit.index, fx) {
            self.abandon(Then::Look, fx);
        }
    }

    /// A vote of this round or a later one came: takes over the better one, and tells.
    fn join_round(&mut self, round: u64, vote: Vote, fx: &mut Effects<Self>) {
        let me = self.cluster.me;
        assert!(self.group.votes(me), "an observer is no candidate");
        let own = Vote { summary: self.summary(), leader: me };
        let Standing::Looking(looking) = &self.standing else { panic!("only who looks votes") };
        let later = round > self.round;
        let standing = if later { own } else { looking.vote };
        let better = if self.outranks(vote, standing) { vote } else { standing };
        if !later && better == standing {
            return;
        }
        self.round = round;
        let Standing::Looking(looking) = &mut self.standing else { panic!("only who looks votes") };
        looking.vote = better;
        if later {
            looking.votes.clear();
            looking.resting.clear();
        }
        looking.votes.insert(me, better);
        if looking.mode == Mode::Finalizing {
            looking.mode = Mode::Voting;
            fx.push(Effect::CancelTimer(Timer::Finalize));
        }
        self.notify_all(fx);
    }

    /// Whether those who have a leader show that it is the one of `vote`: a quorum follows it and it
    /// leads; or it has all the votes of this very round.
    fn is_settled_on(&self, vote: Vote, round: u64) -> bool {
        let Standing::Looking(looking) = &self.standing else { return false };
        let (me, leader) = (self.cluster.me, vote.leader);
        let leads = looking.settled.get(&leader).is_some_and(|(_, leads)| *leads);
        let follow = |node| looking.settled.get(&node).is_some_and(|(whom, _)| *whom == leader);
        let voted = |node| looking.votes.get(&node) == Some(&vote);
        let elected = round == self.round && self.group.is_quorum(voted);
        (leads && leader != me && self.group.is_quorum(follow))
            || (elected && (leads || leader == me && self.group.votes(me)))
    }

    /// Whether a quorum shares the own vote.
    fn is_shared(&self) -> bool {
        let Standing::Looking(looking) = &self.standing else { return false };
        let leads_itself = looking.vote.leader != self.cluster.me || self.group.votes(self.cluster.me);
        leads_itself && self.group.is_quorum(|node| looking.votes.get(&node) == Some(&looking.vote))
    }

    /// Believes a vote that all voters share at once, and one of a quorum after a moment.
    fn count_votes(&mut self, fx: &mut Effects<Self>) {
        if !self.is_shared() {
            return;
        }
        let Standing::Looking(looking) = &mut self.standing else { return };
        let vote = looking.vote;
        let mut voters = self.group.voters.iter().chain(&self.group.outgoing);
        if voters.all(|voter| looking.votes.get(voter) == Some(&vote)) {
            return self.conclude(vote, fx);
        }
        if looking.mode == Mode::Voting {
            looking.mode = Mode::Finalizing;
            let wait = self.cluster.options.finalize_wait;
            fx.push(Effect::SetTimer { timer: Timer::Finalize, within: wait..=wait });
        }
    }

    pub(super) fn on_finalize_timer(&mut self, fx: &mut Effects<Self>) {
        let shared = self.is_shared();
        let Standing::Looking(looking) = &mut self.standing else { return };
        if shared {
            let vote = looking.vote;
            return self.conclude(vote, fx);
        }
        looking.mode = Mode::Voting;
    }

    fn conclude(&mut self, vote: Vote, fx: &mut Effects<Self>) {
        fx.push(Effect::CancelTimer(Timer::Notify));
        fx.push(Effect::CancelTimer(Timer::Finalize));
        if vote.leader == self.cluster.me {
            let Standing::Looking(looking) = &mut self.standing else { panic!("only who looks concludes") };
            let resting = std::mem::take(&mut looking.resting);
            self.lead(vote, fx);
            for node in resting {
                fx.send(node, Message::Invite { epoch: None }, None);
            }
        } else {
            self.follow(vote, fx);
        }
    }

    /// Repeats the vote. A stream over which nothing came since may be stuck behind what was lost in a
    /// partition that is over: it is opened anew.
    pub(super) fn on_notify_timer(&mut self, fx: &mut Effects<Self>) {
        let Standing::Looking(looking) = &mut self.standing else { return };
        if !looking.votes_now() {
            return self.begin(Then::Look, fx);
        }
        let longest = self.cluster.options.max_notification_interval;
        looking.interval = (2 * looking.interval).min(longest);
        let interval = looking.interval;
        let heard = std::mem::take(&mut looking.heard);
        fx.push(Effect::SetTimer { timer: Timer::Notify, within: interval..=interval });
        // Whoever came to follow was heard.
        let silent = |voter: &NodeId| !heard.contains(voter) && !self.early.contains_key(voter);
        for voter in self.voters().filter(silent) {
            fx.disconnect(voter);
        }
        self.notify_all(fx);
    }
}

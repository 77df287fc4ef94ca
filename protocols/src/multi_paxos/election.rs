//! Who stands, and Phase 1.
//!
//! Paxos leaves open who proposes: any replica may, at any time, and safety does not suffer. Progress needs
//! that one does so undisturbed. A replica that trusts no leader first *probes* whether a quorum of Phase 1
//! would promise: nobody's ballot rises by that. Only then it stands.

use std::collections::BTreeSet;

use contract::{Bug, Effect, Effects, Entry, Epoch, Index, Mark, NodeId};

use super::message::Message;
use super::proposer::{Proposer, Report};
use super::record::Record;
use super::{Law, MultiPaxos, Standing, Timer};

impl MultiPaxos {
    /// No leader was heard of for long enough. A leader uses this timer to count who is there.
    pub(super) fn on_election_timer(&mut self, fx: &mut Effects<Self>) {
        if self.leads() {
            return self.check_quorum(fx);
        }
        self.follow(None, false, fx);
        if !self.votes() {
            self.announce(fx);
        } else if self.incoming.is_none() {
            // (While a snapshot comes it would only learn that it needs one.)
            self.probe(fx);
        }
    }

    fn probe(&mut self, fx: &mut Effects<Self>) {
        self.standing = Standing::Prober { supporters: BTreeSet::new() };
        let (ballot, commit) = (self.promised, self.commit);
        for voter in self.other_voters() {
            fx.send(voter, Message::Probe { ballot, commit }, None);
        }
        self.count_support(fx);
    }

    /// Whoever trusts a leader supports nobody else: it would only take from that one the quorum that it has.
    /// And whoever is known to be no voter any more is told so, by the commit index.
    pub(super) fn on_probe(&mut self, from: NodeId, ballot: Epoch, commit: Index, fx: &mut Effects<Self>) {
        let votes = self.config.members.votes(from) || commit > self.commit;
        let free = match &self.standing {
            Standing::Follower { trusts, .. } => !trusts,
            Standing::Prober { .. } => true,
            Standing::Proposer(_) => false,
        };
        let (promised, commit_here) = (self.promised, self.commit);
        let answer = Message::Support { ballot, granted: free && votes, promised, commit: commit_here };
        fx.send(from, answer, None);
        self.hear_of(from, commit, fx);
    }

    pub(super) fn on_support(
        &mut self,
        from: NodeId,
        (ballot, granted): (Epoch, bool),
        (promised, commit): (Epoch, Index),
        fx: &mut Effects<Self>,
    ) {
        self.seen = promised.max(self.seen);
        if let Standing::Prober { supporters } = &mut self.standing
            && ballot == self.promised
            && granted
        {
            supporters.insert(from);
            self.count_support(fx);
        }
        self.note_informed(from, commit, fx);
        self.hear_of(from, commit, fx);
    }

    fn count_support(&mut self, fx: &mut Effects<Self>) {
        let Standing::Prober { supporters } = &self.standing else { return };
        let supports = |node: NodeId| node == self.cluster.me || supporters.contains(&node);
        if self.voters_for_whom(supports) >= self.quorums().first && self.incoming.is_none() {
            self.campaign(false, fx);
        }
    }

    /// Phase 1a. The ballot is higher than all that were seen, and durable before anyone hears of it: after
    /// a crash it is not taken again.
    pub(super) fn campaign(&mut self, by_leave: bool, fx: &mut Effects<Self>) {
        assert!(self.votes(), "only voters stand");
        assert!(self.incoming.is_none(), "who waits for a snapshot does not stand");
        self.follow(None, false, fx);
        let round = self.promised.round().max(self.seen.round()) + 1;
        let ballot = Epoch::ballot(round, self.cluster.me);
        assert!(ballot > self.promised, "ballots rise");
        (self.promised, self.told) = (ballot, Index::ZERO);
        let token = self.write(vec![Record::Promise { ballot }], fx);
        self.standing = Standing::Proposer(Box::new(Proposer::new(token, by_leave)));
        if self.learning.take().is_some() {
            fx.push(Effect::CancelTimer(Timer::Ask));
        }
        self.keep_peers();
        self.arm_heartbeat_timer(fx);
        self.ask_promises(fx);
    }

    /// Asks those who have not told all yet, or may have missed the question.
    pub(super) fn ask_promises(&self, fx: &mut Effects<Self>) {
        self.other_voters().for_each(|voter| self.ask_promise(voter, fx));
    }

    fn ask_promise(&self, voter: NodeId, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &self.standing else { panic!("only proposers ask for promises") };
        let from = match proposer.reports.get(&voter) {
            Some(Report { done: true, .. }) => return,
            Some(Report { next, .. }) => *next,
            None => self.commit.next(),
        };
        let (ballot, commit, by_leave) = (self.promised, self.commit, proposer.by_leave);
        let after = if self.cluster.bugs.has(Bug::BallotReused) { None } else { proposer.promise };
        fx.send(voter, Message::Prepare { ballot, from, commit, by_leave }, after);
    }

    /// A part of what an acceptor has accepted.
    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        (first, last): (Index, bool),
        entries: Vec<Entry>,
        (start, commit): (Index, Index),
        fx: &mut Effects<Self>,
    ) {
        let here = self.commit;
        let Standing::Proposer(proposer) = &mut self.standing else { return };
        let Some(peer) = proposer.peers.get_mut(&from) else { return };
        peer.heard(commit, 0);
        let report = proposer.reports.entry(from).or_insert(Report { next: here.next(), done: false });
        if report.done || first > report.next.max(here.next()) {
            return;
        }
        if start > here && first <= start {
            // Decided, and gone from its log: nothing can be proposed there, and nobody tells what it was.
            if !self.has_phase_one() {
                self.follow(None, false, fx);
                self.begin_pull(from, fx);
            }
            return;
        }
        let end = entries.last().map_or(first, |entry| entry.mark.index.next());
        let told = Report { next: end.max(report.next), done: last };
        let is_news = std::mem::replace(report, told) != told;
        self.take_in(entries, commit, fx);
        // Asked once more for each answer that came twice, it would answer ever more often.
        if is_news {
            self.ask_promise(from, fx);
        }
        self.advance(fx);
        self.proceed(fx);
    }

    /// Takes in what was accepted: of each slot that this ballot has not proposed in yet the value of the
    /// highest ballot (Paxos Made Simple, §2.2, P2c). What is decided is learnt on the way.
    pub(super) fn take_in(&mut self, entries: Vec<Entry>, commit: Index, fx: &mut Effects<Self>) {
        let (ballot, next) = (self.promised, self.next_slot());
        // In its own slots this ballot has proposed nothing yet, and who has promised it holds nothing above it.
        let is_alien = |mark: Mark| mark.epoch > ballot || mark.epoch == ballot && mark.index >= next;
        if entries.iter().any(|entry| is_alien(entry.mark)) {
            return self.breaks(Law::BallotsAreUnique);
        }
        if next == self.commit.next() {
            self.learn(entries.iter().filter(|entry| entry.mark.index <= commit).cloned().collect(), fx);
        }
        let any = self.cluster.bugs.has(Bug::AnyAcceptedAdopted);
        let Standing::Proposer(proposer) = &mut self.standing else { panic!("only proposers adopt values") };
        for entry in entries.into_iter().filter(|entry| entry.mark.index >= next) {
            let held = proposer.adopted.get(&entry.mark.index).map(|held| held.mark.epoch);
            if held.is_none_or(|held| held < entry.mark.epoch && !any) {
                proposer.inherited = entry.mark.index.max(proposer.inherited);
                proposer.adopted.insert(entry.mark.index, entry);
            }
        }
    }

    pub(super) fn on_nack(&mut self, ballot: Epoch, promised: Epoch, fx: &mut Effects<Self>) {
        self.seen = promised.max(self.seen);
        let is_mine = ballot == self.promised && matches!(self.standing, Standing::Proposer(_));
        if is_mine && promised > ballot {
            self.follow(None, false, fx);
        }
    }

    pub(super) fn arm_election_timer(&self, fx: &mut Effects<Self>) {
        let (min, max) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Election, within: min..=max });
    }
}

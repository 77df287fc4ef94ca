//! The proposer's part: what it has heard in Phase 1, and Phase 2 of any number of slots at once.
//!
//! One loop proposes. It stops where it must not go on: before Phase 1 is complete, behind a membership that
//! is not decided yet, at the end of the window. So the values that are adopted, the no-ops that fill holes,
//! the clients' commands and the changes of the membership all pass the same gate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{Bug, Effect, Effects, Entry, Index, Mark, NodeId, Payload, RequestId, Token};

use super::message::Message;
use super::operator::{Change, Transfer};
use super::read::{Lease, Reads};
use super::record::Record;
use super::{Law, MultiPaxos, Standing};

/// A replica that has taken a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer {
    /// The write of the own promise, while it is under way.
    pub(super) promise: Option<Token>,
    /// Whether the leader before asked it to stand.
    pub(super) by_leave: bool,
    /// What the other acceptors have told in Phase 1.
    pub(super) reports: BTreeMap<NodeId, Report>,
    /// By slot, from the next one on: what was accepted there in the highest ballot of all that was told.
    pub(super) adopted: BTreeMap<Index, Entry>,
    /// Phase 1 was complete once: it leads.
    pub(super) leads: bool,
    /// The last slot in which an earlier ballot may have decided something.
    pub(super) inherited: Index,
    /// The slots behind the commit index that were proposed, without a gap.
    pub(super) open: VecDeque<Open>,
    /// What waits for a slot.
    pub(super) queue: VecDeque<(RequestId, Payload)>,
    /// Whoever is sent heartbeats.
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) reads: Reads,
    pub(super) lease: Lease,
    pub(super) change: Option<Change>,
    pub(super) transfer: Option<Transfer>,
}

/// How much of what it has accepted an acceptor has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Report {
    /// The first slot that is still to be told of.
    pub(super) next: Index,
    /// Nothing is.
    pub(super) done: bool,
}

/// A slot that was proposed and is not known to be decided, or stands behind one that is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Open {
    /// Who has accepted it.
    acks: BTreeSet<NodeId>,
    /// The own write of it, while that is under way.
    written: Option<Token>,
    /// It was there at the last heartbeat already: what was sent may be lost.
    pub(super) is_old: bool,
}

/// What a leader knows of another replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    /// Up to where it knows all slots to be decided.
    pub(super) commit: Index,
    /// The latest round of reads that it has echoed.
    pub(super) round: u64,
    /// Heard from since the leader last counted.
    pub(super) active: bool,
}

impl Open {
    pub(super) fn lacks(&self, acceptor: NodeId) -> bool {
        self.is_old && !self.acks.contains(&acceptor)
    }
}

impl Peer {
    pub(super) fn heard(&mut self, commit: Index, round: u64) {
        self.active = true;
        self.commit = commit.max(self.commit);
        self.round = round.max(self.round);
    }
}

impl Proposer {
    pub(super) fn new(promise: Token, by_leave: bool) -> Self {
        Self {
            promise: Some(promise),
            by_leave,
            reports: BTreeMap::new(),
            adopted: BTreeMap::new(),
            leads: false,
            inherited: Index::ZERO,
            open: VecDeque::new(),
            queue: VecDeque::new(),
            peers: BTreeMap::new(),
            reads: Reads::default(),
            lease: Lease::default(),
            change: None,
            transfer: None,
        }
    }

    /// The commit index moved.
    pub(super) fn settled(&mut self, before: Index, commit: Index) {
        let decided = self.open.len().min((commit.0 - before.0) as usize);
        self.open.drain(..decided);
        self.adopted = self.adopted.split_off(&commit.next());
    }
}

impl MultiPaxos {
    /// The slot that is proposed next.
    pub(super) fn next_slot(&self) -> Index {
        let Standing::Proposer(proposer) = &self.standing else { panic!("only proposers propose") };
        Index(self.commit.0 + 1 + proposer.open.len() as u64)
    }

    /// Whether a quorum has promised the ballot, told all that it has accepted, and knows the membership by
    /// which it is a quorum. (By that last, before anything is decided by a new membership so many of it
    /// hold durably all that was decided before that what it tolerates to lose it can lose.)
    pub(super) fn has_phase_one(&self) -> bool {
        let Standing::Proposer(proposer) = &self.standing else { return false };
        let early = self.cluster.bugs.has(Bug::PhaseOneUnfinished);
        let told = |node| proposer.reports.get(&node).is_some_and(|report| report.done || early);
        let knows = |node| proposer.peers.get(&node).is_some_and(|peer| peer.commit >= self.config.since);
        let promised = |node: NodeId| {
            if node == self.cluster.me { proposer.promise.is_none() } else { told(node) && knows(node) }
        };
        self.voters_for_whom(promised) >= self.quorums().first
    }

    /// Goes on with whatever the last news made possible.
    pub(super) fn proceed(&mut self, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &self.standing else { return };
        if !proposer.leads && self.has_phase_one() && self.gate.is_none() {
            self.lead(fx);
        }
        self.pump(fx);
        self.begin_reads(fx);
    }

    fn lead(&mut self, fx: &mut Effects<Self>) {
        let planted = self.cluster.bugs.has(Bug::BallotReused);
        let commit = self.commit;
        let Standing::Proposer(proposer) = &mut self.standing else { panic!("only proposers lead") };
        assert!(proposer.promise.is_none() || planted, "a leader's ballot is durable before it reigns");
        assert!(proposer.open.is_empty(), "nothing is proposed before Phase 1 is complete");
        proposer.leads = true;
        proposer.inherited = proposer.adopted.last_key_value().map_or(commit, |(slot, _)| *slot);
        for peer in proposer.peers.values_mut() {
            peer.active = true;
        }
        self.arm_quorum_timer(fx);
        self.broadcast(fx);
    }

    /// Proposes as long as something may be proposed.
    fn pump(&mut self, fx: &mut Effects<Self>) {
        while self.has_phase_one() && self.gate.is_none() {
            let mut entries = Vec::new();
            while entries.len() < self.cluster.options.max_batch
                && let Some((request, payload)) = self.next_proposal()
            {
                let mark = Mark { epoch: self.promised, index: self.next_slot() };
                let entry = Entry { mark, payload };
                self.slots.accept(entry.clone());
                self.proposer().open.push_back(Open::default());
                if let Some(request) = request {
                    fx.push(Effect::Proposed { request, mark });
                }
                entries.push(entry);
            }
            if entries.is_empty() {
                return;
            }
            self.propose_entries(entries, fx);
        }
    }

    /// What is proposed in the next slot, if anything may be.
    fn next_proposal(&mut self) -> Option<(Option<RequestId>, Payload)> {
        let slot = self.next_slot();
        let before = if slot.prev() > self.commit { self.slots.get(slot.prev()) } else { None };
        if before.is_some_and(|before| matches!(before.entry.payload, Payload::Membership(_))) {
            // By whom the next slot is decided is not known before this one is (a stop sign).
            return None;
        }
        let window = self.cluster.options.window;
        let proposer = self.proposer();
        if proposer.open.len() as u64 >= window {
            return None;
        }
        if let Some(entry) = proposer.adopted.remove(&slot) {
            return Some((None, entry.payload));
        }
        if !proposer.adopted.is_empty() {
            // A hole: nothing was decided in it, for a quorum has told of nothing there.
            return Some((None, Payload::Noop));
        }
        proposer.queue.pop_front().map(|(request, payload)| (Some(request), payload))
    }

    /// Phase 2a. The own acceptor is one among the others: it counts once its write is durable.
    fn propose_entries(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) {
        let token = self.write(entries.iter().cloned().map(Record::Accepted).collect(), fx);
        for open in self.proposer().open.iter_mut().rev().take(entries.len()) {
            open.written = Some(token);
        }
        let (ballot, commit, round) = (self.promised, self.commit, self.proposer().reads.round);
        for voter in self.other_voters() {
            fx.send(voter, Message::Accept { ballot, entries: entries.clone(), commit, round }, None);
        }
        // What was known to be decided before it was proposed once more.
        self.advance(fx);
    }

    pub(super) fn on_accepted(
        &mut self,
        from: NodeId,
        slots: &[Index],
        (commit, round): (Index, u64),
        fx: &mut Effects<Self>,
    ) {
        let next = self.next_slot();
        let proposer = self.proposer();
        if round > proposer.reads.round || slots.iter().any(|slot| *slot >= next) {
            return self.breaks(Law::BallotsAreUnique);
        }
        let Some(peer) = proposer.peers.get_mut(&from) else { return };
        peer.heard(commit, round);
        for slot in slots {
            self.count(*slot, from);
        }
        self.advance(fx);
        self.drop_informed_peers();
        self.consider_change();
        self.renew_lease();
        self.proceed(fx);
        self.finish_reads(fx);
    }

    /// An acceptor has accepted what this ballot proposes in a slot.
    fn count(&mut self, slot: Index, acceptor: NodeId) {
        let Some(place) = slot.0.checked_sub(self.commit.0 + 1) else { return };
        let acks = &mut self.proposer().open[place as usize].acks;
        acks.insert(acceptor);
        let acks = acks.clone();
        if self.voters_for_whom(|voter| acks.contains(&voter)) >= self.second_quorum() {
            self.slots.choose(slot);
        }
    }

    /// So many voters decide.
    pub(super) fn second_quorum(&self) -> usize {
        let second = self.quorums().second;
        if self.cluster.bugs.has(Bug::PhaseQuorumsDisjoint) { (second - 1).max(1) } else { second }
    }

    /// A write of the own acceptor is durable, and so is every one before it.
    pub(super) fn on_own_write(&mut self, token: Token, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &mut self.standing else { return };
        if proposer.promise.is_some_and(|promise| promise <= token) {
            proposer.promise = None;
            let own = self.slots.from(self.commit.next()).map(|slot| slot.entry.clone()).collect();
            self.take_in(own, self.commit, fx);
        }
        let first = self.commit.next();
        let durable = |open: &mut Open| open.written.take_if(|written| *written <= token).is_some();
        let places: Vec<usize> = self
            .proposer()
            .open
            .iter_mut()
            .enumerate()
            .filter_map(|(place, open)| durable(open).then_some(place))
            .collect();
        for place in places {
            self.count(Index(first.0 + place as u64), self.cluster.me);
        }
        self.advance(fx);
        self.proceed(fx);
    }

    pub(super) fn proposer(&mut self) -> &mut Proposer {
        match &mut self.standing {
            Standing::Proposer(proposer) => proposer,
            Standing::Follower { .. } | Standing::Prober { .. } => panic!("only a proposer does that"),
        }
    }
}

//! What is decided, and how a replica that missed it learns of it.
//!
//! A slot's value is decided once a quorum of Phase 2 has accepted it in one ballot. The leader counts. Its
//! messages say up to where all slots are decided; whoever accepted a slot *in that leader's ballot* knows
//! the value by it, for in one ballot a slot is proposed one value. Any other replica asks: the one of whom
//! it heard first, then the members in turn. Those that dropped the slot from their logs say so, and are
//! asked for a snapshot.
//!
//! A decided membership is handed on only once the journal has it, and has it as decided: no replica's
//! service is ever beyond the memberships that its journal knows.

use contract::{Bug, Effect, Effects, Entry, Index, Mark, NodeId, Payload, Token};

use super::message::Message;
use super::record::Record;
use super::{Law, MultiPaxos, Standing, Timer};

/// A decided membership that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gate {
    pub(super) token: Token,
    index: Index,
}

/// A question under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Learning {
    peer: NodeId,
    /// All slots up to here are decided, as was heard.
    goal: Index,
}

impl MultiPaxos {
    /// Commits what is known to be decided, in the order of the slots: at the first hole it ends.
    pub(super) fn advance(&mut self, fx: &mut Effects<Self>) {
        if self.gate.is_some() || self.is_installing() {
            return;
        }
        let mut upto = self.commit;
        while self.is_decided(upto.next()) {
            upto = upto.next();
            self.slots.choose(upto);
            let slot = self.slots.get(upto).expect("it is decided");
            if matches!(slot.entry.payload, Payload::Membership(_)) {
                if upto.prev() > self.commit {
                    self.commit_to(upto.prev(), fx);
                }
                self.recorded = upto;
                let token = self.write(vec![Record::Decided { upto }], fx);
                self.gate = Some(Gate { token, index: upto });
                return;
            }
        }
        if upto > self.commit {
            self.commit_to(upto, fx);
        }
    }

    fn is_decided(&mut self, index: Index) -> bool {
        let told = index <= self.told && !matches!(self.standing, Standing::Proposer(_));
        match self.slots.get(index) {
            Some(slot) => slot.chosen || told && slot.entry.mark.epoch == self.promised,
            None if told && self.cluster.bugs.has(Bug::HoleSkipped) => {
                let mark = Mark { epoch: self.promised, index };
                self.slots.learn(Entry { mark, payload: Payload::Noop })
            }
            None => false,
        }
    }

    /// Hands slots to the service, in order.
    fn commit_to(&mut self, index: Index, fx: &mut Effects<Self>) {
        assert!(index > self.commit, "a commit index never falls");
        assert!(!self.is_installing(), "the service's state is being replaced");
        let entries = self.slots.between(self.commit, index);
        assert_eq!(entries.first().map(|entry| entry.mark.index), Some(self.commit.next()));
        entries.iter().for_each(|entry| self.config.apply(entry));
        fx.push(Effect::Commit(entries));
        if let Standing::Proposer(proposer) = &mut self.standing {
            proposer.settled(self.commit, index);
        }
        self.commit = index;
        self.drop_outdated_snapshot(fx);
        if self.learning.is_some_and(|learning| learning.goal <= index) {
            self.learning = None;
            fx.push(Effect::CancelTimer(Timer::Ask));
        }
    }

    /// The journal knows the membership: it is in force from the next slot on.
    pub(super) fn on_membership_durable(&mut self, fx: &mut Effects<Self>) {
        let Gate { index, .. } = self.gate.take().expect("a membership was being written");
        if self.is_installing() {
            // The snapshot includes it.
            return;
        }
        assert_eq!(index, self.commit.next(), "nothing passes a membership that is being written");
        self.commit_to(index, fx);
        assert_eq!(self.config.since, index, "a decided membership is in force");
        if let Some(proposer) = self.promised.owner().filter(|owner| *owner != self.cluster.me) {
            // It counts who knows.
            let told =
                Message::Accepted { ballot: self.promised, slots: Vec::new(), commit: self.commit, round: 0 };
            fx.send(proposer, told, None);
        }
        self.enter_membership(fx);
        self.advance(fx);
        self.ask_on(fx);
        self.proceed(fx);
    }

    /// Somebody knows of decisions up to `commit`; if this replica does not, it asks.
    pub(super) fn hear_of(&mut self, peer: NodeId, commit: Index, fx: &mut Effects<Self>) {
        if commit <= self.commit || matches!(self.standing, Standing::Proposer(_)) || self.incoming.is_some()
        {
            return;
        }
        match &mut self.learning {
            Some(learning) => learning.goal = commit.max(learning.goal),
            None if self.gate.is_some() => {}
            None => self.ask(peer, commit, fx),
        }
    }

    fn ask(&mut self, peer: NodeId, goal: Index, fx: &mut Effects<Self>) {
        assert!(goal > self.commit, "what is known is not asked for");
        self.learning = Some(Learning { peer, goal });
        fx.send(peer, Message::Learn { from: self.commit.next() }, None);
        self.arm_ask_timer(fx);
    }

    /// Asks for what is still missing.
    fn ask_on(&mut self, fx: &mut Effects<Self>) {
        if let Some(Learning { peer, goal }) = self.learning {
            self.ask(peer, goal, fx);
        }
    }

    pub(super) fn arm_ask_timer(&self, fx: &mut Effects<Self>) {
        let interval = self.cluster.options.heartbeat_interval;
        fx.push(Effect::SetTimer { timer: Timer::Ask, within: interval..=interval * 2 });
    }

    /// Nobody has answered: someone else is asked.
    pub(super) fn on_ask_timer(&mut self, fx: &mut Effects<Self>) {
        if self.incoming.is_some() {
            return self.pull_again(fx);
        }
        let Some(Learning { peer, goal }) = self.learning else { return };
        let peer = self.next_member(peer);
        self.ask(peer, goal, fx);
    }

    /// The member after another one, in turn.
    fn next_member(&self, peer: NodeId) -> NodeId {
        let others = || self.config.members.all().filter(|member| *member != self.cluster.me);
        others().find(|member| *member > peer).or_else(|| others().next()).unwrap_or(peer)
    }

    /// Tells what was decided from a slot on.
    pub(super) fn on_learn(&mut self, from: NodeId, first: Index, fx: &mut Effects<Self>) {
        if first > self.commit {
            return;
        }
        let (start, commit) = (self.slots.start().index, self.commit);
        let entries = if first > start {
            let upto = commit.min(Index(first.prev().0 + self.cluster.options.max_batch as u64));
            self.slots.between(first.prev(), upto)
        } else {
            Vec::new()
        };
        fx.send(from, Message::Decided { entries, start, commit }, None);
    }

    pub(super) fn on_decided(
        &mut self,
        from: NodeId,
        entries: Vec<Entry>,
        (start, commit): (Index, Index),
        fx: &mut Effects<Self>,
    ) {
        // A proposer finds out in Phase 1; and what is being installed may include it.
        if matches!(self.standing, Standing::Proposer(_)) || self.incoming.is_some() {
            return;
        }
        let before = self.commit;
        self.learn(entries, fx);
        self.advance(fx);
        if start > self.commit && self.gate.is_none() {
            self.begin_pull(from, fx);
        } else if self.commit > before && self.gate.is_none() {
            self.ask_on(fx);
        }
        self.hear_of(from, commit, fx);
    }

    /// Takes in decided entries that follow each other. What is known already stays; behind a gap nothing
    /// is taken.
    pub(super) fn learn(&mut self, entries: Vec<Entry>, fx: &mut Effects<Self>) {
        let mut records = Vec::new();
        for entry in entries {
            let index = entry.mark.index;
            if index <= self.slots.start().index {
                continue;
            }
            match self.slots.get(index) {
                Some(held)
                    if (held.chosen || held.entry.mark.epoch >= entry.mark.epoch)
                        && held.entry.payload != entry.payload =>
                {
                    self.breaks(Law::Agreement);
                    break;
                }
                _ if index > self.commit.next() && !self.slots.is_chosen(index.prev()) => break,
                _ => {}
            }
            if self.slots.learn(entry.clone()) {
                self.promise_with_others(entry.mark.epoch);
                records.push(Record::Chosen(entry));
            }
        }
        if !records.is_empty() {
            self.write(records, fx);
        }
    }
}

//! Terms, and how a replica comes from one to the next (§5.1); the hard state of Fig. 2.

use contract::{Bug, Effect, Effects, Epoch, NodeId, Rejection, Token};

use super::handover::Handover;
use super::message::Message;
use super::options::TimerRule;
use super::reconfigure::Change;
use super::record::Record;
use super::{Law, Leading, Raft, Standing, Timer};

impl Raft {
    /// A message of a term that is over: whoever still asks for something in it must learn of the
    /// current one (§5.1). Answers of that term are void.
    pub(super) fn refuse_outdated(&mut self, from: NodeId, message: &Message, fx: &mut Effects<Self>) {
        let term = self.term;
        match message {
            Message::RequestVote { .. } => fx.send(from, Message::Vote { term, granted: false }, None),
            Message::RequestPreVote { .. }
            | Message::Append { .. }
            | Message::InstallSnapshot { .. }
            | Message::SkipTo { .. }
            | Message::Trim { .. }
            | Message::TimeoutNow { .. } => fx.send(from, Message::Outdated { term }, None),
            Message::Vote { granted: true, .. } if self.cluster.bugs.has(Bug::StaleVoteCounts) => {
                self.count_vote(from, fx);
            }
            Message::PreVote { .. }
            | Message::Vote { .. }
            | Message::AppendAck { .. }
            | Message::AppendReject { .. }
            | Message::SnapshotAck { .. }
            | Message::Outdated { .. } => {}
        }
    }

    /// A higher term was seen: nobody is known to lead it, and the vote is free again (§5.1).
    pub(super) fn enter_term(&mut self, term: Epoch, fx: &mut Effects<Self>) {
        assert!(term > self.term, "terms never fall");
        let led = self.is_leader();
        (self.term, self.vote, self.unsaved) = (term, None, true);
        self.step_down(None, fx);
        // Who lets others go first is not to be put off by each that goes in vain: its may be the only log that can
        // win.
        let waits_longer = self.keeps_no_state();
        if self.cluster.options.timer_rule == TimerRule::HigherTerm && !led && !waits_longer {
            self.arm_election_timer(fx);
        }
    }

    /// Becomes a follower.
    pub(super) fn step_down(&mut self, leader: Option<NodeId>, fx: &mut Effects<Self>) {
        let Some(leading) = self.resign(leader, fx) else { return };
        if let Some(Handover { request: Some(request), appointed, .. }) = leading.handover {
            fx.push(match appointed {
                true => Effect::Controlled { request },
                false => Effect::Reject { request, reason: Rejection::NotLeader { leader } },
            });
        }
        if let Some(Change { request, .. }) = leading.change {
            // The next leader may yet commit an entry of it.
            fx.push(Effect::Reject { request, reason: Rejection::Lost });
        }
        for request in leading.reads.into_requests() {
            fx.push(Effect::Reject { request, reason: Rejection::NotLeader { leader } });
        }
        // The others have theirs armed: a leader's served another purpose.
        self.arm_election_timer(fx);
    }

    pub(super) fn resign(&mut self, leader: Option<NodeId>, fx: &mut Effects<Self>) -> Option<Leading> {
        // Loyalty is owed for a time, whatever the term.
        let loyal = matches!(self.standing, Standing::Follower { loyal: true, .. });
        match std::mem::replace(&mut self.standing, Standing::Follower { leader, loyal }) {
            Standing::Leader(leading) => {
                fx.push(Effect::CancelTimer(Timer::Heartbeat));
                leading.lease.cancel_timers(fx);
                if leading.handover.is_some() {
                    fx.push(Effect::CancelTimer(Timer::Handover));
                }
                Some(*leading)
            }
            Standing::Follower { .. } | Standing::PreCandidate { .. } | Standing::Candidate { .. } => None,
        }
    }

    /// Someone leads the current term. Whether to listen.
    pub(super) fn follow(&mut self, from: NodeId, fx: &mut Effects<Self>) -> bool {
        if self.leader().is_some_and(|leader| leader != from) {
            self.breaks(Law::ElectionSafety);
        }
        if self.is_leader() {
            return false;
        }
        if self.cluster.bugs.has(Bug::LeaderNotHeard) && self.leader() == Some(from) {
            return true;
        }
        let loyal = self.cluster.options.pre_vote && !self.cluster.bugs.has(Bug::LeaderNotHeard);
        self.standing = Standing::Follower { leader: Some(from), loyal };
        self.arm_election_timer(fx);
        true
    }

    /// Writes records, behind term and vote if those have changed.
    pub(super) fn write(&mut self, mut records: Vec<Record>, fx: &mut Effects<Self>) -> Token {
        let changed = std::mem::take(&mut self.unsaved);
        if changed {
            records.insert(0, Record::State { term: self.term, vote: self.vote });
        }
        let token = fx.persist(records);
        if changed {
            self.saving = Some(token);
        }
        token
    }

    /// Writes term and vote if they have changed.
    pub(super) fn save(&mut self, fx: &mut Effects<Self>) {
        if self.unsaved {
            self.write(Vec::new(), fx);
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{Cluster, Index, Mark, Recovered, Replica};

    use super::*;
    use crate::raft::Options;

    /// Whether a follower, as a witness or not, arms its election timer anew when someone asks for its vote in a
    /// higher term.
    fn arms(timer_rule: TimerRule, witness: bool, grants: bool) -> bool {
        let options = Options { timer_rule, ..Options::default() };
        let mut fx = Effects::default();
        let entry = Record::Entry(contract::Entry {
            mark: Mark { epoch: Epoch(1), index: Index(1) },
            payload: contract::Payload::Noop,
        });
        let records = vec![Record::State { term: Epoch(1), vote: None }, entry];
        let durable = Recovered { records, applied: Mark::ZERO };
        let mut cluster = Cluster::new(NodeId(1), 3, options);
        cluster.founders.witnesses.extend(witness.then_some(NodeId(1)));
        let mut raft = Raft::start(&cluster, durable, &mut fx);
        fx.clear();
        let last = Mark { epoch: Epoch(u64::from(grants)), index: Index(1) };
        let request = Message::RequestVote { term: Epoch(2), last, appointed: false };
        raft.on_message(NodeId(2), request, &mut fx);
        fx.list().iter().any(|effect| matches!(effect, Effect::SetTimer { timer: Timer::Election, .. }))
    }

    #[test]
    fn a_refused_vote_arms_the_timer_by_one_of_the_rules() {
        assert!(arms(TimerRule::GrantedVote, false, true) && arms(TimerRule::HigherTerm, false, true));
        assert!(arms(TimerRule::HigherTerm, false, false));
        assert!(!arms(TimerRule::GrantedVote, false, false));
    }

    #[test]
    fn a_witness_is_not_put_off_by_those_who_cannot_win() {
        assert!(arms(TimerRule::HigherTerm, true, true), "whom it elects it lets go first");
        assert!(!arms(TimerRule::HigherTerm, true, false));
    }
}

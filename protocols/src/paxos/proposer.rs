//! The proposers: ballots, and what may be proposed in them (§2.2).

use std::collections::BTreeMap;

use contract::{Bug, Bytes, Effect, Effects, NodeId, RequestId};

use super::message::Message;
use super::{Ballot, Paxos, Proposal, Timer};

/// What a node does to have a key decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer {
    /// Its first client's value: proposed where no other must be.
    value: Bytes,
    /// Who waits for the decision.
    pub(super) requests: Vec<RequestId>,
    ballot: Ballot,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Asks for promises; holds those that came, with what each acceptor has accepted.
    Prepare(BTreeMap<NodeId, Option<Proposal>>),
    /// Asks to accept. That enough have is the learner's to find out.
    Accept(Proposal),
    /// Another promised this ballot: waits before it tries above that one.
    Refused(Ballot),
}

impl Paxos {
    /// A client proposes a value for a key of which none is known to be decided.
    pub(super) fn propose_for(
        &mut self,
        request: RequestId,
        key: Bytes,
        value: Bytes,
        fx: &mut Effects<Self>,
    ) {
        if let Some(proposer) = self.proposers.get_mut(&key) {
            return proposer.requests.push(request);
        }
        if self.proposers.is_empty() {
            self.arm_timer(fx);
        }
        let (requests, ballot) = (vec![request], Ballot::default());
        let phase = Phase::Refused(ballot);
        self.proposers.insert(key.clone(), Proposer { value, requests, ballot, phase });
        self.prepare(&key, fx);
    }

    /// Phase 1a, above every ballot that it knows of.
    fn prepare(&mut self, key: &Bytes, fx: &mut Effects<Self>) {
        let counts_in_memory = self.cluster.bugs.has(Bug::BallotReused);
        let own = self.acceptors.get(key).filter(|_| !counts_in_memory);
        let promised = own.map(|acceptor| acceptor.promised).unwrap_or_default();
        let proposer = self.proposers.get_mut(key).expect("someone proposes for the key");
        let Phase::Refused(by) = proposer.phase else { panic!("a ballot is given up before the next one") };
        let round = promised.round.max(by.round) + 1;
        let ballot = Ballot { round, node: self.cluster.me };
        assert!(ballot > proposer.ballot && ballot > promised, "no ballot is used twice");
        (proposer.ballot, proposer.phase) = (ballot, Phase::Prepare(BTreeMap::new()));
        let own = self.promise(key, ballot, None, fx);
        assert!(own.is_ok() || counts_in_memory, "it is above what was promised");
        self.ask(key, fx);
    }

    /// Asks the acceptors what is to be asked in this phase. Nothing of a ballot leaves before the own
    /// acceptor durably knows of it, or a restart could use it again for another value.
    fn ask(&self, key: &Bytes, fx: &mut Effects<Self>) {
        let Proposer { ballot, phase, .. } = &self.proposers[key];
        let (key, ballot) = (key.clone(), *ballot);
        let message = match phase {
            Phase::Prepare(_) => Message::Prepare { key, ballot },
            Phase::Accept(proposal) => Message::Accept { key, proposal: proposal.clone() },
            Phase::Refused(_) => return,
        };
        self.broadcast(&message, self.journal.writing(), fx);
    }

    /// Phase 2a, once a quorum has promised.
    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        key: Bytes,
        ballot: Ballot,
        accepted: Option<Proposal>,
        fx: &mut Effects<Self>,
    ) {
        let Some(proposer) = self.proposers.get_mut(&key).filter(|proposer| proposer.ballot == ballot) else {
            return;
        };
        let Phase::Prepare(promises) = &mut proposer.phase else { return };
        promises.insert(from, accepted);
        if !self.cluster.founders.is_quorum(|node| promises.contains_key(&node)) {
            return;
        }
        let mut told = promises.values().flatten();
        let adopted = match self.cluster.bugs.has(Bug::AnyAcceptedAdopted) {
            true => told.next(),
            false => told.max_by_key(|proposal| proposal.ballot),
        };
        let value = adopted.map_or(&proposer.value, |proposal| &proposal.value).clone();
        proposer.phase = Phase::Accept(Proposal { ballot, value });
        self.ask(&key, fx);
    }

    /// A higher ballot was promised. The timer tells when to go on.
    pub(super) fn on_refused(&mut self, key: &Bytes, ballot: Ballot, promised: Ballot) {
        let Some(proposer) = self.proposers.get_mut(key).filter(|proposer| proposer.ballot == ballot) else {
            return;
        };
        let known = if let Phase::Refused(known) = proposer.phase { known } else { promised };
        proposer.phase = Phase::Refused(known.max(promised));
    }

    pub(super) fn retry(&mut self, fx: &mut Effects<Self>) {
        let open: Vec<Bytes> = self.proposers.keys().cloned().collect();
        for key in &open {
            match self.proposers[key].phase {
                Phase::Refused(_) => self.prepare(key, fx),
                Phase::Prepare(_) | Phase::Accept(_) => self.ask(key, fx),
            }
        }
        if !open.is_empty() {
            self.arm_timer(fx);
        }
    }

    fn arm_timer(&self, fx: &mut Effects<Self>) {
        let (min, max) = self.cluster.options.retry_after;
        fx.push(Effect::SetTimer { timer: Timer::Retry, within: min..=max });
    }
}

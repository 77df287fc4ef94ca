//! The learners: what a quorum has accepted in one ballot is decided (§2.3).

use std::collections::BTreeMap;

use contract::{Bytes, Effects, NodeId};

use super::{Law, Paxos, Proposal, answer};

/// What a node knows of what acceptors have accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Learner {
    /// The last that each acceptor told of.
    Open(BTreeMap<NodeId, Proposal>),
    /// In which ballot it was decided, as far as this node knows, and what.
    Decided(Proposal),
}

impl Learner {
    pub(super) fn decided(&self) -> Option<&Bytes> {
        match self {
            Self::Open(_) => None,
            Self::Decided(proposal) => Some(&proposal.value),
        }
    }
}

impl Paxos {
    pub(super) fn on_accepted(
        &mut self,
        from: NodeId,
        key: Bytes,
        proposal: Proposal,
        fx: &mut Effects<Self>,
    ) {
        let learner = self.learners.entry(key.clone()).or_insert_with(|| Learner::Open(BTreeMap::new()));
        let told = match learner {
            Learner::Open(told) => told,
            Learner::Decided(decided) => {
                if proposal.ballot >= decided.ballot && proposal.value != decided.value {
                    self.breaks(Law::Agreement);
                }
                return;
            }
        };
        if told.get(&from).is_none_or(|last| last.ballot < proposal.ballot) {
            told.insert(from, proposal.clone());
        }
        let same = |node| told.get(&node).is_some_and(|last| last.ballot == proposal.ballot);
        let decided = self.cluster.founders.is_quorum(same);
        let differs =
            told.values().any(|last| last.ballot == proposal.ballot && last.value != proposal.value);
        if decided {
            *learner = Learner::Decided(proposal.clone());
            let proposer = self.proposers.remove(&key);
            for request in proposer.into_iter().flat_map(|proposer| proposer.requests) {
                answer(request, proposal.value.clone(), fx);
            }
        }
        if differs {
            self.breaks(Law::OneValuePerBallot);
        }
    }
}

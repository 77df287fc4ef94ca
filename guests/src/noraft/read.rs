//! Linearizable reads (Raft, dissertation §6.4), in the four steps that [`noraft::Node::heartbeat`] names: a read is
//! served once a majority has answered a message that was sent after it arrived.

use std::collections::{BTreeMap, VecDeque};

use contract::{Bug, Effect, Effects, Epoch, Index, NodeId, Rejection, RequestId};

use super::{Noraft, convert};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// How many reads have arrived.
    round: u64,
    /// Those that wait, in order of arrival: their number, and at which index they may be served.
    waiting: VecDeque<(u64, RequestId, Index)>,
    /// Up to which read each follower has confirmed this leader, and in which term.
    echoes: BTreeMap<NodeId, (Epoch, u64)>,
}

impl Reads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn echoed(&mut self, from: NodeId, term: Epoch, round: u64) {
        let latest = self.echoes.entry(from).or_default();
        *latest = (*latest).max((term, round));
    }
}

impl Noraft {
    pub(super) fn begin_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        let (log, commit) = (self.node.0.log(), self.node.0.commit_index());
        // A new leader does not know how far its predecessor had come: no further than its own log is now.
        let knows = log.entries().get_term(commit) == Some(self.node.0.current_term());
        let index = convert::index(if knows { commit } else { log.last_position().index });
        if self.cluster.bugs.has(Bug::ReadWithoutQuorum) {
            return fx.push(Effect::ReadAt { request, index });
        }
        self.reads.round += 1;
        self.reads.waiting.push_back((self.reads.round, request, index));
        assert!(self.node.0.heartbeat(), "others refused");
        self.act(&[], 0, fx);
    }

    /// Serves the reads for which a majority has confirmed this leader, or refuses all if it is none any more.
    pub(super) fn serve_reads(&mut self, fx: &mut Effects<Self>) {
        if !self.is_leader() {
            let reason = Rejection::NotLeader { leader: self.leader() };
            let refused = self.reads.waiting.drain(..);
            return refused.for_each(|(_, request, _)| fx.push(Effect::Reject { request, reason }));
        }
        let (me, term) = (self.cluster.me, convert::epoch(self.node.0.current_term()));
        let Reads { waiting, echoes, .. } = &mut self.reads;
        let confirmed = |round| {
            let follows = |node| echoes.get(&node).is_some_and(|echo| echo.0 == term && echo.1 >= round);
            self.cluster.founders.is_quorum(|node| node == me || follows(node))
        };
        while let Some((_, request, index)) = waiting.pop_front_if(|(round, ..)| confirmed(*round)) {
            fx.push(Effect::ReadAt { request, index });
        }
    }
}

//! Linearizable reads without a place in the log: ReadIndex (dissertation §6.4).
//!
//! A leader that is partitioned away may not know that it was deposed, so it may not trust its state
//! alone. It notes its commit index, and serves the read at that index once a quorum has answered a
//! message sent *after* the read arrived: then no other leader had been elected before. Reads share
//! such rounds. Every append carries the number of the latest round and every answer echoes it, so
//! that a lost heartbeat costs no more than the wait for the next one.
//!
//! Until an entry of its own term is committed a leader does not know the commit index of its
//! predecessors, and reads wait for that.

use std::collections::VecDeque;

use contract::{Bug, Effect, Effects, Index, Rejection, RequestId};

use super::quorum::quorum_value;
use super::{Leading, Raft, Standing};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// The latest round that began.
    pub(super) round: u64,
    /// Reads whose round has begun, in order of rounds.
    begun: VecDeque<Read>,
    /// Reads that join the next round.
    queued: Vec<RequestId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    request: RequestId,
    round: u64,
    /// The commit index when its round began.
    index: Index,
}

impl Reads {
    fn begin_round(&mut self, commit: Index) {
        assert!(!self.queued.is_empty(), "a round is begun for a read");
        self.round += 1;
        let round = self.round;
        self.begun.extend(self.queued.drain(..).map(|request| Read { request, round, index: commit }));
    }

    /// All reads that were not served, in order of arrival.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.begun.into_iter().map(|read| read.request).chain(self.queued)
    }
}

impl Raft {
    pub(super) fn serve_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else {
            let reason = Rejection::NotLeader { leader: self.leader() };
            return fx.push(Effect::Reject { request, reason });
        };
        if self.cluster.bugs.has(Bug::ReadWithoutQuorum) {
            return fx.push(Effect::ReadAt { request, index: self.commit });
        }
        leading.reads.queued.push(request);
        self.begin_reads(fx);
    }

    /// Begins a round for the reads that wait for one, unless one is under way or the commit index
    /// cannot be trusted yet.
    pub(super) fn begin_reads(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        let waits = leading.reads.queued.is_empty() || !leading.reads.begun.is_empty();
        if waits || self.commit < leading.first {
            return;
        }
        leading.reads.begin_round(self.commit);
        self.broadcast_heartbeat(fx);
        self.finish_reads(fx);
    }

    /// Serves the reads whose rounds a quorum has echoed.
    pub(super) fn finish_reads(&mut self, fx: &mut Effects<Self>) {
        let quorum = self.cluster.quorum();
        let Standing::Leader(Leading { reads, peers, .. }) = &mut self.standing else { return };
        if reads.begun.is_empty() {
            return;
        }
        let echoes = peers.iter().map(|peer| peer.round);
        let echoed = quorum_value(std::iter::once(reads.round).chain(echoes), quorum);
        assert!(echoed <= reads.round, "nobody echoes a round that has not begun");
        while let Some(read) = reads.begun.pop_front_if(|read| read.round <= echoed) {
            assert!(read.index <= self.commit, "a commit index never falls");
            fx.push(Effect::ReadAt { request: read.request, index: read.index });
        }
        self.begin_reads(fx);
    }
}

//! Linearizable reads without a place in the log: ReadIndex (dissertation §6.4).
//!
//! A leader that is partitioned away may not know that it was deposed, so it may not trust its state
//! alone. It notes its commit index, and serves the read at that index once a quorum has answered a
//! message sent *after* the read arrived: then no other leader had been elected before. Reads share
//! such rounds. Every append carries the number of the latest round and every answer echoes it, so
//! that a lost heartbeat costs no more than the wait for the next one.
//!
//! Until an entry of its own term is committed a leader does not know the commit index of its
//! predecessors, and reads wait for that. While it holds a lease (`lease.rs`) no round is needed.

use std::collections::VecDeque;

use contract::{Bug, Effect, Effects, Index, RequestId};

use super::quorum::agreed;
use super::{Raft, Standing};

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
    /// The number of a new round; what is sent from now on carries it.
    pub(super) fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }

    /// Whether reads wait for a round to be echoed.
    pub(super) fn is_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    fn begin_round(&mut self, commit: Index) {
        assert!(!self.queued.is_empty(), "a round is begun for a read");
        let round = self.next_round();
        self.begun.extend(self.queued.drain(..).map(|request| Read { request, round, index: commit }));
    }

    /// All reads that were not served, in order of arrival.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.begun.into_iter().map(|read| read.request).chain(self.queued)
    }
}

impl Raft {
    pub(super) fn serve_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if let Some(reason) = self.refusal() {
            return fx.push(Effect::Reject { request, reason });
        }
        let known = self.knows_commit();
        let Standing::Leader(leading) = &mut self.standing else { panic!("others refused") };
        let at_once = known && leading.lease.is_held() || self.cluster.bugs.has(Bug::ReadWithoutQuorum);
        if at_once {
            return fx.push(Effect::ReadAt { request, index: self.commit });
        }
        leading.reads.queued.push(request);
        self.begin_reads(fx);
    }

    /// Whether the commit index includes all that predecessors committed.
    fn knows_commit(&self) -> bool {
        self.commit >= self.leading().first || self.cluster.bugs.has(Bug::ReadBeforeOwnCommit)
    }

    /// Begins a round for the reads that wait for one, unless one is under way or the commit index
    /// cannot be trusted yet.
    pub(super) fn begin_reads(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        if leading.reads.queued.is_empty() || leading.reads.is_begun() || !self.knows_commit() {
            return;
        }
        let commit = self.commit;
        self.leading_mut().reads.begin_round(commit);
        self.broadcast_heartbeat(fx);
        self.confirm_rounds(fx);
    }

    /// Serves the reads whose rounds a quorum has echoed.
    pub(super) fn finish_reads(&mut self, mut echoed: u64, fx: &mut Effects<Self>) {
        if self.cluster.bugs.has(Bug::ReadQuorumTooSmall) {
            echoed = self.echoed_by_too_few();
        }
        let commit = self.commit;
        let reads = &mut self.leading_mut().reads;
        while let Some(read) = reads.begun.pop_front_if(|read| read.round <= echoed) {
            assert!(read.index <= commit, "a commit index never falls");
            fx.push(Effect::ReadAt { request: read.request, index: read.index });
        }
        self.begin_reads(fx);
    }

    /// Planted: [`Bug::ReadQuorumTooSmall`]. The voter who lags most is taken to have answered.
    fn echoed_by_too_few(&self) -> u64 {
        let (leading, me) = (self.leading(), self.cluster.me);
        let echo = |voter| if voter == me { leading.reads.round } else { leading.peer(voter).round };
        let membership = self.log.membership();
        let last = membership.voters.iter().copied().min_by_key(|voter| echo(*voter));
        agreed(membership, |voter| if Some(voter) == last { leading.reads.round } else { echo(voter) })
    }
}

//! Reads that take no slot.
//!
//! **By a quorum.** A leader that is cut off may not know that another one leads. It notes its commit
//! index, and serves the read at that index once a quorum of Phase 2 has answered a message that was sent
//! *after* the read arrived: each of them had promised no higher ballot then, and any quorum of Phase 1 has
//! one of them in it; so no later leader had begun before the read. All that earlier leaders decided is at
//! or below the last slot that was inherited in Phase 1: until that is decided again, reads wait. Reads
//! share such rounds. Each message carries the number of the latest one and each answer echoes it.
//!
//! **By a lease** (Paxos Made Live, §5.2; off by default). An acceptor that hears from the leader promises
//! nobody else anything for the shortest election timeout. So a leader whom a quorum of Phase 2 has
//! answered is the only one for that long, counted from when it *asked*, less what the clocks may drift. It
//! needs no clock for that: it arms a timer when it asks. Two timers take turns, one for the lease that
//! holds and one for the next.

use std::collections::VecDeque;

use contract::{Bug, Effect, Effects, Index, NodeId, Rejection, RequestId};

use super::{MultiPaxos, Standing, Timer};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// The latest round that began.
    pub(super) round: u64,
    /// Reads whose round has begun, in order of rounds.
    begun: VecDeque<Read>,
    /// Reads that join the next round.
    queued: Vec<RequestId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Read {
    request: RequestId,
    round: u64,
    /// The commit index when its round began.
    index: Index,
}

impl Reads {
    /// All reads that were not served, in order of arrival.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.begun.into_iter().map(|read| read.request).chain(self.queued)
    }
}

/// One of the two timers of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// The first.
    A,
    /// The second.
    B,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    /// The timer at whose end the lease that holds ends.
    holds: Option<Half>,
    /// The timer of the lease that was asked for, and the round by whose echoes it is given.
    asked: Option<(Half, u64)>,
    /// The leader has asked another one to stand, who need not mind a lease: in this reign there is none.
    pub(super) given_up: bool,
}

impl Lease {
    /// By the membership that has come into force nobody has given one.
    pub(super) fn drop_lease(&mut self) {
        (self.holds, self.asked) = (None, None);
    }
}

impl MultiPaxos {
    pub(super) fn serve_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        if !self.leads() {
            let reason = Rejection::NotLeader { leader: self.leader() };
            return fx.push(Effect::Reject { request, reason });
        }
        let index = self.commit;
        let planted = self.cluster.bugs.has(Bug::ReadWithoutQuorum);
        if planted || self.proposer().lease.holds.is_some() && self.knows_commit() {
            return fx.push(Effect::ReadAt { request, index });
        }
        self.proposer().reads.queued.push(request);
        self.begin_reads(fx);
    }

    /// Whether the commit index is at or beyond all that was decided before.
    fn knows_commit(&self) -> bool {
        let Standing::Proposer(proposer) = &self.standing else { return false };
        proposer.leads && self.has_phase_one() && self.commit >= proposer.inherited
    }

    /// Begins a round for the reads that wait for one, unless one is under way or the commit index cannot be
    /// trusted yet.
    pub(super) fn begin_reads(&mut self, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &self.standing else { return };
        let waits = proposer.reads.queued.is_empty() || !proposer.reads.begun.is_empty();
        if waits || !self.knows_commit() {
            return;
        }
        let index = self.commit;
        let reads = &mut self.proposer().reads;
        reads.round += 1;
        let round = reads.round;
        reads.begun.extend(reads.queued.drain(..).map(|request| Read { request, round, index }));
        self.broadcast(fx);
        self.finish_reads(fx);
    }

    /// Whether a quorum has answered a message of a round, or of a later one.
    fn is_echoed(&self, round: u64) -> bool {
        let Standing::Proposer(proposer) = &self.standing else { panic!("only leaders begin rounds") };
        assert!(round <= proposer.reads.round, "nobody echoes a round that has not begun");
        let echoes = |node: NodeId| {
            node == self.cluster.me || proposer.peers.get(&node).is_some_and(|peer| peer.round >= round)
        };
        self.voters_for_whom(echoes) >= self.quorums().second
    }

    /// Serves the reads whose rounds a quorum has echoed.
    pub(super) fn finish_reads(&mut self, fx: &mut Effects<Self>) {
        let Standing::Proposer(proposer) = &self.standing else { return };
        let Some(first) = proposer.reads.begun.front().copied() else { return };
        if !self.is_echoed(first.round) {
            return;
        }
        let commit = self.commit;
        for read in std::mem::take(&mut self.proposer().reads.begun) {
            assert_eq!(read.round, first.round, "one round is under way");
            assert!(read.index <= commit, "a commit index never falls");
            fx.push(Effect::ReadAt { request: read.request, index: read.index });
        }
        self.begin_reads(fx);
    }

    /// Asks for the next lease, unless one is asked for; the heartbeat that follows carries its round.
    pub(super) fn ask_for_lease(&mut self, fx: &mut Effects<Self>) {
        let within = self.cluster.options.lease();
        let wanted = self.cluster.options.lease_reads && self.has_phase_one();
        let Standing::Proposer(proposer) = &mut self.standing else { return };
        let (reads, lease) = (&mut proposer.reads, &mut proposer.lease);
        if !wanted || lease.given_up || lease.asked.is_some() {
            return;
        }
        reads.round += 1;
        let half = if lease.holds == Some(Half::A) { Half::B } else { Half::A };
        lease.asked = Some((half, reads.round));
        fx.push(Effect::SetTimer { timer: Timer::Lease(half), within: within..=within });
        self.renew_lease();
    }

    /// A quorum may have given the lease that was asked for.
    pub(super) fn renew_lease(&mut self) {
        let Standing::Proposer(proposer) = &self.standing else { return };
        if let Some((half, round)) = proposer.lease.asked
            && self.is_echoed(round)
        {
            let lease = &mut self.proposer().lease;
            (lease.holds, lease.asked) = (Some(half), None);
        }
    }

    /// Whatever hangs on that timer is over.
    pub(super) fn on_lease_end(&mut self, half: Half) {
        let Standing::Proposer(proposer) = &mut self.standing else { return };
        let lease = &mut proposer.lease;
        lease.holds.take_if(|holds| *holds == half);
        lease.asked.take_if(|(asked, _)| *asked == half);
    }
}

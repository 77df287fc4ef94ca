//! Linearizable reads without a place in the log. (§6.3 has the primary answer under a lease, which needs
//! clocks; this is Raft's way, Ongaro's dissertation §6.4.)
//!
//! A primary that is cut off may not know that there is a later view. It notes its commit-number, and
//! serves a read at that once a quorum has answered, in its view, a message sent *after* the read arrived:
//! then no later view had begun before. Reads share such rounds.
//!
//! Until what it found in the log when its view began is committed a primary does not know what earlier
//! primaries have told their clients, and reads wait for that.

use std::collections::VecDeque;

use contract::{Effect, Effects, Index, Rejection, RequestId};

use super::{Status, Vr};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// The latest round that began.
    pub(super) round: u64,
    /// Reads of that round, and the commit-number when it began.
    begun: Vec<RequestId>,
    index: Index,
    /// Reads that join the next round.
    queued: VecDeque<RequestId>,
}

impl Reads {
    /// All reads that were not served, in order of arrival.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        self.begun.into_iter().chain(self.queued)
    }
}

impl Vr {
    pub(super) fn serve_read(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        let reason = match &mut self.status {
            Status::Primary(leading) => {
                leading.reads.queued.push_back(request);
                return self.begin_reads(fx);
            }
            _ if self.failed => Rejection::Stopped,
            _ => Rejection::NotLeader { leader: self.leader() },
        };
        fx.push(Effect::Reject { request, reason });
    }

    /// Begins a round for the reads that wait for one, unless one is under way or the commit-number cannot
    /// be trusted yet.
    pub(super) fn begin_reads(&mut self, fx: &mut Effects<Self>) {
        let commit = self.commit;
        let Status::Primary(leading) = &mut self.status else { return };
        let reads = &mut leading.reads;
        if reads.queued.is_empty() || !reads.begun.is_empty() || commit < leading.inherited {
            return;
        }
        reads.round += 1;
        reads.index = commit;
        reads.begun.extend(reads.queued.drain(..));
        self.broadcast_commit(fx);
        self.finish_reads(fx);
    }

    /// Serves the reads whose round a quorum has echoed.
    pub(super) fn finish_reads(&mut self, fx: &mut Effects<Self>) {
        let (quorum, members) = (self.group.quorum(), self.group.members.voters.len());
        let Status::Primary(leading) = &mut self.status else { return };
        let echoed = leading.agreed(leading.reads.round, quorum, members, |ack| ack.round);
        if echoed < leading.reads.round || leading.reads.begun.is_empty() {
            return;
        }
        let index = leading.reads.index;
        for request in leading.reads.begun.drain(..) {
            fx.push(Effect::ReadAt { request, index });
        }
        self.begin_reads(fx);
    }
}

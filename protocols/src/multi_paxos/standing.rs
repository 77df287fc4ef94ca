//! What a replica is about: whom it follows, and for how long it trusts that one.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{Effect, Effects, NodeId, Rejection};

use super::proposer::Proposer;
use super::{MultiPaxos, Timer};

/// What a replica is about, and what it knows by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    Follower {
        /// Who was last heard from as the leader of the promised ballot.
        leader: Option<NodeId>,
        /// Whether that, or a candidate whom it promised, is given time.
        trusts: bool,
    },
    /// Asks whether to stand.
    Prober { supporters: BTreeSet<NodeId> },
    /// Has taken a ballot.
    Proposer(Box<Proposer>),
}

impl MultiPaxos {
    pub(super) fn leads(&self) -> bool {
        matches!(&self.standing, Standing::Proposer(proposer) if proposer.leads)
    }

    pub(super) fn trusts(&self) -> bool {
        matches!(self.standing, Standing::Follower { trusts: true, .. })
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        match &self.standing {
            Standing::Follower { leader, .. } => *leader,
            Standing::Proposer(proposer) if proposer.leads => Some(self.cluster.me),
            Standing::Prober { .. } | Standing::Proposer(_) => None,
        }
    }

    /// Why a proposal cannot be taken, if it cannot.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        match &self.standing {
            _ if self.failed => Some(Rejection::Stopped),
            Standing::Proposer(proposer) if proposer.leads => {
                let waiting = proposer.open.len() + proposer.queue.len();
                (waiting >= self.cluster.options.max_uncommitted).then_some(Rejection::Overloaded)
            }
            _ => Some(Rejection::NotLeader { leader: self.leader() }),
        }
    }

    /// Becomes a follower, of a leader or of nobody; whether it gives that one time.
    pub(super) fn follow(&mut self, leader: Option<NodeId>, trusts: bool, fx: &mut Effects<Self>) {
        let trusted = self.trusts();
        let before = std::mem::replace(&mut self.standing, Standing::Follower { leader, trusts });
        if let Standing::Proposer(proposer) = before {
            self.close(*proposer, Rejection::NotLeader { leader }, fx);
        }
        if trusts {
            self.arm_trust_timer(fx);
            if !trusted {
                fx.push(Effect::CancelTimer(Timer::Election));
            }
            return;
        }
        if trusted {
            fx.push(Effect::CancelTimer(Timer::Trust));
        }
        if self.votes() || self.retiring.is_some() {
            self.arm_election_timer(fx);
        } else {
            fx.push(Effect::CancelTimer(Timer::Election));
        }
    }

    /// Ends a reign, or the attempt at one: whoever waits for it is told.
    pub(super) fn close(&mut self, proposer: Proposer, reason: Rejection, fx: &mut Effects<Self>) {
        fx.push(Effect::CancelTimer(Timer::Heartbeat));
        if let Some(transfer) = proposer.transfer {
            let request = transfer.request;
            let took_over = self.promised.owner() == Some(transfer.to);
            fx.push(if took_over {
                Effect::Controlled { request }
            } else {
                Effect::Reject { request, reason }
            });
        }
        let queued = proposer.queue.into_iter().map(|(request, _)| request);
        let change = proposer.change.and_then(|change| change.request);
        for request in queued.chain(proposer.reads.into_requests()).chain(change) {
            fx.push(Effect::Reject { request, reason });
        }
    }

    pub(super) fn arm_trust_timer(&self, fx: &mut Effects<Self>) {
        let (min, _) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Trust, within: min..=min });
    }

    /// The leader has been silent for the shortest election timeout. By when it is doubted aloud is drawn, so
    /// that not all do so at once.
    pub(super) fn on_trust_timer(&mut self, fx: &mut Effects<Self>) {
        self.standing = Standing::Follower { leader: None, trusts: false };
        if self.votes() || self.retiring.is_some() {
            let (min, max) = self.cluster.options.election_timeout;
            fx.push(Effect::SetTimer { timer: Timer::Election, within: Duration::ZERO..=max - min });
        }
    }
}

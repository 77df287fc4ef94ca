//! Witnesses: voters that keep a log and no state of the service.
//!
//! A witness makes a quorum with one disk's worth of log. It persists, acknowledges and votes like any voter and
//! hands nothing to its service. What follows from that:
//!
//! - **It does not lead for long.** It may have to lead: it may hold the only copy of a committed entry among
//!   those that are left. It stands later than others do, takes no requests, brings a voter that keeps the
//!   state up to date and appoints that one.
//! - **It drops its log only when nobody can need it from there.** Others drop what their service has, and
//!   offer a snapshot; a witness has none to offer, unless it kept the state until lately: that is still good for
//!   a snapshot as long as the log goes on from there. The leader tells up to where *all* who keep the state hold
//!   the log ([`Message::Trim`]). So while one of them is down the log of a witness grows.
//! - **It needs no snapshot.** What it lacks it can skip once it has left the leader's log: of what was
//!   committed without it a copy is left among those who committed it ([`Message::SkipTo`]).
//! - **It may become a full voter, and then lacks the state.** Its log is whole, so it votes and acknowledges as ever
//!   and says with each acknowledgement from where on a snapshot would make up for it. Until it has one it counts
//!   as nobody who keeps the state.

use std::sync::Arc;

use contract::{Bug, Effect, Effects, Index, Mark, Membership, NodeId};

use super::message::Message;
use super::progress::Mode;
use super::{Raft, Standing};

/// Any replica.
impl Raft {
    pub(super) fn is_witness(&self) -> bool {
        self.log.membership().is_witness(self.cluster.me)
    }

    /// Whether the log begins behind what the service has: this was a witness.
    pub(super) fn lacks_state(&self) -> bool {
        self.handed < self.log.start().index
    }

    /// Whether it has no state to serve clients from.
    pub(super) fn keeps_no_state(&self) -> bool {
        self.lacks_state() || self.is_witness()
    }

    /// Hands the service what is committed, in order.
    pub(super) fn serve(&mut self, fx: &mut Effects<Self>) {
        let planted = self.cluster.bugs.has(Bug::InstallRacesApply);
        let to = self.log.servable(self.commit);
        if self.handed >= to || self.keeps_no_state() || self.is_installing() && !planted {
            return;
        }
        fx.push(Effect::Commit(self.log.between(self.handed, to)));
        self.handed = to;
        // A snapshot that holds no more than that is of no use.
        self.incoming = self.incoming.take().filter(|incoming| incoming.snapshot.index > to || planted);
    }
}

/// The leader's side.
impl Raft {
    /// A witness lacks what has left the log: it may leave that out.
    pub(super) fn let_skip(&mut self, slot: usize, fx: &mut Effects<Self>) {
        let (term, mark) = (self.term, self.log.start());
        let membership = Arc::clone(self.log.membership_at(mark.index));
        let Standing::Leader(leading) = &mut self.standing else { panic!("only leaders let others skip") };
        let peer = &mut leading.peers[slot];
        peer.mode = Mode::Probe { waiting: true };
        let round = leading.reads.round;
        fx.send(peer.peer, Message::SkipTo { term, mark, membership, round }, None);
    }

    /// Tells witnesses what they need not keep, from time to time.
    pub(super) fn trim_witnesses(&mut self, fx: &mut Effects<Self>) {
        let membership = self.log.membership();
        if membership.witnesses.is_empty() {
            return;
        }
        let (term, every) = (self.term, self.cluster.options.snapshot_entries);
        let leading = self.leading();
        let held = |node: NodeId| match leading.slot_of(node) {
            Some(slot) => leading.peers[slot].matched,
            None => self.log.durable(),
        };
        let keepers =
            membership.all().filter(|node| membership.votes(*node) && !membership.is_witness(*node));
        let index = keepers.map(held).min().unwrap_or_default().min(self.applied);
        if index.0 < leading.trimmed.0 + every {
            return;
        }
        for witness in membership.witnesses.iter().filter(|witness| **witness != self.cluster.me) {
            fx.send(*witness, Message::Trim { term, index }, None);
        }
        self.leading_mut().trimmed = index;
    }

    /// A follower acknowledged a log, and may owe a state.
    pub(super) fn send_state_to(&mut self, follower: NodeId, fx: &mut Effects<Self>) {
        let offers = !self.lacks_state() && !self.log.membership().is_witness(follower);
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(slot) = leading.slot_of(follower).filter(|_| offers) else { return };
        let peer = &mut leading.peers[slot];
        let Some(state) = peer.lacks.filter(|state| *state <= self.applied) else { return };
        let under_way = match &peer.mode {
            Mode::Snapshot(transfer) => transfer.snapshot.is_none_or(|mark| mark.index >= state),
            Mode::Probe { .. } | Mode::Replicate(_) => false,
        };
        if !under_way {
            peer.begin_snapshot();
            fx.push(Effect::ReadChunk { to: follower, snapshot: None, offset: 0 });
        }
    }
}

/// The follower's side.
impl Raft {
    pub(super) fn on_skip_to(
        &mut self,
        from: NodeId,
        mark: Mark,
        membership: Arc<Membership>,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        // Whether this is a witness the leader knows, who may not have come to send it the entry that says so.
        if self.is_installing() {
            return;
        }
        if mark.index > self.commit {
            self.commit = mark.index;
            self.move_log_to(mark, membership, fx);
        }
        self.acknowledge(from, self.commit, round, fx);
    }

    /// All who keep the state hold the log up to `index`.
    pub(super) fn on_trim(&mut self, index: Index, fx: &mut Effects<Self>) {
        let settled = self.log.membership_index() <= self.commit;
        let index = index.min(self.commit);
        if self.is_witness() && settled && !self.is_installing() && index > self.log.start().index {
            self.compact(self.log.mark_at(index), fx);
        }
    }
}

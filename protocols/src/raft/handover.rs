//! Handing the leadership over (dissertation §3.10): to whom an operator names, to anyone who keeps the
//! service's state if the leader does not, or to the voter who is furthest when the leader is removed.
//!
//! The heir is brought up to date and told to stand at once; the others owe the old leader no loyalty against
//! it. Meanwhile no proposals are taken, for they would only keep the heir behind. If nothing has come of it
//! after an election timeout, the leader goes on.

use contract::{Bug, Effect, Effects, NodeId, Rejection, RequestId};

use super::message::Message;
use super::progress::Progress;
use super::{Raft, Standing, Timer};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handover {
    pub(super) to: NodeId,
    /// Who asked for it.
    pub(super) request: Option<RequestId>,
    /// It was told to stand.
    pub(super) appointed: bool,
}

impl Raft {
    /// An operator asks for a handover.
    pub(super) fn transfer(&mut self, request: RequestId, to: NodeId, fx: &mut Effects<Self>) {
        let reason = self.refusal().or_else(|| {
            let busy = self.leading().handover.is_some();
            let unfit = !self.may_lead(to);
            unfit.then_some(Rejection::Unsupported).or(busy.then_some(Rejection::Overloaded))
        });
        if let Some(reason) = reason {
            return fx.push(Effect::Reject { request, reason });
        }
        if to == self.cluster.me {
            return fx.push(Effect::Controlled { request });
        }
        self.leading_mut().handover = Some(Handover { to, request: Some(request), appointed: false });
        let (_, max) = self.cluster.options.election_timeout;
        fx.push(Effect::SetTimer { timer: Timer::Handover, within: max..=max });
        self.hand_over_to(to, fx);
    }

    /// Whether a member can serve clients as their leader.
    fn may_lead(&self, node: NodeId) -> bool {
        let membership = self.log.membership();
        membership.votes(node) && !membership.is_witness(node)
    }

    /// A member acknowledged something: if it is the heir and has everything, its time has come.
    pub(super) fn hand_over_to(&mut self, peer: NodeId, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &self.standing else { return };
        let chosen = leading.handover.as_ref().is_some_and(|handover| handover.to == peer);
        let heir = chosen || self.keeps_no_state() && self.may_lead(peer);
        let Some(slot) = leading.slot_of(peer).filter(|_| heir) else { return };
        if self.has_all(&leading.peers[slot]) {
            self.appoint(peer, fx);
        }
    }

    fn has_all(&self, peer: &Progress) -> bool {
        peer.matched == self.log.last().index && peer.lacks.is_none()
    }

    fn appoint(&mut self, heir: NodeId, fx: &mut Effects<Self>) {
        let term = self.term;
        let leading = self.leading_mut();
        if let Some(handover) = &mut leading.handover {
            handover.appointed |= handover.to == heir;
        }
        // From now on followers may elect it, loyal or not.
        leading.lease.give_up(fx);
        if !self.cluster.bugs.has(Bug::HeirNotTold) {
            fx.send(heir, Message::TimeoutNow { term }, None);
        }
    }

    /// The heir did not take office in time.
    pub(super) fn on_handover_timer(&mut self, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { return };
        if let Some(Handover { request: Some(request), .. }) = leading.handover.take() {
            fx.push(Effect::Reject { request, reason: Rejection::Lost });
        }
    }

    /// The leader is no voter any more, and that is committed: who has all that it has takes over.
    pub(super) fn abdicate(&mut self, fx: &mut Effects<Self>) {
        let heirs = self.leading().peers.iter().filter(|peer| self.has_all(peer));
        if let Some(heir) = heirs.map(|peer| peer.peer).find(|peer| self.may_lead(*peer)) {
            self.appoint(heir, fx);
        }
        self.step_down(None, fx);
    }

    /// The leader appoints this replica.
    pub(super) fn on_timeout_now(&mut self, fx: &mut Effects<Self>) {
        let free = !self.is_leader() && !self.is_installing();
        if free && self.may_stand() {
            self.campaign(true, fx);
        }
    }
}

//! Reconfiguration (§7): epochs, each with a group of its own.
//!
//! The operation that calls for a new group is ordered like any other, and nothing is ordered behind it.
//! Once it is committed the old group has done its work: whoever learns of that goes over to the next
//! epoch, in which the log up to there is the first view's. Members that were not there before, or that
//! did not learn of it, hear of the epoch from others and fetch a checkpoint. Replicas that were replaced
//! see to it that enough of the new ones have.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use contract::{Effect, Effects, Epoch, Index, Membership, NodeId, Payload, Rejection, RequestId};

use super::group::{Group, epoch_of};
use super::message::Message;
use super::{Handover, Record, Status, Vr};

impl Vr {
    /// Whether it takes part in the present epoch, with its memory intact.
    pub(super) fn takes_part(&self) -> bool {
        !matches!(self.status, Status::Outside(_) | Status::Recovering(_))
    }

    /// An operator asks for another group.
    pub(super) fn reconfigure(&mut self, request: RequestId, to: &Membership, fx: &mut Effects<Self>) {
        let voters_alone = *to == Membership::of(to.voters.iter().copied()) && !to.voters.is_empty();
        if let Some(reason) = self.refusal() {
            fx.push(Effect::Reject { request, reason });
        } else if !voters_alone {
            fx.push(Effect::Reject { request, reason: Rejection::Unsupported });
        } else if *to == self.group.members {
            fx.push(Effect::Controlled { request });
        } else {
            self.order(request, Payload::Membership(to.clone()), fx);
        }
    }

    /// Whether the last operation of the epoch is in the log.
    pub(super) fn is_ending_epoch(&self) -> bool {
        let last = self.log.last_entry().filter(|last| last.mark.index > self.group.since);
        last.is_some_and(|last| matches!(last.payload, Payload::Membership(_)))
    }

    /// The last operation of the epoch is committed.
    pub(super) fn end_epoch(&mut self, members: Membership, since: Index, fx: &mut Effects<Self>) {
        assert_eq!(self.log.last().index, since, "nothing is ordered behind the end of an epoch");
        if matches!(self.status, Status::Primary(_)) {
            // Backups that hold it need no checkpoint.
            self.broadcast_commit(fx);
        }
        let group = self.group.followed_by(members, since);
        let first = group.first;
        self.enter_epoch(group, first, fx);
    }

    /// Goes over to another epoch, which has come to some view. It cannot have taken part before: that would
    /// be on its disk.
    pub(super) fn enter_epoch(&mut self, group: Group, view: Epoch, fx: &mut Effects<Self>) {
        assert!(group.first > self.group.first && group.since <= self.commit, "epochs never fall");
        let was_member = self.group.contains(self.cluster.me);
        let (first, is_member) = (group.first, group.contains(self.cluster.me));
        self.saving = Some(fx.persist(vec![Record::Group(group.clone())]));
        self.group = group;
        (self.view, self.last_normal) = (first, first);
        if is_member && view > first {
            self.enter(Status::Backup, fx);
            self.start_view_change(view, fx);
        } else if is_member {
            self.enter_view(first, fx);
        } else {
            self.view = view;
            let handover = Handover { begun: BTreeSet::new(), forgot: false };
            self.enter(Status::Outside(was_member.then_some(handover)), fx);
        }
        match self.status {
            Status::Primary(_) => self.broadcast_commit(fx),
            Status::Outside(Some(_)) => {
                self.arm_heartbeat_timer(fx);
                self.hand_over(fx);
            }
            _ => {}
        }
    }

    /// Whether a message is of the present epoch. A sender that lags behind is told; one that is ahead has
    /// what this replica lacks, unless it has lost it.
    pub(super) fn is_of_this_epoch(
        &mut self,
        from: NodeId,
        message: &Message,
        fx: &mut Effects<Self>,
    ) -> bool {
        let Some(view) = message.view() else { return true };
        match epoch_of(view).cmp(&epoch_of(self.group.first)) {
            Ordering::Equal => return true,
            Ordering::Less => self.send(from, Message::StartEpoch { view: self.group.first }, fx),
            Ordering::Greater if matches!(message, Message::Recovery { .. }) => {}
            Ordering::Greater => self.fetch_snapshot(from, fx),
        }
        false
    }

    /// Tells the members of the new group that it is theirs to go on.
    pub(super) fn hand_over(&mut self, fx: &mut Effects<Self>) {
        let Status::Outside(Some(handover)) = &self.status else { return };
        for member in self.group.members.voters.difference(&handover.begun) {
            self.send(*member, Message::StartEpoch { view: self.group.first }, fx);
        }
    }

    pub(super) fn on_start_epoch(&mut self, from: NodeId, view: Epoch, fx: &mut Effects<Self>) {
        if self.takes_part() {
            self.send(from, Message::EpochStarted { view }, fx);
        }
    }

    pub(super) fn on_epoch_started(&mut self, from: NodeId) {
        let Status::Outside(Some(handover)) = &mut self.status else { return };
        handover.begun.insert(from);
        if handover.begun.len() >= self.group.quorum() {
            self.status = Status::Outside(None);
        }
    }
}

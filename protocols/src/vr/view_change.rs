//! View changes (§4.2).

use std::collections::BTreeMap;

use contract::{Bug, Effect, Effects, Epoch, Index, NodeId, Rejection, RequestId};

use super::log::Suffix;
use super::message::Message;
use super::starts::Starts;
use super::{Law, Status, Vr};

/// A view change, as one replica knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Who has joined it, and in its how manyth start.
    joined: BTreeMap<NodeId, u64>,
    /// Whether a quorum has, so that this replica has told its log.
    agreed: bool,
    /// At the new primary: what it was told.
    told: BTreeMap<NodeId, Told>,
}

/// What a replica holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Told {
    /// In its how manyth start.
    start: u64,
    last_normal: Epoch,
    log: Suffix,
    commit: Index,
}

impl Vr {
    /// Whether what a node said in some start of its still counts.
    pub(super) fn counts(&self, node: NodeId, start: u64) -> bool {
        start >= self.starts.of(node) || self.cluster.bugs.has(Bug::DeadVotesCounted)
    }

    pub(super) fn on_view_change_timer(&mut self, fx: &mut Effects<Self>) {
        match &self.status {
            // In a moment it holds more.
            _ if self.is_installing() => self.arm_view_change_timer(fx),
            Status::Backup => self.start_view_change(self.view.next(), fx),
            // The new primary does not answer: the next one may.
            Status::Changing(change) if change.agreed => self.start_view_change(self.view.next(), fx),
            // It is alone with it.
            Status::Changing(_) => self.arm_view_change_timer(fx),
            Status::Outside(_) | Status::Primary(_) | Status::Recovering(_) => {}
        }
    }

    /// Leaves normal operation for another view.
    pub(super) fn start_view_change(&mut self, view: Epoch, fx: &mut Effects<Self>) {
        assert!(view > self.view, "views never fall");
        assert!(self.takes_part(), "who has lost its memory has no say");
        self.view = view;
        let me = self.cluster.me;
        let joined = BTreeMap::from([(me, self.starts.of(me))]);
        self.enter(Status::Changing(Change { joined, ..Change::default() }), fx);
        self.arm_heartbeat_timer(fx);
        self.call_for_view(fx);
        self.try_agree(fx);
    }

    fn call_for_view(&self, fx: &mut Effects<Self>) {
        self.broadcast(&Message::StartViewChange { view: self.view, starts: self.starts.clone() }, fx);
    }

    pub(super) fn repeat_view_change(&mut self, fx: &mut Effects<Self>) {
        self.call_for_view(fx);
        self.retell_log(fx);
    }

    pub(super) fn on_start_view_change(
        &mut self,
        from: NodeId,
        view: Epoch,
        starts: &Starts,
        fx: &mut Effects<Self>,
    ) {
        if self.join(from, view, starts, fx) {
            self.try_agree(fx);
        }
    }

    /// Joins a view change that another has joined. Whether it is under way here.
    fn join(&mut self, from: NodeId, view: Epoch, starts: &Starts, fx: &mut Effects<Self>) -> bool {
        let start = starts.of(from);
        if view < self.view || !self.takes_part() || !self.counts(from, start) {
            return false;
        }
        assert!(self.group.contains(from), "{from} is not a member");
        if view > self.view {
            self.start_view_change(view, fx);
        }
        match &mut self.status {
            Status::Changing(change) => {
                change.joined.insert(from, start);
                true
            }
            Status::Primary(_) => {
                // It missed the beginning of the view.
                let log = self.log.suffix(self.log.start().index);
                self.send(from, Message::StartView { view, log, commit: self.commit }, fx);
                false
            }
            _ => false,
        }
    }

    /// Tells the new primary the own log, once a quorum has joined.
    fn try_agree(&mut self, fx: &mut Effects<Self>) {
        let Status::Changing(change) = &self.status else { return };
        let joined = change.joined.iter().filter(|(node, start)| self.counts(**node, **start)).count();
        if change.agreed || joined < self.group.quorum() {
            return;
        }
        let Status::Changing(change) = &mut self.status else { return };
        change.agreed = true;
        self.tell_log(fx);
    }

    fn tell_log(&mut self, fx: &mut Effects<Self>) {
        let (view, last_normal, commit) = (self.view, self.last_normal, self.commit);
        let log = self.log.suffix(self.log.start().index);
        let (me, primary) = (self.cluster.me, self.primary());
        if primary != me {
            let starts = self.starts.clone();
            let message = Message::DoViewChange { view, last_normal, log, commit, starts };
            return self.send(primary, message, fx);
        }
        let start = self.starts.of(me);
        let Status::Changing(change) = &mut self.status else { return };
        change.told.insert(me, Told { start, last_normal, log, commit });
        self.try_start_view(fx);
    }

    /// A checkpoint was installed: what this replica told is outdated.
    pub(super) fn retell_log(&mut self, fx: &mut Effects<Self>) {
        if matches!(&self.status, Status::Changing(change) if change.agreed) {
            self.tell_log(fx);
        }
    }

    pub(super) fn on_do_view_change(
        &mut self,
        from: NodeId,
        view: Epoch,
        starts: &Starts,
        (last_normal, log, commit): (Epoch, Suffix, Index),
        fx: &mut Effects<Self>,
    ) {
        if !self.join(from, view, starts, fx) || self.primary() != self.cluster.me {
            return;
        }
        let start = starts.of(from);
        if let Status::Changing(change) = &mut self.status {
            change.told.insert(from, Told { start, last_normal, log, commit });
        }
        self.try_agree(fx);
        self.try_start_view(fx);
    }

    /// Begins the view, once a quorum has told its logs, this replica among them.
    pub(super) fn try_start_view(&mut self, fx: &mut Effects<Self>) {
        let Status::Changing(change) = &self.status else { return };
        let told = || change.told.iter().filter(|(node, told)| self.counts(**node, told.start));
        if told().count() < self.group.quorum() || !change.told.contains_key(&self.cluster.me) {
            return;
        }
        let best = told().max_by_key(|(_, told)| (told.last_normal, told.log.last().index));
        let (node, Told { log, .. }) = best.expect("a quorum is not empty");
        let commit = told().map(|(_, told)| told.commit).max().expect("a quorum is not empty");
        let (node, log) = (*node, log.clone());
        if commit > log.last().index {
            return self.breaks(Law::CommittedStays);
        }
        if !self.adopt(node, &log, fx) {
            return;
        }
        self.enter_view(self.view, fx);
        let log = self.log.suffix(self.log.start().index);
        self.broadcast(&Message::StartView { view: self.view, log, commit }, fx);
        self.commit_to(commit, fx);
    }
}

/// An operator's requests.
impl Vr {
    /// Becomes primary of the next view in which it is its turn.
    pub(super) fn campaign(&mut self, request: RequestId, fx: &mut Effects<Self>) {
        match self.status {
            Status::Primary(_) => {}
            Status::Backup | Status::Changing(_) => {
                self.start_view_change(self.group.next_view_of(self.cluster.me, self.view), fx);
            }
            Status::Outside(_) | Status::Recovering(_) => {
                let reason = Rejection::NotLeader { leader: self.leader() };
                return fx.push(Effect::Reject { request, reason });
            }
        }
        fx.push(Effect::Controlled { request });
    }

    /// Goes on to the next view in which it is another's turn. Nothing is lost by that: a view change takes
    /// all that may be committed along.
    pub(super) fn transfer(&mut self, request: RequestId, to: NodeId, fx: &mut Effects<Self>) {
        let reason = match self.status {
            Status::Primary(_) if !self.group.contains(to) => Rejection::Unsupported,
            Status::Primary(_) => {
                if to != self.cluster.me {
                    self.start_view_change(self.group.next_view_of(to, self.view), fx);
                }
                return fx.push(Effect::Controlled { request });
            }
            _ => Rejection::NotLeader { leader: self.leader() },
        };
        fx.push(Effect::Reject { request, reason });
    }
}

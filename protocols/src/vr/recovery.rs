//! Recovery of a replica that lost its memory (§4.3, §8.2).

use std::collections::BTreeMap;

use contract::{Bug, Effects, Epoch, Index, NodeId};

use super::log::Suffix;
use super::message::Message;
use super::starts::Starts;
use super::{Status, Vr};

/// What a recovering replica has been told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Recovery {
    /// It never started before, and has nothing to recover.
    fresh: bool,
    answers: BTreeMap<NodeId, Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Answer {
    /// In the how manyth start of who answered.
    start: u64,
    view: Epoch,
    /// From the primary: the log and the commit-number.
    log: Option<(Suffix, Index)>,
}

impl Recovery {
    pub(super) fn new(fresh: bool) -> Self {
        Self { fresh, answers: BTreeMap::new() }
    }
}

/// The side of the replica that recovers.
impl Vr {
    /// Its start is durable, or its group.
    pub(super) fn on_saved(&mut self, fx: &mut Effects<Self>) {
        match &self.status {
            Status::Recovering(Recovery { fresh: true, .. }) => self.enter_view(self.view, fx),
            Status::Recovering(_) => {
                self.ask_for_recovery(fx);
                self.arm_heartbeat_timer(fx);
            }
            Status::Outside(Some(_)) => self.arm_heartbeat_timer(fx),
            _ => {}
        }
    }

    /// Asks again from the start: what it was told before no longer fits what it holds.
    pub(super) fn restart_recovery(&mut self, fx: &mut Effects<Self>) {
        if let Status::Recovering(recovery) = &mut self.status {
            recovery.answers.clear();
            self.ask_for_recovery(fx);
        }
    }

    pub(super) fn ask_for_recovery(&self, fx: &mut Effects<Self>) {
        let nonce = self.starts.of(self.cluster.me);
        let (view, after, starts) = (self.group.first, self.commit, self.starts.clone());
        self.broadcast(&Message::Recovery { view, nonce, after, starts }, fx);
    }

    pub(super) fn on_recovery_response(
        &mut self,
        from: NodeId,
        view: Epoch,
        nonce: u64,
        log: Option<(Suffix, Index)>,
        starts: &Starts,
        fx: &mut Effects<Self>,
    ) {
        let asked = self.starts.of(self.cluster.me);
        let Status::Recovering(recovery) = &mut self.status else { return };
        if nonce != asked || recovery.answers.get(&from).is_some_and(|answer| answer.view > view) {
            return;
        }
        recovery.answers.insert(from, Answer { start: starts.of(from), view, log });
        self.try_recover(fx);
    }

    /// Takes part again, once enough have answered and the primary of the latest view that they tell of is
    /// among them.
    fn try_recover(&mut self, fx: &mut Effects<Self>) {
        let Status::Recovering(recovery) = &self.status else { return };
        let answers = || recovery.answers.iter().filter(|(node, answer)| self.counts(**node, answer.start));
        let view = answers().map(|(_, answer)| answer.view).max();
        let mut latest = answers().filter(|(_, answer)| Some(answer.view) == view);
        let mut found = latest.find_map(|(node, answer)| Some((*node, answer.view, answer.log.clone()?)));
        if self.cluster.bugs.has(Bug::RecoveryFromAnyView) {
            let mut all = answers();
            found = all.find_map(|(node, answer)| Some((*node, answer.view, answer.log.clone()?)));
        } else if answers().count() < self.group.answers() {
            return;
        }
        let Some((primary, view, (log, commit))) = found else { return };
        if self.adopt(primary, &log, fx) {
            self.enter_view(view, fx);
            self.acknowledge(0, fx);
            self.commit_to(commit, fx);
        }
    }
}

/// The side of the others.
impl Vr {
    pub(super) fn on_recovery(&mut self, from: NodeId, nonce: u64, after: Index, fx: &mut Effects<Self>) {
        // A question of an earlier start may come late.
        if !self.is_normal() || self.starts.of(from) != nonce {
            return;
        }
        let is_primary = matches!(self.status, Status::Primary(_));
        let log = is_primary.then(|| (self.log.suffix(after), self.commit));
        let (view, starts) = (self.view, self.starts.clone());
        self.send(from, Message::RecoveryResponse { view, nonce, log, starts }, fx);
    }
}

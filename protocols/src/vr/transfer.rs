//! State transfer (§5): the log that a replica lacks, and where the others have dropped it, a checkpoint.
//!
//! A checkpoint is asked for part by part, each from the first byte that is lacking: so a part that was
//! lost or came twice, and a sender whose host only has a newer one, are all the same case. It holds
//! what is committed and nothing else; so any replica may send it and any may install it, in whatever
//! view either is. It comes with the group as of then, and with its sender's view: there may be operations
//! in it that were committed in that view, and who installs them must not go on in an earlier one.

use contract::{Bug, Effect, Effects, Epoch, Index, Mark, NodeId, SnapshotChunk, Token};

use super::group::Group;
use super::log::{Log, Suffix};
use super::message::Message;
use super::{Law, Status, Vr};

/// After how many heartbeats without news a part is asked for again, and after how many it is given up.
const IDLE_HEARTBEATS: (u8, u8) = (2, 7);

/// A checkpoint that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fetch {
    /// Whose encoding of the state it is.
    from: NodeId,
    /// Which; `None` before its first part has come.
    snapshot: Option<Mark>,
    /// The first byte that is not staged.
    next: u64,
    /// Heartbeats since a part has come.
    idle: u8,
    /// All is staged and the service's state is being replaced.
    installing: Option<Installing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Installing {
    token: Token,
    snapshot: Mark,
    /// The sender's view and its group.
    view: Epoch,
    group: Group,
}

impl Fetch {
    /// Whether it tells more than what is committed up to `index`.
    pub(super) fn is_beyond(&self, index: Index) -> bool {
        self.snapshot.is_none_or(|snapshot| snapshot.index > index)
    }
}

/// The log.
impl Vr {
    /// Asks for what it lacks of the log of a view that it has heard of.
    pub(super) fn catch_up(&mut self, from: NodeId, view: Epoch, fx: &mut Effects<Self>) {
        if self.fetch.is_some() {
            return;
        }
        if view > self.view && self.cluster.bugs.has(Bug::StateTransferTruncates) {
            self.log.truncate(self.commit);
        }
        // Of another view's log it holds for sure what is committed.
        let after = if self.last_normal == view { self.log.last().index } else { self.commit };
        self.send(from, Message::GetState { view, after }, fx);
    }

    pub(super) fn on_get_state(&mut self, from: NodeId, after: Index, fx: &mut Effects<Self>) {
        if self.is_normal() {
            let (view, log, commit) = (self.view, self.log.suffix(after), self.commit);
            self.send(from, Message::NewState { view, log, commit }, fx);
        }
    }

    /// The log of a view, from somebody in normal operation in it. Until it is there the replica keeps its
    /// own, with all that it has acknowledged, and the view of which that is.
    pub(super) fn on_log(
        &mut self,
        from: NodeId,
        view: Epoch,
        log: &Suffix,
        commit: Index,
        fx: &mut Effects<Self>,
    ) {
        if view < self.view || !self.takes_part() {
            return;
        }
        if view > self.view || matches!(self.status, Status::Changing(_)) {
            if log.last().index < self.log.start().index {
                // It was sent before the checkpoint which this log begins behind.
                return;
            }
            if self.group.primary(view) == self.cluster.me {
                // It would have begun the view itself.
                return self.breaks(Law::OnePrimary);
            }
            if !self.adopt(from, log, fx) {
                return;
            }
            self.enter_view(view, fx);
        } else if matches!(self.status, Status::Backup) {
            if log.start.index > self.log.last().index {
                return self.fetch_snapshot(from, fx);
            }
            for entry in &log.entries {
                if entry.mark.index > self.log.last().index {
                    self.log.append(entry.clone());
                }
            }
        } else {
            return;
        }
        self.acknowledge(0, fx);
        self.commit_to(commit, fx);
    }
}

/// Checkpoints: the side of who lacks one.
impl Vr {
    pub(super) fn fetch_snapshot(&mut self, from: NodeId, fx: &mut Effects<Self>) {
        if self.fetch.is_some() {
            return;
        }
        self.fetch = Some(Fetch { from, snapshot: None, next: 0, idle: 0, installing: None });
        self.ask_for_part(fx);
        self.arm_heartbeat_timer(fx);
    }

    fn ask_for_part(&self, fx: &mut Effects<Self>) {
        let Some(Fetch { from, snapshot, next, .. }) = &self.fetch else { return };
        self.send(*from, Message::GetSnapshot { snapshot: *snapshot, offset: *next }, fx);
    }

    pub(super) fn repeat_fetch(&mut self, fx: &mut Effects<Self>) {
        let Some(fetch) = &mut self.fetch else { return };
        fetch.idle += 1;
        let (again, enough) = IDLE_HEARTBEATS;
        if fetch.idle >= enough {
            // Whoever is heard of next may be asked.
            self.fetch = None;
        } else if fetch.idle.is_multiple_of(again) {
            self.ask_for_part(fx);
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: NodeId,
        view: Epoch,
        chunk: SnapshotChunk,
        group: Group,
        fx: &mut Effects<Self>,
    ) {
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.from == from) else { return };
        if chunk.snapshot.index <= self.commit {
            // It tells nothing new.
            self.fetch = None;
            return;
        }
        let newer = fetch.snapshot.is_none_or(|snapshot| snapshot < chunk.snapshot);
        if newer && chunk.offset == 0 {
            (fetch.snapshot, fetch.next) = (Some(chunk.snapshot), 0);
        }
        if fetch.snapshot != Some(chunk.snapshot) || fetch.next != chunk.offset {
            return;
        }
        fetch.next += chunk.data.len() as u64;
        fetch.idle = 0;
        let (last, snapshot) = (chunk.last, chunk.snapshot);
        fx.push(Effect::Stage(chunk));
        if !last {
            return self.ask_for_part(fx);
        }
        let token = fx.token();
        fetch.installing = Some(Installing { token, snapshot, view, group });
        if matches!(self.status, Status::Primary(_)) {
            // There is a later view, or epoch.
            self.start_view_change(self.view.next(), fx);
        }
        fx.push(Effect::Install { token, snapshot });
    }

    pub(super) fn is_installing(&self) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| fetch.installing.is_some())
    }

    /// Whether `token` is the one of the installation under way.
    pub(super) fn installs(&self, token: Token) -> bool {
        let installing = self.fetch.as_ref().and_then(|fetch| fetch.installing.as_ref());
        installing.is_some_and(|installing| installing.token == token)
    }

    /// The service's state was replaced, durably.
    pub(super) fn on_installed(&mut self, fx: &mut Effects<Self>) {
        let installing = self.fetch.take().and_then(|fetch| fetch.installing);
        let Installing { snapshot: mark, view, group, .. } = installing.expect("it is under way");
        assert!(mark.index > self.commit, "a checkpoint only ever moves the state forward");
        // What follows the checkpoint's last operation stays. Where the log holds another one in its place,
        // nothing behind that can have been committed.
        match self.log.holds(mark) {
            true => self.log.compact(mark),
            false => self.log = Log::behind(mark),
        }
        self.commit = mark.index;
        if group.first > self.group.first {
            return self.enter_epoch(group, view, fx);
        }
        let ahead = view > self.view;
        match self.status {
            Status::Backup | Status::Primary(_) | Status::Changing(_) if ahead => {
                self.start_view_change(view, fx);
            }
            Status::Outside(_) if ahead => self.view = view,
            Status::Recovering(_) => {
                self.view = self.view.max(mark.epoch);
                self.restart_recovery(fx);
            }
            _ => self.retell_log(fx),
        }
    }
}

/// Checkpoints: the side of who has one.
impl Vr {
    pub(super) fn on_get_snapshot(
        &mut self,
        from: NodeId,
        snapshot: Option<Mark>,
        offset: u64,
        fx: &mut Effects<Self>,
    ) {
        let has_none = match &self.status {
            Status::Recovering(_) => true,
            Status::Outside(handover) => handover.as_ref().is_some_and(|handover| handover.forgot),
            _ => false,
        };
        if !has_none {
            fx.push(Effect::ReadChunk { to: from, snapshot, offset });
        }
    }

    pub(super) fn send_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        // One of an earlier epoch is of no use: a newer one is soon there.
        if chunk.snapshot.index >= self.group.since {
            let (view, group) = (self.view, self.group.clone());
            self.send(to, Message::Snapshot { view, chunk, group }, fx);
        }
    }
}

//! Normal operation (§4.1): the primary orders, the backups hold.

use std::collections::BTreeMap;

use contract::{Effect, Effects, Entry, Epoch, Index, Mark, NodeId, Payload, Rejection, RequestId};

use super::message::Message;
use super::read::Reads;
use super::{Law, Status, Vr};

/// What a primary knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    /// What each backup has acknowledged in this view.
    pub(super) acks: BTreeMap<NodeId, Ack>,
    pub(super) reads: Reads,
    /// The last entry that earlier views left: some of these may have been committed there.
    pub(super) inherited: Index,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ack {
    pub(super) op: Index,
    pub(super) round: u64,
}

impl Leading {
    pub(super) fn new(inherited: Index) -> Self {
        Self { acks: BTreeMap::new(), reads: Reads::default(), inherited }
    }

    /// The highest value that a quorum has reached, the primary's own among them.
    pub(super) fn agreed<T: Copy + Ord + Default>(
        &self,
        own: T,
        quorum: usize,
        members: usize,
        of: impl Fn(&Ack) -> T,
    ) -> T {
        let mut values: Vec<T> = self.acks.values().map(of).chain([own]).collect();
        values.resize(members.max(values.len()), T::default());
        values.sort_unstable();
        values[values.len() - quorum]
    }
}

/// The primary's side.
impl Vr {
    /// Why a proposal cannot be taken now.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        let uncommitted = self.log.last().index.0 - self.commit.0;
        match self.status {
            _ if self.failed => Some(Rejection::Stopped),
            // The next epoch's primary is to be asked, which nobody is yet.
            Status::Primary(_) if self.is_ending_epoch() => Some(Rejection::NotLeader { leader: None }),
            Status::Primary(_) if uncommitted >= self.cluster.options.max_uncommitted => {
                Some(Rejection::Overloaded)
            }
            Status::Primary(_) => None,
            _ => Some(Rejection::NotLeader { leader: self.leader() }),
        }
    }

    /// Gives an operation the next op-number and sends it to the backups.
    pub(super) fn order(&mut self, request: RequestId, payload: Payload, fx: &mut Effects<Self>) {
        let prev = self.log.last().index;
        let mark = Mark { epoch: self.view, index: prev.next() };
        let entry = Entry { mark, payload };
        self.log.append(entry.clone());
        fx.push(Effect::Proposed { request, mark });
        let message = self.prepare(prev, vec![entry]);
        self.broadcast(&message, fx);
        self.advance_commit(fx);
    }

    fn prepare(&self, prev: Index, entries: Vec<Entry>) -> Message {
        let Status::Primary(leading) = &self.status else { panic!("only primaries prepare") };
        let (view, commit, round) = (self.view, self.commit, leading.reads.round);
        Message::Prepare { view, prev, entries, commit, round }
    }

    /// Tells the backups what is committed, and to which round of reads it has come.
    pub(super) fn broadcast_commit(&self, fx: &mut Effects<Self>) {
        self.broadcast(&self.prepare(self.log.last().index, Vec::new()), fx);
    }

    /// Sends each backup again what it has not acknowledged.
    pub(super) fn repeat_prepares(&self, fx: &mut Effects<Self>) {
        let Status::Primary(leading) = &self.status else { return };
        let last = self.log.last().index;
        for backup in self.group.others(self.cluster.me) {
            let acked = leading.acks.get(&backup).map_or(Index::ZERO, |ack| ack.op);
            let limit = self.cluster.options.max_prepare_entries as u64;
            // One that acknowledged nothing in this view asks for what it lacks when it sees that it does.
            let message = match leading.acks.contains_key(&backup) && acked >= self.log.start().index {
                true => self.prepare(acked, self.log.between(acked, last.min(Index(acked.0 + limit)))),
                false => self.prepare(last, Vec::new()),
            };
            self.send(backup, message, fx);
        }
    }

    pub(super) fn on_prepare_ok(
        &mut self,
        from: NodeId,
        view: Epoch,
        op: Index,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let last = self.log.last().index;
        let Status::Primary(leading) = &mut self.status else { return };
        if view != self.view {
            return;
        }
        if op > last || round > leading.reads.round {
            return self.breaks(Law::OnePrimary);
        }
        let ack = leading.acks.entry(from).or_default();
        *ack = Ack { op: ack.op.max(op), round: ack.round.max(round) };
        self.advance_commit(fx);
        self.finish_reads(fx);
    }

    /// Commits what a quorum holds. Entries of earlier views count too: a view's log is chosen by the view
    /// that it was last the log of, not by the views of its entries.
    fn advance_commit(&mut self, fx: &mut Effects<Self>) {
        let Status::Primary(leading) = &self.status else { return };
        let (quorum, members) = (self.group.quorum(), self.group.members.voters.len());
        let agreed = leading.agreed(self.log.last().index, quorum, members, |ack| ack.op);
        self.commit_to(agreed, fx);
        self.begin_reads(fx);
    }
}

/// The backup's side.
impl Vr {
    #[expect(clippy::too_many_arguments, reason = "they are the message's fields")]
    pub(super) fn on_prepare(
        &mut self,
        from: NodeId,
        view: Epoch,
        prev: Index,
        entries: Vec<Entry>,
        commit: Index,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let behind = view > self.view || matches!(self.status, Status::Changing(_));
        if view < self.view || !self.takes_part() {
            return;
        }
        if from != self.group.primary(view) {
            return self.breaks(Law::OnePrimary);
        }
        if behind {
            return self.catch_up(from, view, fx);
        }
        self.arm_view_change_timer(fx);
        if prev > self.log.last().index {
            return self.catch_up(from, view, fx);
        }
        for entry in entries {
            if entry.mark.index > self.log.last().index {
                self.log.append(entry);
            }
        }
        self.acknowledge(round, fx);
        self.commit_to(commit, fx);
    }

    /// Tells the primary that it holds the log of its view.
    pub(super) fn acknowledge(&self, round: u64, fx: &mut Effects<Self>) {
        assert!(self.is_normal(), "only in normal operation a log is one of the present view");
        let message = Message::PrepareOk { view: self.view, op: self.log.last().index, round };
        self.send(self.primary(), message, fx);
    }
}

impl Vr {
    /// Hands entries to the service, in order, as far as the log holds them.
    pub(super) fn commit_to(&mut self, index: Index, fx: &mut Effects<Self>) {
        let index = index.min(self.log.last().index);
        if index <= self.commit {
            return;
        }
        assert!(!self.is_installing(), "the service's state is being replaced");
        let entries = self.log.between(self.commit, index);
        let ends = entries.iter().find_map(|entry| match &entry.payload {
            Payload::Membership(to) if entry.mark.index > self.group.since => {
                Some((to.clone(), entry.mark.index))
            }
            _ => None,
        });
        fx.push(Effect::Commit(entries));
        self.commit = index;
        self.fetch = self.fetch.take().filter(|fetch| fetch.is_beyond(index));
        if let Some((members, since)) = ends {
            self.end_epoch(members, since, fx);
        }
    }
}

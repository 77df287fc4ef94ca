//! SNAP, and compaction: the service's state instead of a history that has left the log.
//!
//! A leader reads one part at a time from its host and sends it; the learner says which byte it lacks
//! next. When it has all it puts the state in place of its own, and its history is empty behind the
//! snapshot's mark; what the leader holds behind that follows as a DIFF, and NEWLEADER behind it. A
//! learner whose connection breaks on the way says, when it is back with the *same* leader, what it has
//! put aside, and the transfer goes on there. (Another leader's encoding may be another one.)
//!
//! A snapshot is what the leader's service has applied, all of it committed. So unlike ZooKeeper's it is
//! not fuzzy: it holds all up to its mark and nothing beyond, and no transaction is applied twice.

use contract::{Effect, Effects, Epoch, Index, Mark, Membership, NodeId, SnapshotChunk, Token};

use super::learner::{Step, Transfer};
use super::message::Message;
use super::record::Record;
use super::{Law, Phase, Standing, Then, Zab};

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    /// The epoch of its sender.
    epoch: Epoch,
    snapshot: Mark,
    /// Who takes part as of it.
    membership: Membership,
    /// The first byte that is not staged.
    next: u64,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Progress {
    Staging,
    /// All is staged. Before the state is replaced, who takes part as of it is written down.
    Recording(Token),
    Installing(Token),
}

/// The leader's side.
impl Zab {
    pub(super) fn begin_snapshot(
        &mut self,
        node: NodeId,
        staged: Option<(Mark, u64)>,
        fx: &mut Effects<Self>,
    ) {
        let snapshot = staged.map(|(mark, _)| mark);
        let offset = staged.map_or(0, |(_, offset)| offset);
        self.learner_mut(node).step = Step::Receiving(Transfer { snapshot, offset, complete: false });
        fx.push(Effect::ReadChunk { to: node, snapshot, offset });
    }

    pub(super) fn send_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        let start = self.log.start();
        // By now it may lead no more, or the learner may have gone or come anew.
        let Standing::Leading(leading) = &mut self.standing else { return };
        let Some(learner) = leading.learners.get_mut(&to) else { return };
        let Step::Receiving(transfer) = &mut learner.step else { return };
        if chunk.snapshot.index < start.index {
            // An old one that the host still held, for a transfer that was broken off.
            *transfer = Transfer { snapshot: None, offset: 0, complete: false };
            return fx.push(Effect::ReadChunk { to, snapshot: None, offset: 0 });
        }
        let goes_on = transfer.snapshot == Some(chunk.snapshot) && transfer.offset == chunk.offset;
        if !goes_on && chunk.offset > 0 {
            return;
        }
        assert!(chunk.snapshot.index <= self.commit, "a snapshot holds what is committed");
        *transfer = Transfer { snapshot: Some(chunk.snapshot), offset: chunk.offset, complete: chunk.last };
        let membership = self.log.membership_at(chunk.snapshot.index).clone();
        fx.send(to, Message::Snap { chunk, membership }, None);
    }

    pub(super) fn on_snap_ack(&mut self, from: NodeId, snapshot: Mark, offset: u64, fx: &mut Effects<Self>) {
        let Step::Receiving(transfer) = &mut self.learner_mut(from).step else { return };
        let moves = transfer.offset != offset && (!transfer.complete || offset == 0);
        if transfer.snapshot == Some(snapshot) && moves {
            (transfer.offset, transfer.complete) = (offset, false);
            fx.push(Effect::ReadChunk { to: from, snapshot: Some(snapshot), offset });
        }
    }

    /// The learner's history now begins behind the snapshot.
    pub(super) fn on_learner_installed(&mut self, from: NodeId, snapshot: Mark, fx: &mut Effects<Self>) {
        match self.learner_mut(from).step {
            Step::Receiving(Transfer { snapshot: Some(sent), .. }) if sent == snapshot => {
                assert!(self.log.start() <= snapshot, "what stands behind a snapshot under way stays");
                self.send_history(from, snapshot, fx);
            }
            _ => self.breaks(Law::Integrity),
        }
    }
}

/// The learner's side.
impl Zab {
    /// How far a snapshot of the leader of `epoch` has come.
    pub(super) fn resumable(&mut self, epoch: Epoch) -> Option<(Mark, u64)> {
        self.incoming = self.incoming.take().filter(|incoming| incoming.epoch == epoch);
        self.incoming.as_ref().map(|incoming| (incoming.snapshot, incoming.next))
    }

    pub(super) fn on_snap(
        &mut self,
        from: NodeId,
        chunk: SnapshotChunk,
        membership: Membership,
        fx: &mut Effects<Self>,
    ) {
        let following = self.following_mut();
        let (epoch, snapshot) = (following.epoch, chunk.snapshot);
        if following.phase != Phase::Synchronisation || self.is_installing() {
            return self.breaks(Law::PrimaryOrder);
        }
        if snapshot.index <= self.commit {
            return self.breaks(Law::Agreement);
        }
        let fresh = Incoming { epoch, snapshot, membership, next: 0, progress: Progress::Staging };
        let known = self.incoming.take().filter(|known| known.snapshot == snapshot && chunk.offset > 0);
        let incoming = self.incoming.insert(known.unwrap_or(fresh));
        if chunk.offset == incoming.next {
            incoming.next += chunk.data.len() as u64;
            let last = chunk.last;
            fx.push(Effect::Stage(chunk));
            if last {
                let membership = incoming.membership.clone();
                let token = fx.persist(vec![Record::Installing { mark: snapshot, membership }]);
                incoming.progress = Progress::Recording(token);
                return;
            }
        }
        fx.send(from, Message::SnapAck { snapshot, offset: incoming.next }, None);
    }

    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.progress != Progress::Staging)
    }

    /// A write or an installation is durable: whether it was one of a snapshot's.
    pub(super) fn installation_goes_on(&mut self, token: Token, fx: &mut Effects<Self>) {
        let Some(incoming) = &mut self.incoming else { return };
        match incoming.progress {
            Progress::Recording(recording) if recording == token => {
                let token = fx.token();
                incoming.progress = Progress::Installing(token);
                fx.push(Effect::Install { token, snapshot: incoming.snapshot });
            }
            Progress::Installing(installing) if installing == token => self.on_installed(fx),
            _ => {}
        }
    }

    /// The service's state was replaced, durably. Nothing of the old history stays: what the leader's
    /// log did not reach back to is not in it.
    fn on_installed(&mut self, fx: &mut Effects<Self>) {
        let Incoming { snapshot: mark, membership, .. } = self.incoming.take().expect("an installation ends");
        assert!(mark.index > self.commit, "a snapshot only ever moves the state forward");
        assert!(mark.epoch <= self.accepted, "a snapshot holds transactions of epochs that were accepted");
        self.log.reset(mark, membership.clone());
        (self.commit, self.delivered, self.durable) = (mark.index, mark.index, mark);
        self.begin_log_behind(Record::Reset { mark, membership }, fx);
        self.regroup();
        match &self.standing {
            Standing::Following(following) => {
                fx.send(following.leader, Message::Installed { snapshot: mark }, None);
            }
            // It waited with the next election until its history stands.
            Standing::Looking(_) | Standing::Resting => self.begin(Then::Look, fx),
            Standing::Leading(_) => unreachable!("a leader's history stands"),
        }
    }

    /// Writes where the log now begins, and lets the journal forget what stood before. The epochs go
    /// first, so that no tear can leave the one without the other.
    pub(super) fn begin_log_behind(&mut self, record: Record, fx: &mut Effects<Self>) {
        let (accepted, current) = (self.accepted, self.current);
        fx.persist(vec![Record::Epochs { accepted, current }, record]);
        fx.push(Effect::Purge { below: self.log.start().index.next() });
    }

    /// Drops what the service durably includes, but for `keep` entries that spare followers a snapshot,
    /// and for what stands behind a snapshot that is under way.
    pub(super) fn compact(&mut self, keep: u64, fx: &mut Effects<Self>) {
        let kept = Index(self.durable.index.0.saturating_sub(keep));
        let under_way = match &self.standing {
            Standing::Leading(leading) => leading
                .learners
                .values()
                .filter_map(|learner| match learner.step {
                    Step::Receiving(transfer) => transfer.snapshot.map(|mark| mark.index),
                    _ => None,
                })
                .min(),
            _ => None,
        };
        let index = under_way.map_or(kept, |mark| mark.min(kept));
        if index > self.log.start().index {
            let mark = self.log.mark_at(index);
            self.log.compact(mark);
            let membership = self.log.membership_at(index).clone();
            self.begin_log_behind(Record::Compacted { mark, membership }, fx);
        }
    }
}

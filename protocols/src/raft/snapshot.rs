//! Log compaction and the transfer of snapshots (§7, Fig. 13).
//!
//! A leader reads one part at a time from its host and sends it. The follower says which byte it
//! lacks first; the leader sends what begins there. So a lost part, an answer that was lost or came
//! twice, a follower that restarted and has nothing, and a leader's host that only has a newer
//! snapshot are all the same case.

use std::sync::Arc;

use contract::{Bug, Effect, Effects, Epoch, Index, Mark, Membership, NodeId, SnapshotChunk, Token};

use super::message::Message;
use super::progress::Mode;
use super::record::{Record, Start};
use super::{Raft, Standing};

/// After how many heartbeats without news a part is sent again.
const IDLE_HEARTBEATS: u8 = 2;

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    /// The term of its sender: another leader's encoding of the same state may be another one.
    term: Epoch,
    pub(super) snapshot: Mark,
    membership: Arc<Membership>,
    /// The first byte that is not staged.
    next: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Receiving,
    /// All is staged. Its membership is being written down, without which the state alone would be of no use.
    Noting(Token),
    /// The service's state is being replaced.
    Installing(Token),
}

impl Incoming {
    pub(super) fn is_installing(&self) -> bool {
        self.stage != Stage::Receiving
    }

    pub(super) fn ack(&self, term: Epoch, round: u64) -> Message {
        Message::SnapshotAck { term, snapshot: self.snapshot, offset: self.next, round }
    }
}

/// The leader's side.
impl Raft {
    pub(super) fn begin_snapshot(&mut self, slot: usize, fx: &mut Effects<Self>) {
        let Standing::Leader(leading) = &mut self.standing else { panic!("only leaders send snapshots") };
        let peer = &mut leading.peers[slot];
        assert!(peer.next <= self.log.start().index, "entries are sent as long as they are there");
        peer.begin_snapshot();
        fx.push(Effect::ReadChunk { to: peer.peer, snapshot: None, offset: 0 });
    }

    /// At each heartbeat: begins the transfers that a compaction made necessary, and repeats what may
    /// have been lost. Nothing is read for a follower that is not there.
    pub(super) fn nudge_snapshots(&mut self, fx: &mut Effects<Self>) {
        for slot in 0..self.leading().peers.len() {
            let start = self.log.start().index;
            let Standing::Leader(leading) = &mut self.standing else { return };
            let peer = &mut leading.peers[slot];
            match &mut peer.mode {
                _ if !peer.active => {}
                Mode::Snapshot(transfer) => {
                    transfer.idle_heartbeats += 1;
                    if transfer.idle_heartbeats >= IDLE_HEARTBEATS {
                        transfer.idle_heartbeats = 0;
                        let (snapshot, offset) = (transfer.snapshot, transfer.offset);
                        fx.push(Effect::ReadChunk { to: peer.peer, snapshot, offset });
                    }
                }
                Mode::Probe { .. } | Mode::Replicate(_) if peer.next <= start => self.bring_forward(slot, fx),
                Mode::Probe { .. } | Mode::Replicate(_) => {}
            }
        }
    }

    pub(super) fn send_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        let (term, start) = (self.term, self.log.start().index);
        // By now it may have lost its office, or the follower its part, or have caught up.
        let Standing::Leader(leading) = &mut self.standing else { return };
        let Some(slot) = leading.slot_of(to) else { return };
        let Mode::Snapshot(transfer) = &mut leading.peers[slot].mode else { return };
        if chunk.snapshot.index < start {
            // What should follow it has left the log since it was taken.
            (transfer.snapshot, transfer.offset, transfer.end) = (None, 0, None);
            return fx.push(Effect::ReadChunk { to, snapshot: None, offset: 0 });
        }
        let newer = chunk.offset == 0 && transfer.snapshot.is_none_or(|held| held < chunk.snapshot);
        if newer {
            (transfer.snapshot, transfer.offset, transfer.end) = (Some(chunk.snapshot), 0, None);
        }
        if transfer.snapshot != Some(chunk.snapshot) || transfer.offset != chunk.offset {
            return;
        }
        assert!(chunk.snapshot.index <= self.commit, "a snapshot holds what is committed");
        if chunk.last {
            transfer.end = Some(chunk.offset + chunk.data.len() as u64);
        }
        transfer.idle_heartbeats = 0;
        let membership = Arc::clone(self.log.membership_at(chunk.snapshot.index));
        let round = leading.reads.round;
        fx.send(to, Message::InstallSnapshot { term, chunk, membership, round }, None);
    }

    pub(super) fn on_snapshot_ack(
        &mut self,
        from: NodeId,
        snapshot: Mark,
        offset: u64,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let Some((slot, leading)) = self.heard_from(from, round) else { return };
        if let Mode::Snapshot(transfer) = &mut leading.peers[slot].mode
            && transfer.snapshot == Some(snapshot)
            && transfer.offset != offset
        {
            transfer.offset = offset;
            transfer.idle_heartbeats = 0;
            if transfer.end != Some(offset) {
                fx.push(Effect::ReadChunk { to: from, snapshot: Some(snapshot), offset });
            }
        }
        self.confirm_rounds(fx);
    }
}

/// The follower's side.
impl Raft {
    pub(super) fn on_chunk_received(
        &mut self,
        from: NodeId,
        chunk: SnapshotChunk,
        membership: Arc<Membership>,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let term = self.term;
        if let Some(incoming) = self.incoming.as_ref().filter(|incoming| incoming.is_installing()) {
            return fx.send(from, incoming.ack(term, round), None);
        }
        if chunk.snapshot.index <= self.handed || chunk.snapshot.index < self.log.start().index {
            // It tells nothing new, or too little; what is committed here is in the leader's log (§5.4.3).
            return self.acknowledge(from, self.commit, round, fx);
        }
        let held = self.incoming.as_ref().filter(|incoming| incoming.term == term);
        if held.is_some_and(|incoming| incoming.snapshot > chunk.snapshot) {
            // A late part of what the leader itself has given up.
            return;
        }
        let snapshot = chunk.snapshot;
        let fresh = Incoming { term, snapshot, membership, next: 0, stage: Stage::Receiving };
        let known = self.incoming.take().filter(|held| (held.term, held.snapshot) == (term, snapshot));
        let mut incoming = known.unwrap_or(fresh);
        if chunk.offset == incoming.next {
            incoming.next += chunk.data.len() as u64;
            let last = chunk.last;
            fx.push(Effect::Stage(chunk));
            if last {
                let membership = Membership::clone(&incoming.membership);
                incoming.stage =
                    Stage::Noting(self.write(vec![Record::Installing { mark: snapshot, membership }], fx));
            }
        }
        fx.send(from, incoming.ack(term, round), None);
        self.incoming = Some(incoming);
    }

    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::is_installing)
    }

    /// Whether `token` is the one of the installation under way.
    pub(super) fn installs(&self, token: Token) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.stage == Stage::Installing(token))
    }

    /// A write is durable: if it was a snapshot's membership, the snapshot itself comes next.
    pub(super) fn install_noted(&mut self, token: Token, fx: &mut Effects<Self>) {
        if let Some(incoming) =
            self.incoming.as_mut().filter(|incoming| incoming.stage == Stage::Noting(token))
        {
            let install = fx.token();
            incoming.stage = Stage::Installing(install);
            fx.push(Effect::Install { token: install, snapshot: incoming.snapshot });
        }
    }

    /// The service's state was replaced, durably.
    pub(super) fn on_installed(&mut self, fx: &mut Effects<Self>) {
        let Incoming { snapshot: mark, membership, .. } =
            self.incoming.take().expect("an installation is under way");
        assert!(!self.is_leader(), "a leader has all that is committed, and needs no snapshot");
        assert!(mark.index > self.handed, "a snapshot only ever moves the state forward");
        assert!(mark.epoch <= self.term, "a snapshot holds entries of terms that have begun");
        if self.cluster.bugs.has(Bug::SnapshotLowersTerm) {
            (self.term, self.vote) = (mark.epoch, None);
        }
        (self.handed, self.applied, self.durable) = (mark.index, mark.index, mark);
        self.commit = self.commit.max(mark.index);
        let token = self.move_log_to(mark, membership, fx);
        // What a witness committed beyond it the service was not handed.
        self.serve(fx);
        if let Some(leader) = self.leader() {
            let message = Message::AppendAck { term: self.term, matched: mark.index, round: 0, lacks: None };
            fx.send(leader, message, Some(token));
        }
    }

    /// Lets the log begin behind `mark`. A suffix that follows that entry stays (Fig. 13, step 6).
    pub(super) fn move_log_to(
        &mut self,
        mark: Mark,
        membership: Arc<Membership>,
        fx: &mut Effects<Self>,
    ) -> Token {
        let keeps = self.log.holds(mark);
        match keeps {
            true if mark == self.log.start() => {}
            true => self.log.compact(mark),
            false => self.log.reset(mark, membership),
        }
        self.begin_log_here(if keeps { Record::Compacted } else { Record::Reset }, fx)
    }

    /// Writes where the log now begins, and lets the journal forget what stood before. The hard state
    /// goes first, so that no tear can leave the one without the other.
    pub(super) fn begin_log_here(&mut self, record: fn(Start) -> Record, fx: &mut Effects<Self>) -> Token {
        let mark = self.log.start();
        let membership = Membership::clone(self.log.membership_at(mark.index));
        let start = Start { mark, membership, served: self.durable.index >= mark.index };
        self.save(fx);
        let state = Record::State { term: self.term, vote: self.vote };
        let token = fx.persist(vec![state, record(start)]);
        fx.push(Effect::Purge { below: mark.index.next() });
        token
    }

    /// Drops what lies up to `mark`, which nobody needs from here, but for a margin that spares followers a
    /// snapshot.
    pub(super) fn compact(&mut self, mark: Mark, fx: &mut Effects<Self>) {
        let options = &self.cluster.options;
        let held = mark.index.0.saturating_sub(self.log.start().index.0);
        if held <= options.snapshot_entries || self.cluster.bugs.has(Bug::LogNeverCompacted) {
            return;
        }
        assert!(self.log.holds(mark), "the log is compacted at what it holds");
        let mark = self.log.mark_at(Index(mark.index.0 - options.keep_entries));
        self.log.compact(mark);
        self.begin_log_here(Record::Compacted, fx);
    }

    /// An operator has the log drop all that the service durably includes.
    pub(super) fn compact_now(&mut self, fx: &mut Effects<Self>) {
        if self.durable.index > self.log.start().index && !self.is_installing() {
            self.log.compact(self.durable);
            self.begin_log_here(Record::Compacted, fx);
        }
    }
}

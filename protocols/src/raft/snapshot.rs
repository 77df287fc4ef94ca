//! Log compaction and the transfer of snapshots (§7, Fig. 13).
//!
//! A leader reads one part at a time from its host and sends it. The follower says which byte it
//! lacks first; the leader sends what begins there. So a lost part, an answer that was lost or came
//! twice, a follower that restarted and has nothing, and a leader's host that only has a newer
//! snapshot are all the same case.

use contract::{Effect, Effects, Epoch, Index, Mark, NodeId, SnapshotChunk, Token};

use super::message::Message;
use super::progress::Mode;
use super::record::Record;
use super::{Raft, Standing};

/// After how many heartbeats without news a part is sent again.
const IDLE_HEARTBEATS: u8 = 2;

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    /// The term of its sender: another leader's encoding of the same state may be another one.
    term: Epoch,
    pub(super) snapshot: Mark,
    /// The first byte that is not staged.
    next: u64,
    /// All is staged, and the service's state is being replaced.
    installing: Option<Token>,
}

impl Incoming {
    pub(super) fn is_installing(&self) -> bool {
        self.installing.is_some()
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
                Mode::Probe { .. } | Mode::Replicate { .. } if peer.next <= start => {
                    self.begin_snapshot(slot, fx);
                }
                Mode::Probe { .. } | Mode::Replicate { .. } => {}
            }
        }
    }

    pub(super) fn send_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        let term = self.term;
        // By now it may have lost its office, or the follower may have caught up.
        let Standing::Leader(leading) = &mut self.standing else { return };
        let slot = leading.slot_of(to);
        let Mode::Snapshot(transfer) = &mut leading.peers[slot].mode else { return };
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
        fx.send(to, Message::InstallSnapshot { term, chunk, round: leading.reads.round }, None);
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
        self.finish_reads(fx);
    }
}

/// The follower's side.
impl Raft {
    pub(super) fn on_chunk_received(
        &mut self,
        from: NodeId,
        chunk: SnapshotChunk,
        round: u64,
        fx: &mut Effects<Self>,
    ) {
        let term = self.term;
        if let Some(incoming) = self.incoming.as_ref().filter(|incoming| incoming.is_installing()) {
            return fx.send(from, incoming.ack(term, round), None);
        }
        if chunk.snapshot.index <= self.commit {
            // It tells nothing new; what is committed here is in the leader's log (§5.4.3).
            return self.acknowledge(from, self.commit, round, fx);
        }
        let held = self.incoming.as_ref().filter(|incoming| incoming.term == term);
        if held.is_some_and(|incoming| incoming.snapshot > chunk.snapshot) {
            // A late part of what the leader itself has given up.
            return;
        }
        let fresh = Incoming { term, snapshot: chunk.snapshot, next: 0, installing: None };
        let known = self.incoming.take().filter(|held| (held.term, held.snapshot) == (term, chunk.snapshot));
        let incoming = self.incoming.insert(known.unwrap_or(fresh));
        if chunk.offset == incoming.next {
            incoming.next += chunk.data.len() as u64;
            let (last, snapshot) = (chunk.last, chunk.snapshot);
            fx.push(Effect::Stage(chunk));
            if last {
                let token = fx.token();
                incoming.installing = Some(token);
                fx.push(Effect::Install { token, snapshot });
            }
        }
        fx.send(from, incoming.ack(term, round), None);
    }

    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::is_installing)
    }

    /// Whether `token` is the one of the installation under way.
    pub(super) fn installs(&self, token: Token) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.installing == Some(token))
    }

    /// The service's state was replaced, durably.
    pub(super) fn on_installed(&mut self, fx: &mut Effects<Self>) {
        let mark = self.incoming.take().expect("an installation is under way").snapshot;
        assert!(!self.is_leader(), "a leader has all that is committed, and needs no snapshot");
        assert!(mark.index > self.commit, "a snapshot only ever moves the state forward");
        assert!(mark.epoch <= self.term, "a snapshot holds entries of terms that have begun");
        // A suffix that follows the snapshot's last entry stays (Fig. 13, step 6).
        let record = if self.log.holds(mark) {
            self.log.compact(mark);
            Record::Compacted { mark }
        } else {
            self.log.reset(mark);
            Record::Reset { mark }
        };
        self.commit = mark.index;
        let token = self.begin_log_behind(record, mark, fx);
        if let Some(leader) = self.leader() {
            let message = Message::AppendAck { term: self.term, matched: mark.index, round: 0 };
            fx.send(leader, message, Some(token));
        }
    }

    /// Writes where the log now begins, and lets the journal forget what stood before. The hard state
    /// goes first, so that no tear can leave the one without the other.
    pub(super) fn begin_log_behind(&mut self, record: Record, mark: Mark, fx: &mut Effects<Self>) -> Token {
        assert_eq!(self.log.start(), mark, "the log begins where the journal says");
        assert!(!self.unsaved, "hard state is written in the step that changes it");
        let state = Record::State { term: self.term, vote: self.vote };
        let token = fx.persist(vec![state, record]);
        fx.push(Effect::Purge { below: mark.index.next() });
        token
    }

    /// Drops what the service durably includes, but for a margin that spares followers a snapshot.
    pub(super) fn compact(&mut self, durable: Mark, fx: &mut Effects<Self>) {
        let options = &self.cluster.options;
        let held = durable.index.0.saturating_sub(self.log.start().index.0);
        if held <= options.snapshot_entries {
            return;
        }
        assert!(self.log.holds(durable), "the service applied what the log holds");
        let mark = self.log.mark_at(Index(durable.index.0 - options.keep_entries));
        self.log.compact(mark);
        self.begin_log_behind(Record::Compacted { mark }, mark, fx);
    }
}

//! Compaction, and the transfer of snapshots, of which the crate asks only whom to send one.
//!
//! A leader sends a part, and the next one when the follower says from which byte on it lacks the snapshot. What is
//! lost is made up for by the next heartbeat: its answer has the crate ask for the snapshot again.

use contract::{Effect, Effects, Mark, NodeId, SnapshotChunk, Token};
use noraft::LogIndex;

use super::{Message, Noraft, Record, convert};

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    from: NodeId,
    snapshot: Mark,
    /// The first byte that is not staged.
    next: u64,
    /// All is staged, and replaces the service's state.
    installing: Option<Token>,
}

impl Noraft {
    pub(super) fn begin_snapshot(&self, to: NodeId, fx: &mut Effects<Self>) {
        fx.push(Effect::ReadChunk { to, snapshot: self.outgoing.get(&to).copied(), offset: 0 });
    }

    pub(super) fn send_more(&self, to: NodeId, snapshot: Mark, offset: u64, fx: &mut Effects<Self>) {
        if self.is_leader() {
            fx.push(Effect::ReadChunk { to, snapshot: Some(snapshot), offset });
        }
    }

    pub(super) fn send_part(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        if !self.is_leader() || self.failed {
            return;
        }
        if chunk.snapshot.index < convert::index(self.node.0.log().snapshot_position().index) {
            // What should follow it has left the log since it was taken.
            return fx.push(Effect::ReadChunk { to, snapshot: None, offset: 0 });
        }
        self.outgoing.insert(to, chunk.snapshot);
        self.send(to, Message::Snapshot(chunk), fx);
    }

    pub(super) fn on_part(&mut self, from: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        let SnapshotChunk { snapshot, offset, last, .. } = chunk;
        let busy =
            |held: &Incoming| held.installing.is_some() || held.from == from && held.snapshot > snapshot;
        if self.is_leader() || snapshot.index <= self.handed || self.incoming.as_ref().is_some_and(busy) {
            return;
        }
        let known = self.incoming.take().filter(|held| (held.from, held.snapshot) == (from, snapshot));
        let mut incoming = known.unwrap_or(Incoming { from, snapshot, next: 0, installing: None });
        if offset == incoming.next {
            incoming.next += chunk.data.len() as u64;
            fx.push(Effect::Stage(chunk));
            if last {
                let token = fx.token();
                incoming.installing = Some(token);
                self.handed = snapshot.index;
                fx.push(Effect::Install { token, snapshot });
            }
        }
        if incoming.installing.is_none() {
            self.send(from, Message::SnapshotWanted { snapshot, offset: incoming.next }, fx);
        }
        self.incoming = Some(incoming);
    }

    /// If `token` is that of an installation: the service's state was replaced, durably.
    pub(super) fn installed(&mut self, token: Token, fx: &mut Effects<Self>) -> bool {
        let Some(Incoming { snapshot, .. }) = self.incoming.take_if(|held| held.installing == Some(token))
        else {
            return false;
        };
        let position = convert::position(snapshot);
        let keeps = self.node.0.log().entries().contains(position);
        let config = convert::config(&self.cluster.founders);
        if self.node.0.handle_snapshot_installed(position, config) {
            self.begin_log_behind(snapshot, keeps, fx);
            self.act(&[], 0, fx);
        } else {
            assert!(keeps, "the crate refuses a snapshot of what its log does not hold");
        }
        true
    }

    /// Drops what the service durably includes, but for a margin that spares followers a snapshot.
    pub(super) fn compact(&mut self, durable: Mark, fx: &mut Effects<Self>) {
        let (options, log) = (&self.cluster.options, self.node.0.log());
        let held = durable.index.0.saturating_sub(log.snapshot_position().index.get());
        let index = LogIndex::new(durable.index.0.saturating_sub(options.keep_entries));
        let installing = self.incoming.as_ref().is_some_and(|incoming| incoming.installing.is_some());
        // A restarted node has to be told again how far the log is committed.
        if held <= options.snapshot_entries || installing || self.node.0.commit_index() < index {
            return;
        }
        let (position, config) =
            log.get_position_and_config(index).expect("the log holds what it was compacted for");
        let config = config.clone();
        assert!(
            self.node.0.handle_snapshot_installed(position, config),
            "a log is compacted below its commit index"
        );
        self.begin_log_behind(convert::mark(position), true, fx);
    }

    /// Writes where the log now begins, and lets the journal forget what stood before. The hard state goes first,
    /// so that no tear can leave the one without the other.
    pub(super) fn begin_log_behind(&mut self, mark: Mark, keeps: bool, fx: &mut Effects<Self>) {
        let kept = self.written.split_off(&mark.index.next());
        self.written = if keeps { kept } else { Default::default() };
        self.writing = Some(fx.persist(vec![self.state(), Record::Start { mark, keeps }]));
        fx.push(Effect::Purge { below: mark.index.next() });
    }
}

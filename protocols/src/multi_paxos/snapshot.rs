//! Log compaction, and the transfer of snapshots.
//!
//! Whoever needs a snapshot pulls it, one part after the other, from the replica that said that the log is
//! gone. It names the byte that it lacks first: so a part that was lost, one that came twice, and a sender
//! that only has a newer snapshot are the same case. The membership behind the snapshot travels along, and
//! is in the journal before the state is replaced: so whichever of the two a crash leaves, they belong
//! together.
//!
//! What was accepted behind the snapshot stays: it is a promise.

use contract::{Effect, Effects, Index, Mark, NodeId, SnapshotChunk, Token};

use super::config::Config;
use super::message::Message;
use super::record::Record;
use super::{Law, MultiPaxos, Standing, Timer};

/// After how many questions without an answer a sender is given up.
const UNANSWERED_MAX: u8 = 3;

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    peer: NodeId,
    /// Which, and the membership behind it; `None` until a part has come.
    snapshot: Option<(Mark, Config)>,
    /// The first byte that is not staged.
    next: u64,
    /// Questions since the last part came.
    unanswered: u8,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Parts are missing.
    Receiving,
    /// All is staged, and the membership behind it is being written.
    Announcing(Token),
    /// The service's state is being replaced.
    Installing(Token),
}

/// The receiver's side.
impl MultiPaxos {
    pub(super) fn begin_pull(&mut self, peer: NodeId, fx: &mut Effects<Self>) {
        assert!(!matches!(self.standing, Standing::Proposer(_)), "a proposer needs no snapshot");
        self.learning = None;
        let stage = Stage::Receiving;
        self.incoming = Some(Incoming { peer, snapshot: None, next: 0, unanswered: 0, stage });
        self.pull(fx);
    }

    fn pull(&mut self, fx: &mut Effects<Self>) {
        let incoming = self.incoming.as_ref().expect("a snapshot is being received");
        let snapshot = incoming.snapshot.as_ref().map(|(mark, _)| *mark);
        fx.send(incoming.peer, Message::Pull { snapshot, offset: incoming.next }, None);
        self.arm_ask_timer(fx);
    }

    /// No part came for a while.
    pub(super) fn pull_again(&mut self, fx: &mut Effects<Self>) {
        let incoming = self.incoming.as_mut().expect("a snapshot is being received");
        if incoming.stage != Stage::Receiving {
            return;
        }
        incoming.unanswered += 1;
        if incoming.unanswered < UNANSWERED_MAX {
            return self.pull(fx);
        }
        // Somebody else will be heard of.
        self.incoming = None;
    }

    pub(super) fn on_part(
        &mut self,
        from: NodeId,
        chunk: SnapshotChunk,
        config: Config,
        fx: &mut Effects<Self>,
    ) {
        let commit = self.commit;
        let receives = |incoming: &&mut Incoming| {
            incoming.stage == Stage::Receiving && incoming.peer == from && chunk.snapshot.index > commit
        };
        let Some(incoming) = self.incoming.as_mut().filter(receives) else { return };
        let held = incoming.snapshot.as_ref().map(|(mark, _)| *mark);
        if chunk.offset == 0 && held.is_none_or(|held| held.index < chunk.snapshot.index) {
            (incoming.snapshot, incoming.next) = (Some((chunk.snapshot, config.clone())), 0);
        } else if held != Some(chunk.snapshot) {
            // A late part of what was given up.
            return;
        }
        if chunk.offset != incoming.next {
            return;
        }
        incoming.next += chunk.data.len() as u64;
        incoming.unanswered = 0;
        let (last, mark) = (chunk.last, chunk.snapshot);
        fx.push(Effect::Stage(chunk));
        if !last {
            return self.pull(fx);
        }
        fx.push(Effect::CancelTimer(Timer::Ask));
        let token = self.write(vec![Record::Snapshot { mark, config }], fx);
        self.incoming.as_mut().expect("it was received").stage = Stage::Announcing(token);
    }

    /// Whether all of a snapshot is there and the state is, or is about to be, replaced by it.
    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| matches!(incoming.stage, Stage::Installing(_)))
    }

    /// Whether `token` is the one of the installation under way.
    pub(super) fn installs(&self, token: Token) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.stage == Stage::Installing(token))
    }

    /// The commit index moved: a snapshot that holds no more is of no use.
    pub(super) fn drop_outdated_snapshot(&mut self, fx: &mut Effects<Self>) {
        let commit = self.commit;
        let is_outdated =
            |incoming: &Incoming| incoming.snapshot.as_ref().is_some_and(|(mark, _)| mark.index <= commit);
        if self.incoming.take_if(|incoming| is_outdated(incoming)).is_some() {
            fx.push(Effect::CancelTimer(Timer::Ask));
        }
    }

    /// The membership behind the snapshot is in the journal: the state may be replaced.
    pub(super) fn on_announced(&mut self, written: Token, fx: &mut Effects<Self>) {
        let Some(incoming) = &mut self.incoming else { return };
        let Stage::Announcing(token) = incoming.stage else { return };
        if token <= written {
            let token = fx.token();
            incoming.stage = Stage::Installing(token);
            let (snapshot, _) = *incoming.snapshot.as_ref().expect("all of it was received");
            fx.push(Effect::Install { token, snapshot });
        }
    }

    /// The service's state was replaced, durably.
    pub(super) fn on_installed(&mut self, fx: &mut Effects<Self>) {
        let incoming = self.incoming.take().expect("an installation is under way");
        let (mark, config) = incoming.snapshot.expect("all of it was received");
        assert!(mark.index > self.commit, "a snapshot only ever moves the state forward");
        if config.since < self.config.since {
            // Whoever sent it decided otherwise in that slot.
            self.breaks(Law::Agreement);
        }
        self.slots.begin_behind(mark);
        self.promise_with_others(mark.epoch);
        (self.commit, self.durable, self.gate) = (mark.index, mark, None);
        let changes = config != self.config;
        (self.base, self.config) = (config.clone(), config);
        self.begin_log(fx);
        if changes {
            self.enter_membership(fx);
        }
        self.advance(fx);
    }
}

/// The sender's side: it holds nothing, and answers.
impl MultiPaxos {
    pub(super) fn on_pull(
        &mut self,
        from: NodeId,
        snapshot: Option<Mark>,
        offset: u64,
        fx: &mut Effects<Self>,
    ) {
        fx.push(Effect::ReadChunk { to: from, snapshot, offset });
    }

    pub(super) fn send_chunk(&mut self, to: NodeId, chunk: SnapshotChunk, fx: &mut Effects<Self>) {
        let index = chunk.snapshot.index;
        if index < self.slots.start().index {
            // Whoever installed it would lack what left the log since.
            return fx.push(Effect::ReadChunk { to, snapshot: None, offset: 0 });
        }
        if index > Index::ZERO && index <= self.commit {
            let config = self.config_at(index);
            fx.send(to, Message::Part { chunk, config }, None);
        }
    }
}

/// The log's own start.
impl MultiPaxos {
    /// The membership behind a slot.
    fn config_at(&self, index: Index) -> Config {
        assert!(index >= self.slots.start().index && index <= self.commit, "only of what is known");
        let mut config = self.base.clone();
        let slots = self.slots.from(self.slots.start().index.next());
        slots.take_while(|slot| slot.entry.mark.index <= index).for_each(|slot| config.apply(&slot.entry));
        config
    }

    /// Drops what the service durably includes, but for the last `keep` entries.
    pub(super) fn compact(&mut self, keep: u64, fx: &mut Effects<Self>) {
        let index = Index(self.durable.index.0.saturating_sub(keep));
        if index <= self.slots.start().index || self.is_installing() {
            return;
        }
        self.base = self.config_at(index);
        let mark = self.slots.get(index).expect("the service applied what the log holds").entry.mark;
        self.slots.begin_behind(mark);
        self.begin_log(fx);
    }

    /// Writes where the log now begins, and lets the journal forget what stood before. The promise goes
    /// first, so that no tear can leave the one without the other.
    pub(super) fn begin_log(&mut self, fx: &mut Effects<Self>) {
        let mark = self.slots.start();
        let (promise, config) = (Record::Promise { ballot: self.promised }, self.base.clone());
        self.write(vec![promise, Record::Compacted { mark, config }], fx);
        fx.push(Effect::Purge { below: mark.index.next() });
    }
}

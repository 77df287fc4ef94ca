//! A host for one replica whose every duty is an action of its own: a write becomes durable, an
//! entry is applied, a part of a snapshot is read, when the test says so.
//!
//! The service's state is the list of all entries it has applied, so that two states can be compared
//! entry by entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{
    Cluster, Effect, Effects, Entry, Index, JournalRecord, Mark, NodeId, Recovered, Replica, RequestId,
    SnapshotChunk, Token,
};

/// The size of one part of a snapshot, in bytes: small, so that snapshots have many.
const CHUNK_BYTES: usize = 24;
/// Records in one segment of the journal, at the least; the journal forgets whole segments.
const SEGMENT_RECORDS: usize = 4;

pub(crate) type Fx<R> = Vec<Effect<R>>;

/// What the journal was asked for and has not done.
pub(crate) enum Write<R: Replica> {
    Records(Token, Vec<R::Record>),
    Purge(Index),
}

/// What the service was asked for and has not done.
pub(crate) enum Work {
    Apply(Vec<Entry>),
    ReadChunk { to: NodeId, snapshot: Option<Mark>, offset: u64 },
    Install { token: Token, state: Vec<u8> },
}

/// What a host puts on the wire.
#[derive(Clone)]
pub(crate) enum Outgoing<M> {
    Message(M),
    /// It breaks the stream.
    Break,
}

pub(crate) struct Host<R: Replica> {
    pub(crate) cluster: Cluster<R::Options>,
    pub(crate) replica: R,
    fx: Effects<R>,
    pub(crate) timers: BTreeSet<R::Timer>,
    pub(crate) writes: VecDeque<Write<R>>,
    pub(crate) work: VecDeque<Work>,
    /// Messages that were released, and streams that were broken, in order.
    pub(crate) outbox: Vec<(NodeId, Outgoing<R::Message>)>,
    /// What the journal holds durably, oldest first.
    pub(crate) segments: VecDeque<Vec<R::Record>>,
    pending: BTreeSet<Token>,
    held: BTreeMap<Token, Vec<(NodeId, R::Message)>>,
    /// Answers that wait for a write.
    answers: BTreeMap<Token, Vec<RequestId>>,
    pub(crate) state: Vec<Entry>,
    pub(crate) durable_state: Vec<Entry>,
    staged: (Mark, Vec<u8>),
    outgoing: Option<(Mark, Vec<u8>)>,
}

fn mark_of(state: &[Entry]) -> Mark {
    state.last().map_or(Mark::ZERO, |entry| entry.mark)
}

impl<R: Replica> Host<R> {
    /// Starts on an empty disk.
    pub(crate) fn start(cluster: Cluster<R::Options>) -> (Self, Fx<R>) {
        Self::recover(cluster, VecDeque::new(), Vec::new())
    }

    fn recover(
        cluster: Cluster<R::Options>,
        segments: VecDeque<Vec<R::Record>>,
        state: Vec<Entry>,
    ) -> (Self, Fx<R>) {
        let mut fx = Effects::default();
        let records = segments.iter().flatten().cloned().collect();
        let replica = R::start(&cluster, Recovered { records, applied: mark_of(&state) }, &mut fx);
        let mut host = Self {
            cluster,
            replica,
            fx,
            timers: BTreeSet::new(),
            writes: VecDeque::new(),
            work: VecDeque::new(),
            outbox: Vec::new(),
            segments,
            pending: BTreeSet::new(),
            held: BTreeMap::new(),
            answers: BTreeMap::new(),
            durable_state: state.clone(),
            state,
            staged: (Mark::ZERO, Vec::new()),
            outgoing: None,
        };
        let effects = host.step(|_, _| ());
        (host, effects)
    }

    /// A power loss, and a start on what is left: all that was durable, and of what was being written
    /// the first `survivors` writes. Of a disk that lied the last `lost` durable records are gone too.
    pub(crate) fn restart(mut self, survivors: usize, lost: usize) -> (Self, Fx<R>) {
        let mut survivors = survivors;
        while survivors > 0 {
            match self.writes.pop_front() {
                Some(Write::Records(_, records)) => {
                    survivors -= 1;
                    self.store(records);
                }
                Some(Write::Purge(_)) => {}
                None => break,
            }
        }
        for _ in 0..lost {
            if let Some(last) = self.segments.back_mut() {
                last.pop();
                if last.is_empty() {
                    self.segments.pop_back();
                }
            }
        }
        Self::recover(self.cluster, self.segments, self.durable_state)
    }

    /// Lets the replica take one step, carries out what it asks for, and returns that.
    pub(crate) fn step(&mut self, event: impl FnOnce(&mut R, &mut Effects<R>)) -> Fx<R> {
        let mut fx = std::mem::take(&mut self.fx);
        event(&mut self.replica, &mut fx);
        let effects: Fx<R> = fx.drain().collect();
        self.fx = fx;
        for effect in effects.iter().cloned() {
            self.carry_out(effect);
        }
        effects
    }

    fn carry_out(&mut self, effect: Effect<R>) {
        match effect {
            Effect::Send { to, message, after } => match after.filter(|token| self.pending.contains(token)) {
                Some(token) => self.held.entry(token).or_default().push((to, message)),
                None => self.outbox.push((to, Outgoing::Message(message))),
            },
            Effect::Disconnect { peer } => {
                self.forget_held(peer);
                self.outbox.push((peer, Outgoing::Break));
            }
            Effect::Persist { token, records } => {
                self.pending.insert(token);
                self.writes.push_back(Write::Records(token, records));
            }
            Effect::Purge { below } => self.writes.push_back(Write::Purge(below)),
            Effect::SetTimer { timer, .. } => {
                self.timers.insert(timer);
            }
            Effect::CancelTimer(timer) => {
                self.timers.remove(&timer);
            }
            Effect::Commit(entries) => self.work.push_back(Work::Apply(entries)),
            Effect::ReadChunk { to, snapshot, offset } => {
                self.work.push_back(Work::ReadChunk { to, snapshot, offset });
            }
            Effect::Stage(chunk) => {
                if chunk.offset == 0 {
                    self.staged = (chunk.snapshot, Vec::new());
                }
                assert_eq!((chunk.snapshot, chunk.offset), (self.staged.0, self.staged.1.len() as u64));
                self.staged.1.extend_from_slice(&chunk.data);
            }
            Effect::Install { token, snapshot } => {
                assert_eq!(snapshot, self.staged.0, "only what was staged is installed");
                self.pending.insert(token);
                self.work.push_back(Work::Install { token, state: std::mem::take(&mut self.staged.1) });
            }
            Effect::Reply { request, after, .. } => {
                if let Some(token) = after.filter(|token| self.pending.contains(token)) {
                    self.answers.entry(token).or_default().push(request);
                }
            }
            Effect::Proposed { .. }
            | Effect::ReadAt { .. }
            | Effect::Reject { .. }
            | Effect::Controlled { .. } => {}
        }
    }

    /// What was held back for a peer belonged to a stream that is no more.
    fn forget_held(&mut self, peer: NodeId) {
        self.held.values_mut().for_each(|held| held.retain(|(to, _)| *to != peer));
    }

    /// The stream to a peer broke.
    pub(crate) fn disconnected(&mut self, peer: NodeId) -> Fx<R> {
        self.forget_held(peer);
        self.step(|replica, fx| replica.on_disconnect(peer, fx))
    }

    pub(crate) fn fire(&mut self, timer: R::Timer) -> Fx<R> {
        assert!(self.timers.remove(&timer), "{timer:?} is not armed");
        self.step(|replica, fx| replica.on_timer(timer, fx))
    }

    fn store(&mut self, records: Vec<R::Record>) {
        if self.segments.back().is_none_or(|segment| segment.len() >= SEGMENT_RECORDS) {
            self.segments.push_back(Vec::new());
        }
        self.segments.back_mut().expect("there is one").extend(records);
    }

    fn purge(&mut self, below: Index) {
        let highest = |segment: &Vec<R::Record>| {
            let entries = segment.iter().filter_map(|record| record.entry());
            entries.map(|entry| entry.mark.index).max().unwrap_or_default()
        };
        while self.segments.len() > 1 && highest(&self.segments[0]) < below {
            self.segments.pop_front();
        }
    }

    /// The journal completes its oldest write.
    pub(crate) fn complete_write(&mut self) -> Option<(Token, Fx<R>)> {
        loop {
            match self.writes.pop_front()? {
                Write::Purge(below) => self.purge(below),
                Write::Records(token, records) => {
                    self.store(records);
                    let effects = self.complete(token);
                    if let Some(Write::Purge(below)) = self.writes.front() {
                        let below = *below;
                        self.writes.pop_front();
                        self.purge(below);
                    }
                    return Some((token, effects));
                }
            }
        }
    }

    fn complete(&mut self, token: Token) -> Fx<R> {
        assert!(self.pending.remove(&token), "{token} was never written, or twice");
        let released = self.held.remove(&token).unwrap_or_default();
        self.outbox.extend(released.into_iter().map(|(to, message)| (to, Outgoing::Message(message))));
        self.step(|replica, fx| replica.on_durable(token, fx))
    }

    /// The service does what it was asked for first.
    pub(crate) fn complete_work(&mut self) -> Option<Fx<R>> {
        Some(match self.work.pop_front()? {
            Work::Apply(entries) => {
                for entry in entries {
                    assert_eq!(entry.mark.index, mark_of(&self.state).index.next(), "applied in order");
                    self.state.push(entry);
                }
                self.tell_applied()
            }
            Work::ReadChunk { to, snapshot, offset } => {
                let chunk = self.read_chunk(snapshot, offset);
                self.step(|replica, fx| replica.on_chunk(to, chunk, fx))
            }
            Work::Install { token, state } => {
                let state: Vec<Entry> = postcard::from_bytes(&state).expect("all parts were staged in order");
                assert!(state.len() > self.state.len(), "a snapshot only ever moves the state forward");
                self.state.clone_from(&state);
                self.durable_state = state;
                let mut effects = self.complete(token);
                effects.extend(self.tell_applied());
                effects
            }
        })
    }

    fn read_chunk(&mut self, wanted: Option<Mark>, offset: u64) -> SnapshotChunk {
        let held = self.outgoing.as_ref().map(|(mark, _)| *mark);
        let offset = if wanted.is_some() && wanted == held { offset as usize } else { 0 };
        if wanted.is_none() || wanted != held {
            let state = postcard::to_stdvec(&self.state).expect("entries encode");
            self.outgoing = Some((mark_of(&self.state), state));
        }
        let (snapshot, state) = self.outgoing.as_ref().expect("one was just taken");
        let end = state.len().min(offset + CHUNK_BYTES);
        SnapshotChunk {
            snapshot: *snapshot,
            offset: offset as u64,
            data: state[offset..end].into(),
            last: end == state.len(),
        }
    }

    /// The service's state becomes durable.
    pub(crate) fn flush(&mut self) -> Fx<R> {
        self.durable_state.clone_from(&self.state);
        self.tell_applied()
    }

    fn tell_applied(&mut self) -> Fx<R> {
        let (applied, durable) = (mark_of(&self.state).index, mark_of(&self.durable_state));
        self.step(|replica, fx| replica.on_applied(applied, durable, fx))
    }
}

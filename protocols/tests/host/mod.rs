//! A host for one Raft replica whose every duty is an action of its own: a write becomes durable, an
//! entry is applied, a part of a snapshot is read, when the test says so.
//!
//! The service's state is the list of all entries it has applied, so that two states can be compared
//! entry by entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::{
    Cluster, Effect, Effects, Entry, Index, Mark, NodeId, Recovered, Replica, SnapshotChunk, Token,
};
use seedbed_protocols::raft::{Message, Options, Raft, Record, Timer};

/// The size of one part of a snapshot, in bytes: small, so that snapshots have many.
const CHUNK_BYTES: usize = 24;
/// Records in one segment of the journal, at the least; the journal forgets whole segments.
const SEGMENT_RECORDS: usize = 4;

pub(crate) type Fx = Vec<Effect<Raft>>;

/// What the journal was asked for and has not done.
pub(crate) enum Write {
    Records(Token, Vec<Record>),
    Purge(Index),
}

/// What the service was asked for and has not done.
pub(crate) enum Work {
    Apply(Vec<Entry>),
    ReadChunk { to: NodeId, snapshot: Option<Mark>, offset: u64 },
    Install { token: Token, state: Vec<u8> },
}

pub(crate) struct Host {
    pub(crate) cluster: Cluster<Options>,
    pub(crate) raft: Raft,
    fx: Effects<Raft>,
    pub(crate) timers: BTreeSet<Timer>,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) work: VecDeque<Work>,
    /// Messages that were released.
    pub(crate) outbox: Vec<(NodeId, Message)>,
    /// What the journal holds durably, oldest first.
    pub(crate) segments: VecDeque<Vec<Record>>,
    pending: BTreeSet<Token>,
    held: BTreeMap<Token, Vec<(NodeId, Message)>>,
    pub(crate) state: Vec<Entry>,
    pub(crate) durable_state: Vec<Entry>,
    staged: (Mark, Vec<u8>),
    outgoing: Option<(Mark, Vec<u8>)>,
}

fn mark_of(state: &[Entry]) -> Mark {
    state.last().map_or(Mark::ZERO, |entry| entry.mark)
}

impl Host {
    /// Starts on an empty disk.
    pub(crate) fn start(cluster: Cluster<Options>) -> (Self, Fx) {
        Self::recover(cluster, VecDeque::new(), Vec::new())
    }

    fn recover(cluster: Cluster<Options>, segments: VecDeque<Vec<Record>>, state: Vec<Entry>) -> (Self, Fx) {
        let mut fx = Effects::default();
        let records = segments.iter().flatten().cloned().collect();
        let raft = Raft::start(&cluster, Recovered { records, applied: mark_of(&state) }, &mut fx);
        let mut host = Self {
            cluster,
            raft,
            fx,
            timers: BTreeSet::new(),
            writes: VecDeque::new(),
            work: VecDeque::new(),
            outbox: Vec::new(),
            segments,
            pending: BTreeSet::new(),
            held: BTreeMap::new(),
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
    pub(crate) fn restart(mut self, survivors: usize, lost: usize) -> (Self, Fx) {
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
    pub(crate) fn step(&mut self, event: impl FnOnce(&mut Raft, &mut Effects<Raft>)) -> Fx {
        let mut fx = std::mem::take(&mut self.fx);
        event(&mut self.raft, &mut fx);
        let effects: Fx = fx.drain().collect();
        self.fx = fx;
        for effect in effects.iter().cloned() {
            self.carry_out(effect);
        }
        effects
    }

    fn carry_out(&mut self, effect: Effect<Raft>) {
        match effect {
            Effect::Send { to, message, after } => match after.filter(|token| self.pending.contains(token)) {
                Some(token) => self.held.entry(token).or_default().push((to, message)),
                None => self.outbox.push((to, message)),
            },
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
            Effect::Proposed { .. } | Effect::ReadAt { .. } | Effect::Reject { .. } => {}
        }
    }

    pub(crate) fn fire(&mut self, timer: Timer) -> Fx {
        assert!(self.timers.remove(&timer), "{timer:?} is not armed");
        self.step(|raft, fx| raft.on_timer(timer, fx))
    }

    fn store(&mut self, records: Vec<Record>) {
        if self.segments.back().is_none_or(|segment| segment.len() >= SEGMENT_RECORDS) {
            self.segments.push_back(Vec::new());
        }
        self.segments.back_mut().expect("there is one").extend(records);
    }

    fn purge(&mut self, below: Index) {
        let highest = |segment: &Vec<Record>| {
            let entries = segment.iter().filter_map(|record| match record {
                Record::Entry(entry) => Some(entry.mark.index),
                Record::State { .. } | Record::Compacted { .. } | Record::Reset { .. } => None,
            });
            entries.max().unwrap_or_default()
        };
        while self.segments.len() > 1 && highest(&self.segments[0]) < below {
            self.segments.pop_front();
        }
    }

    /// The journal completes its oldest write.
    pub(crate) fn complete_write(&mut self) -> Option<(Token, Fx)> {
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

    fn complete(&mut self, token: Token) -> Fx {
        assert!(self.pending.remove(&token), "{token} was never written, or twice");
        self.outbox.extend(self.held.remove(&token).unwrap_or_default());
        self.step(|raft, fx| raft.on_durable(token, fx))
    }

    /// The service does what it was asked for first.
    pub(crate) fn complete_work(&mut self) -> Option<Fx> {
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
                self.step(|raft, fx| raft.on_chunk(to, chunk, fx))
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
    pub(crate) fn flush(&mut self) -> Fx {
        self.durable_state.clone_from(&self.state);
        self.tell_applied()
    }

    fn tell_applied(&mut self) -> Fx {
        let (applied, durable) = (mark_of(&self.state).index, mark_of(&self.durable_state));
        self.step(|raft, fx| raft.on_applied(applied, durable, fx))
    }
}

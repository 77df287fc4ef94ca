//! One server as a value: a replica with all that its host keeps for it. Whatever happens to it is an
//! [`Input`]; what comes of that for others is an [`Output`]. The duties are those of `node`'s host, but
//! nothing is done until it is said to be done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use contract::kv::Ret;
use contract::{
    Answers, Bugs, ClientId, Cluster, Command, Effect, Effects, Entry, Index, LogShape, Mark, NodeId,
    Recovered, Rejection, Replica, RequestId, Service, SnapshotChunk, Time, Token, View,
};
use protocols::KvService;

use super::bounds::Request;
use super::network::Printed;
use super::service;

/// What all nodes of an exploration share.
#[derive(Clone, Debug)]
pub(super) struct Hosting<R: Replica> {
    /// Each node's own.
    pub(super) clusters: Vec<Cluster<R::Options>>,
    /// What is asked: request 1 is the first.
    pub(super) requests: Vec<Request>,
    pub(super) slow_service: bool,
    pub(super) chunk_bytes: usize,
}

impl<R: Replica> Hosting<R> {
    pub(super) fn request(&self, request: RequestId) -> &Request {
        &self.requests[usize::try_from(request.0).expect("requests are few") - 1]
    }

    fn bugs(&self) -> Bugs {
        self.clusters[0].bugs
    }
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input<R: Replica> {
    Message(NodeId, Printed<R::Message>),
    Disconnect(NodeId),
    Timer(R::Timer),
    /// The journal completes its oldest write.
    Written,
    /// The service completes what it was asked for first.
    Worked,
    /// The service's state becomes durable.
    Flushed,
    /// A client asks.
    Request(RequestId),
    /// It crashes, and starts again on what is durable.
    Restart,
}

/// What leaves a node, for one of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent<R: Replica> {
    Message(Printed<R::Message>),
    /// The connection is closed.
    Close,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output<R: Replica> {
    /// What leaves, in order.
    pub(super) sent: Vec<(NodeId, Sent<R>)>,
    pub(super) answers: Vec<(RequestId, Result<Ret, Rejection>)>,
    /// What the replica said is committed.
    pub(super) committed: Vec<Entry>,
    /// The service's state was replaced by this one.
    pub(super) installed: Option<Vec<Entry>>,
    /// The views before and after each step that changed something.
    pub(super) steps: Vec<(View, View)>,
    /// Requests whose fate nobody will learn, since the node crashed.
    pub(super) forgotten: BTreeSet<RequestId>,
    /// A crash took a write that was under way.
    pub(super) lost_writes: bool,
}

impl<R: Replica> Default for Output<R> {
    fn default() -> Self {
        Self {
            sent: Vec::new(),
            answers: Vec::new(),
            committed: Vec::new(),
            installed: None,
            steps: Vec::new(),
            forgotten: BTreeSet::new(),
            lost_writes: false,
        }
    }
}

impl<R: Replica> Output<R> {
    fn send(&mut self, to: NodeId, message: R::Message) {
        self.sent.push((to, Sent::Message(Printed::new(message))));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Write<R: Replica> {
    Records(Token, Arc<[R::Record]>),
    Purge(Index),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Apply(Vec<Entry>),
    Query(RequestId),
    ReadChunk { to: NodeId, snapshot: Option<Mark>, offset: u64 },
    Install { token: Token, state: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Held<R: Replica> {
    Message(NodeId, R::Message),
    Answer(RequestId, Ret),
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node<R: Replica> {
    replica: R,
    timers: BTreeSet<R::Timer>,
    /// What is durable, oldest first. Each write is a segment of its own: the shortest that a journal
    /// may have, so that a purge takes the most.
    journal: VecDeque<Arc<[R::Record]>>,
    writes: VecDeque<Write<R>>,
    /// What must not leave before a write is durable, in order.
    held: Vec<(Token, Held<R>)>,
    /// The service's state.
    applied: Vec<Entry>,
    /// How many of these are applied durably.
    durable: usize,
    work: VecDeque<Work>,
    /// The snapshot that is being received.
    staged: (Mark, Vec<u8>),
    /// Requests that were not answered.
    waiting: BTreeSet<RequestId>,
    proposals: BTreeMap<Index, (Mark, RequestId)>,
    /// Reads that wait for an index to be applied.
    reads: BTreeSet<(Index, RequestId)>,
}

fn mark_of(state: &[Entry]) -> Mark {
    state.last().map_or(Mark::ZERO, |entry| entry.mark)
}

impl<R: Replica> Node<R> {
    /// Starts on an empty disk.
    pub(super) fn begin(hosting: &Hosting<R>, me: NodeId, out: &mut Output<R>) -> Self {
        Self::start(hosting, me, VecDeque::new(), Vec::new(), out)
    }

    fn start(
        hosting: &Hosting<R>,
        me: NodeId,
        journal: VecDeque<Arc<[R::Record]>>,
        applied: Vec<Entry>,
        out: &mut Output<R>,
    ) -> Self {
        let records = journal.iter().flat_map(|write| write.iter().cloned()).collect();
        let recovered = Recovered { records, applied: mark_of(&applied) };
        let mut fx = Effects::default();
        let replica = R::start(&hosting.clusters[me.slot()], recovered, &mut fx);
        let mut node = Self {
            replica,
            timers: BTreeSet::new(),
            journal,
            writes: VecDeque::new(),
            held: Vec::new(),
            durable: applied.len(),
            applied,
            work: VecDeque::new(),
            staged: (Mark::ZERO, Vec::new()),
            waiting: BTreeSet::new(),
            proposals: BTreeMap::new(),
            reads: BTreeSet::new(),
        };
        fx.drain().for_each(|effect| node.carry_out(effect, out));
        node.settle(hosting, out);
        node
    }

    pub(super) fn view(&self) -> View {
        self.replica.view()
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = R::Timer> + '_ {
        self.timers.iter().copied()
    }

    pub(super) fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(super) fn is_working(&self) -> bool {
        !self.work.is_empty()
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.durable == self.applied.len()
    }

    pub(super) fn waits_for(&self, request: RequestId) -> bool {
        self.waiting.contains(&request)
    }

    /// All that the journal holds or was asked to hold, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = &R::Record> {
        let under_way = self.writes.iter().filter_map(|write| match write {
            Write::Records(_, records) => Some(records),
            Write::Purge(_) => None,
        });
        self.journal.iter().chain(under_way).flat_map(|records| records.iter())
    }

    /// Lets something happen.
    pub(super) fn take(
        self,
        input: &Input<R>,
        me: NodeId,
        hosting: &Hosting<R>,
        out: &mut Output<R>,
    ) -> Self {
        let mut node = self;
        match input {
            Input::Restart => return node.restart(hosting, me, out),
            Input::Message(from, message) => {
                let message = R::Message::clone(&message.value);
                node.step(out, |replica, fx| replica.on_message(*from, message, fx));
            }
            Input::Disconnect(peer) => {
                node.forget_held(*peer);
                node.step(out, |replica, fx| replica.on_disconnect(*peer, fx));
            }
            Input::Timer(timer) => {
                assert!(node.timers.remove(timer), "only a timer that is armed fires");
                node.step(out, |replica, fx| replica.on_timer(*timer, fx));
            }
            Input::Written => node.complete_write(out),
            Input::Worked => node.complete_work(hosting, out),
            Input::Flushed => {
                node.durable = node.applied.len();
                node.tell_applied(out);
            }
            Input::Request(request) => node.request(*request, hosting, out),
        }
        node.settle(hosting, out);
        node
    }

    fn restart(mut self, hosting: &Hosting<R>, me: NodeId, out: &mut Output<R>) -> Self {
        out.lost_writes = self.is_writing();
        out.forgotten = self.waiting;
        self.applied.truncate(self.durable);
        Self::start(hosting, me, self.journal, self.applied, out)
    }

    fn request(&mut self, request: RequestId, hosting: &Hosting<R>, out: &mut Output<R>) {
        assert!(self.waiting.insert(request), "nobody asks a server twice at once");
        let op = match hosting.request(request) {
            Request::Client(op) => op.clone(),
            Request::Operator(control) => {
                let control = control.clone();
                return self.step(out, |replica, fx| replica.control(request, control, fx));
            }
        };
        if op.is_read() && R::ANSWERS == Answers::Service {
            return self.step(out, |replica, fx| replica.read(request, fx));
        }
        let client = ClientId(u16::try_from(request.0).expect("clients are few"));
        let data = KvService::encode(&contract::Request { client, seq: 1, op });
        let command = Command { proposed_at: Time::ZERO, data };
        self.step(out, |replica, fx| replica.propose(request, command, fx));
    }

    /// What was asked of the service is done at once, unless the service is slow.
    fn settle(&mut self, hosting: &Hosting<R>, out: &mut Output<R>) {
        while !hosting.slow_service && self.is_working() {
            self.complete_work(hosting, out);
        }
    }

    /// Lets the replica take one step, and carries out what it asks for.
    fn step(&mut self, out: &mut Output<R>, event: impl FnOnce(&mut R, &mut Effects<R>)) {
        let under_way = self.pending().max().unwrap_or_default();
        let mut fx = Effects::after(under_way);
        let before = self.replica.view();
        event(&mut self.replica, &mut fx);
        let after = self.replica.view();
        if before != after {
            out.steps.push((before, after));
        }
        fx.drain().for_each(|effect| self.carry_out(effect, out));
    }

    /// The writes and installations under way.
    fn pending(&self) -> impl Iterator<Item = Token> + '_ {
        let writes = self.writes.iter().filter_map(|write| match write {
            Write::Records(token, _) => Some(*token),
            Write::Purge(_) => None,
        });
        let installations = self.work.iter().filter_map(|work| match work {
            Work::Install { token, .. } => Some(*token),
            Work::Apply(_) | Work::Query(_) | Work::ReadChunk { .. } => None,
        });
        writes.chain(installations)
    }

    fn carry_out(&mut self, effect: Effect<R>, out: &mut Output<R>) {
        let under_way = |node: &Self, after: Option<Token>| {
            after.filter(|token| node.pending().any(|pending| pending == *token))
        };
        match effect {
            Effect::Send { to, message, after } => match under_way(self, after) {
                Some(token) => self.held.push((token, Held::Message(to, message))),
                None => out.send(to, message),
            },
            Effect::Disconnect { peer } => {
                self.forget_held(peer);
                out.sent.push((peer, Sent::Close));
            }
            Effect::Persist { token, records } => {
                self.writes.push_back(Write::Records(token, records.into()));
            }
            Effect::Purge { below } => self.writes.push_back(Write::Purge(below)),
            Effect::SetTimer { timer, .. } => {
                self.timers.insert(timer);
            }
            Effect::CancelTimer(timer) => {
                self.timers.remove(&timer);
            }
            Effect::Commit(entries) => {
                out.committed.extend(entries.iter().cloned());
                self.work.push_back(Work::Apply(entries));
            }
            Effect::Proposed { request, mark } => {
                if let Some((_, displaced)) = self.proposals.insert(mark.index, (mark, request)) {
                    self.answer(displaced, Err(Rejection::Lost), out);
                }
            }
            Effect::Reply { request, answer, after } => {
                let answer = KvService::decode_answer(&answer);
                match under_way(self, after) {
                    Some(token) => self.held.push((token, Held::Answer(request, answer))),
                    None => self.answer(request, Ok(answer), out),
                }
            }
            Effect::Controlled { request } => self.answer(request, Ok(Ret::Done), out),
            Effect::ReadAt { request, index } if index.0 <= self.applied.len() as u64 => {
                self.work.push_back(Work::Query(request));
            }
            Effect::ReadAt { request, index } => {
                self.reads.insert((index, request));
            }
            Effect::Reject { request, reason } => self.answer(request, Err(reason), out),
            Effect::ReadChunk { to, snapshot, offset } => {
                self.work.push_back(Work::ReadChunk { to, snapshot, offset });
            }
            Effect::Stage(chunk) => self.stage(&chunk),
            Effect::Install { token, snapshot } => {
                assert_eq!(snapshot, self.staged.0, "only what was staged is installed");
                self.work.push_back(Work::Install { token, state: std::mem::take(&mut self.staged.1) });
            }
        }
    }

    /// What was held back for a peer belonged to a connection that is no more.
    fn forget_held(&mut self, peer: NodeId) {
        self.held.retain(|(_, held)| !matches!(held, Held::Message(to, _) if *to == peer));
    }

    fn answer(&mut self, request: RequestId, result: Result<Ret, Rejection>, out: &mut Output<R>) {
        assert!(self.waiting.remove(&request), "a request is answered once");
        out.answers.push((request, result));
    }

    fn stage(&mut self, chunk: &SnapshotChunk) {
        if chunk.offset == 0 {
            self.staged = (chunk.snapshot, Vec::new());
        }
        let next = (self.staged.0, self.staged.1.len() as u64);
        assert_eq!((chunk.snapshot, chunk.offset), next, "parts of a snapshot are staged in order");
        self.staged.1.extend_from_slice(&chunk.data);
    }

    fn complete_write(&mut self, out: &mut Output<R>) {
        match self.writes.pop_front().expect("a write is under way") {
            Write::Records(token, records) => {
                self.journal.push_back(records);
                self.became_durable(token, out);
            }
            Write::Purge(below) => {
                let highest = |records: &Arc<[R::Record]>| {
                    let entries = records.iter().filter_map(contract::JournalRecord::entry);
                    entries.map(|entry| entry.mark.index).max().unwrap_or_default()
                };
                // The newest stays: it holds the state that was persisted again before the purge.
                while self.journal.len() > 1 && highest(&self.journal[0]) < below {
                    self.journal.pop_front();
                }
            }
        }
    }

    fn became_durable(&mut self, token: Token, out: &mut Output<R>) {
        let (released, held) = std::mem::take(&mut self.held).into_iter().partition(|(t, _)| *t == token);
        self.held = held;
        let released: Vec<(Token, Held<R>)> = released;
        for (_, held) in released {
            match held {
                Held::Message(to, message) => out.send(to, message),
                Held::Answer(request, answer) => self.answer(request, Ok(answer), out),
            }
        }
        self.step(out, |replica, fx| replica.on_durable(token, fx));
    }

    fn complete_work(&mut self, hosting: &Hosting<R>, out: &mut Output<R>) {
        match self.work.pop_front().expect("the service was asked for something") {
            Work::Apply(entries) => {
                for entry in entries {
                    self.apply(entry, hosting, out);
                }
                self.tell_applied(out);
            }
            Work::Query(request) => {
                let Request::Client(op) = hosting.request(request) else {
                    panic!("{request} is an operator's, and no read");
                };
                let ret = service::query(op, &self.applied, hosting.bugs());
                self.answer(request, Ok(ret), out);
            }
            Work::ReadChunk { to, snapshot, offset } => {
                let chunk = self.read_chunk(snapshot, offset, hosting.chunk_bytes);
                self.step(out, |replica, fx| replica.on_chunk(to, chunk, fx));
            }
            Work::Install { token, state } => self.install(token, &state, out),
        }
    }

    fn apply(&mut self, entry: Entry, hosting: &Hosting<R>, out: &mut Output<R>) {
        let last = mark_of(&self.applied);
        assert_eq!(entry.mark.index, last.index.next(), "entries are applied in order, each once");
        let falls = R::LOG == LogShape::Chain && entry.mark.epoch < last.epoch;
        assert!(!falls, "epochs never fall along a chain");
        let mark = entry.mark;
        self.applied.push(entry);
        if let Some((proposed, request)) = self.proposals.remove(&mark.index) {
            let answer = match proposed == mark {
                true => service::answer(&self.applied, hosting.bugs()),
                false => Err(Rejection::Lost),
            };
            self.answer(request, answer, out);
        }
        self.release_reads(mark.index);
    }

    fn release_reads(&mut self, applied: Index) {
        let later = self.reads.split_off(&(applied.next(), RequestId(0)));
        for (_, request) in std::mem::replace(&mut self.reads, later) {
            self.work.push_back(Work::Query(request));
        }
    }

    fn tell_applied(&mut self, out: &mut Output<R>) {
        let (applied, durable) = (mark_of(&self.applied).index, mark_of(&self.applied[..self.durable]));
        self.step(out, |replica, fx| replica.on_applied(applied, durable, fx));
    }

    /// A part of the snapshot `wanted`, or the first part of one of the present state: all that was
    /// applied up to a mark is the snapshot at that mark, for as long as it is there.
    fn read_chunk(&self, wanted: Option<Mark>, offset: u64, bytes: usize) -> SnapshotChunk {
        let held = |wanted: Mark| self.applied.iter().position(|entry| entry.mark == wanted);
        let (entries, offset) = match wanted.and_then(held) {
            Some(place) => (&self.applied[..=place], usize::try_from(offset).expect("a state is small")),
            None => (self.applied.as_slice(), 0),
        };
        let state = postcard::to_stdvec(entries).expect("entries encode into memory");
        let end = state.len().min(offset + bytes);
        SnapshotChunk {
            snapshot: mark_of(entries),
            offset: offset as u64,
            data: state[offset.min(end)..end].into(),
            last: end == state.len(),
        }
    }

    fn install(&mut self, token: Token, state: &[u8], out: &mut Output<R>) {
        let state: Vec<Entry> = postcard::from_bytes(state).expect("all parts were staged in order");
        let mark = mark_of(&state);
        assert!(state.len() > self.applied.len(), "a snapshot only ever moves the state forward");
        out.installed = Some(state.clone());
        self.durable = state.len();
        self.applied = state;
        // The entries that these requests became were applied elsewhere: their answers are not here.
        let later = self.proposals.split_off(&mark.index.next());
        for (_, (_, request)) in std::mem::replace(&mut self.proposals, later) {
            self.answer(request, Err(Rejection::Lost), out);
        }
        self.release_reads(mark.index);
        self.became_durable(token, out);
        self.tell_applied(out);
    }
}

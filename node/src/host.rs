//! The host: carries out what a replica asks for, in order, and tells it what happened.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;
use std::ops::AddAssign;
use std::rc::Rc;

use contract::{
    Address, Answers, Channel, Cluster, Command, Control, Effect, Effects, Engine, Env, FsError, Index, Mark,
    Membership, NodeId, Observer, Packet, Recovered, Rejection, Replica, Request, RequestId, Response,
    Service, TimerId, Token, View,
};
use storage::journal::{JournalError, JournalOptions, JournalStats};

use crate::apply::Work;
use crate::persist::{Persist, Segments};
use crate::queue::Queue;
use crate::shared::SharedJournal;
use crate::snapshot::{self, Staged};
use crate::together::Together;

/// How a host is tuned.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The journal.
    pub journal: JournalOptions,
    /// After how many applied entries the engine is flushed, so that the log before them may go.
    pub flush_every: u64,
    /// The size of one part of a snapshot, in bytes.
    pub chunk_bytes: usize,
    /// How many clients' requests may wait at once.
    pub waiting_requests: usize,
}

/// All that a host is made of.
pub struct Setup<R: Replica, E: Engine, V> {
    /// The group, this node's place in it, and the protocol's options.
    pub cluster: Cluster<R::Options>,
    /// Clock, network, timers and tasks.
    pub env: V,
    /// The disk.
    pub fs: E::Fs,
    /// The engine's tuning.
    pub engine: E::Options,
    /// The host's own tuning.
    pub options: HostOptions,
    /// Who watches.
    pub observer: Rc<dyn Observer<R>>,
}

/// Why a host stopped for good, until it is started anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The journal could not be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine could not be read or written.
    #[error(transparent)]
    Engine(#[from] contract::EngineError),
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A journal record or the applied mark does not decode.
    #[error("{what} does not decode")]
    Undecodable {
        /// What was read.
        what: &'static str,
    },
}

impl HostError {
    /// Whether what was read is not what was written; otherwise the file system refused to read or
    /// write.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Journal(error) => error.is_corruption(),
            Self::Engine(error) => matches!(error, contract::EngineError::Corrupt { .. }),
            Self::Fs(_) => false,
            Self::Undecodable { .. } => true,
        }
    }
}

/// What a server has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// The journal.
    pub journal: JournalStats,
    /// The engine, over all generations since the start.
    pub engine: contract::EngineStats,
    /// Snapshots that replaced the service's state.
    pub snapshots_installed: u64,
}

impl AddAssign for HostStats {
    fn add_assign(&mut self, other: Self) {
        let Self { journal, engine, snapshots_installed } = other;
        self.journal += journal;
        self.engine += engine;
        self.snapshots_installed += snapshots_installed;
    }
}

impl Sum for HostStats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, stats| {
            sum += stats;
            sum
        })
    }
}

/// What travels between hosts of this kind and their clients.
pub type PacketOf<R, S> = Packet<<R as Replica>::Message, <S as Service>::Op, <S as Service>::Ret>;

/// One replica group's part of a running server. A clone is another handle on the same one.
pub(crate) struct Host<R: Replica, S: Service, E: Engine, V> {
    pub(crate) inner: Rc<Inner<R, S, E, V>>,
}

impl<R: Replica, S: Service, E: Engine, V> Clone for Host<R, S, E, V> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

type Early<M> = Vec<(NodeId, News<M>)>;

pub(crate) struct Inner<R: Replica, S: Service, E: Engine, V> {
    pub(crate) setup: Setup<R, E, V>,
    pub(crate) journal: SharedJournal<E::Fs>,
    together: Together<R::Message>,
    /// Empty while the host recovers, and again once it has failed.
    pub(crate) core: RefCell<Option<Core<R, S, E>>>,
    /// What came over streams while the host recovered: a listening socket keeps it.
    early: RefCell<Option<Early<R::Message>>>,
    pub(crate) failure: RefCell<Option<HostError>>,
    pub(crate) persist: Queue<Persist<R>>,
    pub(crate) work: Queue<Work>,
    pub(crate) chores: Queue<()>,
    pub(crate) snapshots_installed: Cell<u64>,
}

/// What exists between recovery and failure.
pub(crate) struct Core<R: Replica, S: Service, E: Engine> {
    pub(crate) replica: R,
    fx: Effects<R>,
    pub(crate) store: E,
    /// Which directory holds `store`.
    pub(crate) generation: u64,
    /// Up to where the service has applied the log.
    pub(crate) applied: Mark,
    /// Up to where it has done so durably.
    pub(crate) durable: Mark,
    pub(crate) staged: Staged,
    timers: Vec<R::Timer>,
    /// Writes and installations under way.
    pending: BTreeSet<Token>,
    /// What must not leave before a write is durable.
    held: HeldBack<R::Message, S::Ret>,
    next_request: RequestId,
    pub(crate) waiting: BTreeMap<RequestId, Waiting<S::Op>>,
    pub(crate) proposals: BTreeMap<Index, (Mark, RequestId)>,
    /// Reads that wait for an index to be applied.
    pub(crate) reads: BTreeSet<(Index, RequestId)>,
}

/// What a host hears from a peer.
enum News<M> {
    Message(M),
    Disconnect,
}

/// What leaves a host once a write is durable.
enum Held<M, A> {
    Message(NodeId, M),
    Answer(RequestId, A),
}

type HeldBack<M, A> = BTreeMap<Token, Vec<Held<M, A>>>;

/// A request on its way through the replica.
pub(crate) enum Waiting<Q> {
    Client {
        from: Address,
        seq: u64,
        /// Kept for reads that the service answers; any other operation went into its command.
        read: Option<Q>,
    },
    Operator(Control),
}

impl<R, S, E, V> Host<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    /// Starts one of a server's groups on what its disk holds. Until it has recovered it hears nothing.
    pub(crate) fn start(
        setup: Setup<R, E, V>,
        service: S,
        journal: SharedJournal<E::Fs>,
        together: Together<R::Message>,
    ) -> Self {
        let env = setup.env.clone();
        let inner = Inner {
            setup,
            journal,
            together,
            core: RefCell::new(None),
            early: RefCell::new((R::CHANNEL == Channel::Stream).then(Vec::new)),
            failure: RefCell::new(None),
            persist: Queue::default(),
            work: Queue::default(),
            chores: Queue::default(),
            snapshots_installed: Cell::new(0),
        };
        let host = Self { inner: Rc::new(inner) };
        let recovering = host.clone();
        env.spawn(async move {
            if let Err(error) = recovering.recover(service).await {
                recovering.fail(error);
            }
        });
        host
    }

    async fn recover(&self, service: S) -> Result<(), HostError> {
        let Setup { cluster, env, fs, engine, options, observer } = &self.inner.setup;
        let generation = snapshot::current_generation(fs, cluster.group).await?;
        let (journal, found) = self.inner.journal.open(fs, options.journal, cluster.group).await?;
        let mut segments = Segments::default();
        let mut records = Vec::with_capacity(found.len());
        for record in &found {
            let decoded: R::Record = postcard::from_bytes(&record.payload)
                .map_err(|_| HostError::Undecodable { what: "a journal record" })?;
            segments.note(record.segment, &decoded);
            records.push(decoded);
        }
        let store = E::open(fs, &snapshot::directory(cluster.group, generation), engine).await?;
        let applied = snapshot::applied_mark(&store).await?;

        let mut fx = Effects::default();
        let recovered = Recovered { records, applied };
        let seen = recovered.records.clone();
        let replica = R::start(cluster, recovered, &mut fx);
        observer.started(cluster.me, &replica.view(), &seen, applied);
        *self.inner.core.borrow_mut() = Some(Core {
            replica,
            fx,
            store,
            generation,
            applied,
            durable: applied,
            staged: Staged::default(),
            timers: Vec::new(),
            pending: BTreeSet::new(),
            held: BTreeMap::new(),
            next_request: RequestId(0),
            waiting: BTreeMap::new(),
            proposals: BTreeMap::new(),
            reads: BTreeSet::new(),
        });
        let (persisting, applying, tidying) = (self.clone(), self.clone(), self.clone());
        env.spawn(async move { persisting.persist_loop(journal, segments).await });
        env.spawn(async move { applying.apply_loop(service).await });
        env.spawn(async move { tidying.chore_loop().await });
        self.step(|_, _| ());
        let early = self.inner.early.borrow_mut().take();
        for (peer, news) in early.into_iter().flatten() {
            self.hear(peer, news);
        }
        Ok(())
    }

    /// A peer has news: the replica hears of it, over a stream as soon as the host has recovered.
    fn hear(&self, peer: NodeId, news: News<R::Message>) {
        if let Some(early) = &mut *self.inner.early.borrow_mut() {
            return early.push((peer, news));
        }
        match news {
            News::Message(message) => self.step(|replica, fx| replica.on_message(peer, message, fx)),
            News::Disconnect => {
                if let Some(core) = self.inner.core.borrow_mut().as_mut() {
                    core.forget_held(peer);
                }
                self.step(|replica, fx| replica.on_disconnect(peer, fx));
            }
        }
    }

    /// A peer said something.
    pub(crate) fn on_message(&self, peer: NodeId, message: R::Message) {
        self.hear(peer, News::Message(message));
    }

    /// The stream to a peer broke.
    pub(crate) fn on_disconnect(&self, peer: NodeId) {
        self.hear(peer, News::Disconnect);
    }

    /// A timer fired, by its place among the group's own.
    pub(crate) fn on_timer(&self, place: u32) {
        let timer = match self.inner.core.borrow().as_ref() {
            Some(core) => core.timers[place as usize],
            None => return,
        };
        self.step(|replica, fx| replica.on_timer(timer, fx));
    }

    /// The beat came that the group waited for.
    pub(crate) fn on_beat(&self) {
        let beat = R::BEAT.expect("who has none waits for none");
        self.step(|replica, fx| replica.on_timer(beat, fx));
    }

    fn timer_id(&self, core: &mut Core<R, S, E>, timer: R::Timer) -> TimerId {
        let known = core.timers.iter().position(|known| *known == timer);
        let place = known.unwrap_or_else(|| {
            core.timers.push(timer);
            core.timers.len() - 1
        });
        self.inner.together.timer_of_group(self.inner.setup.cluster.group, place)
    }

    /// A client asks for something.
    pub(crate) fn on_request(&self, from: Address, request: Request<S::Op>) {
        let is_read = S::is_read(&request.op) && R::ANSWERS == Answers::Service;
        let id = {
            let mut core = self.inner.core.borrow_mut();
            let Some(core) = core.as_mut() else { return };
            if core.waiting.len() >= self.inner.setup.options.waiting_requests {
                self.respond(from, request.seq, Err(Rejection::Overloaded));
                return;
            }
            let read = is_read.then(|| request.op.clone());
            core.await_answer(Waiting::Client { from, seq: request.seq, read })
        };
        if is_read {
            self.step(|replica, fx| replica.read(id, fx));
        } else {
            let command = Command { proposed_at: self.inner.setup.env.now(), data: S::encode(&request) };
            self.step(|replica, fx| replica.propose(id, command, fx));
        }
    }

    /// An operator asks for something. What becomes of it the observer hears.
    pub(crate) fn control(&self, control: Control) {
        let id = match self.inner.core.borrow_mut().as_mut() {
            Some(core) => core.await_answer(Waiting::Operator(control.clone())),
            None => return,
        };
        self.step(|replica, fx| replica.control(id, control, fx));
    }

    /// Lets the replica take one step and carries out what it asks for.
    pub(crate) fn step(&self, event: impl FnOnce(&mut R, &mut Effects<R>)) {
        let inner = &*self.inner;
        let mut core = inner.core.borrow_mut();
        let Some(core) = core.as_mut() else { return };
        let before = core.replica.view();
        event(&mut core.replica, &mut core.fx);
        let after = core.replica.view();
        inner.setup.observer.stepped(inner.setup.cluster.me, &before, &after, core.fx.list());

        let mut fx = std::mem::take(&mut core.fx);
        for effect in fx.drain() {
            self.carry_out(core, effect);
        }
        core.fx = fx;
    }

    fn carry_out(&self, core: &mut Core<R, S, E>, effect: Effect<R>) {
        let Setup { env, cluster, .. } = &self.inner.setup;
        let goes_along = |timer| R::BEAT == Some(timer) && self.inner.together.is_shared();
        match effect {
            Effect::Send { to, message, after } => match after.filter(|token| core.pending.contains(token)) {
                Some(token) => core.held.entry(token).or_default().push(Held::Message(to, message)),
                None => self.send(to, message),
            },
            Effect::Disconnect { peer } => {
                core.forget_held(peer);
                env.close_stream(peer.into(), cluster.group.into());
            }
            Effect::Persist { token, records } => {
                core.pending.insert(token);
                self.inner.persist.push(Persist::Records { token, records });
            }
            Effect::SetTimer { timer, within } if goes_along(timer) => {
                self.inner.together.await_beat(cluster.group, within, env);
            }
            Effect::SetTimer { timer, within } => {
                let id = self.timer_id(core, timer);
                env.set_timer(id, within);
            }
            Effect::CancelTimer(timer) if goes_along(timer) => {
                self.inner.together.leave_beats(cluster.group);
            }
            Effect::CancelTimer(timer) => {
                let id = self.timer_id(core, timer);
                env.cancel_timer(id);
            }
            Effect::Commit(entries) => self.inner.work.push(Work::Apply(entries)),
            Effect::Proposed { request, mark } => {
                let displaced = core.proposals.insert(mark.index, (mark, request));
                if let Some((_, displaced)) = displaced {
                    self.refuse(core, displaced, Rejection::Lost);
                }
            }
            Effect::Reply { request, answer, after } => {
                let answer = S::decode_answer(&answer);
                match after.filter(|token| core.pending.contains(token)) {
                    Some(token) => core.held.entry(token).or_default().push(Held::Answer(request, answer)),
                    None => self.answer(core, request, Ok(answer)),
                }
            }
            Effect::Controlled { request } => {
                let waiting = core.waiting.remove(&request).expect("a request is answered once");
                let Waiting::Operator(control) = waiting else { panic!("{request} is a client's") };
                self.inner.setup.observer.controlled(cluster.me, &control, Ok(()));
            }
            Effect::ReadAt { request, index } if index <= core.applied.index => {
                self.inner.work.push(Work::Query(request));
            }
            Effect::ReadAt { request, index } => {
                core.reads.insert((index, request));
            }
            Effect::Reject { request, reason } => self.refuse(core, request, reason),
            Effect::ReadChunk { to, snapshot, offset } => {
                self.inner.work.push(Work::ReadChunk { to, snapshot, offset });
            }
            Effect::Stage(chunk) => core.staged.add(chunk),
            Effect::Install { token, snapshot } => {
                core.pending.insert(token);
                let state = core.staged.take(snapshot);
                self.inner.work.push(Work::Install { token, snapshot, state });
            }
            Effect::Purge { below } => self.inner.persist.push(Persist::Purge { below }),
        }
    }

    fn send(&self, to: NodeId, message: R::Message) {
        let Setup { cluster, env, .. } = &self.inner.setup;
        let group = cluster.group;
        match R::CHANNEL {
            Channel::Datagram => {
                if let Some(message) = self.inner.together.keep(to, group, message) {
                    env.send(to.into(), Packet::Peer { group, message });
                }
            }
            Channel::Stream => env.send_stream(to.into(), Packet::Peer { group, message }),
        }
    }

    /// Sends what groups of this server say together.
    pub(crate) fn send_packet(&self, to: NodeId, packet: PacketOf<R, S>) {
        self.inner.setup.env.send(to.into(), packet);
    }

    /// Answers a client.
    pub(crate) fn respond(&self, to: Address, seq: u64, result: Result<S::Ret, Rejection>) {
        let group = self.inner.setup.cluster.group;
        self.inner.setup.env.send(to, Packet::Response { group, response: Response { seq, result } });
    }

    pub(crate) fn refuse(&self, core: &mut Core<R, S, E>, request: RequestId, reason: Rejection) {
        self.answer(core, request, Err(reason));
    }

    /// Tells whoever asked what became of a request.
    pub(crate) fn answer(
        &self,
        core: &mut Core<R, S, E>,
        request: RequestId,
        result: Result<S::Ret, Rejection>,
    ) {
        match core.waiting.remove(&request).expect("a request is answered once") {
            Waiting::Client { from, seq, .. } => self.respond(from, seq, result),
            Waiting::Operator(control) => {
                let setup = &self.inner.setup;
                setup.observer.controlled(setup.cluster.me, &control, result.map(|_| ()));
            }
        }
    }

    /// A write or an installation is durable: what waited for it goes out, and the replica hears.
    pub(crate) fn durable(&self, token: Token) {
        {
            let mut core = self.inner.core.borrow_mut();
            let Some(core) = core.as_mut() else { return };
            assert!(core.pending.remove(&token), "{token} became durable twice, or was never written");
            for held in core.held.remove(&token).unwrap_or_default() {
                match held {
                    Held::Message(to, message) => self.send(to, message),
                    Held::Answer(request, answer) => self.answer(core, request, Ok(answer)),
                }
            }
        }
        self.step(|replica, fx| replica.on_durable(token, fx));
    }

    /// Stops for good: nothing more is acknowledged. The disk may hold more than was promised, never
    /// less.
    pub(crate) fn fail(&self, error: HostError) {
        if let Some(core) = self.inner.core.borrow_mut().take() {
            for waiting in core.waiting.values() {
                if let Waiting::Client { from, seq, .. } = waiting {
                    self.respond(*from, *seq, Err(Rejection::Stopped));
                }
            }
        }
        *self.inner.early.borrow_mut() = None;
        self.inner.failure.borrow_mut().get_or_insert(error);
        self.inner.setup.observer.stopped(self.inner.setup.cluster.me);
    }

    /// What the replica looks like from outside; `None` while the host recovers or after it failed.
    pub(crate) fn view(&self) -> Option<View> {
        self.inner.core.borrow().as_ref().map(|core| core.replica.view())
    }

    /// Who takes part, as far as the replica knows; `None` while the host recovers or after it failed.
    pub(crate) fn membership(&self) -> Option<Membership> {
        self.inner.core.borrow().as_ref().map(|core| core.replica.membership().clone())
    }

    /// Why the host stopped, if it did.
    pub(crate) fn failure(&self) -> Option<HostError> {
        self.inner.failure.borrow().clone()
    }

    /// What its engine has done since it started, and how many snapshots it installed.
    pub(crate) fn stats(&self) -> HostStats {
        let core = self.inner.core.borrow();
        let snapshots_installed = self.inner.snapshots_installed.get();
        let engine = core.as_ref().map_or_else(Default::default, |core| core.store.stats());
        HostStats { engine, snapshots_installed, ..HostStats::default() }
    }
}

impl<R: Replica, S: Service, E: Engine> Core<R, S, E> {
    fn await_answer(&mut self, waiting: Waiting<S::Op>) -> RequestId {
        self.next_request.0 += 1;
        self.waiting.insert(self.next_request, waiting);
        self.next_request
    }

    /// What was held back for a peer belonged to a stream that is no more.
    fn forget_held(&mut self, peer: NodeId) {
        for held in self.held.values_mut() {
            held.retain(|held| !matches!(held, Held::Message(to, _) if *to == peer));
        }
    }
}

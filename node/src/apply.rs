//! The apply task: committed entries to the service in order, reads at their index, snapshots; and
//! the chore task, which flushes and compacts the engine beside it.

use std::rc::Rc;

use contract::{
    Batch, Bytes, Durability, Engine, Entry, Env, Index, LogShape, Mark, NodeId, Packet, Rejection, Replica,
    Request, RequestId, Service, Standing, Token,
};

use crate::host::{Host, HostError, PacketOf, Waiting};
use crate::server::Leaders;
use crate::snapshot::{self, Outgoing};

/// What the apply task is asked for, in order.
pub(crate) enum Work {
    Apply(Vec<Entry>),
    Query(RequestId),
    Report(Rc<Leaders>),
    ReadChunk { to: NodeId, snapshot: Option<Mark>, offset: u64 },
    Install { token: Token, snapshot: Mark, state: Bytes },
}

impl<R, S, E, V> Host<R, S, E, V>
where
    R: Replica,
    S: Service,
    E: Engine,
    V: Env<PacketOf<R, S>>,
{
    pub(crate) async fn apply_loop(&self, mut service: S) {
        let mut outgoing = Outgoing::default();
        loop {
            let done = match self.inner.work.pop().await {
                Work::Apply(entries) => self.apply(&mut service, entries).await,
                Work::Query(request) => self.query(&service, request).await,
                Work::Report(leaders) => self.report(&service, &leaders).await,
                Work::ReadChunk { to, snapshot, offset } => {
                    self.read_chunk(&mut outgoing, service.families(), to, snapshot, offset).await
                }
                Work::Install { token, snapshot, state } => self.install(token, snapshot, &state).await,
            };
            if let Err(error) = done {
                return self.fail(error);
            }
        }
    }

    /// The engine and the applied mark; the apply task alone changes either.
    pub(crate) fn store(&self) -> Option<(E, Mark)> {
        self.inner.core.borrow().as_ref().map(|core| (core.store.clone(), core.applied))
    }

    async fn apply(&self, service: &mut S, entries: Vec<Entry>) -> Result<(), HostError> {
        let Some((store, mut applied)) = self.store() else { return Ok(()) };
        for entry in &entries {
            assert_eq!(entry.mark.index, applied.index.next(), "entries are applied in order, each once");
            let falls = R::LOG == LogShape::Chain && entry.mark.epoch < applied.epoch;
            assert!(!falls, "epochs never fall along a chain");
            let mut batch = Batch::default();
            let answer = service.apply(entry, &store, &mut batch).await?;
            snapshot::put_applied_mark(&mut batch, entry.mark);
            store.write(batch, Durability::Lazy).await?;
            applied = entry.mark;
            self.inner.setup.observer.applied(self.inner.setup.cluster.me, entry);
            self.applied(entry.mark, answer);
        }
        self.after_applying();
        Ok(())
    }

    /// Answers whoever waited for the entry, and lets go the reads that waited for its index.
    fn applied(&self, mark: Mark, answer: Result<S::Ret, Rejection>) {
        let mut core = self.inner.core.borrow_mut();
        let Some(core) = core.as_mut() else { return };
        core.applied = mark;
        if let Some((proposed, request)) = core.proposals.remove(&mark.index) {
            // Another leader's entry took the place: this request's fate is open until it is retried.
            let answer = if proposed == mark { answer } else { Err(Rejection::Lost) };
            self.answer(core, request, answer);
        }
        while let Some((index, request)) = core.reads.first().copied()
            && index <= mark.index
        {
            core.reads.pop_first();
            self.inner.work.push(Work::Query(request));
        }
    }

    /// Tells the replica how far the service is, and wakes the chore task when it is due.
    pub(crate) fn after_applying(&self) {
        let (applied, durable, chores) = {
            let core = self.inner.core.borrow();
            let Some(core) = core.as_ref() else { return };
            let behind = core.applied.index.0 - core.durable.index.0;
            let due = behind >= self.inner.setup.options.flush_every || core.store.needs_maintenance();
            (core.applied.index, core.durable, due)
        };
        self.step(|replica, fx| replica.on_applied(applied, durable, fx));
        if chores {
            self.inner.chores.push(());
        }
    }

    async fn query(&self, service: &S, request: RequestId) -> Result<(), HostError> {
        let (store, applied, waiting) = {
            let mut core = self.inner.core.borrow_mut();
            let Some(core) = core.as_mut() else { return Ok(()) };
            let waiting = core.waiting.remove(&request).expect("a request is answered once");
            (core.store.clone(), core.applied.index, waiting)
        };
        let Waiting::Client { from, seq, read: Some(op) } = waiting else {
            panic!("only reads are released by index");
        };
        self.inner.setup.observer.queried(self.inner.setup.cluster.me, from, seq, applied);
        let answer = service.query(&op, &store).await?;
        self.respond(from, seq, Ok(answer));
        Ok(())
    }

    /// Tells other groups what the service has to tell them, where this server knows who leads them. A report
    /// that is lost is made up for by the next one.
    async fn report(&self, service: &S, leaders: &Leaders) -> Result<(), HostError> {
        let setup = &self.inner.setup;
        let (store, standing) = {
            let core = self.inner.core.borrow();
            let Some(core) = core.as_ref() else { return Ok(()) };
            let standing = Standing {
                server: setup.cluster.me,
                view: core.replica.view(),
                membership: core.replica.membership().clone(),
            };
            (core.store.clone(), standing)
        };
        for (group, op) in service.report(&standing, &store).await? {
            if let Some(leader) = leaders[group.0 as usize] {
                let request = Request::of_server(op);
                setup.env.send(leader.into(), Packet::Request { group, request });
            }
        }
        Ok(())
    }

    pub(crate) async fn chore_loop(&self) {
        loop {
            self.inner.chores.pop().await;
            while self.inner.chores.try_pop().is_some() {}
            if let Err(error) = self.do_chores().await {
                return self.fail(error);
            }
        }
    }

    async fn do_chores(&self) -> Result<(), HostError> {
        let Some((store, applied, durable, generation)) = self
            .inner
            .core
            .borrow()
            .as_ref()
            .map(|core| (core.store.clone(), core.applied, core.durable, core.generation))
        else {
            return Ok(());
        };
        let work = async {
            if applied.index.0 - durable.index.0 >= self.inner.setup.options.flush_every {
                store.sync().await?;
                self.flushed(applied);
            }
            while store.maintain().await? {}
            Ok(())
        };
        match work.await {
            // An installed snapshot has replaced this store, and its files went with it.
            Err(_) if self.generation() != Some(generation) => Ok(()),
            done => done,
        }
    }

    fn generation(&self) -> Option<u64> {
        self.inner.core.borrow().as_ref().map(|core| core.generation)
    }

    fn flushed(&self, up_to: Mark) {
        let applied: Index = {
            let mut core = self.inner.core.borrow_mut();
            let Some(core) = core.as_mut() else { return };
            core.durable = core.durable.max(up_to);
            core.applied.index
        };
        let durable = self.inner.core.borrow().as_ref().expect("it was there just now").durable;
        self.step(|replica, fx| replica.on_applied(applied, durable, fx));
    }
}

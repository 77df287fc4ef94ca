//! The executor: single-threaded, and in an order drawn from the seed.
//!
//! Tasks that are ready together form a batch. Each draws a rank at (time, task, how often it ran)
//! under its endpoint's key, and the batch runs by rank; what becomes ready meanwhile waits for the
//! next batch. A future is polled, and dropped, outside of every borrow of the world's state: it may
//! spawn, send, write or crash its own node.
//!
//! Wakers must be `Send`, which costs atomic operations. The world's own futures avoid them where a
//! task awaits them directly: they remember the task by its ticket.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::slab::{Slab, Ticket};

pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks that were woken. [`Wake`] demands that it could be shared between threads; it never is,
/// so the lock is never contended and relaxed order is enough.
#[derive(Debug, Default)]
struct Woken {
    any: AtomicBool,
    tickets: Mutex<Vec<Ticket>>,
}

#[derive(Debug)]
struct TaskWaker {
    ticket: Ticket,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl TaskWaker {
    fn enqueue(&self) {
        if !self.queued.load(Relaxed) {
            self.queued.store(true, Relaxed);
            self.woken.any.store(true, Relaxed);
            self.woken.tickets.lock().expect("no thread dies with this lock").push(self.ticket);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.enqueue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.enqueue();
    }
}

/// Whom a future of the world's own wakes.
#[derive(Debug)]
pub(crate) enum Sleeping {
    /// The task that awaits it directly.
    Task(Ticket),
    /// Something between it and its task.
    Other(Waker),
}

struct Task {
    endpoint: u32,
    /// Which of its endpoint's tasks, in order of spawning.
    number: u32,
    runs: u32,
    waking: Arc<TaskWaker>,
    /// Both are out while the task runs.
    running: Option<(TaskFuture, Waker)>,
}

/// A task on its way through one poll.
pub(crate) struct Turn {
    pub(crate) ticket: Ticket,
    pub(crate) endpoint: u32,
    pub(crate) number: u32,
    pub(crate) future: TaskFuture,
    pub(crate) waker: Waker,
}

#[derive(Default)]
struct Inner {
    tasks: Slab<Task>,
    /// Last first.
    batch: Vec<Ticket>,
    /// Woken by ticket.
    ready: Vec<Ticket>,
    ranked: Vec<([u32; 4], Ticket)>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    inner: RefCell<Inner>,
    woken: Arc<Woken>,
    /// The task that runs, and what its waker points to: the address identifies the waker, and is
    /// used for nothing else.
    running: Cell<Option<(*const (), Ticket)>>,
}

impl Tasks {
    /// Remembers whom to wake, while some task runs.
    #[inline]
    pub(crate) fn sleeping(&self, waker: &Waker) -> Sleeping {
        match self.running.get() {
            Some((pointer, ticket)) if pointer == waker.data() => Sleeping::Task(ticket),
            _ => Sleeping::Other(waker.clone()),
        }
    }

    /// Wakes whom [`Tasks::sleeping`] remembered.
    #[inline]
    pub(crate) fn wake(&self, sleeping: Sleeping) {
        match sleeping {
            Sleeping::Other(waker) => waker.wake(),
            Sleeping::Task(ticket) => {
                let inner = &mut *self.inner.borrow_mut();
                let task = inner.tasks.get_mut(ticket).filter(|task| !task.waking.queued.load(Relaxed));
                if let Some(task) = task {
                    task.waking.queued.store(true, Relaxed);
                    inner.ready.push(ticket);
                    self.woken.any.store(true, Relaxed);
                }
            }
        }
    }

    /// Takes in a task, ready to run.
    pub(crate) fn spawn(&self, endpoint: u32, number: u32, future: TaskFuture) {
        self.inner.borrow_mut().tasks.insert_with(|ticket| {
            let (queued, woken) = (AtomicBool::new(false), Arc::clone(&self.woken));
            let waking = Arc::new(TaskWaker { ticket, queued, woken });
            waking.enqueue();
            let waker = Waker::from(Arc::clone(&waking));
            Task { endpoint, number, runs: 0, waking, running: Some((future, waker)) }
        });
    }

    /// Whether nothing is ready.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        !self.woken.any.load(Relaxed)
    }

    /// Takes out the next task to run. `rank` draws the place of a task in its batch.
    pub(crate) fn next(&self, rank: impl Fn(u32, u64) -> [u32; 4]) -> Option<Turn> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            while let Some(ticket) = inner.batch.pop() {
                let Some(task) = inner.tasks.get_mut(ticket) else { continue };
                task.waking.queued.store(false, Relaxed);
                task.runs = task.runs.wrapping_add(1);
                let (future, waker) = task.running.take().expect("a task runs once at a time");
                self.running.set(Some((waker.data(), ticket)));
                return Some(Turn { ticket, endpoint: task.endpoint, number: task.number, future, waker });
            }
            if self.is_idle() {
                return None;
            }
            inner.gather(&self.woken, &rank);
        }
    }

    /// Puts a task back that is not finished. If it was dropped meanwhile, the caller gets its future
    /// back, to drop it.
    pub(crate) fn suspend(&self, turn: Turn) -> Option<TaskFuture> {
        self.running.set(None);
        match self.inner.borrow_mut().tasks.get_mut(turn.ticket) {
            Some(task) => {
                task.running = Some((turn.future, turn.waker));
                None
            }
            None => Some(turn.future),
        }
    }

    /// Forgets a task that is finished.
    pub(crate) fn finish(&self, ticket: Ticket) {
        self.running.set(None);
        self.inner.borrow_mut().tasks.remove(ticket);
    }

    /// Takes out all tasks of an endpoint, or of all endpoints. The caller drops what is returned
    /// outside of every borrow.
    #[must_use]
    pub(crate) fn take_all(&self, endpoint: Option<u32>) -> Vec<impl Sized> {
        let inner = &mut *self.inner.borrow_mut();
        inner.tasks.drain_where(|task| endpoint.is_none_or(|endpoint| task.endpoint == endpoint))
    }
}

impl Inner {
    fn gather(&mut self, woken: &Woken, rank: impl Fn(u32, u64) -> [u32; 4]) {
        woken.any.store(false, Relaxed);
        self.ready.append(&mut woken.tickets.lock().expect("no thread dies with this lock"));
        if self.ready.len() == 1 {
            self.batch.append(&mut self.ready);
            return;
        }
        for ticket in self.ready.drain(..) {
            if let Some(task) = self.tasks.get_mut(ticket) {
                let position = u64::from(task.number) << 32 | u64::from(task.runs);
                self.ranked.push((rank(task.endpoint, position), ticket));
            }
        }
        self.ranked.sort_unstable_by(|a, b| b.cmp(a));
        self.batch.extend(self.ranked.drain(..).map(|(_, ticket)| ticket));
    }
}

//! The world: one queue, one clock, one seed.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::rc::Rc;

use contract::{Address, NodeId, Time, TimerId, WireSize};

use crate::config::{Groups, WorldConfig};
use crate::digest::{Digest, Kind, content_hash};
use crate::env::SimEnv;
use crate::fs::SimFs;
use crate::kernel::{Incarnation, Kernel};
use crate::network::PartitionId;
use crate::queue::Topic;
use crate::slab::{Slab, Ticket};
use crate::stats::{CrashReport, WorldStats};

/// What the caller of [`World::next`] has to dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<M> {
    /// A message arrived.
    Message {
        /// Whose it is.
        to: Address,
        /// Who sent it.
        from: Address,
        /// The content.
        message: M,
    },
    /// A timer fired; it is no longer armed.
    Timer {
        /// Whose it is.
        at: Address,
        /// Which.
        timer: TimerId,
    },
    /// Something the caller scheduled is due.
    Control(u64),
    /// A node is about to carry out its `n`-th disk operation: see [`World::break_at_disk_op`].
    DiskOp {
        /// Whose disk.
        node: NodeId,
        /// Which operation, counted from 1.
        n: u64,
    },
}

/// A message on its way.
struct Transit<M> {
    from: u32,
    to: Incarnation,
    hash: u64,
    message: M,
}

/// The part of a world that knows its messages.
pub(crate) struct Inner<M> {
    pub(crate) kernel: Rc<Kernel>,
    transit: RefCell<Slab<Transit<M>>>,
    /// How a message stands in the trace; set with the trace.
    format: RefCell<fn(&M) -> String>,
}

/// Drops all tasks with the last [`World`]: they hold the world that holds them.
struct Lifetime(Rc<Kernel>);

impl Drop for Lifetime {
    fn drop(&mut self) {
        drop(self.0.tasks.take_all(None));
    }
}

/// A simulated world. A clone is another handle on the same one.
///
/// With the last handle all tasks are dropped; a task that holds a handle itself keeps its world in
/// memory for good. Tasks hold a [`SimEnv`] and a [`SimFs`] instead.
pub struct World<M> {
    inner: Rc<Inner<M>>,
    lifetime: Rc<Lifetime>,
}

impl<M> Clone for World<M> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner), lifetime: Rc::clone(&self.lifetime) }
    }
}

impl<M> fmt::Debug for World<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now()).field("digest", &self.digest()).finish()
    }
}

impl<M> World<M> {
    /// A world in which every endpoint is up and nothing has happened yet.
    pub fn new(config: &WorldConfig) -> Self {
        let kernel = Rc::new(Kernel::new(config));
        let lifetime = Rc::new(Lifetime(Rc::clone(&kernel)));
        let format: fn(&M) -> String = |_| String::new();
        let inner = Inner { kernel, transit: RefCell::default(), format: RefCell::new(format) };
        Self { inner: Rc::new(inner), lifetime }
    }

    /// Simulated time.
    pub fn now(&self) -> Time {
        self.kernel().state.borrow().now
    }

    /// What the present incarnation of an endpoint sees of the world. If the node is down, that is
    /// nothing, and stays so.
    ///
    /// # Panics
    /// If there is no such endpoint.
    pub fn env(&self, at: impl Into<Address>) -> SimEnv<M> {
        let owner = self.kernel().state.borrow().incarnation(at.into());
        SimEnv::new(Rc::clone(&self.inner), owner)
    }

    /// The file system of the present incarnation of a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn fs(&self, node: NodeId) -> SimFs {
        let owner = self.kernel().state.borrow().incarnation(node.into());
        SimFs::new(Rc::clone(self.kernel()), owner)
    }

    /// Goes on to the next event that the caller must dispatch. Ready tasks run first; wake-ups and
    /// disk completions are handled on the way. `None`: nothing is left up to `until`, which it is
    /// now (but with [`Time::FAR`] the clock stays at the last event).
    #[inline]
    pub fn next(&self, until: Time) -> Option<Event<M>> {
        let kernel = self.kernel();
        loop {
            if !kernel.tasks.is_idle() || kernel.holding.get() {
                kernel.run_tasks();
                if let Some((node, n)) = kernel.break_reached() {
                    return Some(Event::DiskOp { node, n });
                }
            }
            let mut state = kernel.state.borrow_mut();
            let Some((time, topic, ticket)) = state.queue.pop(until) else {
                if until != Time::FAR {
                    state.now = state.now.max(until);
                }
                return None;
            };
            debug_assert!(time >= state.now, "time ran backward from {} to {time}", state.now);
            state.now = time;
            let sleeping = match topic {
                Topic::Message => {
                    drop(state);
                    match self.inner.deliver(ticket) {
                        Some(event) => return Some(event),
                        None => continue,
                    }
                }
                Topic::Timer => match state.timer_pops(ticket) {
                    Some((at, timer)) => return Some(Event::Timer { at, timer }),
                    None => continue,
                },
                Topic::Control => match state.control_pops(ticket) {
                    Some(what) => return Some(Event::Control(what)),
                    None => continue,
                },
                Topic::Sleep => state.sleep_ends(ticket),
                Topic::Disk => state.disk_pops(ticket),
            };
            drop(state);
            if let Some(sleeping) = sleeping {
                kernel.tasks.wake(sleeping);
            }
        }
    }

    /// Runs the tasks that are ready, and those that these make ready. Time stands still.
    pub fn run_tasks(&self) {
        self.kernel().run_tasks();
    }

    /// Lets [`Event::Control`] come back at a time.
    ///
    /// # Panics
    /// If that time has passed.
    pub fn schedule(&self, at: Time, what: u64) {
        self.kernel().state.borrow_mut().schedule(at, what);
    }

    /// Cuts the power of a node: its tasks, timers and pending disk requests are gone, and for each
    /// un-flushed sector and directory change it is drawn what the disk holds. Messages to it are
    /// dropped from now on. Nothing happens to a node that is down.
    pub fn crash(&self, node: NodeId) -> CrashReport {
        self.kernel().crash(node)
    }

    /// Starts a new incarnation of a node. Nothing happens to a node that is up.
    pub fn restart(&self, node: NodeId) {
        self.kernel().state.borrow_mut().restart(node);
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        let state = self.kernel().state.borrow();
        state.endpoints[state.index(node.into()) as usize].is_up()
    }

    /// Cuts the links between nodes of different groups, both ways. Several partitions may overlap.
    pub fn partition(&self, groups: &Groups) -> PartitionId {
        let state = &mut *self.kernel().state.borrow_mut();
        let mut words = vec![state.now.0];
        for group in groups {
            words.push(group.len() as u64);
            words.extend(group.iter().map(|node| state.code(state.index((*node).into()))));
        }
        state.digest.event(Kind::Partition, []);
        state.digest.words(&words);
        state.trace(|_| format!("partition {}", crate::fault::partition::Listed(groups)));
        state.network.partition(groups)
    }

    /// Ends a partition.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn heal(&self, partition: PartitionId) {
        let state = &mut *self.kernel().state.borrow_mut();
        state.network.heal(partition);
        state.digest.event(Kind::Heal, [state.now.0]);
        state.trace(|_| "heal".to_owned());
    }

    /// An event of the caller's: its words go into the digest, its text into the trace.
    pub fn note(&self, words: &[u64], text: impl FnOnce() -> String) {
        let state = &mut *self.kernel().state.borrow_mut();
        state.digest.event(Kind::Note, [state.now.0]);
        state.digest.words(words);
        state.trace(|_| format!("note {}", text()));
    }

    /// The digest of everything that has happened.
    pub fn digest(&self) -> Digest {
        self.kernel().state.borrow().digest.digest()
    }

    /// Writes one line per event into `sink` from now on. The sink must not use the world.
    pub fn set_trace(&self, sink: Box<dyn FnMut(&str)>)
    where
        M: Display,
    {
        *self.inner.format.borrow_mut() = M::to_string;
        self.kernel().state.borrow_mut().set_sink(sink);
    }

    /// What has been counted so far.
    pub fn stats(&self) -> WorldStats {
        self.kernel().state.borrow().stats
    }

    /// Lets [`World::next`] return [`Event::DiskOp`] just before a node's `n`-th disk operation takes
    /// effect, so that a caller can crash it there. Operations are writes, flushes, allocations, size
    /// changes, renames, removals and directory syncs, counted from 1 since the world's start. Once
    /// told, the operation goes on at the next call, if it still can.
    ///
    /// # Panics
    /// If that operation is over.
    pub fn break_at_disk_op(&self, node: NodeId, n: u64) {
        let state = &mut *self.kernel().state.borrow_mut();
        let disk = &mut state.disks[node.slot()];
        assert!(n > disk.operations, "{node} is past its disk operation {n}");
        disk.break_at = Some(n);
    }

    /// How many disk operations a node has begun.
    pub fn disk_ops(&self, node: NodeId) -> u64 {
        self.kernel().state.borrow().disks[node.slot()].operations
    }

    fn kernel(&self) -> &Rc<Kernel> {
        &self.inner.kernel
    }
}

impl<M: Hash + WireSize> Inner<M> {
    /// Sends a message: draws its passage, whatever then stops it.
    #[inline]
    pub(crate) fn send(&self, owner: Incarnation, to: Address, message: M) {
        let state = &mut *self.kernel.state.borrow_mut();
        if !state.is_alive(owner) {
            return;
        }
        let from = owner.endpoint;
        let to = state.incarnation(to);
        let endpoints = &state.endpoints;
        let code = |index: usize| endpoints[index].code;
        let mut passage = state.network.draw(state.now, from as usize, to.endpoint as usize, code);
        if from == to.endpoint {
            (passage.lost, passage.latency) = (false, 0);
        }
        let cut = state.network.is_cut(from as usize, to.endpoint as usize);
        let hash = content_hash(&message);
        state.stats.messages_sent += 1;
        state.stats.message_bytes_sent += message.wire_size() as u64;
        let arrival = Time(state.now.0.saturating_add(passage.latency));
        let fate = match (cut, passage.lost) {
            (true, _) => 1,
            (_, true) => 2,
            _ => arrival.0 << 2,
        };
        let words = [state.now.0, state.code(from) << 32 | state.code(to.endpoint), hash, fate];
        state.digest.event(Kind::Send, words);
        if state.is_traced() {
            let text = (self.format.borrow())(&message);
            let fate = match fate {
                1 => "cut".to_owned(),
                2 => "lost".to_owned(),
                _ => format!("arrives {arrival}"),
            };
            state.trace(|state| {
                format!("send {} > {} {fate}: {text}", state.address(from), state.address(to.endpoint))
            });
        }
        if cut {
            state.stats.messages_partitioned += 1;
        } else if passage.lost {
            state.stats.messages_lost += 1;
        } else {
            // What is sent to a node that is down may find it up again on arrival.
            let to = Incarnation { number: to.number | 1, ..to };
            let ticket = self.transit.borrow_mut().insert(Transit { from, to, hash, message });
            state.queue.push(arrival, passage.tie, Topic::Message, ticket);
        }
    }
}

impl<M> Inner<M> {
    /// A message's time has come: it arrives, or a partition or a crash was in its way.
    #[inline]
    fn deliver(&self, ticket: Ticket) -> Option<Event<M>> {
        let Transit { from, to, hash, message } =
            self.transit.borrow_mut().remove(ticket).expect("a message arrives once");
        let state = &mut *self.kernel.state.borrow_mut();
        state.stats.events += 1;
        let cut = state.network.is_cut(from as usize, to.endpoint as usize);
        let down = !state.is_alive(to);
        let kind = if cut || down { Kind::Drop } else { Kind::Deliver };
        let words = [state.now.0, state.code(from) << 32 | state.code(to.endpoint), hash];
        state.digest.event(kind, words);
        if state.is_traced() {
            let text = (self.format.borrow())(&message);
            let verb = match (cut, down) {
                (true, _) => "cut",
                (_, true) => "down",
                _ => "deliver",
            };
            state.trace(|state| {
                format!("{verb} {} < {}: {text}", state.address(to.endpoint), state.address(from))
            });
        }
        if cut {
            state.stats.messages_partitioned += 1;
        } else if down {
            state.stats.messages_to_down += 1;
        } else {
            state.stats.messages_delivered += 1;
            let (to, from) = (state.address(to.endpoint), state.address(from));
            return Some(Event::Message { to, from, message });
        }
        None
    }
}

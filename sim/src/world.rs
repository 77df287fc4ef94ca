//! The world: one queue, one clock, one seed.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::rc::Rc;

use contract::{Address, NodeId, StreamId, Time, TimerId, WireSize};

use crate::config::{Groups, Links, WorldConfig};
use crate::digest::{Digest, Kind, content_hash};
use crate::env::SimEnv;
use crate::frontier::{Frontier, Image};
use crate::fs::SimFs;
use crate::gate::Pending;
use crate::kernel::{Incarnation, Kernel, State};
use crate::network::blocks::{self, Blocking, Parked};
use crate::network::{Fate, PartitionId, Passage};
use crate::queue::Topic;
use crate::slab::{Slab, Ticket};
use crate::stats::{CrashReport, WorldStats};
use crate::stream::Segment;

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
    /// A stream between two endpoints is broken: what was sent over it and not answered may have
    /// arrived or not, and nothing more arrives. The next message opens another one.
    Disconnect {
        /// Who is told.
        at: Address,
        /// Whom it cannot hear any more.
        peer: Address,
        /// Over which of their streams.
        stream: StreamId,
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
    bytes: usize,
    message: M,
}

/// The part of a world that knows its messages.
pub(crate) struct Inner<M> {
    pub(crate) kernel: Rc<Kernel>,
    transit: RefCell<Slab<Transit<M>>>,
    pub(crate) segments: RefCell<Slab<Segment<M>>>,
    /// How a message stands in the trace; set with the trace.
    pub(crate) format: RefCell<fn(&M) -> String>,
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
        let inner = Inner {
            kernel,
            transit: RefCell::default(),
            segments: RefCell::default(),
            format: RefCell::new(format),
        };
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
            let mut through = true;
            let (mut topic, mut ticket) = (topic, ticket);
            if topic == Topic::Gate {
                match state.gate_pops(ticket.slot) {
                    Some(Pending::Event(held, held_ticket)) => (topic, ticket) = (held, held_ticket),
                    Some(Pending::Wake(sleeping)) => {
                        drop(state);
                        kernel.tasks.wake(sleeping);
                        continue;
                    }
                    None => continue,
                }
            } else if state.is_obstructed() {
                through = false;
                if state.holds_back(topic, ticket) {
                    continue;
                }
            }
            let sleeping = match topic {
                Topic::Message => {
                    drop(state);
                    match self.inner.deliver(ticket, through) {
                        Some(event) => return Some(event),
                        None => continue,
                    }
                }
                Topic::Stream => {
                    drop(state);
                    match self.inner.segment_pops(ticket, through) {
                        Some(event) => return Some(event),
                        None => continue,
                    }
                }
                Topic::Step => {
                    state.step_pops(ticket);
                    continue;
                }
                Topic::Gate => unreachable!("nothing waits at a gate for a gate"),
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
        self.end(node, true)
    }

    /// Everything that [`World::crash`] may leave of a node's disk at this moment. Nothing changes.
    pub fn crash_frontier(&self, node: NodeId) -> Frontier {
        self.kernel().state.borrow().frontier(node)
    }

    /// What a crash at this moment would leave of a node's disk; nothing changes. Each number draws an image
    /// of its own, all of them among those of the [frontier](World::crash_frontier).
    pub fn image_after_crash(&self, node: NodeId, number: u64) -> Image {
        self.kernel().state.borrow().image(node, Some(number))
    }

    /// What the end of a node's process at this moment would leave of its disk, the page cache included;
    /// nothing changes.
    pub fn image_after_kill(&self, node: NodeId) -> Image {
        self.kernel().state.borrow().image(node, None)
    }

    /// Gives a node a disk that another's end left.
    ///
    /// # Panics
    /// If the node has used the disk that it has.
    pub fn put_disk(&self, node: NodeId, image: Image) {
        let state = &mut *self.kernel().state.borrow_mut();
        state.disks[node.slot()].put(image);
        for file in state.disks[node.slot()].tree.files() {
            let file = file.borrow();
            state.digest.event(Kind::Size, [file.id, file.size()]);
        }
    }

    /// From now on every read of a node goes to its device, as with `O_DIRECT`: for what is much larger than
    /// a page cache would be.
    pub fn read_directly(&self, node: NodeId) {
        self.kernel().state.borrow_mut().disks[node.slot()].reads_directly = true;
    }

    /// Ends a node's software: its tasks and timers are gone. Its machine goes on: what was written
    /// is in the page cache, and what was asked of the disk is done. Nothing happens to a node that is
    /// down.
    pub fn kill(&self, node: NodeId) {
        self.end(node, false);
    }

    fn end(&self, node: NodeId, power_loss: bool) -> CrashReport {
        if !self.is_up(node) {
            return CrashReport::default();
        }
        let report = self.kernel().crash(node, power_loss);
        let endpoint = self.kernel().state.borrow().index(node.into());
        self.inner.streams_crash(endpoint, !power_loss);
        report
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
        state.block(blocks::between(groups), Blocking::Drop)
    }

    /// Stands in the way of all messages over some links. Several blocks may overlap: where one
    /// drops, nothing is held.
    pub fn block(&self, links: &[Links], blocking: Blocking) -> PartitionId {
        let state = &mut *self.kernel().state.borrow_mut();
        state.digest.event(Kind::Partition, [state.now.0, content_hash(links), blocking as u64]);
        state.trace(|_| format!("block {}", crate::fault::cut::Cut { links: links.to_vec(), blocking }));
        state.block(links.to_vec(), blocking)
    }

    /// Ends a partition, or another block. What it alone held arrives now.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn heal(&self, partition: PartitionId) {
        let state = &mut *self.kernel().state.borrow_mut();
        state.unblock(partition);
        state.digest.event(Kind::Heal, [state.now.0]);
        state.trace(|_| "heal".to_owned());
    }

    /// How many bytes wait before a link whose bandwidth is limited.
    pub fn queued_bytes(&self, from: impl Into<Address>, to: impl Into<Address>) -> u64 {
        let state = &mut *self.kernel().state.borrow_mut();
        let (from, to) = (state.index(from.into()), state.index(to.into()));
        state.network.queued_bytes(state.now, from as usize, to as usize)
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

    pub(crate) fn kernel(&self) -> &Rc<Kernel> {
        &self.inner.kernel
    }
}

impl<M: Clone + Hash + WireSize> Inner<M> {
    /// Sends a message: draws its passage, whatever then stops it.
    #[inline]
    pub(crate) fn send(&self, owner: Incarnation, to: Address, message: M) {
        let state = &mut *self.kernel.state.borrow_mut();
        if !state.is_alive(owner) {
            return;
        }
        let from = owner.endpoint;
        let to = state.incarnation(to);
        let bytes = message.wire_size();
        let mut passage = state.network.draw(state.now, from as usize, to.endpoint as usize, bytes);
        if from == to.endpoint {
            passage = Passage { fate: Fate::Arrives, latency: 0, copy: None, ..passage };
        }
        if state.network.blocks.loses_sent(from as usize, to.endpoint as usize) {
            passage.fate = Fate::Cut;
        }
        let hash = content_hash(&message);
        state.stats.messages_sent += 1;
        state.stats.message_bytes_sent += bytes as u64;
        let computing = if state.gates.any() { state.gates.charge(from, state.now, bytes) } else { 0 };
        let leaves = state.now.0 + computing;
        let arrival = Time(leaves.saturating_add(passage.latency));
        let fate = match passage.fate {
            Fate::Arrives => arrival.0 << 2,
            fate => fate as u64,
        };
        let words = [state.now.0, state.pair(from, to.endpoint), hash, fate];
        state.digest.event(Kind::Send, words);
        if state.is_traced() {
            let text = (self.format.borrow())(&message);
            let fate = match passage.fate {
                Fate::Arrives => format!("arrives {arrival}"),
                fate => format!("{fate:?}").to_lowercase(),
            };
            state.trace(|state| {
                format!("send {} > {} {fate}: {text}", state.address(from), state.address(to.endpoint))
            });
        }
        // What is sent to a node that is down may find it up again on arrival.
        let to = Incarnation { number: to.number | 1, ..to };
        if let (Some((latency, tie)), true) = (passage.copy, passage.fate != Fate::Cut) {
            let arrival = Time(leaves.saturating_add(latency));
            state.stats.messages_duplicated += 1;
            state.digest.event(Kind::Duplicate, [arrival.0]);
            state.trace(|_| format!("duplicate arrives {arrival}"));
            let copy = Transit { from, to, hash, bytes, message: message.clone() };
            let ticket = self.transit.borrow_mut().insert(copy);
            state.queue.push(arrival, tie, Topic::Message, ticket);
        }
        if passage.fate == Fate::Arrives {
            let ticket = self.transit.borrow_mut().insert(Transit { from, to, hash, bytes, message });
            state.queue.push(arrival, passage.tie, Topic::Message, ticket);
        } else {
            state.stats.count_lost(passage.fate);
        }
    }
}

impl<M> Inner<M> {
    /// Whether a message must wait, at a clogged link or at its receiver's gate.
    #[cold]
    fn is_held(&self, state: &mut State, ticket: Ticket) -> bool {
        let mut transit = self.transit.borrow_mut();
        let transit = transit.get_mut(ticket).expect("a message arrives once");
        let (from, to) = (transit.from, transit.to.endpoint);
        let blocks = &mut state.network.blocks;
        if !blocks.is_empty() && blocks.park(Parked { from, to, is_stream: false, ticket }) {
            return true;
        }
        let shut = state.gates.any()
            && !blocks.loses_arriving(from as usize, to as usize)
            && state.gates.is_shut(to, state.now);
        if shut {
            state.hold(to, Pending::Event(Topic::Message, ticket));
        }
        shut
    }

    /// A message's time has come: it arrives, or a partition or a crash was in its way.
    #[inline]
    fn deliver(&self, ticket: Ticket, through: bool) -> Option<Event<M>> {
        let state = &mut *self.kernel.state.borrow_mut();
        if !through && self.is_held(state, ticket) {
            return None;
        }
        let Transit { from, to, hash, bytes, message } =
            self.transit.borrow_mut().remove(ticket).expect("a message arrives once");
        state.stats.events += 1;
        let cut = state.network.blocks.loses_arriving(from as usize, to.endpoint as usize);
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
            if state.gates.any() {
                state.gates.charge(to.endpoint, state.now, bytes);
            }
            let (to, from) = (state.address(to.endpoint), state.address(from));
            return Some(Event::Message { to, from, message });
        }
        None
    }
}

//! Faults: what goes wrong, as plain values that a plan can carry and a replay can fire again.
//!
//! To add one: a file here with its `apply`, a variant in [`Fault`], and a way back in `Undo` if none
//! of those there will do. A fault that was never injected costs nothing and shifts no draw.

pub(crate) mod bit_rot;
pub(crate) mod clock_drift;
pub(crate) mod clock_jump;
pub(crate) mod corrupt;
pub(crate) mod crash;
pub(crate) mod cut;
pub(crate) mod disk_stall;
pub(crate) mod duplicate;
pub(crate) mod garbage;
pub(crate) mod io_error;
pub(crate) mod kill;
pub(crate) mod latent_sector;
pub(crate) mod loss;
pub(crate) mod lost_write;
pub(crate) mod lying_flush;
pub(crate) mod misdirected_write;
pub(crate) mod no_space;
pub(crate) mod partition;
pub(crate) mod pause;
pub(crate) mod reorder;
pub(crate) mod short_read;
pub(crate) mod slow_cpu;
pub(crate) mod slow_disk;
pub(crate) mod slow_link;
pub(crate) mod slow_node;
pub(crate) mod swizzle;
pub(crate) mod sync_error;
pub(crate) mod throttle;
pub(crate) mod wipe;

use std::collections::BTreeMap;
use std::fmt;

use contract::NodeId;
use serde::{Deserialize, Serialize};

pub use self::bit_rot::BitRot;
pub use self::clock_drift::ClockDrift;
pub use self::clock_jump::ClockJump;
pub use self::corrupt::Corrupt;
pub use self::crash::Crash;
pub use self::cut::Cut;
pub use self::disk_stall::DiskStall;
pub use self::duplicate::Duplicate;
pub use self::garbage::Garbage;
pub use self::io_error::IoError;
pub use self::kill::Kill;
pub use self::latent_sector::LatentSector;
pub use self::loss::Loss;
pub use self::lost_write::LostWrite;
pub use self::lying_flush::LyingFlush;
pub use self::misdirected_write::MisdirectedWrite;
pub use self::no_space::NoSpace;
pub use self::partition::Partition;
pub use self::pause::Pause;
pub use self::reorder::Reorder;
pub use self::short_read::ShortRead;
pub use self::slow_cpu::SlowCpu;
pub use self::slow_disk::SlowDisk;
pub use self::slow_link::SlowLink;
pub use self::slow_node::SlowNode;
pub use self::swizzle::Swizzle;
pub use self::sync_error::SyncError;
pub use self::throttle::Throttle;
pub use self::wipe::Wipe;
use crate::config::Links;
use crate::digest::{Kind, content_hash};
use crate::disk::trouble::{Trouble, TroubleId};
use crate::kernel::{Incarnation, State};
use crate::network::PartitionId;
use crate::network::blocks::{Blocking, Parked};
use crate::network::disturb::{Disturbance, DisturbanceId};
use crate::queue::Topic;
use crate::rng::Keys;
use crate::world::World;

/// A concrete fault: it names nodes, never roles. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Groups of nodes that cannot talk to each other.
    Partition(Partition),
    /// Links that are cut, or clogged, in any shape.
    Cut(Cut),
    /// Nodes clogged one after the other, and freed in another order.
    Swizzle(Swizzle),
    /// Links that lose more.
    Loss(Loss),
    /// Links that repeat messages.
    Duplicate(Duplicate),
    /// Links that damage messages.
    Corrupt(Corrupt),
    /// Links on which messages are overtaken.
    Reorder(Reorder),
    /// Slow links.
    SlowLink(SlowLink),
    /// A node with slow links.
    SlowNode(SlowNode),
    /// Links of little bandwidth.
    Throttle(Throttle),
    /// A power loss on one node.
    Crash(Crash),
    /// A node whose process dies.
    Kill(Kill),
    /// A node that loses its disk.
    Wipe(Wipe),
    /// A node that stands still.
    Pause(Pause),
    /// A node on which computing takes longer.
    SlowCpu(SlowCpu),
    /// A clock that is set.
    ClockJump(ClockJump),
    /// A clock that goes at a wrong rate.
    ClockDrift(ClockDrift),
    /// Reads and writes that fail.
    IoError(IoError),
    /// Syncs that fail, in the manner of a file system.
    SyncError(SyncError),
    /// Sectors that can no longer be read.
    LatentSector(LatentSector),
    /// Content that changes without a sign.
    BitRot(BitRot),
    /// Writes that are acknowledged and forgotten.
    LostWrite(LostWrite),
    /// Writes that reach another place.
    MisdirectedWrite(MisdirectedWrite),
    /// Sectors that a power loss fills with garbage.
    Garbage(Garbage),
    /// Flushes that are acknowledged and not done.
    LyingFlush(LyingFlush),
    /// A disk that is full.
    NoSpace(NoSpace),
    /// Reads that return less than there is.
    ShortRead(ShortRead),
    /// A device that does not answer.
    DiskStall(DiskStall),
    /// A slow device.
    SlowDisk(SlowDisk),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(fault) => fault.fmt(f),
            Self::Cut(fault) => fault.fmt(f),
            Self::Swizzle(fault) => fault.fmt(f),
            Self::Loss(fault) => fault.fmt(f),
            Self::Duplicate(fault) => fault.fmt(f),
            Self::Corrupt(fault) => fault.fmt(f),
            Self::Reorder(fault) => fault.fmt(f),
            Self::SlowLink(fault) => fault.fmt(f),
            Self::SlowNode(fault) => fault.fmt(f),
            Self::Throttle(fault) => fault.fmt(f),
            Self::Crash(fault) => fault.fmt(f),
            Self::Kill(fault) => fault.fmt(f),
            Self::Wipe(fault) => fault.fmt(f),
            Self::Pause(fault) => fault.fmt(f),
            Self::SlowCpu(fault) => fault.fmt(f),
            Self::ClockJump(fault) => fault.fmt(f),
            Self::ClockDrift(fault) => fault.fmt(f),
            Self::IoError(fault) => fault.fmt(f),
            Self::SyncError(fault) => fault.fmt(f),
            Self::LatentSector(fault) => fault.fmt(f),
            Self::BitRot(fault) => fault.fmt(f),
            Self::LostWrite(fault) => fault.fmt(f),
            Self::MisdirectedWrite(fault) => fault.fmt(f),
            Self::Garbage(fault) => fault.fmt(f),
            Self::LyingFlush(fault) => fault.fmt(f),
            Self::NoSpace(fault) => fault.fmt(f),
            Self::ShortRead(fault) => fault.fmt(f),
            Self::DiskStall(fault) => fault.fmt(f),
            Self::SlowDisk(fault) => fault.fmt(f),
        }
    }
}

/// A fault in force, and what it takes to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a fault stays in force until it is healed"]
pub enum Injected {
    /// Nothing to end: nothing happened, or it is over already.
    Nothing,
    /// Links are blocked.
    Partition(PartitionId),
    /// A node is down.
    Crash(NodeId),
    /// Anything else.
    Fault(FaultId),
}

/// Names a fault that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

/// How a fault is taken back.
#[derive(Debug)]
pub(crate) enum Undo {
    Calm(DisturbanceId),
    Swizzle(u64),
    Resume(Incarnation),
    Set(u32, Setting),
    Trouble(NodeId, TroubleId),
}

/// What of a node a fault sets to something else, with a value of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    /// What computing takes; see [`crate::gate`].
    Computing(Option<(u64, u64)>),
    /// How far its clock's rate is off, in parts per billion.
    Drift(i64),
}

impl Setting {
    fn is_same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// The faults in force.
#[derive(Debug)]
pub(crate) struct Faults {
    keys: Keys,
    in_force: BTreeMap<u64, Undo>,
    begun: u64,
    swizzles: BTreeMap<u64, swizzle::Going>,
}

impl Faults {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, in_force: BTreeMap::new(), begun: 0, swizzles: BTreeMap::new() }
    }

    fn begin(&mut self, undo: impl FnOnce(u64) -> Undo) -> (Injected, u64) {
        self.begun += 1;
        self.in_force.insert(self.begun, undo(self.begun));
        (Injected::Fault(FaultId(self.begun)), self.begun)
    }
}

impl State {
    fn fault_event(&mut self, what: u64, text: impl FnOnce() -> String) {
        self.digest.event(Kind::Fault, [self.now.0, what]);
        self.trace(|_| format!("fault {}", text()));
    }

    pub(crate) fn block(&mut self, links: Vec<Links>, blocking: Blocking) -> PartitionId {
        let addresses = self.network.addresses().to_vec();
        self.network.blocks.add(links, blocking, &addresses)
    }

    /// What only this block held arrives now, in the order in which it came.
    pub(crate) fn unblock(&mut self, id: PartitionId) {
        let addresses = self.network.addresses().to_vec();
        for Parked { is_stream, ticket, .. } in self.network.blocks.remove(id, &addresses) {
            let topic = if is_stream { Topic::Stream } else { Topic::Message };
            self.queue.push(self.now, 0, topic, ticket);
        }
    }

    /// Sets something of a node, and returns what it was.
    fn set(&mut self, node: u32, to: Setting) -> Setting {
        match to {
            Setting::Computing(slow) => Setting::Computing(self.gates.slow(node, slow)),
            Setting::Drift(ppb) => {
                let clock = &mut self.endpoints[node as usize].clock;
                let before = clock.drift_ppb();
                clock.set_drift(self.now, ppb);
                Setting::Drift(before)
            }
        }
    }

    /// Begins a fault that sets something of a node.
    fn begin_setting(&mut self, node: NodeId, to: Setting) -> Injected {
        let node = self.index(node.into());
        let before = self.set(node, to);
        self.faults.begin(|_| Undo::Set(node, before)).0
    }

    /// Sets something of a node back to what a fault had found. If a later fault that has set the same is still in
    /// force that stays, and will leave behind what this one had found.
    fn set_back(&mut self, number: u64, node: u32, before: Setting) {
        let later = self.faults.in_force.range_mut(number..).find_map(|(_, later)| match later {
            Undo::Set(other, found) if *other == node && found.is_same_kind(before) => Some(found),
            _ => None,
        });
        match later {
            Some(found) => *found = before,
            None => drop(self.set(node, before)),
        }
    }

    fn undo(&mut self, number: u64, undo: Undo) {
        match undo {
            Undo::Calm(id) => self.network.calm(id),
            Undo::Swizzle(number) => self.end_swizzle(number),
            Undo::Resume(paused) => self.resume(paused),
            Undo::Set(node, before) => self.set_back(number, node, before),
            Undo::Trouble(node, id) => self.end_trouble(node, id),
        }
    }
}

impl<M> World<M> {
    /// Lets a fault happen now.
    pub fn inject(&self, fault: &Fault) -> Injected {
        // What has an event of its own needs no other.
        if !matches!(fault, Fault::Partition(_) | Fault::Cut(_) | Fault::Crash(_) | Fault::Kill(_)) {
            let state = &mut *self.kernel().state.borrow_mut();
            state.fault_event(content_hash(fault), || fault.to_string());
        }
        match fault {
            Fault::Partition(fault) => fault.apply(self),
            Fault::Cut(fault) => fault.apply(self),
            Fault::Swizzle(fault) => fault.apply(self),
            Fault::Loss(fault) => fault.apply(self),
            Fault::Duplicate(fault) => fault.apply(self),
            Fault::Corrupt(fault) => fault.apply(self),
            Fault::Reorder(fault) => fault.apply(self),
            Fault::SlowLink(fault) => fault.apply(self),
            Fault::SlowNode(fault) => fault.apply(self),
            Fault::Throttle(fault) => fault.apply(self),
            Fault::Crash(fault) => fault.apply(self),
            Fault::Kill(fault) => fault.apply(self),
            Fault::Wipe(fault) => fault.apply(self),
            Fault::Pause(fault) => fault.apply(self),
            Fault::SlowCpu(fault) => fault.apply(self),
            Fault::ClockJump(fault) => fault.apply(self),
            Fault::ClockDrift(fault) => fault.apply(self),
            Fault::IoError(fault) => fault.apply(self),
            Fault::SyncError(fault) => fault.apply(self),
            Fault::LatentSector(fault) => fault.apply(self),
            Fault::BitRot(fault) => fault.apply(self),
            Fault::LostWrite(fault) => fault.apply(self),
            Fault::MisdirectedWrite(fault) => fault.apply(self),
            Fault::Garbage(fault) => fault.apply(self),
            Fault::LyingFlush(fault) => fault.apply(self),
            Fault::NoSpace(fault) => fault.apply(self),
            Fault::ShortRead(fault) => fault.apply(self),
            Fault::DiskStall(fault) => fault.apply(self),
            Fault::SlowDisk(fault) => fault.apply(self),
        }
    }

    /// Ends a fault: links work again, or the node is up again. Returns the node whose software the
    /// caller has to start, if there is one. To end it twice does nothing, but for partitions.
    pub fn recover(&self, injected: Injected) -> Option<NodeId> {
        match injected {
            Injected::Nothing => None,
            Injected::Partition(partition) => {
                self.heal(partition);
                None
            }
            Injected::Crash(node) => {
                self.restart(node);
                Some(node)
            }
            Injected::Fault(FaultId(number)) => {
                let state = &mut *self.kernel().state.borrow_mut();
                if let Some(undo) = state.faults.in_force.remove(&number) {
                    state.digest.event(Kind::FaultEnds, [state.now.0, number]);
                    state.trace(|_| format!("fault {number} ends"));
                    state.undo(number, undo);
                }
                None
            }
        }
    }

    /// Cuts the power of a node, and its disk is empty afterwards.
    pub fn wipe(&self, node: NodeId) {
        self.crash(node);
        let state = &mut *self.kernel().state.borrow_mut();
        state.disks[node.slot()].wipe();
    }

    fn disturb(&self, links: &Links, disturbance: Disturbance) -> Injected {
        let state = &mut *self.kernel().state.borrow_mut();
        let id = state.network.disturb(links.clone(), disturbance);
        state.faults.begin(|_| Undo::Calm(id)).0
    }

    fn trouble(&self, node: NodeId, trouble: Trouble) -> Injected {
        let state = &mut *self.kernel().state.borrow_mut();
        let id = state.begin_trouble(node, trouble);
        state.faults.begin(|_| Undo::Trouble(node, id)).0
    }

    fn damage(&self, node: NodeId, clusters: u32, sectors: u32, unreadable: bool) {
        let state = &mut *self.kernel().state.borrow_mut();
        state.stats.disk_troubles += state.disks[node.slot()].damage(clusters, sectors, unreadable);
    }
}

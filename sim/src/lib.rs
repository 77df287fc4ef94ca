//! The simulated world: one event queue, one clock and one seed take the place of the network, the
//! disks, the clocks and the machines.
//!
//! # The fault model
//!
//! **Network.** Directed links. Each draws for each message, independently of all others: a delay
//! (constant, uniform, exponential, log-normal or from a table), loss, a second copy, damage (a checksum
//! finds it on arrival, so it shows as loss, and is counted) and being held up; so messages overtake each
//! other. A link may have a bandwidth and a queue before it: latency grows with the queue, and what finds
//! it full is dropped. It may have weather: spells of whole milliseconds, bad or not as a function of the
//! link and the spell alone. Links may differ ([`LinkRule`]): zones, and slow or narrow ones. Blocks
//! ([`World::block`]) stop any set of directed links and drop what is sent, with what is under way
//! dropped or held, or hold both: a clog. A message to a node that is down, or that crashed after the
//! message was sent, is dropped. What an endpoint sends to itself arrives at once. *Not modelled:* shared
//! switches and network cards (bandwidth is per link), routes, fragments, congestion.
//!
//! **Streams.** [`Env::send_stream`](contract::Env::send_stream): FIFO channels over the same links, both ways between two
//! endpoints. What is lost is sent again after 200 ms, doubling, or as soon as three later segments told of
//! it; after ten seconds the sender takes the connection for broken. A new connection has a new epoch; [`Event::Disconnect`] tells each side of the
//! end of the old one, and nothing of it arrives afterwards. A process that dies, or breaks a connection itself
//! ([`Env::close_stream`](contract::Env::close_stream)), resets it; a machine without power answers nothing, and
//! refuses old connections when it is back. What a process sends before it has heard of its connection's end is
//! lost. Opening takes a round trip. *Not modelled:* windows, congestion control, lost acknowledgements, keep-alive.
//!
//! **Disk: time.** A request is submitted by a system call or through a ring ([`Submission`](config::Submission)): the call's
//! cost is free by default, since what profiles take was measured through one; a task that awaits each
//! request has a queue depth of one, and a ring has so many places for the tasks of a node together.
//! Then four kinds of device. *Units:* a request crosses a bus that all requests of its node
//! share, then occupies one of the parallel units for a drawn latency, first come, first served; so requests
//! complete out of order. *Flash:* besides, a queue depth, a volatile cache that drains at a rate, and units
//! that stall to erase a block. Its blocks are collected as on a drive that has been full for long: random
//! writes are programmed (1 + OP)/(2 OP) times, OP being the spare share; what goes on where one of the
//! last eight streams of writes ended, once. *Arm:* seek (Lee's curve), rotation (the angle follows from
//! simulated time) and transfer from
//! where the head stands, first come first served or as an elevator, and the drive's own cache, which a
//! flush empties; each file lies in one piece, at a drawn place. *Volume:* admits operations and bytes at
//! a rate. Flushes merge: all that come while one is under way share the next. All devices have slow
//! spells of 100 ms. A `sync_data` after a change of the file's size costs a metadata flush; so does a
//! `sync_dir`. Names, sizes and preallocation change in memory and take no time. Reads take none either,
//! but after a power loss, or where a fault emptied the cache, the first read of each 4 KiB page goes to
//! the device: memory holds everything. A fault that makes a device slow begins and ends with what is under way in
//! it. *Not modelled:* a flash translation layer page by page (so neither
//! fresh drives nor hot pages that die together), writes that a cache absorbs, remapped tracks, several zones
//! of a platter, merging of small sequential requests, that a system call keeps its node from computing.
//!
//! **Disk: persistence.** Nothing is durable before a flush of its file that was issued after it
//! completed. At a power loss each un-flushed unit is, independently, *kept* (it has one of the contents
//! written since the last flush), *dropped* (its durable content) or, where a fault says so, *garbage*, with
//! odds that are drawn per file and crash. A unit is what the device writes whole or not at all
//! ([`DiskConfig::torn_unit`]): a sector of 512 bytes, or an aligned block of 4096. Where less is promised
//! sectors are *torn* as well (a prefix of a newer content, then the durable one). A write of several units
//! may survive in any of them, whichever order they were written in. Writes that were under way are
//! un-flushed too. Of a file's unsynced size changes, and of a node's unsynced changes of names (creations, hard links, renames,
//! removals), a drawn prefix survives, as in a journalling file
//! system: dropped data in a file whose size survived is zeros; a file whose creation did not survive is
//! gone; a rename is atomic. `sync_dir` promises the changes in its directory and those before them, and
//! a file's sync nothing about its name. [`Persistence`] makes this weaker (`posix-weak`: names in any
//! subset, garbage behind a size) or stronger (`ext4-ordered`, `xfs`, `btrfs`). A process that dies
//! ([`World::kill`]) leaves the page cache, and what it had asked of the disk is done. A [`Frontier`] lists
//! all images that these rules permit at one moment, [`World::image_after_crash`] draws one of them; a [`Platter`] obeys them outside of a world. *Not
//! modelled:* that of several writes to one sector without a flush between them another than the last
//! survives; file systems whose journal tears.
//!
//! **Disk: failure.** Each kind is a [`Fault`], and off unless injected: reads and writes that fail; syncs
//! that fail in the manner of a file system ([`SyncFailure`]), whose pages are clean afterwards; sectors
//! that stay unreadable until they are written; bits that rot, in clusters; writes that are lost, or land
//! elsewhere, and show it once they are flushed (the cache lets go of them then); flushes that lie; full
//! disks; short reads; stalls; slow devices; garbage. Media faults hit only flushed content. *Not
//! modelled:* failures that whole batches of disks share, wear.
//!
//! **Clock.** Each node's clock starts ahead by an amount and goes at a rate, both drawn once; it jumps and
//! changes its rate by faults, and a jump back may make it show a moment twice. Timers and sleeps count on
//! the node's rate, and do not see jumps. Clients' clocks are exact.
//!
//! **Process.** A crash is a power loss: the node's tasks are dropped where they stand, its timers and
//! disk requests are gone, and no `Drop` does I/O. Handles of a past incarnation do nothing, and
//! their futures never complete. A pause holds back all that comes, messages, timers, wake-ups and disk
//! completions; afterwards the timers come first, then the rest in order, or, if its clock stood still,
//! timers are put off by the pause. Computing takes time per message and byte if the configuration or a
//! fault says so: a node does one thing after the other. Clients do not crash or compute. *Not modelled:*
//! memory limits, several cores, the cost of tasks and timers.
//!
//! **Order.** Events come by (time, tie-break drawn from the seed). Tasks that one event makes ready
//! run in a drawn order too.
//!
//! # Where the numbers come from
//!
//! Profiles of links and disks are in [`config`], each with its source; (A) is an assumption.
//!
//! - A sector has 512 bytes: what drives promise to write whole while they have power. 4096 for drives
//!   behind capacitors and for cloud volumes (A). A page has 4 KiB: the unit of operating systems' caches.
//! - Flushes take 1.643 ms, with metadata 5.636 ms, on `nvme`: `pg_test_fsync` on a Samsung 990 Pro (Tanel
//!   Poder). Their shape is etcd's sample (mean 1.273 ms, p99 2.376, p99.9 15.8). A write takes about 21 us: fio on
//!   a Samsung 980. `nvme-plp` flushes in 12 to 58 us (smalldatum). `ebs-gp3` commits 1 105 times a second
//!   (the etcd team's fio), at 3 000 operations and 125 MiB a second.
//! - The hard disk seeks in 0.8, 8.5 and 18 ms over 100 000 cylinders at 7200 rpm (Lee's curve, DiskSim 4)
//!   and transfers 192 MB/s (RocksDB's simulated hybrid file system). A command takes 20 us (A).
//! - Flash erases a block in 3.8 ms and has 7 % to spare (MQSim), a server's 28 % (A). Blocks of 16 MiB over
//!   all units, caches and their drain, reads, the spread of latencies: (A).
//! - A system call takes 1.5 us, a place in a ring 0.2 us (A).
//! - Slow spells of 100 ms (A) take 0.2 % of a hard disk's time, 0.6 % of a flash drive's (Hao and others,
//!   FAST'16); how slow they are is Pareto with index 2 (A).
//! - A stream sends again after 200 ms, as Linux does, or after three duplicate acknowledgements (RFC 5681),
//!   and gives up after 10 s (A).
//! - What share of un-flushed sectors survives is not measured anywhere: it is drawn for variety, so that
//!   some crashes keep nothing, some everything, and, where sectors are torn, some tear.
//!
//! Laws that real devices obey (a disk's random reads, commits per flush, Little's law, the collection of
//! flash blocks, percentiles, drift) are measured by the repository's `cargo xtask laws`.
//!
//! # The laws
//!
//! - A run is a function of its [`WorldConfig`] and of what the caller does. [`World::digest`] covers
//!   every event, so two runs that differ show it.
//! - Draws are keyed ([`rng`]): nobody's draws depend on how many others there are or what they do.
//! - A fault that is off costs nothing, and a trace that nobody reads is not formatted.
//!
//! # Reading order
//!
//! [`config`], [`rng`] and `queue`; then [`World`] with `kernel`, `network` (`passage`: one message over
//! one link, `blocks`: partitions and clogs, `stream`: connections), `stream`, `timer`, `clock`, `gate`
//! (pauses and computing) and `task`; then `disk` (`device` and `arm`: time, `inode`:
//! content, `loss`: what a crash does to it, `tree`: to names, `trouble` and `scars`: faults), `fs`, `frontier` and
//! `platter`; then [`fault`].
//!
//! ```
//! # use seedbed_sim as sim;
//! use contract::{Env, NodeId, Seed, Time};
//! use sim::{Event, World, WorldConfig, disk_profile, net_profile};
//!
//! let world = World::<()>::new(&WorldConfig {
//!     seed: Seed(1),
//!     nodes: 2,
//!     clients: 0,
//!     net: net_profile("lan").unwrap(),
//!     disk: disk_profile("nvme").unwrap(),
//!     ..WorldConfig::default()
//! });
//! let (one, two) = (NodeId::new(1), NodeId::new(2));
//! world.env(one).send(two.into(), ());
//! let arrival = world.next(Time::FAR);
//! assert_eq!(arrival, Some(Event::Message { to: two.into(), from: one.into(), message: () }));
//! assert!(world.now() > Time::ZERO);
//! assert_eq!(world.next(Time::FAR), None);
//! ```

mod clock;
pub mod config;
mod digest;
mod disk;
mod env;
pub mod fault;
mod frontier;
mod fs;
mod gate;
mod kernel;
mod latency;
mod network;
mod platter;
mod queue;
pub mod rng;
mod slab;
mod stats;
mod stream;
mod task;
mod timer;
mod world;

pub use config::{
    DISK_PROFILES, DiskConfig, Groups, Latency, LinkRule, Links, NET_PROFILES, NetConfig, Persistence,
    WorldConfig, disk_profile, net_profile,
};
pub use digest::{Digest, NotADigest};
pub use disk::loss::Fate;
pub use disk::trouble::SyncFailure;
pub use env::{SimEnv, Sleep};
pub use fault::{Fault, FaultId, Injected};
pub use frontier::{Choices, Frontier, Image};
pub use fs::{SimFile, SimFs};
pub use network::PartitionId;
pub use network::blocks::Blocking;
pub use platter::Platter;
pub use stats::{CrashReport, WorldStats};
pub use world::{Event, World};

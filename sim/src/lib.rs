//! The simulated world: one event queue, one clock and one seed take the place of the network, the
//! disks, the clocks and the machines.
//!
//! # The fault model
//!
//! **Network.** Datagrams. Each message over each directed link is lost with one probability, and
//! delayed by a draw from one distribution, independently of all others, so messages overtake each
//! other. A partition cuts links between groups of nodes, both ways; it takes what is sent while it
//! lasts and what would arrive while it lasts. A message to a node that is down, or that crashed
//! after the message was sent, is dropped. What an endpoint sends to itself arrives at once. *Not
//! modelled:* duplication, corruption, bandwidth and queueing, one-way cuts, loss in bursts, and
//! streams: nothing here promises FIFO.
//!
//! **Disk: time.** A request crosses a bus that all requests of its node share, then occupies one of
//! the device's parallel units for a drawn latency, first come, first served. A `sync_data` after a
//! change of the file's size costs a metadata flush; so does a `sync_dir`. Names, sizes and
//! preallocation change in memory and take no time. Reads take none either, but after a power loss
//! the first read of each 4 KiB page goes to the device: memory holds everything. *Not modelled:*
//! seeks (a hard disk's are in its latency distribution), the drive's cache filling up, garbage
//! collection, slow spells, throttling.
//!
//! **Disk: persistence.** Nothing is durable before a flush of its file that was issued after it
//! completed. At a power loss each un-flushed sector of 512 bytes is, independently, *kept* (it has
//! one of the contents written since the last flush), *dropped* (its durable content) or *torn* (a
//! prefix of a newer content, then the durable one), with odds that are drawn per file and crash.
//! Writes that were under way are un-flushed too. Of a
//! file's unsynced size changes, and of a node's unsynced changes of names, a drawn prefix survives,
//! as in a journalling file system: dropped data in a file whose size survived is zeros; a file
//! whose creation did not survive is gone; a rename is atomic. `sync_dir` promises the changes in
//! its directory and those before them, and a file's sync nothing about its name. *Not modelled:* a
//! process crash that spares the page cache, errors (no call fails but for missing names), full
//! disks, misdirected and lost writes, bit rot, garbage in un-flushed sectors.
//!
//! **Clock.** Each node's clock runs ahead of simulated time by an amount drawn once; it never jumps,
//! drifts or stops, not even while the node is down. Clients' clocks are exact. Computing takes no
//! time.
//!
//! **Process.** A crash is a power loss: the node's tasks are dropped where they stand, its timers and
//! disk requests are gone, and no `Drop` does I/O. Handles of a past incarnation do nothing, and
//! their futures never complete. Clients do not crash. *Not modelled:* pauses, slow nodes, wiped disks.
//!
//! **Order.** Events come by (time, tie-break drawn from the seed). Tasks that one event makes ready
//! run in a drawn order too.
//!
//! # Where the numbers come from
//!
//! Link and disk profiles are in [`config`], each with its source; a figure without one is an
//! assumption. Sectors of 512 bytes are what drives promise to write atomically while they have
//! power; pages of 4 KiB are the unit of operating systems' caches. What
//! share of un-flushed sectors survives is not measured anywhere: it is drawn for variety, so that some
//! crashes keep nothing, some everything, and some tear.
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
//! [`config`], [`rng`] and `queue`; then [`World`] with `kernel`, `network`, `timer` and `task`; then
//! `disk` (`device`: time, `inode`: what a crash does to content, `tree`: to names) and `fs`; then
//! [`fault`].
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
//!     clock_skew: std::time::Duration::ZERO,
//! });
//! let (one, two) = (NodeId::new(1), NodeId::new(2));
//! world.env(one).send(two.into(), ());
//! let arrival = world.next(Time::FAR);
//! assert_eq!(arrival, Some(Event::Message { to: two.into(), from: one.into(), message: () }));
//! assert!(world.now() > Time::ZERO);
//! assert_eq!(world.next(Time::FAR), None);
//! ```

pub mod config;
mod digest;
mod disk;
mod env;
pub mod fault;
mod fs;
mod kernel;
mod latency;
mod network;
mod queue;
pub mod rng;
mod slab;
mod stats;
mod task;
mod timer;
mod world;

pub use config::{
    DISK_PROFILES, DiskConfig, Groups, Latency, NET_PROFILES, NetConfig, WorldConfig, disk_profile,
    net_profile,
};
pub use digest::{Digest, NotADigest};
pub use env::{SimEnv, Sleep};
pub use fault::{Fault, Injected};
pub use fs::{SimFile, SimFs};
pub use network::PartitionId;
pub use stats::{CrashReport, WorldStats};
pub use world::{Event, World};

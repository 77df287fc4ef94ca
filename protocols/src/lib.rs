//! What servers say to each other, and what they replicate.
//!
//! Each protocol is a [`contract::Replica`]: a pure state machine that cannot name a clock, a random
//! generator, a file or a runtime, so that one source runs in the simulator, in an exhaustive explorer
//! and on a real network. Each service is a [`contract::Service`]: a deterministic state machine over
//! an ordered store.
//!
//! Reading order: [`solo`], which replicates nothing and shows what a replica is; [`abd`], the shortest
//! that replicates; then any other, whose module's documentation is an essay; and [`kv`].
//!
//! ```
//! use contract::{Cluster, Effects, NodeId, Recovered, Replica, Role};
//! use seedbed_protocols::raft::{Options, Raft, Timer};
//!
//! let mut fx = Effects::default();
//! let alone = Cluster::new(NodeId::new(1), 1, Options::default());
//! let mut raft = Raft::start(&alone, Recovered::empty(), &mut fx);
//! raft.on_timer(Timer::Election, &mut fx);
//! assert_eq!(raft.view().role, Role::Candidate); // its own vote counts once it is durable
//! ```

pub mod abd;
mod duration;
mod keyed_journal;
pub mod kv;
pub mod multi_paxos;
pub mod mvcc;
pub mod paxos;
pub mod percolator;
pub mod raft;
pub mod solo;
pub mod vr;
pub mod zab;

pub use abd::Abd;
pub use kv::KvService;
pub use multi_paxos::MultiPaxos;
pub use paxos::Paxos;
pub use percolator::PercolatorService;
pub use raft::Raft;
pub use solo::Solo;
pub use vr::Vr;
pub use zab::Zab;

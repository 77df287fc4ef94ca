//! The words that all of Seedbed shares, and the traits between its crates.
//!
//! This crate sits at the bottom: every other crate depends on it, and it depends on none of them.
//! Reading order: [`ids`] and [`time`], then [`replica`] (what a protocol is), [`service`] (what is
//! replicated), [`engine`] and [`fs`] (where it is kept), [`env`](mod@env) (what a server needs of
//! the world around it), and [`history`] (what the clients saw).
//!
//! ```
//! use contract::{Cluster, Index, NodeId};
//! # use seedbed_contract as contract;
//! let cluster = Cluster::new(NodeId::new(1), 3, ());
//! assert_eq!(cluster.me.to_string(), "n1");
//! assert_eq!(cluster.quorum(), 2);
//! assert_eq!(Index::ZERO.next(), Index(1));
//! ```

pub mod bug;
pub mod bytes;
pub mod engine;
pub mod env;
pub mod fs;
pub mod history;
pub mod ids;
pub mod kv;
pub mod membership;
pub mod observe;
pub mod replica;
pub mod service;
pub mod time;

pub use bug::{Bug, Bugs};
pub use bytes::Bytes;
pub use engine::{
    Batch, Change, Durability, Engine, EngineError, EngineStats, Family, Order, Pair, Range, ReadStore,
    TornTail,
};
pub use env::{Env, Packet, Rejection, Request, Response, WireSize};
pub use fs::{File, Fs, FsError, OpenMode};
pub use history::{Event, EventKind, History, Outcome};
pub use ids::{
    Address, ClientId, Epoch, GroupId, Index, Mark, NodeId, OpId, RequestId, Seed, StreamId, TimerId, Token,
};
pub use membership::Membership;
pub use observe::{NoObserver, Observer};
pub use replica::{
    Answers, Channel, Cluster, Command, Control, Effect, Effects, Entry, FailureModel, JournalRecord,
    LogShape, Payload, ProtocolOptions, Recovered, Replica, Role, SnapshotChunk, View,
};
pub use service::{Service, Standing};
pub use time::Time;

//! One server: for each replica group a replica, a service and an engine, the host that runs them, and the
//! journal that they share.
//!
//! The host knows neither the simulator nor a protocol. It is handed an environment
//! ([`contract::Env`]), a file system ([`contract::Fs`]) and types for the rest, and keeps the
//! duties that [`contract::replica`] lays upon a caller.
//!
//! ```text
//!  packets ─▶ Host ─▶ Replica ─▶ effects ─┬─▶ sends: at once, or held until their write is durable
//!                                         ├─▶ persist queue ─▶ journal task ─▶ on_durable
//!                                         └─▶ apply queue ─▶ apply task ─▶ service, engine ─▶ answers
//! ```
//!
//! **Invariant:** the applied mark is written in the same engine batch as the effects of its entry.
//! After a restart the service stands exactly behind the entry that the mark names, so that an
//! append is never applied twice.
//!
//! **Invariant:** the journal forgets an entry only when the engine holds its effects durably.
//!
//! Reading order: [`server`], `host`, `together`, `addressees`, then `persist`, `apply` and `snapshot`, one task or
//! concern each.

mod addressees;
mod apply;
mod host;
mod persist;
mod queue;
pub mod server;
mod shared;
mod snapshot;
mod together;

pub use host::{HostError, HostOptions, HostStats, PacketOf, Setup};
pub use server::Server;

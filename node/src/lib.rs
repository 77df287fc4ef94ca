//! One server: a replica, a journal, a service and an engine, and the host that runs them.
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
//! Reading order: [`host`], then `persist`, `apply` and `snapshot`, one task or concern each.

mod apply;
pub mod host;
mod persist;
mod queue;
mod snapshot;

pub use host::{Host, HostOptions, HostStats, Setup};

//! Clients of a sharded store: transactions after Percolator (Peng and Dabek, OSDI 2010) and what TiKV made of
//! it.
//!
//! ```text
//!  programs ─▶ client ─▶ Transaction ─▶ Database ─▶ Link ─▶ shards, scheduler
//!                │         two phases     regions,    requests that
//!                ▼                        locks of    are sent again
//!             records                     others
//! ```
//!
//! - [`link`]: one request until its answer.
//! - [`database`]: finds the shard that holds a key, asks the oracle, and clears away what others left behind.
//! - [`commit`]: the two phases and their shortcuts.
//! - [`client`]: one transaction after the other, and what becomes of each.
//! - [`mover`]: brings regions from one group to another, at random or as [`balance`] finds.
//! - [`collect`]: has shards forget what nobody reads.
//! - [`record`]: what is written down, and how it is judged.
//!
//! Every request may be sent again and may come twice: what shards do is idempotent by the transaction's
//! timestamps, so there are no sessions.

mod balance;
pub(crate) mod client;
mod collect;
mod commit;
mod database;
mod link;
mod mover;
pub(crate) mod record;

pub(crate) use client::TransactionClient;
pub(crate) use commit::{Failed, Transaction};
pub(crate) use link::Wire;

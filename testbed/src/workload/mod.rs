//! What clients do.

pub mod kv;
pub(crate) mod transactions;

//! What clients do.

pub mod kv;

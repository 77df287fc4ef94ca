//! Stub.

pub mod plan;
pub mod registry;
pub mod replay;
pub mod scenario;
pub mod units;

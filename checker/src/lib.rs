//! Judges of histories: whether what the clients of a service saw can be explained.
//!
//! Stub.

mod cache;
pub mod explain;
pub mod generate;
pub mod judge;
pub mod linearizability;
pub mod models;
pub mod parts;
pub mod spec;
mod windows;

pub use explain::Violation;
pub use judge::{Budget, Exhausted, Resource, Verdict, judge, judge_kv};
pub use parts::Malformed;
pub use spec::{FromSequential, Keys, Reason, Spec};

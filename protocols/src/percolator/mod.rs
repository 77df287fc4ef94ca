//! Percolator (Peng and Dabek, OSDI 2010): transactions with snapshot isolation over shards, each a replicated
//! state machine of its own.

mod display;
pub mod op;

pub use op::{
    Content, LockInfo, Mutation, MutationKind, Op, Prewrite, Region, Ret, SchedulerOp, ShardOp, Span,
    Timestamp,
};

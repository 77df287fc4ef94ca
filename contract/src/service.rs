//! What is replicated: a deterministic state machine over an ordered store.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use crate::bytes::Bytes;
use crate::engine::{Batch, EngineError, ReadStore};
use crate::env::{Rejection, Request, WireSize};
use crate::ids::{GroupId, NodeId};
use crate::membership::Membership;
use crate::replica::{Control, Entry, View};

/// How a replica stands when its service is asked for reports.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its server.
    pub server: NodeId,
    /// What it looks like.
    pub view: View,
    /// Who takes part in its group, as far as it knows.
    pub membership: Membership,
}

/// A deterministic state machine over an ordered store. It reads no clock and draws nothing.
///
/// The host owns all keys that begin with a zero byte; a service uses any others.
#[expect(async_fn_in_trait, reason = "a run is one thread: futures need not be Send")]
pub trait Service: 'static {
    /// What clients ask.
    type Op: Clone + Debug + Display + Eq + Hash + WireSize + 'static;
    /// What they are answered.
    type Ret: Clone + Debug + Display + Eq + Hash + WireSize + 'static;

    /// How many of the store's families it uses, from the first on: a snapshot holds those.
    fn families(&self) -> u8 {
        1
    }
    /// Whether an operation changes nothing, so that it needs no place in the log.
    fn is_read(op: &Self::Op) -> bool;
    /// On the leader, before proposing: the command to replicate.
    fn encode(request: &Request<Self::Op>) -> Bytes;
    /// The encoding of an answer, for protocols that answer by themselves.
    fn encode_answer(answer: &Self::Ret) -> Bytes;
    /// The answer of its encoding.
    fn decode_answer(answer: &[u8]) -> Self::Ret;
    /// Applies an entry: reads `store`, adds its effects to `batch`, returns the answer. The host
    /// writes the batch together with the entry's index, so that a restart neither loses nor repeats
    /// an entry.
    async fn apply(
        &mut self,
        entry: &Entry,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Result<Self::Ret, Rejection>, EngineError>;
    /// Answers a read.
    async fn query(&self, op: &Self::Op, store: &impl ReadStore) -> Result<Self::Ret, EngineError>;
    /// What it tells other groups from time to time, leading or not, and which ones. It is asked only where a
    /// server has several groups and is to report.
    async fn report(
        &self,
        _standing: &Standing,
        _store: &impl ReadStore,
    ) -> Result<Vec<(GroupId, Self::Op)>, EngineError> {
        Ok(Vec::new())
    }
    /// What the answer to a report asks of a group's replica on the server that reported.
    fn advice(_answer: &Self::Ret) -> Option<(GroupId, Control)> {
        None
    }
}

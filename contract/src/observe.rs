//! What a host shows to those who watch a run.

use crate::env::Rejection;
use crate::ids::{Address, Index, Mark, NodeId};
use crate::replica::{Control, Effect, Entry, Replica, View};

/// Watches the replicas of a run. It sees effects before they are carried out, and changes nothing.
pub trait Observer<R: Replica>: 'static {
    /// A replica started from what its disk held.
    fn started(&self, node: NodeId, view: &View, recovered: &[R::Record], applied: Mark);
    /// A replica took one step.
    fn stepped(&self, node: NodeId, before: &View, after: &View, effects: &[Effect<R>]);
    /// A node's service applied an entry.
    fn applied(&self, node: NodeId, entry: &Entry);
    /// A node's service is about to answer a read, request `seq` of `client`, with all entries up to
    /// `at` applied.
    fn queried(&self, node: NodeId, client: Address, seq: u64, at: Index);
    /// What an operator asked of a node is done, or why it is not.
    fn controlled(&self, node: NodeId, control: &Control, result: Result<(), Rejection>);
    /// A node's service state was replaced by a snapshot.
    fn installed(&self, node: NodeId, snapshot: Mark);
    /// A node stopped by itself, for its disk failed it.
    fn stopped(&self, node: NodeId);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl<R: Replica> Observer<R> for NoObserver {
    fn started(&self, _node: NodeId, _view: &View, _recovered: &[R::Record], _applied: Mark) {}
    fn stepped(&self, _node: NodeId, _before: &View, _after: &View, _effects: &[Effect<R>]) {}
    fn applied(&self, _node: NodeId, _entry: &Entry) {}
    fn queried(&self, _node: NodeId, _client: Address, _seq: u64, _at: Index) {}
    fn controlled(&self, _node: NodeId, _control: &Control, _result: Result<(), Rejection>) {}
    fn installed(&self, _node: NodeId, _snapshot: Mark) {}
    fn stopped(&self, _node: NodeId) {}
}

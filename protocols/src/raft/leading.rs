//! What a leader knows by being one; all of it is forgotten with the office.

use contract::{Index, NodeId, RequestId};

use super::handover::Handover;
use super::lease::Lease;
use super::progress::Progress;
use super::read::Reads;
use super::reconfigure::Change;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    /// Every other member, in their order.
    pub(super) peers: Vec<Progress>,
    pub(super) reads: Reads,
    pub(super) lease: Lease,
    /// The first entry of its own term.
    pub(super) first: Index,
    /// How many bytes of entries are not committed.
    pub(super) uncommitted_bytes: u64,
    /// A change of the membership that an operator asked for.
    pub(super) change: Option<Change>,
    /// It is about to leave office.
    pub(super) handover: Option<Handover>,
    /// Up to where witnesses were told to drop their logs.
    pub(super) trimmed: Index,
}

impl Leading {
    pub(super) fn new(peers: Vec<Progress>, first: Index, uncommitted_bytes: u64) -> Self {
        Self {
            peers,
            reads: Reads::default(),
            lease: Lease::default(),
            first,
            uncommitted_bytes,
            change: None,
            handover: None,
            trimmed: Index::ZERO,
        }
    }

    /// Where a member stands among the peers; `None`: it is none, any more or yet.
    pub(super) fn slot_of(&self, peer: NodeId) -> Option<usize> {
        self.peers.iter().position(|progress| progress.peer == peer)
    }

    /// What is known of another voter.
    pub(super) fn peer(&self, voter: NodeId) -> &Progress {
        &self.peers[self.slot_of(voter).expect("every other voter is a peer")]
    }

    /// The requests that are still open.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        let change = self.change.map(|change| change.request);
        let handover = self.handover.and_then(|handover| handover.request);
        handover.into_iter().chain(change).chain(self.reads.into_requests())
    }
}

//! Who takes part, and in which view who is primary (§4, §7).
//!
//! A view number is that of its epoch and its own within the epoch, as the paper's pair would be ordered: each epoch begins
//! at the next multiple of 65 536.

use std::fmt;

use contract::{Epoch, Index, Membership, NodeId};
use serde::{Deserialize, Serialize};

/// Views in one epoch. (At ten view changes a second, two hours' worth.)
pub(super) const VIEWS_PER_EPOCH: u64 = 1 << 16;

/// The group of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The epoch's first view.
    pub first: Epoch,
    /// The op-number of the operation that called for it, the last one of the epoch before.
    pub since: Index,
    /// Who takes part: voters alone.
    pub members: Membership,
}

/// The number of the epoch that a view is in.
pub(super) fn epoch_of(view: Epoch) -> u64 {
    view.0 / VIEWS_PER_EPOCH
}

impl Group {
    /// The group of the founders.
    pub(super) fn founding(founders: &Membership) -> Self {
        Self {
            first: Epoch::ZERO,
            since: Index::ZERO,
            members: Membership::of(founders.voters.iter().copied()),
        }
    }

    /// The group of the next epoch.
    pub(super) fn followed_by(&self, members: Membership, since: Index) -> Self {
        assert!(since > self.since, "an epoch has an operation that ends it");
        Self { first: Epoch(self.first.0 + VIEWS_PER_EPOCH), since, members }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.members.voters.contains(&node)
    }

    /// Members but one, in order.
    pub(super) fn others(&self, me: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.members.voters.iter().copied().filter(move |member| *member != me)
    }

    /// The primary of a view: they take turns.
    pub(super) fn primary(&self, view: Epoch) -> NodeId {
        assert_eq!(epoch_of(view), epoch_of(self.first), "a group has the views of its epoch");
        let turn = (view.0 - self.first.0) % self.members.voters.len() as u64;
        *self.members.voters.iter().nth(turn as usize).expect("a turn is below the number of members")
    }

    /// The first view behind `view` in which `node` is primary.
    pub(super) fn next_view_of(&self, node: NodeId, view: Epoch) -> Epoch {
        assert!(self.contains(node), "only members are primaries");
        let mut next = view.next();
        while self.primary(next) != node {
            next = next.next();
        }
        next
    }

    /// f + 1 of 2f + 1.
    pub(super) fn quorum(&self) -> usize {
        self.members.voters.len() / 2 + 1
    }

    /// How many others must answer a recovering replica, so that one of them is in any quorum that it was
    /// in: f + 1 of 2f + 1.
    pub(super) fn answers(&self) -> usize {
        self.members.voters.len() - self.quorum() + 1
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from view {} behind {}", self.members, self.first.0, self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(nodes: u16) -> Group {
        Group::founding(&Membership::of((1..=nodes).map(NodeId)))
    }

    #[test]
    fn a_recovering_replica_hears_from_every_quorum_that_it_was_in() {
        for nodes in 1..=9 {
            let group = group(nodes);
            let (others, quorum) = (usize::from(nodes) - 1, group.quorum());
            assert!(group.answers() + (quorum - 1) > others, "{nodes} nodes");
            assert!(2 * quorum > usize::from(nodes));
        }
    }

    #[test]
    fn members_take_turns_in_every_epoch() {
        let first = group(3);
        assert_eq!([0, 1, 2, 3].map(|view| first.primary(Epoch(view)).0), [1, 2, 3, 1]);
        assert_eq!(first.next_view_of(NodeId(1), Epoch(0)), Epoch(3));
        let second = first.followed_by(Membership::of([2, 5].map(NodeId)), Index(9));
        assert_eq!(second.first, Epoch(VIEWS_PER_EPOCH));
        assert_eq!(second.primary(Epoch(VIEWS_PER_EPOCH + 1)), NodeId(5));
        assert_eq!((epoch_of(second.first), epoch_of(Epoch(VIEWS_PER_EPOCH - 1))), (1, 0));
    }
}

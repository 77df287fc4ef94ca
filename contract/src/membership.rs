//! Who takes part in a replica group, and in which part.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::env::WireSize;
use crate::ids::NodeId;

/// The members of a group. A node that is in none of the sets takes no part: it may be added later.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// Who counts towards quorums.
    pub voters: BTreeSet<NodeId>,
    /// The voters that are being replaced, while both sets must agree (Raft §6: joint consensus); empty
    /// otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Who is sent the log and does not count: Raft's learners, ZAB's observers.
    pub learners: BTreeSet<NodeId>,
    /// Which of the voters keep a log but no state of the service.
    pub witnesses: BTreeSet<NodeId>,
}

impl Membership {
    /// A group of voters alone.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether two sets of voters must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `node` counts towards a quorum.
    pub fn votes(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether `node` takes part.
    pub fn contains(&self, node: NodeId) -> bool {
        self.votes(node) || self.learners.contains(&node)
    }

    /// Whether `node` keeps no state of the service.
    pub fn is_witness(&self, node: NodeId) -> bool {
        self.witnesses.contains(&node)
    }

    /// Everyone who takes part, in order, each once.
    pub fn all(&self) -> impl Iterator<Item = NodeId> + '_ {
        let everyone: BTreeSet<NodeId> =
            self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect();
        everyone.into_iter()
    }

    /// Whether those for whom `agrees` holds are a majority of the voters, and of the outgoing ones where
    /// there are any.
    pub fn is_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let majority = |set: &BTreeSet<NodeId>| {
            set.is_empty() || set.iter().filter(|node| agrees(**node)).count() > set.len() / 2
        };
        !self.voters.is_empty() && majority(&self.voters) && majority(&self.outgoing)
    }
}

impl WireSize for Membership {
    fn wire_size(&self) -> usize {
        4 + 2 * (self.voters.len() + self.outgoing.len() + self.learners.len() + self.witnesses.len())
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name: &str, set: &BTreeSet<NodeId>| {
            if set.is_empty() {
                return Ok(());
            }
            let nodes: Vec<String> = set.iter().map(NodeId::to_string).collect();
            write!(f, "{name}{}", nodes.join(","))
        };
        named(f, "", &self.voters)?;
        named(f, " replacing ", &self.outgoing)?;
        named(f, " learners ", &self.learners)?;
        named(f, " witnesses ", &self.witnesses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u16]) -> BTreeSet<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_joint_group_needs_both_majorities() {
        let joint =
            Membership { voters: nodes(&[1, 2, 3]), outgoing: nodes(&[3, 4, 5]), ..Membership::default() };
        let agree = |who: &[u16]| joint.is_quorum(|node| who.contains(&node.0));
        assert!(agree(&[1, 3, 4]));
        assert!(!agree(&[1, 2]), "a majority of the new ones alone");
        assert!(!agree(&[3, 4, 5]), "a majority of the old ones alone");
        assert!(!Membership::default().is_quorum(|_| true), "a group of nobody agrees to nothing");
        assert!(!Membership::of(nodes(&[1, 2])).is_quorum(|node| node.0 == 1), "half is no majority");
    }

    #[test]
    fn everyone_is_listed_once() {
        let group =
            Membership { outgoing: nodes(&[1, 2]), learners: nodes(&[7]), ..Membership::of(nodes(&[2, 3])) };
        assert_eq!(group.all().collect::<BTreeSet<_>>(), nodes(&[1, 2, 3, 7]));
        assert_eq!(group.to_string(), "n2,n3 replacing n1,n2 learners n7");
    }
}

//! Whose word still counts: the crash vectors of Michael, Ports, Sharma and Szekeres, *Recovering Shared
//! Objects Without Stable Storage* (DISC 2017), §4.
//!
//! A replica that lost its memory has forgotten what it said. The paper's recovery makes sure that it
//! comes back with what it had *acknowledged*; but what it said in a view change may still be on its way.
//! Suppose that it has told its log for view 2, crashed, recovered in view 1 and acknowledged an
//! operation there: the primary of view 2, counting what was said before, would begin without that
//! operation.
//!
//! So every replica counts how often each of the others has started, as far as it knows, and says so in
//! whatever is counted towards a quorum. Of what was said only that counts whose sender nobody in the
//! quorum knows to have started again. A recovering replica tells a quorum that it has, before it takes
//! part; so some member of any other quorum knows, or has heard that recovery in the later view.

use std::collections::BTreeMap;

use contract::NodeId;

/// How often each node has started, as far as somebody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Starts(BTreeMap<NodeId, u64>);

impl Starts {
    /// How often a node has.
    pub fn of(&self, node: NodeId) -> u64 {
        self.0.get(&node).copied().unwrap_or(0)
    }

    /// Learns that a node has started so often.
    pub(super) fn learn(&mut self, node: NodeId, starts: u64) {
        let known = self.0.entry(node).or_default();
        *known = starts.max(*known);
    }

    /// Learns all that another one knows.
    pub(super) fn merge(&mut self, other: &Self) {
        for (node, starts) in &other.0 {
            self.learn(*node, *starts);
        }
    }

    pub(super) fn wire_size(&self) -> usize {
        1 + 10 * self.0.len()
    }
}

//! The crate's node as a value that can be compared.

use std::hash::{Hash, Hasher};

/// A node. The crate's own is neither [`Eq`] nor [`Hash`], and hides who voted for a candidate. But it tells all
/// that it holds when it is printed, and that is what is compared: slow, and asked for by the explorer alone. Its
/// counters of what happened are part of that, so that states differ which behave alike.
#[derive(Clone, Debug)]
pub(super) struct Node(pub(super) noraft::Node);

impl Node {
    fn print(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.print() == other.print()
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print().hash(state);
    }
}

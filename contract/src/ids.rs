//! Identities. Each is a newtype, and its `Display` is how it stands in a trace.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A server. Numbered from 1, as in `n1`.
    NodeId(u16), "n"
);
id!(
    /// A client of the cluster. Numbered from 1, as in `c1`.
    ClientId(u16), "c"
);
id!(
    /// A replica group. A node may hold many groups, which share its journal.
    GroupId(u32), "g"
);
id!(
    /// One of the streams between two endpoints.
    StreamId(u32), "s"
);
id!(
    /// A request that waits for its answer inside one incarnation of one host.
    RequestId(u64), "r"
);
id!(
    /// A pending write of a replica: what follows it carries the token.
    Token(u64), "t"
);
id!(
    /// A position in a replicated log; the first entry has index 1.
    Index(u64), ""
);
/// A reign: Raft's term, Paxos's ballot, ZAB's epoch. A ballot shows as its round and its node: `e3.n1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

id!(
    /// An operation in a history, numbered in order of invocation.
    OpId(u32), "op"
);
id!(
    /// A timer of one endpoint; small and dense, so that it can index an array.
    TimerId(u32), "timer"
);
id!(
    /// What a run is a function of, beside its scenario.
    Seed(u64), ""
);

impl From<GroupId> for StreamId {
    fn from(group: GroupId) -> Self {
        Self(group.0)
    }
}

impl NodeId {
    /// The `number`th node, counted from 1.
    ///
    /// # Panics
    /// If `number` is 0: nodes are numbered from 1.
    pub fn new(number: u16) -> Self {
        assert!(number > 0, "nodes are numbered from 1");
        Self(number)
    }

    /// The node's place in an array of nodes.
    pub fn slot(self) -> usize {
        usize::from(self.0) - 1
    }
}

impl ClientId {
    /// The client's place in an array of clients.
    pub fn slot(self) -> usize {
        usize::from(self.0) - 1
    }
}

impl Index {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; the index before the first entry is [`Index::ZERO`].
    ///
    /// # Panics
    /// If this is [`Index::ZERO`]: nothing stands before it.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.checked_sub(1).expect("nothing stands before index 0"))
    }
}

impl Epoch {
    /// Before any reign.
    pub const ZERO: Self = Self(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// A ballot: ordered by its round, then by its node, so that no two nodes ever share one.
    ///
    /// # Panics
    /// If the round does not fit 48 bits.
    pub fn ballot(round: u64, node: NodeId) -> Self {
        assert!(round >> (64 - BALLOT_NODE_BITS) == 0, "a ballot's round fits 48 bits");
        Self(round << BALLOT_NODE_BITS | u64::from(node.0))
    }

    /// The round of a ballot; 0 of an epoch that is none.
    pub fn round(self) -> u64 {
        self.0 >> BALLOT_NODE_BITS
    }

    /// The node of a ballot; `None` of an epoch that is none.
    pub fn owner(self) -> Option<NodeId> {
        let node = u16::try_from(self.0 & ((1 << BALLOT_NODE_BITS) - 1)).expect("masked to 16 bits");
        (self.round() > 0 && node > 0).then_some(NodeId(node))
    }
}

/// A ballot holds its node below its round.
const BALLOT_NODE_BITS: u32 = 16;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner() {
            Some(node) => write!(f, "e{}.{node}", self.round()),
            None => write!(f, "e{}", self.0),
        }
    }
}

/// A place in a log together with the epoch of the entry there: it identifies a whole prefix, by
/// log matching (Raft §5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The entry's epoch.
    pub epoch: Epoch,
    /// The entry's index.
    pub index: Index,
}

impl Mark {
    /// Before the first entry.
    pub const ZERO: Self = Self { epoch: Epoch::ZERO, index: Index::ZERO };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.epoch)
    }
}

/// Whoever can send and receive messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A server.
    Node(NodeId),
    /// A client.
    Client(ClientId),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Client(client) => client.fmt(f),
        }
    }
}

impl From<NodeId> for Address {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<ClientId> for Address {
    fn from(client: ClientId) -> Self {
        Self::Client(client)
    }
}

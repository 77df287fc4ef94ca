//! Which transaction depends on which, and why.

/// Why one transaction stands before another in every order that explains what was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dependency {
    /// It installed a version of the key, the other the next one, with this value.
    Ww {
        /// The key.
        key: u64,
        /// What the other wrote.
        value: u64,
    },
    /// It installed the version of the key that the other read; this value was the last in it.
    Wr {
        /// The key.
        key: u64,
        /// What it wrote.
        value: u64,
    },
    /// It read a version of the key, the other installed the next one, with this value.
    Rw {
        /// The key.
        key: u64,
        /// What the other wrote.
        value: u64,
    },
    /// It came before in the same process.
    Process,
    /// It had returned when the other was invoked.
    RealTime,
}

impl Dependency {
    /// Which set of kinds this one is in.
    pub(super) fn kind(self) -> Kinds {
        match self {
            Self::Ww { .. } => Kinds::WW,
            Self::Wr { .. } => Kinds::WR,
            Self::Rw { .. } => Kinds::RW,
            Self::Process => Kinds::PROCESS,
            Self::RealTime => Kinds::REAL_TIME,
        }
    }
}

/// A set of kinds of dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const WW: Self = Self(1);
    pub(super) const WR: Self = Self(2);
    pub(super) const RW: Self = Self(4);
    pub(super) const PROCESS: Self = Self(8);
    pub(super) const REAL_TIME: Self = Self(16);

    pub(super) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }
}

/// A dependency between two transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) why: Dependency,
}

impl Edge {
    /// Says so, with a word for writes.
    pub(super) fn sentence(&self, wrote: &str) -> String {
        let Self { from, to, why } = self;
        match why {
            Dependency::Ww { key, value } => {
                format!("T{from} {wrote} to {key} before T{to} {wrote} {value} to it")
            }
            Dependency::Wr { key, value } => format!("T{to} read of {key} what T{from} {wrote}: {value}"),
            Dependency::Rw { key, value } => format!("T{from} read {key} before T{to} {wrote} {value} to it"),
            Dependency::Process => format!("T{from} came before T{to} in its process"),
            Dependency::RealTime => format!("T{from} had returned when T{to} was invoked"),
        }
    }
}

/// All dependencies, by where they come from.
pub(super) struct Graph {
    edges: Vec<Edge>,
    /// Per transaction where its edges begin; and one more.
    starts: Vec<u32>,
}

impl Graph {
    /// Of so many transactions.
    pub(super) fn new(transactions: usize, mut edges: Vec<Edge>) -> Self {
        edges.sort_unstable();
        edges.dedup();
        let mut starts = vec![0; transactions + 1];
        for edge in &edges {
            assert!(edge.from != edge.to, "nothing depends on itself");
            starts[edge.from as usize + 1] += 1;
        }
        for at in 0..transactions {
            starts[at + 1] += starts[at];
        }
        Self { edges, starts }
    }

    pub(super) fn transactions(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn from(&self, transaction: u32) -> &[Edge] {
        let at = transaction as usize;
        &self.edges[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

//! What can go wrong, and which level forbids it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What transactions must not do. Names are Adya's and Elle's.
///
/// Cycles come in three kinds ([`Anomaly::order`]): of dependencies by data alone, or with the order of the
/// transactions of each process among them, or with that of real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// A read shows what nobody wrote.
    GarbageRead,
    /// A read shows one element twice.
    DuplicateElements,
    /// Two reads cannot be of one list that grows.
    IncompatibleOrder,
    /// What a transaction committed stands behind what an aborted one wrote.
    DirtyUpdate,
    /// Writes that depend on each other in a circle.
    G0,
    /// A read of what an aborted transaction wrote.
    G1a,
    /// A read of what a transaction wrote and replaced.
    G1b,
    /// A circle of writes and reads of them.
    G1c,
    /// A transaction reads something else than it read or wrote itself.
    Internal,
    /// Two transactions read the same version, and both replace it.
    LostUpdate,
    /// A circle with one read of what was replaced: read skew.
    GSingle,
    /// A circle with several such reads, no two of which follow each other: a long fork.
    GNonadjacent,
    /// A circle in which two such reads follow each other: write skew.
    G2Item,
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GarbageRead => "garbage read",
            Self::DuplicateElements => "duplicate elements",
            Self::IncompatibleOrder => "incompatible order",
            Self::DirtyUpdate => "dirty update",
            Self::G0 => "G0",
            Self::G1a => "G1a",
            Self::G1b => "G1b",
            Self::G1c => "G1c",
            Self::Internal => "internal",
            Self::LostUpdate => "lost update",
            Self::GSingle => "G-single",
            Self::GNonadjacent => "G-nonadjacent",
            Self::G2Item => "G2-item",
        })
    }
}

/// Which orders a cycle needs beside the dependencies by data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// None.
    Data,
    /// That of the transactions of each process.
    Process,
    /// That of real time.
    RealTime,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What it is.
    pub kind: AnomalyKind,
    /// Which orders it needs.
    pub order: Order,
    /// The transactions that take part, by their places in the history; those of a cycle in its order.
    pub transactions: Vec<u32>,
    /// What happened, in words.
    pub sentence: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Data => "",
            Order::Process => "-process",
            Order::RealTime => "-realtime",
        };
        write!(f, "{}{order}: {}", self.kind, self.sentence)
    }
}

/// What a service promises of its transactions, from the least to the most where one includes the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Adya's PL-1: writes are ordered.
    ReadUncommitted,
    /// PL-2: what is read was committed.
    ReadCommitted,
    /// PL-SI, generalised: reads are of one snapshot, perhaps an old one, and no update is lost.
    SnapshotIsolation,
    /// The same with snapshots that are no older than the process's last transaction.
    StrongSessionSnapshotIsolation,
    /// The same with snapshots that are no older than the transaction.
    StrongSnapshotIsolation,
    /// PL-2.99. Without reads by predicates there is nothing between it and serializability.
    RepeatableRead,
    /// PL-3: as if one transaction ran after the other.
    Serializable,
    /// The same, in the order in which they began and ended. A history that is said to keep to no level in
    /// particular is held against this one, as a register is against linearizability.
    #[default]
    StrictSerializable,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 8] = [
        Self::ReadUncommitted,
        Self::ReadCommitted,
        Self::SnapshotIsolation,
        Self::StrongSessionSnapshotIsolation,
        Self::StrongSnapshotIsolation,
        Self::RepeatableRead,
        Self::Serializable,
        Self::StrictSerializable,
    ];

    /// Its name on command lines and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read-uncommitted",
            Self::ReadCommitted => "read-committed",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Self::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Self::RepeatableRead => "repeatable-read",
            Self::Serializable => "serializable",
            Self::StrictSerializable => "strict-serializable",
        }
    }

    /// The level of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether it excludes such an anomaly.
    #[must_use]
    pub fn forbids(self, kind: AnomalyKind, order: Order) -> bool {
        self.forbids_in_data(kind) && order <= self.order()
    }

    /// Whether it excludes all that another excludes.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        // Later ones exclude no less, as far as they look at the same orders.
        self >= other && self.order() >= other.order()
    }

    /// The last of the orders whose circles it excludes.
    fn order(self) -> Order {
        match self {
            Self::ReadUncommitted
            | Self::ReadCommitted
            | Self::SnapshotIsolation
            | Self::RepeatableRead
            | Self::Serializable => Order::Data,
            Self::StrongSessionSnapshotIsolation => Order::Process,
            Self::StrongSnapshotIsolation | Self::StrictSerializable => Order::RealTime,
        }
    }

    fn forbids_in_data(self, kind: AnomalyKind) -> bool {
        use AnomalyKind as Kind;
        match kind {
            Kind::GarbageRead
            | Kind::DuplicateElements
            | Kind::IncompatibleOrder
            | Kind::DirtyUpdate
            | Kind::G0 => true,
            Kind::G1a | Kind::G1b | Kind::G1c => self >= Self::ReadCommitted,
            Kind::Internal | Kind::LostUpdate | Kind::GSingle | Kind::GNonadjacent => {
                self >= Self::SnapshotIsolation
            }
            Kind::G2Item => self >= Self::RepeatableRead,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('-', " "))
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One of each kind and order that was found per circle of transactions, the gravest first.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// Whether nothing was found that a level forbids.
    #[must_use]
    pub fn holds(&self, level: Level) -> bool {
        self.first_against(level).is_none()
    }

    /// The levels that hold, without those that others of them include.
    #[must_use]
    pub fn strongest(&self) -> Vec<Level> {
        let holding = Level::ALL.into_iter().filter(|level| self.holds(*level));
        let is_included = |level: Level| holding.clone().any(|other| other != level && other.includes(level));
        holding.clone().filter(|level| !is_included(*level)).collect()
    }

    /// The gravest anomaly that a level forbids.
    #[must_use]
    pub fn first_against(&self, level: Level) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| level.forbids(anomaly.kind, anomaly.order))
    }
}

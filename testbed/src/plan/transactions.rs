//! How a sharded store is laid out, and how its clients commit.

use std::time::Duration;

use contract::{Bytes, GroupId};
use protocols::percolator::{Region, Span};
use serde::{Deserialize, Serialize};

use crate::workload::kv::key_name;

/// The store and its clients' ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransactionPlan {
    /// Regions at first, each in a group of its own.
    pub shards: u32,
    /// Groups that hold no region at first.
    pub spares: u32,
    /// How many keys there are.
    pub keys: u32,
    /// How transactions commit.
    pub mode: CommitMode,
    /// What transactions are isolated by.
    pub isolation: Isolation,
    /// How long others respect a lock.
    pub lock_ttl: Duration,
    /// The mean time between two moves of regions by one mover; without it none moves.
    pub move_every: Option<Duration>,
    /// How often servers report to the scheduler, and the mean time between two looks at how evenly data lies;
    /// without it nobody reports or looks.
    pub balance_every: Option<Duration>,
    /// How many pairs a region may have before it is split, where somebody looks.
    pub split_above: Option<u64>,
    /// The mean time between two collections of garbage; without it everything is kept.
    pub collect_every: Option<Duration>,
    /// The share of clients that go away in the middle of a commit, 0 to 1.
    pub leaves: f64,
}

/// How transactions commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitMode {
    /// Two phases; conflicts are seen in the first.
    Optimistic,
    /// Keys are locked before they are read.
    Pessimistic,
    /// Committed once all keys are locked.
    AsyncCommit,
    /// The same, and at once where one region holds all keys.
    OnePhase,
}

impl CommitMode {
    /// Each by its name.
    pub const ALL: [(&str, Self); 4] = [
        ("optimistic", Self::Optimistic),
        ("pessimistic", Self::Pessimistic),
        ("async-commit", Self::AsyncCommit),
        ("one-phase", Self::OnePhase),
    ];

    /// Whether the shards choose commit timestamps, so that reads must be noted.
    pub fn shards_choose(self) -> bool {
        matches!(self, Self::AsyncCommit | Self::OnePhase)
    }
}

/// What transactions are isolated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Each reads one snapshot, and no update is lost.
    Snapshot,
    /// What one has read still holds when it commits: as if one ran after the other.
    Serializable,
}

impl Isolation {
    /// Each by its name.
    pub const ALL: [(&str, Self); 2] = [("snapshot", Self::Snapshot), ("serializable", Self::Serializable)];

    /// The history check that such a store promises to pass.
    pub fn promises(self) -> &'static str {
        match self {
            Self::Snapshot => "strong-snapshot-isolation",
            Self::Serializable => "strict-serializable",
        }
    }
}

impl TransactionPlan {
    /// How many groups hold data, now or later.
    pub fn groups(&self) -> u32 {
        self.shards + self.spares
    }

    /// Whether what was read must still hold at the commit.
    pub fn serializable(&self) -> bool {
        self.isolation == Isolation::Serializable
    }

    /// The group of a shard, numbered from 0: the scheduler's comes before them.
    pub fn shard(&self, number: u32) -> GroupId {
        assert!(number < self.groups(), "there is no shard {number}");
        GroupId(number + 1)
    }

    /// The groups of all shards.
    pub fn all_shards(&self) -> impl Iterator<Item = GroupId> + use<'_> {
        (0..self.groups()).map(|number| self.shard(number))
    }

    /// The name of a key.
    pub fn key(&self, place: u32) -> Bytes {
        assert!(place < self.keys, "there is no key {place}");
        key_name(place)
    }

    /// The regions at first: all keys, evenly.
    pub fn regions(&self) -> Vec<Region> {
        let start = |number: u32| {
            let place = u64::from(number) * u64::from(self.keys) / u64::from(self.shards);
            let place = u32::try_from(place).expect("a place among the keys");
            if number == 0 { Bytes::default() } else { key_name(place) }
        };
        let region = |number| {
            let end = (number + 1 < self.shards).then(|| start(number + 1));
            let span = Span { start: start(number), end };
            Region { span, version: 1, group: self.shard(number), moving_from: None }
        };
        (0..self.shards).map(region).collect()
    }
}

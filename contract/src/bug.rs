//! Real bugs, planted by name, so that the testbed's power to find bugs is a number.
//!
//! To plant one more: a variant here, its row in [`Bug::ALL`], one `if` at its place, and a test
//! that turns red. Those of the storage engines stand in [`Bug::OF_ENGINES`] too: the suites of the storage
//! crate find them, without a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A documented bug of real systems that can be planted with `--bug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// The journal reports a write as durable before it is flushed.
    AckBeforeFsync,
    /// A Raft server answers a vote request before its vote is durable (Raft, Fig. 2).
    VoteNotDurable,
    /// A Raft leader serves a linearizable read without hearing from a quorum (d-engine #381).
    ReadWithoutQuorum,
    /// A reordered AppendEntries truncates entries that already match (RaftOS #26).
    StaleAppendTruncates,
    /// A service takes a command that comes twice for two commands (Raft, §8).
    CommandAppliedTwice,
    /// A service drops a write whose leader's clock is behind that of an earlier write's leader
    /// (Cassandra's last write wins).
    LastWriteWinsByClock,
    /// The journal acknowledges an append whose write failed.
    WriteErrorIgnored,
    /// The journal tries a failed flush again and believes it (PostgreSQL's fsyncgate, 2018).
    SyncRetriedAfterFailure,
    /// A recovering journal takes less than it asked for to be all there is.
    ShortReadAsEnd,
    /// A recovering journal takes what cannot be read for its end.
    ReadErrorAsEnd,
    /// A recovering journal believes a record whose last byte is there, whatever its checksum says.
    ChecksumIgnored,
    /// A recovering journal cuts itself off at damage that had been durable, as at a torn tail
    /// (Alagappan et al., FAST'18).
    CorruptInteriorCut,
    /// An engine renames a file and does not sync its folder (PostgreSQL's recycled log segments).
    RenameNotSynced,
    /// A B-tree believes a page that was torn: no checksum is looked at, and recovery does not copy a page
    /// whose header is of its group.
    TornPageBelieved,
    /// A B-tree overwrites pages before its rollback journal is flushed.
    RollbackJournalNotSynced,
    /// An LSM's compaction drops the mark of a deletion though a deeper level holds the key (LevelDB #184).
    TombstoneDroppedEarly,
    /// An LSM removes a memtable's log before the manifest that names its table is durable (RocksDB #4990:
    /// files that go though the manifest's sync failed).
    LogRemovedBeforeManifest,
    /// An LSM removes a memtable's log while the manifest's last record alone says where its content went:
    /// one flipped bit takes both.
    LogRemovedUnvouched,
    /// A log-structured store's merge drops a value although the batch that replaced it may be lost.
    MergeOutlivesBatch,
    /// A recovering engine trusts what it reads from the page cache to be on the disk (Rebello et al.,
    /// ATC'20).
    RecoveryNotDurable,
    /// A B-tree gives a page away that a snapshot still reads.
    SnapshotPageLost,
}

impl Bug {
    /// Each bug with its name on the command line, where it lives and what it breaks.
    pub const ALL: [(Self, &'static str, &'static str); 21] = [
        (
            Self::AckBeforeFsync,
            "ack-before-fsync",
            "journal: a write counts as durable before its flush; breaks durability at a power loss",
        ),
        (
            Self::VoteNotDurable,
            "vote-not-durable",
            "raft: a vote is sent before it is durable; breaks election safety at a power loss",
        ),
        (
            Self::ReadWithoutQuorum,
            "read-without-quorum",
            "raft: a leader reads without a quorum; breaks linearizability under a partition",
        ),
        (
            Self::StaleAppendTruncates,
            "stale-append-truncates",
            "raft: a late append cuts off entries that matched; breaks durability under reordering",
        ),
        (
            Self::CommandAppliedTwice,
            "command-applied-twice",
            "kv: a command that comes twice takes effect twice; breaks linearizability under retries",
        ),
        (
            Self::LastWriteWinsByClock,
            "last-write-wins-by-clock",
            "kv: a write with an older time stamp is dropped; breaks linearizability when clocks disagree",
        ),
        (
            Self::WriteErrorIgnored,
            "write-error-ignored",
            "journal: a write that failed is acknowledged; breaks durability on a failing or full disk",
        ),
        (
            Self::SyncRetriedAfterFailure,
            "sync-retried-after-failure",
            "journal: a failed flush is tried again and believed; breaks durability at a power loss",
        ),
        (
            Self::ShortReadAsEnd,
            "short-read-as-end",
            "journal: a read that was cut short ends the log; breaks durability at a restart",
        ),
        (
            Self::ReadErrorAsEnd,
            "read-error-as-end",
            "journal: an unreadable sector ends the log; breaks durability at a restart",
        ),
        (
            Self::ChecksumIgnored,
            "checksum-ignored",
            "journal: a record of the right length is believed; breaks log matching when sectors change",
        ),
        (
            Self::CorruptInteriorCut,
            "corrupt-interior-cut",
            "journal: damage inside the log is cut off as a torn tail; breaks durability at a restart",
        ),
        (
            Self::RenameNotSynced,
            "rename-not-synced",
            "engines: a file's new name is not made durable; breaks durability at a power loss",
        ),
        (
            Self::TornPageBelieved,
            "torn-page-believed",
            "btree: a page that was torn passes for whole; breaks content at a power loss",
        ),
        (
            Self::RollbackJournalNotSynced,
            "rollback-journal-not-synced",
            "btree-rollback: pages are overwritten before the journal is flushed; breaks content at a power loss",
        ),
        (
            Self::TombstoneDroppedEarly,
            "tombstone-dropped-early",
            "lsm: a compaction forgets a deletion; a deleted key comes back",
        ),
        (
            Self::LogRemovedBeforeManifest,
            "log-removed-before-manifest",
            "lsm: a log goes before the manifest names its table; breaks durability at a power loss",
        ),
        (
            Self::LogRemovedUnvouched,
            "log-removed-unvouched",
            "lsm: a log goes while one record alone names its table; breaks durability at a flipped bit",
        ),
        (
            Self::MergeOutlivesBatch,
            "merge-outlives-batch",
            "log: a merge drops what an unflushed batch replaced; breaks content at a power loss",
        ),
        (
            Self::RecoveryNotDurable,
            "recovery-not-durable",
            "engines: what is recovered is not flushed; breaks durability when a process dies, then the power fails",
        ),
        (
            Self::SnapshotPageLost,
            "snapshot-page-lost",
            "btree: what a snapshot reads is overwritten; breaks snapshot reads",
        ),
    ];

    /// Those that the suites of the storage crate find; the others have a replay.
    pub const OF_ENGINES: [Self; 9] = [
        Self::RenameNotSynced,
        Self::TornPageBelieved,
        Self::RollbackJournalNotSynced,
        Self::TombstoneDroppedEarly,
        Self::LogRemovedBeforeManifest,
        Self::LogRemovedUnvouched,
        Self::MergeOutlivesBatch,
        Self::RecoveryNotDurable,
        Self::SnapshotPageLost,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(bug, ..)| *bug == self).expect("every bug is listed").1
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is no planted bug's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown bug `{0}`")]
pub struct UnknownBug(pub String);

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        let found = Self::ALL.iter().find(|(_, n, _)| *n == name);
        found.map(|(bug, ..)| *bug).ok_or_else(|| UnknownBug(name.to_owned()))
    }
}

/// Which bugs are planted in this run: none or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bugs(pub Option<Bug>);

impl Bugs {
    /// Nothing planted.
    pub const NONE: Self = Self(None);

    /// Whether `bug` is planted.
    pub fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }
}

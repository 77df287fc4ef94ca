//! Real bugs, planted by name, so that the testbed's power to find bugs is a number.
//!
//! To plant one more: a variant here, its row in `list.rs`, one `if` at its place, and a test
//! that turns red. Those of the storage engines stand in [`Bug::OF_ENGINES`] too: the suites of the storage
//! crate find them, without a cluster.

mod list;

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
    /// A Raft candidate counts a vote of a term that is over (Xraft #33).
    StaleVoteCounts,
    /// A Raft leader commits an entry of an old term by counting replicas (Raft, Fig. 8; PySyncObj #169).
    OldTermCommitted,
    /// A Raft leader believes the last acknowledgement that came, not the furthest (RaftOS #25).
    MatchedGoesBack,
    /// A Raft leader sends entries from the very one on that left its log last (WRaft #118).
    SnapshotBoundaryMissed,
    /// A Raft follower takes over the term of the snapshot that it installs (WRaft #118).
    SnapshotLowersTerm,
    /// A Raft follower acknowledges all of its log for an append of a part (CCF #6001).
    AckBeyondAppend,
    /// A Raft leader changes the membership before it has committed anything (raft-dev, 2015).
    ChangeBeforeOwnCommit,
    /// Only the Raft leader that entered a joint membership leaves it (etcd #12136).
    AutoLeaveLost,
    /// A new Raft leader serves reads before it has committed anything (etcd #7331).
    ReadBeforeOwnCommit,
    /// A Raft leader's lease is as long as its followers' loyalty, by any clock (TiKV #964).
    LeaseIgnoresDrift,
    /// A Raft leader reads when one voter less than a majority has answered (openraft d60f1e85).
    ReadQuorumTooSmall,
    /// A Raft leader takes the middle of what its voters hold for the median, unsorted (openraft #1802).
    QuorumOfUnsorted,
    /// A Raft leader sends no snapshot to whom all that it could agree with is purged (openraft #1828).
    PurgedLogNoSnapshot,
    /// A Raft follower commits entries while it installs a snapshot (openraft eed681d5).
    InstallRacesApply,
    /// A Raft follower acknowledges entries before they are durable (RaftFsync).
    AckBeforeDurable,
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
    /// An ABD server answers a read with what it found, before a majority holds it (Attiya, Bar-Noy and
    /// Dolev, 1995: without the second round a register is regular, not atomic).
    ReadWithoutWriteBack,
    /// An ABD server says that it holds a copy before the copy and its tag are durable (Guerraoui and
    /// Levy, 2004).
    TagNotDurable,
    /// A Paxos acceptor does not write its promises down, and restarts without them (Michael and others,
    /// DISC 2017: diskless recovery).
    PromiseForgotten,
    /// A Paxos proposer counts its ballots in memory alone, and uses them again after a restart (folklore).
    BallotReused,
    /// A Paxos proposer adopts any value that was accepted, not the one of the highest ballot (Lamport,
    /// *Paxos Made Simple*, 2001: P2c).
    AnyAcceptedAdopted,
    /// A VR replica recovers with the first log that it is sent, not with that of the latest view which a
    /// quorum tells of (Liskov and Cowling, 2012, §4.3; Michael and others, DISC 2017).
    RecoveryFromAnyView,
    /// A VR replica counts in a view change what others said before they lost their memory (the published
    /// protocol; Michael and others, DISC 2017).
    DeadVotesCounted,
    /// A VR replica that hears of a later view cuts off what it has acknowledged, before it has anything in
    /// its place (Liskov and Cowling, 2012, §5.2).
    StateTransferTruncates,
    /// A ZAB follower acknowledges its leader's history before it is durable (ZOOKEEPER-4646, 3911).
    NewLeaderAckedEarly,
    /// A ZAB follower writes that it took over its leader's history before it writes that
    /// (ZOOKEEPER-4643).
    EpochBeforeHistory,
    /// A ZAB follower keeps what a DIFF brings in memory until its leader serves, and acknowledges it
    /// (ZOOKEEPER-4785).
    DiffNotLogged,
    /// A ZAB server that looks for a leader goes by the state in memory, without what it has logged and
    /// not yet delivered (ZOOKEEPER-2845).
    ElectionByDeliveredState,
    /// ZAB servers take the longer history for the more recent one, whatever its epochs.
    ElectionIgnoresEpoch,
    /// A ZAB server follows a leader of an older epoch than it has accepted.
    LowerEpochAccepted,
    /// A ZAB leader proposes only to those that have acknowledged its history, not to those that are
    /// about to.
    ProposalsToSyncedOnly,
    /// A Paxos leader takes one acceptor too few for a quorum of Phase 2, so that the quorums of the two
    /// phases need not meet (openraft d60f1e85; Flexible Paxos, §3).
    PhaseQuorumsDisjoint,
    /// A Paxos learner that lacks a slot takes it for a no-op and applies what stands behind it.
    HoleSkipped,
    /// A Paxos proposer counts an acceptor that has not yet told all that it accepted.
    PhaseOneUnfinished,
    /// A Paxos acceptor compares a proposal with what it accepted in the slot, not with its promise.
    AcceptBelowPromise,
    /// A Paxos leader counts its lease from the answers, not from when it asked (Gray and Cheriton, *Leases*,
    /// SOSP'89, §2: a lease is shortened by the time that its grant took).
    LeaseFromAnswer,
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
    /// A Percolator shard leaves no record of a rollback, so that a late prewrite is accepted (TiKV #921).
    LatePrewriteAccepted,
    /// A Percolator shard collapses a protected rollback record (TiKV #7364).
    RollbackCollapsed,
    /// A timestamp oracle writes its counter down now and then, and falls back when it restarts (PD #4885).
    TimestampFallsBack,
    /// A Percolator shard gives up a transaction whose lock is still respected (Percolator, §2.2).
    LockTtlIgnored,
    /// A Percolator reader does not wait for a lock from before its timestamp (Percolator, Fig. 6).
    ReadSkipsLock,
    /// A shard does not look at the version of the region that a request names (TiKV's region epochs).
    EpochNotChecked,
    /// A shard goes on serving a span that it has frozen (MIT 6.5840's shardkv).
    OldOwnerWrites,
    /// A shard remembers in memory alone which timestamps were read, and chooses commits below them after a
    /// restart or under another leader (TiKV's `max_ts` on a change of leaders).
    MaxTsNotReplicated,
    /// A Percolator shard answers that a transaction has committed although its lock is gone (Percolator,
    /// Fig. 6: a commit aborts then).
    CommitWithoutLock,
    /// A Percolator shard does not look for newer commits when it prewrites (Percolator, Fig. 6).
    ConflictIgnored,
    /// A client of transactions commits other keys before the primary is committed (Percolator, section 2.2).
    SecondaryBeforePrimary,
    /// A client of transactions makes up its commit timestamp from the one at which it began.
    CommitBelowRead,
    /// A scheduler believes what a group reports of a region that it has no more, or no more so (TinyKV 3C:
    /// stale region heartbeats).
    StaleHeartbeatBelieved,
    /// A scheduler moves regions for balance while others of the same groups are on their way (TiKV's PD: one
    /// operator for a region at a time).
    BalanceIgnoresMoves,
    /// A Raft leader sends each append and each heartbeat twice (MIT 6.5840: agreement and idling have a budget of
    /// messages and bytes).
    EverythingSentTwice,
    /// A Raft server keeps the entries that its service's state includes (MIT 6.5840: a log of bounded size).
    LogNeverCompacted,
    /// A Raft follower does not put its candidacy off when it hears its leader, nor refuses others its vote for that
    /// (MIT 6.824's guide to students: livelocks).
    LeaderNotHeard,
    /// A Raft server waits for the time of 16 elections before it stands (MIT 6.5840: a new leader is due within five
    /// seconds).
    ElectionTooPatient,
    /// A Raft leader sends entries to as many followers as a quorum needs, and never to the others (the *thrifty*
    /// mode of EPaxos, Moraru and others, SOSP'13, without its way back).
    SlowFollowersForgotten,
    /// A Raft leader that hands over does not tell its heir to stand (dissertation §3.10).
    HeirNotTold,
    /// A Raft leader stays in the joint membership that it asked for (§6).
    JointNeverLeft,
    /// A scheduler takes every region to be on its way already (TinyKV 3C: a scheduler that finds nothing to move).
    MoveNeverBegins,
    /// A client of transactions takes one group to hold all regions until it is told otherwise (MIT 6.5840's shardkv:
    /// the configuration is asked for, not guessed).
    MapGuessed,
    /// A client of serializable transactions does not lock what it reads (write skew: Berenson and others, SIGMOD'95,
    /// §4.2).
    ReadsNotLocked,
    /// A client of snapshot transactions locks what it reads, so that what a snapshot allows never occurs (Berenson
    /// and others, SIGMOD'95, §4.2: readers do not block writers).
    ReadsAlwaysLocked,
}

impl Bug {
    /// Each bug with its name on the command line, where it lives and what it breaks.
    pub const ALL: &'static [(Self, &'static str, &'static str)] = list::ALL;

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

//! Each bug with its name on the command line, where it lives and what it breaks.

use super::Bug;

pub(super) const ALL: &[(Bug, &str, &str)] = &[
    (
        Bug::AckBeforeFsync,
        "ack-before-fsync",
        "journal: a write counts as durable before its flush; breaks durability at a power loss",
    ),
    (
        Bug::VoteNotDurable,
        "vote-not-durable",
        "raft: a vote is sent before it is durable; breaks election safety at a power loss",
    ),
    (
        Bug::ReadWithoutQuorum,
        "read-without-quorum",
        "raft: a leader reads without a quorum; breaks linearizability under a partition",
    ),
    (
        Bug::StaleAppendTruncates,
        "stale-append-truncates",
        "raft: a late append cuts off entries that matched; breaks durability under reordering",
    ),
    (
        Bug::StaleVoteCounts,
        "stale-vote-counts",
        "raft: a vote is counted whatever its term; breaks election safety when one comes late",
    ),
    (
        Bug::OldTermCommitted,
        "old-term-committed",
        "raft: entries of old terms are committed by counting; breaks leader completeness under churn",
    ),
    (
        Bug::MatchedGoesBack,
        "matched-goes-back",
        "raft: a late acknowledgement takes back a later one; breaks monotonicity under reordering",
    ),
    (
        Bug::SnapshotBoundaryMissed,
        "snapshot-boundary-missed",
        "raft: an empty append where a snapshot is due; breaks liveness for who lags to the boundary",
    ),
    (
        Bug::SnapshotLowersTerm,
        "snapshot-lowers-term",
        "raft: an older snapshot brings its term along; breaks the monotonicity of terms",
    ),
    (
        Bug::AckBeyondAppend,
        "ack-beyond-append",
        "raft: a divergent tail is acknowledged; breaks durability when leaders change",
    ),
    (
        Bug::ChangeBeforeOwnCommit,
        "change-before-own-commit",
        "raft: two leaders each change one voter; breaks leader completeness under churn",
    ),
    (
        Bug::AutoLeaveLost,
        "auto-leave-lost",
        "raft: a joint membership stays when its leader falls; breaks liveness of changes",
    ),
    (
        Bug::ReadBeforeOwnCommit,
        "read-before-own-commit",
        "raft: a new leader reads at an old commit index; breaks linearizability after elections",
    ),
    (
        Bug::LeaseIgnoresDrift,
        "lease-ignores-drift",
        "raft: a lease outlasts loyalty when clocks drift; breaks linearizability",
    ),
    (
        Bug::ReadQuorumTooSmall,
        "read-quorum-too-small",
        "raft: a read takes a majority but one; breaks linearizability under partitions",
    ),
    (
        Bug::QuorumOfUnsorted,
        "quorum-of-unsorted",
        "raft: the commit index is the middle voter's; breaks durability",
    ),
    (
        Bug::PurgedLogNoSnapshot,
        "purged-log-no-snapshot",
        "raft: probing at a purged log's start goes on for ever; breaks liveness for who lags",
    ),
    (
        Bug::InstallRacesApply,
        "install-races-apply",
        "raft: entries are applied beside a snapshot; breaks state-machine safety",
    ),
    (
        Bug::AckBeforeDurable,
        "ack-before-durable",
        "raft: an append is acknowledged unsynced; breaks durability at a power loss",
    ),
    (
        Bug::CommandAppliedTwice,
        "command-applied-twice",
        "kv: a command that comes twice takes effect twice; breaks linearizability under retries",
    ),
    (
        Bug::LastWriteWinsByClock,
        "last-write-wins-by-clock",
        "kv: a write with an older time stamp is dropped; breaks linearizability when clocks disagree",
    ),
    (
        Bug::WriteErrorIgnored,
        "write-error-ignored",
        "journal: a write that failed is acknowledged; breaks durability on a failing or full disk",
    ),
    (
        Bug::SyncRetriedAfterFailure,
        "sync-retried-after-failure",
        "journal: a failed flush is tried again and believed; breaks durability at a power loss",
    ),
    (
        Bug::ShortReadAsEnd,
        "short-read-as-end",
        "journal: a read that was cut short ends the log; breaks durability at a restart",
    ),
    (
        Bug::ReadErrorAsEnd,
        "read-error-as-end",
        "journal: an unreadable sector ends the log; breaks durability at a restart",
    ),
    (
        Bug::ChecksumIgnored,
        "checksum-ignored",
        "journal: a record of the right length is believed; breaks log matching when sectors change",
    ),
    (
        Bug::CorruptInteriorCut,
        "corrupt-interior-cut",
        "journal: damage inside the log is cut off as a torn tail; breaks durability at a restart",
    ),
    (
        Bug::ReadWithoutWriteBack,
        "read-without-write-back",
        "abd: a read does not store what it returns; breaks linearizability when writes reach few",
    ),
    (
        Bug::TagNotDurable,
        "tag-not-durable",
        "abd: a copy is acknowledged before it is durable; breaks linearizability at a power loss",
    ),
    (
        Bug::PromiseForgotten,
        "promise-forgotten",
        "paxos, multi-paxos: an acceptor forgets its promises at a restart; breaks agreement",
    ),
    (
        Bug::BallotReused,
        "ballot-reused",
        "paxos: ballots are counted anew after a restart; multi-paxos: a ballot is used before it is durable; breaks agreement",
    ),
    (
        Bug::AnyAcceptedAdopted,
        "any-accepted-adopted",
        "paxos, multi-paxos: a proposer adopts another value than that of the highest ballot; breaks agreement",
    ),
    (
        Bug::RecoveryFromAnyView,
        "recovery-from-any-view",
        "vr: a replica recovers without a quorum or the latest view; breaks durability at a crash",
    ),
    (
        Bug::DeadVotesCounted,
        "dead-votes-counted",
        "vr: a view change counts what was said before a crash; breaks durability",
    ),
    (
        Bug::StateTransferTruncates,
        "state-transfer-truncates",
        "vr: a replica that lags behind drops what it acknowledged; breaks durability",
    ),
    (
        Bug::NewLeaderAckedEarly,
        "new-leader-acked-early",
        "zab: a leader's history is acknowledged before it is durable; breaks durability at a power loss",
    ),
    (
        Bug::EpochBeforeHistory,
        "epoch-before-history",
        "zab: currentEpoch is written before the history; breaks durability at a crash between",
    ),
    (
        Bug::DiffNotLogged,
        "diff-not-logged",
        "zab: a DIFF is acknowledged and not logged; breaks durability when the leader is lost then",
    ),
    (
        Bug::ElectionByDeliveredState,
        "election-by-delivered-state",
        "zab: an election goes by the state in memory, not by the log; breaks agreement",
    ),
    (
        Bug::ElectionIgnoresEpoch,
        "election-ignores-epoch",
        "zab: the longer history wins, not the one of the later epoch; breaks agreement",
    ),
    (
        Bug::LowerEpochAccepted,
        "lower-epoch-accepted",
        "zab: a leader of an older epoch is followed; breaks epoch uniqueness",
    ),
    (
        Bug::ProposalsToSyncedOnly,
        "proposals-to-synced-only",
        "zab: who is being synchronised misses proposals; breaks the primary order",
    ),
    (
        Bug::PhaseQuorumsDisjoint,
        "phase-quorums-disjoint",
        "multi-paxos: a quorum of Phase 2 is one too small; breaks agreement under a partition",
    ),
    (
        Bug::HoleSkipped,
        "hole-skipped",
        "multi-paxos: a slot that is missing is taken for a no-op; breaks agreement under loss",
    ),
    (
        Bug::PhaseOneUnfinished,
        "phase-one-unfinished",
        "multi-paxos: a proposer does not wait for all of a promise; breaks agreement under churn",
    ),
    (
        Bug::AcceptBelowPromise,
        "accept-below-promise",
        "multi-paxos: an acceptor accepts below its promise; breaks agreement under churn",
    ),
    (
        Bug::LeaseFromAnswer,
        "lease-from-answer",
        "multi-paxos: a lease is counted from its grant; breaks linearizability when links are slow",
    ),
    (
        Bug::RenameNotSynced,
        "rename-not-synced",
        "engines: a file's new name is not made durable; breaks durability at a power loss",
    ),
    (
        Bug::TornPageBelieved,
        "torn-page-believed",
        "btree: a page that was torn passes for whole; breaks content at a power loss",
    ),
    (
        Bug::RollbackJournalNotSynced,
        "rollback-journal-not-synced",
        "btree-rollback: pages are overwritten before the journal is flushed; breaks content at a power loss",
    ),
    (
        Bug::TombstoneDroppedEarly,
        "tombstone-dropped-early",
        "lsm: a compaction forgets a deletion; a deleted key comes back",
    ),
    (
        Bug::LogRemovedBeforeManifest,
        "log-removed-before-manifest",
        "lsm: a log goes before the manifest names its table; breaks durability at a power loss",
    ),
    (
        Bug::LogRemovedUnvouched,
        "log-removed-unvouched",
        "lsm: a log goes while one record alone names its table; breaks durability at a flipped bit",
    ),
    (
        Bug::MergeOutlivesBatch,
        "merge-outlives-batch",
        "log: a merge drops what an unflushed batch replaced; breaks content at a power loss",
    ),
    (
        Bug::RecoveryNotDurable,
        "recovery-not-durable",
        "engines: what is recovered is not flushed; breaks durability when a process dies, then the power fails",
    ),
    (
        Bug::SnapshotPageLost,
        "snapshot-page-lost",
        "btree: what a snapshot reads is overwritten; breaks snapshot reads",
    ),
    (
        Bug::SecondaryBeforePrimary,
        "secondary-before-primary",
        "transactions: other keys are committed before the primary; breaks atomicity",
    ),
    (
        Bug::CommitBelowRead,
        "commit-below-read",
        "transactions: a commit timestamp is below those of reads before it; breaks snapshots",
    ),
    (
        Bug::LatePrewriteAccepted,
        "late-prewrite-accepted",
        "percolator: a rollback leaves no record; breaks atomicity when a prewrite comes late",
    ),
    (
        Bug::RollbackCollapsed,
        "rollback-collapsed",
        "percolator: a protected rollback is collapsed; breaks atomicity when a prewrite comes late",
    ),
    (
        Bug::TimestampFallsBack,
        "timestamp-falls-back",
        "percolator: the oracle's counter falls back at a restart; breaks snapshot isolation",
    ),
    (
        Bug::LockTtlIgnored,
        "lock-ttl-ignored",
        "percolator: whoever meets a lock gives its transaction up; breaks liveness under contention",
    ),
    (
        Bug::ReadSkipsLock,
        "read-skips-lock",
        "percolator: a reader does not wait for a lock; breaks snapshot reads",
    ),
    (
        Bug::EpochNotChecked,
        "epoch-not-checked",
        "percolator: any shard serves any key; breaks snapshot isolation when regions move",
    ),
    (
        Bug::OldOwnerWrites,
        "old-owner-writes",
        "percolator: a frozen region is served on; breaks durability when regions move",
    ),
    (
        Bug::MaxTsNotReplicated,
        "max-ts-not-replicated",
        "percolator: a commit is put below a read after a restart; breaks snapshot reads",
    ),
    (
        Bug::CommitWithoutLock,
        "commit-without-lock",
        "percolator: a transaction that was given up is said to have committed; breaks durability",
    ),
    (
        Bug::ConflictIgnored,
        "conflict-ignored",
        "percolator: a prewrite misses a newer commit; breaks snapshot isolation by a lost update",
    ),
    (
        Bug::StaleHeartbeatBelieved,
        "stale-heartbeat-believed",
        "percolator: a report of what a group no longer holds counts; breaks the balance of regions",
    ),
    (
        Bug::BalanceIgnoresMoves,
        "balance-ignores-moves",
        "percolator: a region moves away from where a move is under way; breaks liveness: that one never ends",
    ),
    (
        Bug::EverythingSentTwice,
        "everything-sent-twice",
        "raft: a leader sends everything twice; breaks nothing but budgets of messages and bytes",
    ),
    (
        Bug::LogNeverCompacted,
        "log-never-compacted",
        "raft: a log keeps what the service's state includes; breaks the bound of logs, and nobody needs a snapshot",
    ),
    (
        Bug::LeaderNotHeard,
        "leader-not-heard",
        "raft: a leader that is heard is deposed; breaks the stability of leaders",
    ),
    (
        Bug::ElectionTooPatient,
        "election-too-patient",
        "raft: elections come late; breaks availability when a leader is lost",
    ),
    (
        Bug::SlowFollowersForgotten,
        "slow-followers-forgotten",
        "raft: entries go to a bare quorum only; breaks catching up",
    ),
    (Bug::HeirNotTold, "heir-not-told", "raft: an heir is not told to stand; breaks handovers"),
    (
        Bug::JointNeverLeft,
        "joint-never-left",
        "raft: a joint membership is not left; breaks liveness of changes",
    ),
    (
        Bug::MoveNeverBegins,
        "move-never-begins",
        "percolator: a scheduler lets no region move; breaks the balance of regions",
    ),
    (
        Bug::MapGuessed,
        "map-guessed",
        "transactions: a client guesses who holds a region; breaks nothing but the way there",
    ),
    (
        Bug::ReadsNotLocked,
        "reads-not-locked",
        "transactions: a read is not locked; breaks serializability by write skew",
    ),
    (
        Bug::ReadsAlwaysLocked,
        "reads-always-locked",
        "transactions: a snapshot's reads are locked; breaks nothing, but hides write skew",
    ),
];

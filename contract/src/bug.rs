//! Real bugs, planted by name, so that the testbed's power to find bugs is a number.
//!
//! To plant one more: a row here, one `if` at its place, and a test that turns red. Those of the storage engines
//! stand in [`Bug::OF_ENGINES`] too: the suites of the storage crate find them, without a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident $name:literal $about:literal;)+) => {
        /// A documented bug of real systems that can be planted with `--bug`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Bug {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $bug,)+
        }

        impl Bug {
            /// Each bug with its name on the command line, where it lives and what it breaks.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$bug, $name, $about),)+];
        }
    };
}

bugs! {
    /// The journal reports a write as durable before it is flushed.
    AckBeforeFsync "ack-before-fsync"
        "journal: a write counts as durable before its flush; breaks durability at a power loss";
    /// A Raft server answers a vote request before its vote is durable (Raft, Fig. 2).
    VoteNotDurable "vote-not-durable"
        "raft: a vote is sent before it is durable; breaks election safety at a power loss";
    /// A Raft leader serves a linearizable read without hearing from a quorum (d-engine #381).
    ReadWithoutQuorum "read-without-quorum"
        "raft: a leader reads without a quorum; breaks linearizability under a partition";
    /// A reordered AppendEntries truncates entries that already match (RaftOS #26).
    StaleAppendTruncates "stale-append-truncates"
        "raft: a late append cuts off entries that matched; breaks durability under reordering";
    /// A Raft candidate counts a vote of a term that is over (Xraft #33).
    StaleVoteCounts "stale-vote-counts"
        "raft: a vote is counted whatever its term; breaks election safety when one comes late";
    /// A Raft leader commits an entry of an old term by counting replicas (Raft, Fig. 8; PySyncObj #169).
    OldTermCommitted "old-term-committed"
        "raft: entries of old terms are committed by counting; breaks leader completeness under churn";
    /// A Raft leader believes the last acknowledgement that came, not the furthest (RaftOS #25).
    MatchedGoesBack "matched-goes-back"
        "raft: a late acknowledgement takes back a later one; breaks monotonicity under reordering";
    /// A Raft leader sends entries from the very one on that left its log last (WRaft #118).
    SnapshotBoundaryMissed "snapshot-boundary-missed"
        "raft: an empty append where a snapshot is due; breaks liveness for who lags to the boundary";
    /// A Raft follower takes over the term of the snapshot that it installs (WRaft #118).
    SnapshotLowersTerm "snapshot-lowers-term"
        "raft: an older snapshot brings its term along; breaks the monotonicity of terms";
    /// A Raft follower acknowledges all of its log for an append of a part (CCF #6001).
    AckBeyondAppend "ack-beyond-append"
        "raft: a divergent tail is acknowledged; breaks durability when leaders change";
    /// A Raft leader changes the membership before it has committed anything (raft-dev, 2015).
    ChangeBeforeOwnCommit "change-before-own-commit"
        "raft: two leaders each change one voter; breaks leader completeness under churn";
    /// Only the Raft leader that entered a joint membership leaves it (etcd #12136).
    AutoLeaveLost "auto-leave-lost"
        "raft: a joint membership stays when its leader falls; breaks liveness of changes";
    /// A new Raft leader serves reads before it has committed anything (etcd #7331).
    ReadBeforeOwnCommit "read-before-own-commit"
        "raft: a new leader reads at an old commit index; breaks linearizability after elections";
    /// A Raft leader's lease is as long as its followers' loyalty, by any clock (TiKV #964).
    LeaseIgnoresDrift "lease-ignores-drift"
        "raft: a lease outlasts loyalty when clocks drift; breaks linearizability";
    /// A Raft leader reads when one voter less than a majority has answered (openraft d60f1e85).
    ReadQuorumTooSmall "read-quorum-too-small"
        "raft: a read takes a majority but one; breaks linearizability under partitions";
    /// A Raft leader takes the middle of what its voters hold for the median, unsorted (openraft #1802).
    QuorumOfUnsorted "quorum-of-unsorted"
        "raft: the commit index is the middle voter's; breaks durability";
    /// A Raft leader sends no snapshot to whom all that it could agree with is purged (openraft #1828).
    PurgedLogNoSnapshot "purged-log-no-snapshot"
        "raft: probing at a purged log's start goes on for ever; breaks liveness for who lags";
    /// A Raft follower commits entries while it installs a snapshot (openraft eed681d5).
    InstallRacesApply "install-races-apply"
        "raft: entries are applied beside a snapshot; breaks state-machine safety";
    /// A Raft follower acknowledges entries before they are durable (RaftFsync).
    AckBeforeDurable "ack-before-durable"
        "raft: an append is acknowledged unsynced; breaks durability at a power loss";
    /// A service takes a command that comes twice for two commands (Raft, §8).
    CommandAppliedTwice "command-applied-twice"
        "kv: a command that comes twice takes effect twice; breaks linearizability under retries";
    /// A service drops a write whose leader's clock is behind that of an earlier write's leader
    /// (Cassandra's last write wins).
    LastWriteWinsByClock "last-write-wins-by-clock"
        "kv: a write with an older time stamp is dropped; breaks linearizability when clocks disagree";
    /// The journal acknowledges an append whose write failed.
    WriteErrorIgnored "write-error-ignored"
        "journal: a write that failed is acknowledged; breaks durability on a failing or full disk";
    /// The journal tries a failed flush again and believes it (PostgreSQL's fsyncgate, 2018).
    SyncRetriedAfterFailure "sync-retried-after-failure"
        "journal: a failed flush is tried again and believed; breaks durability at a power loss";
    /// A recovering journal takes less than it asked for to be all there is.
    ShortReadAsEnd "short-read-as-end"
        "journal: a read that was cut short ends the log; breaks durability at a restart";
    /// A recovering journal takes what cannot be read for its end.
    ReadErrorAsEnd "read-error-as-end"
        "journal: an unreadable sector ends the log; breaks durability at a restart";
    /// A recovering journal believes a record whose last byte is there, whatever its checksum says.
    ChecksumIgnored "checksum-ignored"
        "journal: a record of the right length is believed; breaks log matching when sectors change";
    /// A recovering journal cuts itself off at damage that had been durable, as at a torn tail
    /// (Alagappan et al., FAST'18).
    CorruptInteriorCut "corrupt-interior-cut"
        "journal: damage inside the log is cut off as a torn tail; breaks durability at a restart";
    /// An ABD server answers a read with what it found, before a majority holds it (Attiya, Bar-Noy and
    /// Dolev, 1995: without the second round a register is regular, not atomic).
    ReadWithoutWriteBack "read-without-write-back"
        "abd: a read does not store what it returns; breaks linearizability when writes reach few";
    /// An ABD server says that it holds a copy before the copy and its tag are durable (Guerraoui and
    /// Levy, 2004).
    TagNotDurable "tag-not-durable"
        "abd: a copy is acknowledged before it is durable; breaks linearizability at a power loss";
    /// A Paxos acceptor does not write its promises down, and restarts without them (Michael and others,
    /// DISC 2017: diskless recovery).
    PromiseForgotten "promise-forgotten"
        "paxos, multi-paxos: an acceptor forgets its promises at a restart; breaks agreement";
    /// A Paxos proposer counts its ballots in memory alone, and uses them again after a restart (folklore).
    BallotReused "ballot-reused"
        "paxos: ballots are counted anew after a restart; multi-paxos: a ballot is used before it is durable; breaks agreement";
    /// A Paxos proposer adopts any value that was accepted, not the one of the highest ballot (Lamport,
    /// *Paxos Made Simple*, 2001: P2c).
    AnyAcceptedAdopted "any-accepted-adopted"
        "paxos, multi-paxos: a proposer adopts another value than that of the highest ballot; breaks agreement";
    /// A VR replica recovers with the first log that it is sent, not with that of the latest view which a
    /// quorum tells of (Liskov and Cowling, 2012, §4.3; Michael and others, DISC 2017).
    RecoveryFromAnyView "recovery-from-any-view"
        "vr: a replica recovers without a quorum or the latest view; breaks durability at a crash";
    /// A VR replica counts in a view change what others said before they lost their memory (the published
    /// protocol; Michael and others, DISC 2017).
    DeadVotesCounted "dead-votes-counted"
        "vr: a view change counts what was said before a crash; breaks durability";
    /// A VR replica that hears of a later view cuts off what it has acknowledged, before it has anything in
    /// its place (Liskov and Cowling, 2012, §5.2).
    StateTransferTruncates "state-transfer-truncates"
        "vr: a replica that lags behind drops what it acknowledged; breaks durability";
    /// A ZAB follower acknowledges its leader's history before it is durable (ZOOKEEPER-4646, 3911).
    NewLeaderAckedEarly "new-leader-acked-early"
        "zab: a leader's history is acknowledged before it is durable; breaks durability at a power loss";
    /// A ZAB follower writes that it took over its leader's history before it writes that
    /// (ZOOKEEPER-4643).
    EpochBeforeHistory "epoch-before-history"
        "zab: currentEpoch is written before the history; breaks durability at a crash between";
    /// A ZAB follower keeps what a DIFF brings in memory until its leader serves, and acknowledges it
    /// (ZOOKEEPER-4785).
    DiffNotLogged "diff-not-logged"
        "zab: a DIFF is acknowledged and not logged; breaks durability when the leader is lost then";
    /// A ZAB server that looks for a leader goes by the state in memory, without what it has logged and
    /// not yet delivered (ZOOKEEPER-2845).
    ElectionByDeliveredState "election-by-delivered-state"
        "zab: an election goes by the state in memory, not by the log; breaks agreement";
    /// ZAB servers take the longer history for the more recent one, whatever its epochs.
    ElectionIgnoresEpoch "election-ignores-epoch"
        "zab: the longer history wins, not the one of the later epoch; breaks agreement";
    /// A ZAB server follows a leader of an older epoch than it has accepted.
    LowerEpochAccepted "lower-epoch-accepted"
        "zab: a leader of an older epoch is followed; breaks epoch uniqueness";
    /// A ZAB leader proposes only to those that have acknowledged its history, not to those that are
    /// about to.
    ProposalsToSyncedOnly "proposals-to-synced-only"
        "zab: who is being synchronised misses proposals; breaks the primary order";
    /// A Paxos leader takes one acceptor too few for a quorum of Phase 2, so that the quorums of the two
    /// phases need not meet (openraft d60f1e85; Flexible Paxos, §3).
    PhaseQuorumsDisjoint "phase-quorums-disjoint"
        "multi-paxos: a quorum of Phase 2 is one too small; breaks agreement under a partition";
    /// A Paxos learner that lacks a slot takes it for a no-op and applies what stands behind it.
    HoleSkipped "hole-skipped"
        "multi-paxos: a slot that is missing is taken for a no-op; breaks agreement under loss";
    /// A Paxos proposer counts an acceptor that has not yet told all that it accepted.
    PhaseOneUnfinished "phase-one-unfinished"
        "multi-paxos: a proposer does not wait for all of a promise; breaks agreement under churn";
    /// A Paxos acceptor compares a proposal with what it accepted in the slot, not with its promise.
    AcceptBelowPromise "accept-below-promise"
        "multi-paxos: an acceptor accepts below its promise; breaks agreement under churn";
    /// A Paxos leader counts its lease from the answers, not from when it asked (Gray and Cheriton, *Leases*,
    /// SOSP'89, §2: a lease is shortened by the time that its grant took).
    LeaseFromAnswer "lease-from-answer"
        "multi-paxos: a lease is counted from its grant; breaks linearizability when links are slow";
    /// An engine renames a file and does not sync its folder (PostgreSQL's recycled log segments).
    RenameNotSynced "rename-not-synced"
        "engines: a file's new name is not made durable; breaks durability at a power loss";
    /// A B-tree believes a page that was torn: no checksum is looked at, and recovery does not copy a page
    /// whose header is of its group.
    TornPageBelieved "torn-page-believed"
        "btree: a page that was torn passes for whole; breaks content at a power loss";
    /// A B-tree overwrites pages before its rollback journal is flushed.
    RollbackJournalNotSynced "rollback-journal-not-synced"
        "btree-rollback: pages are overwritten before the journal is flushed; breaks content at a power loss";
    /// An LSM's compaction drops the mark of a deletion though a deeper level holds the key (LevelDB #184).
    TombstoneDroppedEarly "tombstone-dropped-early"
        "lsm: a compaction forgets a deletion; a deleted key comes back";
    /// An LSM removes a memtable's log before the manifest that names its table is durable (RocksDB #4990:
    /// files that go though the manifest's sync failed).
    LogRemovedBeforeManifest "log-removed-before-manifest"
        "lsm: a log goes before the manifest names its table; breaks durability at a power loss";
    /// An LSM removes a memtable's log while the manifest's last record alone says where its content went:
    /// one flipped bit takes both.
    LogRemovedUnvouched "log-removed-unvouched"
        "lsm: a log goes while one record alone names its table; breaks durability at a flipped bit";
    /// A log-structured store's merge drops a value although the batch that replaced it may be lost.
    MergeOutlivesBatch "merge-outlives-batch"
        "log: a merge drops what an unflushed batch replaced; breaks content at a power loss";
    /// A recovering engine trusts what it reads from the page cache to be on the disk (Rebello et al.,
    /// ATC'20).
    RecoveryNotDurable "recovery-not-durable"
        "engines: what is recovered is not flushed; breaks durability when a process dies, then the power fails";
    /// A B-tree gives a page away that a snapshot still reads.
    SnapshotPageLost "snapshot-page-lost"
        "btree: what a snapshot reads is overwritten; breaks snapshot reads";
    /// A Percolator shard leaves no record of a rollback, so that a late prewrite is accepted (TiKV #921).
    LatePrewriteAccepted "late-prewrite-accepted"
        "percolator: a rollback leaves no record; breaks atomicity when a prewrite comes late";
    /// A Percolator shard collapses a protected rollback record (TiKV #7364).
    RollbackCollapsed "rollback-collapsed"
        "percolator: a protected rollback is collapsed; breaks atomicity when a prewrite comes late";
    /// A timestamp oracle writes its counter down now and then, and falls back when it restarts (PD #4885).
    TimestampFallsBack "timestamp-falls-back"
        "percolator: the oracle's counter falls back at a restart; breaks snapshot isolation";
    /// A Percolator shard gives up a transaction whose lock is still respected (Percolator, §2.2).
    LockTtlIgnored "lock-ttl-ignored"
        "percolator: whoever meets a lock gives its transaction up; breaks liveness under contention";
    /// A Percolator reader does not wait for a lock from before its timestamp (Percolator, Fig. 6).
    ReadSkipsLock "read-skips-lock"
        "percolator: a reader does not wait for a lock; breaks snapshot reads";
    /// A shard does not look at the version of the region that a request names (TiKV's region epochs).
    EpochNotChecked "epoch-not-checked"
        "percolator: any shard serves any key; breaks snapshot isolation when regions move";
    /// A shard goes on serving a span that it has frozen (MIT 6.5840's shardkv).
    OldOwnerWrites "old-owner-writes"
        "percolator: a frozen region is served on; breaks durability when regions move";
    /// A shard remembers in memory alone which timestamps were read, and chooses commits below them after a
    /// restart or under another leader (TiKV's `max_ts` on a change of leaders).
    MaxTsNotReplicated "max-ts-not-replicated"
        "percolator: a commit is put below a read after a restart; breaks snapshot reads";
    /// A collector of Percolator's garbage takes a safepoint of now, not of when all that runs had begun
    /// (TiKV's GC against a transaction that outlives `gc_life_time`).
    SafepointOfNow "safepoint-of-now"
        "percolator: versions are forgotten that a transaction still reads; breaks snapshot reads";
    /// A collector of Percolator's garbage has shards forget what became of transactions whose locks still stand
    /// elsewhere (the order of TiKV's GC: locks are resolved first).
    CollectedBeforeResolved "collected-before-resolved"
        "percolator: a primary is forgotten while a secondary is locked; breaks atomicity of commits";
    /// A Percolator shard answers that a transaction has committed although its lock is gone (Percolator,
    /// Fig. 6: a commit aborts then).
    CommitWithoutLock "commit-without-lock"
        "percolator: a transaction that was given up is said to have committed; breaks durability";
    /// A Percolator shard does not look for newer commits when it prewrites (Percolator, Fig. 6).
    ConflictIgnored "conflict-ignored"
        "percolator: a prewrite misses a newer commit; breaks snapshot isolation by a lost update";
    /// A client of transactions commits other keys before the primary is committed (Percolator, section 2.2).
    SecondaryBeforePrimary "secondary-before-primary"
        "transactions: other keys are committed before the primary; breaks atomicity";
    /// A client of transactions makes up its commit timestamp from the one at which it began.
    CommitBelowRead "commit-below-read"
        "transactions: a commit timestamp is below those of reads before it; breaks snapshots";
    /// A scheduler believes what a group reports of a region that it has no more, or no more so (TinyKV 3C:
    /// stale region heartbeats).
    StaleHeartbeatBelieved "stale-heartbeat-believed"
        "percolator: a report of what a group no longer holds counts; breaks the balance of regions";
    /// A scheduler moves regions for balance while others of the same groups are on their way (TiKV's PD: one
    /// operator for a region at a time).
    BalanceIgnoresMoves "balance-ignores-moves"
        "percolator: a region moves away from where a move is under way; breaks liveness: that one never ends";
    /// A Raft leader sends each append and each heartbeat twice (MIT 6.5840: agreement and idling have a budget of
    /// messages and bytes).
    EverythingSentTwice "everything-sent-twice"
        "raft: a leader sends everything twice; breaks nothing but budgets of messages and bytes";
    /// A Raft server keeps the entries that its service's state includes (MIT 6.5840: a log of bounded size).
    LogNeverCompacted "log-never-compacted"
        "raft: a log keeps what the service's state includes; breaks the bound of logs, and nobody needs a snapshot";
    /// A Raft follower does not put its candidacy off when it hears its leader, nor refuses others its vote for that
    /// (MIT 6.824's guide to students: livelocks).
    LeaderNotHeard "leader-not-heard"
        "raft: a leader that is heard is deposed; breaks the stability of leaders";
    /// A Raft server waits for the time of 16 elections before it stands (MIT 6.5840: a new leader is due within five
    /// seconds).
    ElectionTooPatient "election-too-patient"
        "raft: elections come late; breaks availability when a leader is lost";
    /// A Raft leader sends entries to as many followers as a quorum needs, and never to the others (the *thrifty*
    /// mode of EPaxos, Moraru and others, SOSP'13, without its way back).
    SlowFollowersForgotten "slow-followers-forgotten"
        "raft: entries go to a bare quorum only; breaks catching up";
    /// A Raft leader that hands over does not tell its heir to stand (dissertation §3.10).
    HeirNotTold "heir-not-told"
        "raft: an heir is not told to stand; breaks handovers";
    /// A Raft leader stays in the joint membership that it asked for (§6).
    JointNeverLeft "joint-never-left"
        "raft: a joint membership is not left; breaks liveness of changes";
    /// A scheduler takes every region to be on its way already (TinyKV 3C: a scheduler that finds nothing to move).
    MoveNeverBegins "move-never-begins"
        "percolator: a scheduler lets no region move; breaks the balance of regions";
    /// A client of transactions takes one group to hold all regions until it is told otherwise (MIT 6.5840's shardkv:
    /// the configuration is asked for, not guessed).
    MapGuessed "map-guessed"
        "transactions: a client guesses who holds a region; breaks nothing but the way there";
    /// A client of serializable transactions does not lock what it reads (write skew: Berenson and others, SIGMOD'95,
    /// §4.2).
    ReadsNotLocked "reads-not-locked"
        "transactions: a read is not locked; breaks serializability by write skew";
    /// A client of snapshot transactions locks what it reads, so that what a snapshot allows never occurs (Berenson
    /// and others, SIGMOD'95, §4.2: readers do not block writers).
    ReadsAlwaysLocked "reads-always-locked"
        "transactions: a snapshot's reads are locked; breaks nothing, but hides write skew";
    /// A scheduler believes no second report of a region (TinyKV 3C: an older report is stale, not one that is no
    /// newer).
    HeartbeatMustBeNewer "heartbeat-must-be-newer"
        "percolator: a second report of a region counts as stale; breaks the balance of regions that grow";
    /// What stays of a region that is cut keeps its version (TinyKV 3B: both halves have a new one).
    SplitKeepsVersion "split-keeps-version"
        "percolator: half of a region keeps the old version; breaks liveness: its shard knows another one";
    /// A group goes on reporting regions that it has given away (TiKV's stale peers).
    GivenAwayReported "given-away-reported"
        "percolator: a group tells of regions that it has no more; breaks one holder of each region";
    /// A scheduler takes a group to be as full as its largest region (TinyKV 3C: the sum of them counts).
    BalanceByLargest "balance-by-largest"
        "percolator: many small regions weigh as one; breaks the balance of regions";
    /// A scheduler moves a region though the groups are no closer then (TinyKV 3C: they have to differ by more than
    /// twice its size).
    BalanceOvershoots "balance-overshoots"
        "percolator: a move only swaps who has more; breaks liveness: regions go to and fro";
    /// A scheduler asks nobody to hand over (TiKV's PD: `balance-leader-scheduler`).
    LeadersNotBalanced "leaders-not-balanced"
        "percolator: one server may lead most groups; breaks the balance of leaders";
    /// A scheduler asks for handovers to servers that are down (TiKV's PD: a store that is disconnected is no target).
    HandoverToDead "handover-to-dead"
        "percolator: a leader is to hand over to who is down; breaks availability: it holds back writes meanwhile";
    /// A scheduler counts a handover that it has asked for only once it is reported (TiKV's PD: operators under way
    /// count).
    HandoverNotNoted "handover-not-noted"
        "percolator: all leaders are sent to the same server at once; breaks the balance of leaders";
    /// A scheduler believes who leads no more (TiKV's PD: a heartbeat of an older term is stale).
    OldLeaderBelieved "old-leader-believed"
        "percolator: a deposed leader's report counts; breaks the balance of leaders";
    /// A Percolator shard commits a key and does not remove its lock (Percolator, Fig. 6).
    CommitKeepsLock "commit-keeps-lock"
        "percolator: what has committed stays locked; breaks liveness of who reads it";
    /// A Percolator reader looks for commits from before its timestamp, and not for one at it (Percolator, Fig. 6).
    CommitAtReadMissed "commit-at-read-missed"
        "percolator: a read misses a commit at its very timestamp; breaks snapshot reads";
    /// A Percolator reader takes what was committed last, whatever its timestamp: read committed, not a snapshot
    /// (Berenson and others, SIGMOD '95).
    NewestRead "newest-read"
        "percolator: a read sees commits from after its timestamp; breaks snapshot reads";
    /// A Percolator shard tells of a key without a value as of one with an empty value (TinyKV 4B: `NotFound`).
    AbsentReadsEmpty "absent-reads-empty"
        "percolator: a key that is not there reads as empty; breaks reads";
    /// A Percolator shard puts the record of a commit where its transaction began (Percolator, Fig. 6: at the
    /// commit timestamp).
    RecordAtStart "record-at-start"
        "percolator: a commit shows from when its transaction began; breaks snapshot reads";
    /// The record of a deletion is one that readers pass over.
    DeletionPassedOver "deletion-passed-over"
        "percolator: a deletion does not hide older versions; a deleted key comes back";
    /// A shard looks for the region of a request's first key when there is none.
    EmptyRequestRefused "empty-request-refused"
        "percolator: a request without keys is at home nowhere; breaks liveness: it is asked for ever";
    /// A Percolator shard takes a time to live in microseconds for one in nanoseconds (TinyKV 4C: what of a
    /// timestamp is time, and in which unit).
    TtlInWrongUnit "ttl-in-wrong-unit"
        "percolator: a lock expires a thousand times too early; breaks liveness under contention";
    /// A Percolator shard looks only for locks from after the start of who prewrites (Percolator, Fig. 6: for those
    /// at any timestamp).
    OlderLockOverwritten "older-lock-overwritten"
        "percolator: a prewrite takes an earlier transaction's lock; breaks atomicity";
    /// A Percolator shard takes any commit for a conflict, whenever it was (TinyKV 4B: `MostRecentWrite` without a
    /// look at its timestamp).
    AnyCommitConflicts "any-commit-conflicts"
        "percolator: what was committed before a transaction began conflicts with it; breaks liveness of writes";
    /// A Percolator shard notes when anything of it was last committed to, not which key (Percolator, Fig. 6: each key
    /// has its own writes).
    ConflictsByShard "conflicts-by-shard"
        "percolator: a commit to any key conflicts with a write to another; breaks liveness of writes";
    /// A Percolator shard takes the second mutation of a key in one request for the first one that came again.
    FirstMutationCounts "first-mutation-counts"
        "percolator: of a key's mutations the first one counts; breaks writes";
    /// A Percolator shard locks only the primary (Percolator, section 2.2: every key is locked).
    SecondaryNotLocked "secondary-not-locked"
        "percolator: other keys than the primary are not locked; breaks atomicity";
    /// A Percolator shard refuses to commit a key twice in one request, or again (Percolator, Fig. 6, which knows
    /// no repeats: the lock is gone).
    RepeatedCommitRefused "repeated-commit-refused"
        "percolator: a commit that is repeated is told to be unknown; breaks what a client is told";
    /// A Percolator shard that finds no lock of a transaction does not look for its commit.
    CommitNotLookedFor "commit-not-looked-for"
        "percolator: a committed transaction whose lock is gone counts as given up; breaks atomicity";
    /// A Percolator shard does to any lock what was decided of one transaction.
    ResolveTakesAnyLock "resolve-takes-any-lock"
        "percolator: the locks of others are resolved along; breaks atomicity";
    /// A Percolator shard scans from its first key on, wherever a scan begins.
    ScanStartIgnored "scan-start-ignored"
        "percolator: a scan tells keys from before its start; breaks scans";
    /// A Percolator shard stops a scan once it has more than was wanted.
    ScanLimitExceeded "scan-limit-exceeded"
        "percolator: a scan tells one pair too many; breaks scans";
}

impl Bug {
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

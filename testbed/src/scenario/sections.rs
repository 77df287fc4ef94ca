//! The tables of a scenario file: every key, its type and its default.

use std::time::Duration;

use super::aim::{Groups, Sometimes, Targets};
use super::decode::{At, section};
use super::draw::Draw;
use super::latency::Latency;
use super::names::{
    Cores, DiskProfiles, Engines, Faults, HistoryChecks, LimitNames, Monitors, Name, NetProfiles,
    Persistences, Protocols, Submissions, Workloads,
};
use super::options::Options;
use super::rows::Overrides;
use super::scalar::{BitRate, Drift, Factor, Rate, Share, Size, Weight};
use crate::measure::Claim;
use crate::plan::{CommitMode, Isolation, Predicate, Target, Word};

section! {
    /// A situation to put a cluster into, and what must hold in it.
    File {
        /// What the scenario is called.
        "name" name: At<String>,
        /// One line about it.
        "about" about: Option<String>,
        /// Who takes part.
        "cluster" cluster: Cluster = "{}",
        /// How the storage engine is tuned.
        "engine" engine: Engine = "{}",
        /// The sharded store whose clients run transactions; without it servers hold one store of keys and
        /// values.
        "transactions" transactions: Option<At<Transactions>>,
        /// The links.
        "net" net: Net = "{}",
        /// The disks.
        "disk" disk: Disk = "{}",
        /// The clocks.
        "clock" clock: Clock = "{}",
        /// What computing takes; nothing by default.
        "cpu" cpu: Cpu = "{}",
        /// What clients do. Without any, one with all defaults.
        "workload" workloads: Vec<At<Workload>> = "[{}]",
        /// What breaks.
        "fault" faults: Vec<At<Fault>> = "[]",
        /// What breaks at random.
        "swarm" swarm: Option<At<Swarm>>,
        /// How far faults may go: what the protocol promises to survive, or anything.
        "faults" limits: Name<LimitNames> = "survivable",
        /// What must hold.
        "check" check: Check = "{}",
        /// What is expected of the run's numbers.
        "expect" expectations: Vec<At<Expect>> = "[]",
        /// When a run ends.
        "budget" budget: Budget = "{}",
        /// Variants of the scenario: each is a scenario of its own, which has a name and differs in some fields.
        #[expect(dead_code, reason = "rows are taken from the tree before it is decoded")]
        "row" rows: Vec<Row> = "[]",
    }

    /// A variant.
    Row {
        /// What it is called.
        #[expect(dead_code, reason = "rows are taken from the tree before it is decoded")]
        "name" name: String,
        /// What is different, as in `--set`: fields by their paths.
        #[expect(dead_code, reason = "rows are taken from the tree before it is decoded")]
        "set" set: Overrides = "{}",
        /// What is expected of it besides.
        #[expect(dead_code, reason = "rows are taken from the tree before it is decoded")]
        "expect" expectations: Vec<At<Expect>> = "[]",
    }

    /// What is expected: a number that a run has, over a window of time.
    Expect {
        /// What the expectation is called.
        "name" name: At<String>,
        /// What must be so, such as `answered == 0` or `peer-messages / answered <= 12`.
        "that" that: Claim,
        /// From when on it is measured.
        "from" from: Draw<Duration> = "0s",
        /// Until when; the end by default.
        "until" until: Option<Draw<Duration>>,
    }

    /// Who takes part.
    Cluster {
        /// How many servers.
        "nodes" nodes: At<Draw<u16>> = "5",
        /// How many of the servers, the last ones, take no part at first: a reconfiguration may add them.
        "spares" spares: At<Draw<u16>> = "0",
        /// How many of the others, the last ones, are sent everything and do not vote.
        "learners" learners: At<Draw<u16>> = "0",
        /// How many of the voters, the last ones, keep a log and no state.
        "witnesses" witnesses: At<Draw<u16>> = "0",
        /// How many clients.
        "clients" clients: At<Draw<u16>> = "5",
        /// What servers say to each other.
        "protocol" protocol: Name<Protocols> = "raft",
        /// Where servers keep their state.
        "engine" engine: Name<Engines> = "lsm",
        /// The protocol's own options.
        "options" options: Options = "{}",
    }

    /// How the storage engine is tuned.
    Engine {
        /// How much is kept in memory before it is written out as a table. Of a B-tree, the size of its
        /// log, at least 64KiB; of a log-structured store, that of a segment.
        "memtable" memtable: At<Draw<Size>> = "64KiB",
    }

    /// A store of many replica groups, and how its clients commit transactions.
    Transactions {
        /// Into how many regions the keys are divided at first, each in a group of its own.
        "shards" shards: At<Draw<u32>> = "3",
        /// How many more groups there are, to which regions may move.
        "spares" spares: Draw<u32> = "1",
        /// How transactions commit: `optimistic`, `pessimistic`, `async-commit` or `one-phase`.
        "commit" commit: Draw<CommitMode> = "optimistic",
        /// What they are isolated by: a `snapshot`, or as if they were `serializable`.
        "isolation" isolation: Draw<Isolation> = "snapshot",
        /// How long others respect a lock.
        "lock-ttl" lock_ttl: Draw<Duration> = "500ms",
        /// How much time lies between two splits or moves of regions, in the mean; none by default.
        "move-every" move_every: Option<At<Draw<Duration>>>,
        /// How much time lies between two looks at how evenly data lies among shards, in the mean: each moves what
        /// makes it more even. None by default.
        "balance-every" balance_every: Option<At<Draw<Duration>>>,
        /// How many pairs a region may have before it is split, where there is a `balance-every`.
        "split-above" split_above: Option<At<Draw<u32>>>,
        /// How much time lies between two collections of garbage, in the mean; none by default.
        "collect-every" collect_every: Option<At<Draw<Duration>>>,
        /// The share of transactions whose client goes away in the middle of the commit.
        "leave" leave: Draw<Share> = "0",
    }

    /// The links. Keys given here override the profile's.
    Net {
        /// A named set of links.
        "profile" profile: Name<NetProfiles> = "lan",
        /// One-way delay of a message.
        "latency" latency: Option<At<Latency>>,
        /// The share of messages that are lost.
        "loss" loss: Option<Draw<Share>>,
        /// The share of datagrams that arrive twice.
        "duplicate" duplicate: Option<Draw<Share>>,
        /// The share of messages that are damaged, which a checksum finds: they are dropped.
        "corrupt" corrupt: Option<Draw<Share>>,
        /// The share of messages that are held up, so that others overtake them.
        "reorder" reorder: Option<Draw<Share>>,
        /// The most that a message is held up.
        "reorder-by" reorder_by: Draw<Duration> = "10ms",
        /// How fast bytes leave over a link; without limit by default.
        "bandwidth" bandwidth: Option<Draw<BitRate>>,
        /// With `bandwidth`: how many bytes may wait before a link.
        "queue" queue: Draw<Size> = "256KiB",
        /// Bad spells of links; none by default.
        "weather" weather: Option<Weather>,
        /// Nodes that are near each other. Nodes that are not named are in zones of their own.
        "zones" zones: Option<At<Vec<At<Vec<At<Target>>>>>>,
        /// With `zones`: a named set of links between nodes of different zones.
        "between-zones" between_zones: Name<NetProfiles> = "wan",
    }

    /// Bad spells of links.
    Weather {
        /// How long a spell lasts.
        "spell" spell: Draw<Duration> = "500ms",
        /// The share of spells that are bad.
        "bad" bad: Draw<Share> = "0.05",
        /// The share of messages that are lost in one, besides.
        "loss" loss: Draw<Share> = "0.3",
        /// How many times as long messages take in one.
        "slowdown" slowdown: Draw<Factor> = "4",
    }

    /// The disks. Keys given here override the profile's.
    Disk {
        /// A named disk.
        "profile" profile: Name<DiskProfiles> = "nvme",
        /// A 4 KiB read that misses the page cache.
        "read" read: Option<At<Latency>>,
        /// A write until it is acknowledged.
        "write" write: Option<At<Latency>>,
        /// A flush of data.
        "flush" flush: Option<At<Latency>>,
        /// A flush of data that must also write metadata.
        "flush-metadata" flush_metadata: Option<At<Latency>>,
        /// What of un-flushed changes a power loss may leave; the profile's by default.
        "persistence" persistence: Option<Name<Persistences>>,
        /// What the device writes whole or not at all, a power of two of at most 4KiB; below 512B a power
        /// loss tears sectors. The profile's by default.
        "torn-unit" torn_unit: Option<At<Draw<Size>>>,
        /// How requests get to the device: at no cost, each by a blocking system call, or by a ring.
        "submission" submission: Name<Submissions> = "free",
    }

    /// The clocks.
    Clock {
        /// How far a node's clock may run ahead at the start; drawn per node from nothing to this.
        "skew" skew: Draw<Duration> = "0s",
        /// How fast or slow a node's clock may go, in parts per million; drawn per node, either way.
        "drift" drift: Draw<u32> = "0",
    }

    /// What computing takes.
    Cpu {
        /// Per message sent or received.
        "per-message" per_message: Draw<Duration> = "0s",
        /// Per KiB of such a message.
        "per-kib" per_kib: Draw<Duration> = "0s",
    }

    /// What clients do.
    Workload {
        /// Which operations they know.
        "kind" kind: Name<Workloads> = "kv",
        /// Operations per second, over all clients.
        "rate" rate: Draw<Rate> = "250.0",
        /// How many keys are used.
        "keys" keys: At<Draw<u32>> = "5",
        /// The weight of each operation; one that is not named does not occur. By default those that the
        /// protocol serves of { get = 0.4, put = 0.3, append = 0.1, cas = 0.1, delete = 0.05, scan = 0.05 },
        /// or if it serves none of these, all that it does.
        "mix" mix: Option<At<Mix>>,
        /// After how long a client gives an operation up.
        "timeout" timeout: At<Draw<Duration>> = "2s",
        /// How long a client waits for a server before it asks the next one; between two bounds, drawn each time.
        "retry-after" retry_after: At<Draw<Duration>> = "{ min = \"200ms\", max = \"300ms\" }",
        /// How long a written value is at least.
        "value-size" value_size: Draw<Size> = "8B",
        /// Of transactions over lists: how many steps one has; between two bounds, drawn each time.
        "actions" actions: At<Draw<u32>> = "{ min = 1, max = 4 }",
        /// Of transactions: the share of steps, or of transactions, that only read.
        "reads" reads: Draw<Share> = "0.5",
    }

    /// The weight of each operation.
    Mix {
        /// Reads of a key.
        "get" get: Draw<Weight> = "0",
        /// Writes of a key.
        "put" put: Draw<Weight> = "0",
        /// Additions behind a key's value.
        "append" append: Draw<Weight> = "0",
        /// Compare-and-sets.
        "cas" cas: Draw<Weight> = "0",
        /// Removals of a key.
        "delete" delete: Draw<Weight> = "0",
        /// Reads of a range of keys.
        "scan" scan: Draw<Weight> = "0",
        /// Write-once writes: the first to a key stays.
        "decide" decide: Draw<Weight> = "0",
    }

    /// Something that breaks. It strikes `at` a time, `every` so often, or `when` a node is in some
    /// state.
    Fault {
        /// What it is called; by default its kind and its number among the nameless of that kind.
        "name" name: Option<At<String>>,
        /// What breaks.
        "kind" kind: At<Name<Faults>>,
        /// Whether it is there at all: a row or `--set` may say otherwise.
        "enabled" enabled: bool = "true",
        /// The moment at which it strikes, counted from the start.
        "at" at: Option<At<Draw<Duration>>>,
        /// It strikes again and again, with this much between two times, until the quiet tail.
        "every" every: Option<At<Draw<Duration>>>,
        /// With `every`: from when on; the start by default.
        "from" from: Option<At<Draw<Duration>>>,
        /// The state of a node at which it strikes, such as `leader-elected` or `term >= 3 && leader == n1`.
        "when" when: Option<At<Predicate>>,
        /// With `when`: how likely it strikes each time; 1 by default.
        "probability" probability: Option<At<Draw<Share>>>,
        /// With `when`: how often it strikes at most; 20 by default.
        "at-most" at_most: Option<At<Draw<u32>>>,
        /// Of a partition: who is cut off from whom; `random-halves` by default.
        "groups" groups: Option<At<Groups>>,
        /// Which nodes, or whose links; with `when` by default the one in that state, else a random one,
        /// and for links all. Of a partition with a shape: who is in its middle.
        "target" target: Option<At<Targets>>,
        /// How long it lasts.
        "for" lasts: Option<At<Draw<Duration>>>,
        /// Of a node that goes down: after how long it comes back.
        "restart-after" restart_after: Option<At<Draw<Duration>>>,
        /// The share of messages, requests or sectors.
        "share" share: Option<At<Draw<Share>>>,
        /// How many times as long things take.
        "factor" factor: Option<At<Draw<Factor>>>,
        /// By how much time it shifts or delays.
        "by" by: Option<At<Draw<Duration>>>,
        /// How much faster a clock goes, in parts per million; below 0: slower.
        "drift" drift: Option<At<Draw<Drift>>>,
        /// What is left of a link.
        "bandwidth" bandwidth: Option<At<Draw<BitRate>>>,
        /// How many bytes may wait before a link.
        "queue" queue: Option<At<Draw<Size>>>,
        /// How much is left on a disk.
        "left" left: Option<At<Draw<Size>>>,
        /// How many clusters of sectors.
        "clusters" clusters: Option<At<Draw<u32>>>,
        /// How many sectors a cluster has at most.
        "sectors" sectors: Option<At<Draw<u32>>>,
        /// Of a partition: whether messages under way are lost (`drop`) or wait (`hold`).
        "in-flight" in_flight: Option<At<Draw<Word>>>,
        /// Of links: those into the targets (`in`), out of them (`out`), or `both`.
        "direction" direction: Option<At<Draw<Word>>>,
        /// Of a clock that is set: `forward` or `back`.
        "way" way: Option<At<Draw<Word>>>,
        /// Of a pause: whether the node's clock `runs` on or `stops`.
        "clock" clock: Option<At<Draw<Word>>>,
        /// Of I/O errors: `reads`, `writes` or `both`.
        "side" side: Option<At<Draw<Word>>>,
        /// Of failing syncs: as `ext4-ordered`, `ext4-data` or `btrfs`.
        "manner" manner: Option<At<Draw<Word>>>,
        /// Of a reconfiguration: whether the targets are added to the voters (`add`), removed, made learners
        /// (`learn`) or witnesses (`witness`), or are all that vote from now on (`set`).
        "change" change: Option<At<Draw<Word>>>,
    }

    /// What breaks at random: each kind is on or off per seed, and every magnitude is drawn.
    Swarm {
        /// Which kinds there are; all by default.
        "kinds" kinds: Option<Vec<At<Name<Faults>>>>,
        /// The share of the kinds that are on in a seed.
        "on" on: At<Draw<Share>> = "0.5",
        /// How much time lies between two faults of a kind.
        "every" every: At<Draw<Duration>> = "{ min = \"300ms\", max = \"3s\" }",
        /// How long one lasts.
        "for" lasts: At<Draw<Duration>> = "{ min = \"50ms\", max = \"2s\" }",
        /// How many there are at once at most.
        "at-once" at_once: At<Draw<u32>> = "3",
    }

    /// What must hold.
    Check {
        /// What the clients' history is judged by; by default what the service promises.
        "history" history: Option<Name<HistoryChecks>>,
        /// How many steps that judgement may take before it gives up.
        "steps" steps: Draw<u64> = "20_000_000",
        /// What watches the run; all monitors by default.
        "monitors" monitors: Option<Vec<Name<Monitors>>>,
        /// What progress must be made once the faults are over; none is asked for by default.
        "liveness" liveness: Option<At<Liveness>>,
        /// What some of the seeds of a sweep must reach.
        "sometimes" sometimes: Vec<At<Sometimes>> = "[]",
        /// Whether a run ends as soon as its history is seen to be wrong.
        "stop-at-first" stop_at_first: bool = "false",
    }

    /// Progress in a quiet tail, in which nothing breaks.
    Liveness {
        /// How long before the end the faults stop and heal.
        "after-heal" after_heal: At<Draw<Duration>> = "10s",
        /// How many operations must be answered after that at least.
        "operations" operations: Draw<u64> = "100",
        /// Whose faults end: `all`, or those of a `majority`, while the others stay as they are.
        "core" core: Name<Cores> = "all",
    }

    /// When a run ends.
    Budget {
        /// Simulated time.
        "time" time: At<Draw<Duration>> = "60s",
        /// Events; a run that needs more is inconclusive.
        "events" events: At<Draw<u64>> = "5_000_000",
    }

    /// Evenly between two bounds.
    UniformLatency {
        /// The least.
        "min" min: Draw<Duration>,
        /// The most.
        "max" max: Draw<Duration>,
    }

    /// Log-normal, as in measurements of real links.
    LogNormalLatency {
        /// Half of the delays are below.
        "median" median: Draw<Duration>,
        /// 99 of 100 are below.
        "p99" p99: Draw<Duration>,
    }
}

impl Mix {
    /// Each operation's weight, by its name.
    pub(crate) fn weights(&self) -> [(&'static str, &Draw<Weight>); 7] {
        [
            ("get", &self.get),
            ("put", &self.put),
            ("append", &self.append),
            ("cas", &self.cas),
            ("delete", &self.delete),
            ("scan", &self.scan),
            ("decide", &self.decide),
        ]
    }
}

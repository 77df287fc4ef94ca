//! What can break: one entry per kind of fault, which scenarios, plans, the nemesis, swarms and the
//! reference of the command line share.
//!
//! A kind says whom it can strike, how long it may last, which measures it has and what they usually
//! are. What a scenario leaves out is drawn from the usual range, and so is everything in a swarm. The
//! ranges are assumptions: wide enough to bite, and where a figure is known around it (disks fail and
//! rot in clusters: Bairavasundaram and others, FAST'08; crystals drift by up to 200 ppm).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Drawable, Measures, Settings};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "`KINDS` tells what each of them is")]
pub enum Kind {
    Partition,
    Clog,
    Swizzle,
    Loss,
    Duplicate,
    Corrupt,
    Reorder,
    SlowLink,
    SlowNode,
    Throttle,
    Crash,
    Kill,
    Wipe,
    Pause,
    SlowCpu,
    ClockJump,
    ClockDrift,
    IoError,
    SyncError,
    LatentSector,
    BitRot,
    LostWrite,
    MisdirectedWrite,
    Garbage,
    LyingFlush,
    NoSpace,
    ShortRead,
    DiskStall,
    SlowDisk,
    Campaign,
    Transfer,
    Reconfigure,
    Compact,
}

/// Whom a kind strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Groups of nodes, or a shape of them: the key `groups`.
    Groups,
    /// The links of nodes, or all: the key `target`.
    Links,
    /// Nodes, each by itself: the key `target`.
    Nodes,
}

/// How long a fault of a kind lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As long as `for` says.
    For,
    /// Until the node comes back, `restart-after` it went down.
    Restart,
    /// It is over at once, and what it did stays.
    Instant,
}

/// A quantity that some kinds have. In plans: shares from 0 to 1, durations in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The share of messages, requests or sectors that it strikes.
    Share,
    /// How many times as long things take.
    Factor,
    /// By how much time it shifts or delays.
    By,
    /// How much faster a clock goes, in parts per million; below 0: slower.
    Drift,
    /// Bytes per second that are left.
    Bandwidth,
    /// Bytes that may wait before a link.
    Queue,
    /// Bytes that are left on a disk.
    Left,
    /// How many clusters of sectors.
    Clusters,
    /// How many sectors a cluster has at most.
    Sectors,
}

/// A choice that some kinds have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// What becomes of messages that are under way.
    InFlight,
    /// Which links of its targets: those into them, out of them, or both.
    Direction,
    /// Which way a clock is set.
    Way,
    /// Whether the clock of a paused node goes on.
    Clock,
    /// Which requests fail.
    Side,
    /// What the file system makes of a failed sync.
    Manner,
    /// What becomes of the targets in a new membership.
    Change,
}

/// A word that a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each means what the setting says")]
pub enum Word {
    Drop,
    Hold,
    In,
    Out,
    Both,
    Forward,
    Back,
    Runs,
    Stops,
    Reads,
    Writes,
    Ext4Ordered,
    Ext4Data,
    Btrfs,
    Add,
    Remove,
    Learn,
    Witness,
    Set,
}

impl Drawable for Word {
    fn between(min: Self, max: Self, rng: &mut impl rand::Rng) -> Self {
        if rng.random_bool(0.5) { min } else { max }
    }
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 19] = [
        Self::Drop,
        Self::Hold,
        Self::In,
        Self::Out,
        Self::Both,
        Self::Forward,
        Self::Back,
        Self::Runs,
        Self::Stops,
        Self::Reads,
        Self::Writes,
        Self::Ext4Ordered,
        Self::Ext4Data,
        Self::Btrfs,
        Self::Add,
        Self::Remove,
        Self::Learn,
        Self::Witness,
        Self::Set,
    ];

    /// As scenarios write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Hold => "hold",
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
            Self::Forward => "forward",
            Self::Back => "back",
            Self::Runs => "runs",
            Self::Stops => "stops",
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Ext4Ordered => "ext4-ordered",
            Self::Ext4Data => "ext4-data",
            Self::Btrfs => "btrfs",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Learn => "learn",
            Self::Witness => "witness",
            Self::Set => "set",
        }
    }
}

/// What there is to know about a kind.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// Which.
    pub kind: Kind,
    /// As scenarios write it.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Whom it strikes.
    pub scope: Scope,
    /// How long it lasts.
    pub length: Length,
    /// Its measures, and what they usually are: the least and the most.
    pub measures: &'static [(Measure, f64, f64)],
    /// Its settings, and what they can be; without a word from the scenario, the first.
    pub settings: &'static [(Setting, &'static [Word])],
}

const DIRECTION: (Setting, &[Word]) = (Setting::Direction, &[Word::Both, Word::In, Word::Out]);
const CLUSTERS: &[(Measure, f64, f64)] = &[(Measure::Clusters, 1.0, 4.0), (Measure::Sectors, 1.0, 8.0)];

macro_rules! kinds {
    ($($kind:ident $name:literal $scope:ident $length:ident $measures:expr, $settings:expr, $about:literal;)*) => {
        /// Every kind.
        pub const KINDS: &[KindInfo] = &[$(KindInfo {
            kind: Kind::$kind,
            name: $name,
            about: $about,
            scope: Scope::$scope,
            length: Length::$length,
            measures: $measures,
            settings: $settings,
        }),*];
    };
}

kinds! {
    Partition "partition" Groups For &[], &[(Setting::InFlight, &[Word::Drop, Word::Hold])],
        "groups of nodes cannot reach each other";
    Clog "clog" Links For &[], &[DIRECTION],
        "links hold what is sent over them, and let it go afterwards";
    Swizzle "swizzle" Nodes For &[], &[],
        "nodes are clogged one after the other, and freed in another order";
    Loss "loss" Links For &[(Measure::Share, 0.05, 0.5)], &[DIRECTION],
        "links lose a share of the messages";
    Duplicate "duplicate" Links For &[(Measure::Share, 0.05, 0.5)], &[DIRECTION],
        "links repeat a share of the datagrams";
    Corrupt "corrupt" Links For &[(Measure::Share, 0.01, 0.2)], &[DIRECTION],
        "links damage a share of the messages: a checksum finds it and drops them";
    Reorder "reorder" Links For &[(Measure::Share, 0.1, 0.8), (Measure::By, 0.001, 0.05)], &[DIRECTION],
        "links hold up a share of the messages, so that others overtake them";
    SlowLink "slow-link" Links For &[(Measure::Factor, 2.0, 20.0), (Measure::By, 0.0, 0.02)], &[DIRECTION],
        "links take several times as long, and some time more";
    SlowNode "slow-node" Nodes For &[(Measure::Factor, 2.0, 20.0)], &[],
        "all links of a node take several times as long";
    Throttle "throttle" Links For &[(Measure::Bandwidth, 50e3, 5e6), (Measure::Queue, 65536.0, 1048576.0)], &[DIRECTION],
        "links pass little, and what waits too long before them is lost";
    Crash "crash" Nodes Restart &[], &[],
        "a node loses its power, and what it had not flushed";
    Kill "kill" Nodes Restart &[], &[],
        "a node's process dies; what it wrote stays in the page cache";
    Wipe "wipe" Nodes Restart &[], &[],
        "a node goes down and loses its disk";
    Pause "pause" Nodes For &[], &[(Setting::Clock, &[Word::Runs, Word::Stops])],
        "a node stands still, as in a long garbage collection; then all that is due happens at once";
    SlowCpu "slow-cpu" Nodes For &[(Measure::Factor, 2.0, 20.0), (Measure::By, 0.00001, 0.001)], &[],
        "computing takes several times as long, and some time more per message";
    ClockJump "clock-jump" Nodes Instant &[(Measure::By, 0.001, 10.0)], &[(Setting::Way, &[Word::Forward, Word::Back])],
        "a node's clock is set";
    ClockDrift "clock-drift" Nodes For &[(Measure::Drift, -500.0, 500.0)], &[],
        "a node's clock goes at a wrong rate";
    IoError "io-error" Nodes For &[(Measure::Share, 0.001, 0.1)], &[(Setting::Side, &[Word::Both, Word::Reads, Word::Writes])],
        "a share of a disk's reads and writes fails with EIO";
    SyncError "sync-error" Nodes For &[(Measure::Share, 0.05, 1.0)],
        &[(Setting::Manner, &[Word::Ext4Ordered, Word::Btrfs, Word::Ext4Data])],
        "a share of the fsyncs fails, and the pages are clean afterwards";
    LatentSector "latent-sector" Nodes Instant CLUSTERS, &[],
        "clusters of sectors can no longer be read";
    BitRot "bit-rot" Nodes Instant CLUSTERS, &[],
        "clusters of sectors change without a sign";
    LostWrite "lost-write" Nodes For &[(Measure::Share, 0.001, 0.1)], &[],
        "a share of the writes is acknowledged and forgotten";
    MisdirectedWrite "misdirected-write" Nodes For &[(Measure::Share, 0.001, 0.05)], &[],
        "a share of the writes reaches another place";
    Garbage "garbage" Nodes For &[(Measure::Share, 0.1, 1.0)], &[],
        "a power loss fills a share of the un-flushed sectors with garbage";
    LyingFlush "lying-flush" Nodes For &[], &[],
        "flushes are acknowledged and not done";
    NoSpace "no-space" Nodes For &[(Measure::Left, 0.0, 262144.0)], &[],
        "a disk is full";
    ShortRead "short-read" Nodes For &[(Measure::Share, 0.05, 0.5)], &[],
        "a share of the reads returns less than there is";
    DiskStall "disk-stall" Nodes For &[], &[],
        "a disk does not answer";
    SlowDisk "slow-disk" Nodes For &[(Measure::Factor, 2.0, 50.0)], &[],
        "a disk takes several times as long";
    Campaign "campaign" Nodes Instant &[], &[],
        "an operator has a node stand for election";
    Transfer "transfer" Nodes Instant &[], &[],
        "an operator has the leader hand over to a node";
    Reconfigure "reconfigure" Nodes Instant &[],
        &[(Setting::Change, &[Word::Add, Word::Remove, Word::Learn, Word::Witness, Word::Set])],
        "an operator adds nodes to the voters, removes them, or sets who votes";
    Compact "compact" Nodes Instant &[], &[],
        "an operator has a node compact its log";
}

impl Kind {
    /// What there is to know about it.
    pub fn info(self) -> &'static KindInfo {
        KINDS.iter().find(|info| info.kind == self).expect("every kind is in the table")
    }

    /// Whether a fault of this kind can take what was durable: the disk may not hold what it promised
    /// to, or not give it back. What a flush failed to promise is not meant: that is told to the node.
    pub fn takes_durable(self, settings: &Settings) -> bool {
        match self {
            Self::Wipe
            | Self::LatentSector
            | Self::BitRot
            | Self::LostWrite
            | Self::MisdirectedWrite
            | Self::LyingFlush => true,
            Self::SyncError => {
                let manner = settings.get(&Setting::Manner);
                manner.is_some_and(|manner| manner.may_be(Word::Ext4Data))
            }
            _ => false,
        }
    }

    /// Whether it is an operator's request to the cluster, by which nothing breaks.
    pub fn is_request(self) -> bool {
        self >= Self::Campaign
    }

    /// Whether a node goes down by it, or may stop by itself.
    pub fn may_stop(self, settings: &Settings) -> bool {
        self.info().length == Length::Restart || self.troubles_disk() || self.takes_durable(settings)
    }

    /// Whether a node may find that its disk does not do what it is asked to, and stop.
    pub fn troubles_disk(self) -> bool {
        self >= Self::IoError && self <= Self::ShortRead
    }

    /// The usual measures.
    pub fn usual(self) -> Measures {
        let range = |&(measure, min, max): &(Measure, f64, f64)| (measure, super::Draw::Range { min, max });
        self.info().measures.iter().map(range).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().name)
    }
}

impl Measure {
    /// As scenarios write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Factor => "factor",
            Self::By => "by",
            Self::Drift => "drift",
            Self::Bandwidth => "bandwidth",
            Self::Queue => "queue",
            Self::Left => "left",
            Self::Clusters => "clusters",
            Self::Sectors => "sectors",
        }
    }
}

impl Setting {
    /// As scenarios write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::Direction => "direction",
            Self::Way => "way",
            Self::Clock => "clock",
            Self::Side => "side",
            Self::Manner => "manner",
            Self::Change => "change",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_word_has_the_name_that_plans_write() {
        let written = |value: serde_json::Value| value.as_str().expect("a name").to_owned();
        for info in KINDS {
            assert_eq!(written(serde_json::to_value(info.kind).expect("plain")), info.name);
        }
        for word in Word::ALL {
            assert_eq!(written(serde_json::to_value(word).expect("plain")), word.name());
        }
        assert!(KINDS.windows(2).all(|pair| pair[0].kind < pair[1].kind), "the table is in order");
        assert_eq!(KINDS.last().map(|info| info.kind), Some(Kind::Compact), "and complete");
        assert_eq!(KINDS.len(), Kind::Compact as usize + 1);
    }
}

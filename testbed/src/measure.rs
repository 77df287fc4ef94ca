//! What can be measured of a run, and what a scenario may expect of it.
//!
//! A *counter* is measured over a window of simulated time, a *gauge* at its end. An expectation names a
//! measure, or the quotient of two, and compares it with a number: `answered == 0`,
//! `peer-messages / answered <= 12`.

use std::fmt;
use std::str::FromStr;

use contract::Time;
use serde::{Deserialize, Serialize};
use sim::WorldStats;

use crate::plan::{Compare, NoPredicate, words};
use crate::report::{Operations, Storage};
use crate::transaction::record::TransactionCounts;
use crate::watch::Seen;

/// The numbers of a run at one moment; all but the gauges only ever grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// When.
    pub at: Time,
    /// What the world counted.
    pub world: WorldStats,
    /// What was seen of the replicas.
    pub seen: Seen,
    /// What clients did.
    pub operations: Operations,
    /// What the storage did.
    pub storage: Storage,
    /// What became of transactions.
    pub transactions: TransactionCounts,
    /// How things stand.
    pub gauges: Gauges,
}

/// How the nodes that are up stand at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// How many of them lead.
    pub leaders: u64,
    /// How many groups more the one that leads most of them leads than the one that leads least, of those that
    /// may lead.
    pub leaders_apart: u64,
    /// The latest epoch that one of them knows.
    pub epoch: u64,
    /// How many entries the one that has applied least is behind the one that has applied most.
    pub lag: u64,
    /// How many entries the longest log holds.
    pub log_entries: u64,
    /// How many nodes vote, as the leader knows it.
    pub voters: u64,
}

/// A number that a run has.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name in `[[expect]]`.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Whether it is how things stand at a moment, and not what happened until then.
    pub is_gauge: bool,
    /// Its value.
    pub of: fn(&Moment) -> u64,
}

macro_rules! measures {
    ($($gauge:literal $name:literal $about:literal |$moment:ident| $of:expr;)*) => {
        /// Everything that can be measured.
        pub const MEASURES: &[Measure] =
            &[$(Measure { name: $name, about: $about, is_gauge: $gauge, of: |$moment| $of }),*];
    };
}

measures! {
    false "invoked" "operations that clients sent" |m| m.operations.invoked;
    false "answered" "operations that were answered" |m| m.operations.answered;
    false "unknown" "operations that clients gave up" |m| m.operations.unknown;
    false "elections" "times that a node became leader" |m| m.seen.elections;
    false "leader-changes" "times that another node became leader than before" |m| m.seen.leader_changes;
    false "leaderless-ms" "milliseconds in which no node that was up led" |m| m.seen.leaderless.as_millis() as u64;
    false "peer-messages" "messages that servers sent to each other" |m| m.seen.peer_messages;
    false "peer-bytes" "bytes of these on the wire" |m| m.seen.peer_bytes;
    false "entries-applied" "entries that services applied, over all nodes" |m| m.seen.entries_applied;
    false "logs-truncated" "times that a node cut its log" |m| m.seen.logs_truncated;
    false "snapshots-installed" "snapshots that replaced a node's state" |m| m.seen.snapshots_installed;
    false "reconfigurations" "changes of the membership that were done" |m| m.seen.reconfigurations;
    false "transfers" "handovers that an operator asked for and that were done" |m| m.seen.transfers;
    false "journal-flushes" "flushes of journals" |m| m.storage.journal_flushes;
    false "disk-flushes" "flushes of files and directories" |m| m.world.disk_flushes;
    false "crashes" "power losses of nodes" |m| m.world.crashes;
    false "kills" "deaths of nodes' processes" |m| m.world.kills;
    false "messages-lost" "messages that the network lost" |m| m.world.messages_lost;
    false "committed" "transactions that took effect" |m| m.transactions.committed;
    false "aborted" "transactions that took no effect" |m| m.transactions.aborted;
    false "conflicts" "transactions that had to give way to another's write" |m| m.transactions.conflicts;
    false "locks-resolved" "keys whose lock another transaction cleared away" |m| m.transactions.locks_resolved;
    false "regions-moved" "regions that were brought to another group" |m| m.transactions.regions_moved;
    false "regions-split" "regions that were split because they had become large" |m| m.transactions.regions_split;
    false "collections" "collections of garbage that reached every shard" |m| m.transactions.collections;
    false "misdirected" "requests to shards that did not hold the region" |m| m.transactions.misdirected;
    false "clients-gone" "clients that went away in the middle of a commit" |m| m.transactions.clients_gone;
    true "leaders" "nodes that are up and lead" |m| m.gauges.leaders;
    true "leaders-apart" "groups that the node that leads most of them leads above the one that leads least" |m| m.gauges.leaders_apart;
    true "epoch" "the latest term, ballot or epoch" |m| m.gauges.epoch;
    true "lag" "entries by which the slowest node is behind the fastest" |m| m.gauges.lag;
    true "log-entries" "entries in the longest log" |m| m.gauges.log_entries;
    true "snapshot-bytes" "bytes of the largest snapshot that was sent" |m| m.seen.snapshot_bytes;
    true "voters" "nodes that vote" |m| m.gauges.voters;
}

impl Measure {
    /// The measure of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MEASURES.iter().find(|measure| measure.name == name)
    }

    /// What it came to between two moments.
    pub fn between(&self, from: &Moment, until: &Moment) -> u64 {
        let before = if self.is_gauge { 0 } else { (self.of)(from) };
        (self.of)(until) - before
    }
}

/// What is said of a measure, or of the quotient of two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim {
    measure: String,
    per: Option<String>,
    compare: Compare,
    number: f64,
}

impl Claim {
    /// Whether it holds between two moments; the value that it is about.
    pub fn judge(&self, from: &Moment, until: &Moment) -> (bool, f64) {
        let value =
            |name: &str| Measure::named(name).expect("a claim names measures").between(from, until) as f64;
        let value = match &self.per {
            None => value(&self.measure),
            Some(per) => value(&self.measure) / value(per),
        };
        (self.compare.holds(&value, &self.number), value)
    }

    /// What it measures.
    pub fn subject(&self) -> String {
        self.per.as_ref().map_or_else(|| self.measure.clone(), |per| format!("{} / {per}", self.measure))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.subject(), self.compare, self.number)
    }
}

impl FromStr for Claim {
    type Err = NoPredicate;

    fn from_str(text: &str) -> Result<Self, NoPredicate> {
        let words = words(text)?;
        let measure = |name: &str| {
            let known = Measure::named(name).map(|measure| measure.name.to_owned());
            known.ok_or_else(|| NoPredicate {
                what: format!("unknown measure `{name}`"),
                word: Some(name.to_owned()),
            })
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (names, sign, number) = match words[..] {
            [one, sign, number] => ((one, None), sign, number),
            [one, "/", other, sign, number] => ((one, Some(other)), sign, number),
            _ => {
                let what = "expected a measure, a comparison and a number".to_owned();
                return Err(NoPredicate { what, word: None });
            }
        };
        let refuse = |word: &str, wanted: &str| NoPredicate {
            what: format!("`{word}` stands where {wanted} was expected"),
            word: None,
        };
        Ok(Self {
            measure: measure(names.0)?,
            per: names.1.map(measure).transpose()?,
            compare: Compare::named(sign).ok_or_else(|| refuse(sign, "a comparison"))?,
            number: number.parse().map_err(|_| refuse(number, "a number"))?,
        })
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.to_string()
    }
}

impl TryFrom<String> for Claim {
    type Error = NoPredicate;

    fn try_from(text: String) -> Result<Self, NoPredicate> {
        text.parse()
    }
}

/// Something that a scenario expects of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// What it is called.
    pub name: String,
    /// What must be so.
    pub that: Claim,
    /// From when on it is measured.
    pub from: Time,
    /// Until when.
    pub until: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_written() {
        for text in ["answered == 0", "peer-messages / answered <= 12.5", "leaders > 0"] {
            let claim: Claim = text.parse().expect(text);
            assert_eq!(claim.to_string(), text);
        }
        let told = |text: &str| text.parse::<Claim>().expect_err(text).to_string();
        assert_eq!(told("anwsered == 0"), "unknown measure `anwsered`");
        assert_eq!(told("answered"), "expected a measure, a comparison and a number");
        assert_eq!(told("answered == many"), "`many` stands where a number was expected");
    }

    #[test]
    fn counters_are_measured_over_a_window_and_gauges_at_its_end() {
        let at = |answered, leaders| Moment {
            operations: Operations { answered, ..Operations::default() },
            gauges: Gauges { leaders, ..Gauges::default() },
            ..Moment::default()
        };
        let judge = |text: &str| text.parse::<Claim>().expect(text).judge(&at(10, 1), &at(14, 2));
        assert_eq!(judge("answered == 4"), (true, 4.0));
        assert_eq!(judge("leaders == 1"), (false, 2.0));
        assert_eq!(judge("answered / leaders <= 2"), (true, 2.0));
    }
}

//! What many runs came to: findings by signature, and how often things really happened.
//!
//! A tally is a plain sum: tallies of parts of a sweep, made in any order on any number of threads,
//! add up to the same whole.

use std::collections::BTreeMap;

use contract::Seed;
use serde::Serialize;
use sim::Digest;

use crate::plan::Sometimes;
use crate::report::{Report, Verdict};

/// All failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// How many seeds failed so.
    pub seeds: u64,
    /// The smallest of them.
    pub first: Seed,
    /// What its report says.
    pub message: String,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In how many runs it happened at least once.
    pub runs: u64,
    /// How often it happened in all runs.
    pub total: u64,
}

/// The sum of many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Runs in which everything held.
    pub ok: u64,
    /// Runs that ended before they could tell.
    pub inconclusive: u64,
    /// Seeds of these, at most [`Tally::KEPT_SEEDS`].
    pub inconclusive_seeds: Vec<Seed>,
    /// Runs with a violation, by its signature.
    pub findings: BTreeMap<String, Group>,
    /// What happened, by name.
    pub counts: BTreeMap<&'static str, Count>,
    /// Simulated time of all runs, in nanoseconds.
    pub simulated_ns: u128,
    /// The sum of all runs' digests: the same for the same seeds, in whatever order they ran.
    pub digest: Option<Digest>,
}

impl Tally {
    /// How many inconclusive seeds are kept by number.
    pub const KEPT_SEEDS: usize = 16;

    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.simulated_ns += u128::from(report.simulated.0);
        self.add_digest(Some(report.digest));
        match &report.verdict {
            Verdict::Ok => self.ok += 1,
            Verdict::Inconclusive { .. } => {
                self.inconclusive += 1;
                self.keep_inconclusive(&[report.seed]);
            }
            Verdict::Violation(finding) => {
                let group = Group { seeds: 1, first: report.seed, message: finding.message.clone() };
                self.add_group(&finding.signature, group);
            }
        }
        for (name, times) in report.counts() {
            self.add_count(name, Count { runs: u64::from(times > 0), total: times });
        }
    }

    /// Adds another part of the same sweep.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.ok += other.ok;
        self.inconclusive += other.inconclusive;
        self.simulated_ns += other.simulated_ns;
        self.add_digest(other.digest);
        self.keep_inconclusive(&other.inconclusive_seeds);
        for (signature, group) in other.findings {
            self.add_group(&signature, group);
        }
        for (name, count) in other.counts {
            self.add_count(name, count);
        }
    }

    /// Runs with a violation.
    pub fn violations(&self) -> u64 {
        self.findings.values().map(|group| group.seeds).sum()
    }

    /// Which of these situations the runs did not come to as often as asked.
    pub fn missed<'a>(&self, asked: &'a [Sometimes]) -> Vec<&'a Sometimes> {
        let reached = |some: &&Sometimes| {
            let runs = self.counts.get(some.situation.as_str()).map_or(0, |count| count.runs);
            runs > 0 && runs as f64 >= some.share * self.runs as f64
        };
        asked.iter().filter(|some| !reached(some)).collect()
    }

    fn add_digest(&mut self, digest: Option<Digest>) {
        let sum = |digest: Option<Digest>| digest.map_or(0, |digest| digest.0);
        if digest.is_some() {
            self.digest = Some(Digest(sum(self.digest).wrapping_add(sum(digest))));
        }
    }

    fn keep_inconclusive(&mut self, seeds: &[Seed]) {
        self.inconclusive_seeds.extend(seeds);
        self.inconclusive_seeds.sort_unstable();
        self.inconclusive_seeds.truncate(Self::KEPT_SEEDS);
    }

    fn add_group(&mut self, signature: &str, group: Group) {
        match self.findings.get_mut(signature) {
            None => {
                self.findings.insert(signature.to_owned(), group);
            }
            Some(known) => {
                known.seeds += group.seeds;
                if group.first < known.first {
                    known.first = group.first;
                    known.message = group.message;
                }
            }
        }
    }

    fn add_count(&mut self, name: &'static str, count: Count) {
        let sum = self.counts.entry(name).or_default();
        sum.runs += count.runs;
        sum.total += count.total;
    }
}

//! One scenario in several variants, seed by seed: each cell of the matrix meets the same faults at the same
//! times, the same arrivals of clients and the same weather on every link, so that what differs between
//! two cells with one seed is the cells' own doing. That is why differences are *paired*: their spread over
//! the seeds is much smaller than that of the values.

use contract::Seed;
use serde::Serialize;

use crate::report::{Report, Verdict};
use crate::scenario::{Scenario, ScenarioError};
use crate::transaction::record::TransactionCounts;

/// A field that is varied, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The field's path, as in `--set`.
    pub path: String,
    /// Its values.
    pub values: Vec<String>,
}

/// One variant of a scenario.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The varied fields' values, as `path=value`.
    pub set: Vec<String>,
    /// The variant.
    pub scenario: Scenario,
}

impl Cell {
    /// Every combination of values, the last axis fastest. `load` reads the scenario with overrides.
    ///
    /// # Errors
    /// If a combination is no scenario.
    pub fn matrix(
        axes: &[Axis],
        load: impl Fn(&[String]) -> Result<Scenario, ScenarioError>,
    ) -> Result<Vec<Self>, ScenarioError> {
        let mut sets: Vec<Vec<String>> = vec![Vec::new()];
        for axis in axes {
            let longer = sets.iter().flat_map(|set| {
                axis.values.iter().map(|value| {
                    let mut set = set.clone();
                    set.push(format!("{}={value}", axis.path));
                    set
                })
            });
            sets = longer.collect();
        }
        sets.into_iter().map(|set| Ok(Self { scenario: load(&set)?, set })).collect()
    }

    /// The values alone, as in `raft lsm`.
    pub fn name(&self) -> String {
        let values = self.set.iter().map(|set| set.split_once('=').map_or(set.as_str(), |(_, value)| value));
        values.collect::<Vec<_>>().join(" ")
    }
}

/// A number by which cells are compared.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its value of a run; not a number if the run has none.
    pub of: fn(&Report) -> f64,
}

fn per_answer(number: u64, report: &Report) -> f64 {
    number as f64 / report.operations.answered as f64
}

fn per_commit(report: &Report, number: fn(&TransactionCounts) -> u64) -> f64 {
    let counts = report.transactions.as_ref();
    counts.map_or(f64::NAN, |counts| number(counts) as f64 / counts.committed as f64)
}

/// Everything that cells are compared by.
pub const FIGURES: [Figure; 14] = [
    Figure {
        name: "throughput",
        unit: "op/s",
        of: |r| r.operations.answered as f64 / (r.simulated.0 as f64 / 1e9),
    },
    Figure { name: "latency p50", unit: "ms", of: |r| r.latency.p50 as f64 / 1e3 },
    Figure { name: "latency p99", unit: "ms", of: |r| r.latency.p99 as f64 / 1e3 },
    Figure { name: "longest unavailability", unit: "ms", of: |r| r.availability.longest.as_secs_f64() * 1e3 },
    Figure { name: "total unavailability", unit: "ms", of: |r| r.availability.total.as_secs_f64() * 1e3 },
    Figure { name: "elections", unit: "", of: |r| r.seen.elections as f64 },
    Figure {
        name: "longest without leader",
        unit: "ms",
        of: |r| r.seen.longest_leaderless.as_secs_f64() * 1e3,
    },
    Figure { name: "messages per operation", unit: "", of: |r| per_answer(r.seen.peer_messages, r) },
    Figure { name: "bytes per operation", unit: "B", of: |r| per_answer(r.seen.peer_bytes, r) },
    Figure {
        name: "journal flushes per operation",
        unit: "",
        of: |r| per_answer(r.storage.journal_flushes, r),
    },
    Figure { name: "fsyncs per operation", unit: "", of: |r| per_answer(r.world.disk_flushes, r) },
    Figure { name: "aborts per commit", unit: "", of: |r| per_commit(r, |counts| counts.aborted) },
    Figure { name: "client requests per commit", unit: "", of: |r| per_commit(r, |counts| counts.requests) },
    Figure { name: "locks met per commit", unit: "", of: |r| per_commit(r, |counts| counts.locks_met) },
];

/// What one cell came to with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: Seed,
    /// The value of each of [`FIGURES`].
    pub figures: Vec<f64>,
    /// What went wrong, if something did.
    pub wrong: Option<String>,
}

impl Outcome {
    /// Of a run.
    pub fn of(report: &Report) -> Self {
        let wrong = match &report.verdict {
            Verdict::Ok => None,
            Verdict::Violation(finding) => Some(finding.signature.clone()),
            Verdict::Inconclusive { what } => Some(what.clone()),
        };
        Self { seed: report.seed, figures: FIGURES.iter().map(|figure| (figure.of)(report)).collect(), wrong }
    }
}

/// A mean and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of its 95 % confidence interval (Student's t); not a number of fewer than two values.
    pub half_width: f64,
}

impl Estimate {
    /// Of values, of which those that are no numbers are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let half_width = t_quantile(values.len()) * (squares / (n - 1.0) / n).sqrt();
        Self { mean, half_width }
    }

    /// Whether 0 lies outside of the interval.
    pub fn is_significant(&self) -> bool {
        self.mean.abs() > self.half_width
    }
}

/// The 97.5 % quantile of Student's t with `values` − 1 degrees of freedom.
fn t_quantile(values: usize) -> f64 {
    const SMALL: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    match values {
        0 | 1 => f64::NAN,
        few if few - 1 <= SMALL.len() => SMALL[few - 2],
        // Cornish and Fisher's first term brings it within 0.1 %.
        many => {
            let z = 1.959_964;
            z + (z * z * z + z) / (4.0 * (many - 1) as f64)
        }
    }
}

/// A figure of a cell beside the same one of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// This cell less the other, seed by seed.
    pub paired: Estimate,
    /// The seed with which they are furthest apart, and by how much.
    pub furthest: Option<(Seed, f64)>,
}

impl Difference {
    /// Of a figure, by its place in [`FIGURES`]; both with the same seeds, in one order.
    pub fn of(figure: usize, these: &[Outcome], those: &[Outcome]) -> Self {
        let pairs = these.iter().zip(those).map(|(this, that)| {
            assert_eq!(this.seed, that.seed, "cells are compared seed by seed");
            (this.seed, this.figures[figure] - that.figures[figure])
        });
        let pairs: Vec<(Seed, f64)> = pairs.filter(|(_, by)| by.is_finite()).collect();
        let furthest = pairs.iter().copied().max_by(|one, other| one.1.abs().total_cmp(&other.1.abs()));
        Self { paired: Estimate::of(pairs.iter().map(|(_, by)| *by)), furthest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_the_textbooks() {
        let estimate = Estimate::of([1.0, 2.0, 3.0, 4.0, f64::NAN]);
        assert_eq!(estimate.mean, 2.5);
        assert!((estimate.half_width - 3.182 * (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert!(estimate.is_significant());
        assert!(!Estimate::of([-1.0, 1.0, 0.5]).is_significant());
        assert!(Estimate::of([1.0]).half_width.is_nan() && !Estimate::of([1.0]).is_significant());
        assert!((t_quantile(101) - 1.984).abs() < 0.002, "tables have 1.984 for 100 degrees");
    }

    #[test]
    fn differences_are_paired_and_name_the_seed_that_tells_most() {
        let outcomes = |values: [f64; 3]| {
            let one = |(seed, value)| Outcome { seed: Seed(seed), figures: vec![value], wrong: None };
            (0..).zip(values).map(one).collect::<Vec<_>>()
        };
        let difference = Difference::of(0, &outcomes([11.0, 25.0, 31.0]), &outcomes([10.0, 20.0, 30.0]));
        assert_eq!(difference.furthest, Some((Seed(1), 5.0)));
        assert!((difference.paired.mean - 7.0 / 3.0).abs() < 1e-12);
    }
}

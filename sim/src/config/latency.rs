//! Distributions of delays, and the shape of an fsync.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A distribution of delays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Evenly between two bounds.
    Uniform {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// Exponential: memoryless, as waiting for a random arrival is.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Log-normal, as in wide-area measurements, by its median and its 99th percentile.
    LogNormal {
        /// Half of the delays are below.
        median: Duration,
        /// 99 of 100 are below.
        p99: Duration,
    },
    /// Measured: straight lines between the points of an inverse distribution function.
    Table(Quantiles),
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(delay) => write!(f, "{delay:?}"),
            Self::Uniform { min, max } => write!(f, "{min:?} to {max:?}"),
            Self::Exponential { mean } => write!(f, "exponential, mean {mean:?}"),
            Self::LogNormal { median, p99 } => write!(f, "{median:?} (p99 {p99:?})"),
            Self::Table(table) => write!(f, "{:?} (p99 {:?})", table.at(0.5), table.at(0.99)),
        }
    }
}

/// How many points a [`Quantiles`] may have.
const POINTS: usize = 12;

/// The points of an inverse distribution function. The first is at 0, the last at 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, Duration)>", into = "Vec<(f64, Duration)>")]
pub struct Quantiles {
    len: u8,
    /// Quantile, and delay in nanoseconds.
    points: [(f64, u64); POINTS],
}

/// Points that are no inverse distribution function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a table of latencies has 2 to 12 points, the first at 0, the last at 1, and neither column ever falls"
)]
pub struct NotQuantiles;

impl Quantiles {
    /// A table from (quantile, delay) points.
    ///
    /// # Errors
    /// If the first is not at 0, the last not at 1, a column falls, or there are more than 12.
    pub fn new(points: &[(f64, Duration)]) -> Result<Self, NotQuantiles> {
        let rises = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Err(NotQuantiles) };
        if points.len() > POINTS || !rises || first.0 != 0.0 || last.0 != 1.0 {
            return Err(NotQuantiles);
        }
        let mut table = [(1.0, 0); POINTS];
        for (place, (quantile, delay)) in table.iter_mut().zip(points) {
            *place = (*quantile, delay.as_nanos() as u64);
        }
        Ok(Self { len: points.len() as u8, points: table })
    }

    /// The shape of fdatasync, scaled to a mean in nanoseconds: two humps and a tail, from etcd's
    /// sample (p50 783 µs, p90 2180, p99 2376, p99.5 9634, p99.9 15795, mean 1273). The ends are
    /// assumed; the lower one so that the mean comes out.
    const fn fsync_shape(mean_ns: u64) -> Self {
        let shape = [
            (0.0, 722_650),
            (0.5, 783_000),
            (0.9, 2_180_000),
            (0.99, 2_376_000),
            (0.995, 9_634_000),
            (0.999, 15_795_000),
            (1.0, 20_000_000),
        ];
        let mut points = [(1.0, 0); POINTS];
        let mut at = 0;
        while at < shape.len() {
            points[at] = (shape[at].0, shape[at].1 * mean_ns / 1_273_000);
            at += 1;
        }
        Self { len: shape.len() as u8, points }
    }

    /// The points, quantile and delay in nanoseconds.
    pub(crate) fn points(&self) -> &[(f64, u64)] {
        &self.points[..usize::from(self.len)]
    }

    /// The delay at a quantile.
    pub fn at(&self, quantile: f64) -> Duration {
        let points = self.points();
        let above = points.partition_point(|point| point.0 < quantile).clamp(1, points.len() - 1);
        let ((low, from), (high, to)) = (points[above - 1], points[above]);
        let part = ((quantile - low) / (high - low)).clamp(0.0, 1.0);
        Duration::from_nanos(from + (part * (to - from) as f64) as u64)
    }

    /// The mean delay.
    pub fn mean(&self) -> Duration {
        let piece = |pair: &[(f64, u64)]| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) as f64 / 2.0;
        Duration::from_nanos(self.points().windows(2).map(piece).sum::<f64>() as u64)
    }
}

impl Latency {
    /// An fsync's bimodal shape, scaled to a mean. Below a second.
    pub const fn fsync(mean: Duration) -> Self {
        Self::Table(Quantiles::fsync_shape(mean.as_nanos() as u64))
    }
}

impl TryFrom<Vec<(f64, Duration)>> for Quantiles {
    type Error = NotQuantiles;

    fn try_from(points: Vec<(f64, Duration)>) -> Result<Self, NotQuantiles> {
        Self::new(&points)
    }
}

impl From<Quantiles> for Vec<(f64, Duration)> {
    fn from(table: Quantiles) -> Self {
        table.points().iter().map(|(quantile, delay)| (*quantile, Duration::from_nanos(*delay))).collect()
    }
}

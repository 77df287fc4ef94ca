//! Delays, drawn by inverse CDF: one uniform number gives one delay, so a draw never takes more of
//! the random sequence than another.
//!
//! The normal quantile is Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988), good to
//! about 1 in 10^16. Everything transcendental comes from `libm`, the same on every machine.

use std::rc::Rc;
use std::time::Duration;

use crate::config::Latency;
use crate::rng::{unit, up_to};

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_840_8;

/// A [`Latency`] with all that can be computed beforehand. Delays are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) enum Sampler {
    Constant(u64),
    Uniform { min: u64, span: u64 },
    Exponential { mean: f64 },
    LogNormal { mu: f64, sigma: f64 },
    Table(Rc<[(f64, u64)]>),
}

impl Sampler {
    pub(crate) fn new(latency: Latency) -> Self {
        match latency {
            Latency::Constant(delay) => Self::Constant(nanos(delay)),
            Latency::Uniform { min, max } => {
                assert!(min <= max, "a uniform latency from {min:?} to {max:?}");
                Self::Uniform { min: nanos(min), span: nanos(max) - nanos(min) }
            }
            Latency::Exponential { mean } => Self::Exponential { mean: nanos(mean) as f64 },
            Latency::Table(table) => Self::Table(table.points().into()),
            Latency::LogNormal { median, p99 } => {
                assert!(!median.is_zero() && median <= p99, "a log-normal latency of {median:?}, {p99:?}");
                let mu = libm::log(nanos(median) as f64);
                Self::LogNormal { mu, sigma: (libm::log(nanos(p99) as f64) - mu) / Z99 }
            }
        }
    }

    /// The delay at the quantile that 64 random bits stand for.
    #[inline]
    pub(crate) fn sample(&self, bits: u64) -> u64 {
        match self {
            Self::Constant(delay) => *delay,
            Self::Uniform { min, span } => min + up_to(*span, bits),
            Self::Exponential { mean } => (-mean * libm::log(unit(bits))) as u64,
            Self::LogNormal { mu, sigma } => libm::exp(mu + sigma * normal_quantile(unit(bits))) as u64,
            Self::Table(points) => between(points, unit(bits)),
        }
    }
}

/// On the straight line between the two points around a quantile.
fn between(points: &[(f64, u64)], quantile: f64) -> u64 {
    let above = points.partition_point(|point| point.0 < quantile).clamp(1, points.len() - 1);
    let ((low, from), (high, to)) = (points[above - 1], points[above]);
    from + ((quantile - low) / (high - low) * (to - from) as f64) as u64
}

/// A duration in nanoseconds, at most 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A ratio of two polynomials of degree 7, coefficients from the constant term up.
#[inline]
fn ratio(x: f64, above: &[f64; 8], below: &[f64; 8]) -> f64 {
    let horner = |p: &[f64; 8]| {
        ((((((p[7] * x + p[6]) * x + p[5]) * x + p[4]) * x + p[3]) * x + p[2]) * x + p[1]) * x + p[0]
    };
    horner(above) / horner(below)
}

/// The quantile function of the standard normal distribution, for `p` inside (0, 1).
#[inline]
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ];
    const B: [f64; 8] = [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ];
    let centred = p - 0.5;
    if centred.abs() <= 0.425 {
        return centred * ratio(0.180_625 - centred * centred, &A, &B);
    }
    let tail = tail_quantile(if centred < 0.0 { p } else { 1.0 - p });
    if centred < 0.0 { -tail } else { tail }
}

/// How far out the tail of probability `p` begins.
fn tail_quantile(p: f64) -> f64 {
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    let r = libm::sqrt(-libm::log(p));
    if r <= 5.0 { ratio(r - 1.6, &C, &D) } else { ratio(r - 5.0, &E, &F) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{philox, wide};

    #[test]
    fn normal_quantile_known_values() {
        let known = [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.99, Z99),
            (0.001, -3.090_232_306_167_813_5),
            (1e-10, -6.361_340_902_404_056),
            (1e-13, -7.348_796_102_800_677),
        ];
        for (p, z) in known {
            assert!((normal_quantile(p) - z).abs() < 1e-12, "{p}: {} is not {z}", normal_quantile(p));
        }
    }

    /// Percentiles of 100 000 draws are within 2 % of what the configuration says.
    #[test]
    fn percentiles_are_those_of_the_distribution() {
        let micros = Duration::from_micros;
        let lognormal = Latency::LogNormal { median: micros(250), p99: micros(2_000) };
        // exp(mu + sigma z) at the 10th, 50th, 90th and 99th percentile: 250 µs * 8^(z / z99).
        let lognormal_at = |z: f64| 250_000.0 * libm::pow(8.0, z / Z99);
        let z90 = 1.281_551_565_544_600_4;
        let cases = [
            (Latency::Constant(micros(7)), [7_000.0; 4]),
            (
                Latency::Uniform { min: micros(100), max: micros(1_100) },
                [200_000.0, 600_000.0, 1_000_000.0, 1_090_000.0],
            ),
            (lognormal, [lognormal_at(-z90), 250_000.0, lognormal_at(z90), 2_000_000.0]),
        ];
        for (latency, expected) in cases {
            let sampler = Sampler::new(latency);
            let draw = |i| philox(42, 7, i);
            let mut drawn: Vec<u64> =
                (0..100_000).map(|i| sampler.sample(wide(draw(i)[1], draw(i)[2]))).collect();
            drawn.sort_unstable();
            for (rank, expected) in [10_000, 50_000, 90_000, 99_000].into_iter().zip(expected) {
                let found = drawn[rank] as f64;
                assert!(
                    (found / expected - 1.0).abs() < 0.02,
                    "{latency:?} at {rank}: {found}, not {expected}"
                );
            }
        }
    }
}

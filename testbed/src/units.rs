//! Quantities as people write them: a decimal number and a unit, such as `"50ms"` or `"64KiB"`.
//!
//! The arithmetic is exact: a text either names a whole number of nanoseconds or bytes, or is an
//! error.

use std::time::Duration;

/// A unit's name and its size in the smallest unit of its dimension.
type Unit = (&'static str, u64);

/// Units of time, in nanoseconds.
const TIME: &[Unit] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Units of size, in bytes.
const SIZE: &[Unit] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// What errors say about a dimension.
struct Dimension {
    units: &'static [Unit],
    known: &'static str,
    example: &'static str,
    smallest: &'static str,
}

const TIMES: Dimension =
    Dimension { units: TIME, known: "ns, us, ms, s, m, h", example: "s", smallest: "nanoseconds" };

const SIZES: Dimension =
    Dimension { units: SIZE, known: "B, KiB, MiB, GiB, kB, MB, GB", example: "KiB", smallest: "bytes" };

/// Units of bandwidth, in thousandths of a byte per second.
const BIT_RATE: &[Unit] =
    &[("bit", 125), ("kbit", 125_000), ("Mbit", 125_000_000), ("Gbit", 125_000_000_000)];

const BIT_RATES: Dimension = Dimension {
    units: BIT_RATE,
    known: "bit, kbit, Mbit, Gbit",
    example: "Mbit",
    smallest: "thousandths of a byte",
};

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number at its beginning.
    #[error("`{text}` does not begin with a number")]
    NoNumber {
        /// The text.
        text: String,
    },
    /// Less than nothing.
    #[error("`{text}` is negative")]
    Negative {
        /// The text.
        text: String,
    },
    /// A number alone.
    #[error("`{text}` has no unit")]
    NoUnit {
        /// The text.
        text: String,
        /// The units that could follow it.
        known: &'static str,
        /// One of them.
        example: &'static str,
    },
    /// A number and something that is no unit.
    #[error("`{unit}` is not a unit")]
    UnknownUnit {
        /// What stands in the unit's place.
        unit: String,
        /// The units that could stand there.
        known: &'static str,
    },
    /// A fraction of the smallest unit.
    #[error("`{text}` is not a whole number of {smallest}")]
    TooFine {
        /// The text.
        text: String,
        /// The smallest unit.
        smallest: &'static str,
    },
    /// More than fits.
    #[error("`{text}` is too large")]
    TooLarge {
        /// The text.
        text: String,
    },
}

impl UnitError {
    /// What to write instead, where that can be said.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoUnit { text, known, example } => {
                Some(format!("the units are {known}; for example \"{text}{example}\""))
            }
            Self::UnknownUnit { known, .. } => Some(format!("the units are {known}")),
            _ => None,
        }
    }
}

/// A duration: a number and one of `ns`, `us`, `ms`, `s`, `m` (or `min`), `h`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = parse(&text.replace('µ', "u"), &TIMES)?;
    Ok(Duration::from_nanos(nanos))
}

/// A size in bytes: a number and one of `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZES)
}

/// A bandwidth in bytes per second, rounded down: a number and one of `bit`, `kbit`, `Mbit`, `Gbit`, per
/// second.
pub fn parse_bit_rate(text: &str) -> Result<u64, UnitError> {
    parse(text, &BIT_RATES).map(|thousandths| thousandths / 1000)
}

/// A duration in the largest unit that shows it whole: what [`parse_duration`] reads back.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    // Minutes and hours are left out: 90s is read more easily beside other seconds than 1.5m.
    let fits = |(_, size): &&Unit| *size <= 1_000_000_000 && nanos.is_multiple_of(u128::from(*size));
    let (unit, size) = TIME.iter().rev().find(fits).expect("one nanosecond divides every duration");
    if nanos == 0 { "0s".to_owned() } else { format!("{}{unit}", nanos / u128::from(*size)) }
}

fn parse(text: &str, dimension: &Dimension) -> Result<u64, UnitError> {
    let Dimension { units, known, example, smallest } = *dimension;
    let text = text.trim();
    if text.starts_with('-') {
        return Err(UnitError::Negative { text: text.to_owned() });
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || fraction.contains('.') {
        return Err(UnitError::NoNumber { text: text.to_owned() });
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit { text: text.to_owned(), known, example });
    }
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known });
    };
    let too_large = || UnitError::TooLarge { text: text.to_owned() };
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
    let places = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let scale = 10_u128.checked_pow(places).ok_or_else(too_large)?;
    let scaled = digits.checked_mul(u128::from(*size)).ok_or_else(too_large)?;
    if !scaled.is_multiple_of(scale) {
        return Err(UnitError::TooFine { text: text.to_owned(), smallest });
    }
    u64::try_from(scaled / scale).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_and_read_back() {
        for (text, nanos) in [
            ("0s", 0),
            ("1ns", 1),
            ("1.5us", 1_500),
            ("250µs", 250_000),
            ("0.001ms", 1_000),
            ("1_000ms", 1_000_000_000),
            ("90s", 90_000_000_000),
            (" 1.5 m ", 90_000_000_000),
            ("2h", 7_200_000_000_000),
        ] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(duration, Duration::from_nanos(nanos), "{text}");
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{text}");
        }
        assert_eq!(format_duration(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn sizes_are_binary_or_decimal_by_their_unit() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("64kB"), Ok(64_000));
        assert_eq!(parse_bytes("1.5MiB"), Ok(1_572_864));
        assert_eq!(parse_bytes("7B"), Ok(7));
        assert_eq!(parse_bit_rate("50Mbit"), Ok(6_250_000));
        assert_eq!(parse_bit_rate("1kbit"), Ok(125));
    }

    #[test]
    fn what_is_no_quantity_says_why() {
        let told = |text: &str| {
            let error = parse_duration(text).expect_err(text);
            format!("{error}; {}", error.help().unwrap_or_default())
        };
        assert_eq!(told("5"), "`5` has no unit; the units are ns, us, ms, s, m, h; for example \"5s\"");
        assert_eq!(told("5 sec"), "`sec` is not a unit; the units are ns, us, ms, s, m, h");
        assert_eq!(told("soon"), "`soon` does not begin with a number; ");
        assert_eq!(told("-5s"), "`-5s` is negative; ");
        assert_eq!(told("1.2.3s"), "`1.2.3s` does not begin with a number; ");
        assert_eq!(told("0.5ns"), "`0.5ns` is not a whole number of nanoseconds; ");
        assert_eq!(told("999999999999h"), "`999999999999h` is too large; ");
        assert!(parse_bytes("1.5B").is_err(), "half a byte");
    }
}

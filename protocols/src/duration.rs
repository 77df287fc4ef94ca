//! Durations in the options of protocols, as people write them: `"150ms"`.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 5] =
    [("min", 60_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1), ("s", 1_000_000_000)];
const EXPECTED: &str = "a duration: a whole number with a unit (ns, us, ms, s or min), such as \"150ms\"";

fn parse(text: &str) -> Option<Duration> {
    let (number, nanos) =
        UNITS.iter().find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?.trim_end(), nanos)))?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| number.parse::<u64>().ok()).flatten()?;
    number.checked_mul(*nanos).map(Duration::from_nanos)
}

fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fits =
        |(_, size): &&(&str, u64)| nanos >= u128::from(*size) && nanos.is_multiple_of(u128::from(*size));
    let largest = UNITS.iter().filter(fits).max_by_key(|(_, size)| *size);
    let (unit, size) = largest.unwrap_or(&("ns", 1));
    format!("{}{unit}", nanos / u128::from(*size))
}

pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &EXPECTED))
}

/// Shortest and longest: `["150ms", "300ms"]`.
pub(crate) mod range {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Bound(#[serde(with = "super")] Duration);

    pub(crate) fn serialize<S: Serializer>(
        (min, max): &(Duration, Duration),
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        [Bound(*min), Bound(*max)].serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Duration, Duration), D::Error> {
        let [min, max] = <[Bound; 2]>::deserialize(deserializer)?;
        Ok((min.0, max.0))
    }
}

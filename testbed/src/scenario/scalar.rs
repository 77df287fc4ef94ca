//! The leaves of a scenario: numbers, durations, sizes, and draws of them.

use std::borrow::Cow;
use std::time::Duration;

use rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::decode::{At, Decode, Fields, Node, mismatch};
use super::diagnostic::{Problems, suggest};
use super::draw::{Draw, Drawable, nano};
use crate::plan::{CommitMode, Isolation, Word};
use crate::units::{self, UnitError};

/// A leaf: what a draw can stand for.
pub(super) trait Scalar: Drawable + Decode {
    /// Its name among schemas.
    const NAME: &'static str;
    /// What it looks like in a scenario.
    fn schema() -> Schema;
}

/// A share of a whole, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Share(pub(crate) f64);

/// How often per second; more than 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Rate(pub(crate) f64);

/// A weight among others, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Weight(pub(crate) f64);

/// How many times as much; more than 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Factor(pub(crate) f64);

/// Parts per million, either way.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Drift(pub(crate) f64);

/// Bits per second, held as bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct BitRate(pub(crate) u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Size(pub(crate) u64);

macro_rules! fraction {
    ($name:ident, $holds:expr, $law:literal, $schema:tt) => {
        impl Drawable for $name {
            fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
                Self(f64::between(min.0, max.0, rng))
            }
        }

        impl Decode for $name {
            fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
                let value = number(node, problems)?;
                let holds: fn(f64) -> bool = $holds;
                if !holds(value) {
                    return problems.add(node.span(), format!(concat!("{} is not ", $law), value));
                }
                Some(Self(nano(value)))
            }
        }

        impl Scalar for $name {
            const NAME: &'static str = stringify!($name);

            fn schema() -> Schema {
                json_schema!($schema)
            }
        }
    };
}

fraction!(Share, |x| (0.0..=1.0).contains(&x), "a share: 0 to 1", {
    "type": "number", "minimum": 0, "maximum": 1
});
fraction!(Rate, |x| x > 0.0 && x <= 1e6, "a rate: more than 0, at most 1000000 per second", {
    "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000
});
fraction!(Weight, |x| (0.0..=1e6).contains(&x), "a weight: 0 to 1000000", {
    "type": "number", "minimum": 0, "maximum": 1_000_000
});

fraction!(Factor, |x| x > 0.0 && x <= 1e6, "a factor: more than 0, at most 1000000", {
    "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000
});
fraction!(Drift, |x| (-1e5..=1e5).contains(&x), "a drift: -100000 to 100000 parts per million", {
    "type": "number", "minimum": -100_000, "maximum": 100_000
});

fn number(node: &Node<'_>, problems: &mut Problems) -> Option<f64> {
    let text = match node.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => return mismatch(node, "a number", problems),
    };
    let value = text.parse().ok().filter(|value: &f64| value.is_finite());
    value.or_else(|| problems.add(node.span(), format!("{text} is not a finite number")))
}

macro_rules! whole {
    ($($type:ident $name:literal)*) => {$(
        impl Decode for $type {
            fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
                let DeValue::Integer(integer) = node.get_ref() else {
                    return mismatch(node, "a whole number", problems);
                };
                let (text, max) = (integer.as_str(), Self::MAX);
                Self::from_str_radix(text, integer.radix())
                    .ok()
                    .or_else(|| problems.add(node.span(), format!("{text} is out of range: 0 to {max}")))
            }
        }

        impl Scalar for $type {
            const NAME: &'static str = $name;

            fn schema() -> Schema {
                json_schema!({"type": "integer", "minimum": 0, "maximum": Self::MAX})
            }
        }
    )*};
}

whole!(u16 "U16" u32 "U32" u64 "U64");

fn quantity<T>(
    node: &Node<'_>,
    (what, example): (&str, &str),
    parse: impl Fn(&str) -> Result<T, UnitError>,
    problems: &mut Problems,
) -> Option<T> {
    let parsed = match node.get_ref() {
        DeValue::String(text) => parse(text),
        // A number alone gets the same words as a string with a number alone in it.
        DeValue::Integer(number) => parse(number.as_str()),
        DeValue::Float(number) => parse(number.as_str()),
        _ => return mismatch(node, &format!("{what} such as \"{example}\""), problems),
    };
    let noted = |error: UnitError| {
        let help = error.help().unwrap_or_else(|| format!("write {what} such as \"{example}\""));
        problems.add_with_help::<()>(node.span(), error.to_string(), help);
    };
    parsed.map_err(noted).ok()
}

impl Decode for Duration {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        quantity(node, ("a duration", "50ms"), units::parse_duration, problems)
    }
}

impl Scalar for Duration {
    const NAME: &'static str = "Duration";

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[0-9][0-9_]*(\.[0-9_]+)?\s*(ns|us|µs|ms|s|m|h)\s*$",
            "examples": ["50ms", "2s"],
        })
    }
}

impl Decode for Size {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        quantity(node, ("a size", "64KiB"), units::parse_bytes, problems).map(Self)
    }
}

impl Drawable for Size {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        Self(u64::between(min.0, max.0, rng))
    }
}

impl Scalar for Size {
    const NAME: &'static str = "Size";

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[0-9][0-9_]*(\.[0-9_]+)?\s*(B|KiB|MiB|GiB|kB|MB|GB)\s*$",
            "examples": ["64KiB"],
        })
    }
}

impl Decode for BitRate {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        quantity(node, ("a bandwidth", "50Mbit"), units::parse_bit_rate, problems).map(Self)
    }
}

impl Drawable for BitRate {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        Self(u64::between(min.0, max.0, rng))
    }
}

impl Scalar for BitRate {
    const NAME: &'static str = "BitRate";

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*[0-9][0-9_]*(\.[0-9_]+)?\s*(bit|kbit|Mbit|Gbit)\s*$",
            "examples": ["50Mbit"],
        })
    }
}

impl Decode for Word {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            return mismatch(node, "a word", problems);
        };
        Self::ALL.into_iter().find(|word| word.name() == text).or_else(|| {
            let help = suggest(text, Self::ALL.map(Self::name));
            problems.add_with_help(node.span(), format!("`{text}` means nothing here"), help)
        })
    }
}

impl Scalar for Word {
    const NAME: &'static str = "Word";

    fn schema() -> Schema {
        json_schema!({"type": "string", "enum": Self::ALL.map(Self::name)})
    }
}

/// Enums whose variants a scenario names.
macro_rules! choices {
    ($($choice:ident, $what:literal;)*) => {$(
        impl Decode for $choice {
            fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
                let DeValue::String(text) = node.get_ref() else { return mismatch(node, $what, problems) };
                let found = Self::ALL.iter().find(|(name, _)| name == text);
                found.map(|(_, choice)| *choice).or_else(|| {
                    let help = suggest(text, Self::ALL.map(|(name, _)| name));
                    problems.add_with_help(node.span(), format!("`{text}` is not {}", $what), help)
                })
            }
        }

        impl Scalar for $choice {
            const NAME: &'static str = stringify!($choice);

            fn schema() -> Schema {
                json_schema!({"type": "string", "enum": Self::ALL.map(|(name, _)| name)})
            }
        }

        impl Drawable for $choice {
            fn between(min: Self, max: Self, rng: &mut impl rand::Rng) -> Self {
                if rng.random_bool(0.5) { min } else { max }
            }
        }
    )*};
}

choices! {
    CommitMode, "a way to commit";
    Isolation, "an isolation";
}

impl Decode for bool {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => mismatch(node, "true or false", problems),
        }
    }
}

const DRAW_KEYS: &[&str] = &["min", "max", "one_of"];

/// Whether a table is meant as a draw.
pub(super) fn looks_drawn(node: &Node<'_>) -> bool {
    let table = node.get_ref().as_table();
    table.is_some_and(|table| table.keys().any(|key| DRAW_KEYS.contains(&&**key.get_ref())))
}

impl<T: Scalar> Decode for Draw<T> {
    fn decode(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = node.get_ref().as_table() else {
            return T::decode(node, problems).map(Self::Fixed);
        };
        let fields = Fields::of(node, DRAW_KEYS, problems)?;
        match (fields.get("min"), fields.get("max"), fields.get("one_of"), table.len()) {
            (Some(min), Some(max), None, 2) => {
                let (min, max) = (T::decode(min, problems), T::decode(max, problems));
                let (min, max) = (min?, max?);
                if min > max {
                    return problems.add(node.span(), "the draw's `min` is above its `max`");
                }
                Some(Self::Range { min, max })
            }
            (None, None, Some(list), 1) => {
                let choices = Vec::<T>::decode(list, problems)?;
                if choices.is_empty() {
                    return problems.add(list.span(), "a draw needs something to choose from");
                }
                Some(Self::OneOf(choices))
            }
            _ => {
                let message = "a draw is either { min = a, max = b } or { one_of = [a, b, …] }";
                problems.add(node.span(), message)
            }
        }
    }
}

impl<T: Scalar> JsonSchema for Draw<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Draw{}", T::NAME).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scalar = T::schema();
        json_schema!({
            "description": "A value, or a draw that each seed makes for itself.",
            "anyOf": [
                scalar,
                {
                    "type": "object",
                    "properties": {"min": scalar, "max": scalar},
                    "required": ["min", "max"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {"one_of": {"type": "array", "items": scalar, "minItems": 1}},
                    "required": ["one_of"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

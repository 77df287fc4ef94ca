//! A number, or a choice of numbers that each seed makes for itself.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// A value that is fixed, or drawn per seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw<T> {
    /// Always the same.
    Fixed(T),
    /// Evenly from a range, bounds included.
    Range {
        /// The least.
        min: T,
        /// The most.
        max: T,
    },
    /// One of a list, each as likely as the other; the list is not empty.
    OneOf(Vec<T>),
}

/// What can be drawn from a range.
pub trait Drawable: Copy + PartialOrd {
    /// A value between two bounds, included.
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self;
}

impl<T: Drawable> Draw<T> {
    /// One value.
    pub fn draw(&self, rng: &mut impl Rng) -> T {
        match self {
            Self::Fixed(value) => *value,
            Self::Range { min, max } => T::between(*min, *max, rng),
            Self::OneOf(choices) => choices[rng.random_range(0..choices.len())],
        }
    }

    /// The same choice of other values; `with` keeps their order.
    pub fn map<U>(&self, with: impl Fn(T) -> U) -> Draw<U> {
        match self {
            Self::Fixed(value) => Draw::Fixed(with(*value)),
            Self::Range { min, max } => Draw::Range { min: with(*min), max: with(*max) },
            Self::OneOf(choices) => Draw::OneOf(choices.iter().map(|choice| with(*choice)).collect()),
        }
    }

    /// Whether it is, or could turn out to be, this value.
    pub fn may_be(&self, value: T) -> bool {
        match self {
            Self::Fixed(fixed) => *fixed == value,
            Self::Range { min, max } => *min <= value && value <= *max,
            Self::OneOf(choices) => choices.contains(&value),
        }
    }

    /// The least value that can come out.
    pub fn min(&self) -> T {
        self.bound(|a, b| if b < a { b } else { a })
    }

    /// The greatest value that can come out.
    pub fn max(&self) -> T {
        self.bound(|a, b| if b > a { b } else { a })
    }

    fn bound(&self, better: impl Fn(T, T) -> T) -> T {
        match self {
            Self::Fixed(value) => *value,
            Self::Range { min, max } => better(*min, *max),
            Self::OneOf(choices) => {
                choices.iter().copied().reduce(better).expect("a draw has something to choose from")
            }
        }
    }
}

impl Drawable for u64 {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        rng.random_range(min..=max)
    }
}

impl Drawable for u32 {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        rng.random_range(min..=max)
    }
}

impl Drawable for u16 {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        rng.random_range(min..=max)
    }
}

impl Drawable for f64 {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        // The top 53 bits: every value a multiple of 2^-53, the same on every machine.
        let unit = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        nano(min + unit * (max - min)).clamp(min, max)
    }
}

impl Drawable for Duration {
    fn between(min: Self, max: Self, rng: &mut impl Rng) -> Self {
        let nanos = |duration: Self| u64::try_from(duration.as_nanos()).expect("durations fit 64 bits");
        Self::from_nanos(u64::between(nanos(min), nanos(max), rng))
    }
}

/// A number cut to nine decimals. Plans travel as JSON text, and a short decimal is read back as
/// exactly the number it was written from, by any reader.
pub(crate) fn nano(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

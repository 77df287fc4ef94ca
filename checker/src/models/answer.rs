//! What the objects of most models hold and answer.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Expected;

/// An element: a whole number or a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
    /// A whole number.
    Int(i64),
    /// A text.
    Text(Arc<str>),
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The operation took effect and has nothing to tell.
    Done,
    /// Whether it did what was asked, or whether what was asked is so.
    Flag(bool),
    /// An element; `None`: there is none.
    Value(Option<Datum>),
    /// Elements.
    Items(Vec<Datum>),
}

impl Datum {
    /// From a record's value.
    ///
    /// # Errors
    /// [`Expected`] if it is neither a whole number nor a text.
    pub fn read(value: &Value) -> Result<Self, Expected> {
        let number = value.as_i64().map(Self::Int);
        let datum = number.or_else(|| Some(Self::Text(value.as_str()?.into())));
        datum.ok_or_else(|| Expected::instead("a whole number or a text", value))
    }

    /// A number that depends on its content alone, for hashes that grow element by element.
    pub(super) fn mixed(&self) -> u64 {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        // FNV-1a (Fowler, Noll & Vo), from another start for texts than for numbers.
        match self {
            Self::Int(number) => number.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix),
            Self::Text(text) => text.as_bytes().iter().fold(0x9e37_79b9_7f4a_7c15, mix),
        }
    }
}

impl Answer {
    /// An element or null.
    pub(super) fn value(value: &Value) -> Result<Self, Expected> {
        if value.is_null() { Ok(Self::Value(None)) } else { Ok(Self::Value(Some(Datum::read(value)?))) }
    }

    /// A list of elements.
    pub(super) fn items(value: &Value) -> Result<Self, Expected> {
        let items = value.as_array().ok_or_else(|| Expected::instead("a list", value))?;
        Ok(Self::Items(items.iter().map(Datum::read).collect::<Result<_, _>>()?))
    }

    /// Whether it did what was asked. Who says nothing about it, or repeats what was asked, says that
    /// it did.
    pub(super) fn flag(value: &Value) -> Self {
        Self::Flag(value.as_bool().unwrap_or(true))
    }

    /// Whether a client who was to be answered so can have been told `told`, which may be less: that it
    /// was done.
    pub(super) fn allows(&self, told: &Self) -> bool {
        told == self || *told == Self::Done
    }
}

/// The elements that a header's initial state lists; none for null.
pub(super) fn initial_items(value: &Value) -> Result<Vec<Datum>, Expected> {
    match value {
        Value::Null => Ok(Vec::new()),
        value => match Answer::items(value)? {
            Answer::Items(items) => Ok(items),
            _ => unreachable!("a list of elements was read"),
        },
    }
}

impl From<i64> for Datum {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Value(Some(value)) => value.fmt(f),
            Self::Value(None) => f.write_str("nothing"),
            Self::Items(items) => Listed(items.iter()).fmt(f),
        }
    }
}

/// Things between brackets.
pub(super) struct Listed<I>(pub(super) I);

impl<I: Iterator<Item: fmt::Display> + Clone> fmt::Display for Listed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (place, item) in self.0.clone().enumerate() {
            write!(f, "{}{item}", if place > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

//! The operations of a key-value service, as clients invoke them and as histories record them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::env::WireSize;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Op {
    /// The value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Adds bytes behind a key's value; a missing key counts as empty.
    Append {
        /// The key.
        key: Bytes,
        /// What is added.
        value: Bytes,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets a key if its value is the expected one.
    Cas {
        /// The key.
        key: Bytes,
        /// What its value must be; `None`: it must be missing.
        expected: Option<Bytes>,
        /// Its new value.
        value: Bytes,
    },
    /// All keys from `from` on and below `to`, with their values.
    Scan {
        /// The first key.
        from: Bytes,
        /// Below which key to stop.
        to: Bytes,
    },
    /// Sets a key if it is missing, and returns its value: what is decided once stays so.
    Decide {
        /// The key.
        key: Bytes,
        /// What is proposed for it.
        value: Bytes,
    },
}

impl Op {
    /// The name of each operation.
    pub const NAMES: [&'static str; 7] = ["get", "put", "append", "cas", "delete", "scan", "decide"];

    /// Whether it changes nothing, so that it needs no place in the log.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Scan { .. })
    }

    /// Its name in scenarios, histories and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Put { .. } => "put",
            Self::Append { .. } => "append",
            Self::Delete { .. } => "delete",
            Self::Cas { .. } => "cas",
            Self::Scan { .. } => "scan",
            Self::Decide { .. } => "decide",
        }
    }
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ret {
    /// The operation took effect and has nothing to tell.
    Done,
    /// The key's value; `None`: it is missing.
    Value(Option<Bytes>),
    /// Whether the compare-and-set took place.
    Swapped(bool),
    /// Keys and values in key order.
    Pairs(Vec<(Bytes, Bytes)>),
}

struct Maybe<'a>(&'a Option<Bytes>);

impl fmt::Display for Maybe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "\"{value}\""),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { key } => write!(f, "get({key})"),
            Self::Put { key, value } => write!(f, "put({key}, \"{value}\")"),
            Self::Append { key, value } => write!(f, "append({key}, \"{value}\")"),
            Self::Delete { key } => write!(f, "delete({key})"),
            Self::Cas { key, expected, value } => write!(f, "cas({key}, {}, \"{value}\")", Maybe(expected)),
            Self::Scan { from, to } => write!(f, "scan({from}..{to})"),
            Self::Decide { key, value } => write!(f, "decide({key}, \"{value}\")"),
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Value(value) => Maybe(value).fmt(f),
            Self::Swapped(true) => f.write_str("swapped"),
            Self::Swapped(false) => f.write_str("not swapped"),
            Self::Pairs(pairs) => {
                f.write_str("[")?;
                for (i, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}=\"{value}\"", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl WireSize for Op {
    fn wire_size(&self) -> usize {
        match self {
            Self::Get { key } | Self::Delete { key } => 1 + key.len(),
            Self::Put { key, value } | Self::Append { key, value } | Self::Decide { key, value } => {
                2 + key.len() + value.len()
            }
            Self::Cas { key, expected, value } => {
                3 + key.len() + expected.as_ref().map_or(0, |e| e.len()) + value.len()
            }
            Self::Scan { from, to } => 2 + from.len() + to.len(),
        }
    }
}

impl WireSize for Ret {
    fn wire_size(&self) -> usize {
        match self {
            Self::Done | Self::Swapped(_) => 1,
            Self::Value(value) => 1 + value.as_ref().map_or(0, |v| v.len()),
            Self::Pairs(pairs) => 1 + pairs.iter().map(|(k, v)| k.len() + v.len() + 2).sum::<usize>(),
        }
    }
}

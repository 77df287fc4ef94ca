//! How the operations of a key-value store stand in recorded histories.

use std::fmt;

use contract::Bytes;
use contract::kv::{Op, Ret};
use serde_json::{Map, Value, json};

use super::answer::Listed;
use super::kv::Kv;
use super::{Expected, Recorded};

impl Recorded for Kv {
    fn initial(value: &Value) -> Result<Self, Expected> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Object(pairs) => {
                pairs.iter().map(|(key, value)| Ok((text_of(key), bytes(value)?))).collect()
            }
            other => Err(Expected::instead("an object with keys and values", other)),
        }
    }

    fn op(f: &str, key: &Value, value: &Value) -> Result<Op, Expected> {
        let key = || bytes(key).map_err(|_| Expected::instead("a key", key));
        let pair = |what| match value.as_array().map(Vec::as_slice) {
            Some([first, second]) => Ok((first, second)),
            _ => Err(Expected::instead(what, value)),
        };
        match f {
            "get" | "read" => Ok(Op::Get { key: key()? }),
            "put" | "write" => Ok(Op::Put { key: key()?, value: bytes(value)? }),
            "append" => Ok(Op::Append { key: key()?, value: bytes(value)? }),
            "delete" => Ok(Op::Delete { key: key()? }),
            "cas" => {
                let (expected, new) = pair("[expected, new]")?;
                Ok(Op::Cas { key: key()?, expected: maybe(expected)?, value: bytes(new)? })
            }
            "scan" => {
                let (from, to) = pair("[from, to]")?;
                Ok(Op::Scan { from: bytes(from)?, to: bytes(to)? })
            }
            "decide" => Ok(Op::Decide { key: key()?, value: bytes(value)? }),
            _ => Err(Expected::operation("get, put, append, delete, cas, scan, decide", f)),
        }
    }

    fn ret(op: &Op, value: &Value) -> Result<Ret, Expected> {
        match op {
            Op::Get { .. } | Op::Decide { .. } => maybe(value).map(Ret::Value),
            Op::Put { .. } | Op::Append { .. } | Op::Delete { .. } => Ok(Ret::Done),
            Op::Cas { .. } => Ok(Ret::Swapped(value.as_bool().unwrap_or(true))),
            Op::Scan { .. } => {
                let wrong = || Expected::instead("a list of [key, value]", value);
                let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                    Some([key, value]) => Ok((bytes(key)?, bytes(value)?)),
                    _ => Err(wrong()),
                };
                let pairs: Result<_, _> = value.as_array().ok_or_else(wrong)?.iter().map(pair).collect();
                Ok(Ret::Pairs(pairs?))
            }
        }
    }
}

/// An operation's key and value in a record; what has none is null.
pub(crate) fn asked(op: &Op) -> (Value, Value) {
    match op {
        Op::Get { key } | Op::Delete { key } => (shown(key), Value::Null),
        Op::Put { key, value } | Op::Append { key, value } | Op::Decide { key, value } => {
            (shown(key), shown(value))
        }
        Op::Cas { key, expected, value } => (shown(key), json!([expected.as_ref().map(shown), shown(value)])),
        Op::Scan { from, to } => (Value::Null, json!([shown(from), shown(to)])),
    }
}

/// An answer's value in a record.
pub(crate) fn answered(ret: &Ret) -> Value {
    match ret {
        Ret::Done => Value::Null,
        Ret::Value(value) => value.as_ref().map_or(Value::Null, shown),
        Ret::Swapped(swapped) => json!(swapped),
        Ret::Pairs(pairs) => pairs.iter().map(|(key, value)| json!([shown(key), shown(value)])).collect(),
    }
}

/// Text as it is; what is none as `{"bytes": [0, 255]}`.
fn shown(bytes: &Bytes) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "bytes": bytes.to_vec() }),
    }
}

/// Text and numbers as they are written; or the bytes that [`shown`] shows.
fn bytes(value: &Value) -> Result<Bytes, Expected> {
    let listed = |object: &Map<String, Value>| -> Option<Bytes> {
        let bytes = object.get("bytes")?.as_array()?.iter();
        let bytes: Option<Vec<u8>> = bytes.map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
        bytes.map(Bytes::from)
    };
    let read = match value {
        Value::String(text) => Some(text_of(text)),
        Value::Number(number) => Some(text_of(&number.to_string())),
        Value::Bool(flag) => Some(text_of(&flag.to_string())),
        Value::Object(object) => listed(object),
        Value::Null | Value::Array(_) => None,
    };
    read.ok_or_else(|| Expected::instead("a text or a number", value))
}

fn text_of(text: &str) -> Bytes {
    Bytes::from(text)
}

fn maybe(value: &Value) -> Result<Option<Bytes>, Expected> {
    if value.is_null() { Ok(None) } else { bytes(value).map(Some) }
}

impl FromIterator<(Bytes, Bytes)> for Kv {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(pairs: I) -> Self {
        let mut store = Self::default();
        for (key, value) in pairs {
            store.put(&key, value);
        }
        store
    }
}

impl fmt::Display for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listed(self.pairs().map(|(key, value)| format!("{key}=\"{value}\""))).fmt(f)
    }
}

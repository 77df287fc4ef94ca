//! A key-value store that takes one operation at a time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use contract::Bytes;
use contract::kv::{Op, Ret};
use stateright::semantics::SequentialSpec;

use super::{kv_helpers, kv_reason};
use crate::cache::Words;
use crate::parts::Part;
use crate::spec::{self, Content, Goals, Helpers, Keys, Reason, RegisterOp, Spec};

/// The keys that are present and their values. A copy shares them until one of the two changes.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// In order.
    keys: Arc<Vec<Bytes>>,
    /// Per key its value.
    values: Arc<Vec<Bytes>>,
    /// The sum of the hashes of all pairs: so it need not be found out anew for each state.
    hash: u64,
}

impl Kv {
    /// The value of a key.
    pub fn get(&self, key: &Bytes) -> Option<&Bytes> {
        self.place(key).ok().map(|at| &self.values[at])
    }

    /// All keys with their values, in key order.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&Bytes, &Bytes)> + Clone {
        self.keys.iter().zip(self.values.iter())
    }

    fn place(&self, key: &Bytes) -> Result<usize, usize> {
        self.keys.binary_search(key)
    }

    pub(super) fn put(&mut self, key: &Bytes, value: Bytes) {
        self.hash = self.hash.wrapping_add(mixed(key, &value));
        match self.place(key) {
            Ok(at) => {
                let before = std::mem::replace(&mut Arc::make_mut(&mut self.values)[at], value);
                self.hash = self.hash.wrapping_sub(mixed(key, &before));
            }
            Err(at) => {
                Arc::make_mut(&mut self.keys).insert(at, key.clone());
                Arc::make_mut(&mut self.values).insert(at, value);
            }
        }
    }

    fn delete(&mut self, key: &Bytes) {
        if let Ok(at) = self.place(key) {
            Arc::make_mut(&mut self.keys).remove(at);
            let before = Arc::make_mut(&mut self.values).remove(at);
            self.hash = self.hash.wrapping_sub(mixed(key, &before));
        }
    }

    fn scan(&self, from: &Bytes, to: &Bytes) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let low = self.keys.partition_point(|key| key < from);
        let high = self.keys.partition_point(|key| key < to).max(low);
        self.keys[low..high].iter().zip(&self.values[low..high])
    }
}

/// A hash of a key and its value.
fn mixed(key: &Bytes, value: &Bytes) -> u64 {
    let mut hasher = Words::default();
    key.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

impl PartialEq for Kv {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.keys == other.keys && self.values == other.values
    }
}

impl Eq for Kv {}

impl Hash for Kv {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl SequentialSpec for Kv {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::Get { key } => Ret::Value(self.get(key).cloned()),
            Op::Put { key, value } => {
                self.put(key, value.clone());
                Ret::Done
            }
            Op::Append { key, value } => {
                let before = self.get(key).map_or(&[][..], |value| value);
                self.put(key, [before, value].concat().into());
                Ret::Done
            }
            Op::Delete { key } => {
                self.delete(key);
                Ret::Done
            }
            Op::Cas { key, expected, value } => {
                let swaps = self.get(key) == expected.as_ref();
                if swaps {
                    self.put(key, value.clone());
                }
                Ret::Swapped(swaps)
            }
            Op::Scan { from, to } => {
                let pairs = self.scan(from, to).map(|(key, value)| (key.clone(), value.clone()));
                Ret::Pairs(pairs.collect())
            }
            Op::Decide { key, value } => {
                if self.get(key).is_none() {
                    self.put(key, value.clone());
                }
                Ret::Value(self.get(key).cloned())
            }
        }
    }

    /// Reads are compared in place: they are the most frequent operations, and answers may be long.
    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        match (op, ret) {
            (Op::Get { key }, Ret::Value(value)) => self.get(key) == value.as_ref(),
            (Op::Scan { from, to }, Ret::Pairs(pairs)) => {
                self.scan(from, to).eq(pairs.iter().map(|(key, value)| (key, value)))
            }
            (Op::Cas { key, expected, .. }, Ret::Swapped(false)) => self.get(key) != expected.as_ref(),
            _ => self.invoke(op) == *ret,
        }
    }
}

impl Spec for Kv {
    type Op = Op;
    type Ret = Ret;
    type Key = Bytes;

    fn step(&self, op: &Op, ret: Option<&Ret>) -> Option<Self> {
        spec::step(self, op, ret)
    }

    fn keys(op: &Op) -> Keys<&Bytes> {
        match op {
            Op::Get { key }
            | Op::Put { key, .. }
            | Op::Append { key, .. }
            | Op::Delete { key }
            | Op::Cas { key, .. }
            | Op::Decide { key, .. } => Keys::One(key),
            Op::Scan { from, to } => Keys::Range { from, to },
        }
    }

    fn is_read(op: &Op, ret: Option<&Ret>) -> bool {
        match (op, ret) {
            (Op::Decide { value, .. }, Some(Ret::Value(decided))) => decided.as_ref() != Some(value),
            (_, ret) => op.is_read() || ret == Some(&Ret::Swapped(false)),
        }
    }

    fn bytes_beyond(&self, before: &Self) -> usize {
        let is_shared = |at: usize, value: &Bytes| {
            before.values.get(at).is_some_and(|known| known.as_ptr() == value.as_ptr())
        };
        let own = self.values.iter().enumerate().filter(|(at, value)| !is_shared(*at, value));
        64 + 16 * self.values.len() + own.map(|(_, value)| value.len()).sum::<usize>()
    }

    fn helpers(part: &Part<'_, Self>, target: usize) -> Helpers {
        kv_helpers::helpers(part, target)
    }

    fn is_helped(&self, part: &Part<'_, Self>, helper: usize, target: usize) -> bool {
        kv_helpers::is_helped(self, part, helper, target)
    }

    fn goals<'h>(part: &Part<'h, Self>) -> Goals<'h, Bytes> {
        kv_helpers::goals(part)
    }

    fn blind(part: &Part<'_, Self>) -> Vec<bool> {
        kv_helpers::blind(part)
    }

    fn register_op<'a>(op: &'a Op, ret: Option<&'a Ret>) -> Option<RegisterOp<'a>> {
        match (op, ret) {
            (Op::Get { .. }, Some(Ret::Value(value))) => Some(RegisterOp::Read(content(value.as_ref()))),
            (Op::Put { value, .. }, None | Some(Ret::Done)) => Some(RegisterOp::Write(content(Some(value)))),
            (Op::Append { value, .. }, None | Some(Ret::Done)) => Some(RegisterOp::Append(value)),
            (Op::Delete { .. }, None | Some(Ret::Done)) => Some(RegisterOp::Write(Content::Nothing)),
            (Op::Cas { expected, value, .. }, None | Some(Ret::Swapped(true))) => {
                Some(RegisterOp::Swap { old: content(expected.as_ref()), new: content(Some(value)) })
            }
            (Op::Cas { expected, .. }, Some(Ret::Swapped(false))) => {
                Some(RegisterOp::Refused { old: content(expected.as_ref()) })
            }
            (Op::Decide { value, .. }, None) => {
                Some(RegisterOp::Swap { old: Content::Nothing, new: content(Some(value)) })
            }
            (Op::Decide { value, .. }, Some(Ret::Value(Some(decided)))) if decided != value => {
                Some(RegisterOp::Read(content(Some(decided))))
            }
            // One that answers its own value may have found it there, or nothing.
            _ => None,
        }
    }

    fn shown<'a>(_op: &'a Op, ret: &'a Ret) -> Option<Vec<(Bytes, Content<'a>)>> {
        let Ret::Pairs(pairs) = ret else { return None };
        Some(pairs.iter().map(|(key, value)| (key.clone(), content(Some(value)))).collect())
    }

    fn register(&self, key: &Bytes) -> Option<Content<'_>> {
        Some(content(self.get(key)))
    }

    fn reason(part: &Part<'_, Self>, initial: &Self, failing: usize) -> Option<Reason> {
        kv_reason::reason(part, initial, failing)
    }
}

fn content(value: Option<&Bytes>) -> Content<'_> {
    value.map_or(Content::Nothing, |value| Content::Bytes(value))
}

//! A key-value store that takes one operation at a time.

use std::sync::Arc;

use contract::Bytes;
use contract::kv::{Op, Ret};
use stateright::semantics::SequentialSpec;

use super::{kv_helpers, kv_reason};
use crate::parts::Part;
use crate::spec::{self, Content, Helpers, Keys, Reason, RegisterOp, Spec};

/// The keys that are present and their values. A copy shares them until one of the two changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kv {
    /// In key order.
    pairs: Arc<Vec<(Bytes, Bytes)>>,
}

impl Kv {
    /// The value of a key.
    pub fn get(&self, key: &Bytes) -> Option<&Bytes> {
        self.place(key).ok().map(|at| &self.pairs[at].1)
    }

    /// All keys with their values, in key order.
    pub fn pairs(&self) -> &[(Bytes, Bytes)] {
        &self.pairs
    }

    fn place(&self, key: &Bytes) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(known, _)| known.cmp(key))
    }

    pub(super) fn put(&mut self, key: &Bytes, value: Bytes) {
        let place = self.place(key);
        let pairs = Arc::make_mut(&mut self.pairs);
        match place {
            Ok(at) => pairs[at].1 = value,
            Err(at) => pairs.insert(at, (key.clone(), value)),
        }
    }

    fn delete(&mut self, key: &Bytes) {
        if let Ok(at) = self.place(key) {
            Arc::make_mut(&mut self.pairs).remove(at);
        }
    }

    fn scan(&self, from: &Bytes, to: &Bytes) -> &[(Bytes, Bytes)] {
        let low = self.pairs.partition_point(|(key, _)| key < from);
        &self.pairs[low..self.pairs.partition_point(|(key, _)| key < to).max(low)]
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
            Op::Scan { from, to } => Ret::Pairs(self.scan(from, to).to_vec()),
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
            (Op::Scan { from, to }, Ret::Pairs(pairs)) => self.scan(from, to) == pairs,
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

    fn keys(op: &Op) -> Keys<Bytes> {
        match op {
            Op::Get { key }
            | Op::Put { key, .. }
            | Op::Append { key, .. }
            | Op::Delete { key }
            | Op::Cas { key, .. }
            | Op::Decide { key, .. } => Keys::One(key.clone()),
            Op::Scan { from, to } => Keys::Range { from: from.clone(), to: to.clone() },
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
            before.pairs.get(at).is_some_and(|(_, known)| known.as_ptr() == value.as_ptr())
        };
        let own = self.pairs.iter().enumerate().filter(|(at, (_, value))| !is_shared(*at, value));
        64 + 32 * self.pairs.len() + own.map(|(_, (_, value))| value.len()).sum::<usize>()
    }

    fn helpers(part: &Part<'_, Self>, target: usize) -> Helpers {
        kv_helpers::helpers(part, target)
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

//! Which writes of unknown outcome are worth trying directly before an operation on a key-value store.
//!
//! Consider a linearization with as few operations of unknown outcome as possible, each as late as
//! possible, and in it a run of them that ends with an answered operation, the target. A member of the
//! run touches a key of the target: otherwise it could stand behind it. Beyond that it depends on the
//! target:
//!
//! - *put, delete*: nothing. They hide whatever stands before them.
//! - *get* of a value, *cas* that swapped: the run ends with the key at that value, the goal. Whatever
//!   overwrites the key and is not overwritten again wrote a prefix of the goal, and what is appended
//!   is a piece of it. Only a cas has something in front of it that it overwrites: its expected value
//!   is one more goal.
//! - *scan*: the same for each of its keys.
//! - *decide*: the run ends with the key at the decided value, or with it missing if the value is the
//!   operation's own. One of unknown outcome counts as a cas that expects the key to be missing.
//! - *cas* that did not swap: any write will do that changes the value it expected.
//! - *append*: any write that somebody observes. Call a put or an append *blind* if its value is not
//!   empty and is part of nothing that a get, scan or decide returned for the key and of nothing that a cas
//!   expected. From a blind write until the key is overwritten nothing but appends and failing cas can
//!   stand. Leave it out, and put it back directly before the first of these cas that would now swap,
//!   if there is one: all are answered as before. So a blind write is a helper of failing cas only, and
//!   there one is as good as another.

use contract::Bytes;
use contract::kv::{Op, Ret};

use super::kv::Kv;
use crate::parts::{Operation, Part};
use crate::spec::Helpers;

pub(super) fn helpers(part: &Part<'_, Kv>, target: usize) -> Helpers {
    let Operation { op, ret, .. } = &part.operations[target];
    let mut helpers = Helpers::default();
    match (op, ret) {
        (Op::Get { key }, Some(Ret::Value(value))) => {
            helpers.each = towards(part, key, value.as_ref());
        }
        (Op::Cas { key, expected, .. }, Some(Ret::Swapped(true))) => {
            helpers.each = towards(part, key, expected.as_ref());
        }
        (Op::Decide { key, value }, Some(Ret::Value(decided))) => {
            helpers.each = towards(part, key, decided.as_ref());
            if decided.as_ref() == Some(value) {
                for write in towards(part, key, None) {
                    if !helpers.each.contains(&write) {
                        helpers.each.push(write);
                    }
                }
            }
        }
        (Op::Scan { from, to }, Some(Ret::Pairs(pairs))) => {
            for key in part.keys.iter().filter(|key| from <= *key && *key < to) {
                let pair = pairs.iter().find(|(known, _)| known == key);
                helpers.each.extend(towards(part, key, pair.map(|(_, value)| value)));
            }
        }
        (Op::Cas { key, .. }, Some(Ret::Swapped(false))) => {
            for write in writes(part, key) {
                if part.is_blind(write) { &mut helpers.alike } else { &mut helpers.each }.push(write);
            }
        }
        (Op::Append { key, .. }, Some(Ret::Done)) => {
            helpers.each = writes(part, key).filter(|write| !part.is_blind(*write)).collect();
        }
        // An overwriting operation, or an answer that no state can give.
        _ => {}
    }
    helpers
}

/// The writes of unknown outcome to a key.
fn writes<'p>(part: &'p Part<'_, Kv>, key: &'p Bytes) -> impl Iterator<Item = usize> + 'p {
    (part.answered..part.operations.len()).filter(move |at| key_of(part.operations[*at].op) == Some(key))
}

fn key_of(op: &Op) -> Option<&Bytes> {
    match op {
        Op::Get { key }
        | Op::Put { key, .. }
        | Op::Append { key, .. }
        | Op::Delete { key }
        | Op::Cas { key, .. }
        | Op::Decide { key, .. } => Some(key),
        Op::Scan { .. } => None,
    }
}

/// The writes of unknown outcome that can be part of a run after which `key` has the value `goal`.
fn towards(part: &Part<'_, Kv>, key: &Bytes, goal: Option<&Bytes>) -> Vec<usize> {
    let mut goals = vec![goal];
    let mut rest: Vec<usize> = writes(part, key).collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        rest.retain(|write| {
            let leads = match part.operations[*write].op {
                Op::Put { value, .. } => is_prefix_of_any(value, &goals),
                Op::Append { value, .. } => goals.iter().flatten().any(|goal| contains(goal, value)),
                Op::Delete { .. } => true,
                Op::Cas { value, .. } | Op::Decide { value, .. } => is_prefix_of_any(value, &goals),
                Op::Get { .. } | Op::Scan { .. } => false,
            };
            if leads {
                found.push(*write);
            }
            !leads
        });
        if found.len() == before {
            return found;
        }
        for write in &found[before..] {
            match part.operations[*write].op {
                Op::Cas { expected, .. } => goals.push(expected.as_ref()),
                Op::Decide { .. } => goals.push(None),
                _ => {}
            }
        }
    }
}

fn is_prefix_of_any(value: &[u8], goals: &[Option<&Bytes>]) -> bool {
    goals.iter().flatten().any(|goal| goal.starts_with(value))
}

fn contains(value: &[u8], piece: &[u8]) -> bool {
    piece.is_empty() || value.windows(piece.len()).any(|window| window == piece)
}

/// Per operation of unknown outcome, whether it is blind.
pub(super) fn blind(part: &Part<'_, Kv>) -> Vec<bool> {
    let unknown = &part.operations[part.answered..];
    let is_blind = |write: &Operation<'_, Op, Ret>| match write.op {
        Op::Put { key, value } | Op::Append { key, value } => {
            let shows = |seen: &Bytes| contains(seen, value);
            !value.is_empty()
                && !part.operations.iter().any(|o| match (o.op, o.ret) {
                    (Op::Get { key: k } | Op::Decide { key: k, .. }, Some(Ret::Value(Some(seen)))) => {
                        k == key && shows(seen)
                    }
                    (Op::Cas { key: k, expected: Some(seen), .. }, _) => k == key && shows(seen),
                    (Op::Scan { .. }, Some(Ret::Pairs(pairs))) => {
                        pairs.iter().any(|(k, seen)| k == key && shows(seen))
                    }
                    _ => false,
                })
        }
        _ => false,
    };
    unknown.iter().map(is_blind).collect()
}

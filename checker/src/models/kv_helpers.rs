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
//! - *append*: any write that somebody observes. The *goals* of a key are what a get, scan or decide
//!   returned for it, what an answered cas expected, and what a cas of unknown outcome expected whose own value
//!   is a piece of a goal. Call a write *blind* if its value is not empty and is a piece of no goal. From a blind write
//!   until the key is overwritten nothing but appends, failing cas and other blind writes can stand. Leave
//!   these out, and put one back directly before the first of the cas that would now swap, if there is one:
//!   all are answered as before. So a blind write is a helper of failing cas only, and there one is as good
//!   as another. (A cas of unknown outcome may do nothing where it is put back: it is blind only where no cas
//!   failed.) Where no cas failed, what stands in front of an append must begin a goal to have been of use.

use contract::Bytes;
use contract::kv::{Op, Ret};

use super::kv::Kv;
use crate::parts::{Operation, Part};
use crate::spec::{Content, Goals, Helpers};

type KvOperation<'h> = Operation<'h, Op, Ret>;

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

/// Whether a run of writes of unknown outcome can go on to its target from where `helper` has led.
///
/// A run has no write whose effect is overwritten before somebody observes it, for it could do without. So
/// what follows on the key is appends up to the target, or to a cas of unknown outcome that finds what it
/// expects: the value begins what the one or the other is after.
pub(super) fn is_helped(store: &Kv, part: &Part<'_, Kv>, helper: usize, target: usize) -> bool {
    let Some(key) = key_of(part.operations[helper].op) else { return true };
    let Some(value) = store.get(key) else { return true };
    let begins = |goal: Option<&Bytes>| goal.is_some_and(|goal| goal.starts_with(value));
    let is_on_the_way = match (part.operations[target].op, part.operations[target].ret) {
        (Op::Get { .. }, Some(Ret::Value(goal))) => begins(goal.as_ref()),
        (Op::Cas { expected, .. }, Some(Ret::Swapped(true))) => begins(expected.as_ref()),
        (Op::Scan { .. }, Some(Ret::Pairs(pairs))) => {
            begins(pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value))
        }
        (Op::Append { .. }, _) => {
            part.goals().is_none_or(|goals| goals.refused.contains(&key) || begins_any(goals, key, value))
        }
        _ => true,
    };
    let expects = |write: usize| match part.operations[write].op {
        Op::Cas { key: other, expected, .. } => key == other && begins(expected.as_ref()),
        _ => false,
    };
    is_on_the_way || (part.answered..part.operations.len()).any(expects)
}

/// Whether a value begins one of the goals of its key.
fn begins_any(goals: &Goals<'_, Bytes>, key: &Bytes, value: &[u8]) -> bool {
    let first = goals.found.partition_point(|goal| *goal < (key, Content::Bytes(value)));
    goals.found.get(first).is_some_and(
        |goal| matches!(goal, (other, Content::Bytes(goal)) if *other == key && goal.starts_with(value)),
    )
}

/// The goals, in order.
pub(super) fn goals<'h>(part: &Part<'h, Kv>) -> Goals<'h, Bytes> {
    let (answered, unknown) = part.operations.split_at(part.answered);
    let mut goals: Vec<(&Bytes, &Bytes)> = Vec::new();
    let mut refused = Vec::new();
    for operation in answered {
        match (operation.op, operation.ret) {
            (Op::Get { key } | Op::Decide { key, .. }, Some(Ret::Value(Some(value)))) => {
                goals.push((key, value));
            }
            (Op::Cas { key, expected, .. }, ret) => {
                goals.extend(expected.as_ref().map(|expected| (key, expected)));
                if ret == Some(&Ret::Swapped(false)) && !refused.contains(&key) {
                    refused.push(key);
                }
            }
            (Op::Scan { .. }, Some(Ret::Pairs(pairs))) => {
                goals.extend(pairs.iter().map(|(key, value)| (key, value)));
            }
            _ => {}
        }
    }
    goals.sort_unstable();
    goals.dedup();
    let expects = |operation: &KvOperation<'h>| match operation.op {
        Op::Cas { key, expected: Some(expected), value } => Some((key, expected, value)),
        _ => None,
    };
    let mut left: Vec<(&Bytes, &Bytes, &Bytes)> = unknown.iter().filter_map(expects).collect();
    let mut next = 0;
    while next < goals.len() {
        let (key, goal) = goals[next];
        next += 1;
        left.retain(|(other, expected, value)| {
            let leads = *other == key && contains(goal, value);
            if leads {
                goals.push((other, expected));
            }
            !leads
        });
    }
    goals.sort_unstable();
    let found = goals.into_iter().map(|(key, value)| (key, Content::Bytes(value))).collect();
    Goals { found, refused }
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
    let goals = part.goals().expect("a part with a future has no blind writes");
    let is_blind = |write: &KvOperation<'_>| match write.op {
        Op::Put { key, value } | Op::Append { key, value } | Op::Cas { key, value, .. } => {
            let is_piece = |goal: &(&Bytes, Content<'_>)| matches!(goal, (other, Content::Bytes(goal)) if *other == key && contains(goal, value));
            // A cas that is moved may find something else than it expects.
            let may_move = !matches!(write.op, Op::Cas { .. }) || !goals.refused.contains(&key);
            may_move && !value.is_empty() && !goals.found.iter().any(is_piece)
        }
        _ => false,
    };
    part.operations[part.answered..].iter().map(is_blind).collect()
}

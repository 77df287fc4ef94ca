//! Keys behind their families: all families share the tables.
//!
//! A family is one byte before the key; the last one is two, 255 and 0, so that there is a key
//! behind each family: every range has an end.

use contract::{Batch, Change, Family};

use super::memtable::{Mutation, Mutations};

const LAST: u8 = u8::MAX;

/// A key as tables know it.
pub(super) fn inner(family: Family, key: &[u8]) -> Vec<u8> {
    match family.0 {
        LAST => [&[LAST, 0], key].concat(),
        family => [&[family], key].concat(),
    }
}

/// A range as tables know it: its first key, and the first behind it. It may be empty.
pub(super) fn inner_range(family: Family, from: &[u8], to: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let end = match (to, family.0) {
        (Some(to), _) => inner(family, to),
        (None, LAST) => vec![LAST, 1],
        (None, family) => vec![family + 1],
    };
    (inner(family, from), end)
}

/// A key of a family as callers know it.
pub(super) fn outer(family: Family, key: &[u8]) -> &[u8] {
    let (prefix, key) = key.split_at(if family.0 == LAST { 2 } else { 1 });
    assert_eq!(prefix[0], family.0, "a key stands behind its family");
    key
}

/// A batch as logs and memtables know it. What deletes no key is left out.
pub(super) fn mutations(batch: Batch) -> Mutations {
    let mutation = |change| match change {
        Change::Put { family, key, value } => Some(Mutation::Key((inner(family, &key), Some(value)))),
        Change::Delete { family, key } => Some(Mutation::Key((inner(family, &key), None))),
        Change::DeleteRange { family, from, to } => {
            let (from, to) = inner_range(family, &from, to.as_deref());
            (from < to).then_some(Mutation::Range((from, to)))
        }
    };
    batch.changes.into_iter().filter_map(mutation).collect()
}

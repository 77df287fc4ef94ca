//! Batches as log-structured engines know them: keys behind their families, and how a log holds them.
//!
//! A family is one byte before the key; the last one is two, 255 and 0, so that there is a key
//! behind each family: every range has an end.
//!
//! | Batch (payload of a log's record, whose tag is the number of changes) | Bytes | |
//! |---|---|---|
//! | sequence number | 8 | batches are numbered from 1, without gaps |
//! | per change | … | key behind its length (varint), then one of: |
//! | · deletion | 1 | 0 |
//! | · deletion of a range | 1 + … | 1, the first key behind the range behind its length (varint) |
//! | · value | … | its length + 2 (varint), the value |

use contract::{Batch, Change, Family};

use crate::encoding::{Input, put_bytes, put_varint};

/// A key with its value; no value deletes it.
pub(crate) type KeyChange = (Vec<u8>, Option<Vec<u8>>);

/// A range of keys: its first, and the first behind it.
pub(crate) type KeyRange = (Vec<u8>, Vec<u8>);

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    Key(KeyChange),
    /// Deletes a range, which holds a key at least.
    Range(KeyRange),
}

impl Mutation {
    /// The value that it writes.
    pub(crate) fn value(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Key((_, value)) => value.as_ref(),
            Self::Range(_) => None,
        }
    }
}

/// The changes of a batch.
pub(crate) type Mutations = Vec<Mutation>;

const DELETION: u64 = 0;
const RANGE_DELETION: u64 = 1;
/// What is added to the length of a value.
const VALUE: u64 = 2;

const LAST: u8 = u8::MAX;

/// A key as tables know it.
pub(crate) fn inner(family: Family, key: &[u8]) -> Vec<u8> {
    match family.0 {
        LAST => [&[LAST, 0], key].concat(),
        family => [&[family], key].concat(),
    }
}

/// A range as tables know it: its first key, and the first behind it. It may be empty.
pub(crate) fn inner_range(family: Family, from: &[u8], to: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let end = match (to, family.0) {
        (Some(to), _) => inner(family, to),
        (None, LAST) => vec![LAST, 1],
        (None, family) => vec![family + 1],
    };
    assert!(end[0] >= family.0, "a range does not end before its family");
    (inner(family, from), end)
}

/// A key of a family as callers know it.
pub(crate) fn outer(family: Family, key: &[u8]) -> &[u8] {
    let (prefix, key) = key.split_at(if family.0 == LAST { 2 } else { 1 });
    assert_eq!(prefix[0], family.0, "a key stands behind its family");
    key
}

/// A batch as logs and memtables know it. What deletes no key is left out.
pub(crate) fn mutations(batch: Batch) -> Mutations {
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

/// Appends a batch to a payload; `values` is told where in `buffer` each value begins.
pub(crate) fn encode(buffer: &mut Vec<u8>, seq: u64, batch: &Mutations, mut values: impl FnMut(usize)) {
    assert!(seq > 0, "batches are numbered from 1");
    buffer.extend_from_slice(&seq.to_le_bytes());
    for mutation in batch {
        match mutation {
            Mutation::Key((key, None)) => {
                put_bytes(buffer, key);
                put_varint(buffer, DELETION);
            }
            Mutation::Key((key, Some(value))) => {
                put_bytes(buffer, key);
                put_varint(buffer, value.len() as u64 + VALUE);
                values(buffer.len());
                buffer.extend_from_slice(value);
            }
            Mutation::Range((from, to)) => {
                assert!(from < to, "a range that is deleted holds a key");
                put_bytes(buffer, from);
                put_varint(buffer, RANGE_DELETION);
                put_bytes(buffer, to);
            }
        }
    }
}

/// The batch in a payload, with its sequence number; `values` is told where in `payload` each value
/// begins.
pub(crate) fn decode(
    changes: u32,
    payload: &[u8],
    mut values: impl FnMut(usize),
) -> Option<(u64, Mutations)> {
    let mut input = Input::new(payload, 0);
    let seq = input.u64()?;
    let mut batch = Mutations::new();
    for _ in 0..changes {
        let key = input.bytes()?.to_vec();
        batch.push(match input.varint()? {
            DELETION => Mutation::Key((key, None)),
            RANGE_DELETION => {
                let to = input.bytes()?.to_vec();
                (key < to).then_some(Mutation::Range((key, to)))?
            }
            length => {
                values(input.at());
                let value = input.take(usize::try_from(length - VALUE).ok()?)?;
                Mutation::Key((key, Some(value.to_vec())))
            }
        });
    }
    assert_eq!(batch.len(), changes as usize, "a batch has as many changes as its tag says");
    input.is_empty().then_some((seq, batch))
}

//! Cells: what leaves and branches are made of.
//!
//! | Leaf cell | | Branch cell | |
//! |---|---|---|---|
//! | key's length | varint | child's page number | 4 |
//! | value's length | varint | key's length | varint |
//! | key, then value: the first bytes | … | key: its first bytes | … |
//! | first overflow page, if there is more | 4 | first overflow page, if there is more | 4 |
//!
//! A cell has in it at most as many bytes of key and value as let four cells fit into a page (see
//! [`max_local`]); what is more lies in a chain of overflow pages. Cell `i` of a branch leads to the keys at or behind its own
//! key and before that of cell `i + 1`; the first cell has no key and leads to all that come before.
//!
//! | Overflow page, behind the header | | |
//! |---|---|---|
//! | 0 | 4 | number of the next page of the chain, or 0 |
//! | 4 | … | the next bytes of key and value, as many as fit |

use crate::encoding::{Input, put_varint};

use super::page::{HEADER_BYTES, PageNo};

/// Where an overflow page's content begins.
pub(super) const OVERFLOW_HEADER: usize = HEADER_BYTES + 4;

/// How many bytes of key and value a cell has in it at most.
pub(super) fn max_local(page_bytes: usize) -> usize {
    // A quarter of the body, without the slot, two lengths and the overflow page's number.
    (page_bytes - HEADER_BYTES) / 4 - 2 - 10 - 4
}

/// A cell that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    /// Of a branch's cell; of a leaf's, none.
    pub(super) child: PageNo,
    pub(super) key_len: usize,
    pub(super) value_len: usize,
    /// The first bytes of key and value.
    pub(super) local: &'a [u8],
    /// Where the others are.
    pub(super) overflow: Option<PageNo>,
    /// Its bytes in the page.
    pub(super) size: usize,
}

impl<'a> Cell<'a> {
    /// The cell at the beginning of `bytes`.
    #[inline]
    pub(super) fn decode(leaf: bool, bytes: &'a [u8], page_bytes: usize) -> Option<Self> {
        let mut input = Input::new(bytes, 0);
        let child = if leaf { PageNo::NONE } else { PageNo(input.u32()?) };
        let key_len = input.length()?;
        let value_len = if leaf { input.length()? } else { 0 };
        let total = key_len.checked_add(value_len)?;
        let most = max_local(page_bytes);
        let local = input.take(total.min(most))?;
        let overflow = if total > most { Some(PageNo(input.u32()?)) } else { None };
        Some(Self { child, key_len, value_len, local, overflow, size: input.at() })
    }

    /// As much of the key as is in the cell.
    pub(super) fn local_key(&self) -> &'a [u8] {
        &self.local[..self.key_len.min(self.local.len())]
    }

    /// Bytes in overflow pages.
    pub(super) fn overflow_bytes(&self) -> usize {
        self.key_len + self.value_len - self.local.len()
    }
}

fn length(buffer: &mut Vec<u8>, bytes: usize) {
    // Lengths take five bytes at most, as `max_local` counts them.
    let bytes = u32::try_from(bytes).expect("keys and values are below 4 GiB");
    put_varint(buffer, u64::from(bytes));
}

/// A cell of a leaf, or of a branch if it has a child. `spill` takes what must overflow to pages and
/// says where they begin.
pub(super) fn encode(
    child: Option<PageNo>,
    key: &[u8],
    value: &[u8],
    page_bytes: usize,
    spill: impl FnOnce(&[u8]) -> PageNo,
) -> Vec<u8> {
    let most = max_local(page_bytes);
    let mut cell = Vec::with_capacity(14 + most.min(key.len() + value.len()));
    if let Some(child) = child {
        assert!(child.exists() && value.is_empty(), "a branch's cell has a child and no value");
        cell.extend_from_slice(&child.0.to_le_bytes());
    }
    length(&mut cell, key.len());
    if child.is_none() {
        length(&mut cell, value.len());
    }
    if key.len() + value.len() <= most {
        cell.extend_from_slice(key);
        cell.extend_from_slice(value);
        return cell;
    }
    let payload = [key, value].concat();
    cell.extend_from_slice(&payload[..most]);
    let first = spill(&payload[most..]);
    assert!(first.exists(), "a chain begins somewhere");
    cell.extend_from_slice(&first.0.to_le_bytes());
    cell
}

/// A branch's cell with the same key and another child.
pub(super) fn with_child(cell: &[u8], child: PageNo) -> Vec<u8> {
    assert!(child.exists(), "a branch's cell has a child");
    let mut cell = cell.to_vec();
    cell[..4].copy_from_slice(&child.0.to_le_bytes());
    cell
}

/// The first cell of a branch: it has no key.
pub(super) fn first(child: PageNo) -> Vec<u8> {
    let mut cell = child.0.to_le_bytes().to_vec();
    cell.push(0);
    cell
}

/// The shortest key that is behind `left` and not behind `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    assert!(left < right, "keys of a tree ascend");
    let shared = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    &right[..=shared]
}

//! What a register holds, in numbers: equal contents have one number.

use std::hash::{Hash, Hasher};

use crate::cache::{Table, Words};
use crate::spec::Content;

/// Contents that are known by their numbers.
pub(crate) struct Values<'a> {
    table: Table,
    contents: Vec<Content<'a>>,
    hashes: Vec<u64>,
}

impl<'a> Values<'a> {
    pub(crate) fn with_capacity(values: usize) -> Self {
        Self {
            table: Table::with_capacity(values),
            contents: Vec::with_capacity(values),
            hashes: Vec::with_capacity(values),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(crate) fn get(&self, number: u32) -> Content<'a> {
        self.contents[number as usize]
    }

    /// The number of a content, if it has one.
    pub(crate) fn find(&self, content: Content<'_>) -> Option<u32> {
        self.find_hashed(content, hash(content))
    }

    /// The number of a content, a new one if it has none.
    pub(crate) fn number(&mut self, content: Content<'a>) -> u32 {
        self.number_hashed(content, hash(content))
    }

    /// The same for a content whose [`hash`] is known.
    pub(crate) fn number_hashed(&mut self, content: Content<'a>, hash: u64) -> u32 {
        if let Some(number) = self.find_hashed(content, hash) {
            return number;
        }
        let number = u32::try_from(self.contents.len()).expect("values fit into memory");
        self.table.add(hash, number, |n| self.hashes[n as usize]);
        self.contents.push(content);
        self.hashes.push(hash);
        number
    }

    fn find_hashed(&self, content: Content<'_>, hash: u64) -> Option<u32> {
        self.table
            .find(hash, |n| self.hashes[n as usize] == hash && is_same(self.contents[n as usize], content))
    }
}

/// What is read is often the very memory that was written: then it need not be looked at.
fn is_same(a: Content<'_>, b: Content<'_>) -> bool {
    matches!((a, b), (Content::Bytes(a), Content::Bytes(b)) if std::ptr::eq(a, b)) || a == b
}

/// What [`Values`] tells contents apart by at first.
pub(crate) fn hash(content: Content<'_>) -> u64 {
    let mut hasher = Words::default();
    content.hash(&mut hasher);
    hasher.finish()
}

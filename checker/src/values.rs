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
        let hash = hash(content);
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
        self.table.find(hash, |n| self.hashes[n as usize] == hash && self.contents[n as usize] == content)
    }
}

fn hash(content: Content<'_>) -> u64 {
    let mut hasher = Words::default();
    content.hash(&mut hasher);
    hasher.finish()
}

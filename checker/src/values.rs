//! What a register holds, in numbers: equal contents have one number.

use std::hash::Hasher;

use crate::cache::{Table, Words};
use crate::spec::Content;

/// Contents that are known by their numbers.
pub(crate) struct Values<'a> {
    table: Table,
    /// Per number the content's hash, and the content.
    contents: Vec<(u64, Content<'a>)>,
}

impl<'a> Values<'a> {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), contents: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(crate) fn get(&self, number: u32) -> Content<'a> {
        self.contents[number as usize].1
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
        self.table.add(hash, number, |n| self.contents[n as usize].0);
        self.contents.push((hash, content));
        number
    }

    fn find_hashed(&self, content: Content<'_>, hash: u64) -> Option<u32> {
        self.table.find(hash, |n| {
            let (known_hash, known) = self.contents[n as usize];
            known_hash == hash && is_same(known, content)
        })
    }
}

/// What is read is often the very memory that was written: then it need not be looked at.
fn is_same(a: Content<'_>, b: Content<'_>) -> bool {
    matches!((a, b), (Content::Bytes(a), Content::Bytes(b)) if std::ptr::eq(a, b)) || a == b
}

fn hash(content: Content<'_>) -> u64 {
    let mut hasher = Words::default();
    match content {
        Content::Nothing => {}
        Content::Number(number) => hasher.write_u64(number as u64),
        Content::Bytes(bytes) => hasher.write(bytes),
    }
    hasher.finish()
}

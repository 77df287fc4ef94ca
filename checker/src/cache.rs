//! What a search has met before: states, and configurations.
//!
//! Both are hash tables of our own, because their order must not differ between two runs and
//! because what they hold is small and uniform: a state is stored once and known by its number, and
//! a configuration is a few words.

use std::hash::{Hash, Hasher};

/// A table that maps hashes to numbers of things that are kept elsewhere (open addressing, linear
/// probing, at most half full).
pub(crate) struct Table {
    slots: Vec<u32>,
    used: usize,
}

const EMPTY: u32 = u32::MAX;

impl Table {
    fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty table that grows only beyond so many numbers.
    pub(crate) fn with_capacity(numbers: usize) -> Self {
        Self { slots: vec![EMPTY; (2 * numbers).next_power_of_two().max(64)], used: 0 }
    }

    /// The number under `hash` for which `is_it` holds.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != EMPTY {
            if is_it(self.slots[at]) {
                return Some(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Adds a number that is not in the table. `hash_of` tells the hash of those that are.
    pub(crate) fn add(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        assert!(number != EMPTY, "the table is full");
        if self.used * 2 >= self.slots.len() {
            let slots = vec![EMPTY; self.slots.len() * 4];
            for number in std::mem::replace(&mut self.slots, slots) {
                if number != EMPTY {
                    self.place(hash_of(number), number);
                }
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = number;
    }
}

/// Stores each state once (hash-consing).
pub(crate) struct States<S> {
    table: Table,
    states: Vec<S>,
    hashes: Vec<u64>,
}

impl<S: PartialEq + Hash> States<S> {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), states: Vec::new(), hashes: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn get(&self, number: u32) -> &S {
        &self.states[number as usize]
    }

    /// The number of a state.
    pub(crate) fn number(&mut self, state: S) -> u32 {
        let mut hasher = Words::default();
        state.hash(&mut hasher);
        let hash = hasher.finish();
        let known = |n: u32| self.hashes[n as usize] == hash && self.states[n as usize] == state;
        if let Some(number) = self.table.find(hash, known) {
            return number;
        }
        let number = self.states.len() as u32;
        self.table.add(hash, number, |n| self.hashes[n as usize]);
        self.states.push(state);
        self.hashes.push(hash);
        number
    }
}

/// The configurations that a search has visited.
///
/// A configuration is a fixed number of words (which answered operations are placed, and the state)
/// and a set of optional operations that are used up. Of two configurations with the same words, the
/// one whose set is smaller can do all that the other can: so per words only sets are kept that are
/// no supersets of one met before.
pub(crate) struct Configurations {
    table: Table,
    width: usize,
    words: Vec<u64>,
    set_width: usize,
    newest: Vec<u32>,
    sets: Vec<u64>,
    older: Vec<u32>,
}

/// What became of a configuration that was to be visited.
pub(crate) struct Visit {
    /// Whether it can do more than those visited before.
    pub(crate) is_new: bool,
    /// With how many sets it was compared.
    pub(crate) compared: u64,
}

impl Configurations {
    pub(crate) fn new(width: usize, set_width: usize) -> Self {
        Self {
            table: Table::new(),
            width,
            words: Vec::new(),
            set_width,
            newest: Vec::new(),
            sets: Vec::new(),
            older: Vec::new(),
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Remembers a configuration.
    pub(crate) fn visit(&mut self, words: &[u64], set: &[u64]) -> Visit {
        let hash = hash_words(words);
        let width = self.width;
        let at = |n: u32| n as usize * width..(n as usize + 1) * width;
        let Some(number) = self.table.find(hash, |n| &self.words[at(n)] == words) else {
            let number = self.newest.len() as u32;
            self.table.add(hash, number, |n| hash_words(&self.words[at(n)]));
            self.words.extend_from_slice(words);
            self.newest.push(EMPTY);
            self.keep(number, set);
            return Visit { is_new: true, compared: 0 };
        };
        let mut compared = 0;
        let mut next = self.newest[number as usize];
        while next != EMPTY {
            compared += 1;
            let known = &self.sets[next as usize * self.set_width..][..self.set_width];
            if known.iter().zip(set).all(|(known, new)| known & !new == 0) {
                return Visit { is_new: false, compared };
            }
            next = self.older[next as usize];
        }
        self.keep(number, set);
        Visit { is_new: true, compared }
    }

    fn keep(&mut self, number: u32, set: &[u64]) {
        let place = self.older.len() as u32;
        assert!(place != EMPTY, "the table is full");
        self.sets.extend_from_slice(set);
        self.older.push(self.newest[number as usize]);
        self.newest[number as usize] = place;
    }
}

fn hash_words(words: &[u64]) -> u64 {
    let mut hasher = Words::default();
    for word in words {
        hasher.write_u64(*word);
    }
    hasher.finish()
}

/// A fast hash of words: multiply and fold, as in FxHash and wyhash. Nobody attacks a checker.
#[derive(Default)]
pub(crate) struct Words(u64);

/// Fewer than eight bytes as a number that is different for each. (Copied into a word they would be read
/// back before they are there, at the price of a few dozen cycles.)
fn short(bytes: &[u8]) -> u64 {
    let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("there are four"));
    let word = match bytes.len() {
        4.. => u64::from(four(0)) | u64::from(four(bytes.len() - 4)) << 32,
        0 => 0,
        length => {
            let (first, middle, last) = (bytes[0], bytes[length / 2], bytes[length - 1]);
            u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16
        }
    };
    word ^ (bytes.len() as u64) << 56
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        let wide = u128::from(self.0 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        (wide >> 64) as u64 ^ wide as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.write_u64(u64::from_le_bytes(word.try_into().expect("a chunk has eight bytes")));
        }
        self.write_u64(short(words.remainder()));
    }

    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0.rotate_left(5) ^ word ^ 0x517c_c1b7_2722_0a95) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

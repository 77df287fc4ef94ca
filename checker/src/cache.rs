//! What a search has met before: states, and configurations.
//!
//! Both are hash tables of our own, because their order must not differ between two runs and
//! because what they hold is small and uniform: a state is stored once and known by its number, and
//! a configuration is a few words.

use std::hash::Hasher;

use crate::parts::Operation;
use crate::spec::Spec;

/// A table that maps hashes to numbers of things that are kept elsewhere (open addressing, linear
/// probing, at most half full).
pub(crate) struct Table {
    slots: Vec<u32>,
    used: usize,
}

const EMPTY: u32 = u32::MAX;

impl Table {
    pub(crate) fn new() -> Self {
        Self { slots: vec![EMPTY; 64], used: 0 }
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

/// The states of an object that were met, each stored once (hash-consing), and what leads from one to the
/// other.
pub(crate) struct States<S> {
    table: Table,
    states: Vec<S>,
    hashes: Vec<u64>,
    bytes: u64,
    /// States are dear to make if they hold more than plain data. Then it is remembered what each operation
    /// led to: operations are tried in the same state again and again, while others are placed or not.
    steps: Option<Steps>,
}

impl<S: Spec> States<S> {
    pub(crate) fn new() -> Self {
        let steps = std::mem::needs_drop::<S>().then(|| Steps { table: Table::new(), known: Vec::new() });
        Self { table: Table::new(), states: Vec::new(), hashes: Vec::new(), bytes: 0, steps }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// About how many bytes all that is stored takes.
    pub(crate) fn bytes(&self) -> u64 {
        let steps = self.steps.as_ref().map_or(0, |steps| steps.known.len());
        self.bytes + STEP_BYTES * steps as u64
    }

    pub(crate) fn get(&self, number: u32) -> &S {
        &self.states[number as usize]
    }

    /// The number of a state that no operation led to, and that takes so many bytes.
    pub(crate) fn start(&mut self, state: S, bytes: u64) -> u32 {
        self.number(state, |_| bytes)
    }

    /// The state after the operation at place `at` of its part, if the object can answer so.
    pub(crate) fn after(
        &mut self,
        from: u32,
        at: u32,
        operation: &Operation<'_, S::Op, S::Ret>,
    ) -> Option<u32> {
        let Operation { op, ret, .. } = *operation;
        if S::is_read(op, ret) {
            return self.get(from).step(op, ret).map(|_| from);
        }
        let step = u64::from(from) << 32 | u64::from(at);
        if let Some(known) = self.steps.as_ref().and_then(|steps| steps.find(step)) {
            return known;
        }
        let after = self.get(from).step(op, ret).map(|after| self.number_after(after, from));
        if let Some(steps) = &mut self.steps {
            steps.add(step, after);
        }
        after
    }

    fn number_after(&mut self, state: S, from: u32) -> u32 {
        self.number(state, |this| {
            let (before, after) = (this.get(from), &this.states[this.states.len() - 1]);
            after.bytes_beyond(before) as u64
        })
    }

    fn number(&mut self, state: S, bytes: impl FnOnce(&Self) -> u64) -> u32 {
        let mut hasher = Words::default();
        state.hash(&mut hasher);
        let hash = hasher.finish();
        let is_it = |n: u32| self.hashes[n as usize] == hash && self.states[n as usize] == state;
        if let Some(number) = self.table.find(hash, is_it) {
            return number;
        }
        let number = self.states.len() as u32;
        self.table.add(hash, number, |n| self.hashes[n as usize]);
        self.states.push(state);
        self.hashes.push(hash);
        self.bytes += bytes(self);
        number
    }
}

/// What operations led to: per state and operation the next state, or none.
struct Steps {
    table: Table,
    known: Vec<(u64, u32)>,
}

/// About how many bytes one remembered step takes.
const STEP_BYTES: u64 = 32;

impl Steps {
    fn find(&self, step: u64) -> Option<Option<u32>> {
        let found = self.table.find(hash_words(&[step]), |n| self.known[n as usize].0 == step)?;
        let (_, after) = self.known[found as usize];
        Some((after != EMPTY).then_some(after))
    }

    fn add(&mut self, step: u64, after: Option<u32>) {
        let number = self.known.len() as u32;
        self.table.add(hash_words(&[step]), number, |n| hash_words(&[self.known[n as usize].0]));
        self.known.push((step, after.unwrap_or(EMPTY)));
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

    /// Whether a configuration with these words was visited.
    pub(crate) fn contains(&self, words: &[u64]) -> bool {
        self.number(hash_words(words), words).is_some()
    }

    fn number(&self, hash: u64, words: &[u64]) -> Option<u32> {
        self.table.find(hash, |n| &self.words[n as usize * self.width..][..self.width] == words)
    }

    /// Remembers a configuration.
    pub(crate) fn visit(&mut self, words: &[u64], set: &[u64]) -> Visit {
        let hash = hash_words(words);
        let width = self.width;
        let Some(number) = self.number(hash, words) else {
            let number = self.newest.len() as u32;
            self.table.add(hash, number, |n| hash_words(&self.words[n as usize * width..][..width]));
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

/// Fewer than eight bytes as a number that is different for each: the bytes, and behind them how many. (Copied into a word they would be read
/// back before they are there, at the price of a few dozen cycles.)
fn short(bytes: &[u8]) -> u64 {
    let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("there are four"));
    let word = match bytes.len() {
        length @ 4.. => u64::from(four(0)) | u64::from(four(length - 4)) >> (8 * (8 - length)) << 32,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::Hasher;

    use super::{Configurations, STEP_BYTES, States, Steps, Table, Words, hash_words};
    use crate::models::kv::Kv;

    #[test]
    fn a_table_stays_at_most_half_full() {
        let mut table = Table::new();
        for number in 0..10_000 {
            let hash = |number: u32| hash_words(&[u64::from(number)]);
            table.add(hash(number), number, hash);
            assert!(table.used * 2 <= table.slots.len(), "{} of {}", table.used, table.slots.len());
            assert_eq!(table.find(hash(number), |other| other == number), Some(number));
        }
        assert!(table.slots.len() < 100_000, "{} slots", table.slots.len());
    }

    /// Of a good hash the highest and the lowest bits alone tell most things apart.
    fn assert_spread(hashes: &[u64]) {
        let all: BTreeSet<u64> = hashes.iter().copied().collect();
        assert_eq!(all.len(), hashes.len(), "of so few no two have the same");
        for shift in [0, 52] {
            // Of as many places as there are hashes, chance leaves out about one in three.
            let places = hashes.len() as u64;
            let used: BTreeSet<u64> =
                hashes.iter().map(|hash| (hash >> shift) % 4096 * places / 4096).collect();
            assert!(used.len() * 2 > hashes.len(), "{} of {} places are used", used.len(), hashes.len());
        }
    }

    #[test]
    fn hashes_tell_things_apart() {
        let of_bytes = |bytes: &[u8]| {
            let mut hasher = Words::default();
            hasher.write(bytes);
            hasher.finish()
        };
        let of_number = |number: usize| {
            let mut hasher = Words::default();
            hasher.write_usize(number);
            hasher.finish()
        };
        assert_spread(&(0..2_000).map(of_number).collect::<Vec<u64>>());
        assert_spread(&(0..2_000).map(|number| of_number(number << 40)).collect::<Vec<u64>>());
        assert_spread(
            &(0..2_000).map(|number| hash_words(&[number % 40, number / 40])).collect::<Vec<u64>>(),
        );
        // Texts of each length in which one byte differs.
        let mut texts = Vec::new();
        for length in 0..20 {
            texts.push(vec![0; length]);
            for at in 0..length {
                for byte in [1, 2, 128, 255] {
                    let mut text = vec![0; length];
                    text[at] = byte;
                    texts.push(text);
                }
            }
        }
        assert_spread(&texts.iter().map(|text| of_bytes(text)).collect::<Vec<u64>>());
    }

    #[test]
    fn bytes_are_those_of_states_and_of_steps() {
        let mut states = States::new();
        let put = |value: &str| contract::kv::Op::Put { key: "k".into(), value: value.into() };
        let (a, b) = (put("a"), put("b"));
        let first = states.start(Kv::default(), 100);
        assert_eq!((states.len(), states.bytes()), (1, 100));
        let history = {
            let mut history = contract::History::<_, contract::kv::Ret>::default();
            history.invoke(contract::Time(1), contract::ClientId(1), a);
            history.invoke(contract::Time(1), contract::ClientId(2), b);
            history
        };
        let operations = crate::parts::operations(&history).expect("well formed");
        let second = states.after(first, 0, &operations[0]).expect("a put fits");
        let beyond = states.bytes() - 100 - STEP_BYTES;
        assert_eq!(beyond, 64 + 16 + 1, "the state itself, a place for its value, and that");
        assert_eq!(states.after(first, 0, &operations[0]), Some(second), "it is remembered");
        assert_eq!((states.len(), states.bytes()), (2, 100 + beyond + STEP_BYTES), "nothing is new");
        states.after(second, 1, &operations[1]).expect("a put fits");
        assert_eq!((states.len(), states.bytes()), (3, 100 + 2 * beyond + 2 * STEP_BYTES));
    }

    #[test]
    fn steps_are_remembered() {
        let mut steps = Steps { table: Table::new(), known: Vec::new() };
        assert_eq!(steps.find(7), None);
        steps.add(7, Some(3));
        steps.add(1 << 32 | 7, None);
        assert_eq!(
            (steps.find(7), steps.find(1 << 32 | 7), steps.find(8)),
            (Some(Some(3)), Some(None), None)
        );
    }

    #[test]
    fn what_uses_up_more_is_nothing_new() {
        let mut visited = Configurations::new(2, 1);
        let mut visit = |words: [u64; 2], set: u64| {
            let visit = visited.visit(&words, &[set]);
            (visit.is_new, visit.compared)
        };
        assert_eq!(visit([1, 2], 0b110), (true, 0));
        assert_eq!(visit([1, 2], 0b111), (false, 1));
        assert_eq!(visit([1, 2], 0b011), (true, 1));
        assert_eq!(visit([1, 2], 0b111), (false, 1), "the newest is compared first");
        assert_eq!(visit([1, 2], 0b110), (false, 2));
        assert_eq!(visit([2, 2], 0b111), (true, 0));
        assert!(visited.contains(&[1, 2]) && visited.contains(&[2, 2]) && !visited.contains(&[2, 1]));
    }
}

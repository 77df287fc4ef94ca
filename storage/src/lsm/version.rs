//! Which tables make up the store at one moment.
//!
//! Level 0 holds what memtables became: tables whose ranges overlap, oldest first. On every other
//! level ranges are disjoint and tables stand in key order. What stands on a higher level number is
//! older. A version never changes; readers keep the one they began with.
//!
//! Leveled compaction fills a few levels up to the deepest; tiered compaction needs a level for each run.

use std::rc::Rc;

use contract::{EngineError, Fs};

use super::cache::BlockCache;
use super::table::{Table, TableMeta, filter_hash};

/// How many levels there are: the runs of a tiered store with a fanout of ten and ten million memtables.
pub(super) const LEVELS: usize = 64;

pub(super) struct Version<F: Fs> {
    levels: Vec<Vec<Rc<Table<F>>>>,
    /// The levels below level 0 that have tables, from the top.
    deeper: Vec<usize>,
}

/// What a flush or a compaction does to a version. A table that moves to another level is both
/// removed and added.
pub(super) struct Change<F: Fs> {
    pub(super) removed: Vec<u64>,
    pub(super) added: Vec<(usize, Rc<Table<F>>)>,
}

impl<F: Fs> Version<F> {
    pub(super) fn empty() -> Self {
        Self { levels: (0..LEVELS).map(|_| Vec::new()).collect(), deeper: Vec::new() }
    }

    pub(super) fn with(&self, change: &Change<F>) -> Self {
        let mut levels = self.levels.clone();
        let before: usize = levels.iter().map(Vec::len).sum();
        for level in &mut levels {
            level.retain(|table| !change.removed.contains(&table.meta.number));
        }
        let after: usize = levels.iter().map(Vec::len).sum();
        assert_eq!(before - after, change.removed.len(), "what is removed was there");
        for (level, table) in &change.added {
            assert!(table.meta.smallest < table.meta.end, "a range runs upward");
            levels[*level].push(Rc::clone(table));
        }
        levels[0].sort_by_key(|table| table.meta.number);
        for level in &mut levels[1..] {
            level.sort_by(|a, b| a.meta.smallest.cmp(&b.meta.smallest));
        }
        let deeper = (1..LEVELS).filter(|level| !levels[*level].is_empty()).collect();
        let version = Self { levels, deeper };
        version.check();
        version
    }

    fn check(&self) {
        assert!(
            self.levels[0].is_sorted_by(|a, b| a.meta.number < b.meta.number),
            "a later table of level 0 has a higher number"
        );
        for level in &self.levels[1..] {
            assert!(
                level.is_sorted_by(|a, b| a.meta.end <= b.meta.smallest),
                "below level 0 the ranges of tables are disjoint"
            );
        }
    }

    pub(super) fn levels(&self) -> &[Vec<Rc<Table<F>>>] {
        &self.levels
    }

    /// The levels below level 0 that have tables, from the top.
    fn runs(&self) -> impl Iterator<Item = &[Rc<Table<F>>]> {
        self.deeper.iter().map(|level| self.levels[*level].as_slice())
    }

    /// All tables with their levels.
    pub(super) fn tables(&self) -> impl Iterator<Item = (usize, &Rc<Table<F>>)> {
        self.levels.iter().enumerate().flat_map(|(level, tables)| tables.iter().map(move |t| (level, t)))
    }

    pub(super) fn metas(&self) -> Vec<Vec<&TableMeta>> {
        self.levels.iter().map(|level| level.iter().map(|table| &table.meta).collect()).collect()
    }

    /// The tables of these numbers, in the order of `numbers`.
    pub(super) fn find(&self, numbers: &[u64]) -> Vec<Rc<Table<F>>> {
        let find = |number: &u64| {
            let mut tables = self.tables().map(|(_, table)| table);
            Rc::clone(tables.find(|table| table.meta.number == *number).expect("a chosen table exists"))
        };
        numbers.iter().map(find).collect()
    }

    /// The value of a key: the newest table that knows it decides.
    pub(super) async fn get(&self, key: &[u8], cache: &BlockCache) -> Result<Option<Vec<u8>>, EngineError> {
        let hash = filter_hash(key);
        for table in self.levels[0].iter().rev() {
            if let Some(found) = table.get(key, hash, cache).await? {
                return Ok(found);
            }
        }
        for level in self.runs() {
            let place = level.partition_point(|table| table.meta.end.as_slice() <= key);
            let Some(table) = level.get(place) else { continue };
            if let Some(found) = table.get(key, hash, cache).await? {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

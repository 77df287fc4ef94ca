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
    /// What readers ask, newest first: each table of level 0 by itself, and the deeper levels that have tables.
    runs: Vec<Rc<Run<F>>>,
}

/// Tables in key order whose ranges are disjoint.
pub(super) struct Run<F: Fs> {
    pub(super) tables: Vec<Rc<Table<F>>>,
    /// Whether one of them has a range tombstone.
    pub(super) has_ranges: bool,
}

impl<F: Fs> Run<F> {
    pub(super) fn new(tables: Vec<Rc<Table<F>>>) -> Self {
        assert!(
            tables.is_sorted_by(|a, b| a.meta.end <= b.meta.smallest),
            "tables that are read in sequence stand in key order"
        );
        let has_ranges = tables.iter().any(|table| !table.ranges().is_empty());
        Self { tables, has_ranges }
    }

    /// The only table that may know a key; it tells itself whether its range holds it.
    fn table_of(&self, key: &[u8]) -> Option<&Table<F>> {
        let place = match self.tables.len() {
            1 => 0,
            _ => self.tables.partition_point(|table| table.meta.end.as_slice() <= key),
        };
        self.tables.get(place).map(|table| &**table)
    }
}

/// What a flush or a compaction does to a version. A table that moves to another level is both
/// removed and added.
pub(super) struct Change<F: Fs> {
    pub(super) removed: Vec<u64>,
    pub(super) added: Vec<(usize, Rc<Table<F>>)>,
}

impl<F: Fs> Version<F> {
    pub(super) fn empty() -> Self {
        Self { levels: (0..LEVELS).map(|_| Vec::new()).collect(), runs: Vec::new() }
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
            assert!(*level < LEVELS, "a table hangs on a level that exists");
            assert!(table.meta.smallest < table.meta.end, "a range runs upward");
            levels[*level].push(Rc::clone(table));
        }
        levels[0].sort_by_key(|table| table.meta.number);
        for level in &mut levels[1..] {
            level.sort_by(|a, b| a.meta.smallest.cmp(&b.meta.smallest));
        }
        let single = levels[0].iter().rev().map(|table| vec![Rc::clone(table)]);
        let deeper = levels[1..].iter().filter(|level| !level.is_empty()).cloned();
        let runs = single.chain(deeper).map(Run::new).map(Rc::new).collect();
        let version = Self { levels, runs };
        assert_eq!(version.tables().count(), after + change.added.len(), "what is added is there");
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

    /// What readers ask, newest first.
    pub(super) fn runs(&self) -> &[Rc<Run<F>>] {
        &self.runs
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
        for run in &self.runs {
            let Some(table) = run.table_of(key) else { continue };
            if let Some(found) = table.get(key, hash, cache).await? {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

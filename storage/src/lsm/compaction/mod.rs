//! What to compact next: a pure function of the levels, without I/O.
//!
//! A *run* is a sequence of tables in key order without overlaps: each table of level 0 by itself,
//! and each deeper level. A compaction merges runs of consecutive age into one; so what is newer
//! always stands above what is older.

mod leveled;
mod tiered;

use contract::Bug;

use super::table::TableMeta;
use super::{Compaction, LsmOptions};

/// Runs that are to become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Numbers of tables per run, the newest run first, the smallest table first.
    pub(super) runs: Vec<Vec<u64>>,
    /// The level that takes them.
    pub(super) output: usize,
    /// Whether a deeper level may hold a key of the range, which only a tombstone hides.
    pub(super) keep_tombstones: bool,
    /// Whether it is enough to hang the table there.
    pub(super) is_move: bool,
}

impl Choice {
    /// The numbers of all tables that it takes.
    pub(super) fn inputs(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flatten().copied()
    }
}

/// The most urgent compaction, if any is due.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    assert!(levels.len() > 1, "there is a level to compact into");
    let mut choice = match options.compaction {
        Compaction::Leveled => leveled::pick(levels, options),
        Compaction::Tiered => tiered::pick(levels, options),
    };
    if options.bugs.has(Bug::TombstoneDroppedEarly) {
        choice.iter_mut().for_each(|choice| choice.keep_tombstones = false);
    }
    choice
}

/// The choice of these runs, newest first. Below `output` nothing of them remains.
fn choice(levels: &[Vec<&TableMeta>], runs: &[Vec<&TableMeta>], output: usize) -> Choice {
    let (smallest, end) = hull(runs.iter().flatten()).expect("a compaction has inputs");
    let deeper = levels[output + 1..].iter();
    let keep_tombstones = deeper.into_iter().any(|level| overlapping(level, smallest, end).next().is_some());
    let only = match runs {
        [run] if run.len() == 1 => Some(run[0]),
        _ => None,
    };
    Choice {
        runs: runs.iter().map(|run| run.iter().map(|table| table.number).collect()).collect(),
        output,
        keep_tombstones,
        // Tombstones that hide nothing any more go with a rewrite only.
        is_move: only.is_some_and(|table| keep_tombstones || table.tombstones == 0),
    }
}

fn bytes<'a>(tables: impl IntoIterator<Item = &'a &'a TableMeta>) -> u64 {
    tables.into_iter().map(|table| table.bytes).sum()
}

/// The smallest key of tables, and one behind their largest.
fn hull<'a>(tables: impl Iterator<Item = &'a &'a TableMeta>) -> Option<(&'a [u8], &'a [u8])> {
    let ranges = tables.map(|table| (table.smallest.as_slice(), table.end.as_slice()));
    ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// The tables of a level that share a key with a range.
fn overlapping<'a>(
    level: &[&'a TableMeta],
    smallest: &[u8],
    end: &[u8],
) -> impl Iterator<Item = &'a TableMeta> {
    assert!(smallest < end, "a range runs upward");
    level
        .iter()
        .copied()
        .filter(move |table| table.smallest.as_slice() < end && smallest < table.end.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of keys of one letter.
    fn table(number: u64, range: &str, bytes: u64, tombstones: u64) -> TableMeta {
        let (smallest, largest) = range.split_once("..").expect("a range");
        let end = [largest.as_bytes(), &[0]].concat();
        TableMeta { number, bytes, tombstones, smallest: smallest.into(), end }
    }

    pub(super) type Level<'a> = &'a [(u64, &'a str, u64)];

    /// Levels of (number, range, bytes) against 2 tables on level 0 and 100 bytes on the base.
    pub(super) fn picked(compaction: Compaction, levels: &[Level<'_>]) -> Option<Choice> {
        picked_with(compaction, levels, 0)
    }

    /// The same, where each table has so many tombstones.
    pub(super) fn picked_with(
        compaction: Compaction,
        levels: &[Level<'_>],
        tombstones: u64,
    ) -> Option<Choice> {
        let of = |level: &Level<'_>| -> Vec<_> {
            level.iter().map(|(number, range, bytes)| table(*number, range, *bytes, tombstones)).collect()
        };
        let tables: Vec<Vec<TableMeta>> = levels.iter().map(of).collect();
        let mut metas: Vec<Vec<&TableMeta>> = tables.iter().map(|level| level.iter().collect()).collect();
        metas.resize(5, Vec::new());
        let options = LsmOptions {
            memtable_bytes: 10,
            l0_tables: 2,
            level_bytes: 100,
            fanout: if compaction == Compaction::Leveled { 10 } else { 3 },
            compaction,
            ..LsmOptions::default()
        };
        pick(&metas, &options)
    }
}

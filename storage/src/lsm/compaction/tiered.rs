//! Size-tiered compaction: runs of similar size become one (the lazy end of the trade-off in Dayan et
//! al., 2018; as in Cassandra's size-tiered and RocksDB's universal compaction).
//!
//! A run is of tier 0 if it is about as large as a memtable, and of a tier deeper for each time that it is
//! larger by the fanout. As many runs of one tier as the fanout become one of the next; of tier 0, as many as
//! level 0 may have tables. So each byte is written about once per tier, where leveled compaction rewrites it
//! up to a fanout of times per level, and a read asks more runs.

use super::{Choice, bytes, choice};
use crate::lsm::LsmOptions;
use crate::lsm::table::TableMeta;

/// Tables in key order, and the level where they are.
struct Run<'a> {
    tables: Vec<&'a TableMeta>,
    level: usize,
    tier: u32,
}

/// The runs, newest first.
fn runs<'a>(levels: &[Vec<&'a TableMeta>], options: &LsmOptions) -> Vec<Run<'a>> {
    let newest = levels[0].iter().rev().map(|table| (0, vec![*table]));
    let deeper = levels.iter().enumerate().skip(1).filter(|(_, tables)| !tables.is_empty());
    let run = |(level, tables): (usize, Vec<&'a TableMeta>)| {
        let tier = tier(bytes(&tables), options);
        Run { tables, level, tier }
    };
    newest.chain(deeper.map(|(level, tables)| (level, tables.clone()))).map(run).collect()
}

/// Twice a memtable still counts as one: its keys are sorted, but its filter and index come on top.
fn tier(bytes: u64, options: &LsmOptions) -> u32 {
    let mut largest = options.memtable_bytes as u64 * 2;
    let mut tier = 0;
    while bytes > largest {
        largest = largest.saturating_mul(options.fanout);
        tier += 1;
    }
    tier
}

/// The runs of the lowest tier that has too many, if any has.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    let runs = runs(levels, options);
    let deepest = runs.iter().map(|run| run.tier).max()?;
    let due = (0..=deepest).find_map(|tier| {
        let most = if tier == 0 { options.l0_tables } else { options.fanout as usize };
        too_many(&runs, tier, most.max(2))
    });
    let l0_tables = levels[0].len();
    let too_many_tables = || (l0_tables >= options.l0_tables * 2).then_some((0, l0_tables));
    let (first, end) = due.or_else(too_many_tables)?;
    let (end, output) = place(&runs, first, end, levels.len());
    let inputs: Vec<_> = runs[first..end].iter().map(|run| run.tables.clone()).collect();
    assert!(
        levels[output].iter().all(|table| inputs.concat().contains(table)),
        "a level takes a run if it is free"
    );
    Some(choice(levels, &inputs, output))
}

/// Which runs of consecutive age, with no larger one among them, are `most` or more of a tier. Smaller ones
/// between them go along.
fn too_many(runs: &[Run<'_>], tier: u32, most: usize) -> Option<(usize, usize)> {
    let mut end = 0;
    runs.split(|run| run.tier > tier).find_map(|stretch| {
        end += stretch.len() + 1;
        let smaller = stretch.iter().take_while(|run| run.tier < tier).count();
        let count = stretch.iter().filter(|run| run.tier == tier).count();
        (count >= most).then_some((end - 1 - stretch.len() + smaller, end - 1))
    })
}

/// Where the runs from `first` to `end` go, and with which older ones: to the deepest level that is free
/// then. Right above an older run at level 1, or on level 0, there is none, so that it has to take part.
fn place(runs: &[Run<'_>], first: usize, mut end: usize, levels: usize) -> (usize, usize) {
    assert!(first < end, "runs that become one are there");
    while runs.get(end).is_some_and(|older| older.level < 2) {
        end += 1;
    }
    (end, runs.get(end).map_or(levels, |older| older.level) - 1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Level, picked};
    use crate::lsm::Compaction;

    fn choice_of(levels: &[Level<'_>]) -> Option<(Vec<Vec<u64>>, usize, bool)> {
        picked(Compaction::Tiered, levels).map(|choice| {
            assert!(!choice.is_move, "runs are merged");
            (choice.runs, choice.output, choice.keep_tombstones)
        })
    }

    // Memtables have 10 bytes here, level 0 at most 2 tables, and every deeper tier at most 3 runs.
    const L0: Level<'_> = &[(8, "a..c", 10), (9, "b..d", 10)];

    #[test]
    fn level_0_goes_to_the_deepest_free_level() {
        assert_eq!(choice_of(&[&L0[..1]]), None);
        assert_eq!(choice_of(&[L0]), Some((vec![vec![9], vec![8]], 4, false)));
        let behind: &[Level<'_>] = &[L0, &[], &[], &[(1, "a..z", 21)]];
        assert_eq!(choice_of(behind), Some((vec![vec![9], vec![8]], 2, true)));
    }

    #[test]
    fn as_many_runs_of_a_tier_as_the_fanout_become_one() {
        let (l1, l2, l3): (Level<'_>, Level<'_>, Level<'_>) =
            (&[(4, "a..b", 30)], &[(2, "a..b", 20), (3, "x..z", 20)], &[(1, "a..z", 50)]);
        assert_eq!(choice_of(&[&L0[..1], &[], l2, l3]), None, "two are not enough");
        let all = vec![vec![4], vec![2, 3], vec![1]];
        assert_eq!(choice_of(&[&L0[..1], l1, l2, l3]), Some((all.clone(), 4, false)));
        let larger: Level<'_> = &[(0, "a..z", 61)];
        assert_eq!(choice_of(&[&L0[..1], l1, l2, l3, larger]), Some((all, 3, true)));
    }

    #[test]
    fn the_lowest_tier_goes_first() {
        let (l2, l3, l4): (Level<'_>, Level<'_>, Level<'_>) =
            (&[(3, "a..b", 30)], &[(2, "a..z", 40)], &[(1, "a..z", 50)]);
        assert_eq!(choice_of(&[L0, &[], l2, l3, l4]), Some((vec![vec![9], vec![8]], 1, true)));
    }

    #[test]
    fn a_smaller_run_between_takes_part() {
        let (l1, l2, l3, l4): (Level<'_>, Level<'_>, Level<'_>, Level<'_>) =
            (&[(5, "a..b", 30)], &[(3, "a..b", 5)], &[(2, "a..z", 40)], &[(1, "a..z", 50)]);
        let all = vec![vec![5], vec![3], vec![2], vec![1]];
        assert_eq!(choice_of(&[&[], l1, l2, l3, l4]), Some((all, 4, false)));
    }

    #[test]
    fn a_large_memtable_stands_apart() {
        let l0: Level<'_> = &[(6, "a..b", 9), (7, "a..z", 500), (8, "a..c", 10), (9, "b..d", 10)];
        assert_eq!(choice_of(&[&l0[..3]]), None);
        let all = vec![vec![9], vec![8], vec![7], vec![6]];
        assert_eq!(choice_of(&[l0]), Some((all, 4, false)), "on level 0 there is no place above it");
        let behind: Level<'_> = &[(5, "a..c", 10), (6, "a..b", 9), (7, "a..z", 500)];
        assert_eq!(choice_of(&[behind]), Some((vec![vec![6], vec![5]], 4, false)));
    }

    #[test]
    fn a_large_run_right_below_has_to_take_part() {
        let l1: Level<'_> = &[(5, "a..z", 500)];
        assert_eq!(choice_of(&[L0, l1]), Some((vec![vec![9], vec![8], vec![5]], 4, false)));
    }
}

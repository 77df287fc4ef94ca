//! Size-tiered compaction: runs of similar size become one (the lazy end of the trade-off in Dayan et
//! al., 2018; as in Cassandra's size-tiered and RocksDB's universal compaction).
//!
//! Level 0 is due at a number of tables. All of them are merged, and with them each run below that is
//! not larger than what was gathered above it. So runs at least double from level to level; a byte is
//! rewritten about once per doubling, where leveled compaction rewrites it up to ten times per level,
//! and a read asks more runs.

use super::{Choice, bytes, choice};
use crate::lsm::LsmOptions;
use crate::lsm::table::TableMeta;

/// The compaction of level 0, if it is due.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    if levels[0].len() < options.l0_tables {
        return None;
    }
    let mut runs: Vec<Vec<&TableMeta>> = levels[0].iter().rev().map(|table| vec![*table]).collect();
    let mut gathered = bytes(&levels[0]);
    let mut output = levels.len() - 1;
    for (level, tables) in levels.iter().enumerate().skip(1).filter(|(_, tables)| !tables.is_empty()) {
        // Above the run of level 1 there is no room but in it.
        if bytes(tables) > gathered && level > 1 {
            output = level - 1;
            break;
        }
        gathered += bytes(tables);
        runs.push(tables.clone());
    }
    assert!(output > 0, "nothing goes back to level 0");
    assert!(
        levels[output].iter().all(|table| runs.concat().contains(table)),
        "a level takes a run if it is free"
    );
    Some(choice(levels, &runs, output))
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

    const L0: Level<'_> = &[(8, "a..c", 10), (9, "b..d", 10)];

    #[test]
    fn level_0_goes_to_the_deepest_free_level() {
        assert_eq!(choice_of(&[&L0[..1]]), None);
        assert_eq!(choice_of(&[L0]), Some((vec![vec![9], vec![8]], 4, false)));
        assert_eq!(choice_of(&[L0, &[], &[], &[(1, "a..z", 21)]]), Some((vec![vec![9], vec![8]], 2, true)));
    }

    #[test]
    fn runs_that_are_no_larger_are_taken_along() {
        let (l2, l3, l4): (Level<'_>, Level<'_>, Level<'_>) =
            (&[(3, "a..b", 10), (4, "x..z", 10)], &[(2, "a..z", 40)], &[(1, "a..z", 81)]);
        let all_but_the_last = vec![vec![9], vec![8], vec![3, 4], vec![2]];
        assert_eq!(choice_of(&[L0, &[], l2, l3, l4]), Some((all_but_the_last, 3, true)));
        assert_eq!(
            choice_of(&[L0, &[], l2, &[(2, "a..z", 41)], l4]),
            Some((vec![vec![9], vec![8], vec![3, 4]], 2, true))
        );
    }

    #[test]
    fn a_large_run_right_below_has_to_take_part() {
        let l1: Level<'_> = &[(5, "a..z", 500)];
        assert_eq!(choice_of(&[L0, l1]), Some((vec![vec![9], vec![8], vec![5]], 4, false)));
    }
}

//! Leveled compaction (O'Neil et al., 1996; as in LevelDB).
//!
//! Level 0 is due at a number of tables, a deeper one at a number of bytes that grows tenfold from
//! level to level. The level that is furthest beyond its due goes first. From level 0 the oldest
//! tables go down together, since their ranges overlap; from a deeper level the table that drags the
//! fewest bytes of the next level along.

use super::{Choice, bytes, choice, hull, overlapping};
use crate::lsm::LsmOptions;
use crate::lsm::table::TableMeta;

/// How much more a level may hold than the one above it.
const FANOUT: u64 = 10;

/// The most urgent compaction, if any is due.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    // In thousandths of what is allowed; of equals the upper level goes first.
    let urgency = |level: usize| match level {
        0 => levels[0].len() as u64 * 1000 / options.l0_tables as u64,
        _ => bytes(&levels[level]) * 1000 / allowed_bytes(level, options),
    };
    let level = (0..levels.len() - 1).rev().max_by_key(|level| urgency(*level))?;
    if urgency(level) < 1000 {
        return None;
    }
    let mut runs: Vec<Vec<&TableMeta>> = if level == 0 {
        let oldest = &levels[0][..levels[0].len().min(options.l0_tables * 2)];
        oldest.iter().rev().map(|table| vec![*table]).collect()
    } else {
        vec![vec![cheapest(&levels[level], &levels[level + 1])]]
    };
    let (smallest, end) = hull(runs.iter().flatten()).expect("a level that is due has tables");
    let overlaps: Vec<_> = overlapping(&levels[level + 1], smallest, end).collect();
    if !overlaps.is_empty() {
        runs.push(overlaps);
    }
    Some(choice(levels, &runs, level + 1))
}

fn allowed_bytes(level: usize, options: &LsmOptions) -> u64 {
    (1..level).fold(options.level_bytes, |bytes, _| bytes.saturating_mul(FANOUT))
}

fn cheapest<'a>(level: &[&'a TableMeta], next: &[&TableMeta]) -> &'a TableMeta {
    let cost = |table: &&&TableMeta| {
        let dragged: u64 = overlapping(next, &table.smallest, &table.end).map(|t| t.bytes).sum();
        (dragged * 1000 / table.bytes, table.number)
    };
    level.iter().min_by_key(cost).expect("a level that is due has tables")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Level, picked, picked_with};
    use super::*;
    use crate::lsm::Compaction::Leveled;

    /// Newest first, as a choice has them.
    fn choice(runs: &[&[u64]], output: usize, keep_tombstones: bool) -> Option<Choice> {
        let runs: Vec<_> = runs.iter().map(|run| run.to_vec()).collect();
        let is_move = runs.len() == 1 && runs[0].len() == 1;
        Some(Choice { runs, output, keep_tombstones, is_move })
    }

    #[test]
    fn nothing_is_due_below_the_limits() {
        assert_eq!(picked(Leveled, &[&[(1, "a..z", 500)], &[(2, "a..m", 99)], &[(3, "a..z", 999)]]), None);
    }

    #[test]
    fn level_0_goes_down_oldest_first_with_all_it_overlaps() {
        let l0: Level<'_> = &[(4, "a..c", 9), (5, "f..g", 9), (6, "b..d", 9), (7, "x..z", 9), (8, "m..n", 9)];
        let l1: Level<'_> = &[(1, "a..b", 9), (2, "g..h", 9), (3, "y..z", 9)];
        assert_eq!(picked(Leveled, &[l0, l1]), choice(&[&[7], &[6], &[5], &[4], &[1, 2, 3]], 1, false));
        assert_eq!(picked(Leveled, &[&l0[..2], l1]), choice(&[&[5], &[4], &[1, 2]], 1, false));
    }

    #[test]
    fn the_level_furthest_beyond_its_limit_goes_first() {
        let l0: Level<'_> = &[(4, "a..c", 9), (5, "a..c", 9)];
        assert_eq!(picked(Leveled, &[l0, &[(1, "a..b", 201)]]), choice(&[&[1]], 2, false));
        let equal = picked(Leveled, &[l0, &[(1, "a..b", 100)]]);
        assert_eq!(equal.map(|c| c.output), Some(1), "of equals the upper one");
    }

    #[test]
    fn the_table_that_drags_least_along_is_chosen() {
        let l1: Level<'_> = &[(1, "a..f", 60), (2, "g..m", 60), (3, "n..p", 60)];
        let l2: Level<'_> = &[(4, "a..h", 50), (5, "i..m", 50), (6, "p..q", 20)];
        assert_eq!(picked(Leveled, &[&[], l1, l2]), choice(&[&[3], &[6]], 2, false));
    }

    #[test]
    fn tombstones_stay_while_something_deeper_may_hold_their_keys() {
        let l1: Level<'_> = &[(1, "c..d", 100)];
        let l2: Level<'_> = &[(2, "a..c", 50)];
        let kept = |deeper: &[Level<'_>]| picked(Leveled, &[&[&[], l1, l2], deeper].concat());
        assert_eq!(kept(&[&[(3, "a..b", 9)]]), choice(&[&[1], &[2]], 2, true));
        assert_eq!(kept(&[&[(3, "e..f", 9)]]), choice(&[&[1], &[2]], 2, false));
        assert_eq!(kept(&[&[], &[(3, "b..c", 9)]]), choice(&[&[1], &[2]], 2, true));
    }

    #[test]
    fn a_table_that_overlaps_nothing_moves_unless_its_tombstones_can_go() {
        let levels: &[Level<'_>] = &[&[], &[(1, "a..b", 100)], &[(2, "c..d", 5)]];
        let moves = |tombstones| picked_with(Leveled, levels, tombstones).map(|choice| choice.is_move);
        assert_eq!((moves(0), moves(1)), (Some(true), Some(false)));
        let deeper: &[Level<'_>] = &[&[], &[(1, "a..b", 100)], &[], &[(2, "a..d", 5)]];
        assert_eq!(picked_with(Leveled, deeper, 1).map(|choice| choice.is_move), Some(true));
    }
}

//! Leveled compaction (O'Neil et al., 1996; as in LevelDB), with levels that follow the deepest one (as in
//! RocksDB).
//!
//! The deepest level holds whatever there is. The one above it may hold a fanout less, and so on up to
//! the *base*, the first that may hold no more than `level_bytes`. So the levels above the deepest hold a
//! fixed share of it, however much that is: 1/9 at a fanout of ten. Level 0 goes down to the base. What is left
//! between the two, where a store has shrunk, goes down first.
//!
//! Level 0 is due at a number of tables, a deeper one at a number of bytes. The level that is furthest
//! beyond its due goes first. From level 0 the oldest tables go down together, since their ranges overlap; from
//! a deeper level the table that drags the fewest bytes of the next level along.

use super::{Choice, bytes, choice, hull, overlapping};
use crate::lsm::LsmOptions;
use crate::lsm::table::TableMeta;

/// The deepest level, unless there is something below it: a store that was tiered has runs there.
const DEEPEST: usize = 6;

/// How much each level may hold; level 0 and the deepest level have no bound.
struct Targets {
    base: usize,
    deepest: usize,
    /// Of the levels from the base to the one above the deepest.
    bytes: Vec<u64>,
}

impl Targets {
    fn new(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Self {
        let filled = levels.iter().rposition(|tables| !tables.is_empty()).unwrap_or(0);
        let deepest = filled.max(DEEPEST.min(levels.len() - 1));
        let mut targets = Self { base: deepest, deepest, bytes: Vec::new() };
        let mut target = bytes(&levels[deepest]);
        while target > options.level_bytes && targets.base > 1 {
            target /= options.fanout;
            targets.base -= 1;
            targets.bytes.insert(0, target.max(1));
        }
        targets
    }

    /// How far a level is beyond what it may hold, in thousandths.
    fn urgency(&self, level: usize, levels: &[Vec<&TableMeta>], options: &LsmOptions) -> u64 {
        match level {
            0 => levels[0].len() as u64 * 1000 / options.l0_tables as u64,
            _ if level >= self.deepest => 0,
            _ if level < self.base => {
                if levels[level].is_empty() {
                    0
                } else {
                    u64::MAX
                }
            }
            _ => bytes(&levels[level]) * 1000 / self.bytes[level - self.base],
        }
    }
}

/// The most urgent compaction, if any is due.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    let targets = Targets::new(levels, options);
    let urgency = |level: &usize| targets.urgency(*level, levels, options);
    // Of equals the upper level goes first.
    let level = (0..levels.len() - 1).rev().max_by_key(urgency)?;
    if urgency(&level) < 1000 {
        return None;
    }
    let (mut runs, output): (Vec<Vec<&TableMeta>>, usize) = if level == 0 {
        let oldest = &levels[0][..levels[0].len().min(options.l0_tables * 2)];
        let filled = (1..targets.base).find(|level| !levels[*level].is_empty());
        assert_eq!(filled, None, "level 0 waits until nothing older is above the base");
        (oldest.iter().rev().map(|table| vec![*table]).collect(), targets.base)
    } else {
        (vec![vec![cheapest(&levels[level], &levels[level + 1])]], level + 1)
    };
    let (smallest, end) = hull(runs.iter().flatten()).expect("a level that is due has tables");
    let overlaps: Vec<_> = overlapping(&levels[output], smallest, end).collect();
    if !overlaps.is_empty() {
        runs.push(overlaps);
    }
    Some(choice(levels, &runs, output))
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

    // Level 0 may have 2 tables here, the base 100 bytes, and level 4 is the deepest.
    const NONE: Level<'_> = &[];

    #[test]
    fn nothing_is_due_below_the_limits() {
        let l3: Level<'_> = &[(2, "a..m", 98)];
        assert_eq!(picked(Leveled, &[&[(1, "a..z", 500)], NONE, NONE, l3, &[(3, "a..z", 999)]]), None);
        assert_eq!(picked(Leveled, &[NONE, NONE, NONE, NONE, &[(3, "a..z", 99_999)]]), None, "no bound");
    }

    #[test]
    fn level_0_goes_down_oldest_first_with_all_it_overlaps() {
        let l0: Level<'_> = &[(4, "a..c", 9), (5, "f..g", 9), (6, "b..d", 9), (7, "x..z", 9), (8, "m..n", 9)];
        let l4: Level<'_> = &[(1, "a..b", 9), (2, "g..h", 9), (3, "y..z", 9)];
        let levels = [l0, NONE, NONE, NONE, l4];
        assert_eq!(picked(Leveled, &levels), choice(&[&[7], &[6], &[5], &[4], &[1, 2, 3]], 4, false));
        let levels = [&l0[..2], NONE, NONE, NONE, l4];
        assert_eq!(picked(Leveled, &levels), choice(&[&[5], &[4], &[1, 2]], 4, false));
    }

    #[test]
    fn the_base_is_where_a_level_may_hold_no_more_than_its_bytes() {
        let output = |bytes| {
            let l0: Level<'_> = &[(4, "a..c", 9), (5, "a..c", 9)];
            picked(Leveled, &[l0, NONE, NONE, NONE, &[(1, "a..z", bytes)]]).map(|choice| choice.output)
        };
        let cases = [(100, 4), (101, 3), (1_009, 3), (1_010, 2), (10_100, 1), (10_000_000, 1)];
        for (bytes, base) in cases {
            assert_eq!(output(bytes), Some(base), "{bytes} bytes");
        }
    }

    #[test]
    fn the_level_furthest_beyond_its_limit_goes_first() {
        let l0: Level<'_> = &[(4, "a..c", 9), (5, "a..c", 9)];
        let l4: Level<'_> = &[(9, "x..z", 1000)];
        let beside = |bytes| picked(Leveled, &[l0, NONE, NONE, &[(1, "a..b", bytes)], l4]);
        assert_eq!(beside(101).map(|c| c.output), Some(4));
        assert_eq!(beside(100).map(|c| c.output), Some(3), "of equals the upper one");
    }

    #[test]
    fn what_is_left_above_the_base_goes_first() {
        let l0: Level<'_> = &[(4, "a..c", 9), (5, "a..c", 9)];
        let levels = [l0, NONE, &[(3, "a..b", 1)], &[(2, "a..b", 900)], &[(1, "a..b", 1000)]];
        assert_eq!(picked(Leveled, &levels), choice(&[&[3], &[2]], 3, true));
    }

    #[test]
    fn the_table_that_drags_least_along_is_chosen() {
        let l3: Level<'_> = &[(1, "a..f", 60), (2, "g..m", 60), (3, "n..p", 60)];
        let l4: Level<'_> = &[(4, "a..h", 500), (5, "i..m", 500), (6, "p..q", 200)];
        assert_eq!(picked(Leveled, &[NONE, NONE, NONE, l3, l4]), choice(&[&[3], &[6]], 4, false));
    }

    #[test]
    fn tombstones_stay_while_something_deeper_may_hold_their_keys() {
        // Level 2 is the base: it may hold 10 bytes, and level 3 a hundred.
        let l2: Level<'_> = &[(1, "c..d", 50)];
        let l3: Level<'_> = &[(2, "a..c", 50)];
        let kept = |deepest: Level<'_>| picked(Leveled, &[NONE, NONE, l2, l3, deepest]);
        assert_eq!(kept(&[(3, "a..b", 1010)]), choice(&[&[1], &[2]], 3, true));
        assert_eq!(kept(&[(3, "e..f", 1010)]), choice(&[&[1], &[2]], 3, false));
    }

    #[test]
    fn a_table_that_overlaps_nothing_moves_unless_its_tombstones_can_go() {
        let l3: Level<'_> = &[(1, "a..b", 101)];
        let levels: &[Level<'_>] = &[NONE, NONE, NONE, l3, &[(2, "c..d", 1000)]];
        let moves =
            |levels, tombstones| picked_with(Leveled, levels, tombstones).map(|choice| choice.is_move);
        assert_eq!((moves(levels, 0), moves(levels, 1)), (Some(true), Some(false)));
        let deeper: &[Level<'_>] = &[NONE, NONE, l3, NONE, &[(2, "a..d", 10_000)]];
        assert_eq!(moves(deeper, 1), Some(true));
    }
}

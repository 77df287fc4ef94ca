//! What to compact next: a pure function of the levels, without I/O.
//!
//! Leveled compaction (O'Neil et al., 1996; as in LevelDB): level 0 is due at a number of tables, a
//! deeper one at a number of bytes that grows tenfold from level to level. The level that is furthest
//! beyond its due goes first. From level 0 the oldest tables go down together, since their ranges
//! overlap; from a deeper level the table that drags the fewest bytes of the next level along.

use super::LsmOptions;
use super::table::TableMeta;

/// How much more a level may hold than the one above it.
const FANOUT: u64 = 10;

/// Tables that are to become tables of the next level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Where the inputs are.
    pub(super) level: usize,
    /// Numbers of tables of that level, oldest or smallest first.
    pub(super) inputs: Vec<u64>,
    /// Numbers of the tables of the next level that overlap them, smallest first.
    pub(super) overlaps: Vec<u64>,
    /// Whether a deeper level may hold a key of the range, which only a tombstone hides.
    pub(super) keep_tombstones: bool,
}

impl Choice {
    /// Whether it is enough to hang the table one level lower.
    pub(super) fn is_move(&self) -> bool {
        self.inputs.len() == 1 && self.overlaps.is_empty()
    }
}

/// The most urgent compaction, if any is due.
pub(super) fn pick(levels: &[Vec<&TableMeta>], options: &LsmOptions) -> Option<Choice> {
    assert!(levels.len() > 1, "there is a level to compact into");
    // In thousandths of what is allowed; of equals the upper level goes first.
    let urgency = |level: usize| match level {
        0 => levels[0].len() as u64 * 1000 / options.l0_tables as u64,
        _ => bytes(&levels[level]) * 1000 / allowed_bytes(level, options),
    };
    let level = (0..levels.len() - 1).rev().max_by_key(|level| urgency(*level))?;
    if urgency(level) < 1000 {
        return None;
    }
    let inputs = if level == 0 {
        levels[0].iter().copied().take(options.l0_tables * 2).collect()
    } else {
        vec![cheapest(&levels[level], &levels[level + 1])]
    };
    assert!(!inputs.is_empty(), "a level that is due has tables");
    let smallest = inputs.iter().map(|table| &table.smallest).min()?;
    let largest = inputs.iter().map(|table| &table.largest).max()?;
    let overlaps: Vec<_> = overlapping(&levels[level + 1], smallest, largest).collect();
    let smallest = overlaps.iter().map(|table| &table.smallest).chain([smallest]).min()?;
    let largest = overlaps.iter().map(|table| &table.largest).chain([largest]).max()?;
    let deeper = levels[level + 2..].iter();
    let keep_tombstones =
        deeper.into_iter().any(|level| overlapping(level, smallest, largest).next().is_some());
    Some(Choice {
        level,
        inputs: inputs.iter().map(|table| table.number).collect(),
        overlaps: overlaps.iter().map(|table| table.number).collect(),
        keep_tombstones,
    })
}

fn bytes(tables: &[&TableMeta]) -> u64 {
    tables.iter().map(|table| table.bytes).sum()
}

fn allowed_bytes(level: usize, options: &LsmOptions) -> u64 {
    (1..level).fold(options.level_bytes, |bytes, _| bytes.saturating_mul(FANOUT))
}

/// The tables of a level that share a key with a range; both ends belong to it.
fn overlapping<'a>(
    level: &[&'a TableMeta],
    smallest: &[u8],
    largest: &[u8],
) -> impl Iterator<Item = &'a TableMeta> {
    level
        .iter()
        .copied()
        .filter(move |table| table.smallest.as_slice() <= largest && smallest <= table.largest.as_slice())
}

fn cheapest<'a>(level: &[&'a TableMeta], next: &[&TableMeta]) -> &'a TableMeta {
    let cost = |table: &&&TableMeta| {
        let dragged: u64 = overlapping(next, &table.smallest, &table.largest).map(|t| t.bytes).sum();
        (dragged * 1000 / table.bytes, table.number)
    };
    level.iter().min_by_key(cost).expect("a level that is due has tables")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(number: u64, range: &str, bytes: u64) -> TableMeta {
        let (smallest, largest) = range.split_once("..").expect("a range");
        TableMeta { number, bytes, smallest: smallest.into(), largest: largest.into() }
    }

    /// Levels of (number, range, bytes) against 2 tables on level 0 and 100 bytes on level 1.
    fn picked(levels: &[&[(u64, &str, u64)]]) -> Option<Choice> {
        let tables: Vec<Vec<TableMeta>> =
            levels.iter().map(|level| level.iter().map(|(n, r, b)| table(*n, r, *b)).collect()).collect();
        let mut metas: Vec<Vec<&TableMeta>> = tables.iter().map(|level| level.iter().collect()).collect();
        metas.resize(5, Vec::new());
        let options = LsmOptions { l0_tables: 2, level_bytes: 100, ..LsmOptions::default() };
        pick(&metas, &options)
    }

    fn choice(level: usize, inputs: &[u64], overlaps: &[u64], keep_tombstones: bool) -> Option<Choice> {
        Some(Choice { level, inputs: inputs.into(), overlaps: overlaps.into(), keep_tombstones })
    }

    #[test]
    fn nothing_is_due_below_the_limits() {
        assert_eq!(picked(&[&[(1, "a..z", 500)], &[(2, "a..m", 99)], &[(3, "a..z", 999)]]), None);
    }

    #[test]
    fn level_0_goes_down_oldest_first_with_all_it_overlaps() {
        let l0: &[_] = &[(4, "a..c", 9), (5, "f..g", 9), (6, "b..d", 9), (7, "x..z", 9), (8, "m..n", 9)];
        let l1: &[_] = &[(1, "a..b", 9), (2, "g..h", 9), (3, "y..z", 9)];
        assert_eq!(picked(&[l0, l1]), choice(0, &[4, 5, 6, 7], &[1, 2, 3], false));
        let l0 = &l0[..2];
        assert_eq!(picked(&[l0, l1]), choice(0, &[4, 5], &[1, 2], false));
    }

    #[test]
    fn the_level_furthest_beyond_its_limit_goes_first() {
        let l0: &[_] = &[(4, "a..c", 9), (5, "a..c", 9)];
        assert_eq!(picked(&[l0, &[(1, "a..b", 201)]]), choice(1, &[1], &[], false));
        assert_eq!(picked(&[l0, &[(1, "a..b", 100)]]).map(|c| c.level), Some(0), "of equals the upper one");
    }

    #[test]
    fn the_table_that_drags_least_along_is_chosen() {
        let l1: &[_] = &[(1, "a..f", 60), (2, "g..m", 60), (3, "n..p", 60)];
        let l2: &[_] = &[(4, "a..h", 50), (5, "i..m", 50), (6, "p..q", 20)];
        assert_eq!(picked(&[&[], l1, l2]), choice(1, &[3], &[6], false));
    }

    #[test]
    fn tombstones_stay_while_something_deeper_may_hold_their_keys() {
        let l1: &[_] = &[(1, "c..d", 100)];
        let l2: &[_] = &[(2, "a..c", 50)];
        assert_eq!(picked(&[&[], l1, l2, &[(3, "a..b", 9)]]), choice(1, &[1], &[2], true));
        assert_eq!(picked(&[&[], l1, l2, &[(3, "e..f", 9)]]), choice(1, &[1], &[2], false));
        assert_eq!(picked(&[&[], l1, l2, &[], &[(3, "b..c", 9)]]), choice(1, &[1], &[2], true));
    }

    #[test]
    fn a_table_that_overlaps_nothing_moves() {
        let choice = picked(&[&[], &[(1, "a..b", 100)], &[(2, "c..d", 5)]]).expect("level 1 is due");
        assert!(choice.is_move());
    }
}

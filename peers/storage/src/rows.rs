//! redb's workload: rows are loaded at once, then some written one by one and in batches, read at random and
//! in order, and half of them removed.

use crate::measure::Meter;
use crate::store::{Change, Store};
use crate::work::{Draws, key, value};

/// Rows of a batch.
const BATCH: u64 = 1000;
/// Rows of a read in order.
const IN_ORDER: usize = 10;

/// Runs it on an empty store.
pub fn run(store: &mut dyn Store, rows: u64, meter: &mut Meter<'_>) {
    let row = |number| (key(number), Some(value(number)));
    meter.time("bulk load", rows, store, |store| store.load(&mut (0..rows).map(row)));
    let added = rows / 10;
    meter.time("writes, one by one", added, store, |store| {
        (rows..rows + added).for_each(|number| store.write(&[row(number)], false));
    });
    let rows = rows + added;
    meter.time("writes, in batches of 1000", added, store, |store| {
        for first in (rows..rows + added).step_by(BATCH as usize) {
            let batch: Vec<Change> = (first..first + BATCH).map(row).collect();
            store.write(&batch, false);
        }
    });
    let rows = rows + added.next_multiple_of(BATCH);
    for turn in ["random reads", "random reads again"] {
        meter.time(turn, rows, store, |store| {
            store.read(&mut |reader| {
                let mut draws = Draws::new(7);
                for _ in 0..rows {
                    let found = reader.get(&key(draws.below(rows)));
                    assert!(found.is_some(), "what was written is there");
                }
            });
        });
    }
    meter.time("random reads of what is not there", rows, store, |store| {
        store.read(&mut |reader| (rows..2 * rows).for_each(|row| assert_eq!(reader.get(&key(row)), None)));
    });
    meter.time("reads of 10 rows in order", rows / 4, store, |store| {
        store.read(&mut |reader| {
            let mut draws = Draws::new(8);
            for _ in 0..rows / 4 {
                reader.scan(&key(draws.below(rows)), IN_ORDER);
            }
        });
    });
    meter.time("removals, every other row", rows / 2, store, |store| {
        store.load(&mut (0..rows / 2).map(|row| (key(row * 2), None)));
    });
}

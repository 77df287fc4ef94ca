//! YCSB A to F (Cooper et al., 2010): one client; rows are asked for by a Zipfian distribution that is
//! scattered over the keys. A row is replaced whole. Writes are not flushed.

use crate::measure::Meter;
use crate::store::Store;
use crate::work::{Draws, Zipf, key, mix, value};

/// Rows of a scan, at most.
const SCAN: u64 = 100;

/// What each client does, in percent.
struct Mix {
    name: &'static str,
    read: u64,
    update: u64,
    insert: u64,
    scan: u64,
    /// The rest reads, changes and writes.
    latest: bool,
}

const MIXES: [Mix; 6] = [
    Mix { name: "A: 50 % reads, 50 % updates", read: 50, update: 50, insert: 0, scan: 0, latest: false },
    Mix { name: "B: 95 % reads, 5 % updates", read: 95, update: 5, insert: 0, scan: 0, latest: false },
    Mix { name: "C: reads", read: 100, update: 0, insert: 0, scan: 0, latest: false },
    Mix {
        name: "D: 95 % reads of the latest, 5 % inserts",
        read: 95,
        update: 0,
        insert: 5,
        scan: 0,
        latest: true,
    },
    Mix { name: "E: 95 % scans, 5 % inserts", read: 0, update: 0, insert: 5, scan: 95, latest: false },
    Mix {
        name: "F: 50 % reads, 50 % read-modify-writes",
        read: 50,
        update: 0,
        insert: 0,
        scan: 0,
        latest: false,
    },
];

/// Loads an empty store and runs all of them on it.
pub fn run(store: &mut dyn Store, rows: u64, meter: &mut Meter<'_>) {
    let loaded = &mut (0..rows).map(|number| (key(number), Some(value(number))));
    meter.time("load", rows, store, |store| store.load(loaded));
    let zipf = Zipf::new(rows);
    let mut held = rows;
    for mix in MIXES {
        let operations = if mix.scan > 0 { rows / 10 } else { rows };
        meter.time(mix.name, operations, store, |store| {
            let mut draws = Draws::new(9);
            for _ in 0..operations {
                operate(store, &mix, &zipf, &mut draws, &mut held);
            }
        });
    }
}

fn operate(store: &mut dyn Store, what: &Mix, zipf: &Zipf, draws: &mut Draws, held: &mut u64) {
    let rank = zipf.draw(draws);
    let row = if what.latest { *held - 1 - rank } else { mix(rank) % *held };
    let number = draws.below(1 << 40);
    let dice = draws.below(100);
    let [read, update, insert, scan] = [what.read, what.update, what.insert, what.scan];
    if dice < read {
        store.read(&mut |reader| assert!(reader.get(&key(row)).is_some(), "what was written is there"));
    } else if dice < read + update {
        store.write(&[(key(row), Some(value(number)))], false);
    } else if dice < read + update + insert {
        store.write(&[(key(*held), Some(value(number)))], false);
        *held += 1;
    } else if dice < read + update + insert + scan {
        let limit = 1 + draws.below(SCAN) as usize;
        store
            .read(&mut |reader| assert!(reader.scan(&key(row), limit).0 > 0 || limit > 0, "a scan reads on"));
    } else {
        store.read(&mut |reader| assert!(reader.get(&key(row)).is_some(), "what was written is there"));
        store.write(&[(key(row), Some(value(number)))], false);
    }
}

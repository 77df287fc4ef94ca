//! The laws of storage engines: what filters let pass, how often a byte is written, how much room it
//! takes, and what trees that write in place and trees that merge make of an arm and of flash.
//!
//! Rows have keys of 24 random bytes and values of 150. Sizes are small; what counts is how many times one
//! is another, as in the theory (O'Neil et al., 1996; Dayan et al., 2017): `M` is a memtable, `N` all rows,
//! `T` the fanout. All maintenance that is due counts.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use contract::{Batch, Durability, Engine, Env, NodeId, ReadStore, Seed, Time};
use sim::config::{Arm, Mechanics};
use sim::{DiskConfig, SimFs, World, WorldConfig, net_profile};
use storage::lsm::Compaction;
use storage::{BTree, BTreeOptions, Lsm, LsmOptions, Mode};

use super::metered::Metered;
use super::{Expected, Law, profile};

const NODE: NodeId = NodeId(1);
const VALUE_BYTES: usize = 150;
const ROW_BYTES: u64 = 24 + VALUE_BYTES as u64;
const PAGE_BYTES: u64 = 4096;

/// Measures all of them, one after the other.
pub(super) fn measure(mut tell: impl FnMut(Law)) {
    for bits in [5, 8, 10, 16] {
        tell(filter(bits, bits));
    }
    [10, 4].into_iter().flat_map(leveled).for_each(&mut tell);
    tell(tiered(Compaction::Tiered));
    in_place().into_iter().for_each(&mut tell);
    arm().into_iter().for_each(&mut tell);
    flash().into_iter().for_each(&mut tell);
}

/// SplitMix64: each number's own, and any 64 bits.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key(row: u64) -> [u8; 24] {
    let mut key = [0; 24];
    for (word, part) in (0..).zip(key.as_chunks_mut::<8>().0) {
        *part = mix(row.wrapping_mul(3) + word).to_be_bytes();
    }
    key
}

fn put(row: u64, value: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(key(row), [value; VALUE_BYTES]);
    batch
}

fn world_on(disk: DiskConfig) -> World<()> {
    World::new(&WorldConfig {
        seed: Seed(1),
        nodes: 1,
        net: net_profile("ideal").expect("a known profile"),
        disk,
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    })
}

/// Runs a future on the node to its end.
fn run<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let out = Rc::clone(&result);
    world.env(NODE).spawn(async move {
        let done = future.await;
        *out.borrow_mut() = Some(done);
    });
    assert!(world.next(Time::FAR).is_none(), "nothing but tasks and disk requests");
    result.take().expect("the future is done")
}

/// Writes rows, and does all maintenance as soon as it is due.
async fn write_all<E: Engine>(store: &E, rows: impl Iterator<Item = u64>, value: u8) {
    for row in rows {
        store.write(put(row, value), Durability::Lazy).await.expect("nothing fails");
        while store.needs_maintenance() {
            store.maintain().await.expect("nothing fails");
        }
    }
}

/// One table with filters of `bits` per key, asked for keys that it does not have: whoever passes the filter
/// looks at a block. The law is that of filters of `expected` bits.
fn filter(expected: usize, bits: usize) -> Law {
    const ROWS: u64 = 100_000;
    const ASKED: u64 = 2_000_000;
    let world = world_on(profile("ideal"));
    let fs = world.fs(NODE);
    let looked = run(&world, async move {
        let options = LsmOptions {
            memtable_bytes: 1 << 30,
            block_cache_bytes: 1 << 30,
            filter_bits: bits,
            ..LsmOptions::default()
        };
        let store = Lsm::open(&fs, "store", &options).await.expect("opens");
        write_all(&store, 0..ROWS, 0).await;
        store.sync().await.expect("nothing fails");
        // Opening makes a table of what is in the log.
        let store = Lsm::open(&fs, "store", &options).await.expect("opens");
        for row in ROWS..ROWS + ASKED {
            assert_eq!(store.get(&key(row)).await.expect("nothing fails"), None);
        }
        let stats = store.stats();
        stats.cache_hits + stats.cache_misses
    });
    Law {
        name: format!("bloom filter, {expected} bits per key: false positives, 0.6185^bits"),
        unit: "%",
        expected: Expected::About((0..expected).fold(100.0, |rate, _| rate * 0.6185), 0.1),
        measured: looked as f64 / ASKED as f64 * 100.0,
    }
}

/// What a store of so many memtables did with its rows.
struct Grown {
    levels: usize,
    /// Bytes written to tables for each of the rows' bytes: of the rows written first, and of those that
    /// replaced them.
    growing: f64,
    replacing: f64,
    /// Bytes of tables for each byte of rows.
    space: f64,
}

/// Writes `n_over_m` memtables of rows, and then replaces as many bytes at random `rounds` times.
fn grow(options: LsmOptions, n_over_m: u64, rounds: u64) -> Grown {
    let world = world_on(profile("ideal"));
    let fs = Metered::new(world.fs(NODE));
    run(&world, async move {
        let store = Lsm::open(&fs, "store", &options).await.expect("opens");
        let mut rows = 0;
        while store.stats().flushes < n_over_m {
            write_all(&store, rows..rows + 1, 0).await;
            rows += 1;
        }
        let grown = fs.written("table");
        write_all(&store, (0..rows * rounds).map(|i| mix(i) % rows), 1).await;
        let live = rows * ROW_BYTES;
        let levels = store.level_bytes();
        Grown {
            levels: levels[1..].iter().filter(|bytes| **bytes > 0).count(),
            growing: grown as f64 / live as f64,
            replacing: (fs.written("table") - grown) as f64 / (live * rounds) as f64,
            space: levels.iter().sum::<u64>() as f64 / live as f64,
        }
    })
}

const MEMTABLE_BYTES: usize = 32 << 10;

fn leveled(fanout: u64) -> Vec<Law> {
    let options = LsmOptions {
        memtable_bytes: MEMTABLE_BYTES,
        table_bytes: MEMTABLE_BYTES,
        level_bytes: MEMTABLE_BYTES as u64 * fanout,
        fanout,
        ..LsmOptions::default()
    };
    let levels = if fanout == 10 { 3 } else { 5 };
    let grown = grow(options, 1000, 2);
    let most = ((fanout - 1) * levels) as f64;
    let about = |what: &str| format!("LSM leveled, T = {fanout}, N/M = 1000: {what}");
    let mut laws = vec![
        Law {
            name: about("levels, log_T(N/M (T-1)/T)"),
            unit: "",
            expected: Expected::About(levels as f64, 0.0),
            measured: grown.levels as f64,
        },
        Law {
            name: about("writes, (T-1)L/2 to (T-1)L"),
            unit: "x",
            expected: Expected::Between(most / 2.0, most),
            measured: grown.replacing,
        },
    ];
    // Level 0 comes on top, and what is not a row in a table: together less than a twentieth.
    let t = fanout as f64;
    for (n_over_m, space) in [(1000, grown.space), (300, grow(options, 300, 1).space)] {
        laws.push(Law {
            name: format!("LSM leveled, T = {fanout}, N/M = {n_over_m}: space, 1 + 1/T + 1/T^2 ..."),
            unit: "x",
            expected: Expected::About(t / (t - 1.0), 0.05),
            measured: space,
        });
    }
    laws
}

fn tiered(compaction: Compaction) -> Law {
    let options = LsmOptions {
        memtable_bytes: MEMTABLE_BYTES,
        table_bytes: MEMTABLE_BYTES,
        l0_tables: 10,
        compaction,
        ..LsmOptions::default()
    };
    // With the thousandth memtable all become one run.
    let grown = grow(options, 995, 0);
    Law {
        name: "LSM tiered, T = 10, N/M just below 1000: writes, L (+1 for the log)".to_owned(),
        unit: "x",
        expected: Expected::About(3.0, 0.1),
        measured: grown.growing,
    }
}

/// A tree in which each row that is replaced costs a page, and with the log another.
fn in_place() -> Vec<Law> {
    const ROWS: u64 = 200_000;
    const REPLACED: u64 = 20_000;
    let mut laws = Vec::new();
    for (mode, log) in [(Mode::Wal, "wal"), (Mode::Rollback, "journal")] {
        let world = world_on(profile("ideal"));
        let fs = Metered::new(world.fs(NODE));
        let (data, logged) = run(&world, async move {
            let options =
                BTreeOptions { mode, pool_bytes: 256 << 10, wal_bytes: 256 << 10, ..BTreeOptions::default() };
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            write_all(&store, in_order(ROWS), 0).await;
            store.sync().await.expect("nothing fails");
            let before = (fs.written("data"), fs.written(log));
            write_all(&store, (0..REPLACED).map(|i| mix(i) % ROWS), 1).await;
            store.sync().await.expect("nothing fails");
            (fs.written("data") - before.0, fs.written(log) - before.1)
        });
        let replaced = (REPLACED * ROW_BYTES) as f64;
        let once = PAGE_BYTES as f64 / ROW_BYTES as f64;
        let law = |what: &str, times: f64, bytes: u64| Law {
            name: format!("B-tree, {log}, uniform, uncached: {what}"),
            unit: "x",
            expected: Expected::About(once * times, 0.1),
            measured: bytes as f64 / replaced,
        };
        laws.push(law("writes in place, page/row", 1.0, data));
        laws.push(law("all writes, 2 page/row", 2.0, data + logged));
    }
    laws
}

/// Rows in the order of their keys: a tree that grows so fills its pages.
fn in_order(rows: u64) -> impl Iterator<Item = u64> {
    let mut order: Vec<u64> = (0..rows).collect();
    order.sort_unstable_by_key(|row| key(*row));
    order.into_iter()
}

/// How many rows of a store are replaced per simulated second, at random and lazily, by so many writers, all
/// that this makes due included. Every read goes to the device.
fn replaced_per_second<E: Engine<Fs = SimFs>>(
    disk: DiskConfig,
    options: E::Options,
    rows: impl Iterator<Item = u64> + 'static,
    (count, replaced): (u64, u64),
    writers: u64,
) -> f64 {
    let world = world_on(disk);
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let store = run(&world, async move {
        let store = E::open(&fs, "store", &options).await.expect("opens");
        write_all(&store, rows, 0).await;
        store.sync().await.expect("nothing fails");
        store
    });
    world.read_directly(NODE);
    let (begin, left) = (world.now(), Rc::new(Cell::new(writers)));
    for writer in 0..writers {
        let (store, left) = (store.clone(), Rc::clone(&left));
        env.spawn(async move {
            for i in (writer..replaced).step_by(writers as usize) {
                store.write(put(mix(i) % count, 1), Durability::Lazy).await.expect("nothing fails");
            }
            left.set(left.get() - 1);
        });
    }
    let clock = env.clone();
    env.spawn(async move {
        while left.get() > 0 || store.needs_maintenance() {
            if store.needs_maintenance() {
                store.maintain().await.expect("nothing fails");
            } else {
                clock.sleep(Duration::from_micros(100)).await;
            }
        }
        store.sync().await.expect("nothing fails");
    });
    assert!(world.next(Time::FAR).is_none(), "nothing but tasks and disk requests");
    replaced as f64 / world.now().since(begin).as_secs_f64()
}

const ROWS: u64 = 500_000;

fn trees(
    disk: DiskConfig,
    lsm: LsmOptions,
    btree: BTreeOptions,
    (few, many): (u64, u64),
    writers: u64,
) -> [f64; 2] {
    [
        replaced_per_second::<BTree<_>>(disk, btree, in_order(ROWS), (ROWS, few), writers),
        replaced_per_second::<Lsm<_>>(disk, lsm, 0..ROWS, (ROWS, many), writers),
    ]
}

/// The data fill the disk, so that a seek is as long as the profile says it is on average; an LSM reads and
/// writes much with each request.
fn arm() -> Vec<Law> {
    let hdd = profile("hdd");
    let Mechanics::Arm(arm) = hdd.mechanics else { unreachable!("a hard disk has an arm") };
    let cylinders = (ROWS * ROW_BYTES).div_ceil(arm.track_bytes) as u32;
    let disk = DiskConfig { mechanics: Mechanics::Arm(Arm { cylinders, tracks: 1, ..arm }), ..hdd };
    let lsm = LsmOptions {
        memtable_bytes: 1 << 20,
        level_bytes: 10 << 20,
        table_bytes: 16 << 20,
        readahead_bytes: 8 << 20,
        ..LsmOptions::default()
    };
    let btree = BTreeOptions { pool_bytes: 1 << 20, ..BTreeOptions::default() };
    let [in_place, merged] = trees(disk, lsm, btree, (5_000, 2 * ROWS), 32);
    vec![
        Law {
            name: "hdd: B-tree, rows replaced at random, 1/(2 x 12.7 ms)".to_owned(),
            unit: "1/s",
            expected: Expected::About(39.4, 0.25),
            measured: in_place,
        },
        Law {
            name: "hdd: LSM against it".to_owned(),
            unit: "x",
            expected: Expected::Between(300.0, f64::INFINITY),
            measured: merged / in_place,
        },
    ]
}

fn flash() -> Vec<Law> {
    let lsm = LsmOptions { memtable_bytes: 1 << 20, level_bytes: 10 << 20, ..LsmOptions::default() };
    let btree = BTreeOptions { pool_bytes: 2 << 20, ..BTreeOptions::default() };
    let [in_place, merged] = trees(profile("nvme"), lsm, btree, (200_000, 2 * ROWS), 32);
    vec![
        Law {
            name: "nvme, queue depth 32: B-tree, rows replaced at random".to_owned(),
            unit: "1/s",
            expected: Expected::Between(1000.0, f64::INFINITY),
            measured: in_place,
        },
        Law {
            name: "nvme, queue depth 32: LSM against it".to_owned(),
            unit: "x",
            expected: Expected::Between(1.0, 10.0),
            measured: merged / in_place,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_filters_breaks_their_law() {
        assert!(filter(5, 5).holds());
        assert!(!filter(10, 0).holds() && !filter(10, 8).holds());
    }

    #[test]
    fn a_leveled_store_breaks_the_law_of_tiers() {
        assert!(tiered(Compaction::Tiered).holds());
        assert!(!tiered(Compaction::Leveled).holds());
    }
}

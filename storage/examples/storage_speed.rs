//! How fast the journal and the engines are where the disk takes no time, and how many flushes they
//! need where it does: `cargo run --release -p seedbed-storage --example storage_speed`.

#![expect(clippy::disallowed_types, reason = "a benchmark measures the machine it runs on")]

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use contract::{Batch, Durability, Engine, Env, NodeId, Range, ReadStore, Seed, Time};
use futures::future::join_all;
use seedbed_storage::lsm::{Compaction, Compression};
use seedbed_storage::{Journal, JournalOptions, LogStore, LogStoreOptions, Lsm, LsmOptions};
use sim::{SimFs, World, WorldConfig, disk_profile, net_profile};

const NODE: NodeId = NodeId(1);

fn world(disk: &str) -> World<()> {
    World::new(&WorldConfig {
        seed: Seed(1),
        nodes: 1,
        clients: 0,
        net: net_profile("ideal").expect("a named network"),
        disk: disk_profile(disk).expect("a named disk"),
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    })
}

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

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<44} {:>10.0} /s {:>8.0} ns each", count as f64 / seconds, seconds * 1e9 / count as f64);
}

fn key(i: u64) -> Vec<u8> {
    format!("user{:012}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000_000).into_bytes()
}

/// Puts with maintenance, gets out of files, and scans both ways.
fn engine<E: Engine<Fs = SimFs>>(name: &str, options: E::Options, bytes: impl Fn(&E) -> u64 + 'static) {
    const PUTS: u64 = 500_000;
    println!("{name}");
    let world = world("ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let store = E::open(&fs, "store", &options).await.expect("opens");
        let start = Instant::now();
        for i in 0..PUTS {
            let mut batch = Batch::default();
            batch.put(key(i), [i as u8; 100]);
            store.write(batch, Durability::Lazy).await.expect("writes");
            if store.needs_maintenance() {
                store.maintain().await.expect("maintains");
            }
        }
        report("puts of 116 bytes, maintenance included", PUTS, start);
        while store.maintain().await.expect("maintains") {}
        let stats = store.stats();
        println!(
            "  {} flushes, {} compactions, write amplification {:.1}",
            stats.flushes,
            stats.compactions,
            stats.bytes_written_to_files as f64 / stats.bytes_written_by_callers as f64
        );
        let start = Instant::now();
        for i in 0..PUTS / 10 {
            assert!(store.get(&key(i * 10)).await.expect("reads").is_some());
        }
        report("gets out of files, random", PUTS / 10, start);
        let read = store.stats().bytes_read_from_files - stats.bytes_read_from_files;
        println!("  read amplification {:.1}", read as f64 / (PUTS as f64 / 10.0 * 116.0));
        for (what, range) in
            [("pairs of a scan of all", Range::all()), ("the same, descending", Range::all().descending())]
        {
            let start = Instant::now();
            let pairs = store.scan(range, usize::MAX).await.expect("reads");
            report(what, pairs.len() as u64, start);
            if range == Range::all() {
                let live: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
                println!("  space amplification {:.2}", bytes(&store) as f64 / live as f64);
            }
        }
    });
}

fn memtable() {
    const HELD: u64 = 5_000;
    let world = world("ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let store = Lsm::open(&fs, "small", &LsmOptions::default()).await.expect("opens");
        let keys: Vec<_> = (0..HELD).map(key).collect();
        let start = Instant::now();
        for key in &keys {
            let mut batch = Batch::default();
            batch.put(key.as_slice(), [7; 100]);
            store.write(batch, Durability::Lazy).await.expect("writes");
        }
        report("puts into a memtable", HELD, start);
        let start = Instant::now();
        for _ in 0..100 {
            for key in &keys {
                assert!(store.get(key).await.expect("reads").is_some());
            }
        }
        report("gets out of a memtable of 5000", HELD * 100, start);
    });
}

fn journal(disk: &'static str, writers: u64, appends: u64) {
    let world = world(disk);
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let start = Instant::now();
    let (stats, elapsed) = run(&world, async move {
        let (journal, _) = Journal::open(fs, "journal", JournalOptions::default()).await.expect("opens");
        let begin = Env::<()>::now(&env);
        let writer = |_| {
            let journal = journal.clone();
            async move {
                for i in 0..appends / writers {
                    journal.append(0, vec![vec![i as u8; 100]]).await.expect("appends");
                }
            }
        };
        join_all((0..writers).map(writer)).await;
        (journal.stats(), Env::<()>::now(&env) - begin)
    });
    report(&format!("journal on {disk}, {writers} writers"), stats.appends, start);
    let flushes = stats.flushes as f64 / stats.appends as f64;
    println!("  {flushes:.3} flushes per append, largest group {}", stats.largest_group);
    if !elapsed.is_zero() {
        println!("  {:.0} appends per simulated second", stats.appends as f64 / elapsed.as_secs_f64());
    }
}

fn main() {
    let leveled = LsmOptions::default();
    let bytes = |store: &Lsm<SimFs>| store.level_bytes().iter().sum();
    engine("merge tree, leveled", leveled, bytes);
    engine("merge tree, leveled, LZ4", LsmOptions { compression: Compression::Lz4, ..leveled }, bytes);
    engine("merge tree, tiered", LsmOptions { compaction: Compaction::Tiered, ..leveled }, bytes);
    engine("log-structured store", LogStoreOptions::default(), LogStore::segment_bytes);
    memtable();
    for writers in [1, 8, 64] {
        journal("ideal", writers, 200_000);
        journal("nvme", writers, 200_000);
    }
}

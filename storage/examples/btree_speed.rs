//! How fast a B-tree is where the disk takes no time:
//! `cargo run --release -p seedbed-storage --example btree_speed`.

#![expect(clippy::disallowed_types, reason = "a benchmark measures the machine it runs on")]

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use contract::{Batch, Durability, Engine, Env, NodeId, Range, ReadStore, Seed, Time};
use seedbed_storage::{BTree, BTreeOptions, Mode};
use sim::{World, WorldConfig, disk_profile, net_profile};

const NODE: NodeId = NodeId(1);
const KEYS: u64 = 20_000;

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

fn one(key: &[u8], byte: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, [byte; 100]);
    batch
}

async fn put_all(store: &BTree<sim::SimFs>, keys: &[Vec<u8>], rounds: u8, durability: Durability) {
    for round in 0..rounds {
        for key in keys {
            store.write(one(key, round), durability).await.expect("writes");
            while store.needs_maintenance() {
                store.maintain().await.expect("maintains");
            }
        }
    }
}

fn engine(mode: Mode) {
    let world: World<()> = World::new(&WorldConfig {
        seed: Seed(1),
        nodes: 1,
        clients: 0,
        net: net_profile("ideal").expect("a named network"),
        disk: disk_profile("ideal").expect("a named disk"),
        clock_skew: Duration::ZERO,
        ..WorldConfig::default()
    });
    let fs = world.fs(NODE);
    println!("{mode:?}");
    run(&world, async move {
        let options = BTreeOptions { mode, ..BTreeOptions::default() };
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        let start = Instant::now();
        put_all(&store, &keys, 1, Durability::Lazy).await;
        report("puts of new keys, lazy", KEYS, start);
        let start = Instant::now();
        put_all(&store, &keys, 10, Durability::Lazy).await;
        report("puts of keys that are there, lazy", KEYS * 10, start);
        let start = Instant::now();
        put_all(&store, &keys, 1, Durability::Synced).await;
        report("puts of keys that are there, synced", KEYS, start);
        let start = Instant::now();
        for key in keys.iter().cycle().take(20 * KEYS as usize) {
            assert!(store.get(key).await.expect("reads").is_some());
        }
        report("gets out of the pool", 20 * KEYS, start);
        let start = Instant::now();
        let pairs = store.scan(Range::all(), usize::MAX).await.expect("reads").len() as u64;
        report("pairs of a scan of all", pairs, start);
        let stats = store.stats();
        println!(
            "  {} groups, write amplification {:.1}",
            stats.flushes,
            stats.bytes_written_to_files as f64 / stats.bytes_written_by_callers as f64
        );
    });
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = BTreeOptions { mode, pool_bytes: 1 << 20, ..BTreeOptions::default() };
        let store = BTree::open(&fs, "large", &options).await.expect("opens");
        let keys: Vec<_> = (0..10 * KEYS).map(key).collect();
        let start = Instant::now();
        put_all(&store, &keys, 1, Durability::Lazy).await;
        report("puts of new keys, data 30 times the pool", 10 * KEYS, start);
        let start = Instant::now();
        for key in keys.iter().step_by(7) {
            assert!(store.get(key).await.expect("reads").is_some());
        }
        report("gets, data 30 times the pool", 10 * KEYS / 7, start);
    });
}

fn main() {
    engine(Mode::Wal);
    engine(Mode::Rollback);
}

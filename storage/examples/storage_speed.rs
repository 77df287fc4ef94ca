//! How fast engines and journal are where the disk takes no time, in CPU time, and how many flushes the journal
//! needs where it does: `cargo run --release -p seedbed-storage --example storage_speed [ENGINE …]`.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use contract::{Batch, Durability, Engine, Env, NodeId, Pair, Range, Seed, Time};
use cpu_time::ProcessTime;
use futures::future::join_all;
use seedbed_storage::lsm::{Compaction, Compression};
use seedbed_storage::{
    BTree, BTreeOptions, Journal, JournalOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode,
};
use sim::{SimFs, World, WorldConfig, disk_profile, net_profile};

const NODE: NodeId = NodeId(1);
/// Keys of a store, each of 16 bytes with a value of 100.
const KEYS: u64 = 200_000;
/// Of a cache that holds all of them.
const CACHE_BYTES: usize = 128 << 20;

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

fn key(i: u64) -> Vec<u8> {
    format!("user{:012}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000_000_000).into_bytes()
}

/// What one engine did: each kind of work, and how much of it per second.
type Figures = Vec<(&'static str, f64)>;

/// The kinds of work, measured one after the other.
struct Meter<E> {
    store: E,
    keys: Rc<Vec<Vec<u8>>>,
    figures: Figures,
}

impl<E: Engine> Meter<E> {
    async fn puts(&mut self, what: &'static str, value: u8, durability: Durability) {
        let start = ProcessTime::now();
        for key in &*self.keys {
            let mut batch = Batch::default();
            batch.put(key.as_slice(), [value; 100]);
            self.store.write(batch, durability).await.expect("writes");
            while self.store.needs_maintenance() {
                self.store.maintain().await.expect("maintains");
            }
        }
        self.figures.push((what, KEYS as f64 / start.elapsed().as_secs_f64()));
    }

    async fn gets(&mut self, what: &'static str, step: u64) {
        let start = ProcessTime::now();
        for i in 0..KEYS {
            // Any order but that of their puts.
            let key = &self.keys[(i * step % KEYS) as usize];
            assert!(self.store.get(key).await.expect("reads").is_some());
        }
        self.figures.push((what, KEYS as f64 / start.elapsed().as_secs_f64()));
    }

    async fn misses(&mut self, what: &'static str) {
        let start = ProcessTime::now();
        for key in &*self.keys {
            let mut key = key.clone();
            key.push(b'x');
            assert!(self.store.get(&key).await.expect("reads").is_none());
        }
        self.figures.push((what, KEYS as f64 / start.elapsed().as_secs_f64()));
    }

    async fn scan(&mut self, what: &'static str, range: Range<'_>, limit: usize) {
        let (start, mut pairs): (_, Vec<Pair>) = (ProcessTime::now(), Vec::new());
        let mut count = 0;
        for key in self.keys.iter().take(KEYS as usize / limit) {
            let range = if limit < KEYS as usize { Range { from: key, ..range } } else { range };
            pairs = self.store.scan(range, limit).await.expect("reads");
            count += pairs.len();
        }
        drop(pairs);
        self.figures.push((what, count as f64 / start.elapsed().as_secs_f64()));
    }
}

fn engine<E: Engine<Fs = SimFs>>(cached: E::Options, small: E::Options) -> Figures {
    let world = world("ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let keys = Rc::new((0..KEYS).map(key).collect());
        let store = E::open(&fs, "store", &cached).await.expect("opens");
        let mut meter = Meter { store, keys, figures: Figures::new() };
        meter.puts("puts of new keys, maintenance included", 1, Durability::Lazy).await;
        meter.puts("puts of keys that are there", 2, Durability::Lazy).await;
        meter.puts("the same, each synced", 3, Durability::Synced).await;
        while meter.store.maintain().await.expect("maintains") {}
        meter.gets("gets, at first", 7919).await;
        meter.gets("gets, cached", 104_729).await;
        meter.misses("gets of keys that are not there").await;
        meter.scan("pairs of scans of 10", Range::all(), 10).await;
        meter.scan("pairs of a scan of all", Range::all(), KEYS as usize).await;
        meter.scan("the same, descending", Range::all().descending(), KEYS as usize).await;
        let stats = meter.store.stats();
        let amplification = stats.bytes_written_to_files as f64 / stats.bytes_written_by_callers as f64;
        meter.figures.push(("bytes written for each byte put", amplification));
        meter.store.sync().await.expect("syncs");
        meter.store = E::open(&fs, "store", &small).await.expect("opens");
        meter.gets("gets, a cache of a twentieth", 7919).await;
        meter.figures
    })
}

#[expect(clippy::type_complexity, reason = "a table of names and functions")]
fn engines() -> Vec<(&'static str, fn() -> Figures)> {
    fn lsm(options: LsmOptions) -> Figures {
        let cached = LsmOptions { block_cache_bytes: CACHE_BYTES, ..options };
        engine::<Lsm<_>>(cached, options)
    }
    fn btree(mode: Mode) -> Figures {
        let options = BTreeOptions { mode, pool_bytes: 1 << 20, ..BTreeOptions::default() };
        engine::<BTree<_>>(BTreeOptions { pool_bytes: CACHE_BYTES, ..options }, options)
    }
    vec![
        ("lsm", || lsm(LsmOptions::default())),
        ("lsm, LZ4", || lsm(LsmOptions { compression: Compression::Lz4, ..LsmOptions::default() })),
        ("lsm-tiered", || lsm(LsmOptions { compaction: Compaction::Tiered, ..LsmOptions::default() })),
        ("btree", || btree(Mode::Wal)),
        ("btree-rollback", || btree(Mode::Rollback)),
        ("log", || engine::<LogStore<_>>(LogStoreOptions::default(), LogStoreOptions::default())),
    ]
}

fn journal(disk: &'static str, writers: u64, appends: u64) {
    let world = world(disk);
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let start = ProcessTime::now();
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
    let nanos = start.elapsed().as_nanos() as f64 / stats.appends as f64;
    let flushes = stats.flushes as f64 / stats.appends as f64;
    let per_second = stats.appends as f64 / elapsed.as_secs_f64();
    let simulated = if elapsed.is_zero() { "-".to_owned() } else { format!("{per_second:.0}") };
    println!("| journal on {disk}, {writers} writers | {nanos:.0} | {flushes:.3} | {simulated} |");
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|other| other == name);
    let measured: Vec<_> = engines()
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, measure)| (name, measure()))
        .collect();
    if let Some((_, first)) = measured.first() {
        let names: Vec<_> = measured.iter().map(|(name, _)| *name).collect();
        println!("| thousands per second of CPU time | {} |", names.join(" | "));
        println!("|---|{}", "---|".repeat(names.len()));
        for (row, (what, _)) in first.iter().enumerate() {
            let figure = |figures: &Figures| match figures[row].1 {
                share if share < 1000.0 => format!("{share:.1}"),
                rate => format!("{:.0}", rate / 1000.0),
            };
            let figures: Vec<_> = measured.iter().map(|(_, figures)| figure(figures)).collect();
            println!("| {what} | {} |", figures.join(" | "));
        }
    }
    if is_wanted("journal") {
        println!(
            "\n| | ns per append | flushes per append | appends per simulated second |\n|---|---|---|---|"
        );
        for writers in [1, 8, 64] {
            journal("ideal", writers, 200_000);
            journal("nvme", writers, 200_000);
        }
    }
}

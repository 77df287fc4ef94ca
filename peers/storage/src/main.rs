//! Storage engines side by side on a real disk, in one run.
//!
//! *Rows*: redb's own workload. *YCSB*: A to F. Rows have keys of 24 bytes and values of 150, and every store
//! may use the same memory. Each figure is of the clock and of processors, in microseconds per operation: a
//! machine that others use too says more with the second. The clock counts what whoever writes waits for; what
//! is put off meanwhile, and goes on behind or in other threads, counts in a second table, and among the
//! processors' time. Nothing is flushed but where it says so.
//! *Durable*: single writes, each flushed, beside a raw flush.
//!
//! Figures beside each other are from one run, in which the systems take turns; only ratios say something.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "nothing here is simulated: the machine's clock, threads and arithmetic are what is measured"
)]

mod durable;
mod fjall_peer;
mod measure;
mod ours;
mod redb_peer;
#[cfg(feature = "rocksdb")]
mod rocksdb_peer;
mod rows;
mod store;
mod work;
mod ycsb;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Parser;

use crate::durable::Raw;
use crate::measure::{Meter, Turns};
use crate::store::{Budget, Store};

#[derive(Parser)]
#[command(about = "Storage engines side by side on a real disk")]
struct Arguments {
    /// How many rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Where the stores are, for as long as they are measured.
    #[arg(long, default_value = "target/stores")]
    folder: PathBuf,
    /// Only these systems.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these workloads: rows, ycsb, durable.
    #[arg(long, value_delimiter = ',')]
    work: Vec<String>,
}

type Open = fn(&Path, Budget) -> Box<dyn Store>;
type Work = fn(&mut dyn Store, u64, &mut Meter<'_>);

const SYSTEMS: &[(&str, Open)] = &[
    ("LSM", ours::lsm),
    ("fjall", fjall_peer::open),
    #[cfg(feature = "rocksdb")]
    ("RocksDB", rocksdb_peer::open),
    ("B-tree", ours::btree),
    ("redb", redb_peer::open),
];

/// Whom each engine is compared with.
const AGAINST: [(&str, &str); 3] = [("LSM", "fjall"), ("LSM", "RocksDB"), ("B-tree", "redb")];

/// Bytes of the files below a folder, as the disk counts them.
fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).expect("the folder is read");
    entries
        .map(|entry| entry.expect("the folder is read"))
        .map(|entry| {
            let meta = entry.metadata().expect("the file is there");
            if meta.is_dir() { bytes_below(&entry.path()) } else { meta.blocks() * 512 }
        })
        .sum()
}

/// A new, empty folder.
fn fresh(folder: &Path) -> PathBuf {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the folder is removed");
    }
    fs::create_dir_all(folder).expect("the folder is made");
    folder.to_path_buf()
}

fn main() {
    let arguments = Arguments::parse();
    let (rows, budget) = (arguments.rows, Budget::of(arguments.rows));
    let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|other| other == name);
    let systems: Vec<_> = SYSTEMS.iter().filter(|(name, _)| wanted(&arguments.only, name)).collect();
    let folder = fresh(&arguments.folder);
    println!(
        "{rows} rows, {} MiB of cache, {} MiB of memtable, {} MiB in the uppermost level",
        budget.cache_bytes >> 20,
        budget.memtable_bytes >> 20,
        budget.level_bytes >> 20
    );
    let workloads: [(&str, &str, Work); 2] =
        [("rows", "redb's workload, us per row", rows::run), ("ycsb", "YCSB, us per operation", ycsb::run)];
    for (work, title, run) in workloads.iter().filter(|(work, ..)| wanted(&arguments.work, work)) {
        let turns = Turns::new(systems.len());
        let measured = |place: usize| {
            let (name, open) = systems[place];
            let mut meter = Meter::new(name, &turns, place);
            let folder = folder.join(name);
            let mut store = meter.alone(|| open(&fresh(&folder), budget));
            run(&mut *store, rows, &mut meter);
            let size = meter.alone(|| {
                let bytes = bytes_below(&folder);
                drop(store);
                format!("{name} {} ({} closed)", bytes >> 20, bytes_below(&folder) >> 20)
            });
            (meter, size)
        };
        let (meters, sizes): (Vec<_>, Vec<_>) = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..systems.len()).map(|place| scope.spawn(move || measured(place))).collect();
            threads.into_iter().map(|thread| thread.join().expect("nobody fails")).unzip()
        });
        measure::print(title, &meters, &AGAINST);
        println!("\n{work}: MiB on the disk at the end: {}", sizes.join(", "));
    }
    if wanted(&arguments.work, "durable") {
        let mut stores: Vec<_> =
            systems.iter().map(|(name, open)| (*name, open(&fresh(&folder.join(name)), budget))).collect();
        durable::run(&mut Raw::new(&folder), &mut stores, 500);
        durable::groups(&mut stores, 64, 50);
    }
    fs::remove_dir_all(&folder).expect("the folder is removed");
}

//! Durable writes, one after the other, beside the flush of a file whose space is there already. All take
//! turns, so that a device that is slow for a while is slow for all.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::store::{Store, VALUE_BYTES};
use crate::work::{key, value};

/// What the raw file has.
const BYTES: usize = 4 << 20;

/// A file that is overwritten.
pub struct Raw {
    file: File,
    at: u64,
}

impl Raw {
    /// One whose blocks are written and flushed.
    pub fn new(folder: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(folder.join("raw"));
        let file = file.expect("the file is new");
        file.write_all_at(&vec![0; BYTES], 0).expect("there is room");
        file.sync_all().expect("the file is flushed");
        Self { file, at: 0 }
    }

    fn write(&mut self, number: u64) {
        self.file.write_all_at(&value(number), self.at).expect("the file is written");
        self.file.sync_data().expect("the file is flushed");
        self.at = (self.at + VALUE_BYTES as u64) % (BYTES - VALUE_BYTES) as u64;
    }
}

/// Writes rows to the file and to each store, and prints what each took.
pub fn run(raw: &mut Raw, stores: &mut [(&'static str, Box<dyn Store>)], writes: u64) {
    let mut times = vec![Vec::new(); stores.len() + 1];
    let before: Vec<Option<u64>> = stores.iter().map(|(_, store)| store.flushes()).collect();
    let mut timed = |at: usize, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        times[at].push(start.elapsed().as_nanos() as f64 / 1000.0);
    };
    for number in 0..writes {
        timed(0, &mut || raw.write(number));
        for (at, (_, store)) in (1..).zip(stores.iter_mut()) {
            timed(at, &mut || store.write(&[(key(number), Some(value(number)))], true));
        }
    }
    println!(
        "\n| one durable write, us | median | mean | times the raw flush (median / mean) | flushes per write |"
    );
    println!("|---|---|---|---|---|");
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let median = |times: &[f64]| times[times.len() / 2];
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let line = |name: &str, of: &[f64], flushes: String| {
        let (by_median, by_mean) = (median(of) / median(&times[0]), mean(of) / mean(&times[0]));
        println!(
            "| {name} | {:.0} | {:.0} | {by_median:.2} / {by_mean:.2} | {flushes} |",
            median(of),
            mean(of)
        );
    };
    line("raw: overwrite and fdatasync", &times[0], "1".to_owned());
    for (at, ((name, store), before)) in (1..).zip(stores.iter().zip(before)) {
        let flushes = store.flushes().zip(before).map(|(after, before)| after - before);
        let each = flushes.map_or("-".to_owned(), |flushes| format!("{:.3}", flushes as f64 / writes as f64));
        line(name, &times[at], each);
    }
}

/// Many writers at once, where a store has them.
pub fn groups(stores: &mut [(&'static str, Box<dyn Store>)], writers: usize, writes: usize) {
    println!("\n| {writers} writers, {writes} durable writes each | commits per flush |\n|---|---|");
    for (name, store) in stores {
        if let Some(commits) = store.commits_per_flush(writers, writes) {
            println!("| {name} | {commits:.1} |");
        }
    }
}

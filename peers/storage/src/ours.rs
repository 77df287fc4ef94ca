//! The engines of this project on a folder of the machine. One thread does all, maintenance included.
//!
//! Maintenance comes in bounded steps, so that whoever writes never waits long for it. The merge tree is driven
//! like that: a step behind each write, and what is left when the writes are over is done by [`Store::settle`],
//! as its peers' threads do. What the B+tree is compared with puts nothing off, and neither does the B+tree.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use contract::{Batch, Durability, Engine, File, Fs, FsError, OpenMode, Range};
use futures::future::join_all;
use storage::lsm::Compression;
use storage::{BTree, BTreeOptions, Lsm, LsmOptions, StdFile, StdFs};

use crate::store::{Budget, Change, Key, MANY, Reader, Store, sum};

/// Runs a future whose file system never lets it wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// A folder that counts flushes.
#[derive(Clone)]
struct Counted {
    fs: StdFs,
    flushes: Rc<Cell<u64>>,
}

#[derive(Clone)]
struct CountedFile {
    file: StdFile,
    flushes: Rc<Cell<u64>>,
}

impl Fs for Counted {
    type File = CountedFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<CountedFile, FsError> {
        let file = self.fs.open(path, mode).await?;
        Ok(CountedFile { file, flushes: Rc::clone(&self.flushes) })
    }

    async fn exists(&self, path: &str) -> Result<bool, FsError> {
        self.fs.exists(path).await
    }

    async fn create_dir(&self, path: &str) -> Result<(), FsError> {
        self.fs.create_dir(path).await
    }

    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.fs.remove_dir(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.fs.rename(from, to).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.fs.link(from, to).await
    }

    async fn remove(&self, path: &str) -> Result<(), FsError> {
        self.fs.remove(path).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<String>, FsError> {
        self.fs.list(dir).await
    }

    async fn sync_dir(&self, dir: &str) -> Result<(), FsError> {
        self.flushes.set(self.flushes.get() + 1);
        self.fs.sync_dir(dir).await
    }
}

impl File for CountedFile {
    async fn read_at(&self, offset: u64, buf: Vec<u8>) -> (Result<usize, FsError>, Vec<u8>) {
        self.file.read_at(offset, buf).await
    }

    async fn write_at(&self, offset: u64, buf: Vec<u8>) -> (Result<(), FsError>, Vec<u8>) {
        self.file.write_at(offset, buf).await
    }

    async fn sync_data(&self) -> Result<(), FsError> {
        self.flushes.set(self.flushes.get() + 1);
        self.file.sync_data().await
    }

    async fn allocate(&self, len: u64) -> Result<(), FsError> {
        self.file.allocate(len).await
    }

    async fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.file.set_len(len).await
    }

    async fn len(&self) -> Result<u64, FsError> {
        self.file.len().await
    }
}

/// One of the engines.
struct Ours<E> {
    engine: E,
    flushes: Rc<Cell<u64>>,
    driving: Driving,
}

/// How an engine is driven.
#[derive(Clone, Copy)]
struct Driving {
    /// Changes of a batch of many.
    at_once: usize,
    /// Steps of maintenance behind a write, at most.
    steps: usize,
}

fn open<E: Engine<Fs = Counted>>(
    folder: &std::path::Path,
    options: &E::Options,
    driving: Driving,
) -> Ours<E> {
    let fs = Counted { fs: StdFs::new(folder), flushes: Rc::default() };
    let engine = ready(E::open(&fs, "store", options)).expect("the store opens");
    Ours { engine, flushes: fs.flushes, driving }
}

/// The merge tree.
pub fn lsm(folder: &std::path::Path, budget: Budget) -> Box<dyn Store> {
    let options = LsmOptions {
        memtable_bytes: budget.memtable_bytes,
        level_bytes: budget.level_bytes as u64,
        table_bytes: budget.memtable_bytes,
        block_cache_bytes: budget.cache_bytes,
        compression: Compression::None,
        ..LsmOptions::default()
    };
    Box::new(open::<Lsm<Counted>>(folder, &options, Driving { at_once: MANY, steps: 1 }))
}

/// The B+tree with a write-ahead log. Like redb it gets many changes all at once: what holds them is no more
/// than a quarter of the memory that it may use.
pub fn btree(folder: &std::path::Path, budget: Budget) -> Box<dyn Store> {
    let options = BTreeOptions {
        pool_bytes: budget.cache_bytes,
        wal_bytes: budget.memtable_bytes as u64,
        ..BTreeOptions::default()
    };
    let driving = Driving { at_once: usize::MAX, steps: usize::MAX };
    Box::new(open::<BTree<Counted>>(folder, &options, driving))
}

fn batch(changes: impl Iterator<Item = Change>) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
    }
    batch
}

impl<E: Engine> Ours<E> {
    fn apply(&self, batch: Batch, durability: Durability) {
        ready(self.engine.write(batch, durability)).expect("the store writes");
        self.maintain(self.driving.steps);
    }

    fn maintain(&self, steps: usize) {
        for _ in 0..steps {
            if !self.engine.needs_maintenance() {
                return;
            }
            ready(self.engine.maintain()).expect("maintenance goes well");
        }
    }
}

impl<E: Engine> Reader for Ours<E> {
    fn get(&self, key: &Key) -> Option<u64> {
        ready(self.engine.get(key)).expect("the store reads").map(|value| sum(&value))
    }

    fn scan(&self, from: &Key, limit: usize) -> (usize, u64) {
        let range = Range { from, ..Range::all() };
        let mut total = 0;
        let mut add = |_: &[u8], value: &[u8]| total += sum(value);
        let count = ready(self.engine.visit(range, limit, &mut add)).expect("the store reads");
        (count, total)
    }
}

impl<E: Engine> Store for Ours<E> {
    fn load(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        let mut changes = changes.peekable();
        while changes.peek().is_some() {
            self.apply(batch(changes.by_ref().take(self.driving.at_once)), Durability::Lazy);
        }
        ready(self.engine.sync()).expect("the store syncs");
    }

    fn write(&mut self, changes: &[Change], durable: bool) {
        let durability = if durable { Durability::Synced } else { Durability::Lazy };
        self.apply(batch(changes.iter().copied()), durability);
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(self);
    }

    fn settle(&mut self) {
        self.maintain(usize::MAX);
    }

    fn flushes(&self) -> Option<u64> {
        Some(self.flushes.get())
    }

    fn commits_per_flush(&mut self, writers: usize, writes: usize) -> Option<f64> {
        let before = self.flushes.get();
        let writer = |writer: usize| {
            let engine = self.engine.clone();
            async move {
                for write in 0..writes {
                    let key = crate::work::key((writer * writes + write) as u64);
                    let batch = batch([(key, Some(crate::work::value(write as u64)))].into_iter());
                    engine.write(batch, Durability::Synced).await.expect("the store writes");
                }
            }
        };
        ready(join_all((0..writers).map(writer)));
        self.settle();
        Some((writers * writes) as f64 / (self.flushes.get() - before) as f64)
    }
}

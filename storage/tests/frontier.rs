//! Every image that a power loss may leave, at every moment of small runs.
//!
//! A run goes through once. Before each of its disk operations, and again with that operation under
//! way, the disk's frontier is enumerated: each un-flushed sector and change of names or sizes kept or
//! dropped in every combination, then each sector torn and each fresh one full of garbage in turn. From
//! each image a store must recover to what its [`Subject`] may have been left as, go on, and find that
//! again after one more power loss that keeps nothing. The same enumeration must find a loss where a
//! sync is skipped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use contract::{Batch, Durability, Engine, Env, NodeId, Range, Seed, Time};
use sim::{DiskConfig, Event, Image, Persistence, SimEnv, SimFs, World, WorldConfig, disk_profile};
use storage::{
    BTree, BTreeOptions, Journal, JournalOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode,
};

use crate::engines::{self, SOUND};
use crate::faulty::{Faults, Faulty};

const NODE: NodeId = NodeId(1);
/// So many things at most may be open at a moment of a run.
const OPEN_MOST: usize = 12;

/// What was found wrong.
type Loss = String;

/// The file system of a run: what is wrong with it is the test's choice.
type Disk = Faulty<SimFs>;

/// Somebody who writes, and knows what must be there afterwards.
///
/// To put another engine to this test, implement it, or call [`EngineRun`] with its options.
trait Subject: Clone + 'static {
    /// What was asked for and promised so far.
    type Ledger: Clone + Default + 'static;

    /// A small run: at no moment more than [`OPEN_MOST`] things may be un-flushed.
    fn work(self, fs: Disk, env: SimEnv<()>, ledger: Rc<RefCell<Self::Ledger>>) -> impl Future<Output = ()>;

    /// Opens what a power loss left and says what it found, if the ledger allows that.
    fn recover(self, fs: Disk, ledger: Self::Ledger) -> impl Future<Output = Result<Vec<u8>, Loss>>;
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    moments: u64,
    images: u64,
    spoiled: u64,
    widest: usize,
}

fn world(disk: DiskConfig) -> World<()> {
    World::new(&WorldConfig { seed: Seed(1), nodes: 1, disk, ..WorldConfig::default() })
}

/// Sectors are torn at any byte, which is more than drives admit, and names survive in any subset, which is
/// more than file systems with a journal do.
fn slow_disk() -> DiskConfig {
    DiskConfig {
        slow_ppm: 0,
        torn_unit: 1,
        persistence: Persistence::PosixWeak,
        ..disk_profile("nvme").expect("a known profile")
    }
}

fn wrong(fs: SimFs, set: fn(&Faults)) -> Disk {
    let fs = Faulty::new(fs);
    set(&fs.faults);
    fs
}

/// Opens an image on a machine where nothing takes time.
fn recover<S: Subject>(
    subject: &S,
    ledger: &S::Ledger,
    image: Image,
    set: fn(&Faults),
) -> Result<Vec<u8>, Loss> {
    let machine = world(disk_profile("ideal").expect("a known profile"));
    machine.put_disk(NODE, image);
    let first = run(&machine, subject.clone().recover(wrong(machine.fs(NODE), set), ledger.clone()))?;
    // What it rests on after a recovery is durable: of all images the barest shows the same.
    let frontier = machine.crash_frontier(NODE);
    let barest = frontier.choices().next().expect("one image there is");
    let machine = world(disk_profile("ideal").expect("a known profile"));
    machine.put_disk(NODE, frontier.image(&barest));
    let again = run(&machine, subject.clone().recover(wrong(machine.fs(NODE), set), ledger.clone()))?;
    if again == first { Ok(first) } else { Err("a second power loss undid the recovery".to_owned()) }
}

/// Runs a future on a machine where nothing takes time.
fn run<T: 'static>(machine: &World<()>, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let out = Rc::clone(&result);
    machine.env(NODE).spawn(async move {
        let done = future.await;
        *out.borrow_mut() = Some(done);
    });
    while machine.next(Time::FAR).is_some() {}
    result.take().expect("nothing is left to wait for")
}

/// Tries all images of all moments of a run; the first loss, if there is one.
fn enumerate<S: Subject>(subject: &S, set: fn(&Faults)) -> Result<Tried, Loss> {
    let world = world(slow_disk());
    let ledger = Rc::new(RefCell::new(S::Ledger::default()));
    let env = world.env(NODE);
    let fs = wrong(world.fs(NODE), set);
    env.spawn(subject.clone().work(fs, env.clone(), Rc::clone(&ledger)));
    let mut tried = Tried::default();
    for n in 1.. {
        world.break_at_disk_op(NODE, n);
        let event = world.next(Time::FAR);
        tried
            .moment(&world, subject, &ledger, set)
            .map_err(|loss| format!("before operation {n}: {loss}"))?;
        if event.is_none() {
            break;
        }
        assert_eq!(event, Some(Event::DiskOp { node: NODE, n }), "nothing else happens");
        world.break_at_disk_op(NODE, n + 1);
        world.run_tasks();
        tried.moment(&world, subject, &ledger, set).map_err(|loss| format!("in operation {n}: {loss}"))?;
    }
    Ok(tried)
}

impl Tried {
    /// Tries all images of this moment.
    fn moment<S: Subject>(
        &mut self,
        world: &World<()>,
        subject: &S,
        ledger: &Rc<RefCell<S::Ledger>>,
        set: fn(&Faults),
    ) -> Result<(), Loss> {
        let frontier = world.crash_frontier(NODE);
        self.moments += 1;
        self.widest = self.widest.max(frontier.open());
        let ledger = ledger.borrow().clone();
        let attempt = |choices: &sim::Choices| {
            let found = recover(subject, &ledger, frontier.image(choices), set);
            found.map_err(|loss| format!("{loss}: survived {}", frontier.describe(choices)))
        };
        for choices in frontier.choices() {
            attempt(&choices)?;
            self.images += 1;
        }
        for choices in frontier.spoiled() {
            attempt(&choices)?;
            self.spoiled += 1;
        }
        Ok(())
    }
}

/// A journal with small segments, written by several tasks, one of which purges.
#[derive(Clone, Copy)]
struct JournalRun {
    writers: usize,
    appends: usize,
    /// The largest payload, in bytes.
    payload: usize,
    options: JournalOptions,
}

/// Payloads in the order of the calls, and which were acknowledged.
#[derive(Clone, Default)]
struct Records {
    payloads: Vec<Vec<u8>>,
    acknowledged: BTreeMap<usize, storage::SegmentId>,
    purged: usize,
}

impl JournalRun {
    async fn writer(self, journal: Journal<Disk>, purges: bool, records: Rc<RefCell<Records>>) {
        for _ in 0..self.appends {
            let number = {
                let records = &mut *records.borrow_mut();
                let number = records.payloads.len();
                records.payloads.push(vec![number as u8 + 1; 20 + number * 97 % self.payload]);
                number
            };
            let payload = records.borrow().payloads[number].clone();
            let segment = journal.append(1, vec![payload]).await.expect("a healthy disk");
            records.borrow_mut().acknowledged.insert(number, segment);
            if purges && number % 4 == 3 {
                // Before the call: a purge may take effect in parts.
                let first =
                    records.borrow().acknowledged.iter().find(|(_, s)| **s == segment).map(|(n, _)| *n);
                let first = first.expect("it was just put there");
                let safe = records.borrow().payloads.len().min(first);
                records.borrow_mut().purged = safe;
                journal.purge(segment).await.expect("a healthy disk");
            }
        }
    }
}

impl Subject for JournalRun {
    type Ledger = Records;

    async fn work(self, fs: Disk, env: SimEnv<()>, records: Rc<RefCell<Records>>) {
        let (journal, _) = Journal::open(fs, "j", self.options).await.expect("a healthy disk");
        for writer in 0..self.writers {
            env.spawn(self.writer(journal.clone(), writer == 0, Rc::clone(&records)));
        }
    }

    async fn recover(self, fs: Disk, records: Records) -> Result<Vec<u8>, Loss> {
        let opened = Journal::open(fs, "j", self.options).await.map_err(|error| error.to_string())?;
        let entries = opened.1.entries;
        let is = |entry: &storage::JournalEntry, number: usize| {
            records.payloads.get(number) == Some(&entry.payload)
        };
        let first =
            entries.first().map_or(Some(0), |entry| (0..records.payloads.len()).find(|n| is(entry, *n)));
        let first = first.ok_or("the first record is one that nobody wrote")?;
        for (entry, number) in entries.iter().zip(first..) {
            if !is(entry, number) {
                return Err(format!("record {number} was never written so"));
            }
        }
        if first > records.purged {
            return Err(format!("record {} is gone from the beginning", records.purged));
        }
        match records.acknowledged.last_key_value() {
            Some((last, _)) if *last >= first + entries.len() => {
                Err(format!("acknowledged record {last} is gone"))
            }
            _ => Ok(entries.iter().flat_map(|entry| entry.payload.clone()).collect()),
        }
    }
}

/// A run of batches on any engine.
struct EngineRun<E: Engine<Fs = Disk>> {
    options: E::Options,
    batches: usize,
    /// Every so many batches one is synced.
    syncs_every: usize,
    /// Every so many batches the engine does its background work.
    maintains_every: usize,
}

impl<E: Engine<Fs = Disk>> Clone for EngineRun<E> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), ..*self }
    }
}

/// How many batches were begun, and how many of them are promised.
#[derive(Clone, Copy, Default)]
struct Batches {
    begun: usize,
    promised: usize,
}

/// Every batch writes its own number too, so that what is recovered can be told.
fn batch(number: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put("number", (number as u64).to_le_bytes());
    for i in 0..number % 3 {
        let key = format!("key{}", (number * 5 + i * 3) % 7);
        match (number + i) % 4 {
            0 => batch.delete(key),
            _ => batch.put(key, vec![number as u8; number * 13 % 40]),
        }
    }
    batch
}

/// The content after a number of batches.
fn content(batches: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut content = BTreeMap::new();
    for change in (0..batches).flat_map(|number| batch(number).changes) {
        match change {
            contract::Change::Put { key, value, .. } => drop(content.insert(key, value)),
            contract::Change::Delete { key, .. } => drop(content.remove(&key)),
            contract::Change::DeleteRange { .. } => unreachable!("no range is deleted here"),
        }
    }
    content.into_iter().collect()
}

impl<E: Engine<Fs = Disk>> Subject for EngineRun<E> {
    type Ledger = Batches;

    async fn work(self, fs: Disk, _: SimEnv<()>, batches: Rc<RefCell<Batches>>) {
        let store = E::open(&fs, "s", &self.options).await.expect("a healthy disk");
        for number in 0..self.batches {
            batches.borrow_mut().begun = number + 1;
            let synced = number % self.syncs_every == self.syncs_every - 1;
            let durability = if synced { Durability::Synced } else { Durability::Lazy };
            store.write(batch(number), durability).await.expect("a healthy disk");
            if synced {
                batches.borrow_mut().promised = number + 1;
            }
            if number % self.maintains_every == self.maintains_every - 1 {
                while store.needs_maintenance() && store.maintain().await.expect("a healthy disk") {}
            }
        }
    }

    async fn recover(self, fs: Disk, batches: Batches) -> Result<Vec<u8>, Loss> {
        let text = |error: contract::EngineError| error.to_string();
        let store = E::open(&fs, "s", &self.options).await.map_err(text)?;
        store.verify().await.map_err(text)?;
        let number = store.get(b"number").await.map_err(text)?;
        let found = number.map_or(0, |n| u64::from_le_bytes(n.try_into().expect("eight bytes")) as usize + 1);
        if !(batches.promised..=batches.begun).contains(&found) {
            let Batches { begun, promised } = batches;
            return Err(format!("{found} batches are there, of {begun} begun and {promised} promised"));
        }
        if store.scan(Range::all(), usize::MAX).await.map_err(text)? != content(found) {
            return Err(format!("the content is not that after {found} batches"));
        }
        Ok(found.to_le_bytes().to_vec())
    }
}

fn healthy(_: &Faults) {}

fn journals() -> impl Iterator<Item = JournalRun> {
    let options = |segment_bytes| JournalOptions { segment_bytes, ..JournalOptions::default() };
    let runs =
        [(1, 12, 300, 512), (1, 9, 300, 2048), (2, 5, 300, 1024), (3, 4, 300, 4096), (6, 3, 1500, 16384)];
    runs.into_iter().map(move |(writers, appends, payload, bytes)| JournalRun {
        writers,
        appends,
        payload,
        options: options(bytes),
    })
}

fn lsms() -> impl Iterator<Item = EngineRun<Lsm<Disk>>> {
    let options = |memtable_bytes| LsmOptions {
        memtable_bytes,
        block_bytes: 128,
        l0_tables: 2,
        level_bytes: 512,
        table_bytes: 256,
        block_cache_bytes: 1024,
        ..LsmOptions::default()
    };
    let runs = [(12, 128, 3, 2), (14, 256, 3, 3), (9, 4096, 3, 4), (150, 16384, 75, 150)];
    runs.into_iter().map(move |(batches, bytes, syncs_every, maintains_every)| EngineRun {
        options: options(bytes),
        batches,
        syncs_every,
        maintains_every,
    })
}

fn logstores() -> impl Iterator<Item = EngineRun<LogStore<Disk>>> {
    let runs = [(12, 256, 3, 2), (14, 512, 3, 3), (9, 4096, 3, 4)];
    runs.into_iter().map(|(batches, segment_bytes, syncs_every, maintains_every)| EngineRun {
        options: LogStoreOptions { segment_bytes, step_bytes: 128, ..LogStoreOptions::default() },
        batches,
        syncs_every,
        maintains_every,
    })
}

fn btrees(mode: Mode) -> impl Iterator<Item = EngineRun<BTree<Disk>>> {
    let runs = [(12, 4096, 2, 3), (9, 16384, 3, 4)];
    runs.into_iter().map(move |(batches, wal_bytes, syncs_every, maintains_every)| EngineRun {
        options: BTreeOptions { wal_bytes, ..engines::btree(mode, SOUND) },
        batches,
        syncs_every,
        maintains_every,
    })
}

/// All images of all runs are recovered from, and no run is too wide to try them all.
fn survives<S: Subject>(runs: impl Iterator<Item = S>, images_least: u64) {
    let mut images = 0;
    for (number, subject) in runs.enumerate() {
        let tried = enumerate(&subject, healthy).unwrap_or_else(|loss| panic!("run {number}: {loss}"));
        println!("run {number}: {tried:?}");
        assert!(tried.widest <= OPEN_MOST, "run {number} has {} things open at once", tried.widest);
        images += tried.images + tried.spoiled;
    }
    assert!(images >= images_least, "only {images} images were tried");
}

#[test]
fn the_journal_recovers_from_every_image() {
    survives(journals(), 15_000);
}

#[test]
fn the_lsm_recovers_from_every_image() {
    survives(lsms(), 10_000);
}

#[test]
fn the_log_structured_store_recovers_from_every_image() {
    survives(logstores(), 1_000);
}

#[test]
fn the_btree_with_a_log_recovers_from_every_image() {
    survives(btrees(Mode::Wal), 1_000);
}

#[test]
fn the_btree_with_a_rollback_journal_recovers_from_every_image() {
    survives(btrees(Mode::Rollback), 1_000);
}

/// A sync that is skipped is found: of files, and of directories.
#[test]
fn a_skipped_sync_is_found() {
    let no_file_syncs: fn(&Faults) = |faults| faults.ignores_file_syncs.set(true);
    let no_dir_syncs: fn(&Faults) = |faults| faults.ignores_dir_syncs.set(true);
    for set in [no_file_syncs, no_dir_syncs] {
        for journal in journals() {
            enumerate(&journal, set).expect_err("the journal rests on its syncs");
        }
        for lsm in lsms() {
            enumerate(&lsm, set).expect_err("the engine rests on its syncs");
        }
        for logstore in logstores() {
            enumerate(&logstore, set).expect_err("the engine rests on its syncs");
        }
        for btree in btrees(Mode::Wal).chain(btrees(Mode::Rollback)) {
            enumerate(&btree, set).expect_err("the engine rests on its syncs");
        }
    }
}

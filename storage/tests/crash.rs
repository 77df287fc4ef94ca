//! A power loss at every disk operation, and what must be there afterwards.
//!
//! For each seed the run is repeated once per disk operation it makes: the power fails before that
//! operation or, for odd seeds, while it is under way. The same enumeration must find a loss where
//! one was planted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use contract::{Batch, Bug, Bugs, Change, Durability, Engine, Env, Fs, Range, ReadStore, Time};
use sim::{Event, SimEnv, SimFs, World};
use storage::{Journal, JournalEntry, JournalOptions, Lsm, LsmOptions, SegmentId};

use crate::conformance::tiny;
use crate::faulty::{Faults, Faulty};
use crate::ground::{NODE, run, world};

/// What was found wrong.
type Loss = String;

/// Runs `work` and cuts the power at its `n`-th disk operation, or when it is done.
fn run_until(world: &World<()>, n: Option<u64>, in_flight: bool, work: impl Future<Output = ()> + 'static) {
    if let Some(n) = n {
        world.break_at_disk_op(NODE, n);
    }
    world.env(NODE).spawn(work);
    match world.next(Time::FAR) {
        Some(Event::DiskOp { .. }) if in_flight => world.run_tasks(),
        Some(Event::DiskOp { .. }) => {}
        None => assert!(n.is_none(), "the run ended before its disk operation {n:?}"),
        Some(other) => panic!("nobody asked for {other:?}"),
    }
}

fn power_cycle(world: &World<()>) -> SimFs {
    world.crash(NODE);
    world.restart(NODE);
    world.fs(NODE)
}

/// Tries a crash at every disk operation of a run; the first loss, if there is one.
fn enumerate(seeds: u64, crash_at: impl Fn(u64, Option<u64>) -> Result<u64, Loss>) -> Result<u64, Loss> {
    let mut crashes = 0;
    for seed in 0..seeds {
        let operations = crash_at(seed, None)?;
        for n in 1..=operations {
            crash_at(seed, Some(n)).map_err(|loss| format!("seed {seed}, disk operation {n}: {loss}"))?;
        }
        crashes += operations + 1;
    }
    Ok(crashes)
}

/// What the journal was asked to keep.
#[derive(Default)]
struct Issued {
    /// In the order of the calls.
    payloads: Vec<Vec<u8>>,
    acknowledged: BTreeMap<usize, SegmentId>,
    /// Records before this one may be purged.
    keep_from: usize,
}

const WRITERS: usize = 5;
const APPENDS: usize = 500;

async fn journal_writer(journal: Journal<SimFs>, purges: bool, issued: Rc<RefCell<Issued>>) {
    loop {
        let (first, payloads) = {
            let issued = &mut *issued.borrow_mut();
            let first = issued.payloads.len();
            if first >= APPENDS {
                return;
            }
            let payload = |i: usize| [&i.to_le_bytes()[..], &vec![i as u8; i * 37 % 200]].concat();
            let payloads: Vec<_> = (first..=first + first % 3).map(payload).collect();
            issued.payloads.extend(payloads.clone());
            (first, payloads)
        };
        let count = payloads.len();
        let segment = journal.append(1, payloads).await.expect("a healthy disk");
        let below = {
            let issued = &mut *issued.borrow_mut();
            issued.acknowledged.extend((first..first + count).map(|i| (i, segment)));
            let acknowledged = issued.acknowledged.len();
            let middle =
                issued.acknowledged.iter().nth(acknowledged / 2).filter(|_| acknowledged % 60 < count);
            let purged = middle.filter(|_| purges).map(|(&middle, &below)| (middle, below));
            issued.keep_from = issued.keep_from.max(purged.map_or(0, |(middle, _)| middle));
            purged.map(|(_, below)| below)
        };
        if let Some(below) = below {
            journal.purge(below).await.expect("a healthy disk");
        }
    }
}

/// What is there must be a run of what was issued, with all that was acknowledged and not purged.
fn check_journal(entries: &[JournalEntry], issued: &Issued) -> Result<(), Loss> {
    let number = |entry: &JournalEntry| {
        let bytes = entry.payload.get(..8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(usize::MAX, usize::from_le_bytes)
    };
    let first = entries.first().map_or(0, number);
    for (entry, place) in entries.iter().zip(first..) {
        if issued.payloads.get(place) != Some(&entry.payload) {
            return Err(format!("record {place} was never written so"));
        }
        if issued.acknowledged.get(&place).is_some_and(|segment| *segment != entry.segment) {
            return Err(format!("record {place} is in another segment than was told"));
        }
    }
    if first > issued.keep_from {
        return Err(format!("record {} is gone from the beginning", issued.keep_from));
    }
    match issued.acknowledged.last_key_value() {
        Some((&last, _)) if last >= first + entries.len() => {
            Err(format!("acknowledged record {last} is gone"))
        }
        _ => Ok(()),
    }
}

fn crash_journal(seed: u64, n: Option<u64>, options: JournalOptions) -> Result<u64, Loss> {
    let world = world(seed, "nvme");
    let issued = Rc::new(RefCell::new(Issued::default()));
    let (fs, env, log) = (world.fs(NODE), world.env(NODE), Rc::clone(&issued));
    run_until(&world, n, seed % 2 == 1, async move {
        let (journal, _) = Journal::open(fs, "journal", options).await.expect("a healthy disk");
        for writer in 0..WRITERS {
            env.spawn(journal_writer(journal.clone(), writer == 0, Rc::clone(&log)));
        }
    });
    let operations = world.disk_ops(NODE);
    let fs = power_cycle(&world);
    let entries = run(&world, async move {
        let opened = Journal::open(fs, "journal", options).await;
        let (journal, recovery) = opened.map_err(|error| error.to_string())?;
        check_journal(&recovery.entries, &issued.borrow())?;
        // Writing goes on behind what was cut off.
        let mut entries = recovery.entries;
        for i in 0..3u8 {
            let segment = journal.append(2, vec![vec![i; 50]]).await.map_err(|error| error.to_string())?;
            entries.push(JournalEntry { stream: 2, payload: vec![i; 50], segment });
        }
        Ok::<_, Loss>(entries)
    })?;
    let fs = power_cycle(&world);
    run(&world, async move {
        let (_, again) = Journal::open(fs, "journal", options).await.map_err(|error| error.to_string())?;
        if again.entries == entries || options.bugs.has(Bug::AckBeforeFsync) {
            Ok(())
        } else {
            Err(format!("{} records became {} after a second crash", entries.len(), again.entries.len()))
        }
    })?;
    Ok(operations)
}

#[test]
fn journal_keeps_what_it_acknowledged() {
    let options = JournalOptions { segment_bytes: 4096, ..JournalOptions::default() };
    let crashes =
        enumerate(16, |seed, n| crash_journal(seed, n, options)).unwrap_or_else(|loss| panic!("{loss}"));
    assert!(crashes > 4000, "only {crashes} crashes were tried");
}

#[test]
fn a_journal_that_acknowledges_before_its_flush_is_caught() {
    let options = JournalOptions { segment_bytes: 4096, bugs: Bugs(Some(Bug::AckBeforeFsync)) };
    let loss =
        enumerate(2, |seed, n| crash_journal(seed, n, options)).expect_err("the planted bug loses records");
    assert!(loss.contains("acknowledged record"), "{loss}");
}

/// Batches in the order of their writes, and how many of them are promised.
#[derive(Default)]
struct Written {
    batches: Vec<Batch>,
    promised: usize,
}

const BATCHES: usize = 500;

/// Every batch writes its own number too, so that what is recovered can be told.
fn batch(number: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put("number", number.to_le_bytes());
    for i in 0..number % 4 {
        let key = format!("key{:02}", (number * 31 + i * 17) % 40);
        if (number + i).is_multiple_of(5) {
            batch.delete(key);
        } else {
            batch.put(key, vec![number as u8; number * 13 % 50]);
        }
    }
    batch
}

fn content_after(batches: &[Batch]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut content = BTreeMap::new();
    for change in batches.iter().flat_map(|batch| &batch.changes) {
        match change {
            Change::Put { key, value, .. } => content.insert(key.clone(), value.clone()),
            Change::Delete { key, .. } => content.remove(key),
            Change::DeleteRange { .. } => unreachable!("no range is deleted here"),
        };
    }
    content.into_iter().collect()
}

async fn lsm_writer<F: Fs>(store: Lsm<F>, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    for number in 0..BATCHES {
        let batch = batch(number);
        written.borrow_mut().batches.push(batch.clone());
        let synced = number % 7 == 0;
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        store.write(batch, durability).await.expect("a healthy disk");
        if number % 50 == 49 {
            store.sync().await.expect("a healthy disk");
        }
        if synced || number % 50 == 49 {
            written.borrow_mut().promised = number + 1;
        }
        if number % 16 == 0 {
            env.sleep(Duration::from_micros(500)).await;
        }
    }
}

async fn lsm_maintainer<F: Fs>(store: Lsm<F>, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    loop {
        if store.needs_maintenance() {
            store.maintain().await.expect("a healthy disk");
        } else if written.borrow().batches.len() == BATCHES {
            return;
        } else {
            env.sleep(Duration::from_micros(300)).await;
        }
    }
}

/// What is there must be the content after some number of batches, at least those promised.
async fn check_lsm<F: Fs>(store: &Lsm<F>, written: &mut Written) -> Result<(), Loss> {
    let text = |error: contract::EngineError| error.to_string();
    store.verify().await.map_err(text)?;
    let content = store.scan(Range::all(), usize::MAX).await.map_err(text)?;
    let number = store.get(b"number").await.map_err(text)?;
    let batches = number.map_or(0, |n| usize::from_le_bytes(n.try_into().expect("eight bytes")) + 1);
    if batches < written.promised {
        return Err(format!("promised batch {} is gone, {batches} are there", written.promised - 1));
    }
    if batches > written.batches.len() || content != content_after(&written.batches[..batches]) {
        return Err(format!("the content is not that after {batches} batches"));
    }
    written.batches.truncate(batches);
    Ok(())
}

fn crash_lsm(seed: u64, n: Option<u64>, set: impl Fn(&Faults)) -> Result<u64, Loss> {
    let options = LsmOptions { memtable_bytes: 1024, ..tiny() };
    let world = world(seed, "nvme");
    let written = Rc::new(RefCell::new(Written::default()));
    let faulty = |fs: SimFs| {
        let fs = Faulty::new(fs);
        set(&fs.faults);
        fs
    };
    let (fs, env, log) = (faulty(world.fs(NODE)), world.env(NODE), Rc::clone(&written));
    run_until(&world, n, seed % 2 == 1, async move {
        let store = Lsm::open(&fs, "store", &options).await.expect("a healthy disk");
        env.spawn(lsm_writer(store.clone(), env.clone(), Rc::clone(&log)));
        env.spawn(lsm_maintainer(store, env.clone(), log));
    });
    let operations = world.disk_ops(NODE);
    let (fs, log) = (faulty(power_cycle(&world)), Rc::clone(&written));
    run(&world, async move {
        let store = Lsm::open(&fs, "store", &options).await.map_err(|error| error.to_string())?;
        let mut written = log.take();
        check_lsm(&store, &mut written).await?;
        // Writing goes on behind what was cut off.
        for number in written.batches.len()..written.batches.len() + 20 {
            written.batches.push(batch(number));
            store.write(batch(number), Durability::Lazy).await.map_err(|error| error.to_string())?;
        }
        store.sync().await.map_err(|error| error.to_string())?;
        store.maintain().await.map_err(|error| error.to_string())?;
        written.promised = written.batches.len();
        *log.borrow_mut() = written;
        Ok::<_, Loss>(())
    })?;
    let fs = faulty(power_cycle(&world));
    run(&world, async move {
        let store = Lsm::open(&fs, "store", &options).await.map_err(|error| error.to_string())?;
        check_lsm(&store, &mut written.take()).await
    })?;
    Ok(operations)
}

#[test]
fn lsm_keeps_a_prefix_with_all_that_was_synced() {
    let crashes = enumerate(6, |seed, n| crash_lsm(seed, n, |_| {})).unwrap_or_else(|loss| panic!("{loss}"));
    assert!(crashes > 3000, "only {crashes} crashes were tried");
}

#[test]
fn an_lsm_whose_syncs_do_nothing_is_caught() {
    let no_file_syncs = |faults: &Faults| faults.ignores_file_syncs.set(true);
    let loss =
        enumerate(2, |seed, n| crash_lsm(seed, n, no_file_syncs)).expect_err("files lose what is not synced");
    assert!(!loss.is_empty());
    let no_dir_syncs = |faults: &Faults| faults.ignores_dir_syncs.set(true);
    enumerate(2, |seed, n| crash_lsm(seed, n, no_dir_syncs)).expect_err("names that are not synced are lost");
}

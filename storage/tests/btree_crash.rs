//! A power loss at every disk operation of a B-tree, or the death of its process, and what must be
//! there afterwards: the content after some number of batches, with all that was promised.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use contract::{Batch, Durability, Engine, Env, Family, Fs, ReadStore, Time};
use sim::fault::Garbage;
use sim::{DiskConfig, Event, Fault, Persistence, SimEnv, SimFs, World, disk_profile};
use storage::{BTree, BTreeOptions, Mode};

use crate::btree_conformance::{FAMILIES, Model, apply, everything, tiny};
use crate::faulty::{Faults, Faulty};
use crate::ground::{NODE, run, world_with};

/// What was found wrong.
type Loss = String;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerLoss,
    /// What was not flushed may be garbage afterwards, too.
    PowerLossWithGarbage,
    /// The process dies and starts again; then the power fails.
    Kill,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    mode: Mode,
    persistence: Persistence,
    end: End,
    batches: usize,
}

/// Batches in the order of their writes, and how many of them are promised.
#[derive(Default)]
struct Written {
    batches: Vec<Batch>,
    promised: usize,
    done: bool,
    vacuumed: u64,
}

/// Every batch writes its own number too, so that what is recovered can be told. Keys and values of
/// all lengths, so that pages split, join and overflow.
fn batch(number: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put("number", number.to_le_bytes());
    for i in 0..number % 4 {
        let pick = number * 31 + i * 17;
        let family = Family(FAMILIES[pick % 3]);
        let mut key = format!("key{:03}", pick % 90).into_bytes();
        if pick.is_multiple_of(13) {
            key.resize(150, b'k');
        }
        match (number + i) % 5 {
            0 | 1 => batch.delete_in(family, key),
            _ => batch.put_in(family, key, vec![number as u8; pick * 13 % 200]),
        }
    }
    if number.is_multiple_of(12) {
        batch.put(format!("large{}", number % 5), vec![number as u8; 1500]);
    }
    if number % 20 == 13 {
        batch.delete_range(Family(FAMILIES[number / 20 % 3]), "key02", Some(b"key07".to_vec()));
    }
    if number % 40 == 39 {
        // Nearly nothing is left, and vacuum is due.
        FAMILIES
            .into_iter()
            .for_each(|family| batch.delete_range(Family(family), "key", Some(b"m".to_vec())));
    }
    batch
}

async fn writer<F: Fs>(store: BTree<F>, env: SimEnv<()>, batches: usize, written: Rc<RefCell<Written>>) {
    for number in 0..batches {
        written.borrow_mut().batches.push(batch(number));
        // At times nobody wants a flush for long, and what was changed is written without one.
        let synced = number % 6 == 0 && number / 25 % 2 == 0;
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        store.write(batch(number), durability).await.expect("a healthy disk");
        if number % 50 == 49 {
            store.sync().await.expect("a healthy disk");
        }
        if synced || number % 50 == 49 {
            let mut written = written.borrow_mut();
            written.promised = written.promised.max(number + 1);
        }
        if number % 16 == 0 {
            env.sleep(Duration::from_micros(500)).await;
        }
    }
    written.borrow_mut().done = true;
}

/// Flushes beside the writer, and takes snapshots that pin old pages.
async fn syncer<F: Fs>(store: BTree<F>, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    while !written.borrow().done {
        let snapshot = store.snapshot();
        let begun = written.borrow().batches.len();
        store.sync().await.expect("a healthy disk");
        {
            // The last batch may not have been applied when the flush began.
            let mut written = written.borrow_mut();
            written.promised = written.promised.max(begun.saturating_sub(1));
        }
        env.sleep(Duration::from_micros(3700)).await;
        snapshot.get(b"number").await.expect("a healthy disk");
    }
}

async fn maintainer<F: Fs>(store: BTree<F>, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    loop {
        if store.needs_maintenance() {
            store.maintain().await.expect("a healthy disk");
            written.borrow_mut().vacuumed = store.stats().compactions;
        } else if written.borrow().done {
            return;
        } else {
            env.sleep(Duration::from_micros(300)).await;
        }
    }
}

fn content_after(batches: &[Batch]) -> Model {
    let mut model = Model::new();
    batches.iter().for_each(|batch| apply(&mut model, batch));
    model.retain(|_, keys| !keys.is_empty());
    model
}

/// What is there must be the content after some number of batches, at least those promised.
async fn check<F: Fs>(store: &BTree<F>, written: &mut Written) -> Result<(), Loss> {
    let text = |error: contract::EngineError| error.to_string();
    store.verify().await.map_err(text)?;
    let content = everything(store).await.map_err(text)?;
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

fn restarted(world: &World<()>, end: End) -> SimFs {
    match end {
        End::Kill => world.kill(NODE),
        End::PowerLoss | End::PowerLossWithGarbage => {
            world.crash(NODE);
        }
    }
    world.restart(NODE);
    world.fs(NODE)
}

/// Opens the store, checks it, writes on behind what was cut off.
async fn reopen<F: Fs>(fs: F, options: BTreeOptions, log: Rc<RefCell<Written>>) -> Result<(), Loss> {
    let text = |error: contract::EngineError| error.to_string();
    let store = BTree::open(&fs, "store", &options).await.map_err(text)?;
    let mut written = log.take();
    check(&store, &mut written).await?;
    for number in written.batches.len()..written.batches.len() + 20 {
        written.batches.push(batch(number));
        store.write(batch(number), Durability::Lazy).await.map_err(text)?;
    }
    store.sync().await.map_err(text)?;
    store.maintain().await.map_err(text)?;
    written.promised = written.batches.len();
    *log.borrow_mut() = written;
    Ok(())
}

fn crash(trial: Trial, seed: u64, n: Option<u64>, set: impl Fn(&Faults)) -> Result<u64, Loss> {
    // Groups and logs so small that much is written without a flush, and copied.
    let options = BTreeOptions { pool_bytes: 0, wal_bytes: 4 << 10, ..tiny(trial.mode) };
    let disk = DiskConfig { persistence: trial.persistence, ..disk_profile("nvme").expect("a named disk") };
    let world = world_with(seed, disk);
    if trial.end == End::PowerLossWithGarbage {
        let _ = world.inject(&Fault::Garbage(Garbage { node: NODE, ppm: 500_000 }));
    }
    let written = Rc::new(RefCell::new(Written::default()));
    let faulty = |fs: SimFs| {
        let fs = Faulty::new(fs);
        set(&fs.faults);
        fs
    };
    let (fs, env, log) = (faulty(world.fs(NODE)), world.env(NODE), Rc::clone(&written));
    if let Some(n) = n {
        world.break_at_disk_op(NODE, n);
    }
    world.env(NODE).spawn(async move {
        let store = BTree::open(&fs, "store", &options).await.expect("a healthy disk");
        env.spawn(writer(store.clone(), env.clone(), trial.batches, Rc::clone(&log)));
        env.spawn(syncer(store.clone(), env.clone(), Rc::clone(&log)));
        env.spawn(maintainer(store, env.clone(), log));
    });
    match world.next(Time::FAR) {
        Some(Event::DiskOp { .. }) if seed % 2 == 1 => world.run_tasks(),
        Some(Event::DiskOp { .. }) => {}
        None => assert!(n.is_none(), "the run ended before its disk operation {n:?}"),
        Some(other) => panic!("nobody asked for {other:?}"),
    }
    let operations = world.disk_ops(NODE);
    assert!(n.is_some() || written.borrow().vacuumed > 0, "a whole run has vacuum in it");
    let fs = faulty(restarted(&world, trial.end));
    run(&world, reopen(fs, options, Rc::clone(&written)))?;
    // Whatever recovery left unflushed goes now.
    let fs = faulty(restarted(&world, End::PowerLoss));
    run(&world, reopen(fs, options, written))?;
    Ok(operations)
}

/// Tries a crash at every disk operation of a run; the first loss, if there is one.
fn enumerate(trial: Trial, seeds: u64, set: impl Fn(&Faults)) -> Result<u64, Loss> {
    let mut crashes = 0;
    for seed in 0..seeds {
        let operations = crash(trial, seed, None, &set)?;
        for n in 1..=operations {
            crash(trial, seed, Some(n), &set)
                .map_err(|loss| format!("{trial:?}, seed {seed}, disk operation {n}: {loss}"))?;
        }
        crashes += operations + 1;
    }
    Ok(crashes)
}

/// `SEEDBED_CRASH_SEEDS` raises the number of runs per trial.
fn seeds(default: u64) -> u64 {
    std::env::var("SEEDBED_CRASH_SEEDS").map_or(default, |seeds| seeds.parse().expect("a number"))
}

const POWER_LOSS: Trial =
    Trial { mode: Mode::Wal, persistence: Persistence::Journalled, end: End::PowerLoss, batches: 100 };

fn holds(trial: Trial, default_seeds: u64, at_least: u64) {
    let crashes = enumerate(trial, seeds(default_seeds), |_| {}).unwrap_or_else(|loss| panic!("{loss}"));
    println!("{trial:?}: {crashes} crashes");
    assert!(crashes >= at_least, "only {crashes} crashes were tried");
}

#[test]
fn a_log_keeps_a_prefix_with_all_that_was_synced() {
    holds(POWER_LOSS, 6, 800);
}

#[test]
fn a_log_keeps_a_prefix_where_nothing_is_in_order() {
    holds(Trial { persistence: Persistence::PosixWeak, ..POWER_LOSS }, 6, 800);
}

#[test]
fn a_log_keeps_a_prefix_where_sectors_turn_into_garbage() {
    holds(Trial { end: End::PowerLossWithGarbage, ..POWER_LOSS }, 4, 500);
}

#[test]
fn a_log_keeps_a_prefix_when_the_process_dies() {
    holds(Trial { end: End::Kill, ..POWER_LOSS }, 4, 500);
}

const JOURNAL: Trial = Trial { mode: Mode::Rollback, ..POWER_LOSS };

#[test]
fn a_journal_keeps_a_prefix_with_all_that_was_synced() {
    holds(JOURNAL, 6, 800);
}

#[test]
fn a_journal_keeps_a_prefix_where_nothing_is_in_order() {
    holds(Trial { persistence: Persistence::PosixWeak, ..JOURNAL }, 6, 800);
}

#[test]
fn a_journal_keeps_a_prefix_where_sectors_turn_into_garbage() {
    holds(Trial { end: End::PowerLossWithGarbage, ..JOURNAL }, 4, 500);
}

#[test]
fn a_journal_keeps_a_prefix_when_the_process_dies() {
    holds(Trial { end: End::Kill, ..JOURNAL }, 4, 500);
}

#[test]
fn a_btree_whose_syncs_do_nothing_is_caught() {
    for trial in [POWER_LOSS, JOURNAL] {
        let no_file_syncs = |faults: &Faults| faults.ignores_file_syncs.set(true);
        enumerate(trial, 2, no_file_syncs).expect_err("files lose what is not synced");
        let no_dir_syncs = |faults: &Faults| faults.ignores_dir_syncs.set(true);
        enumerate(trial, 2, no_dir_syncs).expect_err("names that are not synced are lost");
    }
}

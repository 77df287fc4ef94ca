//! A power loss at every disk operation of an engine, and what must be there afterwards: a prefix of
//! the batches, each whole, with all that was synced; and every checkpoint that was completed.
//!
//! `CRASH_SEEDS` raises the number of runs whose operations are enumerated.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use contract::{Batch, Durability, Engine, EngineError, Env, FsError};
use sim::{SimEnv, SimFs};
use storage::{LogStore, LogStoreOptions, Lsm, LsmOptions};

use crate::conformance::{tiny, tiny_segments, tiny_tiered};
use crate::crash::{Loss, enumerate, power_cycle, run_until};
use crate::faulty::{Faults, Faulty};
use crate::ground::{NODE, run, world};
use crate::model::{FAMILIES, Model};

type Disk = Faulty<SimFs>;

/// Batches in the order of their writes, and how many of them are promised.
#[derive(Default)]
struct Written {
    batches: Vec<Batch>,
    /// So many have returned.
    returned: usize,
    promised: usize,
    /// Completed checkpoints, each with the least and the largest number of batches it may hold.
    checkpoints: Vec<(String, usize, usize)>,
}

const BATCHES: usize = 300;

/// Every batch writes its own number too, so that what is recovered can be told.
pub(crate) fn batch(number: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put("number", number.to_le_bytes());
    for i in 0..number % 4 {
        let key = format!("key{:02}", (number * 31 + i * 17) % 40);
        let family = FAMILIES[usize::from(number % 6 == 5)];
        if (number + i).is_multiple_of(5) {
            batch.delete_in(family, key);
        } else {
            batch.put_in(family, key, vec![number as u8; number * 13 % 50]);
        }
    }
    if number % 11 == 10 {
        let (from, to) = (number * 7 % 40, number * 7 % 40 + 6);
        batch.delete_range(FAMILIES[0], format!("key{from:02}"), Some(format!("key{to:02}").into_bytes()));
    }
    batch
}

async fn writer<E: Engine>(store: E, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    for number in 0..BATCHES {
        let batch = batch(number);
        written.borrow_mut().batches.push(batch.clone());
        let synced = number % 7 == 0;
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        store.write(batch, durability).await.expect("a healthy disk");
        written.borrow_mut().returned = number + 1;
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

async fn maintainer<E: Engine>(store: E, env: SimEnv<()>, written: Rc<RefCell<Written>>) {
    for round in 0.. {
        if round % 100 == 60 {
            let (dir, least) = (format!("copy{round}"), written.borrow().returned);
            store.checkpoint(&dir).await.expect("a healthy disk");
            let mut written = written.borrow_mut();
            let most = written.batches.len();
            written.checkpoints.push((dir, least, most));
        }
        if store.needs_maintenance() {
            store.maintain().await.expect("a healthy disk");
        } else if written.borrow().batches.len() == BATCHES {
            return;
        } else {
            env.sleep(Duration::from_micros(100)).await;
        }
    }
}

fn told(error: EngineError) -> Loss {
    error.to_string()
}

/// How many batches a store holds; a loss if it is not exactly the content after so many.
pub(crate) async fn batches_in<E: Engine>(store: &E, batches: &[Batch]) -> Result<usize, Loss> {
    store.verify().await.map_err(told)?;
    let number = store.get(b"number").await.map_err(told)?;
    let count = number.map_or(0, |n| usize::from_le_bytes(n.try_into().expect("eight bytes")) + 1);
    let Some(batches) = batches.get(..count) else {
        return Err(format!("{count} batches are there, and fewer were written"));
    };
    match Model::after(batches).difference(store).await {
        Some(difference) => Err(format!("the content is not that after {count} batches: {difference}")),
        None => Ok(count),
    }
}

async fn check<E: Engine>(store: &E, written: &mut Written) -> Result<(), Loss> {
    let count = batches_in(store, &written.batches).await?;
    if count < written.promised {
        return Err(format!("promised batch {} is gone, {count} are there", written.promised - 1));
    }
    written.batches.truncate(count);
    Ok(())
}

/// Checkpoints hold what they held, whatever became of the store.
async fn check_copies<E: Engine>(fs: &E::Fs, options: &E::Options, written: &Written) -> Result<(), Loss> {
    for (dir, least, most) in &written.checkpoints {
        let all: Vec<_> = (0..*most).map(batch).collect();
        let copy = E::open(fs, dir, options).await.map_err(|error| format!("{dir}: {error}"))?;
        let count = batches_in(&copy, &all).await.map_err(|loss| format!("{dir}: {loss}"))?;
        if count < *least {
            return Err(format!("{dir}: {count} batches instead of {least} to {most}"));
        }
    }
    Ok(())
}

fn crash<E: Engine<Fs = Disk>>(
    seed: u64,
    n: Option<u64>,
    options: E::Options,
    set: impl Fn(&Faults),
) -> Result<u64, Loss> {
    let world = world(seed, "nvme");
    let written = Rc::new(RefCell::new(Written::default()));
    let faulty = |fs: SimFs| {
        let fs = Faulty::new(fs);
        set(&fs.faults);
        fs
    };
    let (fs, env, log, tuned) =
        (faulty(world.fs(NODE)), world.env(NODE), Rc::clone(&written), options.clone());
    run_until(&world, n, seed % 2 == 1, async move {
        let store = E::open(&fs, "store", &tuned).await.expect("a healthy disk");
        env.spawn(writer(store.clone(), env.clone(), Rc::clone(&log)));
        env.spawn(maintainer(store, env.clone(), log));
    });
    let operations = world.disk_ops(NODE);
    let (fs, log, tuned) = (faulty(power_cycle(&world)), Rc::clone(&written), options.clone());
    run(&world, async move {
        let store = E::open(&fs, "store", &tuned).await.map_err(told)?;
        let mut written = log.take();
        check(&store, &mut written).await?;
        check_copies::<E>(&fs, &tuned, &written).await?;
        // Writing goes on behind what was cut off.
        for number in written.batches.len()..written.batches.len() + 20 {
            written.batches.push(batch(number));
            store.write(batch(number), Durability::Lazy).await.map_err(told)?;
        }
        store.sync().await.map_err(told)?;
        store.maintain().await.map_err(told)?;
        written.promised = written.batches.len();
        *log.borrow_mut() = written;
        Ok::<_, Loss>(())
    })?;
    let fs = faulty(power_cycle(&world));
    run(&world, async move {
        let store = E::open(&fs, "store", &options).await.map_err(told)?;
        check(&store, &mut written.take()).await
    })?;
    Ok(operations)
}

fn seeds(default: u64) -> u64 {
    std::env::var("CRASH_SEEDS").map_or(default, |seeds| seeds.parse().expect("a number of seeds"))
}

/// The crash suite for an engine; `at_least` so many crashes per seed prove that it reached something.
fn survives_every_crash<E: Engine<Fs = Disk>>(options: &E::Options, seeds: u64, at_least: u64) {
    let crashes = enumerate(seeds, |seed, n| crash::<E>(seed, n, options.clone(), |_| {}));
    let crashes = crashes.unwrap_or_else(|loss| panic!("{loss}"));
    println!("{crashes} crashes");
    assert!(crashes >= seeds * at_least, "only {crashes} crashes were tried");
}

/// The suite finds what an engine loses whose syncs do nothing.
fn needs_its_syncs<E: Engine<Fs = Disk>>(options: &E::Options) {
    let no_file_syncs = |faults: &Faults| faults.ignores_file_syncs.set(true);
    enumerate(2, |seed, n| crash::<E>(seed, n, options.clone(), no_file_syncs))
        .expect_err("files lose what is not synced");
    let no_dir_syncs = |faults: &Faults| faults.ignores_dir_syncs.set(true);
    enumerate(2, |seed, n| crash::<E>(seed, n, options.clone(), no_dir_syncs))
        .expect_err("names that are not synced are lost");
}

/// After a failed write or flush nothing more is acknowledged, and all that was is there.
fn stops_at_a_failure<E: Engine<Fs = Disk>>(options: &E::Options, fail: impl Fn(&Faults, u32)) {
    for after in 1..40 {
        let world = world(u64::from(after), "nvme");
        let (fs, tuned) = (Faulty::new(world.fs(NODE)), options.clone());
        let set = |faults: &Faults| fail(faults, after);
        set(&fs.faults);
        let written = run(&world, async move {
            let mut written = Written::default();
            let Ok(store) = E::open(&fs, "store", &tuned).await else { return written };
            let mut failure: Option<EngineError> = None;
            for number in 0..200 {
                written.batches.push(batch(number));
                match store.write(batch(number), Durability::Synced).await {
                    Ok(()) => {
                        assert_eq!(failure, None, "a write is acknowledged after a failure");
                        written.promised = number + 1;
                    }
                    Err(error) => {
                        assert!(matches!(
                            error,
                            EngineError::Fs(FsError::Io { .. } | FsError::NoSpace { .. })
                        ));
                        let first = failure.get_or_insert_with(|| error.clone());
                        assert_eq!(*first, error, "the first failure is told again");
                        // A device that has room again, and whose flushes succeed, mends nothing.
                        fs.faults.file_syncs_left.set(None);
                        fs.faults.writes_left.set(None);
                    }
                }
                if number % 3 == 0
                    && failure.is_none()
                    && let Err(error) = store.maintain().await
                {
                    // A failed compaction changes nothing: the store may go on, or refuse.
                    assert!(matches!(error, EngineError::Fs(_)), "{error}");
                }
            }
            written
        });
        let (fs, options) = (Faulty::new(power_cycle(&world)), options.clone());
        run(&world, async move {
            let store = E::open(&fs, "store", &options).await.expect("opens");
            let mut written = written;
            check(&store, &mut written).await.unwrap_or_else(|loss| panic!("{after}: {loss}"));
        });
    }
}

macro_rules! crash_suite {
    ($name:ident, $engine:ident, $options:expr, $seeds:expr, $at_least:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn keeps_a_prefix_with_all_that_was_synced() {
                survives_every_crash::<$engine<_>>(&$options, seeds($seeds), $at_least);
            }

            #[test]
            fn is_caught_if_its_syncs_do_nothing() {
                needs_its_syncs::<$engine<_>>(&$options);
            }

            #[test]
            fn acknowledges_nothing_after_a_failed_flush() {
                stops_at_a_failure::<$engine<_>>(&$options, |faults, after| {
                    faults.file_syncs_left.set(Some(after));
                });
            }

            #[test]
            fn acknowledges_nothing_after_a_failed_write() {
                stops_at_a_failure::<$engine<_>>(&$options, |faults, after| {
                    faults.writes_left.set(Some(after));
                });
            }
        }
    };
}

crash_suite!(lsm, Lsm, LsmOptions { memtable_bytes: 1024, ..tiny() }, 6, 500);
crash_suite!(lsm_tiered, Lsm, LsmOptions { memtable_bytes: 1024, ..tiny_tiered() }, 2, 400);
crash_suite!(logstore, LogStore, LogStoreOptions { segment_bytes: 1024, ..tiny_segments() }, 4, 300);

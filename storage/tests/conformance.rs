//! Any sequence of operations on an engine gives what a sorted map gives.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use contract::{Batch, Change, Durability, Engine, Fs, Range, ReadStore};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};
use storage::{Lsm, LsmOptions};

use crate::ground::{Folder, NODE, block_on, run, world};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Changes, bool),
    Get(Vec<u8>),
    Scan(Vec<u8>, Option<Vec<u8>>, usize),
    /// Take a snapshot; of three, the oldest goes.
    Snapshot,
    /// Read a key and a range of each snapshot.
    ReadSnapshots(Vec<u8>),
    Sync,
    Maintain,
    /// Sync, open anew, and forget the snapshots.
    Reopen,
    Verify,
}

/// Few keys, so that they are overwritten; some share long prefixes, and one is empty.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..24).prop_map(|i| vec![i]),
        4 => (0u16..40).prop_map(|i| format!("a/long/shared/prefix/{i:03}").into_bytes()),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..3),
    ]
}

fn change() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    (key(), prop::option::weighted(0.75, vec(any::<u8>(), 0..60)))
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (vec(change(), 0..6), prop::bool::weighted(0.1)).prop_map(|(c, s)| Step::Write(c, s)),
        4 => key().prop_map(Step::Get),
        2 => (key(), prop::option::of(key()), 0usize..50).prop_map(|(f, t, l)| Step::Scan(f, t, l)),
        1 => Just(Step::Snapshot),
        2 => key().prop_map(Step::ReadSnapshots),
        1 => Just(Step::Sync),
        4 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => Just(Step::Verify),
    ]
}

/// So small that a sequence of steps fills several levels.
pub(crate) fn tiny() -> LsmOptions {
    LsmOptions {
        memtable_bytes: 512,
        block_bytes: 128,
        l0_tables: 2,
        level_bytes: 1024,
        table_bytes: 512,
        block_cache_bytes: 1024,
    }
}

fn expected_range(model: &Model, from: &[u8], to: Option<&[u8]>, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let inside =
        model.iter().filter(|(key, _)| key.as_slice() >= from && to.is_none_or(|to| key.as_slice() < to));
    inside.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn range<'a>(from: &'a [u8], to: Option<&'a [u8]>) -> Range<'a> {
    Range { from, to, ..Range::all() }
}

pub(crate) fn batch_of(changes: Changes) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
    }
    batch
}

pub(crate) async fn conforms<E: Engine>(
    fs: E::Fs,
    options: E::Options,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut engine = E::open(&fs, "a/store", &options).await.expect("opens");
    let mut model = Model::new();
    let mut snapshots: Vec<(E::Snapshot, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Write(changes, synced) => {
                for (key, value) in changes.clone() {
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
                let durability = if synced { Durability::Synced } else { Durability::Lazy };
                engine.write(batch_of(changes), durability).await.expect("writes");
            }
            Step::Get(key) => {
                prop_assert_eq!(&engine.get(&key).await.expect("reads"), &model.get(&key).cloned());
            }
            Step::Scan(from, to, limit) => {
                let found = engine.scan(range(&from, to.as_deref()), limit).await.expect("reads");
                prop_assert_eq!(found, expected_range(&model, &from, to.as_deref(), limit));
            }
            Step::Snapshot => {
                if snapshots.len() == 3 {
                    snapshots.remove(0);
                }
                snapshots.push((engine.snapshot(), model.clone()));
            }
            Step::ReadSnapshots(key) => {
                for (snapshot, then) in &snapshots {
                    prop_assert_eq!(&snapshot.get(&key).await.expect("reads"), &then.get(&key).cloned());
                    let found = snapshot.scan(range(&key, None), 10).await.expect("reads");
                    prop_assert_eq!(found, expected_range(then, &key, None, 10));
                }
            }
            Step::Sync => engine.sync().await.expect("syncs"),
            Step::Maintain => {
                let more = engine.maintain().await.expect("maintains");
                prop_assert_eq!(more, engine.needs_maintenance());
            }
            Step::Reopen => {
                engine.sync().await.expect("syncs");
                snapshots.clear();
                engine = E::open(&fs, "a/store", &options).await.expect("opens again");
            }
            Step::Verify => engine.verify().await.expect("intact"),
        }
    }
    let all = engine.scan(Range::all(), usize::MAX).await.expect("reads");
    prop_assert_eq!(all, expected_range(&model, b"", None, usize::MAX));
    for (snapshot, then) in snapshots {
        let all = snapshot.scan(Range::all(), usize::MAX).await.expect("reads");
        prop_assert_eq!(all, expected_range(&then, b"", None, usize::MAX));
    }
    settles(&fs, &options, engine).await
}

/// Maintenance comes to an end, and leaves no file that nobody needs.
async fn settles<E: Engine>(fs: &E::Fs, options: &E::Options, engine: E) -> Result<(), TestCaseError> {
    let mut rounds = 0;
    while engine.maintain().await.expect("maintains") {
        rounds += 1;
        prop_assert!(rounds < 1000, "maintenance goes on for ever");
    }
    engine.verify().await.expect("intact");
    // The files of a log-structured engine can be counted.
    if !(options as &dyn std::any::Any).is::<LsmOptions>() {
        return Ok(());
    }
    prop_assert!(count(fs, ".manifest").await == 1 && count(fs, ".wal").await <= 1);
    // Opening removes what nobody names, and may write one table out of a log.
    let tables = count(fs, ".table").await;
    engine.sync().await.expect("syncs");
    drop(E::open(fs, "a/store", options).await.expect("opens again"));
    let named = count(fs, ".table").await;
    prop_assert!(tables <= named && named <= tables + 1, "{} tables, {} of them named", tables, named);
    Ok(())
}

async fn count(fs: &impl Fs, suffix: &str) -> usize {
    let names = fs.list("a/store").await.expect("lists");
    names.iter().filter(|name| name.ends_with(suffix)).count()
}

/// `PROPTEST_CASES` raises the number of cases; `slowdown` divides it where a case takes longer.
pub(crate) fn config(slowdown: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.div_ceil(slowdown), rng_seed: RngSeed::Fixed(1), ..default }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn lsm_is_a_map_on_a_simulated_disk(steps in vec(step(), 1..300), seed in any::<u64>()) {
        let world = world(seed, "ideal");
        run(&world, conforms::<Lsm<_>>(world.fs(NODE), tiny(), steps))?;
    }

}

proptest! {
    // Real flushes take their time.
    #![proptest_config(config(16))]

    #[test]
    fn lsm_is_a_map_on_a_real_folder(steps in vec(step(), 1..100)) {
        let folder = Folder::new();
        block_on(conforms::<Lsm<_>>(folder.fs(), tiny(), steps))?;
    }
}

/// Readers, writers and maintenance beside each other, on a disk that takes its time.
#[test]
fn snapshots_hold_while_others_write_and_compact() {
    let world = world(1, "nvme");
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let stats = run(&world, async move {
        let engine = Lsm::open(&fs, "a/store", &tiny()).await.expect("opens");
        let model = RefCell::new(Model::new());
        let (writing, done) = (Cell::new(false), Cell::new(false));
        let write = async {
            for i in 0..3000u32 {
                let mut batch = Batch::default();
                for j in 0..i % 3 {
                    let key = (i * 7919 % 200 + j).to_be_bytes();
                    batch.put(key, vec![i as u8; 30]);
                }
                let written = batch.clone();
                writing.set(true);
                engine.write(batch, Durability::Lazy).await.expect("writes");
                writing.set(false);
                for change in written.changes {
                    let Change::Put { key, value, .. } = change else {
                        unreachable!("only puts are written")
                    };
                    model.borrow_mut().insert(key, value);
                }
                if i.is_multiple_of(10) {
                    env.sleep(Duration::from_micros(50)).await;
                }
            }
            done.set(true);
        };
        let maintain = async {
            while !done.get() || engine.needs_maintenance() {
                engine.maintain().await.expect("maintains");
                env.sleep(Duration::from_micros(20)).await;
            }
        };
        let read = async {
            while !done.get() {
                // Within a write nobody can say whether it is in the snapshot.
                if writing.get() {
                    env.sleep(Duration::from_micros(1)).await;
                    continue;
                }
                let (snapshot, then) = (engine.snapshot(), model.borrow().clone());
                env.sleep(Duration::from_millis(2)).await;
                let all = snapshot.scan(Range::all(), usize::MAX).await.expect("reads");
                assert_eq!(all, expected_range(&then, b"", None, usize::MAX));
            }
        };
        futures::join!(write, maintain, read);
        let all = engine.scan(Range::all(), usize::MAX).await.expect("reads");
        assert_eq!(all, expected_range(&model.borrow(), b"", None, usize::MAX));
        let stats = engine.stats();
        settles(&fs, &tiny(), engine).await.expect("settles");
        stats
    });
    assert!(stats.compactions > 50, "{stats:?}");
}

/// The cases above do reach every level of the machinery.
#[test]
fn tiny_options_reach_deep_levels() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    let stats = run(&world, async move {
        let engine = Lsm::open(&fs, "store", &tiny()).await.expect("opens");
        for i in 0..2000u32 {
            let mut batch = Batch::default();
            batch.put((i * 7919 % 400).to_be_bytes(), vec![i as u8; 40]);
            engine.write(batch, Durability::Lazy).await.expect("writes");
            if engine.needs_maintenance() {
                engine.maintain().await.expect("maintains");
            }
        }
        engine.stats()
    });
    assert!(stats.flushes > 100 && stats.compactions > 100, "{stats:?}");
    let amplification = stats.bytes_written_to_files / stats.bytes_written_by_callers;
    assert!((3..40).contains(&amplification), "write amplification {amplification}");
}

//! What holds for the log-structured store alone: merges, hints, and which files it keeps.

use contract::{Batch, Durability, Engine, File, Fs, OpenMode, Range, ReadStore};
use sim::SimFs;
use storage::{LogStore, LogStoreOptions, Lsm};

use crate::crash::power_cycle;
use crate::engines::{self, SOUND};
use crate::ground::{NODE, run, world};
use crate::model::settle;
use crate::script::{Script, batch};

async fn names(fs: &SimFs, suffix: &str) -> Vec<String> {
    let mut names = fs.list("store").await.expect("lists");
    names.retain(|name| name.ends_with(suffix));
    names
}

/// What a batch made stale goes with a merge only if that batch is durable.
#[test]
fn a_merge_outlives_no_batch_that_it_relies_on() {
    for seed in 0..20 {
        let world = world(seed, "nvme");
        let fs = world.fs(NODE);
        let batches: Vec<_> = (0..149).map(batch).collect();
        let (count, written) = (batches.len(), batches.clone());
        let script = Script::new(count);
        run(&world, async move {
            let store = LogStore::open(&fs, "store", &engines::logstore(SOUND)).await.expect("opens");
            let (last, synced) = written.split_last().expect("batches");
            for batch in synced {
                store.write(batch.clone(), Durability::Lazy).await.expect("writes");
            }
            store.sync().await.expect("syncs");
            // So small that it stays in memory; it makes the number in a sealed segment stale.
            store.write(last.clone(), Durability::Lazy).await.expect("writes");
            settle(&store).await;
            assert!(store.stats().compactions > 0, "a merge was due");
        });
        let fs = power_cycle(&world);
        run(&world, async move {
            let store = LogStore::open(&fs, "store", &engines::logstore(SOUND)).await.expect("opens");
            let held = script.held(&store).await;
            assert_eq!(held, Ok(count), "seed {seed}: a merge makes durable what it relies on");
        });
    }
}

/// Opening reads the hint, not the values; without it, the values.
#[test]
fn a_hint_saves_reading_the_values() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options =
            LogStoreOptions { segment_bytes: 16 << 10, step_bytes: 4096, ..LogStoreOptions::default() };
        let store = LogStore::open(&fs, "store", &options).await.expect("opens");
        for i in 0..400u32 {
            let mut batch = Batch::default();
            batch.put((i % 100).to_be_bytes(), vec![i as u8; 500]);
            store.write(batch, Durability::Lazy).await.expect("writes");
        }
        store.sync().await.expect("syncs");
        settle(&store).await;
        let all = store.scan(Range::all(), usize::MAX).await.expect("reads");
        let mut read = Vec::new();
        for _ in 0..2 {
            let store = LogStore::open(&fs, "store", &options).await.expect("opens again");
            read.push(store.stats().bytes_read_from_files);
            assert_eq!(store.scan(Range::all(), usize::MAX).await.as_ref(), Ok(&all));
            let hints = names(&fs, ".hint").await;
            assert!(hints.len() <= 1, "one merged segment has one hint");
            for hint in hints {
                fs.remove(&format!("store/{hint}")).await.expect("removes");
            }
        }
        let values: usize = all.iter().map(|(_, value)| value.len()).sum();
        assert!(read[0] + values as u64 / 2 < read[1], "{read:?} bytes with and without a hint");
    });
}

/// A hint of another merge of the same number, as a crash may leave one behind, is not believed.
#[test]
fn a_hint_of_another_merge_is_not_believed() {
    async fn build(fs: SimFs, first: u32) -> (Vec<contract::Pair>, String, Vec<u8>) {
        let store = LogStore::open(&fs, "store", &engines::logstore(SOUND)).await.expect("opens");
        for i in 0..200u32 {
            let mut batch = Batch::default();
            batch.put((first + i % 20).to_be_bytes(), vec![i as u8; 40]);
            store.write(batch, Durability::Lazy).await.expect("writes");
        }
        store.sync().await.expect("syncs");
        settle(&store).await;
        let all = store.scan(Range::all(), usize::MAX).await.expect("reads");
        let hint = format!("store/{}", names(&fs, ".hint").await.pop().expect("a hint"));
        let file = fs.open(&hint, OpenMode::Existing).await.expect("exists");
        let bytes = file.read_at(0, vec![0; file.len().await.expect("has a length") as usize]).await.1;
        (all, hint, bytes)
    }
    let (here, there) = (world(1, "ideal"), world(1, "ideal"));
    let (all, hint, ours) = run(&here, build(here.fs(NODE), 0));
    let (_, same, theirs) = run(&there, build(there.fs(NODE), 1000));
    assert!(hint == same && ours != theirs, "two merges of one number");
    let fs = here.fs(NODE);
    run(&here, async move {
        let file = fs.open(&hint, OpenMode::Truncate).await.expect("exists");
        file.write_at(0, theirs).await.0.expect("writes");
        let store = LogStore::open(&fs, "store", &engines::logstore(SOUND)).await.expect("opens again");
        assert_eq!(store.scan(Range::all(), usize::MAX).await, Ok(all));
    });
}

/// Files that a snapshot reads stay as long as it lives, and no longer.
async fn snapshot_keeps<E: Engine<Fs = SimFs>>(fs: SimFs, options: E::Options, suffix: &'static str) {
    let store = E::open(&fs, "store", &options).await.expect("opens");
    let write = async |value: u8| {
        for i in 0..60u8 {
            let mut batch = Batch::default();
            batch.put([i], [value; 40]);
            store.write(batch, Durability::Lazy).await.expect("writes");
        }
        settle(&store).await;
    };
    write(1).await;
    let before = names(&fs, suffix).await;
    let snapshot = store.snapshot();
    for value in 2..9 {
        write(value).await;
    }
    let during = names(&fs, suffix).await;
    assert!(before.iter().all(|name| during.contains(name)), "{before:?} became {during:?} under a reader");
    assert_eq!(snapshot.get(&[7]).await, Ok(Some(vec![1; 40])));
    drop(snapshot);
    settle(&store).await;
    let after = names(&fs, suffix).await;
    // A table that no compaction has touched since may still be part of the store.
    assert!(!before.iter().all(|name| after.contains(name)), "{before:?} are in {after:?} without a reader");
}

#[test]
fn a_snapshot_keeps_its_files_and_no_longer() {
    let here = world(1, "ideal");
    run(&here, snapshot_keeps::<LogStore<_>>(here.fs(NODE), engines::logstore(SOUND), ".segment"));
    let here = world(1, "ideal");
    run(&here, snapshot_keeps::<Lsm<_>>(here.fs(NODE), engines::lsm(SOUND), ".table"));
}

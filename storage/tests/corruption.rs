//! Damage is told, and never read as data.

use std::collections::BTreeMap;

use contract::{Batch, Durability, Engine, EngineError, File, Fs, OpenMode, Range, ReadStore};
use sim::SimFs;
use storage::{LogStore, LogStoreOptions, Lsm, LsmOptions};

use crate::conformance::{tiny, tiny_tiered};
use crate::engine_crash::{batch, batches_in};
use crate::ground::{NODE, run, world};
use crate::model::{FAMILIES, Model, settle};

async fn read_file(fs: &SimFs, path: &str) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Existing).await.expect("exists");
    let len = file.len().await.expect("has a length") as usize;
    file.read_at(0, vec![0; len]).await.1
}

async fn write_byte(fs: &SimFs, path: &str, at: usize, byte: u8) {
    let file = fs.open(path, OpenMode::Existing).await.expect("exists");
    file.write_at(at as u64, vec![byte]).await.0.expect("writes");
}

/// Every third key is deleted.
fn expected(i: u32) -> Option<Vec<u8>> {
    (!i.is_multiple_of(3)).then(|| format!("value {i}").into_bytes())
}

const KEYS: u32 = 60;

async fn build(fs: &SimFs, options: &LsmOptions) -> Result<(), EngineError> {
    let store = Lsm::open(fs, "store", options).await?;
    for i in 0..KEYS {
        let (mut batch, key) = (Batch::default(), format!("key{i:03}"));
        match expected(i) {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        store.write(batch, Durability::Lazy).await?;
    }
    store.sync().await
}

/// Opens the store and reads all of it. What is read must be right; what cannot be read must be told
/// as corruption. Returns whether it was.
async fn right_or_corrupt(fs: &SimFs, options: &LsmOptions, place: &str) -> bool {
    let told = |error: EngineError| assert!(matches!(error, EngineError::Corrupt { .. }), "{place}: {error}");
    let store = match Lsm::open(fs, "store", options).await {
        Ok(store) => store,
        Err(error) => {
            told(error);
            return true;
        }
    };
    let mut corrupt = 0;
    for i in 0..KEYS {
        match store.get(format!("key{i:03}").as_bytes()).await {
            Ok(value) => assert_eq!(value, expected(i), "{place}: a wrong value"),
            Err(error) => {
                told(error);
                corrupt += 1;
            }
        }
    }
    match store.scan(Range::all(), usize::MAX).await {
        Ok(pairs) => {
            assert_eq!(corrupt, 0, "{place}: a scan read what a get could not");
            assert_eq!(pairs.len() as u32, (0..KEYS).filter(|i| expected(*i).is_some()).count() as u32);
        }
        Err(error) => told(error),
    }
    match store.verify().await {
        Ok(()) => false,
        Err(error) => {
            told(error);
            true
        }
    }
}

#[test]
fn every_flipped_bit_of_a_table_is_an_error_or_harmless() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = LsmOptions { memtable_bytes: 1 << 20, l0_tables: 100, ..tiny() };
        build(&fs, &options).await.expect("builds");
        // Opening writes what it replayed from the log as a table.
        assert!(!right_or_corrupt(&fs, &options, "untouched").await);
        let names = fs.list("store").await.expect("lists");
        let tables: Vec<_> = names.iter().filter(|name| name.ends_with(".table")).collect();
        assert_eq!(tables.len(), 1);
        let path = format!("store/{}", tables[0]);
        let bytes = read_file(&fs, &path).await;
        for (at, byte) in bytes.iter().enumerate() {
            for flip in [1 << (at % 8), 0xff] {
                write_byte(&fs, &path, at, byte ^ flip).await;
                let place = format!("byte {at} of {}", bytes.len());
                assert!(right_or_corrupt(&fs, &options, &place).await, "{place}: nobody noticed");
            }
            write_byte(&fs, &path, at, *byte).await;
        }
        assert!(!right_or_corrupt(&fs, &options, "restored").await);
    });
}

/// A manifest or `CURRENT` with a flipped bit is told, or its edit counts as torn and nothing that
/// was acknowledged depends on it.
#[test]
fn a_damaged_manifest_is_told() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = tiny();
        build(&fs, &options).await.expect("builds");
        let current = read_file(&fs, "store/CURRENT").await;
        for (at, byte) in current.iter().enumerate() {
            write_byte(&fs, "store/CURRENT", at, byte ^ 1).await;
            let opened = Lsm::open(&fs, "store", &options).await.map(|_| ());
            assert!(matches!(opened, Err(EngineError::Corrupt { .. })), "byte {at}: {opened:?}");
            write_byte(&fs, "store/CURRENT", at, *byte).await;
        }
        fs.remove("store/CURRENT").await.expect("removes");
        let opened = Lsm::open(&fs, "store", &options).await.map(|_| ());
        assert!(matches!(opened, Err(EngineError::Corrupt { .. })), "{opened:?}");
    });
}

/// A log that lost what had been synced is told; one that lost its unsynced end is not.
#[test]
fn a_synced_batch_that_is_gone_is_corruption() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = LsmOptions::default();
        let store = Lsm::open(&fs, "store", &options).await.expect("opens");
        for i in 0..3u8 {
            let mut batch = Batch::default();
            batch.put([i], [i; 20]);
            store.write(batch, Durability::Synced).await.expect("writes");
        }
        let names = fs.list("store").await.expect("lists");
        let log = names.iter().find(|name| name.ends_with(".wal")).expect("a log");
        let path = format!("store/{log}");
        let first_value = 32 + 16 + 8 + 3;
        let byte = read_file(&fs, &path).await[first_value];
        write_byte(&fs, &path, first_value, byte ^ 4).await;
        let opened = Lsm::open(&fs, "store", &options).await.map(|_| ());
        let Err(EngineError::Corrupt { file, offset, .. }) = opened else { panic!("{opened:?}") };
        assert_eq!((&*file, offset), (path.as_str(), 32));
    });
}

/// The files of a store in `dir`, read whole.
async fn files(fs: &SimFs, dir: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in fs.list(dir).await.expect("lists") {
        let bytes = read_file(fs, &format!("{dir}/{name}")).await;
        files.push((name, bytes));
    }
    files
}

/// What became of a store of which one byte is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was told as corruption.
    Told,
    /// All is there, and right.
    Harmless,
    /// The end of the last log seems never to have been flushed: what is there is a prefix.
    Prefix,
}

async fn outcome<E: Engine<Fs = SimFs>>(
    fs: &SimFs,
    dir: &str,
    options: &E::Options,
    batches: &[Batch],
) -> Outcome {
    let store = match E::open(fs, dir, options).await {
        Ok(store) => store,
        Err(EngineError::Corrupt { .. }) => return Outcome::Told,
        Err(error) => panic!("{dir}: {error}"),
    };
    if let Err(error) = store.verify().await {
        assert!(matches!(error, EngineError::Corrupt { .. }), "{dir}: {error}");
        // What can be read all the same is right.
        for (family, key) in FAMILIES.into_iter().flat_map(|family| (0..40).map(move |i| (family, i))) {
            let key = format!("key{key:02}");
            if let Ok(found) = store.get_in(family, key.as_bytes()).await {
                assert_eq!(found, Model::after(batches).get(family, key.as_bytes()), "{dir}: {key}");
            }
        }
        return Outcome::Told;
    }
    match batches_in(&store, batches).await {
        Ok(count) if count == batches.len() => Outcome::Harmless,
        Ok(_) => Outcome::Prefix,
        Err(loss) => panic!("{dir}: {loss}"),
    }
}

/// Every byte of every file of a store, damaged in two ways: by suffix of the file's name, what came
/// of it.
fn damaged<E: Engine<Fs = SimFs>>(options: E::Options) -> BTreeMap<(String, Outcome), u32> {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let store = E::open(&fs, "store", &options).await.expect("opens");
        let batches: Vec<_> = (0..45).map(batch).collect();
        for (number, batch) in batches.iter().enumerate() {
            store.write(batch.clone(), Durability::Synced).await.expect("writes");
            if number % 15 == 14 && number < 40 {
                settle(&store).await;
            }
        }
        let files = files(&fs, "store").await;
        let mut outcomes = BTreeMap::new();
        for (damaged, (name, bytes)) in files.iter().enumerate() {
            // Behind the used bytes of a log there are zeros alone: of these, a few will do.
            let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            for at in 0..bytes.len().min(used + 3) {
                let dir = format!("{name}-{at}");
                fs.create_dir(&dir).await.expect("creates");
                for (i, (name, bytes)) in files.iter().enumerate() {
                    let mut bytes = bytes.clone();
                    if i == damaged {
                        bytes[at] ^= 1 << (at % 8);
                    }
                    let file = fs.open(&format!("{dir}/{name}"), OpenMode::Truncate).await.expect("creates");
                    file.write_at(0, bytes).await.0.expect("writes");
                }
                let outcome = outcome::<E>(&fs, &dir, &options, &batches).await;
                let suffix = name.trim_start_matches(|c: char| c.is_ascii_digit());
                // Only an end that no flushed record stands behind may pass for a torn tail. The first
                // record of the last log says of nothing that it was flushed: so the log before it may too.
                let mut newest = files.iter().rev().filter(|(other, _)| other.ends_with(suffix)).take(2);
                let may_be_torn = newest.any(|(other, _)| other == name);
                assert!(outcome != Outcome::Prefix || may_be_torn, "{dir}: a synced batch is gone");
                *outcomes.entry((suffix.to_owned(), outcome)).or_default() += 1;
                fs.remove_dir(&dir).await.expect("removes");
            }
        }
        outcomes
    })
}

fn seen(outcomes: &BTreeMap<(String, Outcome), u32>, suffix: &str) -> Vec<Outcome> {
    outcomes.keys().filter(|(of, _)| of == suffix).map(|(_, outcome)| *outcome).collect()
}

#[test]
fn every_damaged_byte_of_a_merge_tree_is_told_or_cuts_the_last_log() {
    // Merged to the bottom, and as memtables leave them, with range tombstones.
    let merged = LsmOptions { memtable_bytes: 700, ..tiny_tiered() };
    let mut outcomes = damaged::<Lsm<_>>(merged);
    outcomes.extend(damaged::<Lsm<_>>(LsmOptions { l0_tables: 100, ..merged }));
    assert_eq!(seen(&outcomes, ".table"), [Outcome::Told]);
    assert_eq!(seen(&outcomes, "CURRENT"), [Outcome::Told]);
    assert!(seen(&outcomes, ".wal").contains(&Outcome::Told));
}

#[test]
fn every_damaged_byte_of_a_log_structured_store_is_told_or_cuts_the_last_segment() {
    let outcomes = damaged::<LogStore<_>>(LogStoreOptions { segment_bytes: 400, step_bytes: 300 });
    // It can be done without, and is found all the same.
    assert_eq!(seen(&outcomes, ".hint"), [Outcome::Told]);
    assert!(!seen(&outcomes, ".merged").contains(&Outcome::Prefix), "a merged segment was complete");
    assert!(seen(&outcomes, ".merged").contains(&Outcome::Told));
    assert!(seen(&outcomes, ".segment").contains(&Outcome::Told));
}

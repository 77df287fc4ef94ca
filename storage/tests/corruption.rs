//! Damage is told, and never read as data.

use contract::{Batch, Durability, Engine, EngineError, File, Fs, OpenMode, Range, ReadStore};
use sim::SimFs;
use storage::{Lsm, LsmOptions};

use crate::conformance::tiny;
use crate::ground::{NODE, run, world};

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

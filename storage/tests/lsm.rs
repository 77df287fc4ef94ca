//! What holds for the log-structured merge tree alone: which files it keeps, and how deep it goes.

use contract::{Batch, Durability, Engine, Fs};
use storage::Lsm;

use crate::engines::{self, SOUND};
use crate::ground::{NODE, run, world};
use crate::model::settle;

async fn count(fs: &impl Fs, suffix: &str) -> usize {
    let names = fs.list("store").await.expect("lists");
    names.iter().filter(|name| name.ends_with(suffix)).count()
}

/// Maintenance leaves no file that nobody needs.
#[test]
fn files_that_nobody_needs_go() {
    for seed in 0..20 {
        let world = world(seed, "ideal");
        let fs = world.fs(NODE);
        run(&world, async move {
            let engine = Lsm::open(&fs, "store", &engines::lsm(SOUND)).await.expect("opens");
            for i in 0..100 * (seed as u32 + 1) {
                let mut batch = Batch::default();
                batch.put((i * 7919 % 200).to_be_bytes(), vec![i as u8; 30]);
                engine.write(batch, Durability::Lazy).await.expect("writes");
                if i.is_multiple_of(seed as u32 + 2) {
                    engine.maintain().await.expect("maintains");
                }
            }
            settle(&engine).await;
            // The log of the last memtable stays until an edit vouches for the one that names its table.
            assert!(count(&fs, ".manifest").await == 1 && count(&fs, ".wal").await <= 2);
            // Opening removes what nobody names, and may write one table out of a log.
            let tables = count(&fs, ".table").await;
            engine.sync().await.expect("syncs");
            drop(Lsm::open(&fs, "store", &engines::lsm(SOUND)).await.expect("opens again"));
            let named = count(&fs, ".table").await;
            assert!(tables <= named && named <= tables + 1, "{tables} tables, {named} of them named");
        });
    }
}

/// The options of the other suites do reach every level of the machinery.
#[test]
fn tiny_options_reach_deep_levels() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    let stats = run(&world, async move {
        let engine = Lsm::open(&fs, "store", &engines::lsm(SOUND)).await.expect("opens");
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

//! B-trees that cannot read what a batch changes, and how many flushes their writers take.

use std::pin::pin;
use std::time::Duration;

use contract::{Batch, Durability, Engine, EngineError, Env, Family, FsError, Range, ReadStore};
use sim::fault::IoError;
use sim::{Fault, SimFs, World};
use storage::{BTree, BTreeOptions, Mode};

use crate::engines::{SOUND, btree};
use crate::ground::{NODE, run, world};

fn batch(i: u32) -> Batch {
    let mut batch = Batch::default();
    batch.put(format!("key{i:03}"), vec![i as u8; 40]);
    batch
}

/// A store of 300 keys of which memory has nothing, neither the store's nor the operating system's.
fn cold_store(world: &World<()>) -> BTree<SimFs> {
    let options = btree(Mode::Wal, SOUND);
    let fs = world.fs(NODE);
    run(world, async move {
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        for i in 0..300 {
            store.write(batch(i), Durability::Lazy).await.expect("writes");
        }
        store.sync().await.expect("syncs");
    });
    // The first opening copies the logs into the data file, and the second finds nothing to do.
    for _ in 0..2 {
        world.crash(NODE);
        world.restart(NODE);
        let fs = world.fs(NODE);
        run(world, async move { BTree::open(&fs, "store", &options).await.map(|_| ()).expect("opens") });
    }
    let fs = world.fs(NODE);
    run(world, async move { BTree::open(&fs, "store", &options).await.expect("opens") })
}

fn change_of_all() -> Batch {
    let mut batch = batch(900);
    batch.delete_range(Family::DEFAULT, "key", None);
    batch
}

/// After a change of all that did not happen.
async fn goes_on(store: BTree<SimFs>) {
    assert_eq!(store.scan(Range::all(), usize::MAX).await.expect("reads").len(), 300);
    store.verify().await.expect("intact");
    store.write(change_of_all(), Durability::Synced).await.expect("writes");
    store.verify().await.expect("intact");
    assert_eq!(store.scan(Range::all(), usize::MAX).await.expect("reads").len(), 0);
}

/// A batch that is dropped while it waits for a page leaves nothing, and the engine goes on.
#[test]
fn an_abandoned_read_of_a_batch_leaves_nothing() {
    let world = world(1, "nvme");
    let store = cold_store(&world);
    let env = world.env(NODE);
    run(&world, async move {
        for micros in [0, 60, 60, 60] {
            let mut write = pin!(store.write(change_of_all(), Durability::Lazy));
            let mut patience = pin!(env.sleep(Duration::from_micros(micros)));
            let ended = futures::future::select(write.as_mut(), patience.as_mut()).await;
            assert!(matches!(ended, futures::future::Either::Right(_)), "the disk takes its time");
        }
        goes_on(store).await;
    });
}

/// A batch that cannot read what it changes is not applied; a later one is.
#[test]
fn a_failed_read_refuses_its_batch_alone() {
    let world = world(1, "ideal");
    let store = cold_store(&world);
    let fault = world.inject(&Fault::IoError(IoError { node: NODE, read_ppm: 1_000_000, write_ppm: 0 }));
    let one = store.clone();
    run(&world, async move {
        let refused = one.write(change_of_all(), Durability::Lazy).await;
        assert!(matches!(refused, Err(EngineError::Fs(FsError::Io { action: "read", .. }))), "{refused:?}");
    });
    world.recover(fault);
    run(&world, goes_on(store));
}

/// Writers that wait at the same time share a flush.
#[test]
fn writers_share_flushes() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let world = world(1, "nvme");
        let (fs, env) = (world.fs(NODE), world.env(NODE));
        let store = run(&world, async move {
            // What was changed fits into memory: groups are written for flushes alone.
            let options = BTreeOptions { mode, ..BTreeOptions::default() };
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            let writer = |writer: u32| {
                let store = store.clone();
                async move {
                    for i in 0..10 {
                        store.write(batch(writer * 10 + i), Durability::Synced).await.expect("writes");
                    }
                }
            };
            let begin = Env::<()>::now(&env);
            futures::future::join_all((0..32).map(writer)).await;
            let took = Env::<()>::now(&env) - begin;
            assert!(took.as_millis() < 500, "{mode:?}: 320 synced writes took {took:?}");
            store
        });
        let groups = store.stats().flushes;
        assert!((10..=40).contains(&groups), "{mode:?}: {groups} groups of 320 synced writes");
    }
}

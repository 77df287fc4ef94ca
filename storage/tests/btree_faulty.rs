//! B-trees on disks that fail: nothing is acknowledged after the first failure, what was acknowledged
//! stays, and what is in memory or intact on disk can be read.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use contract::{Batch, Durability, Engine, EngineError, Env, Family, FsError, Range, ReadStore};
use sim::fault::IoError;
use sim::{Fault, SimFs, World};
use storage::{BTree, BTreeOptions, Mode};

use crate::btree_conformance::tiny;
use crate::faulty::{Faults, Faulty};
use crate::ground::{NODE, run, world};

fn batch(i: u32) -> Batch {
    let mut batch = Batch::default();
    batch.put(format!("key{i:03}"), vec![i as u8; 40]);
    batch
}

/// Writes until a disk that fails from some operation on has failed; then everything is refused, and
/// opening anew finds what was acknowledged.
fn latches(mode: Mode, set: fn(&Faults, u32), expected: fn(&FsError) -> bool) -> u32 {
    let mut failures = 0;
    for operation in 0..40 {
        let world = world(u64::from(operation), "ideal");
        let inner = world.fs(NODE);
        let fs = Faulty::new(inner.clone());
        let faults = Rc::clone(&fs.faults);
        set(&faults, 1000);
        let failed = run(&world, async move {
            let store = BTree::open(&fs, "store", &tiny(mode)).await.expect("opens");
            store.write(batch(0), Durability::Synced).await.expect("writes");
            set(&faults, operation);
            let (mut acknowledged, mut error) = (1, None);
            for i in 1..200 {
                let durability = if i % 3 == 0 { Durability::Synced } else { Durability::Lazy };
                let mut outcome = store.write(batch(i), durability).await;
                if i % 7 == 0 && outcome.is_ok() {
                    outcome = store.maintain().await.map(|_| ());
                }
                match outcome {
                    Ok(()) if durability == Durability::Synced => acknowledged = i + 1,
                    Ok(()) => {}
                    Err(found) => {
                        error = Some(found);
                        break;
                    }
                }
            }
            let Some(error) = error else { return false };
            assert!(matches!(&error, EngineError::Fs(cause) if expected(cause)), "{error}");
            // The disk is well again, and nobody trusts it.
            set(&faults, 1_000_000);
            assert_eq!(store.write(batch(500), Durability::Lazy).await, Err(error.clone()));
            assert_eq!(store.write(batch(500), Durability::Synced).await, Err(error.clone()));
            assert_eq!(store.sync().await, Err(error.clone()));
            assert_eq!(store.maintain().await, Err(error));
            assert!(!store.needs_maintenance(), "nothing can be done");
            for i in 0..acknowledged {
                let found = store.get(format!("key{i:03}").as_bytes()).await.expect("reads");
                assert_eq!(found, Some(vec![i as u8; 40]));
            }
            assert!(
                store.scan(Range::all(), usize::MAX).await.expect("reads").len() >= acknowledged as usize
            );
            let again = BTree::open(&inner, "store", &tiny(mode)).await.expect("opens again");
            again.verify().await.expect("intact");
            for i in 0..acknowledged {
                let found = again.get(format!("key{i:03}").as_bytes()).await.expect("reads");
                assert_eq!(found, Some(vec![i as u8; 40]), "acknowledged key {i} is gone");
            }
            assert_eq!(again.get(b"key500").await, Ok(None), "what was refused is not there");
            true
        });
        failures += u32::from(failed);
    }
    failures
}

#[test]
fn a_failed_flush_is_the_last() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let set = |faults: &Faults, n| faults.file_syncs_left.set(Some(n));
        let failures = latches(mode, set, |error| matches!(error, FsError::Io { action: "sync", .. }));
        assert_eq!(failures, 40, "{mode:?}");
    }
}

#[test]
fn a_failed_write_is_the_last() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let set = |faults: &Faults, n| faults.writes_left.set(Some(n));
        let failures = latches(mode, set, |error| matches!(error, FsError::NoSpace { .. }));
        assert_eq!(failures, 40, "{mode:?}");
    }
}

/// A write whose future is dropped while it waits for the disk.
#[test]
fn an_abandoned_write_stops_the_engine() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let world = world(1, "nvme");
        let fs = world.fs(NODE);
        run(&world, async move {
            let store = BTree::open(&fs, "store", &tiny(mode)).await.expect("opens");
            store.write(batch(0), Durability::Synced).await.expect("writes");
            {
                let mut write = pin!(store.write(batch(1), Durability::Synced));
                // Twice: the first time it gives way to others that may share its flush.
                for _ in 0..2 {
                    poll_fn(|cx| {
                        assert!(write.as_mut().poll(cx).is_pending(), "the disk takes its time");
                        Poll::Ready(())
                    })
                    .await;
                }
            }
            let refused = store.write(batch(2), Durability::Lazy).await;
            assert!(
                matches!(refused, Err(EngineError::Fs(FsError::Io { action: "write", .. }))),
                "{refused:?}"
            );
            assert_eq!(store.get(b"key000").await, Ok(Some(vec![0; 40])));
        });
    }
}

/// A store of 300 keys of which memory has nothing, neither the store's nor the operating system's.
fn cold_store(world: &World<()>) -> BTree<SimFs> {
    let options = tiny(Mode::Wal);
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

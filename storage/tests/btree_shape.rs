//! What trees look like, and what the machinery around them does.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use contract::{Batch, Durability, Engine, File, Fs, OpenMode, Range, ReadStore};
use storage::{BTree, BTreeOptions, Mode};

use crate::engines::{self, SOUND};
use crate::faulty::Faulty;
use crate::ground::{NODE, run, world};
use crate::model::{FAMILIES, Model};

const MODES: [Mode; 2] = [Mode::Wal, Mode::Rollback];

async fn data_bytes(fs: &impl Fs) -> u64 {
    fs.open("store/data", OpenMode::Existing).await.expect("exists").len().await.expect("has a length")
}

fn one(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, value);
    batch
}

/// A store that has few keys left gives its pages back, in bounded steps, and keeps what is left.
#[test]
fn vacuum_gives_pages_back() {
    for mode in MODES {
        let world = world(1, "ideal");
        let fs = world.fs(NODE);
        run(&world, async move {
            let options = BTreeOptions { wal_bytes: 4 << 10, ..engines::btree(mode, SOUND) };
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            let mut model = Model::default();
            for i in 0..1500u32 {
                let mut batch = one((i * 7919 % 1500).to_be_bytes(), vec![i as u8; 60]);
                if i.is_multiple_of(50) {
                    batch.put_in(
                        FAMILIES[1],
                        [vec![b'k'; 400], i.to_be_bytes().to_vec()].concat(),
                        vec![1; 900],
                    );
                }
                model.apply(&batch);
                store.write(batch, Durability::Lazy).await.expect("writes");
            }
            store.sync().await.expect("syncs");
            while store.maintain().await.expect("maintains") {}
            let before = data_bytes(&fs).await;
            let snapshot = store.snapshot();
            let then = model.clone();
            let mut batch = Batch::default();
            for i in (0..1500u32).filter(|i| i % 8 != 3) {
                batch.delete(i.to_be_bytes());
            }
            batch.delete_range(FAMILIES[1], vec![b'k'; 400], Some([vec![b'k'; 400], vec![0, 0, 4]].concat()));
            model.apply(&batch);
            store.write(batch, Durability::Synced).await.expect("writes");
            assert!(store.needs_maintenance(), "most pages are free");
            let mut steps = 0;
            while store.maintain().await.expect("maintains") {
                steps += 1;
                assert!(steps < 1000, "vacuum goes on for ever");
                if steps % 8 == 0 {
                    store.verify().await.expect("intact at every step");
                }
            }
            assert!(steps >= 5, "{mode:?}: a step is a part of the work, not {steps} of it");
            assert!(store.stats().compactions >= 3, "{:?}", store.stats());
            // Enough groups that those with the end cut off are in the data file.
            for i in 0..40u32 {
                let batch = one("again", i.to_be_bytes());
                model.apply(&batch);
                store.write(batch, Durability::Synced).await.expect("writes");
                while store.maintain().await.expect("maintains") {}
            }
            let after = data_bytes(&fs).await;
            assert!(after * 3 < before, "{mode:?}: {before} bytes became {after}");
            store.verify().await.expect("intact");
            assert_eq!(model.difference(&store).await, None);
            assert_eq!(then.difference(&snapshot).await, None, "a snapshot sees nothing of it");
            drop(snapshot);
            let again = BTree::open(&fs, "store", &options).await.expect("opens again");
            again.verify().await.expect("intact");
            assert_eq!(model.difference(&again).await, None);
        });
    }
}

/// A batch of many changes is applied in the order of its keys, and does what it says in its own order: of the
/// changes of one key the last one counts, and a range is deleted before what comes behind it.
#[test]
fn a_batch_of_many_changes_does_what_it_says() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = engines::btree(Mode::Wal, SOUND);
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        let mut model = Model::default();
        for round in 0..3u32 {
            let mut batch = Batch::default();
            for i in 0..4000u32 {
                let key = (i * 7919 % 1000).to_be_bytes();
                match i % 5 {
                    3 => batch.delete_in(FAMILIES[1], key),
                    4 => batch.put_in(FAMILIES[1], key, (i + round).to_be_bytes()),
                    _ => batch.put(key, (i + round).to_be_bytes()),
                }
                if i == 2000 {
                    batch.delete_range(FAMILIES[0], 100u32.to_be_bytes(), Some(900u32.to_be_bytes().into()));
                }
            }
            model.apply(&batch);
            store.write(batch, Durability::Lazy).await.expect("writes");
            assert_eq!(model.difference(&store).await, None);
        }
        store.verify().await.expect("intact");
    });
}

/// Lazy batches do not flush in mode `Wal`, and not before memory is half full in the other.
#[test]
fn lazy_batches_do_not_flush() {
    for (mode, batches) in [(Mode::Wal, 3000u32), (Mode::Rollback, 60)] {
        let world = world(1, "ideal");
        let fs = world.fs(NODE);
        let options = BTreeOptions { wal_bytes: 1 << 24, pool_bytes: 64 << 9, ..engines::btree(mode, SOUND) };
        let store = run(&world, async move { BTree::open(&fs, "store", &options).await.expect("opens") });
        let before = world.stats().disk_flushes;
        let writer = store.clone();
        run(&world, async move {
            for i in 0..batches {
                let batch = one((i * 7919 % 3000).to_be_bytes(), [i as u8; 40]);
                writer.write(batch, Durability::Lazy).await.expect("writes");
            }
        });
        assert_eq!(world.stats().disk_flushes, before, "{mode:?}");
        assert_eq!(store.stats().flushes > 10, mode == Mode::Wal, "{mode:?}: {:?}", store.stats());
    }
}

/// A commit of one batch takes one flush with a log, and three with a journal.
#[test]
fn a_commit_takes_as_many_flushes_as_told() {
    for (mode, flushes) in [(Mode::Wal, 1), (Mode::Rollback, 3)] {
        let world = world(1, "ideal");
        let fs = world.fs(NODE);
        let options = BTreeOptions { wal_bytes: 1 << 24, ..engines::btree(mode, SOUND) };
        let store = run(&world, async move {
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            store.write(one("a", "b"), Durability::Synced).await.expect("writes");
            store
        });
        let before = world.stats().disk_flushes;
        run(&world, async move {
            for i in 0..100u32 {
                store.write(one("key", i.to_be_bytes()), Durability::Synced).await.expect("writes");
            }
        });
        assert_eq!(world.stats().disk_flushes - before, 100 * flushes, "{mode:?}");
    }
}

/// A pool that is far smaller than the store: everything is read again and again, and is right.
#[test]
fn a_small_pool_reads_again() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = BTreeOptions { pool_bytes: 0, ..engines::btree(Mode::Wal, SOUND) };
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        for i in 0..2000u32 {
            store.write(one(i.to_be_bytes(), [i as u8; 40]), Durability::Lazy).await.expect("writes");
            while store.needs_maintenance() {
                store.maintain().await.expect("maintains");
            }
        }
        let before = store.stats();
        for i in 0..2000u32 {
            let i = i * 7919 % 2000;
            assert_eq!(store.get(&i.to_be_bytes()).await.expect("reads"), Some(vec![i as u8; 40]));
        }
        let after = store.stats();
        assert!(after.cache_misses - before.cache_misses > 1000, "{after:?}");
        assert!(after.cache_hits - before.cache_hits > 2000, "{after:?}");
        assert_eq!(
            after.bytes_read_from_files - before.bytes_read_from_files,
            (after.cache_misses - before.cache_misses) * 512,
            "what is missed is read, a page at a time"
        );
    });
}

/// Keys that come in order fill pages to the brim; keys in any order fill them to two thirds and more.
#[test]
fn pages_are_well_filled() {
    for (step, most_pages) in [(1u64, 1.1), (7919, 1.6)] {
        let world = world(1, "ideal");
        let fs = world.fs(NODE);
        run(&world, async move {
            let options = BTreeOptions { page_bytes: 4096, ..BTreeOptions::default() };
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            for i in 0..20_000u64 {
                let batch = one((i * step % 20_000).to_be_bytes(), [1; 92]);
                store.write(batch, Durability::Lazy).await.expect("writes");
            }
            store.sync().await.expect("syncs");
            drop(BTree::open(&fs, "store", &options).await.expect("copies the log"));
            let share = data_bytes(&fs).await as f64 / (20_000.0 * 104.0);
            assert!(
                share < most_pages * 1.07,
                "step {step}: {share:.2} bytes for each byte that was written"
            );
        });
    }
}

/// A page is changed, written and evicted while somebody still reads its old content from the disk: that
/// must not become the page's content. In mode `Wal`, its log may even be gone by then.
#[test]
fn a_late_read_does_not_bring_back_an_old_page() {
    for mode in MODES {
        let world = world(1, "ideal");
        let fs = Faulty::new(world.fs(NODE));
        run(&world, async move {
            let options = BTreeOptions { pool_bytes: 0, wal_bytes: 2 << 10, ..engines::btree(mode, SOUND) };
            let store = BTree::open(&fs, "store", &options).await.expect("opens");
            for i in 0..400u32 {
                store.write(one(i.to_be_bytes(), [1; 40]), Durability::Lazy).await.expect("writes");
            }
            store.sync().await.expect("syncs");
            let mut late = 0;
            for i in (0..400u32).step_by(8) {
                let key = i.to_be_bytes();
                let mut read = pin!(store.get(&key));
                fs.faults.read_yields.set(1);
                let begun = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
                fs.faults.read_yields.set(0);
                store.write(one(key, [2; 40]), Durability::Synced).await.expect("writes");
                while store.maintain().await.expect("maintains") {}
                assert_eq!(store.scan(Range::all(), usize::MAX).await.expect("reads").len(), 400);
                if begun.is_pending() {
                    late += 1;
                    let then = read.await.expect("reads").expect("is there");
                    assert!(then == [1; 40] || then == [2; 40], "what was there at some time");
                }
                assert_eq!(store.get(&key).await.expect("reads"), Some(vec![2; 40]), "{mode:?}: key {i}");
            }
            store.verify().await.expect("intact");
            assert!(late > 10, "{mode:?}: only {late} reads were late");
        });
    }
}

/// A checkpoint is of one moment although writing goes on, and a store of its own.
#[test]
fn a_checkpoint_is_of_one_moment() {
    for mode in MODES {
        let world = world(1, "nvme");
        let (fs, env) = (world.fs(NODE), world.env(NODE));
        let model = Rc::new(RefCell::new(Model::default()));
        let written = Rc::clone(&model);
        run(&world, async move {
            let store = BTree::open(&fs, "store", &engines::btree(mode, SOUND)).await.expect("opens");
            for i in 0..500u32 {
                let batch = one((i * 7919 % 500).to_be_bytes(), vec![i as u8; 80]);
                written.borrow_mut().apply(&batch);
                store.write(batch, Durability::Lazy).await.expect("writes");
            }
            let writing = async {
                for i in 0..300u32 {
                    store.write(one(i.to_be_bytes(), "later"), Durability::Lazy).await.expect("writes");
                    env.sleep(Duration::from_micros(20)).await;
                }
            };
            let (copied, ()) = futures::join!(store.checkpoint("copy"), writing);
            copied.expect("copies");
        });
        world.crash(NODE);
        world.restart(NODE);
        let fs = world.fs(NODE);
        run(&world, async move {
            let copy = BTree::open(&fs, "copy", &engines::btree(mode, SOUND)).await.expect("opens the copy");
            copy.verify().await.expect("intact");
            assert_eq!(model.take().difference(&copy).await, None);
            copy.write(one("own", "life"), Durability::Synced).await.expect("writes");
            copy.verify().await.expect("intact");
        });
    }
}

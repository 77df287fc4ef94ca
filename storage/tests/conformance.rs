//! Any sequence of operations on an engine gives what sorted maps give; see `model`.
//!
//! A new engine takes part with one line of [`conformance!`].

use std::time::Duration;

use contract::{Batch, Change, Durability, Engine, EngineStats, Family, Fs, Order, ReadStore};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};
use storage::lsm::{Compaction, Compression};
use storage::{BTree, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode};

use crate::btree_conformance::tiny as tiny_pages;
use crate::ground::{Folder, NODE, block_on, run, world};
use crate::model::{FAMILIES, Model, OwnedRange, settle};

#[derive(Clone, Debug)]
enum Step {
    Write(Batch, bool),
    Get(Family, Vec<u8>),
    Scan(OwnedRange, usize),
    /// Take a snapshot; of three, the oldest goes.
    Snapshot,
    /// Read a key and a range of each snapshot.
    ReadSnapshots(OwnedRange, usize),
    Sync,
    Maintain,
    /// Sync, open anew, and forget the snapshots.
    Reopen,
    Verify,
    /// Take a checkpoint; of two, the oldest is given up.
    Checkpoint,
    /// Open each checkpoint, compare it, and write to it.
    WriteCheckpoints(Batch),
}

/// Few keys, so that they are overwritten; some share long prefixes, and one is empty.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..24).prop_map(|i| vec![i]),
        4 => (0u16..40).prop_map(|i| format!("a/long/shared/prefix/{i:03}").into_bytes()),
        1 => Just(Vec::new()),
        1 => vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 0..3),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![6 => Just(FAMILIES[0]), 1 => Just(FAMILIES[1]), 1 => Just(FAMILIES[2])]
}

fn range() -> impl Strategy<Value = OwnedRange> {
    (family(), key(), prop::option::weighted(0.8, key()), any::<bool>()).prop_map(
        |(family, from, to, descending)| OwnedRange {
            family,
            from,
            to,
            order: if descending { Order::Descending } else { Order::Ascending },
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        18 => (family(), key(), vec(any::<u8>(), 0..60))
            .prop_map(|(family, key, value)| Change::Put { family, key, value }),
        5 => (family(), key()).prop_map(|(family, key)| Change::Delete { family, key }),
        // One that ends before it begins deletes nothing.
        1 => range().prop_map(|OwnedRange { family, from, to, .. }| Change::DeleteRange { family, from, to }),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    vec(change(), 0..6).prop_map(|changes| Batch { changes })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => (batch(), prop::bool::weighted(0.1)).prop_map(|(batch, synced)| Step::Write(batch, synced)),
        8 => (family(), key()).prop_map(|(family, key)| Step::Get(family, key)),
        6 => (range(), 0usize..50).prop_map(|(range, limit)| Step::Scan(range, limit)),
        2 => Just(Step::Snapshot),
        4 => (range(), 0usize..20).prop_map(|(range, limit)| Step::ReadSnapshots(range, limit)),
        2 => Just(Step::Sync),
        8 => Just(Step::Maintain),
        2 => Just(Step::Reopen),
        2 => Just(Step::Verify),
        1 => Just(Step::Checkpoint),
        1 => batch().prop_map(Step::WriteCheckpoints),
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
        ..LsmOptions::default()
    }
}

/// The same, merged by size and compressed.
pub(crate) fn tiny_tiered() -> LsmOptions {
    LsmOptions { compaction: Compaction::Tiered, compression: Compression::Lz4, ..tiny() }
}

/// The same for the log-structured store.
pub(crate) fn tiny_segments() -> LogStoreOptions {
    LogStoreOptions { segment_bytes: 512, step_bytes: 1024 }
}

/// A store under test, and what it must hold.
struct Run<E: Engine> {
    fs: E::Fs,
    options: E::Options,
    engine: E,
    model: Model,
    snapshots: Vec<(E::Snapshot, Model)>,
    checkpoints: Vec<(String, Model)>,
    checkpoints_taken: u32,
}

impl<E: Engine> Run<E> {
    async fn new(fs: E::Fs, options: E::Options) -> Self {
        let engine = E::open(&fs, "a/store", &options).await.expect("opens");
        let (snapshots, checkpoints) = (Vec::new(), Vec::new());
        Self { fs, options, engine, model: Model::default(), snapshots, checkpoints, checkpoints_taken: 0 }
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write(batch, synced) => {
                self.model.apply(&batch);
                let durability = if synced { Durability::Synced } else { Durability::Lazy };
                self.engine.write(batch, durability).await.expect("writes");
            }
            Step::Get(family, key) => {
                let found = self.engine.get_in(family, &key).await.expect("reads");
                prop_assert_eq!(found, self.model.get(family, &key));
            }
            Step::Scan(range, limit) => {
                let found = self.engine.scan(range.range(), limit).await.expect("reads");
                prop_assert_eq!(found, self.model.scan(range.range(), limit));
            }
            Step::Snapshot => {
                if self.snapshots.len() == 3 {
                    self.snapshots.remove(0);
                }
                self.snapshots.push((self.engine.snapshot(), self.model.clone()));
            }
            Step::ReadSnapshots(range, limit) => {
                for (snapshot, then) in &self.snapshots {
                    let found = snapshot.get_in(range.family, &range.from).await.expect("reads");
                    prop_assert_eq!(found, then.get(range.family, &range.from));
                    let found = snapshot.scan(range.range(), limit).await.expect("reads");
                    prop_assert_eq!(found, then.scan(range.range(), limit));
                }
            }
            Step::Sync => self.engine.sync().await.expect("syncs"),
            Step::Maintain => {
                let more = self.engine.maintain().await.expect("maintains");
                prop_assert_eq!(more, self.engine.needs_maintenance());
            }
            Step::Reopen => {
                self.engine.sync().await.expect("syncs");
                self.snapshots.clear();
                self.engine = E::open(&self.fs, "a/store", &self.options).await.expect("opens again");
            }
            Step::Verify => self.engine.verify().await.expect("intact"),
            Step::Checkpoint => self.checkpoint().await,
            Step::WriteCheckpoints(batch) => self.write_checkpoints(&batch).await?,
        }
        Ok(())
    }

    async fn checkpoint(&mut self) {
        if self.checkpoints.len() == 2 {
            let (dir, _) = self.checkpoints.remove(0);
            self.fs.remove_dir(&dir).await.expect("removes");
        }
        let dir = format!("a/copy{}", self.checkpoints_taken);
        self.checkpoints_taken += 1;
        self.engine.checkpoint(&dir).await.expect("takes a checkpoint");
        self.checkpoints.push((dir, self.model.clone()));
    }

    /// What is written to a checkpoint is in no other store.
    async fn write_checkpoints(&mut self, batch: &Batch) -> Result<(), TestCaseError> {
        for (dir, model) in &mut self.checkpoints {
            let copy = E::open(&self.fs, dir, &self.options).await.expect("a checkpoint opens");
            prop_assert_eq!(model.difference(&copy).await, None, "{}", dir);
            copy.write(batch.clone(), Durability::Synced).await.expect("writes");
            model.apply(batch);
            copy.maintain().await.expect("maintains");
            copy.verify().await.expect("intact");
            prop_assert_eq!(model.difference(&copy).await, None, "{}, written to", dir);
        }
        Ok(())
    }

    async fn end(mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.model.difference(&self.engine).await, None);
        for (snapshot, then) in self.snapshots.drain(..) {
            prop_assert_eq!(then.difference(&snapshot).await, None, "a snapshot");
        }
        settle(&self.engine).await;
        self.engine.verify().await.expect("intact");
        prop_assert_eq!(self.model.difference(&self.engine).await, None, "after maintenance");
        self.write_checkpoints(&Batch::default()).await?;
        self.engine.sync().await.expect("syncs");
        let engine = E::open(&self.fs, "a/store", &self.options).await.expect("opens again");
        prop_assert_eq!(self.model.difference(&engine).await, None, "opened again");
        Ok(())
    }
}

async fn conforms<E: Engine>(fs: E::Fs, options: E::Options, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut run = Run::<E>::new(fs, options).await;
    for step in steps {
        run.take(step).await?;
    }
    run.end().await
}

/// `PROPTEST_CASES` raises the number of cases; `slowdown` divides it where a case takes longer.
pub(crate) fn config(slowdown: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.div_ceil(slowdown), rng_seed: RngSeed::Fixed(1), ..default }
}

/// The suite for an engine with options so small that short sequences reach all of it, and how often
/// a longer one makes it compact, or write out, at least.
macro_rules! conformance {
    ($name:ident, $engine:ident, $options:expr, $work:ident, $least:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(config(1))]

                #[test]
                fn is_a_map_on_a_simulated_disk(steps in vec(step(), 1..300), seed in any::<u64>()) {
                    let world = world(seed, "ideal");
                    run(&world, conforms::<$engine<_>>(world.fs(NODE), $options, steps))?;
                }
            }

            proptest! {
                // Real flushes take their time.
                #![proptest_config(config(16))]

                #[test]
                fn is_a_map_on_a_real_folder(steps in vec(step(), 1..100)) {
                    let folder = Folder::new();
                    block_on(conforms::<$engine<_>>(folder.fs(), $options, steps))?;
                }
            }

            #[test]
            fn snapshots_hold_while_others_write_and_maintain() {
                let $work = beside_each_other::<$engine<_>>($options).$work;
                assert!($work > $least, "only {} beside the readers", $work);
            }
        }
    };
}

conformance!(lsm, Lsm, tiny(), compactions, 50);
conformance!(lsm_tiered, Lsm, tiny_tiered(), compactions, 20);
conformance!(logstore, LogStore, tiny_segments(), compactions, 1);
conformance!(btree_rollback, BTree, tiny_pages(Mode::Rollback), flushes, 10);
conformance!(btree_wal, BTree, tiny_pages(Mode::Wal), flushes, 10);

/// Readers, writers and maintenance beside each other, on a disk that takes its time.
fn beside_each_other<E: Engine<Fs = sim::SimFs>>(options: E::Options) -> EngineStats {
    use std::cell::{Cell, RefCell};
    let world = world(1, "nvme");
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    run(&world, async move {
        let engine = E::open(&fs, "a/store", &options).await.expect("opens");
        let model = RefCell::new(Model::default());
        let (writing, done) = (Cell::new(false), Cell::new(false));
        let write = async {
            for i in 0..3000u32 {
                let batch = numbered_batch(i);
                writing.set(true);
                engine.write(batch.clone(), Durability::Lazy).await.expect("writes");
                writing.set(false);
                model.borrow_mut().apply(&batch);
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
        let copies = Cell::new(0);
        let read = async {
            while !done.get() {
                // Within a write nobody can say whether it is in the snapshot.
                if writing.get() {
                    env.sleep(Duration::from_micros(1)).await;
                    continue;
                }
                let (snapshot, then) = (engine.snapshot(), model.borrow().clone());
                if copies.replace(copies.get() + 1) % 8 == 0 {
                    let dir = format!("a/copy{}", copies.get());
                    engine.checkpoint(&dir).await.expect("takes a checkpoint");
                    let copy = E::open(&fs, &dir, &options).await.expect("opens");
                    assert_eq!(then.difference(&copy).await, None, "{dir}");
                }
                env.sleep(Duration::from_millis(2)).await;
                assert_eq!(then.difference(&snapshot).await, None);
            }
        };
        futures::join!(write, maintain, read);
        assert_eq!(model.take().difference(&engine).await, None);
        settle(&engine).await;
        engine.verify().await.expect("intact");
        engine.stats()
    })
}

/// Puts, and here and there a range that goes.
fn numbered_batch(i: u32) -> Batch {
    let mut batch = Batch::default();
    for j in 0..i % 3 {
        let key = (i * 7919 % 200 + j).to_be_bytes();
        batch.put_in(FAMILIES[usize::from(i.is_multiple_of(5))], key, vec![i as u8; 30]);
    }
    if i.is_multiple_of(31) {
        let from = i * 31 % 200;
        batch.delete_range(FAMILIES[0], from.to_be_bytes(), Some((from + 7).to_be_bytes().to_vec()));
    }
    batch
}

//! Any sequence of operations on any engine, on a simulated disk and on a real folder, gives what sorted
//! maps give; see `model`.
//!
//! `PROPTEST_CASES=10000` tries so many sequences of each engine on each file system; the folder is made
//! where `TMPDIR` says.

use std::time::Duration;

use contract::{Batch, Change, Durability, Engine, Family, Fs, Order, ReadStore};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use sim::SimFs;
use storage::StdFs;

use crate::engines::on_every_engine;
use crate::ground::{Folder, NODE, block_on, run, world};
use crate::model::{FAMILIES, Model, OwnedRange, settle};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Batch, bool),
    Get(Family, Vec<u8>),
    Scan(OwnedRange, usize),
    /// Take a snapshot; of three, the oldest goes.
    Snapshot,
    /// Read a key and a range of each snapshot.
    ReadSnapshots(OwnedRange, usize),
    Sync,
    Maintain,
    /// Sync, open anew, perhaps with other options, and forget the snapshots.
    Reopen(bool),
    Verify,
    /// Take a checkpoint; of two, the oldest is given up.
    Checkpoint,
    /// Open each checkpoint, compare it, and write to it.
    WriteCheckpoints(Batch),
}

/// Few keys, so that they are overwritten; some share long prefixes, some do not fit into a page, and one
/// is empty.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..24).prop_map(|i| vec![i]),
        8 => (0u16..40).prop_map(|i| format!("a/long/shared/prefix/{i:03}").into_bytes()),
        2 => (0u16..200).prop_map(|i| i.to_be_bytes().to_vec()),
        2 => (0u16..30).prop_map(|i| [vec![b'k'; 300], i.to_be_bytes().to_vec()].concat()),
        1 => (0u16..6, 0usize..4).prop_map(|(i, n)| [vec![b'x'; 104 + n], i.to_be_bytes().to_vec()].concat()),
        1 => (0u16..4).prop_map(|i| [vec![b'z'; 900], i.to_be_bytes().to_vec(), vec![1; 300]].concat()),
        1 => Just(Vec::new()),
        2 => vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 0..3),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => vec(any::<u8>(), 0..60),
        3 => (60usize..130, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (130usize..3000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
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
        18 => (family(), key(), value()).prop_map(|(family, key, value)| Change::Put { family, key, value }),
        6 => (family(), key()).prop_map(|(family, key)| Change::Delete { family, key }),
        // One that ends before it begins deletes nothing.
        1 => range().prop_map(|OwnedRange { family, from, to, .. }| Change::DeleteRange { family, from, to }),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    let changes = prop_oneof![9 => vec(change(), 0..6), 1 => vec(change(), 6..14)];
    changes.prop_map(|changes| Batch { changes })
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
        2 => prop::bool::weighted(0.3).prop_map(Step::Reopen),
        2 => Just(Step::Verify),
        1 => Just(Step::Checkpoint),
        1 => batch().prop_map(Step::WriteCheckpoints),
    ]
}

/// A store under test, and what it must hold.
struct Run<E: Engine> {
    fs: E::Fs,
    /// In use, and those to switch to.
    options: [E::Options; 2],
    engine: E,
    model: Model,
    snapshots: Vec<(E::Snapshot, Model)>,
    checkpoints: Vec<(String, Model)>,
    checkpoints_taken: u32,
}

impl<E: Engine> Run<E> {
    async fn new(fs: E::Fs, options: [E::Options; 2]) -> Self {
        let engine = E::open(&fs, "a/store", &options[0]).await.expect("opens");
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
            Step::Reopen(switches) => {
                if switches {
                    self.options.reverse();
                }
                self.engine.sync().await.expect("syncs");
                self.snapshots.clear();
                self.open().await?;
            }
            Step::Verify => self.engine.verify().await.expect("intact"),
            Step::Checkpoint => self.checkpoint().await,
            Step::WriteCheckpoints(batch) => self.write_checkpoints(&batch).await?,
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), TestCaseError> {
        self.engine = E::open(&self.fs, "a/store", &self.options[0]).await.expect("opens again");
        prop_assert_eq!(self.engine.torn_tails(), []);
        prop_assert_eq!(self.model.difference(&self.engine).await, None, "opened again");
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
            let copy = E::open(&self.fs, dir, &self.options[0]).await.expect("a checkpoint opens");
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
        self.engine.verify().await.expect("intact");
        prop_assert_eq!(self.model.difference(&self.engine).await, None);
        for (snapshot, then) in self.snapshots.drain(..) {
            prop_assert_eq!(then.difference(&snapshot).await, None, "a snapshot");
        }
        settle(&self.engine).await;
        self.engine.verify().await.expect("intact");
        prop_assert_eq!(self.model.difference(&self.engine).await, None, "after maintenance");
        self.write_checkpoints(&Batch::default()).await?;
        self.engine.sync().await.expect("syncs");
        self.open().await
    }
}

async fn conforms<E: Engine>(
    fs: E::Fs,
    options: [E::Options; 2],
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut run = Run::<E>::new(fs, options).await;
    for step in steps {
        run.take(step).await?;
    }
    run.end().await
}

/// So many sequences as `PROPTEST_CASES` says; otherwise fewer where one takes longer.
pub(crate) fn config(slowdown: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let slowdown = if std::env::var_os("PROPTEST_CASES").is_some() { 1 } else { slowdown };
    let cases = default.cases.div_ceil(slowdown);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..default }
}

/// Sequences on a simulated disk; the first that a store does not conform to, if there is one.
pub(crate) fn simulated<E: Engine<Fs = SimFs>>(
    options: [E::Options; 2],
    slowdown: u32,
) -> Result<(), String> {
    let steps = (vec(step(), 1..300), any::<u64>());
    let mut runner = TestRunner::new(config(slowdown));
    let tried = runner.run(&steps, |(steps, seed)| {
        let world = world(seed, "ideal");
        run(&world, conforms::<E>(world.fs(NODE), options.clone(), steps))
    });
    tried.map_err(|failure| failure.to_string())
}

fn is_a_map_on_a_simulated_disk<E: Engine<Fs = SimFs>>(options: E::Options, other: E::Options) {
    simulated::<E>([options, other], 1).unwrap_or_else(|failure| panic!("{failure}"));
}

fn is_a_map_on_a_real_folder<E: Engine<Fs = StdFs>>(options: E::Options, other: E::Options) {
    // Real flushes take their time.
    let mut runner = TestRunner::new(config(32));
    let tried = runner.run(&vec(step(), 1..300), |steps| {
        let folder = Folder::new();
        block_on(conforms::<E>(folder.fs(), [options.clone(), other.clone()], steps))
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

mod a_map_on_a_simulated_disk {
    super::on_every_engine!(is_a_map_on_a_simulated_disk);
}

mod a_map_on_a_real_folder {
    super::on_every_engine!(is_a_map_on_a_real_folder);
}

mod snapshots_hold_while_others_write_and_maintain {
    super::on_every_engine!(beside_each_other);
}

/// Readers, writers and maintenance beside each other, on a disk that takes its time.
fn beside_each_other<E: Engine<Fs = SimFs>>(options: E::Options, _: E::Options) {
    use std::cell::{Cell, RefCell};
    let world = world(1, "nvme");
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let stats = run(&world, async move {
        let engine = E::open(&fs, "a/store", &options).await.expect("opens");
        let model = RefCell::new(Model::default());
        let (writing, done) = (Cell::new(false), Cell::new(false));
        let write = async {
            for i in 0..3000u32 {
                let batch = numbered_batch(i);
                writing.set(true);
                engine.write(batch.clone(), Durability::Lazy).await.expect("writes");
                model.borrow_mut().apply(&batch);
                writing.set(false);
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
        let check = async {
            while !done.get() {
                engine.verify().await.expect("intact");
                engine.sync().await.expect("syncs");
                env.sleep(Duration::from_millis(40)).await;
            }
        };
        futures::join!(write, maintain, read, check);
        assert!(copies.get() > 5, "only {} snapshots", copies.get());
        assert_eq!(model.take().difference(&engine).await, None);
        settle(&engine).await;
        engine.verify().await.expect("intact");
        engine.stats()
    });
    assert!(stats.flushes > 10 && stats.compactions > 0, "{stats:?}");
}

/// Puts, and here and there a range that goes.
fn numbered_batch(i: u32) -> Batch {
    let mut batch = Batch::default();
    for j in 0..i % 3 {
        let key = (i * 7919 % 200 + j).to_be_bytes();
        batch.put_in(FAMILIES[usize::from(i.is_multiple_of(5))], key, vec![i as u8; 30 + i as usize % 160]);
    }
    if i.is_multiple_of(31) {
        let from = i * 31 % 200;
        batch.delete_range(FAMILIES[0], from.to_be_bytes(), Some((from + 7).to_be_bytes().to_vec()));
        batch.put_in(FAMILIES[1], "large", vec![i as u8; 2000]);
    }
    if i % 150 == 149 {
        batch.delete_range(FAMILIES[0], 20u32.to_be_bytes(), Some(190u32.to_be_bytes().to_vec()));
    }
    batch
}

//! Any sequence of operations on a B-tree gives what sorted maps give, in both modes.

use std::collections::BTreeMap;

use contract::{Batch, Change, Durability, Engine, Family, Order, Pair, Range, ReadStore};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use storage::{BTree, BTreeOptions, Mode};

use crate::conformance::config;
use crate::ground::{Folder, NODE, block_on, run, world};

/// All families of a store.
pub(crate) type Model = BTreeMap<u8, BTreeMap<Vec<u8>, Vec<u8>>>;

/// So small that few keys make a deep tree, and logs are full soon.
pub(crate) fn tiny(mode: Mode) -> BTreeOptions {
    BTreeOptions { page_bytes: 512, pool_bytes: 32 << 9, mode, wal_bytes: 8 << 10 }
}

/// What a batch does to a model.
pub(crate) fn apply(model: &mut Model, batch: &Batch) {
    for change in batch.changes.clone() {
        match change {
            Change::Put { family, key, value } => {
                model.entry(family.0).or_default().insert(key, value);
            }
            Change::Delete { family, key } => {
                model.entry(family.0).or_default().remove(&key);
            }
            Change::DeleteRange { family, from, to } => {
                let inside = |key: &Vec<u8>| *key >= from && to.as_ref().is_none_or(|to| key < to);
                model.entry(family.0).or_default().retain(|key, _| !inside(key));
            }
        }
    }
}

fn expected(model: &Model, range: Range<'_>, limit: usize) -> Vec<Pair> {
    let Some(family) = model.get(&range.family.0) else { return Vec::new() };
    let inside = |key: &[u8]| key >= range.from && range.to.is_none_or(|to| key < to);
    let mut pairs: Vec<Pair> =
        family.iter().filter(|(key, _)| inside(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if range.order == Order::Descending {
        pairs.reverse();
    }
    pairs.truncate(limit);
    pairs
}

/// Everything in a store, family by family, read in both directions.
pub(crate) async fn everything(store: &impl ReadStore) -> Result<Model, contract::EngineError> {
    let mut model = Model::new();
    for family in FAMILIES.map(Family) {
        let pairs = store.scan(Range::all().of(family), usize::MAX).await?;
        let mut back = store.scan(Range::all().of(family).descending(), usize::MAX).await?;
        back.reverse();
        assert!(pairs == back, "a scan backwards is the scan forwards, backwards");
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "a scan returns keys in order");
        if !pairs.is_empty() {
            model.insert(family.0, pairs.into_iter().collect());
        }
    }
    Ok(model)
}

pub(crate) const FAMILIES: [u8; 3] = [0, 7, 255];

#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<Act>, bool),
    Get(u8, Vec<u8>),
    Scan(u8, Vec<u8>, Option<Vec<u8>>, bool, usize),
    Snapshot,
    ReadSnapshots(u8, Vec<u8>),
    Sync,
    Maintain,
    /// Sync, and open in the other mode.
    Switch,
    /// Copy the store, and compare the copy.
    Copy,
    Verify,
}

#[derive(Clone, Debug)]
enum Act {
    Put(u8, Vec<u8>, usize, u8),
    Delete(u8, Vec<u8>),
    DeleteRange(u8, Vec<u8>, Option<Vec<u8>>),
}

/// Short keys, keys with long shared beginnings, and keys that do not fit into a cell, or a page.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u16..200).prop_map(|i| i.to_be_bytes().to_vec()),
        3 => (0u16..40).prop_map(|i| format!("{}{i:03}", "shared/".repeat(12)).into_bytes()),
        2 => (0u16..30).prop_map(|i| [vec![b'k'; 300], i.to_be_bytes().to_vec()].concat()),
        1 => (0u16..6, 0usize..4).prop_map(|(i, n)| [vec![b'x'; 104 + n], i.to_be_bytes().to_vec()].concat()),
        1 => (0u16..4).prop_map(|i| [vec![b'z'; 900], i.to_be_bytes().to_vec(), vec![1; 300]].concat()),
        1 => Just(Vec::new()),
    ]
}

fn family() -> impl Strategy<Value = u8> {
    prop_oneof![5 => Just(FAMILIES[0]), 2 => Just(FAMILIES[1]), 1 => Just(FAMILIES[2])]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0usize..60, 2 => 60usize..130, 1 => 130usize..3000]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        16 => (family(), key(), size(), any::<u8>()).prop_map(|(f, k, s, b)| Act::Put(f, k, s, b)),
        8 => (family(), key()).prop_map(|(f, k)| Act::Delete(f, k)),
        1 => (family(), key(), prop::option::weighted(0.8, key())).prop_map(|(f, k, t)| Act::DeleteRange(f, k, t)),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        24 => (vec(act(), 0..12), prop::bool::weighted(0.1)).prop_map(|(c, s)| Deed::Write(c, s)),
        6 => (family(), key()).prop_map(|(f, k)| Deed::Get(f, k)),
        4 => (family(), key(), prop::option::of(key()), any::<bool>(), 0usize..60)
            .prop_map(|(f, a, b, o, l)| Deed::Scan(f, a, b, o, l)),
        1 => Just(Deed::Snapshot),
        3 => (family(), key()).prop_map(|(f, k)| Deed::ReadSnapshots(f, k)),
        1 => Just(Deed::Sync),
        6 => Just(Deed::Maintain),
        1 => Just(Deed::Switch),
        1 => Just(Deed::Copy),
        2 => Just(Deed::Verify),
    ]
}

fn batch_of(acts: Vec<Act>) -> Batch {
    let mut batch = Batch::default();
    for act in acts {
        match act {
            Act::Put(family, key, size, byte) => batch.put_in(Family(family), key, vec![byte; size]),
            Act::Delete(family, key) => batch.delete_in(Family(family), key),
            Act::DeleteRange(family, from, to) => batch.delete_range(Family(family), from, to),
        }
    }
    batch
}

/// As a store has it: families without keys are not told.
fn held(model: &Model) -> Model {
    model.iter().filter(|(_, keys)| !keys.is_empty()).map(|(f, keys)| (*f, keys.clone())).collect()
}

fn other(mode: Mode) -> Mode {
    match mode {
        Mode::Rollback => Mode::Wal,
        Mode::Wal => Mode::Rollback,
    }
}

async fn does<F: contract::Fs>(
    fs: F,
    mut options: BTreeOptions,
    deeds: Vec<Deed>,
) -> Result<(), TestCaseError> {
    let mut engine = BTree::open(&fs, "a/store", &options).await.expect("opens");
    let mut model = Model::new();
    let mut snapshots = Vec::new();
    let mut copies = 0;
    for deed in deeds {
        match deed {
            Deed::Write(acts, synced) => {
                let batch = batch_of(acts);
                apply(&mut model, &batch);
                let durability = if synced { Durability::Synced } else { Durability::Lazy };
                engine.write(batch, durability).await.expect("writes");
            }
            Deed::Get(family, key) => {
                let found = engine.get_in(Family(family), &key).await.expect("reads");
                prop_assert_eq!(found.as_ref(), model.get(&family).and_then(|keys| keys.get(&key)));
            }
            Deed::Scan(family, from, to, backwards, limit) => {
                let order = if backwards { Order::Descending } else { Order::Ascending };
                let range = Range { family: Family(family), from: &from, to: to.as_deref(), order };
                let found = engine.scan(range, limit).await.expect("reads");
                prop_assert_eq!(found, expected(&model, range, limit));
            }
            Deed::Snapshot => {
                if snapshots.len() == 3 {
                    snapshots.remove(0);
                }
                snapshots.push((engine.snapshot(), model.clone()));
            }
            Deed::ReadSnapshots(family, key) => {
                for (snapshot, then) in &snapshots {
                    let found = snapshot.get_in(Family(family), &key).await.expect("reads");
                    prop_assert_eq!(found.as_ref(), then.get(&family).and_then(|keys| keys.get(&key)));
                    let range = Range { from: &key, ..Range::all().of(Family(family)) };
                    let found = snapshot.scan(range, 10).await.expect("reads");
                    prop_assert_eq!(found, expected(then, range, 10));
                }
            }
            Deed::Sync => engine.sync().await.expect("syncs"),
            Deed::Maintain => {
                let more = engine.maintain().await.expect("maintains");
                prop_assert_eq!(more, engine.needs_maintenance());
            }
            Deed::Switch => {
                engine.sync().await.expect("syncs");
                snapshots.clear();
                options.mode = other(options.mode);
                engine = BTree::open(&fs, "a/store", &options).await.expect("opens again");
                prop_assert_eq!(everything(&engine).await.expect("reads"), held(&model));
            }
            Deed::Copy => {
                copies += 1;
                let dir = format!("a/copy{copies}");
                engine.checkpoint(&dir).await.expect("copies");
                let copy = BTree::open(&fs, &dir, &options).await.expect("opens the copy");
                copy.verify().await.expect("the copy is intact");
                prop_assert_eq!(everything(&copy).await.expect("reads"), held(&model));
            }
            Deed::Verify => engine.verify().await.expect("intact"),
        }
    }
    engine.verify().await.expect("intact");
    prop_assert_eq!(everything(&engine).await.expect("reads"), held(&model));
    for (snapshot, then) in &snapshots {
        prop_assert_eq!(everything(snapshot).await.expect("reads"), held(then));
    }
    drop(snapshots);
    let mut rounds = 0;
    while engine.maintain().await.expect("maintains") {
        rounds += 1;
        prop_assert!(rounds < 1000, "maintenance goes on for ever");
    }
    engine.verify().await.expect("intact");
    prop_assert_eq!(everything(&engine).await.expect("reads"), held(&model));
    Ok(())
}

proptest! {
    #![proptest_config(config(2))]

    #[test]
    fn a_btree_of_families_and_long_keys_is_maps(
        deeds in vec(deed(), 1..160),
        wal in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let world = world(seed, "ideal");
        let mode = if wal { Mode::Wal } else { Mode::Rollback };
        run(&world, does(world.fs(NODE), tiny(mode), deeds))?;
    }
}

proptest! {
    // Real flushes take their time.
    #![proptest_config(config(32))]

    #[test]
    fn btree_is_maps_on_a_real_folder(deeds in vec(deed(), 1..80), wal in any::<bool>()) {
        let folder = Folder::new();
        let mode = if wal { Mode::Wal } else { Mode::Rollback };
        block_on(does(folder.fs(), tiny(mode), deeds))?;
    }
}

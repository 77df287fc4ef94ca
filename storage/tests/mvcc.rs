//! Versions by timestamp over every engine, against a map of versions; and TinyKV's cases of a
//! Percolator layout as scripts in `testscripts/mvcc`.

use std::collections::BTreeMap;

use contract::{Batch, Durability, Engine, Family, Order, Range, ReadStore};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use protocols::mvcc::{self, GarbageCollection, Timestamp, Version, Versions};
use sim::SimFs;
use storage::Lsm;

use crate::conformance::config;
use crate::engines::{self, SOUND, on_every_engine};
use crate::ground::{NODE, run, world};

const FAMILY: Family = Family(3);

/// What stands in a version.
#[derive(Clone, Debug, PartialEq)]
enum Stands {
    Value(Option<Vec<u8>>),
    Mark,
}

type History = BTreeMap<(Vec<u8>, std::cmp::Reverse<u64>), Stands>;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>, u64, Stands),
    Get(Vec<u8>, u64),
    Scan(Vec<u8>, Option<Vec<u8>>, bool, u64, usize),
    /// Collects garbage up to there, checking what is read after each step.
    Collect(u64),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0u8..6).prop_map(|i| vec![i]),
        2 => (0u8..4).prop_map(|i| [&[7; 8][..], &vec![i; usize::from(i)]].concat()),
        1 => Just(Vec::new()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        7 => vec(any::<u8>(), 0..4).prop_map(|value| Stands::Value(Some(value))),
        2 => Just(Stands::Value(None)),
        1 => Just(Stands::Mark),
    ];
    prop_oneof![
        40 => (key(), 0u64..60, value).prop_map(|(key, at, value)| Step::Write(key, at, value)),
        6 => (key(), 0u64..70).prop_map(|(key, at)| Step::Get(key, at)),
        6 => (key(), prop::option::of(key()), any::<bool>(), 0u64..70, 0usize..9)
            .prop_map(|(from, to, down, at, limit)| Step::Scan(from, to, down, at, limit)),
        1 => (0u64..40).prop_map(Step::Collect),
    ]
}

fn newest<'a>(history: &'a History, key: &[u8], at: u64) -> Option<(u64, &'a Option<Vec<u8>>)> {
    let from = (key.to_vec(), std::cmp::Reverse(at));
    let versions = history.range(from..).take_while(|((other, _), _)| other == key);
    versions.into_iter().find_map(|((_, written), stands)| match stands {
        Stands::Value(value) => Some((written.0, value)),
        Stands::Mark => None,
    })
}

fn pairs_at(history: &History, range: Range<'_>, at: u64, limit: usize) -> Vec<contract::Pair> {
    let mut keys: Vec<_> = history.keys().map(|(key, _)| key).collect();
    keys.dedup();
    keys.retain(|key| key.as_slice() >= range.from && range.to.is_none_or(|to| key.as_slice() < to));
    if range.order == Order::Descending {
        keys.reverse();
    }
    let pair = |key: &Vec<u8>| Some((key.clone(), newest(history, key, at)?.1.clone()?));
    keys.into_iter().filter_map(pair).take(limit).collect()
}

/// What a collection leaves: all above the safepoint, and of each key the newest at or below it unless
/// it is a deletion or a mark.
fn collected(history: &History, safepoint: u64) -> History {
    let stays = |key: &Vec<u8>, at: u64| {
        at > safepoint || matches!(newest(history, key, safepoint), Some((newest, Some(_))) if newest == at)
    };
    let kept = history.iter().filter(|((key, at), _)| stays(key, at.0));
    kept.map(|(version, value)| (version.clone(), value.clone())).collect()
}

async fn remove(store: &impl Engine, gone: Vec<contract::Pair>) {
    let mut batch = Batch::default();
    for (version, _) in gone {
        batch.delete_in(FAMILY, version);
    }
    store.write(batch, Durability::Lazy).await.expect("writes");
}

async fn versions_agree<E: Engine>(
    fs: E::Fs,
    options: E::Options,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let store = E::open(&fs, "store", &options).await.expect("opens");
    let versions = Versions::new(&store, FAMILY);
    let (mut history, mut safepoint) = (History::new(), 0);
    for step in steps {
        match step {
            Step::Write(key, at, value) => {
                let at = at.max(safepoint + 1);
                let mut batch = Batch::default();
                match &value {
                    Stands::Value(Some(value)) => mvcc::put(&mut batch, FAMILY, &key, Timestamp(at), value),
                    Stands::Value(None) => mvcc::delete(&mut batch, FAMILY, &key, Timestamp(at)),
                    Stands::Mark => batch.put_in(FAMILY, mvcc::version_key(&key, Timestamp(at)), [7, 7]),
                }
                store.write(batch, Durability::Lazy).await.expect("writes");
                history.insert((key, std::cmp::Reverse(at)), value);
            }
            Step::Get(key, at) => {
                let at = at.max(safepoint);
                let found = versions.newest(&key, Timestamp(at)).await.expect("reads");
                let expected = newest(&history, &key, at)
                    .map(|(at, value)| Version { at: Timestamp(at), value: value.clone() });
                prop_assert_eq!(found, expected);
            }
            Step::Scan(from, to, down, at, limit) => {
                let at = at.max(safepoint);
                let order = if down { Order::Descending } else { Order::Ascending };
                let range = Range { from: &from, to: to.as_deref(), order, ..Range::all() };
                let found = versions.scan(range, Timestamp(at), limit).await.expect("reads");
                prop_assert_eq!(found, pairs_at(&history, range, at, limit));
            }
            Step::Collect(at) => {
                safepoint = safepoint.max(at);
                let mut collection = GarbageCollection::new(Timestamp(safepoint));
                let (mut more, mut removed) = (true, 0);
                while more {
                    let gone;
                    (gone, more) = collection.step(&store, FAMILY).await.expect("collects");
                    removed += gone.len();
                    remove(&store, gone).await;
                    // What can be read stays as it is between the steps too.
                    for at in [safepoint, safepoint + 5, u64::MAX] {
                        let found =
                            versions.scan(Range::all(), Timestamp(at), usize::MAX).await.expect("reads");
                        prop_assert_eq!(found, pairs_at(&history, Range::all(), at, usize::MAX));
                    }
                }
                let before = history.len();
                history = collected(&history, safepoint);
                prop_assert_eq!(removed, before - history.len());
                let left = store.scan(Range::all().of(FAMILY), usize::MAX).await.expect("reads").len();
                prop_assert_eq!(left, history.len());
                store.maintain().await.expect("maintains");
            }
        }
    }
    Ok(())
}

fn agrees_with_a_history<E: Engine<Fs = SimFs>>(options: E::Options, _: E::Options) {
    let steps = (vec(step(), 1..400), any::<u64>());
    let tried = TestRunner::new(config(4)).run(&steps, |(steps, seed)| {
        let world = world(seed, "ideal");
        run(&world, versions_agree::<E>(world.fs(NODE), options.clone(), steps))
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

mod versions_agree_with_a_history {
    super::on_every_engine!(agrees_with_a_history);
}

/// A history longer than a step: the deletion that hides it goes last.
#[test]
fn a_deleted_history_never_comes_back_while_it_is_collected() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let store = Lsm::open(&fs, "store", &engines::lsm(SOUND)).await.expect("opens");
        let mut batch = Batch::default();
        for at in 1..=300 {
            mvcc::put(&mut batch, FAMILY, b"k", Timestamp(at), b"old");
        }
        mvcc::delete(&mut batch, FAMILY, b"k", Timestamp(301));
        mvcc::put(&mut batch, FAMILY, b"l", Timestamp(1), b"stays");
        store.write(batch, Durability::Lazy).await.expect("writes");
        let mut collection = GarbageCollection::new(Timestamp(400));
        let (mut steps, mut removed) = (0, 0);
        loop {
            let (gone, more) = collection.step(&store, FAMILY).await.expect("collects");
            removed += gone.len();
            remove(&store, gone).await;
            if !more {
                break;
            }
            steps += 1;
            let versions = Versions::new(&store, FAMILY);
            assert_eq!(versions.get(b"k", Timestamp(500)).await, Ok(None), "after step {steps}");
        }
        assert_eq!((steps, removed), (4, 301), "the steps are bounded");
        let left = store.scan(Range::all().of(FAMILY), 9).await.expect("reads");
        assert_eq!(left, [(mvcc::version_key(b"l", Timestamp(1)), b"\x01stays".to_vec())]);
    });
}

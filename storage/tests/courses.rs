//! What the courses ask of a storage engine, as rows over every engine: PingCAP's kvs 1 and 2, and
//! TinyKV's project 1 (raw key-value over column families, which are families here).
//!
//! What kvs says of its command line (removing what is not there is an error) is not the engine's.

use contract::{Batch, Durability, Engine, EngineError, Family, Fs, Range, ReadStore};
use futures::future::join_all;
use sim::SimFs;
use storage::{BTree, LogStore, Lsm, Mode};

use crate::engines::{self, SOUND, on_every_engine};
use crate::ground::{NODE, run, world};
use crate::model::settle;

/// A store on a simulated disk, and the families that the rows use.
struct Bench<E: Engine> {
    fs: SimFs,
    options: E::Options,
    store: E,
}

const CF: Family = Family::DEFAULT;
const OTHER_CF: Family = Family(2);

impl<E: Engine<Fs = SimFs>> Bench<E> {
    async fn put(&self, family: Family, key: &str, value: &str) {
        let mut batch = Batch::default();
        batch.put_in(family, key, value);
        self.store.write(batch, Durability::Lazy).await.expect("writes");
    }

    async fn delete(&self, family: Family, key: &str) {
        let mut batch = Batch::default();
        batch.delete_in(family, key);
        self.store.write(batch, Durability::Lazy).await.expect("writes");
    }

    async fn get(&self, family: Family, key: &str) -> Option<String> {
        let value = self.store.get_in(family, key.as_bytes()).await.expect("reads");
        value.map(|value| String::from_utf8(value).expect("text"))
    }

    async fn keys(&self, family: Family, from: &str, limit: usize) -> Vec<String> {
        let range = Range { family, from: from.as_bytes(), ..Range::all() };
        let pairs = self.store.scan(range, limit).await.expect("reads");
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).expect("text")).collect()
    }

    async fn reopen(&mut self) {
        self.store.sync().await.expect("syncs");
        self.store = E::open(&self.fs, "store", &self.options).await.expect("opens again");
    }

    async fn bytes_on_disk(&self) -> u64 {
        use contract::{File, OpenMode};
        let mut bytes = 0;
        for name in self.fs.list("store").await.expect("lists") {
            let file = self.fs.open(&format!("store/{name}"), OpenMode::Existing).await.expect("exists");
            bytes += file.len().await.expect("has a length");
        }
        bytes
    }

    // kvs 1 and 2.

    async fn get_stored_value(&mut self) {
        self.put(CF, "key1", "value1").await;
        self.put(CF, "key2", "value2").await;
        assert_eq!(self.get(CF, "key1").await.as_deref(), Some("value1"));
        self.reopen().await;
        assert_eq!(self.get(CF, "key2").await.as_deref(), Some("value2"));
    }

    async fn overwrite_value(&mut self) {
        self.put(CF, "key1", "value1").await;
        self.put(CF, "key1", "value2").await;
        assert_eq!(self.get(CF, "key1").await.as_deref(), Some("value2"));
        self.reopen().await;
        assert_eq!(self.get(CF, "key1").await.as_deref(), Some("value2"));
        self.put(CF, "key1", "value3").await;
        assert_eq!(self.get(CF, "key1").await.as_deref(), Some("value3"));
    }

    async fn get_non_existent_value(&mut self) {
        self.put(CF, "key1", "value1").await;
        assert_eq!(self.get(CF, "key2").await, None);
        self.reopen().await;
        assert_eq!(self.get(CF, "key2").await, None);
    }

    async fn remove_key(&mut self) {
        self.delete(CF, "key1").await;
        self.put(CF, "key1", "value1").await;
        self.delete(CF, "key1").await;
        assert_eq!(self.get(CF, "key1").await, None);
        self.reopen().await;
        assert_eq!(self.get(CF, "key1").await, None);
    }

    /// Values are overwritten again and again: the store does not grow for ever, and keeps the last.
    async fn compaction(&mut self) {
        let round = async |bench: &Self, round: usize| {
            for i in 0..100 {
                bench.put(CF, &format!("key{i}"), &format!("{round:0100}")).await;
            }
            bench.store.sync().await.expect("syncs");
            settle(&bench.store).await;
        };
        round(self, 0).await;
        let once = self.bytes_on_disk().await;
        for i in 1..20 {
            round(self, i).await;
        }
        let after = self.bytes_on_disk().await;
        assert!(after < once * 4, "{after} bytes after 20 rounds, {once} after one");
        self.reopen().await;
        for i in 0..100 {
            assert_eq!(self.get(CF, &format!("key{i}")).await, Some(format!("{:0100}", 19)));
        }
    }

    async fn concurrent_set_and_get(&mut self) {
        let names: Vec<_> = (0..200).map(|i| (format!("key{i}"), format!("value{i}"))).collect();
        join_all(names.iter().map(|(key, value)| self.put(CF, key, value))).await;
        let maintenance = self.store.maintain();
        let gets = join_all(names.iter().map(|(key, _)| self.get(CF, key)));
        let (maintained, found) = futures::join!(maintenance, gets);
        maintained.expect("maintains");
        assert!(found.iter().zip(&names).all(|(found, (_, value))| found.as_ref() == Some(value)));
    }

    // TinyKV, project 1.

    async fn raw_get_and_put(&mut self) {
        assert_eq!(self.get(CF, "99").await, None, "RawGetNotFound1");
        self.put(CF, "99", "42").await;
        assert_eq!(self.get(CF, "99").await.as_deref(), Some("42"), "RawGet1, RawPut1");
        self.put(OTHER_CF, "99", "44").await;
        assert_eq!(self.get(CF, "99").await.as_deref(), Some("42"), "RawGetAfterRawPut1");
        assert_eq!(self.get(OTHER_CF, "99").await.as_deref(), Some("44"), "RawGetAfterRawPut1");
    }

    async fn raw_delete(&mut self) {
        self.put(CF, "99", "42").await;
        self.put(OTHER_CF, "99", "44").await;
        self.delete(CF, "99").await;
        assert_eq!(self.get(CF, "99").await, None, "RawDelete1, RawGetAfterRawDelete1");
        assert_eq!(self.get(OTHER_CF, "99").await.as_deref(), Some("44"), "RawGetAfterRawDelete1");
        self.delete(CF, "nothing").await;
    }

    async fn raw_scan(&mut self) {
        for i in 1..=5 {
            self.put(CF, &i.to_string(), &format!("233{i}")).await;
        }
        assert_eq!(self.keys(CF, "1", 3).await, ["1", "2", "3"], "RawScan1");
        self.put(OTHER_CF, "1", "x").await;
        self.put(CF, "0", "x").await;
        assert_eq!(self.keys(CF, "", 3).await, ["0", "1", "2"], "RawScanAfterRawPut1");
        assert_eq!(self.keys(OTHER_CF, "", 9).await, ["1"], "RawScanAfterRawPut1");
        self.delete(CF, "3").await;
        assert_eq!(self.keys(CF, "1", 9).await, ["1", "2", "4", "5"], "RawScanAfterRawDelete1");
    }

    /// IterWithRawDelete1: what is being read does not change under the reader.
    async fn iterating_while_deleting(&mut self) {
        for i in 1..=4 {
            self.put(CF, &i.to_string(), "x").await;
        }
        let snapshot = self.store.snapshot();
        self.delete(CF, "2").await;
        settle(&self.store).await;
        let pairs = snapshot.scan(Range::all(), 9).await.expect("reads");
        assert_eq!(pairs.len(), 4);
        assert_eq!(self.keys(CF, "", 9).await, ["1", "3", "4"]);
    }
}

macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        fn all<E: Engine<Fs = SimFs>>(options: &E::Options) {
            $({
                let (world, options) = (world(1, "ideal"), options.clone());
                let fs = world.fs(NODE);
                run(&world, async move {
                    let store = E::open(&fs, "store", &options).await.expect("opens");
                    Bench::<E> { fs, options, store }.$row().await;
                });
            })*
        }
    };
}

rows!(
    get_stored_value,
    overwrite_value,
    get_non_existent_value,
    remove_key,
    compaction,
    concurrent_set_and_get,
    raw_get_and_put,
    raw_delete,
    raw_scan,
    iterating_while_deleting,
);

fn passes<E: Engine<Fs = SimFs>>(options: E::Options, _: E::Options) {
    all::<E>(&options);
}

mod rows {
    super::on_every_engine!(passes);
}

/// kvs 2: a store that another engine wrote is refused, not taken for an empty one.
#[test]
fn another_engines_store_is_refused() {
    async fn refused<A: Engine, B: Engine<Fs = A::Fs>>(fs: A::Fs, a: A::Options, b: B::Options) {
        let store = A::open(&fs, "store", &a).await.expect("opens");
        let mut batch = Batch::default();
        batch.put("key", "value");
        store.write(batch, Durability::Synced).await.expect("writes");
        // An LSM that was opened again has no log.
        drop(A::open(&fs, "store", &a).await.expect("opens again"));
        let opened = B::open(&fs, "store", &b).await.map(|_| ());
        assert!(matches!(opened, Err(EngineError::Corrupt { .. })), "{opened:?}");
        let store = A::open(&fs, "store", &a).await.expect("opens again");
        assert_eq!(store.get(b"key").await.expect("reads").as_deref(), Some(&b"value"[..]));
    }
    fn try_all<A: Engine<Fs = SimFs>>(a: &A::Options) {
        let (lsm, log) = (engines::lsm(SOUND), engines::logstore(SOUND));
        let btree = engines::btree(Mode::Wal, SOUND);
        let here = || world(1, "ideal");
        let name = std::any::type_name::<A>();
        if !name.contains("Lsm<") {
            let here = here();
            run(&here, refused::<A, Lsm<_>>(here.fs(NODE), a.clone(), lsm));
        }
        if !name.contains("LogStore<") {
            let here = here();
            run(&here, refused::<A, LogStore<_>>(here.fs(NODE), a.clone(), log));
        }
        if !name.contains("BTree<") {
            let here = here();
            run(&here, refused::<A, BTree<_>>(here.fs(NODE), a.clone(), btree));
        }
    }
    try_all::<Lsm<_>>(&engines::lsm(SOUND));
    try_all::<LogStore<_>>(&engines::logstore(SOUND));
    try_all::<BTree<_>>(&engines::btree(Mode::Wal, SOUND));
    try_all::<BTree<_>>(&engines::btree(Mode::Rollback, SOUND));
}

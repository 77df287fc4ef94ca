//! `seedbed storage` on stores of this machine: what is whole, what is damaged, what is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

use contract::{Batch, Durability, Engine};
use testbed::storage::{
    BTree, BTreeOptions, Journal, JournalOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode, StdFs,
};

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("storage-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder that can be written to");
    folder
}

/// Files of this machine are always ready; who commits for many yields once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

async fn fill<E: Engine<Fs = StdFs>>(folder: &Path, options: &E::Options) {
    let store = E::open(&StdFs::new(folder), "store", options).await.expect("opens");
    for i in 0..200u32 {
        let mut batch = Batch::default();
        batch.put(format!("key{i:03}"), vec![i as u8; 50]);
        // Each log says in its later records that the earlier ones were durable: only so is damage told
        // from a torn end.
        let durability = if i % 20 == 0 { Durability::Synced } else { Durability::Lazy };
        store.write(batch, durability).await.expect("writes");
    }
    store.sync().await.expect("syncs");
    while store.maintain().await.expect("maintains") {}
}

fn seedbed(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_seedbed")).args(args).env("NO_COLOR", "1").output();
    let output = output.expect("the command can be started");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8(text).expect("text"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("store")).expect("a store");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// A whole store is intact and all of its files can be told; then a byte of its largest file is changed.
fn is_read_and_its_damage_found(folder: &Path, kind: &str) {
    let path = folder.display().to_string();
    let (code, text) = seedbed(&["storage", "verify", &path]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("{kind}, intact")), "{text}");
    let before: Vec<_> = files(folder).iter().map(|file| fs::read(file).expect("a file")).collect();
    for file in files(folder) {
        let (code, text) = seedbed(&["storage", "dump", &file.display().to_string()]);
        assert_eq!(code, 0, "{text}");
        assert!(text.lines().count() > 1, "{text}");
    }
    let after: Vec<_> = files(folder).iter().map(|file| fs::read(file).expect("a file")).collect();
    assert!(before == after, "who looks changes nothing");

    let largest = files(folder).into_iter().max_by_key(|file| {
        let bytes = fs::read(file).expect("a file");
        bytes.iter().filter(|byte| **byte != 0).count()
    });
    let largest = largest.expect("a store has files");
    let mut bytes = fs::read(&largest).expect("a file");
    bytes[100] ^= 1;
    fs::write(&largest, bytes).expect("a file that can be written to");
    let (code, text) = seedbed(&["storage", "verify", &path]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("damaged: store/"), "{text}");
    let (code, text) = seedbed(&["storage", "dump", &largest.display().to_string()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("bad at byte"), "{text}");
}

#[test]
fn an_lsm() {
    let folder = folder("lsm");
    ready(fill::<Lsm<StdFs>>(&folder, &LsmOptions { memtable_bytes: 4096, ..LsmOptions::default() }));
    is_read_and_its_damage_found(&folder, "LSM");
}

#[test]
fn a_btree() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let folder = folder(&format!("btree-{mode:?}"));
        ready(fill::<BTree<StdFs>>(&folder, &BTreeOptions { mode, ..BTreeOptions::default() }));
        is_read_and_its_damage_found(&folder, "B-tree");
    }
}

#[test]
fn a_journal() {
    let folder = folder("journal");
    ready(async {
        let options = JournalOptions { segment_bytes: 2048, ..JournalOptions::default() };
        let (journal, _) = Journal::open(StdFs::new(&folder), "store", options).await.expect("opens");
        for i in 0..100u8 {
            journal.append(u32::from(i % 3), vec![vec![i; 40]]).await.expect("appends");
        }
    });
    is_read_and_its_damage_found(&folder, "journal");
}

/// The end of a log that is damaged looks like one whose flush never finished: that is said.
#[test]
fn a_cut() {
    async fn write<E: Engine<Fs = StdFs>>(folder: &Path, options: E::Options) {
        let store = E::open(&StdFs::new(folder), "store", &options).await.expect("opens");
        for i in 0..5u8 {
            let mut batch = Batch::default();
            batch.put([i], [i; 40]);
            store.write(batch, Durability::Synced).await.expect("writes");
        }
    }
    let is_cut = |folder: PathBuf, log: &str| {
        let path = folder.display().to_string();
        let (code, text) = seedbed(&["storage", "verify", &path]);
        assert_eq!(code, 0, "{text}");
        let log = files(&folder).into_iter().rfind(|file| file.display().to_string().ends_with(log));
        let log = log.expect("a log");
        let mut bytes = fs::read(&log).expect("a file");
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("something is in it");
        bytes[last] ^= 1;
        fs::write(&log, bytes).expect("a file that can be written to");
        let (code, text) = seedbed(&["storage", "verify", &path]);
        assert_eq!(code, 3, "{text}");
        let name = log.file_name().expect("a name").display().to_string();
        assert!(text.contains("intact up to a cut: store/") && text.contains(&name), "{text}");
        let (code, text) = seedbed(&["storage", "verify", "--json", &path]);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("\"intact up to a cut\""), "{text}");
    };
    let lsm = folder("cut-lsm");
    ready(write::<Lsm<StdFs>>(&lsm, LsmOptions::default()));
    is_cut(lsm, ".wal");
    let log = folder("cut-log");
    ready(write::<LogStore<StdFs>>(&log, LogStoreOptions::default()));
    is_cut(log, ".segment");
    let btree = folder("cut-btree");
    ready(write::<BTree<StdFs>>(&btree, BTreeOptions::default()));
    is_cut(btree, ".wal");
    let journal = folder("cut-journal");
    ready(async {
        let (store, _) =
            Journal::open(StdFs::new(&journal), "store", JournalOptions::default()).await.expect("opens");
        store.append(1, vec![vec![7; 40]]).await.expect("appends");
    });
    is_cut(journal, ".journal");
}

#[test]
fn a_log_structured_store() {
    let folder = folder("log");
    ready(fill::<LogStore<StdFs>>(
        &folder,
        &LogStoreOptions { segment_bytes: 4096, ..LogStoreOptions::default() },
    ));
    is_read_and_its_damage_found(&folder, "log-structured store");
}

#[test]
fn what_is_no_store() {
    let folder = folder("none");
    let (code, text) = seedbed(&["storage", "verify", &folder.display().to_string()]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("there is no store in it or below it"), "{text}");
}

//! One damaged bit anywhere in a B-tree's files is told, or harmless: never a wrong answer.

use std::collections::BTreeMap;

use contract::{Batch, Durability, Engine, EngineError, Family, File, Fs, OpenMode, ReadStore};
use sim::SimFs;
use storage::{BTree, BTreeOptions, Mode};

use crate::btree_conformance::{FAMILIES, Model, apply, everything, tiny};
use crate::faulty::Faulty;
use crate::ground::{NODE, run, world};

type Files = BTreeMap<String, Vec<u8>>;

async fn read_files(fs: &SimFs) -> Files {
    let mut files = Files::new();
    for name in fs.list("store").await.expect("lists") {
        let file = fs.open(&format!("store/{name}"), OpenMode::Existing).await.expect("exists");
        let len = file.len().await.expect("has a length") as usize;
        files.insert(name, file.read_at(0, vec![0; len]).await.1);
    }
    files
}

async fn write_files(fs: &SimFs, files: &Files) {
    fs.remove_dir("store").await.expect("removes");
    fs.create_dir("store").await.expect("creates");
    for (name, bytes) in files {
        let file = fs.open(&format!("store/{name}"), OpenMode::Create).await.expect("creates");
        file.write_at(0, bytes.clone()).await.0.expect("writes");
    }
}

/// Few pages of each kind.
fn batches() -> Vec<Batch> {
    let mut batches = Vec::new();
    for i in 0..24u8 {
        let mut batch = Batch::default();
        batch.put_in(
            Family(FAMILIES[usize::from(i % 3)]),
            format!("key{i:02}"),
            vec![i; 20 + usize::from(i)],
        );
        if i % 8 == 3 {
            batch.put([vec![b'k'; 120], vec![i]].concat(), vec![i; 500]);
        }
        if i % 4 == 2 {
            batch.delete_in(Family(FAMILIES[usize::from(i % 2)]), format!("key{:02}", i - 2));
        }
        batches.push(batch);
    }
    batches
}

fn content_after(batches: &[Batch]) -> Model {
    let mut model = Model::new();
    batches.iter().for_each(|batch| apply(&mut model, batch));
    model.retain(|_, keys| !keys.is_empty());
    model
}

fn is_told(error: &EngineError, files: &Files, place: &str) {
    let EngineError::Corrupt { file, offset, .. } = error else { panic!("{place}: {error}") };
    let name =
        file.strip_prefix("store/").unwrap_or_else(|| panic!("{place}: {file} is no file of the store"));
    let len = files.get(name).unwrap_or_else(|| panic!("{place}: {file} was not there")).len();
    assert!(*offset < len as u64, "{place}: {error}");
}

/// Opens what is there and reads all of it: it must be one of `right`, or told as corruption. Whether
/// it was told.
async fn right_or_told(
    fs: &SimFs,
    options: &BTreeOptions,
    files: &Files,
    right: &[Model],
    place: &str,
) -> bool {
    write_files(fs, files).await;
    let store = match BTree::open(fs, "store", options).await {
        Ok(store) => store,
        Err(error) => {
            is_told(&error, files, place);
            return true;
        }
    };
    let mut told = false;
    for (family, keys) in &right[0] {
        for (key, value) in keys {
            match store.get_in(Family(*family), key).await {
                Ok(found) if right.len() == 1 => {
                    assert_eq!(found.as_ref(), Some(value), "{place}: a wrong value");
                }
                Ok(_) => {}
                Err(error) => {
                    is_told(&error, files, place);
                    told = true;
                }
            }
        }
    }
    match everything(&store).await {
        Ok(content) => {
            // It may succeed where a get did not: only a get compares keys with those of branches, which
            // may be in overflow pages.
            assert!(right.contains(&content), "{place}: wrong content");
        }
        Err(error) => {
            is_told(&error, files, place);
            told = true;
        }
    }
    match store.verify().await {
        Ok(()) => assert!(!told, "{place}: what cannot be read is intact"),
        Err(error) => {
            is_told(&error, files, place);
            told = true;
        }
    }
    told
}

/// Flips a bit of each byte of each file; how often it was told.
async fn flip_all(fs: &SimFs, options: &BTreeOptions, files: &Files, right: &[Model]) -> usize {
    assert!(!right_or_told(fs, options, files, right, "untouched").await, "what is intact is not corrupt");
    let (mut told, mut damaged) = (0, files.clone());
    for (name, bytes) in files {
        for (at, byte) in bytes.iter().enumerate() {
            damaged.get_mut(name).expect("a copy")[at] ^= 1 << (at % 8);
            let place = format!("{name}, byte {at} of {}", bytes.len());
            told += usize::from(right_or_told(fs, options, &damaged, right, &place).await);
            damaged.get_mut(name).expect("a copy")[at] = *byte;
        }
    }
    told
}

/// Opens a store, writes all batches and lets maintenance come to its end.
async fn build(fs: &SimFs, options: &BTreeOptions) -> Files {
    let store = BTree::open(fs, "store", options).await.expect("opens");
    for (i, batch) in batches().into_iter().enumerate() {
        let durability = if i % 6 == 5 { Durability::Synced } else { Durability::Lazy };
        store.write(batch, durability).await.expect("writes");
    }
    store.sync().await.expect("syncs");
    while store.maintain().await.expect("maintains") {}
    read_files(fs).await
}

fn flipped(options: BTreeOptions, at_least: usize) {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let files = build(&fs, &options).await;
        let told = flip_all(&fs, &options, &files, &[content_after(&batches())]).await;
        let bytes: usize = files.values().map(Vec::len).sum();
        println!("{:?}: {told} of {bytes} flipped bits were told", options.mode);
        assert!(told >= at_least, "only {told} of {bytes} flipped bits were told");
    });
}

#[test]
fn every_flipped_bit_of_a_data_file_is_told_or_harmless() {
    flipped(tiny(Mode::Rollback), 8000);
}

#[test]
fn every_flipped_bit_of_a_log_is_told_or_harmless() {
    // All of it in one log, and the data file as it began.
    flipped(BTreeOptions { wal_bytes: 1 << 20, ..tiny(Mode::Wal) }, 19_000);
}

/// A journal that recovery needs: a flipped bit in it, or in what it restores.
#[test]
fn every_flipped_bit_of_a_group_under_way_is_told_or_harmless() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = tiny(Mode::Rollback);
        build(&fs, &options).await;
        let faulty = Faulty::new(fs.clone());
        let store = BTree::open(&faulty, "store", &options).await.expect("opens");
        let mut batch = Batch::default();
        batch.put("key03", vec![99; 30]);
        batch.put("key15", vec![99; 200]);
        batch.put_in(Family(7), "more", vec![99; 700]);
        // The journal is flushed; the flush of the pages fails.
        faulty.faults.file_syncs_left.set(Some(1));
        store.write(batch, Durability::Synced).await.expect_err("a flush fails");
        let files = read_files(&fs).await;
        assert!(files["journal"][..8] == *b"SBbtjrnl", "a journal is there");
        let told = flip_all(&fs, &options, &files, &[content_after(&batches())]).await;
        assert!(told > files["journal"].len() / 4, "only {told} flipped bits were told");
    });
}

/// A journal that was flushed and is damaged must not pass for one that never was complete: the data file
/// has pages of a group that was not committed, and the next group would have its number.
#[test]
fn a_damaged_journal_is_not_taken_for_a_torn_one() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = tiny(Mode::Rollback);
        build(&fs, &options).await;
        let faulty = Faulty::new(fs.clone());
        let store = BTree::open(&faulty, "store", &options).await.expect("opens");
        // As long as what was there, so that only their leaf changes.
        let mut batch = Batch::default();
        batch.put("key03", vec![99; 23]);
        batch.put("key15", vec![99; 35]);
        faulty.faults.file_syncs_left.set(Some(1));
        store.write(batch, Durability::Synced).await.expect_err("a flush fails");
        let files = read_files(&fs).await;
        let mut right = content_after(&batches());
        let mut another = Batch::default();
        another.put_in(Family(FAMILIES[1]), "another", "batch");
        apply(&mut right, &another);
        let length = u32::from_le_bytes(files["journal"][36..40].try_into().expect("four bytes"));
        let end = 32 + length as usize;
        for at in (0..files["journal"].len()).step_by(11) {
            let mut damaged = files.clone();
            damaged.get_mut("journal").expect("a journal")[at] ^= 1;
            write_files(&fs, &damaged).await;
            let place = format!("journal, byte {at} of {end}");
            match BTree::open(&fs, "store", &options).await {
                Err(error) => {
                    is_told(&error, &files, &place);
                    assert!(at < end, "{place}: nothing is there");
                }
                Ok(store) => {
                    store.write(another.clone(), Durability::Synced).await.expect("writes");
                    assert_eq!(everything(&store).await.expect("reads"), right, "{place}");
                    assert!(at >= end, "{place}: nobody noticed");
                }
            }
        }
    });
}

/// Groups that nobody flushed may be cut off, from the damaged one on.
#[test]
fn damage_of_an_unsynced_tail_cuts_it() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = BTreeOptions { pool_bytes: 16 << 9, wal_bytes: 1 << 20, ..tiny(Mode::Wal) };
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        let batches = batches();
        for (i, batch) in batches.iter().enumerate() {
            store.write(batch.clone(), Durability::Lazy).await.expect("writes");
            if i == 11 {
                store.sync().await.expect("syncs");
            }
        }
        while store.maintain().await.expect("maintains") {}
        assert!(store.stats().flushes > 1, "groups were written without a flush");
        let files = read_files(&fs).await;
        let right: Vec<Model> = (12..=24).map(|n| content_after(&batches[..n])).collect();
        let told = flip_all(&fs, &options, &files, &right).await;
        assert!(told > 1000, "only {told} flipped bits were told");
    });
}

#[test]
fn a_missing_file_is_told() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = BTreeOptions { wal_bytes: 4 << 10, ..tiny(Mode::Wal) };
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        let mut names = Vec::new();
        for batch in batches().into_iter().chain(batches()) {
            store.write(batch, Durability::Synced).await.expect("writes");
            let before = std::mem::replace(&mut names, fs.list("store").await.expect("lists"));
            // The second group of a log says that the first was durable, and all logs before it.
            if names.len() > 4 && names == before {
                break;
            }
        }
        let files = read_files(&fs).await;
        let last = files.keys().rfind(|name| name.ends_with(".wal")).expect("a log").clone();
        assert!(files.len() > 3, "several logs: {:?}", files.keys());
        for name in files.keys().filter(|name| **name != last) {
            let mut left = files.clone();
            left.remove(name);
            write_files(&fs, &left).await;
            let opened = BTree::open(&fs, "store", &options).await.map(|_| ());
            assert!(matches!(opened, Err(EngineError::Corrupt { .. })), "without {name}: {opened:?}");
        }
    });
}

/// A page that was written in another's place has a good checksum, for another number.
#[test]
fn a_misdirected_page_is_told() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let options = tiny(Mode::Rollback);
        let files = build(&fs, &options).await;
        let pages = files["data"].len() / 512;
        let mut told = 0;
        for (from, to) in (0..pages).flat_map(|from| [(from, from ^ 1), (from, pages - 1 - from)]) {
            let mut damaged = files.clone();
            let data = damaged.get_mut("data").expect("the data file");
            data.copy_within(from * 512..(from + 1) * 512, to * 512);
            let place = format!("page {from} on {to}");
            let right = [content_after(&batches())];
            told += usize::from(right_or_told(&fs, &options, &damaged, &right, &place).await);
        }
        assert!(told > pages / 2, "only {told} misdirected pages were told");
    });
}

//! One flipped bit anywhere in the files of a store is told, with file and place, or does no harm: never a
//! wrong answer. The one exception is the last batch of a log that nothing vouches for yet: it may be cut off
//! as if its flush had never finished, and that is reported.
//!
//! `FLIPS=all` flips every bit; the default one of each byte, and none behind what is used of a file but a few.

use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Batch, Durability, Engine, EngineError, File, Fs, OpenMode, TornTail};
use sim::{SimFs, World};
use storage::{BTree, BTreeOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode};

use crate::engines::{self, SOUND};
use crate::faulty::Faulty;
use crate::ground::{NODE, run, world};
use crate::model::{FAMILIES, settle};
use crate::script::{Loss, Script, batch};

/// The files of a folder, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What became of a store of which one bit is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It was told as corruption.
    Told,
    /// All is there, and right.
    Right,
    /// The same, but that the end of a log was reported as cut off.
    RightAndCut,
    /// The last batch is gone, and that was reported.
    LastCut,
}

/// By suffix of the file's name, and apart for the zeros at its end, what came of its bits.
pub(crate) type Outcomes = BTreeMap<(String, Outcome), u32>;

pub(crate) async fn read_files(fs: &SimFs, dir: &str) -> Files {
    let mut files = Files::new();
    for name in fs.list(dir).await.expect("lists") {
        let file = fs.open(&format!("{dir}/{name}"), OpenMode::Existing).await.expect("exists");
        let len = file.len().await.expect("has a length") as usize;
        files.insert(name, file.read_at(0, vec![0; len]).await.1);
    }
    files
}

/// Another machine with the same disk, but that some bytes of a file are others.
fn damaged(origin: &World<()>, path: &str, offset: usize, bytes: &[u8]) -> World<()> {
    let machine = world(1, "ideal");
    machine.put_disk(NODE, origin.image_after_kill(NODE));
    let (fs, path, bytes) = (machine.fs(NODE), path.to_owned(), bytes.to_vec());
    run(&machine, async move {
        let file = fs.open(&path, OpenMode::Existing).await.expect("exists");
        file.write_at(offset as u64, bytes).await.0.expect("writes");
    });
    machine
}

/// An error must be of a file of the store, and of a place in it.
fn is_told(error: &EngineError, files: &Files) -> Result<(), Loss> {
    let EngineError::Corrupt { file, offset, .. } = error else { return Err(error.to_string()) };
    let name = file.strip_prefix("store/").ok_or_else(|| format!("{error}: it is no file of the store"))?;
    let len = files.get(name).ok_or_else(|| format!("{error}: there was no such file"))?.len();
    // At the end of a file something may be missing.
    if *offset <= len as u64 { Ok(()) } else { Err(format!("{error}: the file ends before")) }
}

fn is_of_a_file(torn: &TornTail, files: &Files) -> Result<(), Loss> {
    let TornTail { file, offset, what } = torn.clone();
    is_told(&EngineError::Corrupt { file, offset, what }, files)
}

/// Opens a store and reads all of it by all ways. What is read must be right, and what is not, told.
async fn outcome<E: Engine<Fs = SimFs>>(
    fs: &SimFs,
    options: &E::Options,
    script: &Script,
    written: usize,
    files: &Files,
) -> Result<Outcome, Loss> {
    let store = match E::open(fs, "store", options).await {
        Ok(store) => store,
        Err(error) => return is_told(&error, files).map(|()| Outcome::Told),
    };
    store.torn_tails().iter().try_for_each(|torn| is_of_a_file(torn, files))?;
    let cut = !store.torn_tails().is_empty();
    let number = match store.get(b"number").await {
        Ok(number) => number,
        Err(error) => return is_told(&error, files).map(|()| Outcome::Told),
    };
    let held = number.map_or(0, |n| u64::from_le_bytes(n.try_into().expect("eight bytes")) as usize + 1);
    if held != written && !(cut && held + 1 == written) {
        return Err(format!("{held} of {written} batches are left, torn: {:?}", store.torn_tails()));
    }
    let right = script.after(held);
    let mut told = false;
    for (family, key) in FAMILIES.into_iter().flat_map(|family| (0..90).map(move |i| (family, i))) {
        let key = format!("key{key:03}");
        match store.get_in(family, key.as_bytes()).await {
            Ok(found) if found == right.get(family, key.as_bytes()) => {}
            Ok(found) => return Err(format!("{key} is {found:?}")),
            Err(error) => {
                is_told(&error, files)?;
                told = true;
            }
        }
    }
    for range in FAMILIES.map(|family| contract::Range::all().of(family)) {
        for range in [range, range.descending()] {
            match store.scan(range, usize::MAX).await {
                Ok(found) if found == right.scan(range, usize::MAX) => {}
                Ok(_) => return Err(format!("a scan reads something else: {range:?}")),
                Err(error) => {
                    is_told(&error, files)?;
                    told = true;
                }
            }
        }
    }
    match store.verify().await {
        Ok(()) if told => Err("what cannot be read is called intact".to_owned()),
        Ok(()) if held != written => Ok(Outcome::LastCut),
        Ok(()) => Ok(if cut { Outcome::RightAndCut } else { Outcome::Right }),
        Err(error) => is_told(&error, files).map(|()| Outcome::Told),
    }
}

/// Up to where a file is used: behind that there are zeros, of its content's end or of what was reserved.
fn used(bytes: &[u8]) -> usize {
    bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
}

/// Which bits of a file are flipped.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let all = std::env::var("FLIPS").is_ok_and(|which| which == "all");
    let end = bytes.len().min(used(bytes) + if all { 64 } else { 3 });
    let beyond = (end..bytes.len()).step_by(4099);
    let bits = move |at: usize| if all { 0..8u8 } else { (at % 8) as u8..(at % 8) as u8 + 1 };
    (0..end).chain(beyond).flat_map(move |at| bits(at).map(move |bit| (at, bit)))
}

/// Flips bits of all files of a store that holds the first so many batches of the script, and tells what came
/// of them; the first wrong answer, if there is one.
pub(crate) fn flip_all<E: Engine<Fs = SimFs>>(
    origin: &World<()>,
    options: &E::Options,
    written: usize,
) -> Result<Outcomes, Loss> {
    let script = Rc::new(Script::new(written));
    let fs = origin.fs(NODE);
    let files = Rc::new(run(origin, async move { read_files(&fs, "store").await }));
    let mut outcomes = Outcomes::new();
    for (name, bytes) in files.iter() {
        for (at, bit) in flips(bytes) {
            let machine = damaged(origin, &format!("store/{name}"), at, &[bytes[at] ^ 1 << bit]);
            let (fs, options) = (machine.fs(NODE), options.clone());
            let (script, files) = (Rc::clone(&script), Rc::clone(&files));
            let outcome =
                run(&machine, async move { outcome::<E>(&fs, &options, &script, written, &files).await });
            let outcome = outcome.map_err(|loss| format!("{name}, byte {at}, bit {bit}: {loss}"))?;
            let suffix = name.trim_start_matches(|c: char| c.is_ascii_digit());
            let part =
                if at < used(bytes) { suffix.to_owned() } else { format!("{suffix}, zeros at its end") };
            *outcomes.entry((part, outcome)).or_default() += 1;
        }
    }
    Ok(outcomes)
}

/// A store of so many synced batches, which was maintained from time to time, and at the end if it says so.
pub(crate) fn build<E: Engine<Fs = SimFs>>(options: &E::Options, batches: usize, settled: bool) -> World<()> {
    let origin = world(1, "ideal");
    let (fs, options) = (origin.fs(NODE), options.clone());
    run(&origin, async move {
        let store = E::open(&fs, "store", &options).await.expect("opens");
        for number in 0..batches {
            store.write(batch(number), Durability::Synced).await.expect("writes");
            if number % 15 == 11 && number + 5 < batches {
                settle(&store).await;
            }
        }
        if settled {
            settle(&store).await;
        }
    });
    origin
}

/// What came of the used bytes of some files.
fn of(outcomes: &Outcomes, suffix: &str) -> Vec<Outcome> {
    outcomes.keys().filter(|(of, _)| of == suffix).map(|(_, outcome)| *outcome).collect()
}

/// Flips the bits of a store as it is while it is written, and of one that was settled.
fn told_or_harmless<E: Engine<Fs = SimFs>>(name: &str, options: &E::Options, batches: usize) -> Outcomes {
    let mut all = Outcomes::new();
    for settled in [false, true] {
        let origin = build::<E>(options, batches, settled);
        let outcomes =
            flip_all::<E>(&origin, options, batches).unwrap_or_else(|loss| panic!("{name}: {loss}"));
        println!("{name}, settled: {settled}: {outcomes:?}");
        for (outcome, count) in outcomes {
            *all.entry(outcome).or_default() += count;
        }
    }
    all
}

fn small_lsm(options: LsmOptions) -> LsmOptions {
    LsmOptions { memtable_bytes: 900, ..options }
}

#[test]
fn every_bit_of_an_lsm() {
    // Merged to the bottom, and as memtables leave them, with range tombstones.
    let leveled = small_lsm(engines::lsm(SOUND));
    let mut outcomes = told_or_harmless::<Lsm<_>>("lsm", &leveled, 34);
    let tiered = small_lsm(engines::lsm_tiered(SOUND));
    outcomes.extend(told_or_harmless::<Lsm<_>>("lsm-tiered", &tiered, 34));
    let flat = LsmOptions { l0_tables: 100, ..tiered };
    outcomes.extend(told_or_harmless::<Lsm<_>>("lsm of level 0", &flat, 34));
    assert_eq!(of(&outcomes, ".table"), [Outcome::Told]);
    assert_eq!(of(&outcomes, "CURRENT"), [Outcome::Told]);
    assert!(!of(&outcomes, ".manifest").contains(&Outcome::LastCut), "edits lead to all there is");
    assert!(of(&outcomes, ".wal").contains(&Outcome::Told));
    assert!(of(&outcomes, ".wal").contains(&Outcome::LastCut));
}

#[test]
fn every_bit_of_a_log_structured_store() {
    let options = LogStoreOptions { segment_bytes: 400, step_bytes: 300, ..engines::logstore(SOUND) };
    let mut outcomes = told_or_harmless::<LogStore<_>>("log", &options, 105);
    // Batch 159 deletes nearly everything, so that a merge is due long before the end.
    outcomes.extend(told_or_harmless::<LogStore<_>>("log", &options, 165));
    // It can be done without, and is found all the same.
    assert_eq!(of(&outcomes, ".hint"), [Outcome::Told]);
    assert!(!of(&outcomes, ".merged").contains(&Outcome::LastCut), "a merged segment was complete");
    assert!(of(&outcomes, ".merged").contains(&Outcome::Told));
    assert!(of(&outcomes, ".segment").contains(&Outcome::Told));
    assert!(of(&outcomes, ".segment").contains(&Outcome::LastCut));
}

#[test]
fn every_bit_of_a_btree_with_a_log() {
    let options = BTreeOptions { wal_bytes: 12 << 10, ..engines::btree(Mode::Wal, SOUND) };
    let outcomes = told_or_harmless::<BTree<_>>("btree", &options, 16);
    assert!(of(&outcomes, "data").contains(&Outcome::Right), "pages that a log has too");
    assert!(of(&outcomes, ".wal").contains(&Outcome::Told));
    assert!(of(&outcomes, ".wal").contains(&Outcome::LastCut));
}

/// Once a mark says that all was durable, damage of the last group is no torn tail any more.
#[test]
fn a_settled_btree_loses_nothing() {
    let options = BTreeOptions { wal_bytes: 1 << 20, ..engines::btree(Mode::Wal, SOUND) };
    let origin = build::<BTree<_>>(&options, 12, true);
    let outcomes = flip_all::<BTree<_>>(&origin, &options, 12).unwrap_or_else(|loss| panic!("{loss}"));
    assert!(!of(&outcomes, ".wal").contains(&Outcome::LastCut), "{outcomes:?}");
}

#[test]
fn every_bit_of_a_btree_with_a_rollback_journal() {
    let outcomes = told_or_harmless::<BTree<_>>("btree-rollback", &engines::btree(Mode::Rollback, SOUND), 24);
    assert!(of(&outcomes, "data").contains(&Outcome::Told));
    assert!(!of(&outcomes, "data").contains(&Outcome::LastCut));
    assert!(!of(&outcomes, "journal").contains(&Outcome::LastCut));
}

/// A store whose last group went so far: its journal is flushed, and the flush of its pages failed.
fn half_committed(options: &BTreeOptions, last: Batch) -> World<()> {
    let origin = build::<BTree<_>>(options, 24, false);
    let (fs, options) = (origin.fs(NODE), *options);
    run(&origin, async move {
        let faulty = Faulty::new(fs);
        let store = BTree::open(&faulty, "store", &options).await.expect("opens");
        faulty.faults.file_syncs_left.set(Some(1));
        store.write(last, Durability::Synced).await.expect_err("a flush fails");
    });
    origin
}

/// A journal that recovery needs: a flipped bit in it, or in what it restores.
#[test]
fn every_bit_of_a_group_under_way() {
    let options = engines::btree(Mode::Rollback, SOUND);
    let origin = half_committed(&options, batch(24));
    let outcomes = flip_all::<BTree<_>>(&origin, &options, 24).unwrap_or_else(|loss| panic!("{loss}"));
    println!("{outcomes:?}");
    assert!(of(&outcomes, "journal").contains(&Outcome::Told), "{outcomes:?}");
}

/// A journal that was flushed and is damaged must not pass for one that never was complete: the data file
/// has pages of a group that was not committed, and the next group would have its number.
#[test]
fn a_damaged_journal_is_not_taken_for_a_torn_one() {
    let options = engines::btree(Mode::Rollback, SOUND);
    // As long as what was there, so that only their leaf changes.
    let mut last = Batch::default();
    last.put("number", 99u64.to_le_bytes());
    let origin = half_committed(&options, last);
    let fs = origin.fs(NODE);
    let files = run(&origin, async move { read_files(&fs, "store").await });
    let journal = &files["journal"];
    assert!(journal[..8] == *b"SBbtjrnl", "a journal is there");
    let end = 32 + u32::from_le_bytes(journal[36..40].try_into().expect("four bytes")) as usize;
    let script = Rc::new(Script::new(25));
    for at in (0..journal.len()).step_by(7) {
        let machine = damaged(&origin, "store/journal", at, &[journal[at] ^ 1]);
        let (fs, script, files) = (machine.fs(NODE), Rc::clone(&script), files.clone());
        run(&machine, async move {
            match BTree::open(&fs, "store", &options).await {
                Err(error) => {
                    is_told(&error, &files).unwrap_or_else(|loss| panic!("byte {at}: {loss}"));
                    assert!(at < end, "byte {at} of {end}: nothing is there");
                }
                Ok(store) => {
                    store.write(batch(24), Durability::Synced).await.expect("writes");
                    assert_eq!(script.held(&store).await, Ok(25), "byte {at} of {end}");
                    assert!(at >= end, "byte {at} of {end}: nobody noticed");
                }
            }
        });
    }
}

/// Groups that nobody flushed may be cut off, from the damaged one on, and that is reported.
#[test]
fn damage_of_an_unsynced_tail_cuts_it() {
    let options =
        BTreeOptions { pool_bytes: 16 << 9, wal_bytes: 1 << 20, ..engines::btree(Mode::Wal, SOUND) };
    let origin = world(1, "ideal");
    let fs = origin.fs(NODE);
    let files = run(&origin, async move {
        let store = BTree::open(&fs, "store", &options).await.expect("opens");
        for number in 0..60 {
            store.write(batch(number), Durability::Lazy).await.expect("writes");
            if number == 11 {
                store.sync().await.expect("syncs");
            }
        }
        settle(&store).await;
        assert!(store.stats().flushes > 2, "groups were written without a flush");
        read_files(&fs, "store").await
    });
    let script = Rc::new(Script::new(60));
    let (mut told, mut cut) = (0, 0);
    let (name, bytes) = files.iter().find(|(name, _)| name.ends_with(".wal")).expect("a log");
    for at in (0..bytes.len()).step_by(29) {
        let machine = damaged(&origin, &format!("store/{name}"), at, &[bytes[at] ^ 4]);
        let (fs, script, files) = (machine.fs(NODE), Rc::clone(&script), files.clone());
        let held = run(&machine, async move {
            let store = match BTree::open(&fs, "store", &options).await {
                Ok(store) => store,
                Err(error) => return is_told(&error, &files).map(|()| None),
            };
            Ok::<_, Loss>(Some((script.held(&store).await?, !store.torn_tails().is_empty())))
        });
        match held.unwrap_or_else(|loss| panic!("byte {at}: {loss}")) {
            None => told += 1,
            Some((held, torn)) => {
                assert!(held >= 12, "byte {at}: what was flushed is gone, {held} batches are left");
                cut += u32::from(torn);
            }
        }
    }
    assert!(told > 10 && cut > 100, "{told} told, {cut} cut");
}

/// Without one of its files a store says so, unless the file is the last log's or can be done without.
#[test]
fn a_missing_file_is_told() {
    fn without_each<E: Engine<Fs = SimFs>>(options: &E::Options, batches: usize) -> u32 {
        let origin = build::<E>(options, batches, false);
        let fs = origin.fs(NODE);
        let files = run(&origin, async move { read_files(&fs, "store").await });
        // Behind the last log that has a record nothing tells of those before.
        let is_log = |name: &&String| name.ends_with(".wal") || name.ends_with(".segment");
        let has_record = |name: &&String| files[*name][32..].iter().any(|byte| *byte != 0);
        let last = files.keys().filter(is_log).rfind(has_record).cloned();
        let script = Rc::new(Script::new(batches));
        let mut missing = 0;
        for name in files.keys().filter(|name| !is_log(name) || Some(*name) < last.as_ref()) {
            let machine = world(1, "ideal");
            machine.put_disk(NODE, origin.image_after_kill(NODE));
            let (fs, options, script) = (machine.fs(NODE), options.clone(), Rc::clone(&script));
            let path = format!("store/{name}");
            let held = run(&machine, async move {
                fs.remove(&path).await.expect("it was there");
                let store = E::open(&fs, "store", &options).await?;
                Ok::<_, EngineError>(script.held(&store).await)
            });
            match held {
                Ok(held) => assert_eq!(held, Ok(batches), "without {name}"),
                Err(error) => {
                    assert!(matches!(error, EngineError::Corrupt { .. }), "without {name}: {error}");
                    missing += 1;
                }
            }
        }
        missing
    }
    assert!(without_each::<Lsm<_>>(&small_lsm(engines::lsm(SOUND)), 34) > 3);
    let segments = LogStoreOptions { segment_bytes: 400, ..engines::logstore(SOUND) };
    assert!(without_each::<LogStore<_>>(&segments, 34) > 3);
    let logs = BTreeOptions { wal_bytes: 4 << 10, ..engines::btree(Mode::Wal, SOUND) };
    assert!(without_each::<BTree<_>>(&logs, 9) > 1);
    assert!(without_each::<BTree<_>>(&engines::btree(Mode::Rollback, SOUND), 20) > 0);
}

/// A page that was written in another's place has a good checksum, for another number.
#[test]
fn a_misdirected_page_is_told() {
    let options = engines::btree(Mode::Rollback, SOUND);
    let origin = build::<BTree<_>>(&options, 24, true);
    let fs = origin.fs(NODE);
    let files = Rc::new(run(&origin, async move { read_files(&fs, "store").await }));
    let data = &files["data"];
    let pages = data.len() / 512;
    let script = Rc::new(Script::new(24));
    let mut told = 0;
    for (from, to) in (0..pages).flat_map(|from| [(from, from ^ 1), (from, pages - 1 - from)]) {
        let machine = damaged(&origin, "store/data", to * 512, &data[from * 512..(from + 1) * 512]);
        let (fs, script, files) = (machine.fs(NODE), Rc::clone(&script), Rc::clone(&files));
        let outcome =
            run(&machine, async move { outcome::<BTree<_>>(&fs, &options, &script, 24, &files).await });
        let outcome = outcome.unwrap_or_else(|loss| panic!("page {from} on {to}: {loss}"));
        assert!(matches!(outcome, Outcome::Told | Outcome::Right), "page {from} on {to}: {outcome:?}");
        told += usize::from(outcome == Outcome::Told);
    }
    assert!(told > pages / 2, "only {told} misdirected pages were told");
}

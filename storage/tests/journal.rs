//! The journal: groups, segments, damage, failure.

use std::rc::Rc;
use std::time::Duration;

use contract::{Bug, Env, File, Fs, FsError, OpenMode};
use futures::future::join_all;
use sim::{DiskConfig, Latency, disk_profile};
use storage::{Journal, JournalEntry, JournalError, JournalOptions, SegmentId};

use crate::engines::with;
use crate::faulty::Faulty;
use crate::ground::{Folder, NODE, block_on, run, world, world_with};

fn small() -> JournalOptions {
    JournalOptions { segment_bytes: 256, ..JournalOptions::default() }
}

fn payload(i: u32) -> Vec<u8> {
    format!("record {i}").into_bytes()
}

async fn append_each<F: Fs>(journal: &Journal<F>, numbers: std::ops::Range<u32>) {
    for i in numbers {
        journal.append(i % 3, vec![payload(i)]).await.expect("appends");
    }
}

fn numbers(entries: &[JournalEntry]) -> Vec<u32> {
    let number = |entry: &JournalEntry| {
        let text = std::str::from_utf8(&entry.payload).expect("text");
        let number: u32 = text.strip_prefix("record ").expect("a record").parse().expect("a number");
        assert_eq!(entry.stream, number % 3);
        number
    };
    entries.iter().map(number).collect()
}

/// On a file system that is always ready a group can only form because its leader yields.
#[test]
fn writers_share_flushes_on_a_real_folder() {
    let folder = Folder::new();
    let (stats, order) = block_on(async {
        let (journal, _) =
            Journal::open(folder.fs(), "journal", JournalOptions::default()).await.expect("opens");
        let writer = |i: u32| {
            let journal = journal.clone();
            async move {
                for round in 0..10 {
                    journal.append(0, vec![payload(round * 64 + i)]).await.expect("appends");
                }
            }
        };
        join_all((0..64).map(writer)).await;
        let (_, recovery) =
            Journal::open(folder.fs(), "journal", JournalOptions::default()).await.expect("opens");
        (journal.stats(), recovery.entries.len())
    });
    assert_eq!((stats.appends, order), (640, 640));
    assert_eq!(stats.largest_group, 64);
    assert!(stats.flushes <= 20, "640 appends of 64 writers took {} flushes", stats.flushes);
}

/// N closed-loop writers commit between N/(2f) and N/f times a second.
#[test]
fn group_commit_follows_the_law() {
    let flush = Duration::from_micros(1643);
    let disk = DiskConfig {
        flush: Latency::Constant(flush),
        write: Latency::Constant(Duration::from_micros(20)),
        ..disk_profile("ideal").expect("a named disk")
    };
    let world = world_with(1, disk);
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    let elapsed = run(&world, async move {
        let (journal, _) = Journal::open(fs, "journal", JournalOptions::default()).await.expect("opens");
        let start = Env::<()>::now(&env);
        let writer = |_| {
            let journal = journal.clone();
            async move { append_each(&journal, 0..100).await }
        };
        join_all((0..64).map(writer)).await;
        Env::<()>::now(&env) - start
    });
    let rate = 6400.0 / elapsed.as_secs_f64();
    let most = 64.0 / flush.as_secs_f64();
    assert!(rate >= most / 2.0 && rate <= most, "{rate:.0} commits/s, not in {:.0} to {most:.0}", most / 2.0);
}

/// The calls' order counts, whoever is polled first.
#[test]
fn the_order_of_calls_is_the_order_on_disk() {
    let folder = Folder::new();
    block_on(async {
        let (journal, _) = Journal::open(folder.fs(), "journal", small()).await.expect("opens");
        let mut calls: Vec<_> = (0..20).map(|i| journal.append(i % 3, vec![payload(i)])).collect();
        calls.reverse();
        for outcome in join_all(calls).await {
            outcome.expect("appends");
        }
        let (_, recovery) = Journal::open(folder.fs(), "journal", small()).await.expect("opens");
        assert_eq!(numbers(&recovery.entries), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn purging_removes_whole_segments_from_the_oldest_on() {
    let world = world(1, "nvme");
    let fs = world.fs(NODE);
    run(&world, async move {
        let (journal, _) = Journal::open(fs.clone(), "journal", small()).await.expect("opens");
        append_each(&journal, 0..60).await;
        let active = journal.active_segment();
        assert!(active > SegmentId(5), "small segments fill: {active}");
        journal.purge(SegmentId(4)).await.expect("purges");
        let (_, recovery) = Journal::open(fs.clone(), "journal", small()).await.expect("opens");
        let kept = numbers(&recovery.entries);
        assert_eq!(recovery.entries[0].segment, SegmentId(4));
        assert_eq!(kept, (kept[0]..60).collect::<Vec<_>>());
    });
    // The active segment stays, however much is asked for.
    let (fs, fs_again) = (world.fs(NODE), world.fs(NODE));
    run(&world, async move {
        let (journal, _) = Journal::open(fs, "journal", small()).await.expect("opens");
        append_each(&journal, 60..61).await;
        journal.purge(SegmentId(u64::MAX)).await.expect("purges");
        append_each(&journal, 61..62).await;
    });
    world.crash(NODE);
    world.restart(NODE);
    drop(fs_again);
    let fs = world.fs(NODE);
    run(&world, async move {
        let (_, recovery) = Journal::open(fs, "journal", small()).await.expect("opens");
        assert_eq!(numbers(&recovery.entries), [60, 61]);
    });
}

#[test]
fn a_group_larger_than_a_segment_gets_a_larger_one() {
    let folder = Folder::new();
    block_on(async {
        let (journal, _) = Journal::open(folder.fs(), "journal", small()).await.expect("opens");
        append_each(&journal, 0..1).await;
        journal.append(7, vec![vec![7; 1000], Vec::new()]).await.expect("appends");
        append_each(&journal, 1..2).await;
        let (_, recovery) = Journal::open(folder.fs(), "journal", small()).await.expect("opens");
        let lengths: Vec<_> = recovery.entries.iter().map(|entry| entry.payload.len()).collect();
        assert_eq!(lengths, [8, 1000, 0, 8]);
    });
}

/// Whatever byte is damaged: the journal tells where, or what is read is a prefix. Damage below what
/// a later record or segment vouches for is never taken for a torn tail.
#[test]
fn every_damaged_byte_is_told_or_cuts_the_tail() {
    damage_every_byte(small());
}

#[test]
#[should_panic(expected = "more than the last record is gone")]
fn a_journal_that_cuts_off_a_corrupt_interior_is_caught() {
    damage_every_byte(JournalOptions { bugs: with(Bug::CorruptInteriorCut), ..small() });
}

fn damage_every_byte(options: JournalOptions) {
    const RECORDS: u32 = 20;
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        let (journal, _) = Journal::open(fs.clone(), "journal", options).await.expect("opens");
        append_each(&journal, 0..RECORDS).await;
        let last = journal.active_segment();
        let names = fs.list("journal").await.expect("lists");
        assert_eq!(names.len() as u64, last.0);
        let mut torn = 0;
        for (place, name) in names.iter().enumerate() {
            let path = format!("journal/{name}");
            let file = fs.open(&path, OpenMode::Existing).await.expect("exists");
            let len = file.len().await.expect("has a length") as usize;
            let bytes = file.read_at(0, vec![0; len]).await.1;
            let used = len - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            for (at, byte) in bytes[..used].iter().enumerate() {
                file.write_at(at as u64, vec![byte ^ 0x10]).await.0.expect("writes");
                let opened = Journal::open(fs.clone(), "journal", options).await;
                match opened {
                    Err(JournalError::Corrupt { file, offset, .. }) => {
                        assert_eq!(*file, *path);
                        assert!(offset <= at as u64, "{path}: byte {at} is told as {offset}");
                    }
                    Err(other) => panic!("{path}: byte {at}: {other}"),
                    Ok((_, recovery)) => {
                        assert_eq!(place + 1, names.len(), "{path}: byte {at}: damage inside the journal");
                        let tail = recovery.torn.expect("damage is told");
                        assert!(tail.offset <= at as u64);
                        let left = numbers(&recovery.entries);
                        assert!(left.into_iter().eq(0..RECORDS - 1), "more than the last record is gone");
                        torn += 1;
                        // The test's journal goes on as if nothing had been opened.
                        fs.remove(&format!("journal/{:010}.journal", last.0 + 1)).await.expect("removes");
                    }
                }
                file.write_at(at as u64, vec![*byte]).await.0.expect("writes");
            }
        }
        assert!(torn > 0, "nothing vouches for the last record");
        fs.remove(&format!("journal/{}", names[1])).await.expect("removes");
        let opened = Journal::open(fs.clone(), "journal", options).await.map(|_| ());
        assert!(matches!(opened, Err(JournalError::Corrupt { .. })), "a missing segment: {opened:?}");
    });
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged() {
    let folder = Folder::new();
    let fs = Faulty::new(folder.fs());
    let faults = Rc::clone(&fs.faults);
    block_on(async {
        let (journal, _) = Journal::open(fs, "journal", JournalOptions::default()).await.expect("opens");
        append_each(&journal, 0..3).await;
        faults.file_syncs_left.set(Some(0));
        let failed = journal.append(0, vec![payload(3)]).await;
        assert!(matches!(failed, Err(JournalError::Fs(FsError::Io { action: "sync", .. }))), "{failed:?}");
        faults.file_syncs_left.set(None);
        let later = journal.append(0, vec![payload(4)]).await;
        assert!(matches!(later, Err(JournalError::Stopped { .. })), "{later:?}");
    });
}

#[test]
fn an_abandoned_commit_stops_the_journal_and_an_abandoned_wait_does_not() {
    let world = world(1, "nvme");
    let (fs, env) = (world.fs(NODE), world.env(NODE));
    run(&world, async move {
        let (journal, _) = Journal::open(fs, "journal", JournalOptions::default()).await.expect("opens");
        // Dropped before its first poll: it still has its place in the order.
        drop(journal.append(0, vec![payload(0)]));
        append_each(&journal, 1..2).await;
        assert_eq!(journal.stats().records, 2);
        let mut first = Box::pin(journal.append(0, vec![payload(2)]));
        let mut second = Box::pin(journal.append(0, vec![payload(3)]));
        let tick = env.sleep(Duration::from_nanos(1));
        futures::future::select(futures::future::select(&mut first, &mut second), Box::pin(tick)).await;
        drop(first);
        assert_eq!(second.await, Err(JournalError::Abandoned));
        assert_eq!(journal.append(0, vec![payload(4)]).await, Err(JournalError::Abandoned));
    });
}

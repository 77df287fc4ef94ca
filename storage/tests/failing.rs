//! Disks that refuse: EIO and ENOSPC at every call, and syncs that fail in the manner of each file system.
//! The error is returned, nothing that was acknowledged is lost, and a store opens again, or says which file
//! is bad.
//!
//! `FAILURES=all` tries every call; the default every few.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use contract::{Batch, Bugs, Durability, Engine, EngineError, FsError, Time};
use sim::fault::SyncError;
use sim::{Event, Fault, Image, SimFs, SyncFailure, World};
use storage::{BTree, Journal, JournalOptions, Mode};

use crate::engines::{self, SOUND, on_every_engine, with};
use crate::faulty::{Failing, Failure, Faulty};
use crate::ground::{NODE, run, world};
use crate::script::{Loss, Script, batch};

const BATCHES: usize = 130;

/// What a run was told.
#[derive(Clone, Default)]
struct Told {
    begun: usize,
    promised: usize,
    /// A checkpoint that was completed, and the number of batches it holds.
    copy: Option<usize>,
    errors: Vec<EngineError>,
}

type Ledger = Rc<RefCell<Told>>;

/// Writes, flushes, reads, maintains, takes a checkpoint and opens the store anew. What fails is tried once
/// more; then the run ends.
async fn work<E: Engine>(fs: E::Fs, options: E::Options, script: Rc<Script>, told: Ledger) {
    let failed = |error: EngineError| told.borrow_mut().errors.push(error);
    let open = async || match E::open(&fs, "store", &options).await {
        Ok(store) => Some(store),
        Err(error) => {
            failed(error);
            E::open(&fs, "store", &options).await.map_err(failed).ok()
        }
    };
    let Some(mut store) = open().await else { return };
    for number in 0..BATCHES {
        told.borrow_mut().begun = number + 1;
        let synced = number % 3 == 0 && number % 40 < 30;
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        if let Err(error) = store.write(batch(number), durability).await {
            failed(error);
            if let Err(error) = store.write(batch(number), durability).await {
                failed(error);
                return refuses(&store, &told).await;
            }
        }
        if synced {
            told.borrow_mut().promised = number + 1;
        }
        if number % 5 == 4 {
            let _ = store.maintain().await.map_err(failed);
        }
        if number % 10 == 9 {
            match store.get(b"number").await {
                Ok(found) => assert_eq!(found, Some((number as u64).to_le_bytes().to_vec())),
                Err(error) => failed(error),
            }
        }
        if number == BATCHES / 2 {
            match store.checkpoint("copy").await {
                Ok(()) => told.borrow_mut().copy = Some(number + 1),
                Err(error) => failed(error),
            }
        }
        if number == BATCHES * 3 / 4 {
            if let Err(error) = store.sync().await {
                failed(error);
                return refuses(&store, &told).await;
            }
            told.borrow_mut().promised = number + 1;
            drop(store);
            let Some(opened) = open().await else { return };
            store = opened;
            match store.scan(contract::Range::all(), usize::MAX).await {
                Ok(found) => {
                    let right = script.after(number + 1).scan(contract::Range::all(), usize::MAX);
                    assert!(found == right, "a wrong answer at batch {number}");
                }
                Err(error) => failed(error),
            }
        }
    }
}

/// After a write that failed twice: once a store has refused to flush, it acknowledges nothing more, and tells
/// the same failure again and again.
async fn refuses<E: Engine>(store: &E, told: &Ledger) {
    let mut refused: Option<EngineError> = None;
    for _ in 0..3 {
        match (store.sync().await, &refused) {
            (Err(error), None) => refused = Some(error),
            (again, Some(first)) => assert_eq!(again.as_ref(), Err(first), "the first failure is told again"),
            (Ok(()), None) => continue,
        }
        // What it changes was changed before: it does no harm if it is applied.
        let again = store.write(Batch::default(), Durability::Synced).await;
        assert_eq!(again.as_ref().err(), refused.as_ref(), "the first failure is told again");
    }
    told.borrow_mut().errors.extend(refused);
}

/// Opens a store. A failure that was not told yet is told to whoever opens its file next, and once.
async fn open<E: Engine<Fs = SimFs>>(fs: &SimFs, dir: &str, options: &E::Options) -> Result<E, EngineError> {
    match E::open(fs, dir, options).await {
        Err(EngineError::Fs(_)) => E::open(fs, dir, options).await,
        opened => opened,
    }
}

/// Opens a store that a run left, and compares it; then writes, loses power and compares again.
fn holds<E: Engine<Fs = SimFs>>(
    image: Image,
    options: &E::Options,
    script: &Rc<Script>,
    told: &Told,
) -> Result<(), Loss> {
    let machine = world(1, "ideal");
    machine.put_disk(NODE, image);
    let (fs, tuned, known, told) = (machine.fs(NODE), options.clone(), Rc::clone(script), told.clone());
    let count = run(&machine, async move {
        let store = open::<E>(&fs, "store", &tuned).await.map_err(|error| error.to_string())?;
        let mut count = known.held(&store).await?;
        let Told { begun, promised, .. } = told;
        if count < promised || count > begun {
            return Err(format!("{count} batches are there, of {begun} begun and {promised} promised"));
        }
        if let Some(least) = told.copy {
            let copy = open::<E>(&fs, "copy", &tuned).await.map_err(|error| format!("copy: {error}"))?;
            let held = known.held(&copy).await.map_err(|loss| format!("copy: {loss}"))?;
            if held != least {
                return Err(format!("copy: {held} batches instead of {least}"));
            }
        }
        for _ in 0..3 {
            store.write(batch(count), Durability::Synced).await.map_err(|error| error.to_string())?;
            count += 1;
        }
        Ok(count)
    })?;
    let again = world(1, "ideal");
    again.put_disk(NODE, machine.image_after_crash(NODE, 7));
    let (fs, options, script) = (again.fs(NODE), options.clone(), Rc::clone(script));
    run(&again, async move {
        let store = E::open(&fs, "store", &options).await.map_err(|error| format!("again: {error}"))?;
        match script.held(&store).await? {
            held if held == count => Ok(()),
            held => Err(format!("{count} promised batches became {held} at a power loss")),
        }
    })
}

/// Every so many calls, unless all are to be tried.
fn stride(default: u64) -> usize {
    if std::env::var("FAILURES").is_ok_and(|which| which == "all") { 1 } else { default as usize }
}

fn refuses_at_every_call<E: Engine<Fs = Faulty<SimFs>>>(options: E::Options, _: E::Options)
where
    E::Options: Clone,
{
    let script = Rc::new(Script::new(BATCHES + 4));
    let tries = |failing: Option<Failing>| {
        let here = world(1, "ideal");
        let fs = Faulty::new(here.fs(NODE));
        fs.faults.failing.set(failing);
        let (faults, told) = (Rc::clone(&fs.faults), Ledger::default());
        run(&here, work::<E>(fs, options.clone(), Rc::clone(&script), Rc::clone(&told)));
        (here, faults, told.take())
    };
    let (_, faults, told) = tries(None);
    let calls = faults.calls.get();
    assert_eq!((told.errors.len(), told.begun), (0, BATCHES), "{:?}", told.errors);
    let (mut failures, mut opened) = (0, 0);
    let kinds = [(Failure::Io, 1), (Failure::Io, u64::MAX), (Failure::Full, 1), (Failure::Full, u64::MAX)];
    for (kind, (failure, lasts)) in kinds.into_iter().enumerate() {
        for from in (1 + kind as u64..=calls).step_by(stride(11)) {
            let failing = Failing { from, calls: lasts, failure };
            let (here, faults, told) = tries(Some(failing));
            let Some(action) = faults.failed.get() else { continue };
            failures += 1;
            // Where there are no hard links, files are copied.
            assert!(
                !told.errors.is_empty() || action == "link",
                "{failing:?} of a {action}: nobody was told"
            );
            for error in &told.errors {
                assert!(matches!(error, EngineError::Fs(_)), "{failing:?}: {error}");
            }
            opened += 1;
            // The process starts again; or the power fails.
            for (end, image) in
                [("restart", here.image_after_kill(NODE)), ("power loss", here.image_after_crash(NODE, from))]
            {
                let machine = world(1, "ideal");
                machine.put_disk(NODE, image);
                let fs = Faulty::new(machine.fs(NODE));
                let loss = recovers::<E>(&machine, fs, &options, &script, &told);
                loss.unwrap_or_else(|loss| panic!("{failing:?} of a {action}, {end}: {loss}"));
            }
        }
    }
    println!("{failures} failures in {calls} calls, {opened} checked");
    assert!(failures > 100, "only {failures} calls failed");
}

fn recovers<E: Engine<Fs = Faulty<SimFs>>>(
    machine: &World<()>,
    fs: Faulty<SimFs>,
    options: &E::Options,
    script: &Rc<Script>,
    told: &Told,
) -> Result<(), Loss> {
    let (options, script, told) = (options.clone(), Rc::clone(script), told.clone());
    run(machine, async move {
        let store = E::open(&fs, "store", &options).await.map_err(|error| error.to_string())?;
        let count = script.held(&store).await?;
        let Told { begun, promised, .. } = told;
        if count < promised || count > begun {
            return Err(format!("{count} batches are there, of {begun} begun and {promised} promised"));
        }
        store.write(batch(count), Durability::Synced).await.map_err(|error| error.to_string())?;
        match script.held(&store).await? {
            held if held == count + 1 => Ok(()),
            held => Err(format!("{held} batches after one was written behind {count}")),
        }
    })
}

mod at_every_call {
    super::on_every_engine!(refuses_at_every_call);
}

/// Runs until disk operation `n` and lets it fail if it is a flush, and on to the end; `None` if it is
/// another operation.
fn flush_fails<W: Future<Output = ()> + 'static>(
    work: impl FnOnce(SimFs) -> W,
    n: u64,
    manner: SyncFailure,
) -> Option<World<()>> {
    let here = world(1, "ideal");
    here.break_at_disk_op(NODE, n);
    contract::Env::<()>::spawn(&here.env(NODE), work(here.fs(NODE)));
    assert_eq!(here.next(Time::FAR), Some(Event::DiskOp { node: NODE, n }), "the run is the same");
    let fault = here.inject(&Fault::SyncError(SyncError { node: NODE, ppm: 1_000_000, manner }));
    here.break_at_disk_op(NODE, n + 1);
    here.run_tasks();
    let _ = here.recover(fault);
    if here.stats().disk_troubles == 0 {
        return None;
    }
    while here.next(Time::FAR).is_some() {}
    Some(here)
}

const MANNERS: [SyncFailure; 3] = [SyncFailure::Ext4Ordered, SyncFailure::Ext4Data, SyncFailure::Btrfs];

fn survives_failed_syncs<E: Engine<Fs = SimFs>>(options: E::Options, _: E::Options) {
    let script = Rc::new(Script::new(BATCHES + 4));
    let whole = world(1, "ideal");
    let told = Ledger::default();
    run(&whole, work::<E>(whole.fs(NODE), options.clone(), Rc::clone(&script), Rc::clone(&told)));
    assert!(told.borrow().errors.is_empty());
    let (mut failed, mut bad) = (0, 0);
    for manner in MANNERS {
        for n in (1..=whole.disk_ops(NODE)).step_by(stride(3)) {
            let told = Ledger::default();
            let (tuned, known, log) = (options.clone(), Rc::clone(&script), Rc::clone(&told));
            let run = flush_fails(|fs| work::<E>(fs, tuned, known, log), n, manner);
            let Some(here) = run else { continue };
            failed += 1;
            let told = told.take();
            assert!(
                !told.errors.is_empty() || manner == SyncFailure::Ext4Data,
                "{manner:?}, {n}: nobody was told"
            );
            for error in &told.errors {
                assert!(matches!(error, EngineError::Fs(_)), "{manner:?}, operation {n}: {error}");
            }
            let late = manner == SyncFailure::Ext4Data;
            for (end, image) in
                [("restart", here.image_after_kill(NODE)), ("power loss", here.image_after_crash(NODE, n))]
            {
                let place = format!("{manner:?}, operation {n}, {end}");
                match holds::<E>(image, &options, &script, &told) {
                    Ok(()) => {}
                    // A sync that returned and did nothing: what is lost is told, or was not flushed since.
                    Err(loss) if late => {
                        bad += 1;
                        let told_which = loss.contains("corrupt at byte");
                        let lost_only =
                            loss.contains("batches are there") || loss.contains("batches instead of");
                        assert!(told_which || lost_only, "{place}: {loss}");
                    }
                    Err(loss) => panic!("{place}: {loss}"),
                }
            }
        }
    }
    println!("{failed} flushes failed; {bad} times a late failure cost something");
    assert!(failed > 50, "only {failed} flushes failed");
}

mod at_every_flush {
    super::on_every_engine!(survives_failed_syncs);
}

/// A checkpoint that came to its end is whole after a power loss, also where a file system tells of a failed flush
/// with the next one only: no log has what is in it.
#[test]
fn a_checkpoint_of_a_btree_outlives_failures_that_are_told_late() {
    for mode in [Mode::Wal, Mode::Rollback] {
        let options = engines::btree(mode, SOUND);
        let script = Rc::new(Script::new(BATCHES + 4));
        let whole = world(1, "ideal");
        run(&whole, work::<BTree<_>>(whole.fs(NODE), options, Rc::clone(&script), Ledger::default()));
        let mut survived = 0;
        for n in 1..=whole.disk_ops(NODE) {
            let told = Ledger::default();
            let (known, log) = (Rc::clone(&script), Rc::clone(&told));
            let work = |fs| work::<BTree<_>>(fs, options, known, log);
            let Some(here) = flush_fails(work, n, SyncFailure::Ext4Data) else { continue };
            let told = told.take();
            let is_copied = told.copy.is_some();
            match holds::<BTree<_>>(here.image_after_crash(NODE, n), &options, &script, &told) {
                Err(loss) => assert!(!loss.starts_with("copy: "), "{mode:?}, operation {n}: {loss}"),
                Ok(()) => survived += u32::from(is_copied),
            }
        }
        assert!(survived > 5, "{mode:?}: only {survived} failures left a checkpoint");
    }
}

/// A write whose future is dropped while it waits for the disk.
fn stops_when_abandoned<E: Engine<Fs = SimFs>>(options: E::Options, _: E::Options) {
    let world = world(1, "nvme");
    let fs = world.fs(NODE);
    run(&world, async move {
        let store = E::open(&fs, "store", &options).await.expect("opens");
        let put = |key: &str| {
            let mut batch = Batch::default();
            batch.put(key, vec![7; 30]);
            batch
        };
        store.write(put("written"), Durability::Synced).await.expect("writes");
        {
            let mut write = pin!(store.write(put("abandoned"), Durability::Synced));
            // Twice: the first time it gives way to others that may share its flush.
            for _ in 0..2 {
                poll_fn(|cx| {
                    assert!(write.as_mut().poll(cx).is_pending(), "the disk takes its time");
                    Poll::Ready(())
                })
                .await;
            }
        }
        let refused = store.write(put("refused"), Durability::Lazy).await;
        assert!(matches!(refused, Err(EngineError::Fs(FsError::Io { action: "write", .. }))), "{refused:?}");
        assert_eq!(store.get(b"written").await, Ok(Some(vec![7; 30])), "it still reads");
        assert_eq!(store.get(b"refused").await, Ok(None));
    });
}

mod abandoned {
    super::on_every_engine!(stops_when_abandoned);
}

/// Appends to a journal until it stops; how many were acknowledged.
async fn append(fs: SimFs, bugs: Bugs, acknowledged: Rc<RefCell<u32>>) {
    let options = JournalOptions { segment_bytes: 400, bugs };
    let Ok((journal, _)) = Journal::open(fs, "journal", options).await else { return };
    for i in 0..40u32 {
        if journal.append(1, vec![i.to_le_bytes().to_vec(), vec![i as u8; 30]]).await.is_err() {
            return;
        }
        *acknowledged.borrow_mut() = i + 1;
    }
}

/// What a journal holds must be all that was acknowledged, in order. A late failure may have cost the last of
/// it, or is told.
fn journal_holds(image: Image, acknowledged: u32) -> Result<(), Loss> {
    let machine = world(1, "ideal");
    machine.put_disk(NODE, image);
    let fs = machine.fs(NODE);
    let options = JournalOptions { segment_bytes: 400, ..JournalOptions::default() };
    let found = run(&machine, async move {
        let (journal, found) =
            Journal::open(fs, "journal", options).await.map_err(|error| error.to_string())?;
        journal.append(2, vec![b"more".to_vec()]).await.map_err(|error| error.to_string())?;
        for (i, pair) in
            (0u32..).zip(found.entries.iter().filter(|entry| entry.stream == 1).collect::<Vec<_>>().chunks(2))
        {
            if pair[0].payload != i.to_le_bytes() {
                return Err(format!("record {i} is another"));
            }
        }
        let records = found.entries.len() as u32;
        if records < acknowledged * 2 {
            return Err(format!("{records} records are there, of {acknowledged} acknowledged pairs"));
        }
        Ok::<_, Loss>(records + 1)
    })?;
    let again = world(1, "ideal");
    again.put_disk(NODE, machine.image_after_crash(NODE, 3));
    let fs = again.fs(NODE);
    run(&again, async move {
        let (_, after) = Journal::open(fs, "journal", options).await.map_err(|error| error.to_string())?;
        if after.entries.len() as u32 == found {
            Ok(())
        } else {
            Err("a power loss undid the recovery".to_owned())
        }
    })
}

/// Lets each flush of a journal fail in each manner; the first loss, if there is one.
fn journal_survives_failed_syncs(bugs: Bugs) -> Result<u32, Loss> {
    let whole = world(1, "ideal");
    let acknowledged = Rc::new(RefCell::new(0));
    run(&whole, append(whole.fs(NODE), SOUND, Rc::clone(&acknowledged)));
    let mut failed = 0;
    for manner in MANNERS {
        for n in 1..=whole.disk_ops(NODE) {
            let acknowledged = Rc::new(RefCell::new(0));
            let log = Rc::clone(&acknowledged);
            let Some(here) = flush_fails(|fs| append(fs, bugs, log), n, manner) else { continue };
            failed += 1;
            for (end, image) in
                [("restart", here.image_after_kill(NODE)), ("power loss", here.image_after_crash(NODE, n))]
            {
                let held = journal_holds(image, *acknowledged.borrow());
                let late = manner == SyncFailure::Ext4Data;
                match held {
                    Err(loss)
                        if !(late && (loss.contains("corrupt") || loss.contains("records are there"))) =>
                    {
                        return Err(format!("{manner:?}, operation {n}, {end}: {loss}"));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(failed)
}

#[test]
fn a_journal_survives_failed_syncs() {
    let failed = journal_survives_failed_syncs(SOUND).unwrap_or_else(|loss| panic!("{loss}"));
    assert!(failed > 100, "only {failed} flushes failed");
}

#[test]
fn a_journal_that_tries_a_failed_sync_again_is_caught() {
    let loss = journal_survives_failed_syncs(with(contract::Bug::SyncRetriedAfterFailure));
    println!("{}", loss.expect_err("the pages are clean, and not on the disk"));
}

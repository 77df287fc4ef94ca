//! A power loss at every disk operation, and what must be there afterwards.
//!
//! For each seed the run is repeated once per disk operation it makes: the power fails before that
//! operation or, for odd seeds, while it is under way. The same enumeration must find a loss where
//! one was planted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use contract::{Bug, Bugs, Env, Time};
use sim::{Event, SimFs, World};
use storage::{Journal, JournalEntry, JournalOptions, SegmentId};

use crate::ground::{NODE, run, world};

/// What was found wrong.
pub(crate) type Loss = String;

/// Runs `work` and cuts the power at its `n`-th disk operation, or when it is done.
pub(crate) fn run_until(
    world: &World<()>,
    n: Option<u64>,
    in_flight: bool,
    work: impl Future<Output = ()> + 'static,
) {
    if let Some(n) = n {
        world.break_at_disk_op(NODE, n);
    }
    world.env(NODE).spawn(work);
    match world.next(Time::FAR) {
        Some(Event::DiskOp { .. }) if in_flight => world.run_tasks(),
        Some(Event::DiskOp { .. }) => {}
        None => assert!(n.is_none(), "the run ended before its disk operation {n:?}"),
        Some(other) => panic!("nobody asked for {other:?}"),
    }
}

pub(crate) fn power_cycle(world: &World<()>) -> SimFs {
    world.crash(NODE);
    world.restart(NODE);
    world.fs(NODE)
}

/// Tries a crash at every disk operation of a run; the first loss, if there is one.
pub(crate) fn enumerate(
    seeds: u64,
    crash_at: impl Fn(u64, Option<u64>) -> Result<u64, Loss>,
) -> Result<u64, Loss> {
    let mut crashes = 0;
    for seed in 0..seeds {
        let operations = crash_at(seed, None)?;
        for n in 1..=operations {
            crash_at(seed, Some(n)).map_err(|loss| format!("seed {seed}, disk operation {n}: {loss}"))?;
        }
        crashes += operations + 1;
    }
    Ok(crashes)
}

/// What the journal was asked to keep.
#[derive(Default)]
struct Issued {
    /// In the order of the calls.
    payloads: Vec<Vec<u8>>,
    acknowledged: BTreeMap<usize, SegmentId>,
    /// Records before this one may be purged.
    keep_from: usize,
}

const WRITERS: usize = 5;
const APPENDS: usize = 500;

async fn journal_writer(journal: Journal<SimFs>, purges: bool, issued: Rc<RefCell<Issued>>) {
    loop {
        let (first, payloads) = {
            let issued = &mut *issued.borrow_mut();
            let first = issued.payloads.len();
            if first >= APPENDS {
                return;
            }
            let payload = |i: usize| [&i.to_le_bytes()[..], &vec![i as u8; i * 37 % 200]].concat();
            let payloads: Vec<_> = (first..=first + first % 3).map(payload).collect();
            issued.payloads.extend(payloads.clone());
            (first, payloads)
        };
        let count = payloads.len();
        let segment = journal.append(1, payloads).await.expect("a healthy disk");
        let below = {
            let issued = &mut *issued.borrow_mut();
            issued.acknowledged.extend((first..first + count).map(|i| (i, segment)));
            let acknowledged = issued.acknowledged.len();
            let middle =
                issued.acknowledged.iter().nth(acknowledged / 2).filter(|_| acknowledged % 60 < count);
            let purged = middle.filter(|_| purges).map(|(&middle, &below)| (middle, below));
            issued.keep_from = issued.keep_from.max(purged.map_or(0, |(middle, _)| middle));
            purged.map(|(_, below)| below)
        };
        if let Some(below) = below {
            journal.purge(below).await.expect("a healthy disk");
        }
    }
}

/// What is there must be a run of what was issued, with all that was acknowledged and not purged.
fn check_journal(entries: &[JournalEntry], issued: &Issued) -> Result<(), Loss> {
    let number = |entry: &JournalEntry| {
        let bytes = entry.payload.get(..8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(usize::MAX, usize::from_le_bytes)
    };
    let first = entries.first().map_or(0, number);
    for (entry, place) in entries.iter().zip(first..) {
        if issued.payloads.get(place) != Some(&entry.payload) {
            return Err(format!("record {place} was never written so"));
        }
        if issued.acknowledged.get(&place).is_some_and(|segment| *segment != entry.segment) {
            return Err(format!("record {place} is in another segment than was told"));
        }
    }
    if first > issued.keep_from {
        return Err(format!("record {} is gone from the beginning", issued.keep_from));
    }
    match issued.acknowledged.last_key_value() {
        Some((&last, _)) if last >= first + entries.len() => {
            Err(format!("acknowledged record {last} is gone"))
        }
        _ => Ok(()),
    }
}

fn crash_journal(seed: u64, n: Option<u64>, options: JournalOptions) -> Result<u64, Loss> {
    let world = world(seed, "nvme");
    let issued = Rc::new(RefCell::new(Issued::default()));
    let (fs, env, log) = (world.fs(NODE), world.env(NODE), Rc::clone(&issued));
    run_until(&world, n, seed % 2 == 1, async move {
        let (journal, _) = Journal::open(fs, "journal", options).await.expect("a healthy disk");
        for writer in 0..WRITERS {
            env.spawn(journal_writer(journal.clone(), writer == 0, Rc::clone(&log)));
        }
    });
    let operations = world.disk_ops(NODE);
    let fs = power_cycle(&world);
    let entries = run(&world, async move {
        let opened = Journal::open(fs, "journal", options).await;
        let (journal, recovery) = opened.map_err(|error| error.to_string())?;
        check_journal(&recovery.entries, &issued.borrow())?;
        // Writing goes on behind what was cut off.
        let mut entries = recovery.entries;
        for i in 0..3u8 {
            let segment = journal.append(2, vec![vec![i; 50]]).await.map_err(|error| error.to_string())?;
            entries.push(JournalEntry { stream: 2, payload: vec![i; 50], segment });
        }
        Ok::<_, Loss>(entries)
    })?;
    let fs = power_cycle(&world);
    run(&world, async move {
        let (_, again) = Journal::open(fs, "journal", options).await.map_err(|error| error.to_string())?;
        if again.entries == entries || options.bugs.has(Bug::AckBeforeFsync) {
            Ok(())
        } else {
            Err(format!("{} records became {} after a second crash", entries.len(), again.entries.len()))
        }
    })?;
    Ok(operations)
}

#[test]
fn journal_keeps_what_it_acknowledged() {
    let options = JournalOptions { segment_bytes: 4096, ..JournalOptions::default() };
    let crashes =
        enumerate(16, |seed, n| crash_journal(seed, n, options)).unwrap_or_else(|loss| panic!("{loss}"));
    assert!(crashes > 4000, "only {crashes} crashes were tried");
}

#[test]
fn a_journal_that_acknowledges_before_its_flush_is_caught() {
    let options = JournalOptions { segment_bytes: 4096, bugs: Bugs(Some(Bug::AckBeforeFsync)) };
    let loss =
        enumerate(2, |seed, n| crash_journal(seed, n, options)).expect_err("the planted bug loses records");
    assert!(loss.contains("acknowledged record"), "{loss}");
}

//! The crash frontier against crashes that are drawn: neither has an image that the other cannot have.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use contract::{Env, File, Fs, NodeId, OpenMode, Seed, Time};
use seedbed_sim::{DiskConfig, Event, Image, Latency, Persistence, SimFs, World, WorldConfig, disk_profile};

const NODE: NodeId = NodeId(1);

/// All files with their contents.
type Files = BTreeMap<String, Vec<u8>>;

fn world(seed: u64, disk: DiskConfig) -> World<()> {
    World::new(&WorldConfig { seed: Seed(seed), nodes: 1, disk, ..WorldConfig::default() })
}

/// A slow disk: what is asked of it is under way for a millisecond.
fn disk(persistence: Persistence, torn_unit: u16) -> DiskConfig {
    let slow = Latency::Constant(std::time::Duration::from_millis(1));
    let ideal = disk_profile("ideal").expect("a known profile");
    DiskConfig { write: slow, flush: slow, flush_metadata: slow, persistence, torn_unit, ..ideal }
}

fn files(world: &World<()>) -> Files {
    let fs = world.fs(NODE);
    let found = std::rc::Rc::new(std::cell::RefCell::new(Files::new()));
    let out = std::rc::Rc::clone(&found);
    world.env(NODE).spawn(async move {
        for name in fs.list("").await.expect("the root is there") {
            let file = fs.open(&name, OpenMode::Existing).await.expect("it was listed");
            let len = file.len().await.expect("never fails") as usize;
            let (read, buf) = file.read_at(0, vec![0; len]).await;
            assert_eq!(read, Ok(len));
            out.borrow_mut().insert(name, buf);
        }
    });
    while world.next(Time::FAR).is_some() {}
    found.take()
}

fn boot(image: Image) -> Files {
    let world = world(0, disk_profile("ideal").expect("a known profile"));
    world.put_disk(NODE, image);
    files(&world)
}

/// Runs until just before a disk operation, or with that under way.
fn run_to<W: Future<Output = ()> + 'static>(
    world: &World<()>,
    work: fn(SimFs) -> W,
    n: u64,
    in_flight: bool,
) {
    world.break_at_disk_op(NODE, n);
    world.env(NODE).spawn(work(world.fs(NODE)));
    assert!(matches!(world.next(Time::FAR), Some(Event::DiskOp { .. })), "the run has no operation {n}");
    if in_flight {
        world.run_tasks();
    }
}

/// A file that is overwritten, cut and grown after a sync, and renamed over another; ten operations.
async fn work(fs: SimFs) {
    let file = fs.open("new", OpenMode::Create).await.expect("the root is there");
    let old = fs.open("old", OpenMode::Create).await.expect("the root is there");
    old.write_at(0, vec![9; 100]).await.0.expect("never fails");
    old.sync_data().await.expect("never fails");
    fs.sync_dir("").await.expect("the root is there");
    file.write_at(0, vec![1; 700]).await.0.expect("never fails");
    file.sync_data().await.expect("never fails");
    file.write_at(512, vec![2; 512]).await.0.expect("never fails");
    file.set_len(600).await.expect("never fails");
    file.write_at(0, vec![3; 612]).await.0.expect("never fails");
    fs.rename("new", "old").await.expect("both are there");
    fs.remove("old").await.expect("it is there");
}

/// The images of a frontier, and what crashes at the same place leave over seeds.
fn both(disk: DiskConfig, n: u64, in_flight: bool, seeds: u64) -> (BTreeSet<Files>, BTreeSet<Files>) {
    let frozen = world(0, disk);
    run_to(&frozen, work, n, in_flight);
    let before = frozen.digest();
    let frontier = frozen.crash_frontier(NODE);
    let all: Vec<Files> = frontier.choices().map(|choices| boot(frontier.image(&choices))).collect();
    assert_eq!(frozen.digest(), before, "looking changes nothing");
    assert_eq!(all.len() as u64, frontier.count());
    let drawn = (0..seeds).map(|seed| {
        let world = world(seed, disk);
        run_to(&world, work, n, in_flight);
        world.crash(NODE);
        world.restart(NODE);
        files(&world)
    });
    (all.into_iter().collect(), drawn.collect())
}

/// The images that are drawn of one moment.
fn drawn_images(disk: DiskConfig, n: u64, in_flight: bool, numbers: u64) -> BTreeSet<Files> {
    let frozen = world(0, disk);
    run_to(&frozen, work, n, in_flight);
    let before = frozen.digest();
    let images = (0..numbers).map(|number| boot(frozen.image_after_crash(NODE, number))).collect();
    assert_eq!(frozen.digest(), before, "looking changes nothing");
    images
}

/// A process that dies leaves the page cache: all is there, and the next power loss takes it as any other.
#[test]
fn a_kill_leaves_what_only_a_flush_makes_durable() {
    let calm = disk(Persistence::Journalled, 512);
    let mut lost = 0;
    for (n, in_flight) in (4..=10).flat_map(|n| [(n, false), (n, true)]) {
        let frozen = world(0, calm);
        run_to(&frozen, work, n, in_flight);
        let machine = |image| {
            let machine = world(0, calm);
            machine.put_disk(NODE, image);
            machine
        };
        let killed = world(0, calm);
        run_to(&killed, work, n, in_flight);
        killed.kill(NODE);
        while killed.next(Time::FAR).is_some() {}
        killed.restart(NODE);
        assert_eq!(files(&machine(frozen.image_after_kill(NODE))), files(&killed), "operation {n}");
        // What the cache holds is no more durable than it was.
        let again = machine(frozen.image_after_kill(NODE));
        let barest = |frontier: seedbed_sim::Frontier| {
            let barest = frontier.choices().next().expect("one image there is");
            boot(frontier.image(&barest))
        };
        let (then, now) = (barest(frozen.crash_frontier(NODE)), barest(again.crash_frontier(NODE)));
        assert_eq!(then, now, "operation {n}");
        lost += u32::from(then != files(&again));
    }
    assert!(lost > 5, "something was not durable");
}

#[test]
fn a_frontier_is_what_crashes_may_leave() {
    let journalled =
        [Persistence::Journalled, Persistence::Ext4Ordered, Persistence::Xfs, Persistence::Btrfs];
    let mut most = 0;
    for (persistence, torn_unit) in
        journalled.map(|p| (p, 512)).into_iter().chain([(Persistence::Journalled, 4096)])
    {
        for (n, in_flight) in (1..=10).flat_map(|n| [(n, false), (n, true)]) {
            let (all, drawn) = both(disk(persistence, torn_unit), n, in_flight, 2000);
            let images = drawn_images(disk(persistence, torn_unit), n, in_flight, 2000);
            assert_eq!(images, drawn, "{persistence:?}, operation {n}: an image is what a crash leaves");
            let strange = drawn.difference(&all).next();
            assert_eq!(
                strange, None,
                "{persistence:?}: a crash at operation {n} left this, and {all:?} are all"
            );
            let missed = all.difference(&drawn).count();
            assert_eq!(
                missed,
                0,
                "{persistence:?}, operation {n}: no crash left {missed} of {} images",
                all.len()
            );
            most = most.max(all.len());
        }
    }
    assert!(most > 10, "at most {most} images");
}

/// Names in any subset; garbage, which the frontier lists apart, is left out by syncing all data.
#[test]
fn without_a_journal_names_survive_in_any_subset() {
    async fn names(fs: SimFs) {
        for name in ["a", "b"] {
            fs.open(name, OpenMode::Create).await.expect("the root is there");
        }
        fs.rename("a", "c").await.expect("it is there");
        fs.sync_dir("").await.expect("the root is there");
    }
    let disk = disk(Persistence::PosixWeak, 512);
    let frozen = world(0, disk);
    run_to(&frozen, names, 2, false);
    let frontier = frozen.crash_frontier(NODE);
    let all: BTreeSet<Vec<String>> =
        frontier.choices().map(|choices| boot(frontier.image(&choices)).into_keys().collect()).collect();
    assert_eq!(all.len(), 8, "a, b and c, or any of them: {all:?}");
}

#[test]
fn a_torn_unit_is_never_torn() {
    async fn overwrite(fs: SimFs) {
        let file = fs.open("f", OpenMode::Create).await.expect("the root is there");
        file.write_at(0, vec![1; 8192]).await.0.expect("never fails");
        file.sync_data().await.expect("never fails");
        fs.sync_dir("").await.expect("the root is there");
        file.write_at(0, vec![2; 8192]).await.0.expect("never fails");
    }
    for (torn_unit, whole_units) in [(1, 0), (512, 16), (4096, 2)] {
        let frozen = world(0, disk(Persistence::Journalled, torn_unit));
        run_to(&frozen, overwrite, 4, true);
        let torn = |content: &[u8]| {
            let unit = usize::from(torn_unit).max(2);
            content.chunks(unit).any(|unit| unit.iter().any(|byte| *byte != unit[0]))
        };
        let (mut some, mut inside) = (false, false);
        for seed in 0..200 {
            let world = world(seed, disk(Persistence::Journalled, torn_unit));
            run_to(&world, overwrite, 4, true);
            world.crash(NODE);
            world.restart(NODE);
            let content = files(&world).remove("f").expect("its name was synced");
            some |= content.iter().any(|byte| *byte != content[0]);
            inside |= torn(&content);
        }
        assert!(some, "torn between units of {torn_unit}");
        assert_eq!(inside, torn_unit == 1, "torn inside units of {torn_unit}");
        let frontier = frozen.crash_frontier(NODE);
        assert_eq!(frontier.count(), 1 << if torn_unit == 1 { 16 } else { whole_units });
        let spoiled = frontier.spoiled().count();
        assert_eq!(spoiled > 0, torn_unit == 1, "{spoiled} torn images");
    }
}

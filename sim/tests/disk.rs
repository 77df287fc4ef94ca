//! What a power loss may and may not take.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use contract::{Env, File, Fs, NodeId, OpenMode, Seed, Time};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_sim::{CrashReport, DiskConfig, Event, Latency, World, WorldConfig, disk_profile, net_profile};

const NODE: NodeId = NodeId(1);
const SECTOR: usize = 512;

fn world_with(seed: u64, disk: DiskConfig) -> World<()> {
    let net = net_profile("ideal").expect("a known profile");
    let config = WorldConfig { seed: Seed(seed), nodes: 1, net, disk, ..WorldConfig::default() };
    World::new(&config)
}

fn world(seed: u64, disk: &str) -> World<()> {
    world_with(seed, disk_profile(disk).expect("a known profile"))
}

/// Starts a future on the node; what it returns will be in the cell.
fn start<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let cell = Rc::new(RefCell::new(None));
    let result = Rc::clone(&cell);
    world.env(NODE).spawn(async move {
        let value = future.await;
        *result.borrow_mut() = Some(value);
    });
    cell
}

/// Runs a future on the node to its end.
fn run<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> T {
    let result = start(world, future);
    assert_eq!(world.next(Time::FAR), None);
    result.take().expect("nothing is left to wait for")
}

fn cycle_power(world: &World<()>) -> CrashReport {
    let report = world.crash(NODE);
    world.restart(NODE);
    report
}

/// All of a file, or `None` if it is gone.
fn content(world: &World<()>, path: &'static str) -> Option<Vec<u8>> {
    let fs = world.fs(NODE);
    run(world, async move {
        let file = fs.open(path, OpenMode::Existing).await.ok()?;
        let len = file.len().await.expect("never fails") as usize;
        let (read, buf) = file.read_at(0, vec![0; len]).await;
        assert_eq!(read, Ok(len));
        Some(buf)
    })
}

/// The test's own idea of what one file may contain.
#[derive(Clone, Debug)]
struct Model {
    /// For each sector all versions since the durable one.
    sectors: Vec<Since<Version>>,
    sizes: Since<usize>,
    /// Writes that have not completed.
    in_flight: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Version {
    bytes: [u8; SECTOR],
    /// If a cut made it: the number of that size.
    cut: Option<usize>,
}

/// Values from the durable one to the newest, numbered from the start of the round.
#[derive(Clone, Debug)]
struct Since<T> {
    durable: usize,
    list: Vec<T>,
}

impl<T> Since<T> {
    fn newest(&self) -> &T {
        self.list.last().expect("one is durable")
    }

    fn newest_number(&self) -> usize {
        self.durable + self.list.len() - 1
    }

    fn is_durable(&mut self, number: usize) {
        self.list.drain(..number.saturating_sub(self.durable));
        self.durable = self.durable.max(number);
    }
}

/// What a flush covers: numbers of versions, by sector, and of the size.
struct Covered {
    versions: Vec<usize>,
    size: usize,
}

const SECTORS: usize = 40;

impl Model {
    fn new(durable: &[u8]) -> Self {
        let sector = |at: usize| {
            let mut bytes = [0; SECTOR];
            let part = durable.get(at * SECTOR..).unwrap_or_default();
            bytes[..part.len().min(SECTOR)].copy_from_slice(&part[..part.len().min(SECTOR)]);
            Since { durable: 0, list: vec![Version { bytes, cut: None }] }
        };
        let sizes = Since { durable: 0, list: vec![durable.len()] };
        Self { sectors: (0..SECTORS).map(sector).collect(), sizes, in_flight: Vec::new() }
    }

    fn now(&self) -> Vec<u8> {
        let all: Vec<u8> = self.sectors.iter().flat_map(|versions| versions.newest().bytes).collect();
        all[..*self.sizes.newest()].to_vec()
    }

    /// Gives each sector that is touched a new version.
    fn change(&mut self, offset: usize, data: &[u8], cut: Option<usize>) {
        for (at, versions) in self.sectors.iter_mut().enumerate() {
            let mut bytes = versions.newest().bytes;
            let (from, to) = ((at * SECTOR).max(offset), ((at + 1) * SECTOR).min(offset + data.len()));
            if from < to {
                bytes[from - at * SECTOR..to - at * SECTOR]
                    .copy_from_slice(&data[from - offset..to - offset]);
                versions.list.push(Version { bytes, cut });
            }
        }
    }

    fn wrote(&mut self, offset: usize, data: &[u8]) {
        self.change(offset, data, None);
        if offset + data.len() > *self.sizes.newest() {
            self.sizes.list.push(offset + data.len());
        }
    }

    fn set_len(&mut self, len: usize) {
        let size = *self.sizes.newest();
        if len < size {
            let number = self.sizes.newest_number() + 1;
            self.change(len, &vec![0; SECTORS * SECTOR - len], Some(number));
        }
        if len != size {
            self.sizes.list.push(len);
        }
    }

    fn flush_begins(&self) -> Covered {
        let versions = self.sectors.iter().map(Since::newest_number).collect();
        Covered { versions, size: self.sizes.newest_number() }
    }

    fn flush_ends(&mut self, covered: &Covered) {
        for (versions, covered) in self.sectors.iter_mut().zip(&covered.versions) {
            versions.is_durable(*covered);
        }
        self.sizes.is_durable(covered.size);
    }

    /// Why `found` cannot be what a power loss left; `None` if it can.
    fn objection(&self, found: &[u8]) -> Option<String> {
        let mut after = self.clone();
        for (offset, data) in &self.in_flight {
            after.wrote(*offset, data);
        }
        // Where the same size occurred twice, one of the two must explain all sectors.
        let numbers = (0..after.sizes.list.len()).filter(|at| after.sizes.list[*at] == found.len());
        let objections: Vec<String> =
            numbers.map(|at| after.objection_at(at + after.sizes.durable, found)).collect::<Option<_>>()?;
        Some(objections.into_iter().next().unwrap_or_else(|| format!("size {}", found.len())))
    }

    /// The same, if the size of this number is the one that survived.
    fn objection_at(&self, size: usize, found: &[u8]) -> Option<String> {
        found.chunks(SECTOR).enumerate().find_map(|(at, part)| {
            let versions = &self.sectors[at].list;
            let happened = |version: &Version| version.cut.is_some_and(|cut| cut <= size);
            let undone = |version: &Version| version.cut.is_some_and(|cut| cut > size);
            let base = versions.iter().rposition(happened).unwrap_or(0);
            let end = versions.iter().position(undone).unwrap_or(versions.len());
            let torn = |new: &Version| {
                let same = part.iter().zip(new.bytes).take_while(|(a, b)| **a == *b).count();
                part[same..] == versions[base].bytes[same..part.len()]
            };
            let explained = versions[base..end].iter().any(torn);
            (!explained).then(|| format!("sector {at} of size {}: {base}..{end}", found.len()))
        })
    }
}

/// Random writes, cuts and flushes from several tasks at once, then a crash at a random moment.
/// Returns the objection of the model to what was found. With `flush` off the model only believes
/// that it flushed.
fn play(seed: u64, flush: bool) -> Option<String> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = world(seed, if seed.is_multiple_of(8) { "ideal" } else { "nvme" });
    let fs = world.fs(NODE);
    let file = run(&world, async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        fs.sync_dir("").await.expect("the root exists");
        file
    });
    let mut durable = Vec::new();
    drop(file);
    for _ in 0..3 {
        let model = Rc::new(RefCell::new(Model::new(&durable)));
        let fs = world.fs(NODE);
        let file = run(&world, async move { fs.open("f", OpenMode::Existing).await.expect("it was synced") });
        for task in 0..dice.random_range(1..4) {
            let steps = Steps { model: Rc::clone(&model), file: file.clone(), flush };
            let dice = ChaCha8Rng::seed_from_u64(seed << 8 | task);
            let env = world.env(NODE);
            env.clone().spawn(steps.run(dice, env));
        }
        let until = world.now() + Duration::from_micros(dice.random_range(100..30_000));
        assert_eq!(world.next(until), None);
        assert_eq!(world.crash(NODE).directory_changes_lost, 0);
        world.restart(NODE);
        let found = content(&world, "f").expect("its name was synced");
        if let Some(objection) = model.borrow().objection(&found) {
            return Some(objection);
        }
        assert_eq!(cycle_power(&world), CrashReport::default(), "what a crash left is durable");
        assert_eq!(content(&world, "f").as_ref(), Some(&found));
        durable = found;
    }
    None
}

struct Steps {
    model: Rc<RefCell<Model>>,
    file: seedbed_sim::SimFile,
    flush: bool,
}

impl Steps {
    async fn run(self, mut dice: ChaCha8Rng, env: seedbed_sim::SimEnv<()>) {
        for _ in 0..dice.random_range(5..40) {
            match dice.random_range(0..10) {
                0..6 => {
                    let offset = dice.random_range(0..SECTORS * SECTOR - 1);
                    let most = (SECTORS * SECTOR - offset).min(if dice.random() { 100 } else { 9000 });
                    let mut data = vec![0; dice.random_range(1..=most)];
                    dice.fill(data.as_mut_slice());
                    self.write(offset, data).await;
                }
                6..8 => self.sync().await,
                8 => {
                    let len = dice.random_range(0..SECTORS * SECTOR);
                    self.file.set_len(len as u64).await.expect("never fails");
                    self.model.borrow_mut().set_len(len);
                }
                _ => {
                    let len = *self.model.borrow().sizes.newest();
                    let (read, buf) = self.file.read_at(0, vec![9; len]).await;
                    let (now, read) = (self.model.borrow().now(), read.expect("never fails"));
                    if now.len() == len {
                        assert_eq!(buf[..read], now, "readers see what completed");
                    }
                }
            }
            env.sleep(Duration::from_micros(dice.random_range(0..300))).await;
        }
    }

    async fn write(&self, offset: usize, data: Vec<u8>) {
        self.model.borrow_mut().in_flight.push((offset, data.clone()));
        self.file.write_at(offset as u64, data.clone()).await.0.expect("never fails");
        let model = &mut self.model.borrow_mut();
        let at = model.in_flight.iter().position(|write| *write == (offset, data.clone()));
        model.in_flight.remove(at.expect("it was put there"));
        model.wrote(offset, &data);
    }

    async fn sync(&self) {
        let covered = self.model.borrow().flush_begins();
        if self.flush {
            self.file.sync_data().await.expect("never fails");
        }
        self.model.borrow_mut().flush_ends(&covered);
    }
}

/// What was flushed never goes, and what was not comes back only as something that was written.
#[test]
fn a_power_loss_takes_only_what_was_not_flushed() {
    for seed in 0..600 {
        assert_eq!(play(seed, true), None, "seed {seed}");
    }
}

/// The same check fails where flushes do nothing: so it would have noticed.
#[test]
fn the_check_notices_a_flush_that_does_nothing() {
    let noticed = (0..100).filter(|seed| play(*seed, false).is_some()).count();
    assert!(noticed > 50, "only {noticed} of 100 seeds lost anything");
}

#[test]
fn a_flush_covers_what_completed_when_it_was_issued() {
    let (mut lost, mut survived) = (0, 0);
    for seed in 0..100 {
        let write = Latency::Constant(Duration::from_micros(20));
        let flush = Latency::Constant(Duration::from_millis(1));
        let nvme = disk_profile("nvme").expect("a known profile");
        let world = world_with(seed, DiskConfig { write, flush, flush_metadata: flush, ..nvme });
        let fs = world.fs(NODE);
        let file = run(&world, async move {
            let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
            file.allocate(8192).await.expect("never fails");
            file.write_at(0, vec![1; 4096]).await.0.expect("never fails");
            fs.sync_dir("").await.expect("the root exists");
            file
        });
        // While the flush is under way, one write that began before it completes, and one to the same
        // page as the flushed one begins and completes.
        let (early, syncing, late) = (file.clone(), file.clone(), file);
        let env = world.env(NODE);
        start(&world, async move { early.write_at(4096, vec![2; 4096]).await });
        world.run_tasks();
        let synced = start(&world, async move { syncing.sync_data().await });
        world.run_tasks();
        start(&world, async move {
            env.sleep(Duration::from_micros(100)).await;
            late.write_at(512, vec![3; 512]).await
        });
        assert_eq!(world.next(Time::FAR), None);
        assert_eq!(synced.take(), Some(Ok(())));
        let report = cycle_power(&world);
        assert_eq!(report.sectors_kept + report.sectors_dropped + report.sectors_torn, 9);
        let found = content(&world, "f").expect("its name was synced");
        assert_eq!(found.len(), 8192);
        assert!(found[..512].iter().chain(&found[1024..4096]).all(|byte| *byte == 1), "flushed");
        assert!(found[512..1024].iter().all(|byte| [1, 3].contains(byte)), "flushed, then written again");
        assert!(found[4096..].iter().all(|byte| [0, 2].contains(byte)), "was under way");
        lost += u32::from(found[4096..].contains(&0) && found[512..1024].contains(&1));
        survived += u32::from(found[4096..].contains(&2) && found[512..1024].contains(&3));
    }
    assert!(lost > 20 && survived > 20, "{lost} of 100 lost both, and {survived} kept some of both");
}

#[test]
fn a_write_under_way_may_reach_the_disk_in_parts() {
    let (mut nothing, mut all, mut parts) = (0, 0, 0);
    for seed in 0..100 {
        let world = world(seed, "hdd");
        let fs = world.fs(NODE);
        let file = run(&world, async move {
            let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
            file.allocate(4096).await.expect("never fails");
            file.sync_data().await.expect("never fails");
            fs.sync_dir("").await.expect("the root exists");
            file
        });
        let write = start(&world, async move { file.write_at(0, vec![1; 4096]).await });
        let half_way = world.now() + Duration::from_micros(50);
        assert_eq!(world.next(half_way), None);
        assert_eq!(write.take(), None);
        cycle_power(&world);
        let found = content(&world, "f").expect("its name was synced");
        *match found.iter().filter(|byte| **byte == 1).count() {
            0 => &mut nothing,
            4096 => &mut all,
            _ => &mut parts,
        } += 1;
    }
    assert!(nothing > 0 && all > 0 && parts > 50, "{nothing}, {all}, {parts} of 100");
}

/// What a crash leaves of names: a prefix of the changes since the last sync, so each of the states
/// that were there one after the other, and no other.
#[test]
fn names_survive_in_order() {
    let states = |synced: bool| -> BTreeSet<Vec<String>> {
        let state = |seed| {
            let world = world(seed, "ideal");
            let fs = world.fs(NODE);
            run(&world, async move {
                fs.create_dir("dir").await.expect("the root exists");
                fs.sync_dir("").await.expect("the root exists");
                fs.open("dir/a", OpenMode::Create).await.expect("dir exists");
                fs.rename("dir/a", "dir/b").await.expect("a exists");
                fs.open("dir/c", OpenMode::Create).await.expect("dir exists");
                fs.remove("dir/b").await.expect("b exists");
                if synced {
                    fs.sync_dir("dir").await.expect("dir exists");
                }
            });
            cycle_power(&world);
            let fs = world.fs(NODE);
            run(&world, async move { fs.list("dir").await.expect("dir was synced") })
        };
        (0..64).map(state).collect()
    };
    let set = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(
        states(false),
        BTreeSet::from([set(&[]), set(&["a"]), set(&["b"]), set(&["b", "c"]), set(&["c"])])
    );
    assert_eq!(states(true), BTreeSet::from([set(&["c"])]));
}

/// A sync of one directory promises nothing about later changes in another, but all before its own.
#[test]
fn a_directory_sync_covers_its_directory_and_what_came_before() {
    let found = |synced: &'static str| -> BTreeSet<(bool, bool)> {
        let after_crash = |seed| {
            let world = world(seed, "nvme");
            let fs = world.fs(NODE);
            run(&world, async move {
                fs.create_dir("first").await.expect("the root exists");
                fs.create_dir("second").await.expect("the root exists");
                fs.sync_dir("").await.expect("the root exists");
                fs.open("first/a", OpenMode::Create).await.expect("first exists");
                fs.open("second/b", OpenMode::Create).await.expect("second exists");
                fs.sync_dir(synced).await.expect("it exists");
            });
            cycle_power(&world);
            (content(&world, "first/a").is_some(), content(&world, "second/b").is_some())
        };
        (0..32).map(after_crash).collect()
    };
    assert_eq!(found("first"), BTreeSet::from([(true, false), (true, true)]));
    assert_eq!(found("second"), BTreeSet::from([(true, true)]));
    assert_eq!(found(""), BTreeSet::from([(false, false), (true, false), (true, true)]));
}

#[test]
fn a_rename_undone_brings_back_both_files() {
    let found: BTreeSet<_> = (0..32)
        .map(|seed| {
            let world = world(seed, "nvme");
            let fs = world.fs(NODE);
            run(&world, async move {
                for (path, byte) in [("old", 1), ("new", 2)] {
                    let file = fs.open(path, OpenMode::Create).await.expect("the root exists");
                    file.write_at(0, vec![byte; 3]).await.0.expect("never fails");
                    file.sync_data().await.expect("never fails");
                }
                fs.sync_dir("/").await.expect("the root exists");
                fs.rename("new", "old").await.expect("both exist");
            });
            cycle_power(&world);
            (content(&world, "old"), content(&world, "new"))
        })
        .collect();
    let (one, two) = (Some(vec![1; 3]), Some(vec![2; 3]));
    assert_eq!(found, BTreeSet::from([(one, two.clone()), (two, None)]));
}

#[test]
fn missing_things_are_not_found() {
    let world = world(1, "ideal");
    let fs = world.fs(NODE);
    run(&world, async move {
        assert!(fs.open("no", OpenMode::Existing).await.is_err());
        assert!(fs.open("no/file", OpenMode::Create).await.is_err());
        assert!(fs.list("no").await.is_err() && fs.sync_dir("no").await.is_err());
        assert!(fs.remove("no").await.is_err() && fs.rename("no", "yes").await.is_err());
        assert_eq!(fs.remove_dir("no").await, Ok(()));
        fs.create_dir("a/b/c").await.expect("nothing is in the way");
        fs.open("a/b/file", OpenMode::Create).await.expect("a/b exists");
        assert_eq!(fs.list("a/b").await, Ok(vec!["c".to_owned(), "file".to_owned()]));
        assert_eq!(fs.list("").await, Ok(vec!["a".to_owned()]));
        fs.remove_dir("a").await.expect("never fails");
        assert_eq!(fs.exists("a").await, Ok(false));
        assert_eq!(fs.list("").await, Ok(Vec::new()));
    });
}

/// Reads cost nothing, but after a power loss, once per page.
#[test]
fn a_power_loss_empties_the_page_cache() {
    let world = world(1, "nvme");
    let fs = world.fs(NODE);
    run(&world, async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        file.write_at(0, vec![1; 8192]).await.0.expect("never fails");
        file.sync_data().await.expect("never fails");
        fs.sync_dir("").await.expect("the root exists");
    });
    content(&world, "f");
    assert_eq!(world.stats().disk_reads, 0);
    cycle_power(&world);
    for takes_time in [true, false] {
        let before = world.now();
        content(&world, "f");
        assert_eq!(world.now() > before, takes_time);
    }
    assert_eq!(world.stats().disk_reads, 1);
    assert_eq!(world.stats().disk_bytes_read, 8192);
}

#[test]
fn a_node_may_read_past_the_page_cache() {
    let world = world(1, "nvme");
    let fs = world.fs(NODE);
    run(&world, async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        file.write_at(0, vec![1; 4096]).await.0.expect("never fails");
    });
    content(&world, "f");
    assert_eq!(world.stats().disk_reads, 0);
    world.read_directly(NODE);
    for reads in 1..3 {
        content(&world, "f");
        assert_eq!(world.stats().disk_reads, reads);
    }
}

#[test]
fn a_flush_of_a_new_size_costs_more() {
    let at = |micros| Latency::Constant(Duration::from_micros(micros));
    let (read, write, flush, flush_metadata) = (at(1), at(10), at(100), at(1000));
    let disk = DiskConfig {
        read,
        write,
        flush,
        flush_metadata,
        transfer_ps_per_byte: 1000,
        parallel: 4,
        ..disk_profile("ideal").expect("a known profile")
    };
    let world = world_with(1, disk);
    let (env, fs) = (world.env(NODE), world.fs(NODE));
    let took = run(&world, async move {
        let file = fs.open("f", OpenMode::Create).await.expect("the root exists");
        let mut took = Vec::new();
        for offset in [0, 0, 1000] {
            let start = env.now();
            file.write_at(offset, vec![1; 1000]).await.0.expect("never fails");
            took.push(env.now().since(start).as_micros());
            let start = env.now();
            file.sync_data().await.expect("never fails");
            took.push(env.now().since(start).as_micros());
        }
        took
    });
    assert_eq!(took, [11, 1000, 11, 100, 11, 1000]);
}

/// Enumerates every point at which a small store could crash.
#[test]
fn a_break_point_comes_before_the_operation() {
    let commit = |fs: seedbed_sim::SimFs| async move {
        let file = fs.open("tmp", OpenMode::Create).await.expect("the root exists");
        file.write_at(0, vec![1; 100]).await.0.expect("never fails");
        file.sync_data().await.expect("never fails");
        fs.rename("tmp", "done").await.expect("tmp exists");
        fs.sync_dir("").await.expect("the root exists");
    };
    for disk in ["ideal", "nvme"] {
        for n in 1..=4 {
            let world = world(n, disk);
            world.break_at_disk_op(NODE, n);
            let done = start(&world, commit(world.fs(NODE)));
            assert_eq!(world.next(Time::FAR), Some(Event::DiskOp { node: NODE, n }));
            assert_eq!(world.disk_ops(NODE), n - 1);
            let copy = done.take();
            assert_eq!(copy, None);
            if n % 2 == 0 {
                assert_eq!(world.next(Time::FAR), None, "the operation goes on");
                assert_eq!((done.take(), world.disk_ops(NODE)), (Some(()), 4));
                cycle_power(&world);
                assert_eq!(content(&world, "done"), Some(vec![1; 100]));
            } else {
                cycle_power(&world);
                assert_eq!(world.next(Time::FAR), None);
                assert_eq!(
                    (done.take(), world.disk_ops(NODE)),
                    (None, n - 1),
                    "the operation never happened"
                );
                assert_eq!(content(&world, "done"), None);
            }
        }
    }
}

//! Crashes at every moment of long runs, and what must be there afterwards: a prefix of the batches, each
//! whole, with all that was promised; and every checkpoint that was completed.
//!
//! A run of 2 000 batches goes through once, with a writer, a task that flushes and one that maintains and
//! takes checkpoints. Before each of its disk operations, and again with that operation under way, images are
//! drawn of what a crash would leave of the disk. From each a store is opened, checked, and written to; then
//! the power fails again, and it is checked again. Every fourth time the power fails in the middle of the
//! recovery, too.
//!
//! `CRASHES=200000 cargo test --release -p seedbed-storage --test storage crash_cycles` tries so many over
//! all engines; the default covers the runs more thinly. The same cycles must find a loss where a sync is
//! skipped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use contract::{Durability, Engine, EngineStats, Env, Fs, NodeId, ReadStore, Seed, Time};
use sim::fault::Garbage;
use sim::{DiskConfig, Event, Fault, Image, Persistence, SimEnv, SimFs, World, WorldConfig, disk_profile};
use storage::{BTree, BTreeOptions, LogStore, LogStoreOptions, Lsm, LsmOptions, Mode};

use crate::engines::{self, SOUND};
use crate::faulty::{Faults, Faulty};
use crate::script::{Loss, Script, batch, told};

const NODE: NodeId = NodeId(1);

/// The file system of a run: what is wrong with it is the test's choice.
pub(crate) type Disk = Faulty<SimFs>;

/// How a run ends, and what its disk makes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Un-flushed sectors and changes of names survive or do not; of names and sizes, a prefix.
    PowerLoss,
    /// Names survive in any subset, and sectors are torn at any byte.
    NothingInOrder,
    /// What was not flushed may be garbage, too.
    Garbage,
    /// The process dies; the power fails only after the recovery.
    Kill,
}

pub(crate) const ENDS: [End; 4] = [End::PowerLoss, End::NothingInOrder, End::Garbage, End::Kill];

/// What is tried.
#[derive(Clone)]
pub(crate) struct Trial<E: Engine<Fs = Disk>> {
    pub(crate) options: E::Options,
    pub(crate) end: End,
    pub(crate) batches: usize,
    /// What is wrong with the disk.
    pub(crate) set: fn(&Faults),
}

/// What a run was asked for and promised so far.
#[derive(Clone, Default)]
struct Ledger {
    begun: usize,
    promised: usize,
    /// So many writes have returned.
    returned: usize,
    /// Completed checkpoints, each with the least and the largest number of batches it may hold.
    checkpoints: Vec<(String, usize, usize)>,
    stats: EngineStats,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    pub(crate) operations: u64,
    pub(crate) crashes: u64,
    pub(crate) stats: EngineStats,
    pub(crate) checkpoints: usize,
    pub(crate) torn: u64,
}

/// Makes it durable and keeps in the ledger what that promises.
async fn sync<E: Engine>(store: &E, ledger: &RefCell<Ledger>) {
    let returned = ledger.borrow().returned;
    store.sync().await.expect("a healthy disk");
    let mut ledger = ledger.borrow_mut();
    ledger.promised = ledger.promised.max(returned);
}

async fn writer<E: Engine>(store: E, env: SimEnv<()>, batches: usize, ledger: Rc<RefCell<Ledger>>) {
    for number in 0..batches {
        ledger.borrow_mut().begun = number + 1;
        // At times nobody wants a flush for long, and what was written is handed on without one.
        let synced = number % 6 == 0 && number / 25 % 2 == 0;
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        store.write(batch(number), durability).await.expect("a healthy disk");
        {
            let mut ledger = ledger.borrow_mut();
            ledger.returned = number + 1;
            if synced {
                ledger.promised = ledger.promised.max(number + 1);
            }
        }
        if number % 50 == 49 {
            sync(&store, &ledger).await;
        }
        if number % 16 == 0 {
            env.sleep(Duration::from_micros(500)).await;
        }
    }
}

/// Flushes beside the writer, and holds snapshots meanwhile.
async fn syncer<E: Engine>(store: E, env: SimEnv<()>, batches: usize, ledger: Rc<RefCell<Ledger>>) {
    while ledger.borrow().returned < batches {
        let snapshot = store.snapshot();
        sync(&store, &ledger).await;
        env.sleep(Duration::from_micros(3700)).await;
        snapshot.get(b"number").await.expect("a healthy disk");
    }
}

async fn maintainer<E: Engine<Fs = Disk>>(
    store: E,
    (fs, env): (Disk, SimEnv<()>),
    batches: usize,
    ledger: Rc<RefCell<Ledger>>,
) {
    let (mut copies, mut next) = (0, batches / 20);
    loop {
        let (returned, begun) = (ledger.borrow().returned, ledger.borrow().begun);
        if begun >= next {
            next += batches / 10;
            if copies >= 2 {
                ledger.borrow_mut().checkpoints.remove(0);
                fs.remove_dir(&format!("copy{}", copies - 2)).await.expect("a healthy disk");
            }
            let dir = format!("copy{copies}");
            copies += 1;
            store.checkpoint(&dir).await.expect("a healthy disk");
            let most = ledger.borrow().begun;
            ledger.borrow_mut().checkpoints.push((dir, returned, most));
        }
        if store.needs_maintenance() {
            store.maintain().await.expect("a healthy disk");
        } else if returned == batches {
            ledger.borrow_mut().stats = store.stats();
            return;
        } else {
            env.sleep(Duration::from_micros(300)).await;
        }
    }
}

impl<E: Engine<Fs = Disk>> Trial<E> {
    fn world(&self, profile: &str) -> World<()> {
        let (persistence, torn_unit) = match self.end {
            End::NothingInOrder => (Persistence::PosixWeak, 1),
            _ => (Persistence::Journalled, 512),
        };
        let profile = disk_profile(profile).expect("a known profile");
        let disk = DiskConfig { slow_ppm: 0, persistence, torn_unit, ..profile };
        let world = World::new(&WorldConfig { seed: Seed(1), nodes: 1, disk, ..WorldConfig::default() });
        if self.end == End::Garbage {
            let _ = world.inject(&Fault::Garbage(Garbage { node: NODE, ppm: 500_000 }));
        }
        world
    }

    fn fs(&self, world: &World<()>) -> Disk {
        let fs = Faulty::new(world.fs(NODE));
        (self.set)(&fs.faults);
        fs
    }

    /// A world in which the run has begun.
    fn begin(&self, ledger: &Rc<RefCell<Ledger>>) -> World<()> {
        let world = self.world("nvme");
        let (fs, env) = (self.fs(&world), world.env(NODE));
        let (ledger, options, batches) = (Rc::clone(ledger), self.options.clone(), self.batches);
        world.env(NODE).spawn(async move {
            let store = E::open(&fs, "store", &options).await.expect("a healthy disk");
            env.spawn(writer(store.clone(), env.clone(), batches, Rc::clone(&ledger)));
            env.spawn(syncer(store.clone(), env.clone(), batches, Rc::clone(&ledger)));
            env.spawn(maintainer(store, (fs, env.clone()), batches, ledger));
        });
        world
    }

    /// A world of the same kind that boots from an image.
    fn boot(&self, image: Image) -> World<()> {
        let machine = self.world("ideal");
        machine.put_disk(NODE, image);
        machine
    }

    fn image(&self, world: &World<()>, end: End, number: u64) -> Image {
        if end == End::Kill { world.image_after_kill(NODE) } else { world.image_after_crash(NODE, number) }
    }

    /// Tries about so many crashes over the moments of a run; the first loss, if there is one.
    pub(crate) fn tries(&self, crashes: u64) -> Result<Tried, Loss> {
        let script = Rc::new(Script::new(self.batches + 8));
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let whole = self.begin(&ledger);
        assert_eq!(whole.next(Time::FAR), None, "the run ends");
        // About: where the run is stopped now and then, its tasks meet otherwise.
        let operations = whole.disk_ops(NODE);
        let whole = ledger.take();
        assert_eq!(whole.returned, self.batches, "the run came to its end");
        let (stats, checkpoints) = (whole.stats, whole.checkpoints.len());
        let mut tried = Tried { operations, stats, checkpoints, ..Tried::default() };
        let world = self.begin(&ledger);
        let moments = operations * 2;
        let mut moment = 0;
        let mut here = |world: &World<()>, n: u64, place: &str| -> Result<(), Loss> {
            let numbers = moment * crashes / moments..(moment + 1) * crashes / moments;
            moment += 1;
            for number in numbers {
                let image = self.image(world, self.end, number);
                let ledger = ledger.borrow().clone();
                tried.torn += u64::from(self.cycle(image, &script, ledger, number).map_err(|loss| {
                    format!("{:?}, {place} operation {n} of {operations}, crash {number}: {loss}", self.end)
                })?);
                tried.crashes += 1;
            }
            Ok(())
        };
        for n in 1.. {
            world.break_at_disk_op(NODE, n);
            let event = world.next(Time::FAR);
            here(&world, n, "before")?;
            if event.is_none() {
                break;
            }
            assert_eq!(event, Some(Event::DiskOp { node: NODE, n }), "nothing else happens");
            world.break_at_disk_op(NODE, n + 1);
            world.run_tasks();
            here(&world, n, "in")?;
        }
        assert_eq!(ledger.borrow().returned, self.batches, "the run came to its end");
        Ok(tried)
    }

    /// Recovers from an image, writes on, loses power, and recovers again. Whether something was cut off.
    fn cycle(&self, image: Image, script: &Rc<Script>, ledger: Ledger, number: u64) -> Result<bool, Loss> {
        let mut machine = self.boot(image);
        if number % 4 == 3 {
            // The power fails during the recovery as well.
            machine.break_at_disk_op(NODE, 1 + number / 4 % 13);
            let (fs, options) = (self.fs(&machine), self.options.clone());
            machine.env(NODE).spawn(async move { drop(E::open(&fs, "store", &options).await) });
            let _ = machine.next(Time::FAR);
            machine = self.boot(machine.image_after_crash(NODE, number));
        }
        let found = Rc::new(Cell::new((0, false)));
        let (out, told) = (Rc::clone(&found), Rc::clone(script));
        let (fs, options, copies) = (self.fs(&machine), self.options.clone(), number.is_multiple_of(3));
        run(&machine, async move {
            out.set(recover::<E>(&fs, &options, &told, &ledger, copies).await?);
            Ok(())
        })?;
        let (count, torn) = found.get();
        let again = self.boot(machine.image_after_crash(NODE, number));
        let (fs, options, script) = (self.fs(&again), self.options.clone(), Rc::clone(script));
        run(&again, async move {
            let store = E::open(&fs, "store", &options).await.map_err(|e| format!("the second time: {e}"))?;
            match script.held(&store).await {
                Ok(held) if held == count => Ok(()),
                Ok(held) => Err(format!("{count} promised batches became {held} after a second crash")),
                Err(loss) => Err(format!("after a second crash: {loss}")),
            }
        })?;
        Ok(torn)
    }
}

/// Opens the store, checks it, and writes on behind what was cut off; how many batches it has then, and
/// whether something was cut off.
async fn recover<E: Engine<Fs = Disk>>(
    fs: &Disk,
    options: &E::Options,
    script: &Script,
    ledger: &Ledger,
    copies: bool,
) -> Result<(usize, bool), Loss> {
    let store = E::open(fs, "store", options).await.map_err(told)?;
    let mut count = script.held(&store).await?;
    if count < ledger.promised || count > ledger.begun {
        let Ledger { begun, promised, .. } = ledger;
        return Err(format!("{count} batches are there, of {begun} begun and {promised} promised"));
    }
    if copies {
        for (dir, least, most) in &ledger.checkpoints {
            let copy = E::open(fs, dir, options).await.map_err(|error| format!("{dir}: {error}"))?;
            let held = script.held(&copy).await.map_err(|loss| format!("{dir}: {loss}"))?;
            if held < *least || held > *most {
                return Err(format!("{dir}: {held} batches instead of {least} to {most}"));
            }
        }
    }
    for _ in 0..3 {
        store.write(batch(count), Durability::Lazy).await.map_err(told)?;
        count += 1;
    }
    store.sync().await.map_err(told)?;
    store.maintain().await.map_err(told)?;
    Ok((count, !store.torn_tails().is_empty()))
}

/// Runs a future on a machine where nothing takes time.
fn run(machine: &World<()>, future: impl Future<Output = Result<(), Loss>> + 'static) -> Result<(), Loss> {
    let result = Rc::new(RefCell::new(None));
    let out = Rc::clone(&result);
    machine.env(NODE).spawn(async move {
        let done = future.await;
        *out.borrow_mut() = Some(done);
    });
    while machine.next(Time::FAR).is_some() {}
    result.take().expect("nothing is left to wait for")
}

pub(crate) fn sound(_: &Faults) {}

/// Batches of a run.
const BATCHES: usize = 2000;
/// Of the engines and ways to end.
const TRIALS: u64 = 5 * 4;

/// How many crashes each trial tries.
fn crashes() -> u64 {
    let all = std::env::var("CRASHES").map_or(6000, |crashes| crashes.parse().expect("a number of crashes"));
    all / TRIALS
}

/// Tries an engine with all ways to end.
fn survives<E: Engine<Fs = Disk>>(name: &str, options: &E::Options) {
    for end in ENDS {
        let trial = Trial::<E> { options: options.clone(), end, batches: BATCHES, set: sound };
        let tried = trial.tries(crashes()).unwrap_or_else(|loss| panic!("{name}: {loss}"));
        println!("{name}, {end:?}: {tried:?}");
        let Tried { stats, checkpoints, .. } = tried;
        assert!(stats.flushes > 20 && stats.compactions > 3, "{name}: a run has all in it: {stats:?}");
        assert!(checkpoints > 0, "{name}: a run has checkpoints in it");
        assert!(
            tried.crashes.abs_diff(crashes()) <= 1 + crashes() / 20 && tried.operations > 300,
            "{tried:?}"
        );
    }
}

pub(crate) fn lsm() -> LsmOptions {
    LsmOptions { memtable_bytes: 4096, level_bytes: 8192, table_bytes: 4096, ..engines::lsm(SOUND) }
}

pub(crate) fn lsm_tiered() -> LsmOptions {
    LsmOptions { memtable_bytes: 4096, ..engines::lsm_tiered(SOUND) }
}

pub(crate) fn logstore() -> LogStoreOptions {
    LogStoreOptions { segment_bytes: 4096, step_bytes: 4096, ..engines::logstore(SOUND) }
}

/// Pages of two sectors, so that a page can be torn; a pool so small that pages are written without a flush.
pub(crate) fn btree(mode: Mode) -> BTreeOptions {
    BTreeOptions { page_bytes: 1024, pool_bytes: 0, ..engines::btree(mode, SOUND) }
}

#[test]
fn the_lsm_survives() {
    survives::<Lsm<Disk>>("lsm", &lsm());
}

#[test]
fn the_tiered_lsm_survives() {
    survives::<Lsm<Disk>>("lsm-tiered", &lsm_tiered());
}

#[test]
fn the_log_structured_store_survives() {
    survives::<LogStore<Disk>>("log", &logstore());
}

#[test]
fn the_btree_with_a_log_survives() {
    survives::<BTree<Disk>>("btree", &btree(Mode::Wal));
}

#[test]
fn the_btree_with_a_rollback_journal_survives() {
    survives::<BTree<Disk>>("btree-rollback", &btree(Mode::Rollback));
}

/// Where syncs of files, or of folders, do nothing, the same cycles find a loss.
fn needs_its_syncs<E: Engine<Fs = Disk>>(name: &str, options: &E::Options) {
    let no_file_syncs: fn(&Faults) = |faults| faults.ignores_file_syncs.set(true);
    let no_dir_syncs: fn(&Faults) = |faults| faults.ignores_dir_syncs.set(true);
    for set in [no_file_syncs, no_dir_syncs] {
        let trial = Trial::<E> { options: options.clone(), end: End::NothingInOrder, batches: 200, set };
        let loss = trial.tries(1000).expect_err("what is not flushed is lost");
        println!("{name}: {loss}");
    }
}

#[test]
fn every_engine_needs_its_syncs() {
    needs_its_syncs::<Lsm<Disk>>("lsm", &lsm());
    needs_its_syncs::<Lsm<Disk>>("lsm-tiered", &lsm_tiered());
    needs_its_syncs::<LogStore<Disk>>("log", &logstore());
    needs_its_syncs::<BTree<Disk>>("btree", &btree(Mode::Wal));
    needs_its_syncs::<BTree<Disk>>("btree-rollback", &btree(Mode::Rollback));
}

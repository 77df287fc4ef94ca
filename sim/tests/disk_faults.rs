//! What each fault of a disk does, what file systems make of a power loss, and how an arm moves.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use contract::{Env, File, Fs, FsError, NodeId, OpenMode, Seed, Time};
use seedbed_sim::config::{Arm, Mechanics, Schedule};
use seedbed_sim::fault::{
    BitRot, DiskStall, Garbage, IoError, LatentSector, LostWrite, LyingFlush, MisdirectedWrite, NoSpace,
    ShortRead, SlowDisk, SyncError,
};
use seedbed_sim::{DiskConfig, Fault, Persistence, SimFile, SyncFailure, World, WorldConfig, disk_profile};

const NODE: NodeId = NodeId(1);

fn world_with(seed: u64, disk: DiskConfig) -> World<()> {
    World::new(&WorldConfig { seed: Seed(seed), nodes: 1, disk, ..WorldConfig::default() })
}

fn world(seed: u64) -> World<()> {
    world_with(seed, disk_profile("nvme").expect("a known profile"))
}

fn start<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let cell = Rc::new(RefCell::new(None));
    let result = Rc::clone(&cell);
    world.env(NODE).spawn(async move {
        let value = future.await;
        *result.borrow_mut() = Some(value);
    });
    cell
}

fn run<T: 'static>(world: &World<()>, future: impl Future<Output = T> + 'static) -> T {
    let result = start(world, future);
    assert_eq!(world.next(Time::FAR), None);
    result.take().expect("nothing is left to wait for")
}

/// A file of flushed bytes, whose name is durable too.
fn file_of(world: &World<()>, path: &'static str, bytes: Vec<u8>) -> SimFile {
    let fs = world.fs(NODE);
    run(world, async move {
        let file = fs.open(path, OpenMode::Create).await.expect("the root exists");
        file.write_at(0, bytes).await.0.expect("nothing is wrong yet");
        file.sync_data().await.expect("nothing is wrong yet");
        fs.sync_dir("").await.expect("nothing is wrong yet");
        file
    })
}

fn write(world: &World<()>, file: &SimFile, offset: u64, bytes: Vec<u8>) -> Result<(), FsError> {
    let file = file.clone();
    run(world, async move { file.write_at(offset, bytes).await.0 })
}

fn sync(world: &World<()>, file: &SimFile) -> Result<(), FsError> {
    let file = file.clone();
    run(world, async move { file.sync_data().await })
}

fn read(world: &World<()>, path: &'static str, len: usize) -> Result<Vec<u8>, FsError> {
    let fs = world.fs(NODE);
    run(world, async move {
        let file = fs.open(path, OpenMode::Existing).await?;
        let (read, mut buf) = file.read_at(0, vec![0; len]).await;
        buf.truncate(read?);
        Ok(buf)
    })
}

fn cycle_power(world: &World<()>) {
    world.crash(NODE);
    world.restart(NODE);
}

#[test]
fn reads_and_writes_fail_and_may_be_tried_again() {
    let world = world(1);
    let file = file_of(&world, "f", vec![1; 4096]);
    let fault = Fault::IoError(IoError { node: NODE, read_ppm: 0, write_ppm: 300_000 });
    let injected = world.inject(&fault);
    let failed = (0..100).filter(|_| write(&world, &file, 0, vec![2; 4096]).is_err()).count();
    assert!((10..50).contains(&failed), "{failed}");
    world.recover(injected);
    assert_eq!(write(&world, &file, 0, vec![3; 4096]), Ok(()));
    assert_eq!(sync(&world, &file), Ok(()));
    cycle_power(&world);
    let injected = world.inject(&Fault::IoError(IoError { node: NODE, read_ppm: 500_000, write_ppm: 0 }));
    let tries = (0..30).take_while(|_| read(&world, "f", 4096).is_err()).count();
    assert!(tries < 30);
    world.recover(injected);
    assert_eq!(read(&world, "f", 4096), Ok(vec![3; 4096]));
    assert_eq!(world.stats().disk_troubles, failed as u64 + tries as u64);
}

#[test]
fn unreadable_sectors_stay_so_until_they_are_written() {
    let world = world(1);
    file_of(&world, "f", vec![1; 40_960]);
    let _ = world.inject(&Fault::LatentSector(LatentSector { node: NODE, clusters: 3, sectors: 4 }));
    for _ in 0..5 {
        assert!(matches!(read(&world, "f", 40_960), Err(FsError::Io { action: "read", .. })));
    }
    cycle_power(&world);
    assert!(read(&world, "f", 40_960).is_err());
    let fs = world.fs(NODE);
    let again = run(&world, async move { fs.open("f", OpenMode::Existing).await.expect("it exists") });
    assert_eq!(write(&world, &again, 0, vec![2; 40_960]), Ok(()));
    assert_eq!(read(&world, "f", 40_960), Ok(vec![2; 40_960]));
}

#[test]
fn bits_rot_in_clusters_and_stay_rotten() {
    let world = world(2);
    file_of(&world, "f", vec![1; 409_600]);
    let _ = world.inject(&Fault::BitRot(BitRot { node: NODE, clusters: 2, sectors: 8 }));
    let rotten = read(&world, "f", 409_600).expect("rot is silent");
    let sectors: BTreeSet<usize> =
        rotten.iter().enumerate().filter(|(_, byte)| **byte != 1).map(|(at, _)| at / 512).collect();
    assert!((2..=16).contains(&sectors.len()), "{sectors:?}");
    let (first, last) = (sectors.first().expect("some"), sectors.last().expect("some"));
    assert!(sectors.len() == 2 || last - first >= sectors.len() - 1);
    cycle_power(&world);
    assert_eq!(read(&world, "f", 409_600), Ok(rotten));
}

#[test]
fn lost_and_misdirected_writes_are_silent() {
    for astray in [false, true] {
        let world = world(3);
        let file = file_of(&world, "f", vec![1; 4096]);
        file_of(&world, "other", vec![9; 65_536]);
        let injected = world.inject(&match astray {
            false => Fault::LostWrite(LostWrite { node: NODE, ppm: 1_000_000 }),
            true => Fault::MisdirectedWrite(MisdirectedWrite { node: NODE, ppm: 1_000_000 }),
        });
        for _ in 0..4 {
            assert_eq!(write(&world, &file, 0, vec![2; 1024]), Ok(()));
        }
        assert_eq!(read(&world, "f", 1024), Ok(vec![2; 1024]), "the cache has it");
        assert_eq!(sync(&world, &file), Ok(()));
        assert_eq!(read(&world, "f", 1024), Ok(vec![1; 1024]), "the device has not");
        world.recover(injected);
        let elsewhere = read(&world, "other", 65_536).expect("no error");
        assert_eq!(elsewhere.contains(&2), astray);
        assert_eq!(write(&world, &file, 0, vec![3; 1024]), Ok(()));
        assert_eq!(sync(&world, &file), Ok(()));
        cycle_power(&world);
        assert_eq!(read(&world, "f", 1024), Ok(vec![3; 1024]));
    }
}

#[test]
fn a_lying_flush_makes_nothing_durable() {
    let survived = |lies: bool| {
        let survives = |seed| {
            let world = world(seed);
            let file = file_of(&world, "f", vec![1; 4096]);
            if lies {
                let _ = world.inject(&Fault::LyingFlush(LyingFlush { node: NODE }));
            }
            assert_eq!(write(&world, &file, 0, vec![2; 4096]), Ok(()));
            assert_eq!(sync(&world, &file), Ok(()));
            cycle_power(&world);
            read(&world, "f", 4096) == Ok(vec![2; 4096])
        };
        (0..40).filter(|seed| survives(*seed)).count()
    };
    assert_eq!(survived(false), 40);
    assert!(survived(true) < 20);
}

#[test]
fn a_full_disk_lets_nothing_grow() {
    let world = world(1);
    let file = file_of(&world, "f", vec![1; 4096]);
    let injected = world.inject(&Fault::NoSpace(NoSpace { node: NODE, left_bytes: 5000 }));
    assert_eq!(write(&world, &file, 4096, vec![2; 4096]), Ok(()));
    let full = Err(FsError::NoSpace { path: "f".into() });
    assert_eq!(write(&world, &file, 8192, vec![2; 4096]), full);
    let allocating = file.clone();
    assert_eq!(run(&world, async move { allocating.allocate(100_000).await }), full);
    assert_eq!(write(&world, &file, 0, vec![3; 8192]), Ok(()), "what is there may be overwritten");
    world.recover(injected);
    assert_eq!(write(&world, &file, 8192, vec![2; 4096]), Ok(()));
}

#[test]
fn short_reads_return_less() {
    let world = world(1);
    file_of(&world, "f", vec![1; 4096]);
    let injected = world.inject(&Fault::ShortRead(ShortRead { node: NODE, ppm: 500_000 }));
    let lengths: Vec<usize> = (0..100).map(|_| read(&world, "f", 4096).expect("no error").len()).collect();
    let short = lengths.iter().filter(|len| **len < 4096).count();
    assert!((30..70).contains(&short), "{short}");
    world.recover(injected);
    assert_eq!(read(&world, "f", 4096), Ok(vec![1; 4096]));
}

#[test]
fn a_stalled_disk_answers_nothing_and_loses_nothing() {
    for disk in ["ideal", "nvme", "hdd"] {
        let world = world_with(1, disk_profile(disk).expect("a known profile"));
        let file = file_of(&world, "f", vec![1; 4096]);
        let injected = world.inject(&Fault::DiskStall(DiskStall { node: NODE }));
        let syncing = file.clone();
        let done = start(&world, async move {
            syncing.write_at(0, vec![2; 4096]).await.0?;
            syncing.sync_data().await
        });
        assert_eq!(world.next(world.now() + Duration::from_secs(60)), None);
        assert_eq!(done.take(), None);
        world.recover(injected);
        assert_eq!(world.next(Time::FAR), None);
        assert_eq!(done.take(), Some(Ok(())), "{disk}");
        cycle_power(&world);
        assert_eq!(read(&world, "f", 4096), Ok(vec![2; 4096]));
    }
}

#[test]
fn a_slow_disk_takes_longer() {
    for disk in ["nvme", "hdd", "ebs-gp3"] {
        let took = |fault: bool| {
            let world = world_with(1, disk_profile(disk).expect("a known profile"));
            let file = file_of(&world, "f", vec![1; 4096]);
            if fault {
                let _ = world.inject(&Fault::SlowDisk(SlowDisk { node: NODE, permille: 10_000 }));
            }
            let before = world.now();
            for _ in 0..50 {
                assert_eq!((write(&world, &file, 0, vec![2; 4096]), sync(&world, &file)), (Ok(()), Ok(())));
            }
            world.now().since(before).as_nanos() as f64
        };
        let slower = took(true) / took(false);
        assert!((3.0..15.0).contains(&slower), "{disk}: {slower}");
    }
}

/// What is under way when the fault ends goes on as fast as ever, and is done once; so does what waits behind it. And
/// what is under way when it begins is slow for the rest.
#[test]
fn a_slow_disk_is_slow_no_longer_than_the_fault() {
    for disk in ["nvme", "hdd"] {
        let world = world_with(1, disk_profile(disk).expect("a known profile"));
        let file = file_of(&world, "f", vec![1; 4096]);
        let writes = |number: u8| {
            let file = file.clone();
            start(&world, async move {
                file.write_at(0, vec![number; 4096]).await.0?;
                file.sync_data().await
            })
        };
        let slow = || world.inject(&Fault::SlowDisk(SlowDisk { node: NODE, permille: 1_000_000_000 }));
        let early = writes(2);
        let injected = slow();
        let late = writes(3);
        assert_eq!(world.next(world.now() + Duration::from_secs(60)), None);
        assert_eq!((early.take(), late.take()), (None, None), "{disk}");
        world.recover(injected);
        assert_eq!(world.next(world.now() + Duration::from_secs(1)), None);
        assert_eq!((early.take(), late.take()), (Some(Ok(())), Some(Ok(()))), "{disk}");
        let requests = world.stats().disk_writes + world.stats().disk_flushes;
        assert_eq!(world.next(Time::FAR), None);
        assert_eq!(world.stats().disk_writes + world.stats().disk_flushes, requests);
    }
}

/// After a sync that failed the pages are clean: a second sync succeeds, and writes nothing.
#[test]
fn a_failed_sync_loses_what_it_was_to_write() {
    use SyncFailure::{Btrfs, Ext4Data, Ext4Ordered};
    for (manner, errors, cached) in
        [(Ext4Ordered, [true, false], 2), (Ext4Data, [false, true], 2), (Btrfs, [true, false], 1)]
    {
        let mut survivors = 0;
        for seed in 0..40 {
            let world = world(seed);
            let file = file_of(&world, "f", vec![1; 4096]);
            let fs = world.fs(NODE);
            let second =
                run(&world, async move { fs.open("f", OpenMode::Existing).await.expect("it exists") });
            let fault = Fault::SyncError(SyncError { node: NODE, ppm: 1_000_000, manner });
            let injected = world.inject(&fault);
            assert_eq!(write(&world, &file, 0, vec![2; 4096]), Ok(()));
            let now = sync(&world, &file).is_err();
            world.recover(injected);
            assert_eq!([now, sync(&world, &file).is_err()], errors, "{manner:?}");
            assert_eq!(sync(&world, &file), Ok(()), "once per open file");
            assert!(sync(&world, &second).is_err(), "each open file hears of it");
            assert_eq!(read(&world, "f", 4096), Ok(vec![cached; 4096]), "{manner:?}");
            cycle_power(&world);
            survivors += usize::from(read(&world, "f", 4096) == Ok(vec![2; 4096]));
        }
        assert!(survivors < 20, "{manner:?}: {survivors}");
    }
}

#[test]
fn a_new_handle_hears_of_a_failure_that_nobody_heard_of() {
    let world = world(1);
    let file = file_of(&world, "f", vec![1; 4096]);
    let manner = SyncFailure::Ext4Data;
    let injected = world.inject(&Fault::SyncError(SyncError { node: NODE, ppm: 1_000_000, manner }));
    assert_eq!(write(&world, &file, 0, vec![2; 4096]), Ok(()));
    assert_eq!(sync(&world, &file), Ok(()));
    world.recover(injected);
    drop(file);
    let fs = world.fs(NODE);
    let told = run(&world, async move {
        let mut told = Vec::new();
        for _ in 0..2 {
            let file = fs.open("f", OpenMode::Existing).await.expect("it exists");
            told.push(file.sync_data().await.is_err());
        }
        told
    });
    assert_eq!(told, [true, false]);
}

/// The contents of a file after a power loss, over seeds.
fn outcomes(persistence: Persistence, garbage: bool, play: impl Fn(&World<()>)) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let nvme = disk_profile("nvme").expect("a known profile");
        let world = world_with(seed, DiskConfig { persistence, ..nvme });
        if garbage {
            let _ = world.inject(&Fault::Garbage(Garbage { node: NODE, ppm: 500_000 }));
        }
        play(&world);
        cycle_power(&world);
        read(&world, "f", 1 << 16).ok()
    };
    (0..100).map(outcome).collect()
}

#[test]
fn garbage_is_what_nobody_wrote() {
    let overwrite = |world: &World<()>| {
        let file = file_of(world, "f", vec![1; 512]);
        assert_eq!(write(world, &file, 0, vec![2; 512]), Ok(()));
    };
    let garbage = |found: &BTreeSet<Option<Vec<u8>>>| {
        let strange = |content: &&Option<Vec<u8>>| {
            content.as_ref().is_some_and(|content| content.iter().any(|byte| ![1, 2].contains(byte)))
        };
        found.iter().filter(strange).count()
    };
    assert_eq!(garbage(&outcomes(Persistence::Journalled, false, overwrite)), 0);
    assert!(garbage(&outcomes(Persistence::Journalled, true, overwrite)) > 5);
}

/// An append without a sync: may its size survive without its data?
#[test]
fn file_systems_differ_in_what_an_append_leaves() {
    let append = |world: &World<()>| {
        let file = file_of(world, "f", vec![1; 512]);
        assert_eq!(write(world, &file, 512, vec![2; 512]), Ok(()));
    };
    for persistence in [Persistence::Ext4Ordered, Persistence::Xfs, Persistence::Btrfs] {
        let whole = [vec![1; 512], [vec![1; 512], vec![2; 512]].concat()].map(Some);
        assert_eq!(outcomes(persistence, false, append), BTreeSet::from(whole), "{persistence:?}");
    }
    let tail = |content: &Option<Vec<u8>>, wanted: fn(&u8) -> bool| {
        content.as_ref().is_some_and(|content| content.len() == 1024 && content[512..].iter().all(wanted))
    };
    let zeros = |found: &BTreeSet<Option<Vec<u8>>>| found.iter().any(|found| tail(found, |byte| *byte == 0));
    let strange = |found: &BTreeSet<Option<Vec<u8>>>| {
        found.iter().flatten().any(|found| found.iter().any(|byte| ![0, 1, 2].contains(byte)))
    };
    let (journalled, weak) =
        (outcomes(Persistence::Journalled, false, append), outcomes(Persistence::PosixWeak, false, append));
    assert!(zeros(&journalled) && !strange(&journalled));
    assert!(zeros(&weak) && strange(&weak));
}

/// Replaces a file without syncing the new one: is the old or the new content there?
#[test]
fn file_systems_differ_in_what_a_rename_leaves() {
    let replace = |world: &World<()>| {
        file_of(world, "f", vec![1; 512]);
        let fs = world.fs(NODE);
        run(world, async move {
            let file = fs.open("new", OpenMode::Create).await.expect("the root exists");
            file.write_at(0, vec![2; 512]).await.0.expect("nothing fails");
            fs.rename("new", "f").await.expect("both exist");
        });
    };
    let (old, new) = (Some(vec![1; 512]), Some(vec![2; 512]));
    for persistence in [Persistence::Ext4Ordered, Persistence::Btrfs] {
        assert_eq!(outcomes(persistence, false, replace), BTreeSet::from([old.clone(), new.clone()]));
    }
    let xfs = outcomes(Persistence::Xfs, false, replace);
    assert_eq!(xfs, BTreeSet::from([Some(Vec::new()), old, new]), "an empty file replaced it");
    let weak = outcomes(Persistence::PosixWeak, false, replace);
    assert!(weak.is_superset(&xfs), "{weak:?}");
}

#[test]
fn btrfs_tears_no_page() {
    let overwrite = |world: &World<()>| {
        let file = file_of(world, "f", vec![1; 8192]);
        assert_eq!(write(world, &file, 0, vec![2; 8192]), Ok(()));
    };
    let is_torn = |content: &Option<Vec<u8>>| {
        let pages = content.iter().flat_map(|content| content.chunks(4096));
        pages.into_iter().any(|page| page.iter().any(|byte| *byte != page[0]))
    };
    assert!(!outcomes(Persistence::Btrfs, false, overwrite).iter().any(is_torn));
    assert!(outcomes(Persistence::Ext4Ordered, false, overwrite).iter().any(is_torn));
}

/// Sixteen requests at once: an elevator serves them in fewer turns than the order in which they came.
#[test]
fn an_elevator_moves_less() {
    let took = |schedule| {
        let hdd = disk_profile("hdd").expect("a known profile");
        let Mechanics::Arm(arm) = hdd.mechanics else { unreachable!("a hard disk has an arm") };
        let mechanics = Mechanics::Arm(Arm { cache_bytes: 0, schedule, ..arm });
        let world = world_with(1, DiskConfig { mechanics, ..hdd });
        let before = world.now();
        for task in 0..64 {
            let fs = world.fs(NODE);
            world.env(NODE).spawn(async move {
                let file = fs.open(&format!("f{task}"), OpenMode::Create).await.expect("the root exists");
                file.write_at(0, vec![1; 4096]).await.0.expect("nothing fails");
            });
        }
        assert_eq!(world.next(Time::FAR), None);
        world.now().since(before)
    };
    let (fifo, elevator) = (took(Schedule::Fifo), took(Schedule::Elevator));
    assert!(elevator * 3 < fifo * 2, "{elevator:?} against {fifo:?}");
}

/// A disk fault that is over leaves times and contents as if it had never been.
#[test]
fn a_disk_fault_that_is_off_changes_nothing() {
    let (node, ppm) = (NODE, 1_000_000);
    let run_all = |fault: Option<Fault>| {
        let world = world(7);
        if let Some(fault) = fault {
            let injected = world.inject(&fault);
            assert_eq!(world.next(Time(1_000_000)), None);
            world.recover(injected);
        }
        assert_eq!(world.next(Time(2_000_000)), None);
        let file = file_of(&world, "f", vec![1; 40_960]);
        let mut times = Vec::new();
        for i in 0..50 {
            assert_eq!(write(&world, &file, i * 512, vec![i as u8; 4096]), Ok(()));
            times.push(world.now());
            if i % 3 == 0 {
                assert_eq!(sync(&world, &file), Ok(()));
            }
        }
        cycle_power(&world);
        (times, read(&world, "f", 1 << 16), world.now())
    };
    let plain = run_all(None);
    let manner = SyncFailure::Btrfs;
    for fault in [
        Fault::IoError(IoError { node, read_ppm: ppm, write_ppm: ppm }),
        Fault::SyncError(SyncError { node, ppm, manner }),
        Fault::LatentSector(LatentSector { node, clusters: 1, sectors: 1 }),
        Fault::BitRot(BitRot { node, clusters: 1, sectors: 1 }),
        Fault::LostWrite(LostWrite { node, ppm }),
        Fault::MisdirectedWrite(MisdirectedWrite { node, ppm }),
        Fault::Garbage(Garbage { node, ppm }),
        Fault::LyingFlush(LyingFlush { node }),
        Fault::NoSpace(NoSpace { node, left_bytes: 0 }),
        Fault::ShortRead(ShortRead { node, ppm }),
        Fault::DiskStall(DiskStall { node }),
        Fault::SlowDisk(SlowDisk { node, permille: 5000 }),
    ] {
        assert!(run_all(Some(fault.clone())) == plain, "{fault} left a trace");
    }
}

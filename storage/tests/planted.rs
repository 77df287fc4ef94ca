//! Each planted bug of the engines is found by a suite that finds nothing without it.

use contract::Bug;
use sim::SimFs;
use storage::{BTree, LogStore, Lsm, Mode};

use crate::conformance::simulated;
use crate::corruption::{build, flip_all};
use crate::crash_cycles::{self, Disk, End, Trial, sound};
use crate::engines::{self, with};

/// What the suites find of an engine with a bug. Those that crash try as much as without one.
fn found(bug: Bug) -> Vec<Result<(), String>> {
    let bugs = with(bug);
    let lsm = storage::LsmOptions { bugs, ..crash_cycles::lsm() };
    let logstore = storage::LogStoreOptions { bugs, ..crash_cycles::logstore() };
    let btree = |mode| storage::BTreeOptions { bugs, ..crash_cycles::btree(mode) };
    fn crashes<E: contract::Engine<Fs = Disk>>(options: E::Options, end: End) -> Result<(), String> {
        let trial = Trial::<E> { options, end, batches: 600, set: sound };
        trial.tries(3000).map(|_| ())
    }
    match bug {
        Bug::RenameNotSynced => vec![
            crashes::<Lsm<Disk>>(lsm, End::NothingInOrder),
            crashes::<LogStore<Disk>>(logstore, End::NothingInOrder),
            crashes::<BTree<Disk>>(btree(Mode::Wal), End::PowerLoss),
        ],
        Bug::TornPageBelieved => vec![crashes::<BTree<Disk>>(btree(Mode::Wal), End::NothingInOrder)],
        Bug::RollbackJournalNotSynced => {
            vec![crashes::<BTree<Disk>>(btree(Mode::Rollback), End::PowerLoss)]
        }
        Bug::TombstoneDroppedEarly => {
            vec![simulated::<Lsm<SimFs>>([engines::lsm(bugs), engines::lsm(bugs)], 1)]
        }
        Bug::LogRemovedBeforeManifest => vec![crashes::<Lsm<Disk>>(lsm, End::PowerLoss)],
        Bug::LogRemovedUnvouched => {
            let options = storage::LsmOptions { memtable_bytes: 900, l0_tables: 100, ..engines::lsm(bugs) };
            // It shows where the last batch was the one that filled a memtable.
            let mut flips = (30..40).map(|batches| {
                flip_all::<Lsm<_>>(&build::<Lsm<_>>(&options, batches, true), &options, batches)
            });
            vec![flips.try_for_each(|found| found.map(|_| ()))]
        }
        Bug::MergeOutlivesBatch => {
            let merging = engines::logstore(bugs);
            vec![crashes::<LogStore<Disk>>(merging, End::PowerLoss)]
        }
        Bug::RecoveryNotDurable => vec![
            crashes::<LogStore<Disk>>(logstore, End::Kill),
            crashes::<BTree<Disk>>(btree(Mode::Wal), End::Kill),
        ],
        Bug::SnapshotPageLost => {
            let options = engines::btree(Mode::Wal, bugs);
            vec![simulated::<BTree<SimFs>>([options, options], 1)]
        }
        other => panic!("{other} is not one of the engines'"),
    }
}

/// A row per bug: without it the same suites are the tests of their own modules, which find nothing.
macro_rules! caught {
    ($($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            for found in found(Bug::$bug) {
                println!("{}: {}", Bug::$bug, found.expect_err("a suite finds it"));
            }
        })*

        #[test]
        fn every_bug_of_the_engines_has_its_row() {
            let mut rows = vec![$(Bug::$bug),*];
            rows.sort_unstable();
            let mut all = Bug::OF_ENGINES.to_vec();
            all.sort_unstable();
            assert_eq!(rows, all);
        }
    };
}

caught! {
    rename_not_synced: RenameNotSynced,
    torn_page_believed: TornPageBelieved,
    rollback_journal_not_synced: RollbackJournalNotSynced,
    tombstone_dropped_early: TombstoneDroppedEarly,
    log_removed_before_manifest: LogRemovedBeforeManifest,
    log_removed_unvouched: LogRemovedUnvouched,
    merge_outlives_batch: MergeOutlivesBatch,
    recovery_not_durable: RecoveryNotDurable,
    snapshot_page_lost: SnapshotPageLost,
}

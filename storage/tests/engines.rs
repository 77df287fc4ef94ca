//! The engines under test, with options so small that short runs reach all of their machinery.

use contract::{Bug, Bugs};
use storage::lsm::{Compaction, Compression};
use storage::{BTreeOptions, LogStoreOptions, LsmOptions, Mode};

/// Nothing planted.
pub(crate) const SOUND: Bugs = Bugs::NONE;

/// One bug planted.
pub(crate) fn with(bug: Bug) -> Bugs {
    Bugs(Some(bug))
}

/// A few hundred bytes fill several levels.
pub(crate) fn lsm(bugs: Bugs) -> LsmOptions {
    LsmOptions {
        memtable_bytes: 512,
        block_bytes: 128,
        l0_tables: 2,
        level_bytes: 1024,
        table_bytes: 512,
        block_cache_bytes: 1024,
        bugs,
        ..LsmOptions::default()
    }
}

/// The same, merged by size and compressed.
pub(crate) fn lsm_tiered(bugs: Bugs) -> LsmOptions {
    LsmOptions { compaction: Compaction::Tiered, compression: Compression::Lz4, ..lsm(bugs) }
}

/// A few batches fill a segment, and a few segments make a merge due.
pub(crate) fn logstore(bugs: Bugs) -> LogStoreOptions {
    LogStoreOptions { segment_bytes: 512, step_bytes: 1024, bugs }
}

/// Few keys make a deep tree, and logs are full soon.
pub(crate) fn btree(mode: Mode, bugs: Bugs) -> BTreeOptions {
    BTreeOptions { page_bytes: 512, pool_bytes: 32 << 9, mode, wal_bytes: 8 << 10, bugs }
}

/// A test per engine, of a suite that is generic over engines. It gets the engine's options, and others with
/// which the same store may be opened.
macro_rules! on_every_engine {
    ($suite:ident $(, $more:expr)*) => {
        #[test]
        fn lsm() {
            use $crate::engines::{SOUND, lsm, lsm_tiered};
            super::$suite::<storage::Lsm<_>>(lsm(SOUND), lsm_tiered(SOUND) $(, $more)*);
        }

        #[test]
        fn lsm_tiered() {
            use $crate::engines::{SOUND, lsm, lsm_tiered};
            super::$suite::<storage::Lsm<_>>(lsm_tiered(SOUND), lsm(SOUND) $(, $more)*);
        }

        #[test]
        fn logstore() {
            use $crate::engines::{SOUND, logstore};
            let other = storage::LogStoreOptions { segment_bytes: 900, ..logstore(SOUND) };
            super::$suite::<storage::LogStore<_>>(logstore(SOUND), other $(, $more)*);
        }

        #[test]
        fn btree_wal() {
            use {$crate::engines::{SOUND, btree}, storage::Mode};
            super::$suite::<storage::BTree<_>>(btree(Mode::Wal, SOUND), btree(Mode::Rollback, SOUND) $(, $more)*);
        }

        #[test]
        fn btree_rollback() {
            use {$crate::engines::{SOUND, btree}, storage::Mode};
            super::$suite::<storage::BTree<_>>(btree(Mode::Rollback, SOUND), btree(Mode::Wal, SOUND) $(, $more)*);
        }
    };
}

pub(crate) use on_every_engine;

//! RocksDB: an LSM-tree whose flushes and compactions go on in threads of their own.

use std::ffi::CStr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rocksdb::properties::{
    COMPACTION_PENDING, MEM_TABLE_FLUSH_PENDING, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES,
};
use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use crate::store::{Budget, Change, Key, Reader, Store, in_batches, sum};

/// What is under way or due in its threads.
const BACKGROUND: [&CStr; 4] =
    [NUM_RUNNING_FLUSHES, NUM_RUNNING_COMPACTIONS, MEM_TABLE_FLUSH_PENDING, COMPACTION_PENDING];

struct Rocks(DB);

/// A database in a folder.
pub fn open(folder: &Path, budget: Budget) -> Box<dyn Store> {
    let cache = Cache::new_lru_cache(budget.cache_bytes).expect("the cache is made");
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&cache);
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    // Values cannot be compressed: nobody tries.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_write_buffer_size(budget.memtable_bytes);
    options.set_max_bytes_for_level_base(budget.level_bytes as u64);
    // A level is four tables, as in fjall.
    options.set_target_file_size_base(budget.level_bytes as u64 / 4);
    options.set_block_based_table_factory(&table);
    Box::new(Rocks(DB::open(&options, folder.join("rocksdb")).expect("the database opens")))
}

impl Reader for Rocks {
    fn get(&self, key: &Key) -> Option<u64> {
        self.0.get_pinned(key).expect("a row is read").map(|value| sum(&value))
    }

    fn scan(&self, from: &Key, limit: usize) -> (usize, u64) {
        let rows = self.0.iterator(IteratorMode::From(from, Direction::Forward)).take(limit);
        rows.fold((0, 0), |(count, total), row| (count + 1, total + sum(&row.expect("a row is read").1)))
    }
}

impl Store for Rocks {
    fn load(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        in_batches(changes, |batch| self.write(batch, false));
        self.0.flush_wal(true).expect("the log is flushed");
    }

    fn write(&mut self, changes: &[Change], durable: bool) {
        let mut batch = WriteBatch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durable);
        self.0.write_opt(batch, &options).expect("the batch is written");
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(self);
    }

    fn settle(&mut self) {
        let is_busy = |property| self.0.property_int_value(property).expect("a property is told") != Some(0);
        while BACKGROUND.into_iter().any(is_busy) {
            sleep(Duration::from_millis(2));
        }
    }
}

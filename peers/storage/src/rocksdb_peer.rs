//! RocksDB: an LSM-tree whose flushes and compactions go on in threads of their own.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

use crate::store::{Budget, Change, Key, Reader, Store, sum};

struct Rocks(DB);

/// A database in a folder.
pub fn open(folder: &Path, budget: Budget) -> Box<dyn Store> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(budget.cache_bytes));
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_write_buffer_size(budget.memtable_bytes);
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
        for change in changes {
            self.write(&[change], false);
        }
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
        self.0.write_opt(&batch, &options).expect("the batch is written");
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(self);
    }
}

//! fjall: an LSM-tree whose flushes and compactions go on in threads of their own.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Budget, Change, Key, Reader, Store, in_batches, sum};

struct Fjall {
    database: Database,
    rows: Keyspace,
    persisted: u64,
}

/// A database in a folder.
pub fn open(folder: &Path, budget: Budget) -> Box<dyn Store> {
    let database = Database::builder(folder.join("fjall"))
        .cache_size(budget.cache_bytes as u64)
        .open()
        .expect("the database opens");
    // A level is four tables.
    let levels = Leveled::default().with_table_target_size(budget.level_bytes as u64 / 4);
    let levels = Arc::new(levels);
    // Values cannot be compressed: nobody tries.
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(budget.memtable_bytes as u64)
            .compaction_strategy(levels.clone())
            .data_block_compression_policy(CompressionPolicy::disabled())
    };
    let rows = database.keyspace("rows", options).expect("the keyspace opens");
    Box::new(Fjall { database, rows, persisted: 0 })
}

impl Fjall {
    fn persist(&mut self) {
        // One fdatasync of its journal.
        self.persisted += 1;
        self.database.persist(PersistMode::SyncData).expect("the journal is flushed");
    }
}

impl Reader for Fjall {
    fn get(&self, key: &Key) -> Option<u64> {
        self.rows.get(key).expect("a row is read").map(|value| sum(&value))
    }

    fn scan(&self, from: &Key, limit: usize) -> (usize, u64) {
        let rows = self.rows.range(*from..).take(limit);
        rows.fold((0, 0), |(count, total), row| {
            (count + 1, total + sum(&row.value().expect("a row is read")))
        })
    }
}

impl Store for Fjall {
    fn load(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        in_batches(changes, |batch| self.write(batch, false));
        self.persist();
    }

    fn write(&mut self, changes: &[Change], durable: bool) {
        if let [(key, value)] = changes {
            match value {
                Some(value) => self.rows.insert(key, value).expect("a row is written"),
                None => self.rows.remove(key).expect("a row is removed"),
            }
        } else {
            let mut batch = self.database.batch();
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(&self.rows, key, value),
                    None => batch.remove(&self.rows, &key[..]),
                }
            }
            batch.commit().expect("the batch is written");
        }
        if durable {
            self.persist();
        }
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(self);
    }

    fn settle(&mut self) {
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            sleep(Duration::from_millis(2));
        }
    }

    fn flushes(&self) -> Option<u64> {
        Some(self.persisted)
    }
}

//! redb: a copy-on-write B+tree.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};

use crate::store::{Budget, Change, Key, Reader, Store, sum};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// A file that counts flushes.
#[derive(Debug)]
struct Counted {
    file: FileBackend,
    flushes: Arc<AtomicU64>,
}

impl StorageBackend for Counted {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
}

struct Redb {
    database: Database,
    flushes: Arc<AtomicU64>,
}

/// A database in a folder.
pub fn open(folder: &Path, budget: Budget) -> Box<dyn Store> {
    let file = std::fs::File::create_new(folder.join("redb")).expect("the file is new");
    let flushes = Arc::new(AtomicU64::new(0));
    let backend = Counted {
        file: FileBackend::new(file).expect("the file is a database"),
        flushes: Arc::clone(&flushes),
    };
    let database = Database::builder()
        .set_cache_size(budget.cache_bytes)
        .create_with_backend(backend)
        .expect("the database opens");
    let write = database.begin_write().expect("a transaction begins");
    write.open_table(TABLE).expect("the table opens");
    write.commit().expect("the transaction commits");
    Box::new(Redb { database, flushes })
}

impl Redb {
    fn apply(&self, changes: &mut dyn Iterator<Item = Change>, durable: bool) {
        let mut write = self.database.begin_write().expect("a transaction begins");
        if !durable {
            write.set_durability(Durability::None).expect("there are no savepoints");
        }
        let mut table = write.open_table(TABLE).expect("the table opens");
        for (key, value) in changes {
            match value {
                Some(value) => drop(table.insert(&key[..], &value[..]).expect("a row is written")),
                None => drop(table.remove(&key[..]).expect("a row is removed")),
            }
        }
        drop(table);
        write.commit().expect("the transaction commits");
    }
}

struct View(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for View {
    fn get(&self, key: &Key) -> Option<u64> {
        self.0.get(&key[..]).expect("a row is read").map(|value| sum(value.value()))
    }

    fn scan(&self, from: &Key, limit: usize) -> (usize, u64) {
        let rows = self.0.range(&from[..]..).expect("rows are read").take(limit);
        rows.fold((0, 0), |(count, total), row| {
            (count + 1, total + sum(row.expect("a row is read").1.value()))
        })
    }
}

impl Store for Redb {
    fn load(&mut self, changes: &mut dyn Iterator<Item = Change>) {
        self.apply(changes, true);
    }

    fn write(&mut self, changes: &[Change], durable: bool) {
        self.apply(&mut changes.iter().copied(), durable);
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        let read = self.database.begin_read().expect("a transaction begins");
        work(&View(read.open_table(TABLE).expect("the table opens")));
    }

    fn flushes(&self) -> Option<u64> {
        Some(self.flushes.load(Ordering::Relaxed))
    }
}

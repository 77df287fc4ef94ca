//! Reading everything, and checking it.

use contract::{EngineError, Fs};

use super::Lsm;
use super::table::{BlockCursor, Table, filter_hash};
use crate::batch;

/// Bytes that are read with one request.
const REQUEST_BYTES: usize = 128 << 10;

impl<F: Fs> Lsm<F> {
    /// Reads the manifest, all logs and all tables. The error names the first bad place.
    pub(super) async fn verify_all(&self) -> Result<(), EngineError> {
        let read = {
            let upkeep = self.0.upkeep.lock().await;
            let version = self.0.state.borrow().version.clone();
            let tables = version.tables().map(|(level, table)| (level, table.meta.number));
            upkeep.manifest.verify(&self.0.fs, &self.0.dir, tables.collect()).await?
        };
        self.count(|stats| stats.bytes_read_from_files += read);
        {
            let _logging = self.0.logging.lock().await;
            let generations: Vec<_> = {
                let state = self.0.state.borrow();
                state.full.iter().chain([&state.active]).cloned().collect()
            };
            for generation in generations {
                let is_batch = |changes, payload: &[u8]| batch::decode(changes, payload, |_| {}).is_some();
                let read = generation.wal.verify(generation.wal.path(), is_batch).await?;
                self.count(|stats| stats.bytes_read_from_files += read);
            }
        }
        self.verify_tables().await
    }

    /// Reads all tables of the version anew, past the cache, and checks what checksums cannot: order,
    /// ranges, counts and filters.
    async fn verify_tables(&self) -> Result<(), EngineError> {
        let version = self.0.state.borrow().version.clone();
        for (_, open) in version.tables() {
            let table = Table::open(&self.0.fs, &self.0.dir, open.meta.clone(), &self.0.counters).await?;
            verify(&table).await?;
        }
        Ok(())
    }
}

async fn verify<F: Fs>(table: &Table<F>) -> Result<(), EngineError> {
    let mut first = table.ranges().hull().map(|(from, _)| from.to_vec());
    let mut last: Option<Vec<u8>> = None;
    let (mut entries, mut tombstones, mut next) = (0, 0, 0);
    while next < table.blocks() {
        let blocks = table.run(next, REQUEST_BYTES).await?;
        for (block, number) in blocks.iter().zip(next..) {
            let malformed = |what| table.corrupt_block(number, what);
            let mut cursor = BlockCursor::default();
            cursor.first(block).map_err(malformed)?;
            while !cursor.at_end() {
                check_key(table, number, last.as_deref(), cursor.key())?;
                if last.is_none() {
                    first = first.into_iter().chain([cursor.key().to_vec()]).min();
                }
                last = Some(cursor.key().to_vec());
                entries += 1;
                tombstones += u64::from(cursor.value(block).is_none());
                cursor.advance(block).map_err(malformed)?;
            }
        }
        next += blocks.len();
    }
    if entries != table.entries() || tombstones != table.key_tombstones() {
        return Err(table.corrupt_block(0, "entries are missing"));
    }
    if first.as_ref() != Some(&table.meta.smallest) {
        return Err(table.corrupt_block(0, "the table begins elsewhere than the manifest says"));
    }
    Ok(())
}

fn check_key<F: Fs>(
    table: &Table<F>,
    block: usize,
    last: Option<&[u8]>,
    key: &[u8],
) -> Result<(), EngineError> {
    let what = if last.is_some_and(|last| last >= key) {
        "keys do not ascend"
    } else if table.block_of(key) != block {
        "the index leads past a key"
    } else if !table.may_contain(filter_hash(key)) {
        "the filter denies a key"
    } else {
        return Ok(());
    };
    Err(table.corrupt_block(block, what))
}

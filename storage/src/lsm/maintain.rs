//! Background work: writing out memtables, carrying out compactions, removing what nobody reads.
//!
//! One at a time, by whoever holds the manifest, and beside readers and writers: they see the version
//! before or the version after.

use std::rc::Rc;

use contract::{EngineError, File, Fs, OpenMode};
use futures::lock::MutexGuard;

use super::compaction::{Choice, pick};
use super::manifest::{self, Edit, Manifest};
use super::merge::{Blocks, Merge, Source};
use super::table::{self, BlockCursor, BuiltTable, Table, TableBuilder, TableMeta, filter_hash};
use super::version::{Change, LEVELS, Version};
use super::{Generation, Lsm, wal};

/// Bytes that [`verify`] reads with one request.
const VERIFY_BYTES: usize = 128 << 10;

type Held<'a, F> = MutexGuard<'a, Manifest<F>>;

impl<F: Fs> Lsm<F> {
    /// One bounded step: a memtable, or else a compaction.
    pub(super) async fn step(&self) -> Result<(), EngineError> {
        let mut manifest = self.0.manifest.lock().await;
        self.0.state.borrow().check_running()?;
        let (full, choice) = {
            let state = self.0.state.borrow();
            (state.full.first().cloned(), state.choice.clone())
        };
        match (full, choice) {
            (Some(full), _) => self.flush(&mut manifest, full).await?,
            (None, Some(choice)) => self.compact(&mut manifest, &choice).await?,
            (None, None) => {}
        }
        self.remove_obsolete().await
    }

    /// Writes out memtables until at most `allowed` wait.
    pub(super) async fn flush_beyond(&self, allowed: usize) -> Result<(), EngineError> {
        let mut manifest = self.0.manifest.lock().await;
        loop {
            let full = {
                let state = self.0.state.borrow();
                state.check_running()?;
                if state.full.len() <= allowed {
                    return Ok(());
                }
                state.full[0].clone()
            };
            self.flush(&mut manifest, full).await?;
        }
    }

    /// Makes the oldest full memtable a table of level 0.
    async fn flush(&self, manifest: &mut Held<'_, F>, oldest: Generation<F>) -> Result<(), EngineError> {
        assert!(!oldest.memtable.is_empty(), "a memtable is full before it is written out");
        let mut builder = self.builder();
        oldest.memtable.for_each(|key, value| builder.add(key, value));
        let meta = self.write_table(builder).await?;
        let tables = self.open_tables(vec![meta]).await?;
        assert_eq!(tables.len(), 1, "a memtable becomes one table");
        let added = tables.into_iter().map(|table| (0, table)).collect();
        self.install(manifest, Change { removed: Vec::new(), added }, Some(&oldest)).await?;
        self.count(|stats| stats.flushes += 1);
        // Nobody may be writing the log while its file goes away.
        let _logging = self.0.logging.lock().await;
        if oldest.wal.has_file() {
            self.0.fs.remove(&wal::path(&self.0.dir, oldest.wal.number)).await?;
        }
        Ok(())
    }

    async fn compact(&self, manifest: &mut Held<'_, F>, choice: &Choice) -> Result<(), EngineError> {
        let version = Rc::clone(&self.0.state.borrow().version);
        assert!(choice.level + 1 < LEVELS, "the last level goes nowhere");
        let inputs = version.find(&choice.inputs);
        let removed = choice.inputs.iter().chain(&choice.overlaps).copied().collect();
        let tables = if choice.is_move() {
            inputs
        } else {
            let newest_first = inputs.into_iter().rev();
            let mut sources: Vec<_> =
                newest_first.map(|table| Source::tables(vec![table], Blocks::Ahead)).collect();
            sources.push(Source::tables(version.find(&choice.overlaps), Blocks::Ahead));
            self.merge_tables(sources, choice.keep_tombstones).await?
        };
        let added = tables.into_iter().map(|table| (choice.level + 1, table)).collect();
        self.install(manifest, Change { removed, added }, None).await?;
        self.count(|stats| stats.compactions += 1);
        Ok(())
    }

    /// Merges sources, newest first, into tables of the usual size.
    async fn merge_tables(
        &self,
        sources: Vec<Source<F>>,
        keep_tombstones: bool,
    ) -> Result<Vec<Rc<Table<F>>>, EngineError> {
        let mut merge = Merge::new(sources, b"").await?;
        let mut metas = Vec::new();
        let mut builder: Option<TableBuilder> = None;
        while let Some((key, value)) = merge.current() {
            if value.is_some() || keep_tombstones {
                builder.get_or_insert_with(|| self.builder()).add(key, value);
            }
            merge.advance().await?;
            if let Some(full) = builder.take_if(|b| b.size() >= self.0.options.table_bytes) {
                metas.push(self.write_table(full).await?);
            }
        }
        if let Some(last) = builder {
            metas.push(self.write_table(last).await?);
        }
        self.open_tables(metas).await
    }

    fn builder(&self) -> TableBuilder {
        let number = self.0.state.borrow_mut().take_file_number();
        TableBuilder::new(number, self.0.options.block_bytes)
    }

    async fn write_table(&self, builder: TableBuilder) -> Result<TableMeta, EngineError> {
        let built = builder.finish();
        self.count(|stats| stats.bytes_written_to_files += built.meta.bytes);
        write_table(&self.0.fs, &self.0.dir, built).await
    }

    /// Makes the names of written tables durable and opens them.
    async fn open_tables(&self, metas: Vec<TableMeta>) -> Result<Vec<Rc<Table<F>>>, EngineError> {
        if !metas.is_empty() {
            self.0.fs.sync_dir(&self.0.dir).await?;
        }
        let mut tables = Vec::new();
        for meta in metas {
            tables.push(Rc::new(Table::open(&self.0.fs, &self.0.dir, meta).await?));
        }
        Ok(tables)
    }

    /// Makes a change durable, and then the version that readers see. `flushed` is what was written
    /// out, if the change comes from a memtable.
    async fn install(
        &self,
        manifest: &mut Held<'_, F>,
        change: Change<F>,
        flushed: Option<&Generation<F>>,
    ) -> Result<(), EngineError> {
        let (version, edit) = self.prepare(&change, flushed);
        let before = manifest.bytes();
        if manifest.is_full(&edit) {
            self.or_stop(self.replace_manifest(manifest, &version, edit)).await?;
            self.count(|stats| stats.bytes_written_to_files += manifest.bytes());
        } else {
            self.or_stop(manifest.append(&edit)).await?;
            self.count(|stats| stats.bytes_written_to_files += manifest.bytes() - before);
        }
        let mut state = self.0.state.borrow_mut();
        let removed = state.version.find(&change.removed);
        let moved = |table: &Rc<Table<F>>| change.added.iter().any(|(_, added)| Rc::ptr_eq(added, table));
        state.obsolete.extend(removed.into_iter().filter(|table| !moved(table)));
        if let Some(flushed) = flushed {
            let oldest = state.full.remove(0);
            assert!(Rc::ptr_eq(&oldest.wal, &flushed.wal), "memtables are written out oldest first");
            assert!(state.flushed < oldest.memtable.last_seq(), "each memtable holds later batches");
            state.flushed = oldest.memtable.last_seq();
            state.durable = state.durable.max(state.flushed);
        }
        assert!(state.flushed <= state.seq, "what is in tables was written");
        state.choice = pick(&version.metas(), &self.0.options);
        state.version = Rc::new(version);
        Ok(())
    }

    /// The version after a change, and the edit that leads to it.
    fn prepare(&self, change: &Change<F>, flushed: Option<&Generation<F>>) -> (Version<F>, Edit) {
        let state = self.0.state.borrow();
        let mut kept = state.full.iter().chain([&state.active]).skip(usize::from(flushed.is_some()));
        let edit = Edit {
            log_floor: kept.next().expect("the active memtable is never written out").wal.number,
            flushed: flushed.map_or(state.flushed, |generation| generation.memtable.last_seq()),
            next_file: state.next_file,
            removed: change.removed.clone(),
            added: change.added.iter().map(|(level, table)| (*level, table.meta.clone())).collect(),
        };
        assert!(edit.flushed >= state.flushed, "what is in tables stays in tables");
        (state.version.with(change), edit)
    }

    async fn replace_manifest(
        &self,
        manifest: &mut Held<'_, F>,
        version: &Version<F>,
        edit: Edit,
    ) -> Result<(), EngineError> {
        let (fs, dir) = (&self.0.fs, &self.0.dir);
        let number = self.0.state.borrow_mut().take_file_number();
        let added = version.tables().map(|(level, table)| (level, table.meta.clone())).collect();
        let state = Edit { next_file: number + 1, removed: Vec::new(), added, ..edit };
        let fresh = Manifest::create(fs, dir, number, &state).await?;
        let old = std::mem::replace(&mut **manifest, fresh);
        assert!(old.number < number, "numbers of files ascend");
        fs.remove(&manifest::path(dir, old.number)).await?;
        Ok(())
    }

    /// Removes the files of tables that nobody reads any more.
    async fn remove_obsolete(&self) -> Result<(), EngineError> {
        loop {
            let table = {
                let mut state = self.0.state.borrow_mut();
                let unread = state.obsolete.iter().position(|table| Rc::strong_count(table) == 1);
                let Some(place) = unread else { return Ok(()) };
                state.obsolete.remove(place)
            };
            self.0.fs.remove(&table::path(&self.0.dir, table.meta.number)).await?;
        }
    }
}

/// Writes a table's file and makes its content durable, but not its name.
pub(super) async fn write_table<F: Fs>(
    fs: &F,
    dir: &str,
    built: BuiltTable,
) -> Result<TableMeta, EngineError> {
    let file = fs.open(&table::path(dir, built.meta.number), OpenMode::Truncate).await?;
    assert_eq!(built.meta.bytes, built.content.len() as u64, "a table is as long as is said of it");
    file.write_at(0, built.content).await.0?;
    file.sync_data().await?;
    Ok(built.meta)
}

/// Reads all blocks of a version's tables past the cache, and checks what checksums cannot: order,
/// ranges, counts and filters.
pub(super) async fn verify<F: Fs>(version: &Version<F>) -> Result<(), EngineError> {
    for (_, table) in version.tables() {
        let mut last: Option<Vec<u8>> = None;
        let mut entries = 0;
        let mut next = 0;
        while next < table.blocks() {
            let blocks = table.run(next, VERIFY_BYTES).await?;
            for (block, number) in blocks.iter().zip(next..) {
                let malformed = |what| table.corrupt_block(number, what);
                let mut cursor = BlockCursor::default();
                cursor.first(block).map_err(malformed)?;
                while !cursor.at_end() {
                    check_key(table, number, last.as_deref(), cursor.key())?;
                    last = Some(cursor.key().to_vec());
                    entries += 1;
                    cursor.advance(block).map_err(malformed)?;
                }
            }
            next += blocks.len();
        }
        if last.as_ref() != Some(&table.meta.largest) || entries != table.entries() {
            return Err(table.corrupt_block(0, "entries are missing"));
        }
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
    } else if last.is_none() && key != table.meta.smallest {
        "the first key is not the smallest"
    } else if table.block_of(key) != block {
        "the index leads past a key"
    } else if !table.may_contain(filter_hash(key)) {
        "the filter denies a key"
    } else {
        return Ok(());
    };
    Err(table.corrupt_block(block, what))
}

//! Background work: writing out memtables, carrying out compactions, removing what nobody reads.
//!
//! One at a time, by whoever holds the upkeep, and beside readers and writers: they see the version
//! before or the version after. A compaction goes on in pieces: a step ends after a bounded number of
//! bytes read or one table written, and a memtable that has filled up meanwhile goes first.

use std::rc::Rc;

use contract::{Bug, EngineError, Fs, Order};

use super::compaction::{Choice, pick};
use super::manifest::{self, Edit, Manifest};
use super::merge::Merge;
use super::ranges::RangeSet;
use super::source::{Blocks, Source};
use super::table::{self, Table, TableBuilder, WrittenTable};
use super::version::{Change, LEVELS, Run, Version};
use super::wal::Wal;
use super::{Generation, Lsm};

/// Bytes of keys and values that one step of a compaction takes in.
const STEP_BYTES: usize = 1 << 20;

/// What only one may do at a time.
pub(super) struct Upkeep<F: Fs> {
    pub(super) manifest: Manifest<F>,
    /// Logs that a table has taken the place of, while no later record vouches for the edit that says so:
    /// if that is damaged it counts as torn, and these hold what the table did.
    pub(super) replaced_logs: Vec<Rc<Wal<F>>>,
    /// The compaction that is under way. If the one who carries it on fails or is dropped, it begins
    /// anew; the tables it wrote are removed when the store is opened.
    pub(super) compaction: Option<Running<F>>,
}

/// A compaction under way.
pub(super) struct Running<F: Fs> {
    choice: Choice,
    merge: Merge<F>,
    /// The range tombstones that its tables must have.
    ranges: RangeSet,
    /// The table that is being built, and where it begins.
    builder: Option<TableBuilder>,
    begins: Vec<u8>,
    written: Vec<WrittenTable<F>>,
}

impl<F: Fs> Lsm<F> {
    /// One bounded step: a memtable, or else a piece of a compaction.
    pub(super) async fn step(&self) -> Result<(), EngineError> {
        let mut upkeep = self.0.upkeep.lock().await;
        self.0.latch.check()?;
        let (full, choice) = {
            let state = self.0.state.borrow();
            (state.full.first().cloned(), state.choice.clone())
        };
        match (full, choice) {
            (Some(full), _) => self.flush(&mut upkeep, full).await?,
            (None, Some(choice)) => self.compact(&mut upkeep, choice).await?,
            (None, None) => assert!(upkeep.compaction.is_none(), "a compaction under way is still due"),
        }
        self.remove_obsolete().await
    }

    /// Writes out memtables until at most `allowed` wait.
    pub(super) async fn flush_beyond(&self, allowed: usize) -> Result<(), EngineError> {
        let mut upkeep = self.0.upkeep.lock().await;
        loop {
            let full = {
                let state = self.0.state.borrow();
                self.0.latch.check()?;
                if state.full.len() <= allowed {
                    return Ok(());
                }
                state.full[0].clone()
            };
            self.flush(&mut upkeep, full).await?;
        }
    }

    /// Makes the oldest full memtable a table of level 0.
    async fn flush(&self, upkeep: &mut Upkeep<F>, oldest: Generation<F>) -> Result<(), EngineError> {
        assert!(!oldest.memtable.is_empty(), "a memtable is full before it is written out");
        let mut builder = self.builder();
        builder.add_memtable(&oldest.memtable);
        let written = self.write_table(builder).await?;
        let tables = self.open_tables(vec![written]).await?;
        assert_eq!(tables.len(), 1, "a memtable becomes one table");
        let added = tables.into_iter().map(|table| (0, table)).collect();
        if self.0.options.bugs.has(Bug::LogRemovedBeforeManifest) {
            self.remove_logs(std::slice::from_ref(&oldest.wal)).await?;
            self.0.fs.sync_dir(&self.0.dir).await?;
        }
        self.install(upkeep, Change { removed: Vec::new(), added }, Some(&oldest)).await?;
        self.count(|stats| stats.flushes += 1);
        Ok(())
    }

    /// Carries the compaction under way on by a piece, or begins `due`.
    async fn compact(&self, upkeep: &mut Upkeep<F>, due: Choice) -> Result<(), EngineError> {
        let version = Rc::clone(&self.0.state.borrow().version);
        if due.is_move && upkeep.compaction.is_none() {
            let moved = version.find(&due.runs[0]).into_iter();
            let added = moved.map(|table| (due.output, table)).collect();
            return self.replace_inputs(upkeep, &due, added).await;
        }
        let mut running = match upkeep.compaction.take() {
            Some(running) => running,
            None => Running::begin(due, &version, self.0.options.readahead_bytes).await?,
        };
        if !self.merge_piece(&mut running).await? {
            upkeep.compaction = Some(running);
            return Ok(());
        }
        assert!(running.builder.is_none(), "all that was built is written");
        let tables = self.open_tables(running.written).await?;
        let added = tables.into_iter().map(|table| (running.choice.output, table)).collect();
        self.replace_inputs(upkeep, &running.choice, added).await
    }

    async fn replace_inputs(
        &self,
        upkeep: &mut Upkeep<F>,
        choice: &Choice,
        added: Vec<(usize, Rc<Table<F>>)>,
    ) -> Result<(), EngineError> {
        let removed = choice.inputs().collect();
        self.install(upkeep, Change { removed, added }, None).await?;
        self.count(|stats| stats.compactions += 1);
        Ok(())
    }

    /// Merges on, and writes at most one table. `true` if all is merged and written.
    async fn merge_piece(&self, running: &mut Running<F>) -> Result<bool, EngineError> {
        let mut taken = 0;
        while let Some((key, value)) = running.merge.current() {
            if running.builder.as_ref().is_some_and(|b| b.size() >= self.0.options.table_bytes) {
                let next = key.to_vec();
                self.finish_output(running, Some(next)).await?;
                return Ok(false);
            }
            if taken >= STEP_BYTES {
                return Ok(false);
            }
            taken += key.len() + value.map_or(0, <[u8]>::len);
            if value.is_some() || running.choice.keep_tombstones {
                running.builder.get_or_insert_with(|| self.builder()).add(key, value);
            }
            running.merge.advance().await?;
        }
        self.finish_output(running, None).await?;
        Ok(true)
    }

    /// Writes the table that was being built, with the range tombstones up to where the next one
    /// begins.
    async fn finish_output(
        &self,
        running: &mut Running<F>,
        next: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let ranges = running.ranges.clipped(&running.begins, next.as_deref());
        let mut builder = match running.builder.take() {
            Some(builder) => builder,
            None if ranges.is_empty() => return Ok(()),
            None => self.builder(),
        };
        builder.add_ranges(&ranges);
        running.written.push(self.write_table(builder).await?);
        assert!(next.as_ref().is_none_or(|next| running.begins < *next), "tables are written in key order");
        running.begins = next.unwrap_or_default();
        Ok(())
    }

    pub(super) fn builder(&self) -> TableBuilder {
        let number = self.0.state.borrow_mut().take_file_number();
        TableBuilder::new(number, &self.0.options)
    }

    async fn write_table(&self, builder: TableBuilder) -> Result<WrittenTable<F>, EngineError> {
        let built = builder.finish();
        self.count(|stats| stats.bytes_written_to_files += built.meta.bytes);
        table::write(&self.0.fs, &self.0.dir, built).await
    }

    /// Makes the names of written tables durable and opens them.
    async fn open_tables(&self, written: Vec<WrittenTable<F>>) -> Result<Vec<Rc<Table<F>>>, EngineError> {
        if !written.is_empty() {
            self.0.fs.sync_dir(&self.0.dir).await?;
        }
        let open = |written| Table::open_written(&self.0.dir, written, &self.0.counters).map(Rc::new);
        written.into_iter().map(open).collect()
    }

    /// Makes a change durable, and then the version that readers see. `flushed` is what was written
    /// out, if the change comes from a memtable.
    async fn install(
        &self,
        upkeep: &mut Upkeep<F>,
        change: Change<F>,
        flushed: Option<&Generation<F>>,
    ) -> Result<(), EngineError> {
        let (version, edit) = self.prepare(&change, flushed);
        let manifest = &mut upkeep.manifest;
        let before = manifest.bytes();
        // What an edit before this one replaced: this one's record vouches for that.
        let mut unneeded = std::mem::take(&mut upkeep.replaced_logs);
        let goes = |_: &&Generation<F>| !self.0.options.bugs.has(Bug::LogRemovedBeforeManifest);
        let replaced = flushed.filter(goes).map(|flushed| Rc::clone(&flushed.wal));
        if manifest.is_full(&edit) {
            self.0.latch.or_shut(self.replace_manifest(manifest, &version, edit)).await?;
            self.count(|stats| stats.bytes_written_to_files += manifest.bytes());
            // A fresh manifest is nothing without its first record, which has all of it.
            unneeded.extend(replaced);
        } else {
            self.0.latch.or_shut(manifest.append(&edit)).await?;
            self.count(|stats| stats.bytes_written_to_files += manifest.bytes() - before);
            upkeep.replaced_logs.extend(replaced);
        }
        if self.0.options.bugs.has(Bug::LogRemovedUnvouched) {
            unneeded.append(&mut upkeep.replaced_logs);
        }
        self.show(version, &change, flushed);
        self.remove_logs(&unneeded).await
    }

    /// Readers see a change that is durable.
    fn show(&self, version: Version<F>, change: &Change<F>, flushed: Option<&Generation<F>>) {
        let state = &mut *self.0.state.borrow_mut();
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
    }

    async fn remove_logs(&self, logs: &[Rc<Wal<F>>]) -> Result<(), EngineError> {
        // Nobody may be writing a log while its file goes away.
        let _logging = self.0.logging.lock().await;
        for log in logs.iter().filter(|log| log.has_file()) {
            self.0.fs.remove(log.path()).await?;
        }
        Ok(())
    }

    /// The version after a change, and the edit that leads to it.
    fn prepare(&self, change: &Change<F>, flushed: Option<&Generation<F>>) -> (Version<F>, Edit) {
        let state = self.0.state.borrow();
        let mut kept = state.full.iter().chain([&state.active]).skip(usize::from(flushed.is_some()));
        let edit = Edit {
            log_floor: kept.next().expect("the active memtable is never written out").wal.number(),
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
        manifest: &mut Manifest<F>,
        version: &Version<F>,
        edit: Edit,
    ) -> Result<(), EngineError> {
        let (fs, dir) = (&self.0.fs, &self.0.dir);
        let number = self.0.state.borrow_mut().take_file_number();
        let added = version.tables().map(|(level, table)| (level, table.meta.clone())).collect();
        let state = Edit { next_file: number + 1, removed: Vec::new(), added, ..edit };
        let fresh = Manifest::create(fs, dir, number, &state, self.0.options.bugs).await?;
        let old = std::mem::replace(manifest, fresh);
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

impl<F: Fs> Running<F> {
    async fn begin(
        choice: Choice,
        version: &Version<F>,
        readahead_bytes: usize,
    ) -> Result<Self, EngineError> {
        assert!(0 < choice.output && choice.output < LEVELS, "a compaction goes down to a level that exists");
        let ahead = Blocks::Ahead(readahead_bytes);
        let run = |run: &Vec<u64>| Rc::new(Run::new(version.find(run)));
        let source = |numbers| Source::tables(run(numbers), ahead.clone(), Order::Ascending);
        let sources = choice.runs.iter().map(source).collect();
        let merge = Merge::new(sources, b"", Order::Ascending).await?;
        let ranges = if choice.keep_tombstones { merge.ranges() } else { RangeSet::default() };
        Ok(Self { choice, merge, ranges, builder: None, begins: Vec::new(), written: Vec::new() })
    }
}

//! A second store with the content of this moment, which shares the tables with this one.
//!
//! Tables never change, so the checkpoint has hard links to them. What is in memtables becomes a
//! table of its own, and a fresh manifest names them all; no log is taken along. `CURRENT` comes last
//! and after all that it stands for: a checkpoint that was begun and not ended does not open.

use contract::{EngineError, Fs, Order};

use super::maintain::write_table;
use super::manifest::{Edit, Manifest};
use super::merge::Merge;
use super::source::Source;
use super::table::{self, TableBuilder};
use super::{Lsm, LsmSnapshot};
use crate::paths;

impl<F: Fs> Lsm<F> {
    pub(super) async fn checkpoint_into(&self, dir: &str) -> Result<(), EngineError> {
        let fs = &self.0.fs;
        // The snapshot keeps the tables' files while they are linked.
        let snapshot = self.snapshot_now();
        let mut builder = self.builder();
        let (flushed, number, next_file) = {
            let mut state = self.0.state.borrow_mut();
            let number = state.take_file_number();
            (state.seq, number, state.next_file)
        };
        paths::create_dir_durably(fs, dir).await?;
        let mut edit = Edit { log_floor: number, flushed, next_file, ..Edit::default() };
        for (level, table) in snapshot.version().tables() {
            let number = table.meta.number;
            paths::link_or_copy(fs, &table::path(&self.0.dir, number), &table::path(dir, number)).await?;
            edit.added.push((level, table.meta.clone()));
        }
        add_memory(&mut builder, &snapshot).await?;
        if !builder.is_empty() {
            edit.added.push((0, write_table(fs, dir, builder.finish()).await?));
        }
        assert!(edit.added.iter().all(|(_, meta)| meta.number < number), "the manifest is the last file");
        // The manifest makes the names of the tables durable together with its own.
        Manifest::create(fs, dir, number, &edit, self.0.options.bugs).await?;
        Ok(())
    }
}

/// Adds what the memtables of a snapshot hold, tombstones for the tables behind them included.
async fn add_memory<F: Fs>(builder: &mut TableBuilder, snapshot: &LsmSnapshot<F>) -> Result<(), EngineError> {
    let memory = snapshot.memory().iter();
    let sources = memory.map(|view| Source::memory(view.clone(), Order::Ascending)).collect();
    let mut merge: Merge<F> = Merge::new(sources, b"", Order::Ascending).await?;
    builder.add_ranges(&merge.ranges());
    while let Some((key, value)) = merge.current() {
        builder.add(key, value);
        merge.advance().await?;
    }
    Ok(())
}

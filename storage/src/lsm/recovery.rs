//! Opening a store: the manifest's tables, then the logs behind them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use contract::{EngineError, Fs, TornTail};
use futures::lock::Mutex;

use super::cache::BlockCache;
use super::compaction::pick;
use super::counters::Counters;
use super::maintain::{Upkeep, write_table};
use super::manifest::{self, Edit, Manifest};
use super::memtable::Memtable;
use super::table::{self, Table, TableBuilder};
use super::version::{Change, LEVELS, Version};
use super::{Generation, Lsm, LsmOptions, Shared, State, wal};
use crate::latch::Latch;
use crate::paths;
use crate::replay::{Log, Replay};

const SUFFIXES: [&str; 3] = [".table", ".wal", ".manifest"];

/// The numbers of the files in a store's folder.
#[derive(Debug, Default)]
struct Files {
    tables: BTreeSet<u64>,
    logs: BTreeSet<u64>,
    manifests: BTreeSet<u64>,
}

impl Files {
    async fn list<F: Fs>(fs: &F, dir: &str) -> Result<Self, EngineError> {
        let names = fs.list(dir).await?;
        paths::refuse_others(dir, &names, |name| {
            let numbered = SUFFIXES.iter().any(|suffix| paths::numbered(name, suffix).is_some());
            numbered || name == "CURRENT" || name == "CURRENT.next"
        })?;
        let of = |suffix| names.iter().filter_map(move |name| paths::numbered(name, suffix)).collect();
        let [tables, logs, manifests] = SUFFIXES.map(of);
        Ok(Self { tables, logs, manifests })
    }

    fn next(&self) -> u64 {
        let all = [&self.tables, &self.logs, &self.manifests];
        all.iter().filter_map(|numbers| numbers.last()).max().map_or(1, |number| number + 1)
    }
}

pub(super) async fn open<F: Fs>(fs: &F, dir: &str, options: LsmOptions) -> Result<Lsm<F>, EngineError> {
    paths::create_dir_durably(fs, dir).await?;
    let files = Files::list(fs, dir).await?;
    let found = manifest::read(fs, dir).await?;
    if found.is_none() && !(files.tables.is_empty() && files.logs.is_empty()) {
        // A store's first manifest holds before anything else is written.
        let file = format!("{dir}/CURRENT").into();
        return Err(EngineError::Corrupt { file, offset: 0, what: "is missing, though the store is not" });
    }
    let (mut edit, torn_manifest) = found.unwrap_or_default();
    let mut next_file = files.next().max(edit.next_file);
    assert!(edit.log_floor < next_file, "logs have numbers below the next file's");
    let mut take_number = || {
        next_file += 1;
        next_file - 1
    };
    if let (Some(torn), true) =
        (&torn_manifest, edit.added.iter().any(|(_, meta)| !files.tables.contains(&meta.number)))
    {
        // Tables go only once the edit that gives them up is durable: so it was.
        let TornTail { file, offset, what } = torn.clone();
        return Err(EngineError::Corrupt { file, offset, what });
    }
    let (memtable, counters) = (Memtable::default(), Rc::new(Counters::default()));
    let mut replay = Replay::new(edit.flushed);
    for &number in files.logs.range(edit.log_floor..) {
        let log = Log { identity: wal::identity(number), path: wal::path(dir, number).into() };
        replay.read(fs, &log, |found| memtable.apply(found.seq, found.batch)).await?;
    }
    assert!(replay.last() >= edit.flushed, "logs go on behind the tables");
    edit.flushed = replay.last();
    assert!(memtable.is_empty() || memtable.last_seq() == edit.flushed, "the last batch was applied");
    counters.count(|stats| stats.bytes_read_from_files += replay.bytes_read());
    let torn_tails = torn_manifest.into_iter().chain(replay.into_torn()).collect();
    if !memtable.is_empty() {
        let mut builder = TableBuilder::new(take_number(), &options);
        builder.add_memtable(&memtable);
        // Its name is made durable together with the manifest's.
        let meta = write_table(fs, dir, builder.finish()).await?;
        counters.count(|stats| stats.bytes_written_to_files += meta.bytes);
        edit.added.push((0, meta));
    }
    let version = open_version(fs, dir, &edit, &counters).await?;
    let (manifest_number, log_number) = (take_number(), take_number());
    (edit.log_floor, edit.next_file) = (log_number, next_file);
    assert!(manifest_number >= files.next(), "a fresh manifest replaces no file");
    let manifest = Manifest::create(fs, dir, manifest_number, &edit, options.bugs).await?;
    remove_orphans(fs, dir, &files, &edit).await?;
    let state = State {
        seq: edit.flushed,
        durable: edit.flushed,
        flushed: edit.flushed,
        active: Generation::new(dir, log_number),
        full: Vec::new(),
        choice: pick(&version.metas(), &options),
        version: Rc::new(version),
        obsolete: Vec::new(),
        next_file,
    };
    Ok(Lsm(Rc::new(Shared {
        fs: fs.clone(),
        dir: dir.into(),
        options,
        cache: Rc::new(BlockCache::new(options.block_cache_bytes, &counters)),
        state: RefCell::new(state),
        latch: Latch::new(dir),
        torn_tails,
        logging: Mutex::new(()),
        upkeep: Mutex::new(Upkeep { manifest, replaced_logs: Vec::new(), compaction: None }),
        counters,
    })))
}

async fn open_version<F: Fs>(
    fs: &F,
    dir: &str,
    edit: &Edit,
    counters: &Rc<Counters>,
) -> Result<Version<F>, EngineError> {
    let mut added = Vec::new();
    for (level, meta) in &edit.added {
        assert!(*level < LEVELS, "a manifest whose checksum is right names levels that exist");
        added.push((*level, Rc::new(Table::open(fs, dir, meta.clone(), counters).await?)));
    }
    Ok(Version::empty().with(&Change { removed: Vec::new(), added }))
}

/// Removes what the manifest does not name. Logs are all written out by now.
async fn remove_orphans<F: Fs>(fs: &F, dir: &str, files: &Files, edit: &Edit) -> Result<(), EngineError> {
    let live: BTreeSet<u64> = edit.added.iter().map(|(_, meta)| meta.number).collect();
    for number in &files.manifests {
        fs.remove(&manifest::path(dir, *number)).await?;
    }
    for number in files.tables.difference(&live) {
        fs.remove(&table::path(dir, *number)).await?;
    }
    for number in &files.logs {
        fs.remove(&wal::path(dir, *number)).await?;
    }
    Ok(())
}

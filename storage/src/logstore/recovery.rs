//! Opening a store: the merged segment by its hint, then the batches behind it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use contract::{EngineError, EngineStats, Fs, OpenMode};
use futures::lock::Mutex;

use super::index::{Index, Place};
use super::merged::{HintEntry, TRAILER, Trailer, hint_name, read_hint};
use super::segment::{Kind, Segment, name};
use super::{LogStore, LogStoreOptions, Shared, State};
use crate::batch::{self, Mutation};
use crate::latch::Latch;
use crate::log::{LogReader, RECORD_HEADER_BYTES, read_whole};
use crate::paths;
use crate::replay::{Found, Log, Replay};

const SUFFIXES: [&str; 5] = [".segment", ".merged", ".hint", ".merging", ".segment.new"];

/// The numbers of the files in a store's folder.
struct Files {
    plain: BTreeSet<u64>,
    merged: BTreeSet<u64>,
    hints: BTreeSet<u64>,
    unfinished: BTreeSet<u64>,
    rewritten: BTreeSet<u64>,
}

impl Files {
    async fn list<F: Fs>(fs: &F, dir: &str) -> Result<Self, EngineError> {
        let names = fs.list(dir).await?;
        paths::refuse_others(dir, &names, |name| {
            SUFFIXES.iter().any(|suffix| paths::numbered(name, suffix).is_some())
        })?;
        let of = |suffix| names.iter().filter_map(move |name| paths::numbered(name, suffix)).collect();
        let [plain, merged, hints, unfinished, rewritten] = SUFFIXES.map(of);
        Ok(Self { plain, merged, hints, unfinished, rewritten })
    }

    fn next(&self) -> u64 {
        let all = [&self.plain, &self.merged, &self.hints, &self.unfinished, &self.rewritten];
        all.iter().filter_map(|numbers| numbers.last()).max().map_or(1, |number| number + 1)
    }
}

/// What was found so far.
struct Recovered<F: Fs> {
    index: Index<F>,
    /// The last batch that a merged segment says had been durable.
    durable: u64,
    sealed: Vec<Rc<Segment<F>>>,
    stats: EngineStats,
}

pub(super) async fn open<F: Fs>(
    fs: &F,
    dir: &str,
    options: LogStoreOptions,
) -> Result<LogStore<F>, EngineError> {
    paths::create_dir_durably(fs, dir).await?;
    let files = Files::list(fs, dir).await?;
    // They are made anew where they are needed.
    for &number in &files.rewritten {
        fs.remove(&format!("{dir}/{}", name(number, ".segment.new"))).await?;
    }
    let mut found =
        Recovered { index: Index::default(), durable: 0, sealed: Vec::new(), stats: EngineStats::default() };
    let merged = files.merged.last().copied();
    if let Some(number) = merged {
        found.load_merged(fs, dir, number).await?;
    }
    let mut replay = Replay::new(found.sealed.last().map_or(0, |segment| segment.last_seq()));
    let mut kept = BTreeSet::new();
    for &number in files.plain.range(merged.map_or(0, |number| number + 1)..) {
        if found.load_plain(fs, dir, number, &mut replay).await? {
            kept.insert(number);
        }
    }
    if let Some(merged) = merged {
        replay.check_reaches(found.durable, &Kind::Merged.path(dir, merged).into())?;
    }
    for (path, file) in replay.make_durable(fs, options.bugs).await? {
        let segment = found.sealed.iter().find(|segment| segment.path(dir) == path);
        segment.expect("what counts is in a segment that is kept").log().set_file(file);
    }
    // What a killed process left without a sync of the folder becomes durable before what it replaced goes.
    fs.sync_dir(dir).await?;
    remove_orphans(fs, dir, &files, merged, &kept).await?;
    found.stats.bytes_read_from_files += replay.bytes_read();
    let seq = replay.last();
    assert!(
        found.sealed.last().is_none_or(|segment| segment.last_seq() == seq),
        "the last batch is in a segment"
    );
    let active = Segment::new(dir, files.next(), options.segment_bytes);
    if let Some(before) = found.sealed.last().filter(|segment| segment.kind() == Kind::Plain) {
        active.log().follows(before.bytes());
    }
    let state = State {
        seq,
        durable: seq,
        index: Rc::new(found.index),
        active: Rc::new(active),
        sealed: found.sealed,
        unsynced: Vec::new(),
        obsolete: Vec::new(),
        merging: false,
    };
    Ok(LogStore(Rc::new(Shared {
        fs: fs.clone(),
        dir: dir.into(),
        options,
        state: RefCell::new(state),
        latch: Latch::new(dir),
        torn_tails: replay.into_torn(),
        logging: Mutex::new(()),
        merging: Mutex::new(None),
        stats: Cell::new(found.stats),
    })))
}

impl<F: Fs> Recovered<F> {
    async fn load_merged(&mut self, fs: &F, dir: &str, number: u64) -> Result<(), EngineError> {
        let file = fs.open(&Kind::Merged.path(dir, number), OpenMode::Existing).await?;
        let (entries, trailer, end) = match read_hint(fs, dir, number, &file).await? {
            Some(found) => found,
            None => self.read_merged(dir, number, &file).await?,
        };
        let segment = Rc::new(Segment::sealed(dir, Kind::Merged, number, file, end));
        segment.set_last_seq(trailer.last_seq);
        self.durable = trailer.durable;
        for HintEntry { key, written, len } in entries {
            self.index.put(key, Place::new(&segment, written, len));
        }
        assert!(self.sealed.is_empty(), "a merged segment stands for all before it");
        self.sealed.push(segment);
        Ok(())
    }

    /// What a hint would say. The segment was complete when it got its name: whatever is missing is
    /// damage.
    async fn read_merged(
        &mut self,
        dir: &str,
        number: u64,
        file: &F::File,
    ) -> Result<(Vec<HintEntry>, Trailer, u64), EngineError> {
        let path: Rc<str> = Kind::Merged.path(dir, number).into();
        let corrupt = |offset, what| EngineError::Corrupt { file: Rc::clone(&path), offset, what };
        let bytes = read_whole(file).await?;
        self.stats.bytes_read_from_files += bytes.len() as u64;
        let identity = Kind::Merged.identity(number);
        LogReader::header(identity, &bytes).map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
        let mut reader = LogReader::new(identity, &bytes);
        let mut entries = Vec::new();
        loop {
            let offset = reader.position();
            let record = reader.next().ok_or_else(|| corrupt(offset, "merged segment is not whole"))?;
            if record.tag == TRAILER {
                let trailer = Trailer::decode(record.payload)
                    .filter(|trailer| trailer.entries == entries.len() as u64)
                    .ok_or_else(|| corrupt(offset, "trailer is not this segment's"))?;
                return Ok((entries, trailer, reader.position()));
            }
            let mut values = Vec::new();
            let payload_at = offset + RECORD_HEADER_BYTES as u64;
            let decoded = batch::decode(record.tag, record.payload, |at| values.push(payload_at + at as u64));
            let (_, batch) = decoded.ok_or_else(|| corrupt(offset, "batch is malformed"))?;
            for (mutation, at) in batch.into_iter().zip(values) {
                let Mutation::Key((key, Some(value))) = mutation else {
                    return Err(corrupt(offset, "merged segment deletes something"));
                };
                let written = (at, crc32c::crc32c(&value));
                entries.push(HintEntry { key, written, len: value.len() });
            }
        }
    }

    /// Reads the next segment of batches; returns whether any of them counts.
    async fn load_plain(
        &mut self,
        fs: &F,
        dir: &str,
        number: u64,
        replay: &mut Replay,
    ) -> Result<bool, EngineError> {
        let path: Rc<str> = Kind::Plain.path(dir, number).into();
        let log = Log { identity: Kind::Plain.identity(number), path: Rc::clone(&path) };
        let mut batches = Vec::new();
        let read = replay.read(fs, &log, |found| batches.push(found)).await?;
        let Some(end) = read.end else {
            assert!(batches.is_empty(), "a batch that counts ends somewhere");
            return Ok(false);
        };
        let file = read.file;
        let segment = Rc::new(Segment::sealed(dir, Kind::Plain, number, file, end));
        for Found { seq, batch, values } in batches {
            segment.set_last_seq(seq);
            let checksums = batch.iter().filter_map(Mutation::value).map(|value| crc32c::crc32c(value));
            let written = values.into_iter().zip(checksums).collect();
            self.index.apply(&segment, batch, written);
        }
        let before = self.sealed.last().map_or(0, |segment| segment.last_seq());
        assert!(before < segment.last_seq(), "each segment goes on where the one before it ended");
        self.sealed.push(segment);
        Ok(true)
    }
}

/// Removes what the store does not need, before anything is written: a batch that does not count must
/// never be read behind one that took its number.
async fn remove_orphans<F: Fs>(
    fs: &F,
    dir: &str,
    files: &Files,
    merged: Option<u64>,
    kept: &BTreeSet<u64>,
) -> Result<(), EngineError> {
    let merged: BTreeSet<u64> = merged.into_iter().collect();
    let mut orphans = Vec::new();
    orphans.extend(files.plain.difference(kept).map(|number| name(*number, Kind::Plain.suffix())));
    orphans.extend(files.merged.difference(&merged).map(|number| name(*number, Kind::Merged.suffix())));
    orphans.extend(files.hints.difference(&merged).map(|number| hint_name(*number)));
    orphans.extend(files.unfinished.iter().map(|number| name(*number, ".merging")));
    for name in &orphans {
        fs.remove(&format!("{dir}/{name}")).await?;
    }
    fs.sync_dir(dir).await?;
    Ok(())
}

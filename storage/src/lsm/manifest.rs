//! The list of the store's files, as a log of edits.
//!
//! A manifest is a file named by its number in ten digits and `.manifest`: a log (see the crate's
//! `log` module) with magic `SBlsmmf2` whose first record holds the whole state and whose others are
//! edits of it. The file `CURRENT` says which manifest holds; it is replaced by a rename, so that at
//! any moment exactly one does. A manifest that has grown too long, or was recovered, is replaced by
//! a fresh one: nothing is written behind a tail that may be torn.
//!
//! | Edit (record payload, tag 0) | Bytes | |
//! |---|---|---|
//! | log floor | varint | write-ahead logs below this number are no longer needed |
//! | flushed | varint | sequence number of the last batch that is in tables |
//! | next file | varint | no file has this number or a higher one |
//! | removed | varint, varint each | how many tables leave, and their numbers |
//! | added | varint, then each: | how many tables come |
//! | · level, number, size, tombstones | varint each | |
//! | · smallest, end | … | the first key and one behind the last, behind their lengths (varint) |
//!
//! | `CURRENT` | | |
//! |---|---|---|
//! | 0 | 8 | magic `SBlsmcur` |
//! | 8 | 8 | number of the manifest, little-endian |
//! | 16 | 4 | CRC32C of bytes 0 to 16 |

use std::rc::Rc;

use contract::{Bug, Bugs, EngineError, File, Fs, FsError, OpenMode, TornTail};

use super::table::TableMeta;
use crate::encoding::{Input, put_bytes, put_varint};
use crate::log::{Flaw, LogIdentity, LogReader, RECORD_HEADER_BYTES, Tail, read_whole};
use crate::read::read_at;

/// A fresh manifest begins once this many bytes are used, or four times its first record.
const CAPACITY_BYTES: u64 = 8 << 10;
const CURRENT_MAGIC: &[u8; 8] = b"SBlsmcur";

/// A change of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) log_floor: u64,
    pub(super) flushed: u64,
    pub(super) next_file: u64,
    pub(super) removed: Vec<u64>,
    pub(super) added: Vec<(usize, TableMeta)>,
}

impl Edit {
    fn encode(&self, buffer: &mut Vec<u8>) {
        for number in [self.log_floor, self.flushed, self.next_file, self.removed.len() as u64] {
            put_varint(buffer, number);
        }
        for number in &self.removed {
            put_varint(buffer, *number);
        }
        put_varint(buffer, self.added.len() as u64);
        for (level, meta) in &self.added {
            for number in [*level as u64, meta.number, meta.bytes, meta.tombstones] {
                put_varint(buffer, number);
            }
            put_bytes(buffer, &meta.smallest);
            put_bytes(buffer, &meta.end);
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let input = &mut Input::new(payload, 0);
        let (log_floor, flushed, next_file) = (input.varint()?, input.varint()?, input.varint()?);
        let mut edit = Self { log_floor, flushed, next_file, ..Self::default() };
        for _ in 0..input.varint()? {
            edit.removed.push(input.varint()?);
        }
        for _ in 0..input.varint()? {
            let (level, number, bytes) = (input.length()?, input.varint()?, input.varint()?);
            let tombstones = input.varint()?;
            let (smallest, end) = (input.bytes()?.to_vec(), input.bytes()?.to_vec());
            edit.added.push((level, TableMeta { number, bytes, tombstones, smallest, end }));
        }
        input.is_empty().then_some(edit)
    }

    /// Makes the same change to a whole state.
    fn apply(&mut self, edit: Self) {
        assert!(self.flushed <= edit.flushed, "what is in tables stays in tables");
        assert!(self.log_floor <= edit.log_floor, "logs are given up in their order");
        self.log_floor = edit.log_floor;
        self.flushed = edit.flushed;
        assert!(self.next_file <= edit.next_file, "numbers of files ascend");
        self.next_file = edit.next_file;
        self.added.retain(|(_, meta)| !edit.removed.contains(&meta.number));
        self.added.extend(edit.added);
    }
}

fn identity(number: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBlsmmf2", number }
}

pub(super) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{number:010}.manifest")
}

fn current_path(dir: &str) -> String {
    format!("{dir}/CURRENT")
}

/// The manifest that holds, open for edits.
pub(super) struct Manifest<F: Fs> {
    pub(super) number: u64,
    file: F::File,
    tail: Tail,
    capacity: u64,
    /// All records up to here are durable.
    end: u64,
}

impl<F: Fs> Manifest<F> {
    /// Writes a fresh manifest and lets `CURRENT` name it.
    pub(super) async fn create(
        fs: &F,
        dir: &str,
        number: u64,
        state: &Edit,
        bugs: Bugs,
    ) -> Result<Self, EngineError> {
        assert!(state.removed.is_empty(), "a whole state removes nothing");
        assert!(number < state.next_file, "a manifest's own number is taken too");
        let file = fs.open(&path(dir, number), OpenMode::Truncate).await?;
        let mut tail = Tail::new(identity(number), 0);
        tail.push(0, |buffer| state.encode(buffer));
        let capacity = CAPACITY_BYTES.max(tail.position() * 4);
        file.allocate(capacity).await?;
        let mut manifest = Self { number, file, tail, capacity, end: 0 };
        manifest.write_out().await?;
        // Its name must be durable before CURRENT says it.
        fs.sync_dir(dir).await?;
        switch_current(fs, dir, number, bugs).await?;
        Ok(manifest)
    }

    /// Whether a fresh manifest should take this one's place.
    pub(super) fn is_full(&self, edit: &Edit) -> bool {
        // Ten bytes bound a varint.
        let keys: usize = edit.added.iter().map(|(_, m)| m.smallest.len() + m.end.len() + 60).sum();
        let size = RECORD_HEADER_BYTES + 50 + edit.removed.len() * 10 + keys;
        self.tail.position() + size as u64 > self.capacity
    }

    /// Makes an edit durable.
    pub(super) async fn append(&mut self, edit: &Edit) -> Result<(), EngineError> {
        self.tail.push(0, |buffer| edit.encode(buffer));
        assert!(self.tail.position() <= self.capacity, "an edit fits, or a fresh manifest takes its place");
        self.write_out().await
    }

    async fn write_out(&mut self) -> Result<(), EngineError> {
        let (offset, buffer) = self.tail.take();
        let (written, buffer) = self.file.write_at(offset, buffer).await;
        written?;
        self.file.sync_data().await?;
        self.tail.recycle(buffer);
        assert!(self.end < self.tail.position(), "a manifest grows by what is written");
        self.end = self.tail.position();
        self.tail.set_durable(self.end);
        Ok(())
    }

    /// Reads it again; `tables` are those that it must name, with their levels. Returns how many bytes were
    /// read.
    pub(super) async fn verify(
        &self,
        fs: &F,
        dir: &str,
        mut tables: Vec<(usize, u64)>,
    ) -> Result<u64, EngineError> {
        let current: Rc<str> = current_path(dir).into();
        let named = parse_current(&read_whole(&fs.open(&current, OpenMode::Existing).await?).await?);
        if named != Some(self.number) {
            return Err(EngineError::Corrupt { file: current, offset: 0, what: "names another manifest" });
        }
        let bytes = read_at(&self.file, 0, self.end as usize).await?;
        let path: Rc<str> = path(dir, self.number).into();
        let (state, end, _) = parse(&path, self.number, &bytes)?;
        let corrupt = |what| Err(EngineError::Corrupt { file: Rc::clone(&path), offset: end, what });
        if end != self.end {
            return corrupt("an edit is missing");
        }
        let mut named: Vec<_> = state.added.iter().map(|(level, meta)| (*level, meta.number)).collect();
        named.sort_unstable();
        tables.sort_unstable();
        if named != tables { corrupt("edits lead to other tables") } else { Ok(end) }
    }

    /// Bytes written to it.
    pub(super) fn bytes(&self) -> u64 {
        self.tail.position()
    }
}

async fn switch_current<F: Fs>(fs: &F, dir: &str, number: u64, bugs: Bugs) -> Result<(), EngineError> {
    let next = format!("{dir}/CURRENT.next");
    let mut content = CURRENT_MAGIC.to_vec();
    content.extend_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&content);
    content.extend_from_slice(&checksum.to_le_bytes());
    let file = fs.open(&next, OpenMode::Truncate).await?;
    file.write_at(0, content).await.0?;
    file.sync_data().await?;
    fs.rename(&next, &current_path(dir)).await?;
    if !bugs.has(Bug::RenameNotSynced) {
        fs.sync_dir(dir).await?;
    }
    Ok(())
}

/// The whole state as the manifest that holds has it, and what does not count at its end; `None` if the
/// store was never created.
pub(super) async fn read<F: Fs>(fs: &F, dir: &str) -> Result<Option<(Edit, Option<TornTail>)>, EngineError> {
    let current: Rc<str> = current_path(dir).into();
    let file = match fs.open(&current, OpenMode::Existing).await {
        Ok(file) => file,
        Err(FsError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let content = read_whole(&file).await?;
    let number = parse_current(&content).ok_or(EngineError::Corrupt {
        file: current,
        offset: 0,
        what: "names no manifest",
    })?;
    let path: Rc<str> = path(dir, number).into();
    let corrupt = |offset, what| EngineError::Corrupt { file: Rc::clone(&path), offset, what };
    let file = match fs.open(&path, OpenMode::Existing).await {
        Ok(file) => file,
        Err(FsError::NotFound { .. }) => return Err(corrupt(0, "manifest is missing")),
        Err(error) => return Err(error.into()),
    };
    let bytes = read_whole(&file).await?;
    let (state, _, torn) = parse(&path, number, &bytes)?;
    let torn = torn.map(|flaw| TornTail { file: Rc::clone(&path), offset: flaw.offset, what: flaw.what });
    Ok(Some((state, torn)))
}

/// The whole state that a manifest's edits lead to, where they end, and what does not count behind them.
fn parse(path: &Rc<str>, number: u64, bytes: &[u8]) -> Result<(Edit, u64, Option<Flaw>), EngineError> {
    let corrupt = |offset, what| EngineError::Corrupt { file: Rc::clone(path), offset, what };
    LogReader::header(identity(number), bytes).map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
    let mut reader = LogReader::new(identity(number), bytes);
    let mut state: Option<Edit> = None;
    loop {
        let offset = reader.position();
        let Some(record) = reader.next() else { break };
        let edit = Edit::decode(record.payload).ok_or_else(|| corrupt(offset, "edit is malformed"))?;
        match &mut state {
            Some(state) => state.apply(edit),
            None => state = Some(edit),
        }
    }
    // An edit that does not count: its tables are orphans, and what they replaced is still there.
    let torn = reader.end().map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
    let state = state.ok_or_else(|| corrupt(reader.position(), "manifest has no state"))?;
    Ok((state, reader.position(), torn))
}

pub(super) fn parse_current(content: &[u8]) -> Option<u64> {
    let checked = content.get(..16)?;
    let checksum = Input::new(content, 16).u32()?;
    let ours = checked.starts_with(CURRENT_MAGIC) && crc32c::crc32c(checked) == checksum;
    if ours { Input::new(content, 8).u64() } else { None }
}

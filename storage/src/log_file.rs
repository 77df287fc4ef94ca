//! Logs that grow: what is pushed waits in memory until it is handed to the file, and that until it is
//! flushed.
//!
//! The file is lazy: records stay in memory until they are many or somebody wants them durable. It is
//! created with the first of them, and space is reserved in steps, so that most flushes are of data
//! alone.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{Durability, EngineError, File, Fs, FsError, OpenMode};

use crate::log::{HEADER_BYTES, LogIdentity, LogReader, Tail};
use crate::read::read_at;

/// Space is reserved in steps of this size, or of a block for logs that stay small.
const EXTENT_BYTES: u64 = 256 << 10;
const BLOCK_BYTES: u64 = 512;

/// A log that grows.
pub(crate) struct LogFile<F: Fs> {
    identity: LogIdentity,
    dir: Rc<str>,
    path: Rc<str>,
    extent: u64,
    state: RefCell<State<F>>,
}

struct State<F: Fs> {
    tail: Tail,
    /// `None` until the first batches are written out.
    file: Option<F::File>,
    named: bool,
    reserved: u64,
    written: u64,
    flushed: u64,
}

impl<F: Fs> LogFile<F> {
    /// A log of this name in `dir`, which has no bytes yet.
    pub(crate) fn new(identity: LogIdentity, dir: &str, name: &str) -> Self {
        let tail = Tail::new(identity, 0);
        let state = State { tail, file: None, named: false, reserved: 0, written: 0, flushed: 0 };
        Self {
            identity,
            dir: dir.into(),
            path: format!("{dir}/{name}").into(),
            extent: EXTENT_BYTES,
            state: RefCell::new(state),
        }
    }

    /// The same for a log that is to have about so many bytes: it reserves no more.
    #[must_use]
    pub(crate) fn with_extent(self, bytes: u64) -> Self {
        Self { extent: bytes.next_multiple_of(BLOCK_BYTES).min(EXTENT_BYTES), ..self }
    }

    /// A log that ends at `end` and gets no more records; all of it is in `file`, and durable.
    pub(crate) fn ended(identity: LogIdentity, dir: &str, name: &str, file: F::File, end: u64) -> Self {
        let state = State {
            tail: Tail::ended(identity, end),
            file: Some(file),
            named: true,
            reserved: end,
            written: end,
            flushed: end,
        };
        Self {
            identity,
            dir: dir.into(),
            path: format!("{dir}/{name}").into(),
            extent: EXTENT_BYTES,
            state: RefCell::new(state),
        }
    }

    /// Another file has what this one had.
    pub(crate) fn set_file(&self, file: F::File) {
        let mut state = self.state.borrow_mut();
        assert!(state.flushed == state.tail.position(), "only a log that has ended changes its file");
        state.file = Some(file);
    }

    /// Bytes that no file holds yet; `None` if some of them are in the file or on their way.
    pub(crate) fn unwritten(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        self.state.borrow().tail.slice(offset, len).map(<[u8]>::to_vec)
    }

    /// The file, if it holds all below `end`.
    pub(crate) fn file_up_to(&self, end: u64) -> Option<F::File> {
        let state = self.state.borrow();
        if end <= state.written { state.file.clone() } else { None }
    }

    pub(crate) fn number(&self) -> u64 {
        self.identity.number
    }

    pub(crate) fn path(&self) -> &Rc<str> {
        &self.path
    }

    /// The log before this one is durable, and ends at `end`. The header says so if it is not written yet:
    /// then damage of that end is not taken for a torn tail.
    pub(crate) fn follows(&self, end: u64) {
        assert!(end >= HEADER_BYTES as u64, "a log ends behind its header");
        let end = u32::try_from(end).expect("a log is below 4 GiB");
        self.state.borrow_mut().tail.set_header(self.identity.header(end));
    }

    /// Whether all that was pushed is durable.
    fn is_flushed(&self) -> bool {
        let state = self.state.borrow();
        state.flushed == state.tail.position()
    }

    /// Encodes a record behind those before it; `payload` appends its bytes. Returns where in the file
    /// the record begins.
    pub(crate) fn push(&self, tag: u32, payload: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut state = self.state.borrow_mut();
        let position = state.tail.position();
        state.tail.push(tag, payload);
        position
    }

    /// Bytes pushed, header and framing included.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.borrow().tail.position()
    }

    /// Bytes that no file holds yet.
    pub(crate) fn buffered(&self) -> usize {
        self.state.borrow().tail.buffered()
    }

    /// Whether a file was created.
    pub(crate) fn has_file(&self) -> bool {
        self.state.borrow().file.is_some()
    }

    /// Hands what is buffered to the file; returns how many bytes. One caller at a time. Of logs that
    /// follow each other, see [`write_out`].
    pub(crate) async fn write_out(&self, fs: &F) -> Result<u64, FsError> {
        if self.buffered() == 0 {
            return Ok(0);
        }
        let file = self.file(fs).await?;
        let ((offset, buffer), reserved) = {
            let mut state = self.state.borrow_mut();
            (state.tail.take(), state.reserved)
        };
        let end = offset + buffer.len() as u64;
        if end > reserved {
            let reserved = end.next_multiple_of(self.extent);
            file.allocate(reserved).await?;
            self.state.borrow_mut().reserved = reserved;
        }
        let (written, buffer) = file.write_at(offset, buffer).await;
        written?;
        let mut state = self.state.borrow_mut();
        assert_eq!(state.written, offset, "a log is written without gaps");
        assert!(end <= state.reserved, "a log is written where space is reserved");
        state.written = end;
        state.tail.recycle(buffer);
        Ok(end - offset)
    }

    async fn file(&self, fs: &F) -> Result<F::File, FsError> {
        if let Some(file) = &self.state.borrow().file {
            return Ok(file.clone());
        }
        let file = fs.open(&self.path, OpenMode::Truncate).await?;
        self.state.borrow_mut().file = Some(file.clone());
        Ok(file)
    }

    /// Makes all that was written out durable. One caller at a time.
    pub(crate) async fn sync(&self, fs: &F) -> Result<(), FsError> {
        let (file, written, named) = {
            let state = self.state.borrow();
            assert!(state.flushed <= state.written, "a flush covers only what was written before it");
            if state.flushed == state.written {
                return Ok(());
            }
            (state.file.clone().expect("what was written is in a file"), state.written, state.named)
        };
        file.sync_data().await?;
        if !named {
            fs.sync_dir(&self.dir).await?;
        }
        let mut state = self.state.borrow_mut();
        state.named = true;
        state.flushed = written;
        state.tail.set_durable(written);
        Ok(())
    }

    /// Reads again what was handed to the file and checks every record; `is_sound` tells whether a payload
    /// is. Nobody may be writing it. `path`: what its file is called now. Returns how many bytes were read.
    pub(crate) async fn verify(
        &self,
        path: &Rc<str>,
        is_sound: impl Fn(u32, &[u8]) -> bool,
    ) -> Result<u64, EngineError> {
        let (file, written) = {
            let state = self.state.borrow();
            (state.file.clone(), state.written)
        };
        let Some(file) = file.filter(|_| written > 0) else { return Ok(0) };
        let corrupt = |offset, what| EngineError::Corrupt { file: Rc::clone(path), offset, what };
        let bytes = read_at(&file, 0, usize::try_from(written).expect("a log fits into memory")).await?;
        LogReader::header(self.identity, &bytes).map_err(|flaw| corrupt(flaw.offset, flaw.what))?;
        let mut reader = LogReader::new(self.identity, &bytes);
        while reader.position() < written {
            let offset = reader.position();
            let record = reader.next().ok_or_else(|| corrupt(offset, "record checksum does not match"))?;
            if !is_sound(record.tag, record.payload) {
                return Err(corrupt(offset, "record is malformed"));
            }
        }
        assert_eq!(reader.position(), written, "a log is handed to its file record by record");
        Ok(written)
    }
}

/// Hands what is buffered in logs that follow each other to their files, and flushes them if all of it
/// must be durable; returns how many bytes were written. One caller at a time.
///
/// A later log must never outlive an earlier one: so each is flushed before the next. And where both are
/// to be flushed, the next is not even written before: then its header can vouch for the one before it.
pub(crate) async fn write_out<F: Fs>(
    fs: &F,
    oldest_first: impl Iterator<Item = &LogFile<F>>,
    durability: Durability,
) -> Result<u64, FsError> {
    let mut bytes = 0;
    let mut before: Option<&LogFile<F>> = None;
    for log in oldest_first {
        if let Some(before) = before {
            assert!(before.number() < log.number(), "logs are written in their order");
            if before.is_flushed() {
                log.follows(before.bytes());
            }
        }
        bytes += log.write_out(fs).await?;
        if durability == Durability::Synced {
            log.sync(fs).await?;
        }
        before = Some(log);
    }
    Ok(bytes)
}

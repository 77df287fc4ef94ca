//! A log that grows: what is pushed waits in memory until it is handed to the file, and that until it
//! is flushed.
//!
//! The file is lazy: records stay in memory until they are many or somebody wants them durable. It is
//! created with the first of them, and space is reserved in steps, so that most flushes are of data
//! alone.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{File, Fs, FsError, OpenMode};

use crate::log::{LogIdentity, Tail};

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

    /// Hands what is buffered to the file; returns how many bytes. One caller at a time.
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
}

//! The write-ahead log of one memtable.
//!
//! A file named by its number in ten digits and `.wal`: a log (see the crate's `log` module) with
//! magic `SBlsmwl2`, tag = number of changes in the batch, and as payload the batch:
//!
//! | Field | Bytes | |
//! |---|---|---|
//! | sequence number | 8 | of the batch; each log goes on where the one before it ended |
//! | per change | … | key behind its length (varint), then one of: |
//! | · deletion | 1 | 0 |
//! | · deletion of a range | 1 + … | 1, the first key behind the range behind its length (varint) |
//! | · value | … | its length + 2 (varint), the value |
//!
//! The file is lazy: batches stay in memory until they are many or somebody wants them durable. What
//! a crash loses is a suffix of the batches all the same: logs are written and flushed in their
//! order, and recovery stops at the first sequence number that is missing.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{EngineError, File, Fs, OpenMode};

use super::memtable::{Mutation, Mutations};
use crate::encoding::{Input, put_bytes, put_varint};
use crate::log::{LogIdentity, Tail};

/// Space is reserved in steps of this size, so that most flushes are of data alone.
const EXTENT_BYTES: u64 = 256 << 10;

const DELETION: u64 = 0;
const RANGE_DELETION: u64 = 1;
/// What is added to the length of a value.
const VALUE: u64 = 2;

pub(super) fn identity(number: u64) -> LogIdentity {
    LogIdentity { magic: *b"SBlsmwl2", number }
}

pub(super) fn path(dir: &str, number: u64) -> String {
    format!("{dir}/{number:010}.wal")
}

pub(super) struct Wal<F: Fs> {
    pub(super) number: u64,
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

impl<F: Fs> Wal<F> {
    pub(super) fn new(number: u64) -> Self {
        let tail = Tail::new(identity(number), 0);
        let state = State { tail, file: None, named: false, reserved: 0, written: 0, flushed: 0 };
        Self { number, state: RefCell::new(state) }
    }

    /// Encodes a batch behind those before it.
    pub(super) fn push(&self, seq: u64, batch: &Mutations) {
        assert!(seq > 0, "batches are numbered from 1");
        let tag = u32::try_from(batch.len()).expect("a batch has below 2^32 changes");
        self.state.borrow_mut().tail.push(tag, |buffer| {
            buffer.extend_from_slice(&seq.to_le_bytes());
            for mutation in batch {
                match mutation {
                    Mutation::Key((key, None)) => {
                        put_bytes(buffer, key);
                        put_varint(buffer, DELETION);
                    }
                    Mutation::Key((key, Some(value))) => {
                        put_bytes(buffer, key);
                        put_varint(buffer, value.len() as u64 + VALUE);
                        buffer.extend_from_slice(value);
                    }
                    Mutation::Range((from, to)) => {
                        put_bytes(buffer, from);
                        put_varint(buffer, RANGE_DELETION);
                        put_bytes(buffer, to);
                    }
                }
            }
        });
    }

    /// Bytes pushed, header and framing included.
    pub(super) fn bytes(&self) -> u64 {
        self.state.borrow().tail.position()
    }

    /// Bytes that no file holds yet.
    pub(super) fn buffered(&self) -> usize {
        self.state.borrow().tail.buffered()
    }

    /// Whether a file was created.
    pub(super) fn has_file(&self) -> bool {
        self.state.borrow().file.is_some()
    }

    /// Hands what is buffered to the file; returns how many bytes. One caller at a time.
    pub(super) async fn write_out(&self, fs: &F, dir: &str) -> Result<u64, EngineError> {
        if self.buffered() == 0 {
            return Ok(0);
        }
        let file = self.file(fs, dir).await?;
        let ((offset, buffer), reserved) = {
            let mut state = self.state.borrow_mut();
            (state.tail.take(), state.reserved)
        };
        let end = offset + buffer.len() as u64;
        if end > reserved {
            let reserved = end.next_multiple_of(EXTENT_BYTES);
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

    async fn file(&self, fs: &F, dir: &str) -> Result<F::File, EngineError> {
        if let Some(file) = &self.state.borrow().file {
            return Ok(file.clone());
        }
        let file = fs.open(&path(dir, self.number), OpenMode::Truncate).await?;
        self.state.borrow_mut().file = Some(file.clone());
        Ok(file)
    }

    /// Makes all that was written out durable. One caller at a time.
    pub(super) async fn sync(&self, fs: &F, dir: &str) -> Result<(), EngineError> {
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
            fs.sync_dir(dir).await?;
        }
        let mut state = self.state.borrow_mut();
        state.named = true;
        state.flushed = written;
        state.tail.set_durable(written);
        Ok(())
    }
}

/// The batch in a record, with its sequence number.
pub(super) fn decode(changes: u32, payload: &[u8]) -> Option<(u64, Mutations)> {
    let mut input = Input::new(payload, 0);
    let seq = input.u64()?;
    let mut batch = Mutations::new();
    for _ in 0..changes {
        let key = input.bytes()?.to_vec();
        batch.push(match input.varint()? {
            DELETION => Mutation::Key((key, None)),
            RANGE_DELETION => {
                let to = input.bytes()?.to_vec();
                (key < to).then_some(Mutation::Range((key, to)))?
            }
            value => Mutation::Key((key, Some(input.take(usize::try_from(value - VALUE).ok()?)?.to_vec()))),
        });
    }
    input.is_empty().then_some((seq, batch))
}

/// An error about a write-ahead log's file.
pub(super) fn corrupt(dir: &str, number: u64, offset: u64, what: &'static str) -> EngineError {
    EngineError::Corrupt { file: Rc::from(path(dir, number)), offset, what }
}

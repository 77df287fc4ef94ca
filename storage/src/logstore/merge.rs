//! Merging: what lives of all sealed segments becomes one, step by step.
//!
//! A step copies the values of a run of keys, in key order, and then leads the index to the copies.
//! Whatever was overwritten meanwhile is stale in the copy too: the batch that did it is in a later
//! segment, which is made durable before the merged one gets its name.

use std::rc::Rc;

use contract::{Bug, Durability, EngineError, Fs, FsError};

use super::LogStore;
use super::index::{Place, read_together};
use super::merged::{self, TRAILER, Trailer, encode_entry, hint_identity, hint_name};
use super::segment::{Kind, Segment};
use crate::batch::Mutation;
use crate::log_file::LogFile;

/// Keys that one step looks at, at most.
const STEP_KEYS: usize = 4096;

/// A merge under way.
pub(super) struct Running<F: Fs> {
    output: Rc<Segment<F>>,
    hint: LogFile<F>,
    trailer: Trailer,
    /// All keys up to this one are done.
    done_to: Option<Vec<u8>>,
}

/// What a step copies, and whether anything is left behind it.
struct Piece<F: Fs> {
    entries: Vec<(Vec<u8>, Place<F>)>,
    last_key: Option<Vec<u8>>,
}

impl<F: Fs> LogStore<F> {
    /// One bounded step of a merge that is under way or due.
    pub(super) async fn merge_step(&self) -> Result<(), EngineError> {
        let mut merging = self.0.merging.lock().await;
        self.0.latch.check()?;
        if merging.is_none() {
            *merging = self.begin_merge();
        }
        let Some(running) = &mut *merging else { return self.remove_obsolete().await };
        let piece = self.next_piece(running);
        let Some(last_key) = piece.last_key else {
            self.0.latch.or_shut(self.complete(running)).await?;
            *merging = None;
            return self.remove_obsolete().await;
        };
        // A value that cannot be read stops no writer: the step can be tried again.
        self.write_out_sealed().await?;
        let places: Vec<_> = piece.entries.iter().map(|(_, place)| place).collect();
        let values = read_together(&places, &self.0.dir).await?;
        let read: usize = values.iter().map(Vec::len).sum();
        self.count(|stats| stats.bytes_read_from_files += read as u64);
        self.0.latch.or_shut(self.copy(running, piece.entries, values)).await?;
        assert!(running.done_to.as_ref() < Some(&last_key), "a merge goes on in key order");
        running.done_to = Some(last_key);
        Ok(())
    }

    /// Hands what sealed segments still hold in memory to their files.
    async fn write_out_sealed(&self) -> Result<(), EngineError> {
        let in_files = |segment: &Rc<Segment<F>>| segment.log().is_written(segment.bytes());
        if self.0.state.borrow().unsynced.iter().all(in_files) {
            return Ok(());
        }
        let _logging = self.0.logging.lock().await;
        let (_, segments) = self.unsynced()?;
        self.0.latch.or_shut(self.write_out(&segments, Durability::Lazy)).await
    }

    fn begin_merge(&self) -> Option<Running<F>> {
        let mut state = self.0.state.borrow_mut();
        if !state.merge_is_due(&self.0.options) {
            return None;
        }
        let newest = state.sealed.last().expect("what is stale is somewhere");
        assert_eq!(newest.kind(), Kind::Plain, "a merge stands for segments that are not merged yet");
        let (number, last_seq) = (newest.number(), newest.last_seq());
        assert!(!state.merging && last_seq > 0, "one merge goes on at a time, of batches");
        state.merging = true;
        Some(Running {
            output: Rc::new(Segment::merging(&self.0.dir, number, last_seq, self.0.options.segment_bytes)),
            hint: LogFile::new(hint_identity(number), &self.0.dir, &hint_name(number))
                .with_extent(self.0.options.segment_bytes),
            trailer: Trailer { last_seq, ..Trailer::default() },
            done_to: None,
        })
    }

    fn next_piece(&self, running: &Running<F>) -> Piece<F> {
        let state = self.0.state.borrow();
        let mut piece = Piece { entries: Vec::new(), last_key: None };
        let mut bytes = 0;
        for (key, place) in state.index.after(running.done_to.as_deref()).take(STEP_KEYS) {
            assert!(!Rc::ptr_eq(place.segment(), &running.output), "keys are copied in their order");
            piece.last_key = Some(key.to_vec());
            if place.segment().number() <= running.output.number() {
                bytes += key.len() + place.len();
                piece.entries.push((key.to_vec(), place.clone()));
            }
            if bytes >= self.0.options.step_bytes {
                break;
            }
        }
        piece
    }

    async fn copy(
        &self,
        running: &mut Running<F>,
        entries: Vec<(Vec<u8>, Place<F>)>,
        values: Vec<Vec<u8>>,
    ) -> Result<(), EngineError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mutation =
            |((key, _), value): (&(Vec<u8>, _), Vec<u8>)| Mutation::Key((key.clone(), Some(value)));
        let batch: Vec<_> = entries.iter().zip(values).map(mutation).collect();
        let written = running.output.push(running.trailer.last_seq, &batch);
        let mut hint = Vec::new();
        for ((key, place), written) in entries.iter().zip(&written) {
            assert_eq!(place.checksum(), written.1, "a copy is what was read");
            encode_entry(&mut hint, key, *written, place.len());
        }
        running.trailer.entries += entries.len() as u64;
        running.trailer.hint_checksum = crc32c::crc32c_append(running.trailer.hint_checksum, &hint);
        assert_eq!(entries.len(), written.len(), "every copy has a place");
        let count = u32::try_from(entries.len()).expect("a step is small");
        running.hint.push(count, |buffer| buffer.extend_from_slice(&hint));
        self.write_merged(running).await?;
        let mut state = self.0.state.borrow_mut();
        let index = Rc::make_mut(&mut state.index);
        for ((key, copied), written) in entries.into_iter().zip(written) {
            let current = index.get(&key);
            let stays =
                |place: &Place<F>| Rc::ptr_eq(place.segment(), copied.segment()) && place.at() == copied.at();
            if current.as_ref().is_some_and(stays) {
                index.put(key, Place::new(&running.output, written, copied.len()));
            }
        }
        Ok(())
    }

    async fn write_merged(&self, running: &Running<F>) -> Result<(), EngineError> {
        let fs = &self.0.fs;
        let bytes = running.output.log().write_out(fs).await? + running.hint.write_out(fs).await?;
        self.count(|stats| stats.bytes_written_to_files += bytes);
        Ok(())
    }

    /// Gives the merged segment its name; its inputs are obsolete then.
    async fn complete(&self, running: &mut Running<F>) -> Result<(), EngineError> {
        let (fs, dir, number) = (&self.0.fs, &self.0.dir, running.output.number());
        // What made a value of the inputs stale must not be lost once they are gone.
        let seq = self.0.state.borrow().seq;
        if !self.0.options.bugs.has(Bug::MergeOutlivesBatch) {
            self.sync_up_to(seq).await?;
        }
        running.trailer.durable = seq;
        let trailer_at = running.output.log().push(TRAILER, |buffer| running.trailer.encode(buffer));
        running.hint.push(TRAILER, |buffer| buffer.extend_from_slice(&trailer_at.to_le_bytes()));
        self.write_merged(running).await?;
        assert!(trailer_at < running.output.bytes(), "a trailer is the last of its segment");
        running.hint.sync(fs).await?;
        running.output.log().sync(fs).await?;
        fs.rename(running.output.log().path(), &running.output.path(dir)).await?;
        if !self.0.options.bugs.has(Bug::RenameNotSynced) {
            fs.sync_dir(dir).await?;
        }
        let mut state = self.0.state.borrow_mut();
        let (inputs, newer): (Vec<_>, Vec<_>) =
            state.sealed.drain(..).partition(|segment| segment.number() <= number);
        assert!(!inputs.is_empty(), "a merge takes the place of something");
        assert!(inputs.iter().all(|segment| segment.live() == 0), "what lives was copied");
        state.obsolete.extend(inputs);
        state.sealed.push(Rc::clone(&running.output));
        state.sealed.extend(newer);
        assert!(state.sealed.is_sorted_by_key(|segment| segment.number()), "segments stand in their order");
        state.merging = false;
        drop(state);
        self.count(|stats| stats.compactions += 1);
        Ok(())
    }

    /// Removes the files of segments that nobody reads any more.
    async fn remove_obsolete(&self) -> Result<(), EngineError> {
        loop {
            let segment = {
                let mut state = self.0.state.borrow_mut();
                let unread = state.obsolete.iter().position(|segment| Rc::strong_count(segment) == 1);
                let Some(place) = unread else { return Ok(()) };
                state.obsolete.remove(place)
            };
            let (fs, dir) = (&self.0.fs, &self.0.dir);
            fs.remove(&segment.path(dir)).await?;
            if segment.kind() == Kind::Merged {
                match fs.remove(&format!("{dir}/{}", merged::hint_name(segment.number()))).await {
                    Err(FsError::NotFound { .. }) => {}
                    removed => removed?,
                }
            }
        }
    }
}

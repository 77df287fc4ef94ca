//! Group commit: of the callers that wait, the first to be polled while nobody leads becomes leader,
//! yields once so that others can join, and writes and flushes for all.
//!
//! The yield matters on a file system whose futures are always ready: without it a leader would
//! finish its flush before anybody else runs, and no group would ever form.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use contract::{Bug, File, Fs, FsError, OpenMode};

use super::{Journal, JournalError, SegmentId, State};
use crate::log::{HEADER_BYTES, RECORD_HEADER_BYTES, Tail};
use crate::turn::yield_once;

/// Records of one call that wait for their group.
pub(super) struct Request {
    stream: u32,
    payloads: Vec<Vec<u8>>,
}

/// Where a caller finds the outcome of its group.
#[derive(Default)]
pub(super) struct Slot {
    outcome: Cell<Option<Result<SegmentId, JournalError>>>,
}

/// The segment that appends go to.
pub(super) struct Active<F: Fs> {
    pub(super) id: SegmentId,
    file: F::File,
    capacity: u64,
    tail: Tail,
    /// How much of it a flush has covered.
    flushed: u64,
}

impl<F: Fs> Active<F> {
    /// Creates a segment so that its header, size and name are durable.
    pub(super) async fn create(
        fs: &F,
        dir: &str,
        id: SegmentId,
        capacity: u64,
        previous_end: u32,
    ) -> Result<Self, FsError> {
        assert!(id > SegmentId(0), "segments are numbered from 1");
        assert!(capacity >= HEADER_BYTES as u64, "a segment holds its header");
        let file = fs.open(&id.path(dir), OpenMode::Truncate).await?;
        file.allocate(capacity).await?;
        let mut tail = Tail::new(id.identity(), previous_end);
        let (offset, header) = tail.take();
        assert_eq!(offset, 0, "a log begins with its header");
        let (written, header) = file.write_at(offset, header).await;
        written?;
        file.sync_data().await?;
        fs.sync_dir(dir).await?;
        tail.recycle(header);
        let flushed = tail.position();
        tail.set_durable(flushed);
        Ok(Self { id, file, capacity, tail, flushed })
    }
}

/// What becomes of the lead if the leader's future is dropped: before its group is closed another
/// caller takes over, and after that, in the middle of the commit, the journal stops.
struct Lead<'a, F: Fs> {
    journal: &'a Journal<F>,
    slots: Vec<Rc<Slot>>,
    ended: bool,
}

impl<F: Fs> Drop for Lead<'_, F> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.slots.is_empty() {
            self.journal.0.state.borrow_mut().release_lead();
        } else {
            self.journal.end(&mut self.slots, Err(JournalError::Abandoned));
        }
    }
}

impl<F: Fs> Journal<F> {
    /// Takes a place in the order.
    pub(super) fn enqueue(&self, stream: u32, payloads: Vec<Vec<u8>>) -> Rc<Slot> {
        let slot = Rc::new(Slot::default());
        let mut state = self.0.state.borrow_mut();
        if let Some(cause) = &state.stopped {
            slot.outcome.set(Some(Err(cause.clone())));
        } else {
            state.requests.push(Request { stream, payloads });
            state.slots.push(Rc::clone(&slot));
        }
        slot
    }

    /// Waits for the outcome, leading a commit if nobody else does.
    pub(super) async fn committed(&self, slot: Rc<Slot>) -> Result<SegmentId, JournalError> {
        loop {
            if let Some(outcome) = slot.outcome.take() {
                return outcome;
            }
            if std::mem::replace(&mut self.0.state.borrow_mut().led, true) {
                self.someone_else_led().await;
            } else {
                self.lead().await;
            }
        }
    }

    /// Ready when the commit that is under way has ended.
    async fn someone_else_led(&self) {
        let mut registered = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut registered, true) {
                return Poll::Ready(());
            }
            self.0.state.borrow_mut().waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn lead(&self) {
        let mut lead = Lead { journal: self, slots: Vec::new(), ended: false };
        yield_once().await;
        let mut requests = {
            let mut state = self.0.state.borrow_mut();
            assert!(state.led, "one caller leads at a time");
            assert!(!state.slots.is_empty(), "whoever leads waits for an outcome too");
            std::mem::swap(&mut lead.slots, &mut state.slots);
            std::mem::take(&mut state.requests)
        };
        assert_eq!(requests.len(), lead.slots.len(), "every call has one slot");
        let mut outcome = self.commit(&mut requests).await;
        if self.0.options.bugs.has(Bug::WriteErrorIgnored) && outcome.is_err() {
            outcome = Ok(self.active_segment());
        }
        if outcome.is_ok() {
            let mut stats = self.0.stats.get();
            stats.appends += requests.len() as u64;
            stats.records += requests.iter().map(|r| r.payloads.len() as u64).sum::<u64>();
            stats.largest_group = stats.largest_group.max(requests.len() as u64);
            self.0.stats.set(stats);
        }
        lead.ended = true;
        let mut slots = std::mem::take(&mut lead.slots);
        self.end(&mut slots, outcome);
        requests.clear();
        self.0.state.borrow_mut().give_back(requests, slots);
    }

    /// Tells the outcome to those whose group it was, and stops the journal if it failed.
    fn end(&self, slots: &mut Vec<Rc<Slot>>, outcome: Result<SegmentId, JournalError>) {
        let mut state = self.0.state.borrow_mut();
        assert!(state.stopped.is_none(), "a journal that has stopped commits nothing");
        if let Err(error) = &outcome {
            state.stopped = Some(match error {
                JournalError::Fs(cause) => JournalError::Stopped { cause: cause.clone() },
                other => other.clone(),
            });
            // Those who joined too late for this group will not be served by another.
            state.requests.clear();
            slots.append(&mut state.slots);
        }
        for slot in slots.drain(..) {
            let before = slot.outcome.replace(Some(outcome.clone()));
            assert!(before.is_none(), "an append has one outcome");
        }
        state.release_lead();
    }

    /// Writes a group into one segment and makes it durable.
    async fn commit(&self, requests: &mut [Request]) -> Result<SegmentId, JournalError> {
        // Planted: [`Bug::AckBeforeFsync`]. The flush of a group follows with the next one.
        let flushes_late = self.0.options.bugs.has(Bug::AckBeforeFsync);
        if flushes_late {
            self.flush().await?;
        }
        let payloads = requests.iter().flat_map(|request| &request.payloads);
        let size: u64 = payloads.map(|payload| (RECORD_HEADER_BYTES + payload.len()) as u64).sum();
        let fits = {
            let active = &self.0.state.borrow().active;
            active.tail.position() + size <= active.capacity
        };
        if !fits {
            self.begin_segment(size).await?;
        }
        let (id, file, (offset, buffer)) = {
            let active = &mut self.0.state.borrow_mut().active;
            for request in requests {
                for payload in &request.payloads {
                    active.tail.push(request.stream, |buffer| buffer.extend_from_slice(payload));
                }
            }
            assert!(active.tail.position() <= active.capacity, "a group fits into its segment");
            (active.id, active.file.clone(), active.tail.take())
        };
        let bytes = buffer.len() as u64;
        assert_eq!(bytes, size, "a group is written as it was measured");
        let (written, buffer) = file.write_at(offset, buffer).await;
        written?;
        {
            let active = &mut self.0.state.borrow_mut().active;
            assert_eq!(active.tail.position(), offset + bytes, "only its leader writes to a segment");
            active.tail.recycle(buffer);
        }
        self.count(|stats| stats.bytes += bytes);
        if !flushes_late {
            self.flush().await?;
        }
        Ok(id)
    }

    /// Makes what was written to the active segment durable.
    async fn flush(&self) -> Result<(), JournalError> {
        let (file, position, flushed) = {
            let active = &self.0.state.borrow().active;
            assert_eq!(active.tail.buffered(), 0, "a flush follows its write");
            (active.file.clone(), active.tail.position(), active.flushed)
        };
        assert!(flushed <= position, "a flush covers only what was written before it");
        if position == flushed {
            return Ok(());
        }
        let mut synced = file.sync_data().await;
        if self.0.options.bugs.has(Bug::SyncRetriedAfterFailure) && synced.is_err() {
            synced = file.sync_data().await;
        }
        synced?;
        let active = &mut self.0.state.borrow_mut().active;
        active.tail.set_durable(position);
        active.flushed = position;
        self.count(|stats| stats.flushes += 1);
        Ok(())
    }

    /// Seals the active segment, whose records are all durable, and begins the next one.
    async fn begin_segment(&self, group_bytes: u64) -> Result<(), JournalError> {
        let (id, end) = {
            let active = &self.0.state.borrow().active;
            assert_eq!(active.flushed, active.tail.position(), "a sealed segment is durable to its end");
            (active.id.next(), active.tail.position())
        };
        let end = u32::try_from(end).expect("a segment is below 4 GiB");
        let capacity = self.0.options.segment_bytes.max(HEADER_BYTES as u64 + group_bytes);
        let active = Active::create(&self.0.fs, &self.0.dir, id, capacity, end).await?;
        assert!(active.tail.position() + group_bytes <= capacity, "a fresh segment has room for the group");
        self.0.state.borrow_mut().active = active;
        self.count(|stats| {
            stats.segments += 1;
            stats.bytes += HEADER_BYTES as u64;
        });
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut super::JournalStats)) {
        let mut stats = self.0.stats.get();
        change(&mut stats);
        self.0.stats.set(stats);
    }
}

impl<F: Fs> State<F> {
    fn release_lead(&mut self) {
        assert!(self.led, "a commit is ended by the one who leads it");
        self.led = false;
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Keeps the emptied vectors of a group for the next one, unless one is forming already.
    fn give_back(&mut self, requests: Vec<Request>, slots: Vec<Rc<Slot>>) {
        if self.requests.is_empty() && self.requests.capacity() < requests.capacity() {
            self.requests = requests;
        }
        if self.slots.is_empty() && self.slots.capacity() < slots.capacity() {
            self.slots = slots;
        }
    }
}

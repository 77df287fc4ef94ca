//! An arm over rotating platters, as in DiskSim 4: Lee's seek curve, the angle under the head, and the
//! drive's own cache.
//!
//! One job at a time is under the arm, and takes seek + rotation + transfer. The angle follows from
//! simulated time, so nothing is drawn: a synced append waits for one turn because the place that it
//! wants has just gone by. With its cache on, a write is done once it is there; a flush writes all that
//! is there, upward from where the arm stands, and then a block of the file system's journal if it
//! must write metadata.

use std::collections::BTreeMap;

use contract::Time;

use super::device::{Access, Pace};
use crate::config::{Arm, Schedule};
use crate::latency::nanos;
use crate::slab::Ticket;

/// What a command takes before the arm moves, in nanoseconds (an assumption). Without it a write could
/// follow the one before it into the next sector, in no time at all.
const COMMAND: u64 = 20_000;

/// What waits for the arm, or is under it.
#[derive(Clone, Copy, Debug)]
struct Job {
    access: Access,
    place: u64,
    bytes: u64,
    /// Beside the mechanics, in nanoseconds.
    extra: u64,
    slow_permille: u64,
    tie: u32,
    ticket: Ticket,
}

#[derive(Debug)]
pub(crate) struct ArmState {
    arm: Arm,
    seek: [f64; 3],
    cylinder: u64,
    current: Option<Ticket>,
    /// As they came; those behind the first `depth` wait outside.
    waiting: Vec<Job>,
    depth: usize,
    /// What the cache holds: from byte to byte.
    dirty: BTreeMap<u64, u64>,
    dirty_bytes: u64,
}

impl ArmState {
    /// `depth`: among how many requests the arm chooses.
    pub(crate) fn new(arm: Arm, depth: usize) -> Self {
        let [min, mean, max] = [arm.seek_min, arm.seek_mean, arm.seek_max].map(|time| nanos(time) as f64);
        let n = f64::from(arm.cylinders);
        let a = (-10.0 * min + 15.0 * mean - 5.0 * max) / (3.0 * libm::sqrt(n));
        let b = (7.0 * min - 15.0 * mean + 8.0 * max) / (3.0 * n);
        Self {
            arm,
            seek: [a, b, min],
            cylinder: 0,
            current: None,
            waiting: Vec::new(),
            depth,
            dirty: BTreeMap::new(),
            dirty_bytes: 0,
        }
    }

    /// How many bytes the disk has.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.arm.cylinders) * self.cylinder_bytes()
    }

    fn cylinder_bytes(&self) -> u64 {
        self.arm.tracks * self.arm.track_bytes
    }

    /// Whether the cache takes a write at once.
    pub(crate) fn caches(&mut self, place: u64, bytes: u64) -> bool {
        let fits = self.dirty_bytes + bytes <= self.arm.cache_bytes;
        if fits {
            self.remember(place, bytes);
        }
        fits
    }

    /// Adjacent and overlapping pieces become one.
    fn remember(&mut self, place: u64, bytes: u64) {
        let (mut from, mut to) = (place, place + bytes);
        while let Some((&start, &end)) = self.dirty.range(..=to).next_back().filter(|(_, end)| **end >= from)
        {
            self.dirty.remove(&start);
            self.dirty_bytes -= end - start;
            (from, to) = (from.min(start), to.max(end));
        }
        self.dirty.insert(from, to);
        self.dirty_bytes += to - from;
    }

    /// Queues a job for a request. Returns when that will be done, if it is under the arm at once.
    pub(crate) fn submit(
        &mut self,
        now: Time,
        (access, place, bytes): (Access, u64, u64),
        (extra, slow_permille, tie): (u64, u64, u32),
        ticket: Ticket,
    ) -> Option<Time> {
        self.waiting.push(Job { access, place, bytes, extra, slow_permille, tie, ticket });
        if self.current.is_some() {
            return None;
        }
        self.start(now).map(|(_, done, _)| done)
    }

    /// A request is done. If the arm had worked for it, what it works for next, until when.
    pub(crate) fn finished(&mut self, now: Time, ticket: Ticket) -> Option<(Ticket, Time, u32)> {
        if self.current != Some(ticket) {
            return None;
        }
        self.current = None;
        self.start(now)
    }

    fn start(&mut self, now: Time) -> Option<(Ticket, Time, u32)> {
        if self.waiting.is_empty() {
            return None;
        }
        let here = self.cylinder * self.cylinder_bytes();
        let next = match self.arm.schedule {
            Schedule::Fifo => 0,
            // Upward from here, and then from the lowest; of equals the first that came.
            Schedule::Elevator => {
                let rank = |at: &usize| (self.waiting[*at].place < here, self.waiting[*at].place, *at);
                (0..self.waiting.len().min(self.depth)).min_by_key(rank).expect("something waits")
            }
        };
        let job = self.waiting.remove(next);
        let done = self.work(now.0 + COMMAND, &job);
        let took = (done - now.0 + job.extra) * job.slow_permille / 1000;
        self.current = Some(job.ticket);
        Some((job.ticket, Time(now.0 + took.max(1)), job.tie))
    }

    fn work(&mut self, now: u64, job: &Job) -> u64 {
        match job.access {
            Access::Read => self.reach(now, job.place, job.bytes),
            Access::Write if self.arm.cache_bytes == 0 => self.reach(now, job.place, job.bytes),
            // The cache was full: it is emptied first.
            Access::Write => {
                let done = self.destage(now);
                self.remember(job.place, job.bytes);
                done
            }
            Access::Flush => self.destage(now),
            Access::FlushMetadata => {
                let done = self.destage(now);
                self.reach(done, 0, 4096)
            }
        }
    }

    fn destage(&mut self, now: u64) -> u64 {
        let here = self.cylinder * self.cylinder_bytes();
        let dirty = std::mem::take(&mut self.dirty);
        self.dirty_bytes = 0;
        let pieces = dirty.range(here..).chain(dirty.range(..here));
        pieces.fold(now, |now, (from, to)| self.reach(now, *from, to - from))
    }

    /// Seek, rotation and transfer of one piece: when it is done.
    fn reach(&mut self, now: u64, place: u64, bytes: u64) -> u64 {
        let cylinder = place / self.cylinder_bytes();
        let arrived = now + self.seek_time(self.cylinder.abs_diff(cylinder));
        let turn = nanos(self.arm.turn);
        let of_turn =
            |bytes: u64| (u128::from(bytes) * u128::from(turn) / u128::from(self.arm.track_bytes)) as u64;
        let angle = of_turn(place % self.arm.track_bytes);
        let rotation = (angle + turn - arrived % turn) % turn;
        self.cylinder = (place + bytes) / self.cylinder_bytes();
        arrived + rotation + of_turn(bytes)
    }

    fn seek_time(&self, cylinders: u64) -> u64 {
        if cylinders == 0 {
            return 0;
        }
        let x = (cylinders - 1) as f64;
        let [a, b, c] = self.seek;
        (a * libm::sqrt(x) + b * x + c) as u64
    }

    /// What waits takes longer, or less long. (What is under the arm is the kernel's.)
    pub(crate) fn changes_pace(&mut self, pace: Pace) {
        for job in &mut self.waiting {
            job.slow_permille = pace.stretch(job.slow_permille);
        }
    }

    pub(crate) fn power_loss(&mut self) {
        self.current = None;
        self.waiting.clear();
        self.dirty.clear();
        self.dirty_bytes = 0;
    }
}

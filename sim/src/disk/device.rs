//! The device: a first-come queue in front of parallel units.
//!
//! A request first crosses the bus, which all requests share (its bytes, one after the other), and
//! then occupies the unit that is free first for its drawn latency. With one request at a time it
//! takes transfer + latency; under load the throughput is min(queue depth, units) / latency (Little)
//! or the bandwidth, whichever is less.
//!
//! Flushes do not queue: one is under way, and all that come meanwhile share the next, as block layers
//! merge them. So N writers that each wait for their flush commit between N/2 and N times per flush.
//!
//! Flash adds a volatile cache that drains at a rate, and units that stall when they erase a block: a
//! request meets the stalled one with probability 1/units. Random writes are programmed several times, for
//! the blocks that they go to must be collected first: (1 + OP)/(2 OP) times on a drive that has been full
//! for long, with a share OP of spare room. The cells spend their time on that too, and erase as much more. A volume admits operations and bytes at a
//! rate. An arm serves one request at a time: see [`arm`](super::arm). All have spells of 100 ms in which
//! they are at least twice as slow: whether, and by how much (Pareto, with index 2), is a function of
//! the device and the spell alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use contract::Time;

use super::arm::ArmState;
use crate::config::{DiskConfig, Flash, Mechanics, Submission, Volume};
use crate::latency::{Sampler, nanos};
use crate::rng::{philox, unit, wide};
use crate::slab::Ticket;

/// A spell, in nanoseconds.
const SPELL: u64 = 100_000_000;
/// What a volume's buckets hold: as much as comes in this time, in nanoseconds.
const BUCKET: u64 = 100_000_000;

/// What the device is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Flush,
    FlushMetadata,
}

/// When a request will be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    At(Time, u32),
    /// It depends on the arm: see [`Device::queue_for_arm`].
    Arm(ForArm),
}

/// A request that the arm must serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForArm {
    job: (Access, u64, u64),
    cost: (u64, u64, u32),
}

#[derive(Debug)]
enum Machine {
    Units,
    Arm(ArmState),
    Flash(FlashState),
    Volume { volume: Volume, operations_free: u64, bytes_free: u64 },
}

/// How many files a drive's blocks are filled from at once.
const STREAMS: usize = 8;

#[derive(Debug)]
struct FlashState {
    flash: Flash,
    /// What the cache held, and when, in bytes and nanoseconds.
    cached: u64,
    cached_at: u64,
    /// What that makes to be programmed, in bytes.
    backlog: u64,
    /// Where the latest writes ended; the oldest is replaced.
    ends: [u64; STREAMS],
    oldest_end: usize,
    until_reclaim: u64,
    reclaims_until: u64,
}

/// A device becomes slower or faster: in thousandths of its own time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) now: Time,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Pace {
    /// Something that takes time.
    pub(crate) fn stretch(self, nanos: u64) -> u64 {
        (u128::from(nanos) * u128::from(self.to) / u128::from(self.from)) as u64
    }

    /// A moment, if it has not passed, up to which the device works.
    pub(crate) fn of(self, time: Time) -> Time {
        time.0.checked_sub(self.now.0).map_or(time, |left| Time(self.now.0 + self.stretch(left)))
    }
}

/// The flush that was begun or planned last.
#[derive(Clone, Copy, Debug, Default)]
struct FlushLine {
    start: u64,
    done: u64,
}

#[derive(Debug)]
pub(crate) struct Device {
    submitter: Submitter,
    /// In the order of [`Access`].
    latency: [Sampler; 4],
    transfer_ps_per_byte: u64,
    parallel: usize,
    /// When each unit that was ever busy is free.
    units: BinaryHeap<Reverse<u64>>,
    bus_free: u64,
    flushes: [FlushLine; 2],
    machine: Machine,
    key: u64,
    /// Requests so far. Goes on over crashes, so that no draw comes twice.
    requests: u64,
    spell_key: u64,
    slow_ppm: u32,
    /// The spell that was looked at last, and how slow it is, in thousandths.
    spell: (u64, u64),
}

impl Device {
    pub(crate) fn new(config: &DiskConfig, key: u64, spell_key: u64) -> Self {
        assert!(config.parallel > 0, "a disk without units never answers");
        let torn_unit = config.torn_unit;
        assert!(
            torn_unit.is_power_of_two() && torn_unit <= 4096,
            "no device writes {torn_unit} bytes at once"
        );
        let latency = [config.read, config.write, config.flush, config.flush_metadata].map(Sampler::new);
        let depth = match config.submission {
            Submission::Ring { depth, .. } => depth.into(),
            Submission::Blocking { .. } => usize::MAX,
        };
        let mut parallel = usize::from(config.parallel);
        let machine = match config.mechanics {
            Mechanics::Units => Machine::Units,
            Mechanics::Arm(arm) => Machine::Arm(ArmState::new(arm, depth)),
            Mechanics::Flash(flash) => {
                parallel = parallel.min(flash.queue_depth.into());
                Machine::Flash(FlashState::new(flash))
            }
            Mechanics::Volume(volume) => Machine::Volume { volume, operations_free: 0, bytes_free: 0 },
        };
        Self {
            submitter: Submitter::new(config.submission),
            latency,
            transfer_ps_per_byte: config.transfer_ps_per_byte,
            parallel,
            units: BinaryHeap::new(),
            bus_free: 0,
            flushes: [FlushLine::default(); 2],
            machine,
            key,
            requests: 0,
            spell_key,
            slow_ppm: config.slow_ppm,
            spell: (u64::MAX, 1000),
        }
    }

    /// How many bytes there are to lie on, if it matters where.
    pub(crate) fn capacity(&self) -> Option<u64> {
        match &self.machine {
            Machine::Arm(arm) => Some(arm.capacity()),
            _ => None,
        }
    }

    /// How slow the present spell is, in thousandths.
    fn slowness(&mut self, now: Time) -> u64 {
        let spell = now.0 / SPELL;
        if self.slow_ppm > 0 && self.spell.0 != spell {
            let draw = philox(self.spell_key, 0, spell);
            let slow = u64::from(draw[0]) * 1_000_000 < u64::from(self.slow_ppm) << 32;
            let times = if slow { 2.0 / libm::sqrt(unit(wide(draw[1], draw[2]))) } else { 1.0 };
            self.spell = (spell, (times.min(100.0) * 1000.0) as u64);
        }
        self.spell.1
    }

    /// Queues a request for bytes at a place: when it will be done, and the tie-break of that event.
    /// `slow_permille` is what a fault makes of its time.
    pub(crate) fn submit(
        &mut self,
        now: Time,
        access: Access,
        (place, bytes): (u64, usize),
        slow_permille: u64,
    ) -> Due {
        let draw = philox(self.key, 0, self.requests);
        self.requests += 1;
        let slow = self.slowness(now) * slow_permille / 1000;
        let latency = self.latency[access as usize].sample(wide(draw[1], draw[2])) * slow / 1000;
        let transfer = (bytes as u64).saturating_mul(self.transfer_ps_per_byte) / 1000;
        let issued = self.submitter.issue(now.0);
        if let Machine::Arm(arm) = &mut self.machine
            && !(access == Access::Write && arm.caches(place, bytes as u64))
        {
            let extra = if access == Access::Write { 0 } else { latency } + (issued - now.0);
            return Due::Arm(ForArm { job: (access, place, bytes as u64), cost: (extra, slow, draw[3]) });
        }
        let done = match access {
            _ if latency == 0
                && transfer == 0
                && self.units.is_empty()
                && matches!(self.machine, Machine::Units) =>
            {
                issued
            }
            Access::Flush | Access::FlushMetadata => self.flush(issued, access, latency),
            Access::Read | Access::Write => {
                let start = self.admit(issued, access, (place, bytes as u64), draw[0]);
                self.occupy(start, transfer, latency)
            }
        };
        self.submitter.completes(done);
        Due::At(Time(done), draw[3])
    }

    /// A request crosses the bus and takes a unit: when it is done.
    fn occupy(&mut self, mut start: u64, transfer: u64, latency: u64) -> u64 {
        if transfer > 0 {
            self.bus_free = self.bus_free.max(start) + transfer;
            start = self.bus_free;
        }
        if let Some(Reverse(free)) = self.units.peek().copied()
            && (free <= start || self.units.len() == self.parallel)
        {
            self.units.pop();
            start = start.max(free);
        }
        let done = start + latency;
        self.units.push(Reverse(done));
        done
    }

    /// Joins the flush that has not begun, or plans one.
    fn flush(&mut self, now: u64, access: Access, latency: u64) -> u64 {
        let line = &mut self.flushes[usize::from(access == Access::FlushMetadata)];
        if line.start <= now {
            let start = line.done.max(now);
            *line = FlushLine { start, done: start + latency };
        }
        line.done
    }

    /// When a read or write may begin.
    fn admit(&mut self, now: u64, access: Access, (place, bytes): (u64, u64), word: u32) -> u64 {
        let units = self.parallel as u64;
        match &mut self.machine {
            Machine::Units | Machine::Arm(_) => now,
            Machine::Flash(state) => {
                state.admit(now, access, (place, bytes), (u64::from(word) * units) >> 32 == 0)
            }
            Machine::Volume { volume, operations_free, bytes_free } => {
                let operations = bytes.div_ceil(volume.unit_bytes).max(1);
                let admit = |free: &mut u64, amount: u64, per_second: u64| {
                    let earliest = (*free).max(now.saturating_sub(BUCKET));
                    *free = earliest + (u128::from(amount) * 1_000_000_000 / u128::from(per_second)) as u64;
                    now.max(*free)
                };
                let by_operations = admit(operations_free, operations, volume.iops);
                by_operations.max(admit(bytes_free, bytes, volume.bytes_per_second))
            }
        }
    }

    /// Gives the arm a request that [`Device::submit`] returned. When it will be done, if that is known.
    pub(crate) fn queue_for_arm(&mut self, now: Time, job: ForArm, ticket: Ticket) -> Option<(Time, u32)> {
        let Machine::Arm(arm) = &mut self.machine else { unreachable!("no arm was asked for") };
        arm.submit(now, job.job, job.cost, ticket).map(|done| (done, job.cost.2))
    }

    /// A request is done. What the arm does next, until when.
    pub(crate) fn finished(&mut self, now: Time, ticket: Ticket) -> Option<(Ticket, Time, u32)> {
        match &mut self.machine {
            Machine::Arm(arm) => arm.finished(now, ticket),
            _ => None,
        }
    }

    /// What is under way, or queued, takes longer from now on, or less long.
    pub(crate) fn changes_pace(&mut self, pace: Pace) {
        let of_heap = |times: &mut BinaryHeap<Reverse<u64>>| {
            *times = times.drain().map(|Reverse(time)| Reverse(pace.of(Time(time)).0)).collect();
        };
        of_heap(&mut self.units);
        of_heap(&mut self.submitter.under_way);
        let lines = self.flushes.iter_mut().flat_map(|line| [&mut line.start, &mut line.done]);
        for time in lines.chain([&mut self.bus_free]) {
            *time = pace.of(Time(*time)).0;
        }
        if let Machine::Arm(arm) = &mut self.machine {
            arm.changes_pace(pace);
        }
    }

    /// Forgets what was queued.
    pub(crate) fn power_loss(&mut self) {
        self.submitter = Submitter::new(self.submitter.submission);
        self.units.clear();
        self.bus_free = 0;
        self.flushes = [FlushLine::default(); 2];
        match &mut self.machine {
            Machine::Arm(arm) => arm.power_loss(),
            Machine::Flash(state) => {
                (state.cached, state.backlog, state.reclaims_until) = (0, 0, 0);
            }
            Machine::Units | Machine::Volume { .. } => {}
        }
    }
}

/// How requests reach the device.
#[derive(Debug)]
struct Submitter {
    submission: Submission,
    /// When a ring takes the next request.
    free: u64,
    /// When what is under way in a ring is done.
    under_way: BinaryHeap<Reverse<u64>>,
}

impl Submitter {
    fn new(submission: Submission) -> Self {
        assert!(
            !matches!(submission, Submission::Ring { depth: 0, .. }),
            "a ring without places takes nothing"
        );
        Self { submission, free: 0, under_way: BinaryHeap::new() }
    }

    /// When the device gets a request that is made now.
    fn issue(&mut self, now: u64) -> u64 {
        match self.submission {
            Submission::Blocking { syscall } => now + nanos(syscall),
            Submission::Ring { syscall, depth } => {
                self.free = self.free.max(now) + nanos(syscall);
                let mut start = self.free;
                while self.under_way.len() >= depth.into() {
                    let Reverse(done) = self.under_way.pop().expect("a ring has places");
                    start = start.max(done);
                }
                start
            }
        }
    }

    fn completes(&mut self, done: u64) {
        if matches!(self.submission, Submission::Ring { .. }) {
            self.under_way.push(Reverse(done));
        }
    }
}

impl FlashState {
    fn new(flash: Flash) -> Self {
        Self {
            flash,
            cached: 0,
            cached_at: 0,
            backlog: 0,
            ends: [u64::MAX; STREAMS],
            oldest_end: 0,
            until_reclaim: flash.block_bytes,
            reclaims_until: 0,
        }
    }

    /// How many bytes a write makes to be programmed.
    fn programmed(&mut self, place: u64, bytes: u64) -> u64 {
        let end = place + bytes;
        if let Some(stream) = self.ends.iter_mut().find(|end| **end == place) {
            *stream = end;
            return bytes;
        }
        self.ends[self.oldest_end] = end;
        self.oldest_end = (self.oldest_end + 1) % STREAMS;
        bytes * self.flash.amplification_permille() / 1000
    }

    /// `meets`: the request is for the unit that reclaims a block, if one does.
    fn admit(&mut self, now: u64, access: Access, (place, bytes): (u64, u64), meets: bool) -> u64 {
        let mut start = now;
        if access == Access::Write {
            let programmed = self.programmed(place, bytes);
            start = self.cache(now, bytes, programmed);
            self.reclaim(start, programmed);
        }
        // A cached write meets no unit: only what must reach the cells does.
        if meets && (access == Access::Read || self.flash.cache_bytes == 0) {
            start = start.max(self.reclaims_until);
        }
        start
    }

    /// When the cache has room for a write.
    fn cache(&mut self, now: u64, bytes: u64, programmed: u64) -> u64 {
        if self.flash.cache_bytes == 0 || self.flash.drain_bytes_per_second == 0 {
            return now;
        }
        let rate = u128::from(self.flash.drain_bytes_per_second);
        let share =
            |whole: u64, part: u64, of: u64| (u128::from(whole) * u128::from(part) / u128::from(of)) as u64;
        let at = now.max(self.cached_at);
        let drained = (u128::from(at - self.cached_at) * rate / 1_000_000_000) as u64;
        if drained < self.backlog {
            self.cached -= share(self.cached, drained, self.backlog);
            self.backlog -= drained;
        } else {
            (self.cached, self.backlog) = (0, 0);
        }
        (self.cached, self.backlog) = (self.cached + bytes, self.backlog + programmed);
        let excess = self.cached.saturating_sub(self.flash.cache_bytes);
        let wait = if excess == 0 { 0 } else { share(self.backlog, excess, self.cached) };
        self.cached_at = at + (u128::from(wait) * 1_000_000_000 / rate) as u64;
        (self.cached, self.backlog) = (self.cached - excess, self.backlog - wait);
        self.cached_at
    }

    /// As much as was programmed must be erased.
    fn reclaim(&mut self, now: u64, programmed: u64) {
        if self.flash.block_bytes == 0 {
            return;
        }
        if programmed < self.until_reclaim {
            self.until_reclaim -= programmed;
            return;
        }
        let erasures = 1 + (programmed - self.until_reclaim) / self.flash.block_bytes;
        self.until_reclaim += erasures * self.flash.block_bytes - programmed;
        self.reclaims_until = self.reclaims_until.max(now) + erasures * nanos(self.flash.reclaim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Latency, disk_profile};
    use std::time::Duration;

    fn device(parallel: u16, transfer_ps_per_byte: u64) -> Device {
        let latency = Latency::Constant(Duration::from_nanos(100));
        let ideal = disk_profile("ideal").expect("a known profile");
        let (read, write, flush, flush_metadata) = (latency, latency, latency, latency);
        let config =
            DiskConfig { read, write, flush, flush_metadata, transfer_ps_per_byte, parallel, ..ideal };
        Device::new(&config, 1, 2)
    }

    fn done(device: &mut Device, now: u64, access: Access, bytes: usize) -> u64 {
        match device.submit(Time(now), access, (0, bytes), 1000) {
            Due::At(Time(done), _) => done,
            Due::Arm(_) => unreachable!("there is no arm"),
        }
    }

    #[test]
    fn throughput_is_units_by_latency() {
        for parallel in [1, 4, 32] {
            let mut device = device(parallel, 0);
            let last = (0..6400).map(|_| done(&mut device, 7, Access::Write, 4096)).max();
            assert_eq!(last, Some(7 + 100 * 6400 / u64::from(parallel)));
        }
    }

    #[test]
    fn the_bus_is_shared() {
        let mut device = device(1000, 1000);
        let times: Vec<u64> = (0..3).map(|_| done(&mut device, 0, Access::Read, 4096)).collect();
        assert_eq!(times, [4196, 8292, 12388]);
        assert_eq!(done(&mut device, 5, Access::Flush, 0), 105, "a flush carries no bytes");
    }

    #[test]
    fn flushes_that_wait_share_the_next() {
        let mut device = device(4, 0);
        let times = [0, 10, 99, 100, 150].map(|now| done(&mut device, now, Access::Flush, 0));
        assert_eq!(times, [100, 200, 200, 300, 300], "the second began at 100");
    }

    /// A full cache takes writes as fast as the cells do; a unit that reclaims keeps reads waiting.
    #[test]
    fn flash_drains_and_reclaims() {
        let mut device = device(4, 0);
        let flash = Flash {
            queue_depth: 64,
            cache_bytes: 8192,
            drain_bytes_per_second: 1_000_000_000,
            block_bytes: 4096,
            reclaim: Duration::from_micros(50),
            over_provisioning_permille: 0,
        };
        device.machine = Machine::Flash(FlashState::new(flash));
        let times: Vec<u64> = (0..4).map(|_| done(&mut device, 0, Access::Write, 4096)).collect();
        assert_eq!(times, [100, 100, 4196, 8292]);
        let reads: Vec<u64> = (0..64).map(|_| done(&mut device, 20_000, Access::Read, 4096)).collect();
        assert!(reads.contains(&20_100) && reads.iter().any(|done| *done > 200_000), "{reads:?}");
    }

    /// The cells of a full drive spend (1 + OP)/(2 OP) programs on a byte written at random, and one on a
    /// byte that goes on where another ended.
    #[test]
    fn random_writes_are_amplified() {
        let seconds = |over_provisioning_permille, stride: u64| {
            let mut device = device(4, 0);
            let flash = Flash {
                queue_depth: 64,
                cache_bytes: 8192,
                drain_bytes_per_second: 4_096_000,
                block_bytes: 0,
                reclaim: Duration::ZERO,
                over_provisioning_permille,
            };
            device.machine = Machine::Flash(FlashState::new(flash));
            let mut last = 0;
            for number in 0..10_000_u64 {
                let place = (number * stride % 10_000, 4096);
                let Due::At(Time(done), _) =
                    device.submit(Time(last), Access::Write, (place.0 * 4096, place.1), 1000)
                else {
                    unreachable!("there is no arm")
                };
                last = done;
            }
            last as f64 / 1e9
        };
        let once = seconds(0, 7);
        assert!((once - 10.0).abs() < 0.01, "{once}");
        for (op, amplification) in [(70, 7.64), (280, 2.29)] {
            let measured = seconds(op, 7) / once;
            assert!((measured - amplification).abs() < 0.02, "{op}: {measured}");
            assert!((seconds(op, 1) - once).abs() < 0.01, "appends are programmed once");
        }
    }

    /// A ring keeps so many requests under way, and they are done out of order.
    #[test]
    fn a_ring_has_places() {
        let latency = Latency::Uniform { min: Duration::from_micros(50), max: Duration::from_micros(150) };
        let submission = Submission::Ring { syscall: Duration::from_nanos(200), depth: 8 };
        let ideal = disk_profile("ideal").expect("a known profile");
        let mut device = Device::new(&DiskConfig { write: latency, submission, ..ideal }, 1, 2);
        let times: Vec<u64> = (0..8000).map(|_| done(&mut device, 0, Access::Write, 4096)).collect();
        assert!(!times.is_sorted(), "completions come in the order of requests");
        let last = times.iter().max().expect("there are some");
        assert!((98_000_000..104_000_000).contains(last), "{last} ns for 1000 rounds of 8 at 100 us");
        let submission = Submission::Blocking { syscall: Duration::from_micros(1) };
        let mut device = Device::new(&DiskConfig { submission, ..ideal }, 1, 2);
        assert_eq!([7, 7, 9].map(|now| done(&mut device, now, Access::Write, 1)), [1007, 1007, 1009]);
    }
}

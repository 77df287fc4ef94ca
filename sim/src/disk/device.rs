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
//! Flash adds a volatile cache that drains at a rate, and units that stall when they reclaim a block:
//! a request meets the stalled one with probability 1/units. A volume admits operations and bytes at a
//! rate. An arm serves one request at a time: see [`arm`](super::arm). All have spells of 100 ms in which
//! they are at least twice as slow: whether, and by how much (Pareto, with index 2), is a function of
//! the device and the spell alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use contract::Time;

use super::arm::ArmState;
use crate::config::{DiskConfig, Flash, Mechanics, Volume};
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

#[derive(Debug)]
struct FlashState {
    flash: Flash,
    /// What the cache held, and when, in bytes and nanoseconds.
    cached: u64,
    cached_at: u64,
    until_reclaim: u64,
    reclaims_until: u64,
}

/// The flush that was begun or planned last.
#[derive(Clone, Copy, Debug, Default)]
struct FlushLine {
    start: u64,
    done: u64,
}

#[derive(Debug)]
pub(crate) struct Device {
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
        let mut parallel = usize::from(config.parallel);
        let machine = match config.mechanics {
            Mechanics::Units => Machine::Units,
            Mechanics::Arm(arm) => Machine::Arm(ArmState::new(arm)),
            Mechanics::Flash(flash) => {
                parallel = parallel.min(flash.queue_depth.into());
                let (cached, cached_at, reclaims_until) = (0, 0, 0);
                let until_reclaim = flash.block_bytes;
                Machine::Flash(FlashState { flash, cached, cached_at, until_reclaim, reclaims_until })
            }
            Mechanics::Volume(volume) => Machine::Volume { volume, operations_free: 0, bytes_free: 0 },
        };
        Self {
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
        if let Machine::Arm(arm) = &mut self.machine
            && !(access == Access::Write && arm.caches(place, bytes as u64))
        {
            let extra = if access == Access::Write { 0 } else { latency };
            return Due::Arm(ForArm { job: (access, place, bytes as u64), cost: (extra, slow, draw[3]) });
        }
        if latency == 0 && transfer == 0 && self.units.is_empty() && matches!(self.machine, Machine::Units) {
            return Due::At(now, draw[3]);
        }
        if matches!(access, Access::Flush | Access::FlushMetadata) {
            return Due::At(Time(self.flush(now.0, access, latency)), draw[3]);
        }
        let mut start = self.admit(now.0, access, bytes as u64, draw[0]);
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
        Due::At(Time(done), draw[3])
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
    fn admit(&mut self, now: u64, access: Access, bytes: u64, word: u32) -> u64 {
        let units = self.parallel as u64;
        match &mut self.machine {
            Machine::Units | Machine::Arm(_) => now,
            Machine::Flash(state) => state.admit(now, access, bytes, (u64::from(word) * units) >> 32 == 0),
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

    /// Forgets what was queued.
    pub(crate) fn power_loss(&mut self) {
        self.units.clear();
        self.bus_free = 0;
        self.flushes = [FlushLine::default(); 2];
        match &mut self.machine {
            Machine::Arm(arm) => arm.power_loss(),
            Machine::Flash(state) => (state.cached, state.reclaims_until) = (0, 0),
            Machine::Units | Machine::Volume { .. } => {}
        }
    }
}

impl FlashState {
    /// `meets`: the request is for the unit that reclaims a block, if one does.
    fn admit(&mut self, now: u64, access: Access, bytes: u64, meets: bool) -> u64 {
        let mut start = now;
        if access == Access::Write {
            start = self.cache(now, bytes);
            self.reclaim(start, bytes);
        }
        // A cached write meets no unit: only what must reach the cells does.
        if meets && (access == Access::Read || self.flash.cache_bytes == 0) {
            start = start.max(self.reclaims_until);
        }
        start
    }

    /// When the cache has room for a write.
    fn cache(&mut self, now: u64, bytes: u64) -> u64 {
        if self.flash.cache_bytes == 0 || self.flash.drain_bytes_per_second == 0 {
            return now;
        }
        let rate = u128::from(self.flash.drain_bytes_per_second);
        let at = now.max(self.cached_at);
        let drained = (u128::from(at - self.cached_at) * rate / 1_000_000_000) as u64;
        let cached = self.cached.saturating_sub(drained) + bytes;
        let excess = cached.saturating_sub(self.flash.cache_bytes);
        let start = at + (u128::from(excess) * 1_000_000_000 / rate) as u64;
        (self.cached, self.cached_at) = (cached - excess, start);
        start
    }

    fn reclaim(&mut self, now: u64, bytes: u64) {
        if self.flash.block_bytes == 0 {
            return;
        }
        if bytes < self.until_reclaim {
            self.until_reclaim -= bytes;
            return;
        }
        self.until_reclaim = self.flash.block_bytes;
        self.reclaims_until = self.reclaims_until.max(now) + nanos(self.flash.reclaim);
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
        };
        device.machine = Machine::Flash(FlashState {
            flash,
            cached: 0,
            cached_at: 0,
            until_reclaim: 4096,
            reclaims_until: 0,
        });
        let times: Vec<u64> = (0..4).map(|_| done(&mut device, 0, Access::Write, 4096)).collect();
        assert_eq!(times, [100, 100, 4196, 8292]);
        let reads: Vec<u64> = (0..64).map(|_| done(&mut device, 20_000, Access::Read, 4096)).collect();
        assert!(reads.contains(&20_100) && reads.iter().any(|done| *done > 200_000), "{reads:?}");
    }
}

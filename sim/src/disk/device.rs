//! The device: a first-come queue in front of parallel units.
//!
//! A request first crosses the bus, which all requests share (its bytes, one after the other), and
//! then occupies the unit that is free first for its drawn latency. With one request at a time it
//! takes transfer + latency; under load the throughput is min(queue depth, units) / latency (Little)
//! or the bandwidth, whichever is less.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use contract::Time;

use crate::config::DiskConfig;
use crate::latency::Sampler;
use crate::rng::{philox, wide};

/// What the device is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Flush,
    FlushMetadata,
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
    key: u64,
    /// Requests so far. Goes on over crashes, so that no draw comes twice.
    requests: u64,
}

impl Device {
    pub(crate) fn new(config: &DiskConfig, key: u64) -> Self {
        assert!(config.parallel > 0, "a disk without units never answers");
        let latency = [config.read, config.write, config.flush, config.flush_metadata].map(Sampler::new);
        Self {
            latency,
            transfer_ps_per_byte: config.transfer_ps_per_byte,
            parallel: usize::from(config.parallel),
            units: BinaryHeap::new(),
            bus_free: 0,
            key,
            requests: 0,
        }
    }

    /// Queues a request: when it will be done, and the tie-break of that event.
    pub(crate) fn submit(&mut self, now: Time, access: Access, bytes: usize) -> (Time, u32) {
        let draw = philox(self.key, 0, self.requests);
        self.requests += 1;
        let latency = self.latency[access as usize].sample(wide(draw[1], draw[2]));
        let transfer = (bytes as u64).saturating_mul(self.transfer_ps_per_byte) / 1000;
        if latency == 0 && transfer == 0 && self.units.is_empty() {
            return (now, draw[3]);
        }
        let mut start = now.0;
        if transfer > 0 {
            self.bus_free = self.bus_free.max(now.0) + transfer;
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
        (Time(done), draw[3])
    }

    /// Forgets what was queued.
    pub(crate) fn power_loss(&mut self) {
        self.units.clear();
        self.bus_free = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Latency;
    use std::time::Duration;

    fn device(parallel: u16, transfer_ps_per_byte: u64) -> Device {
        let latency = Latency::Constant(Duration::from_nanos(100));
        let config = DiskConfig {
            read: latency,
            write: latency,
            flush: latency,
            flush_metadata: latency,
            transfer_ps_per_byte,
            parallel,
        };
        Device::new(&config, 1)
    }

    #[test]
    fn throughput_is_units_by_latency() {
        for parallel in [1, 4, 32] {
            let mut device = device(parallel, 0);
            let last = (0..6400).map(|_| device.submit(Time(7), Access::Write, 4096).0).max();
            assert_eq!(last, Some(Time(7 + 100 * 6400 / u64::from(parallel))));
        }
    }

    #[test]
    fn the_bus_is_shared() {
        let mut device = device(1000, 1000);
        let done: Vec<u64> = (0..3).map(|_| device.submit(Time(0), Access::Read, 4096).0.0).collect();
        assert_eq!(done, [4196, 8292, 12388]);
        assert_eq!(device.submit(Time(5), Access::Flush, 0).0, Time(105), "a flush carries no bytes");
    }
}

//! How one message gets over one link that does more than lose and delay.

use contract::Time;

use super::disturb::Disturbance;
use super::{Draws, of_2_32};
use crate::config::{Bandwidth, Latency, NetConfig};
use crate::latency::{Sampler, nanos};
use crate::rng::{Keys, Purpose, philox, up_to, wide};

/// What becomes of a message. The numbers are part of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives = 0,
    Cut = 1,
    Lost = 2,
    Corrupt = 3,
    /// The queue before the link was full.
    Overflow = 5,
}

/// What the network does to one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) fate: Fate,
    /// In nanoseconds.
    pub(crate) latency: u64,
    pub(crate) tie: u32,
    /// Latency and tie-break of a second copy.
    pub(crate) copy: Option<(u64, u32)>,
}

/// The limits of a transmitter.
#[derive(Clone, Copy, Debug)]
struct Transmitter {
    ps_per_byte: u64,
    /// The longest wait before the queue overflows, in nanoseconds.
    wait_most: u64,
}

impl From<Bandwidth> for Transmitter {
    fn from(bandwidth: Bandwidth) -> Self {
        assert!(bandwidth.bytes_per_second > 0, "a link without bandwidth is a cut link");
        let ps_per_byte = 1_000_000_000_000 / bandwidth.bytes_per_second;
        let wait = u128::from(bandwidth.queue_bytes) * u128::from(ps_per_byte) / 1000;
        Self { ps_per_byte, wait_most: u64::try_from(wait).unwrap_or(u64::MAX) }
    }
}

/// What a link does, in the units of draws.
#[derive(Debug)]
struct Rules {
    latency: Sampler,
    loss: u64,
    duplicate: u64,
    corrupt: u64,
    reorder: u64,
    reorder_by: u64,
    transmitter: Option<Transmitter>,
    /// Length in slots, share of bad ones, loss in bad ones, slowdown.
    weather: Option<(u64, u64, u64, f64)>,
    latency_permille: u64,
    latency_extra: u64,
}

/// A link that does more than lose and delay.
#[derive(Debug)]
pub(crate) struct Special {
    /// Of the world's disturbances, which the rules are made from. Starts at none.
    pub(crate) version: u32,
    rules: Rules,
    pub(crate) stream: Draws,
    key: u64,
    weather_key: u64,
    /// When the transmitter is free.
    free: u64,
}

impl Special {
    pub(crate) fn new(keys: &Keys, entity: u64) -> Self {
        let plain = NetConfig::with_latency(Latency::Constant(std::time::Duration::ZERO));
        Self {
            version: u32::MAX,
            rules: Rules::new(&plain),
            stream: Draws { key: keys.key(Purpose::STREAM, entity), slot: 0, ordinal: 0 },
            key: keys.key(Purpose::LINK_MORE, entity),
            weather_key: keys.key(Purpose::WEATHER, entity),
            free: 0,
        }
    }

    /// Makes the link obey a configuration, and what disturbs it.
    pub(crate) fn rule<'a>(&mut self, base: &NetConfig, disturbances: impl Iterator<Item = &'a Disturbance>) {
        self.rules = Rules::new(base);
        for disturbance in disturbances {
            self.rules.disturb(disturbance);
        }
    }

    fn is_bad(&self, slot: u64) -> bool {
        self.rules
            .weather
            .is_some_and(|(slots, bad, ..)| u64::from(philox(self.weather_key, slot / slots, 0)[0]) < bad)
    }

    /// The passage of a message that begins now. `draw` is what any link draws for it.
    pub(crate) fn pass(
        &mut self,
        now: Time,
        bytes: usize,
        draw: [u32; 4],
        (slot, ordinal): (u64, u64),
    ) -> Passage {
        let wait = self.transmit(now, bytes);
        let is_bad = self.is_bad(slot);
        let rules = &self.rules;
        let a = philox(self.key, slot, ordinal << 1);
        let b = philox(self.key, slot, ordinal << 1 | 1);
        let below = |word: u32, share: u64| u64::from(word) < share;
        let (weather_loss, slowdown) =
            rules.weather.map_or((0, 1.0), |(.., loss, slowdown)| (loss, slowdown));
        let latency = |bits: u64| {
            let mut latency = rules.latency.sample(bits);
            if is_bad {
                latency = (latency as f64 * slowdown) as u64;
            }
            latency.saturating_mul(rules.latency_permille) / 1000 + rules.latency_extra
        };
        let fate = match wait {
            None => Fate::Overflow,
            Some(_) if below(draw[0], rules.loss) || is_bad && below(a[3], weather_loss) => Fate::Lost,
            Some(_) if below(a[1], rules.corrupt) => Fate::Corrupt,
            Some(_) => Fate::Arrives,
        };
        let wait = wait.unwrap_or(0);
        let held_up = if below(a[2], rules.reorder) { up_to(rules.reorder_by, wide(b[0], a[3])) } else { 0 };
        let copy = below(a[0], rules.duplicate).then(|| (wait + latency(wide(b[1], b[2])), b[3]));
        Passage { fate, latency: wait + held_up + latency(wide(draw[1], draw[2])), tie: draw[3], copy }
    }

    /// Puts a message before the transmitter: how long until it has left, unless the queue is full.
    fn transmit(&mut self, now: Time, bytes: usize) -> Option<u64> {
        let Some(transmitter) = self.rules.transmitter else { return Some(0) };
        let start = self.free.max(now.0);
        if start - now.0 > transmitter.wait_most {
            return None;
        }
        self.free = start + bytes as u64 * transmitter.ps_per_byte / 1000;
        Some(self.free - now.0)
    }

    pub(crate) fn queued_bytes(&self, now: Time) -> u64 {
        let wait = u128::from(self.free.saturating_sub(now.0));
        self.rules
            .transmitter
            .map_or(0, |transmitter| (wait * 1000 / u128::from(transmitter.ps_per_byte)) as u64)
    }
}

impl Rules {
    fn new(net: &NetConfig) -> Self {
        let weather = net.weather.map(|weather| {
            let slots = (nanos(weather.spell) / super::SLOT).max(1);
            (slots, of_2_32(weather.bad), of_2_32(weather.loss), weather.slowdown)
        });
        Self {
            latency: Sampler::new(net.latency),
            loss: of_2_32(net.loss),
            duplicate: of_2_32(net.duplicate),
            corrupt: of_2_32(net.corrupt),
            reorder: of_2_32(net.reorder),
            reorder_by: nanos(net.reorder_by),
            transmitter: net.bandwidth.map(Transmitter::from),
            weather,
            latency_permille: 1000,
            latency_extra: 0,
        }
    }

    fn disturb(&mut self, disturbance: &Disturbance) {
        let add = |share: &mut u64, ppm: u32| {
            *share = (*share + (u64::from(ppm) << 32) / 1_000_000).min(1 << 32);
        };
        add(&mut self.loss, disturbance.loss_ppm);
        add(&mut self.duplicate, disturbance.duplicate_ppm);
        add(&mut self.corrupt, disturbance.corrupt_ppm);
        add(&mut self.reorder, disturbance.reorder_ppm);
        self.reorder_by = self.reorder_by.max(disturbance.reorder_by);
        if disturbance.latency_permille > 0 {
            self.latency_permille = self.latency_permille * u64::from(disturbance.latency_permille) / 1000;
        }
        self.latency_extra += disturbance.latency_extra;
        if let Some(narrow) = disturbance.bandwidth.map(Transmitter::from) {
            let wider = self.transmitter.filter(|own| own.ps_per_byte >= narrow.ps_per_byte);
            self.transmitter = Some(wider.unwrap_or(narrow));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weather;
    use contract::Seed;
    use std::time::Duration;

    /// Over all links, spells are bad in their share.
    #[test]
    fn bad_spells_have_their_share() {
        let mut bad = Vec::new();
        for entity in 0..100 {
            let mut special = Special::new(&Keys::new(Seed(5)), 1 << 32 | entity);
            let weather = Weather { spell: Duration::from_millis(100), bad: 0.2, loss: 0.0, slowdown: 10.0 };
            let net = NetConfig {
                weather: Some(weather),
                ..NetConfig::with_latency(Latency::Constant(Duration::ZERO))
            };
            special.rule(&net, std::iter::empty());
            bad.push((0..200).filter(|spell| special.is_bad(spell * 100)).count());
        }
        let sum: usize = bad.iter().sum();
        assert!(sum.abs_diff(4000) < 200, "{sum}: {bad:?}");
    }
}

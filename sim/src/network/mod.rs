//! The network: directed links, each of which loses, delays, repeats or damages messages on its own,
//! so that they overtake each other.
//!
//! The fate of a message is one Philox block keyed by its link, at (1 ms slot of simulated time,
//! ordinal within the slot): word 0 decides on loss, words 1 and 2 on latency, word 3 breaks ties.
//! It is drawn whether or not a partition cuts the link, so a partition shifts no later draw. What a
//! link does beyond that is drawn from two more blocks under a second key of the link at the same
//! position (`A`: duplication, damage, reordering, loss by weather; `B`: by how much it is reordered,
//! and the copy's latency), so that switching one thing on leaves all else as it was. A link's weather
//! is a third key's, at (spell). A stream draws in the same way under keys of its own.

pub(crate) mod blocks;
pub(crate) mod disturb;
mod passage;
pub(crate) mod stream;

use contract::{Address, Time};

use self::blocks::Blocks;
use self::disturb::{Disturbance, DisturbanceId};
use self::passage::Special;
pub(crate) use self::passage::{Fate, Passage};
use crate::config::{LinkRule, Links, NetConfig};
use crate::latency::Sampler;
use crate::rng::{Keys, Purpose, philox, wide};

pub use self::blocks::PartitionId;

/// The length of a slot, in nanoseconds.
pub(crate) const SLOT: u64 = 1_000_000;

/// A position in the draws of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Draws {
    /// 0: not known yet.
    key: u64,
    slot: u64,
    ordinal: u64,
}

impl Draws {
    #[inline]
    pub(crate) fn next(&mut self, now: Time) -> (u64, u64, [u32; 4]) {
        let slot = now.0 / SLOT;
        if self.slot != slot {
            (self.slot, self.ordinal) = (slot, 0);
        }
        let ordinal = self.ordinal;
        self.ordinal += 1;
        (slot, ordinal, philox(self.key, slot, ordinal))
    }
}

#[derive(Debug, Default)]
struct Link {
    datagrams: Draws,
    /// What the link does beyond losing and delaying; only where some link does.
    special: Option<Box<Special>>,
}

#[derive(Debug)]
pub(crate) struct Network {
    config: NetConfig,
    latency: Sampler,
    /// Word 0 of a draw below this: lost.
    loss_below: u64,
    /// No link does anything beyond losing and delaying, all in the same way.
    plain: bool,
    keys: Keys,
    addresses: Vec<Address>,
    rules: Vec<LinkRule>,
    /// By sender and receiver; a row reaches as far as its sender's messages went.
    links: Vec<Vec<Link>>,
    pub(crate) blocks: Blocks,
    disturbances: Vec<(DisturbanceId, Links, Disturbance)>,
    disturbances_made: u32,
}

/// A share of 2^32.
pub(crate) fn of_2_32(share: f64) -> u64 {
    assert!((0.0..=1.0).contains(&share), "a share of {share}");
    (share * 4_294_967_296.0) as u64
}

/// An endpoint's number, which does not depend on how many others there are.
pub(crate) fn code(address: Address) -> u64 {
    match address {
        Address::Node(node) => u64::from(node.0),
        Address::Client(client) => 1 << 16 | u64::from(client.0),
    }
}

impl Network {
    pub(crate) fn new(config: &NetConfig, rules: &[LinkRule], keys: Keys, addresses: Vec<Address>) -> Self {
        let nodes = addresses.iter().filter(|address| matches!(address, Address::Node(_))).count();
        let mut network = Self {
            config: *config,
            latency: Sampler::new(config.latency),
            loss_below: of_2_32(config.loss),
            plain: true,
            keys,
            rules: rules.to_vec(),
            links: Vec::new(),
            blocks: Blocks::new(nodes),
            disturbances: Vec::new(),
            disturbances_made: 0,
            addresses,
        };
        network.links.resize_with(network.addresses.len(), Vec::new);
        network.find_plain();
        network
    }

    fn find_plain(&mut self) {
        let NetConfig { latency, loss, .. } = self.config;
        let basic = NetConfig { loss, ..NetConfig::with_latency(latency) };
        self.plain = self.config == basic && self.rules.is_empty() && self.disturbances.is_empty();
    }

    /// Draws the passage of a message.
    #[inline]
    pub(crate) fn draw(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Passage {
        if self.links[from].len() <= to || self.links[from][to].datagrams.key == 0 {
            self.meet(from, to);
        }
        let link = &mut self.links[from][to];
        let (slot, ordinal, draw) = link.datagrams.next(now);
        if self.plain {
            return Passage {
                fate: if u64::from(draw[0]) < self.loss_below { Fate::Lost } else { Fate::Arrives },
                latency: self.latency.sample(wide(draw[1], draw[2])),
                tie: draw[3],
                copy: None,
            };
        }
        let special = self.special(from, to);
        special.pass(now, bytes, draw, (slot, ordinal))
    }

    /// Draws the passage of one attempt of a stream to get a message across.
    pub(crate) fn draw_stream(&mut self, now: Time, from: usize, to: usize, bytes: usize) -> Passage {
        let special = self.special(from, to);
        let (slot, ordinal, draw) = special.stream.next(now);
        Passage { copy: None, ..special.pass(now, bytes, draw, (slot, 1 << 62 | ordinal)) }
    }

    /// The first message over a link.
    #[cold]
    fn meet(&mut self, from: usize, to: usize) {
        let entity = self.entity(from, to);
        let row = &mut self.links[from];
        if row.len() <= to {
            row.resize_with(to + 1, Link::default);
        }
        // The key of a link that was not met is 0: one in 2^64 links is met twice, to no harm.
        row[to].datagrams.key = self.keys.key(Purpose::LINK, entity);
    }

    fn entity(&self, from: usize, to: usize) -> u64 {
        code(self.addresses[from]) << 32 | code(self.addresses[to])
    }

    fn special(&mut self, from: usize, to: usize) -> &mut Special {
        if self.links[from].len() <= to {
            self.meet(from, to);
        }
        let (entity, ends) = (self.entity(from, to), (self.addresses[from], self.addresses[to]));
        let special = &mut self.links[from][to].special;
        let special = special.get_or_insert_with(|| Box::new(Special::new(&self.keys, entity)));
        if special.version != self.disturbances_made {
            let rule = self.rules.iter().rfind(|rule| rule.links.covers(ends.0, ends.1));
            let base = rule.map_or(&self.config, |rule| &rule.net);
            let disturbances = self.disturbances.iter().filter(|(_, links, _)| links.covers(ends.0, ends.1));
            special.rule(base, disturbances.map(|(_, _, disturbance)| disturbance));
            special.version = self.disturbances_made;
        }
        special
    }

    /// Makes links worse.
    pub(crate) fn disturb(&mut self, links: Links, disturbance: Disturbance) -> DisturbanceId {
        self.disturbances_made += 1;
        let id = DisturbanceId(self.disturbances_made);
        self.disturbances.push((id, links, disturbance));
        self.find_plain();
        id
    }

    /// Takes back what [`Network::disturb`] did.
    pub(crate) fn calm(&mut self, id: DisturbanceId) {
        self.disturbances_made += 1;
        self.disturbances.retain(|(other, ..)| *other != id);
        self.find_plain();
    }

    /// How many bytes wait for a link, whose bandwidth is limited.
    pub(crate) fn queued_bytes(&mut self, now: Time, from: usize, to: usize) -> u64 {
        self.special(from, to).queued_bytes(now)
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

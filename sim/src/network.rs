//! The network: datagrams over directed links, each lost or delayed on its own, so that they
//! overtake each other; and partitions.
//!
//! The fate of a message is one Philox block keyed by its link, at (1 ms slot of simulated time,
//! ordinal within the slot): word 0 decides on loss, words 1 and 2 on latency, word 3 breaks ties.
//! It is drawn whether or not a partition cuts the link, so a partition shifts no later draw.

use contract::{NodeId, Time};

use crate::config::{Groups, NetConfig};
use crate::latency::Sampler;
use crate::rng::{Keys, Purpose, philox, wide};

/// The length of a slot, in nanoseconds.
const SLOT: u64 = 1_000_000;

/// A partition that is in force. Returned by [`World::partition`](crate::World::partition).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionId(u64);

/// What the network does to one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) lost: bool,
    /// In nanoseconds.
    pub(crate) latency: u64,
    pub(crate) tie: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    key: u64,
    slot: u64,
    ordinal: u64,
}

#[derive(Debug)]
pub(crate) struct Network {
    latency: Sampler,
    /// Word 0 of a draw below this: lost.
    loss_below: u64,
    keys: Keys,
    nodes: usize,
    /// By sender and receiver; a row reaches as far as its sender's messages went.
    links: Vec<Vec<Option<Link>>>,
    partitions: Vec<(PartitionId, Groups)>,
    partitions_made: u64,
    /// By sender * nodes + receiver: how many partitions cut the link. Empty: none does.
    cuts: Vec<u16>,
}

impl Network {
    pub(crate) fn new(config: &NetConfig, keys: Keys, nodes: usize, endpoints: usize) -> Self {
        assert!((0.0..=1.0).contains(&config.loss), "a share of {} lost messages", config.loss);
        Self {
            latency: Sampler::new(config.latency),
            loss_below: (config.loss * 4_294_967_296.0) as u64,
            keys,
            nodes,
            links: vec![Vec::new(); endpoints],
            partitions: Vec::new(),
            partitions_made: 0,
            cuts: Vec::new(),
        }
    }

    /// Draws the passage of a message. `code` gives an endpoint's stable number by its index.
    #[inline]
    pub(crate) fn draw(&mut self, now: Time, from: usize, to: usize, code: impl Fn(usize) -> u64) -> Passage {
        let row = &mut self.links[from];
        if row.len() <= to {
            row.resize(to + 1, None);
        }
        let slot = now.0 / SLOT;
        let link = row[to].get_or_insert_with(|| {
            let key = self.keys.key(Purpose::LINK, code(from) << 32 | code(to));
            Link { key, slot, ordinal: 0 }
        });
        if link.slot != slot {
            (link.slot, link.ordinal) = (slot, 0);
        }
        let draw = philox(link.key, slot, link.ordinal);
        link.ordinal += 1;
        Passage {
            lost: u64::from(draw[0]) < self.loss_below,
            latency: self.latency.sample(wide(draw[1], draw[2])),
            tie: draw[3],
        }
    }

    /// Whether a partition cuts the link. Nodes have the lower indices, and clients are never cut.
    #[inline]
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        !self.cuts.is_empty() && from < self.nodes && to < self.nodes && self.cuts[from * self.nodes + to] > 0
    }

    pub(crate) fn partition(&mut self, groups: &Groups) -> PartitionId {
        let mut members: Vec<NodeId> = groups.iter().flatten().copied().collect();
        members.sort_unstable();
        let twice = members.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "a node is in two groups of a partition: {twice:?}");
        self.partitions_made += 1;
        let partition = PartitionId(self.partitions_made);
        self.partitions.push((partition, groups.clone()));
        self.find_cuts();
        partition
    }

    pub(crate) fn heal(&mut self, partition: PartitionId) {
        let at = self.partitions.iter().position(|(id, _)| *id == partition);
        self.partitions.remove(at.expect("a partition heals once"));
        self.find_cuts();
    }

    fn find_cuts(&mut self) {
        self.cuts.clear();
        if self.partitions.is_empty() {
            return;
        }
        self.cuts.resize(self.nodes * self.nodes, 0);
        for (_, groups) in &self.partitions {
            let members = |(number, group): (usize, &Vec<NodeId>)| {
                group.iter().map(move |node| (number, node.slot())).collect::<Vec<_>>()
            };
            let members: Vec<_> = groups.iter().enumerate().flat_map(members).collect();
            for (group, from) in &members {
                for (_, to) in members.iter().filter(|(other, _)| other != group) {
                    self.cuts[from * self.nodes + to] += 1;
                }
            }
        }
    }
}

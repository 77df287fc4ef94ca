//! What stands in the way of messages: partitions, which drop them, and clogs, which hold them.

use contract::{Address, NodeId};
use serde::{Deserialize, Serialize};

use crate::config::Links;
use crate::slab::Ticket;

/// A partition or a clog that is in force. Returned by
/// [`World::partition`](crate::World::partition).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionId(u64);

/// What a blocked link does with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocking {
    /// What is sent is lost, and so is what was under way.
    #[default]
    Drop,
    /// What is sent is lost; what was under way waits, and arrives afterwards.
    HoldInFlight,
    /// A clog: what is sent and what was under way waits, and arrives afterwards.
    Hold,
}

/// How many blocks treat a link in which way.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    lost_when_sent: u16,
    lost_on_arrival: u16,
    held: u16,
}

/// A message, or a stream's segment, that a clog holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) is_stream: bool,
    pub(crate) ticket: Ticket,
}

#[derive(Debug)]
pub(crate) struct Blocks {
    nodes: usize,
    in_force: Vec<(PartitionId, Vec<Links>, Blocking)>,
    made: u64,
    /// By sender * `width` + receiver. Empty: nothing is blocked.
    counts: Vec<Counts>,
    /// How many endpoints the table covers: the nodes, or all.
    width: usize,
    parked: Vec<Parked>,
}

impl Blocks {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, in_force: Vec::new(), made: 0, counts: Vec::new(), width: 0, parked: Vec::new() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn counts(&self, from: usize, to: usize) -> Counts {
        let covered = from < self.width && to < self.width;
        if covered { self.counts[from * self.width + to] } else { Counts::default() }
    }

    /// Whether what is sent over the link now is lost.
    #[inline]
    pub(crate) fn loses_sent(&self, from: usize, to: usize) -> bool {
        !self.counts.is_empty() && self.counts(from, to).lost_when_sent > 0
    }

    /// Whether what arrives over the link now is lost.
    #[inline]
    pub(crate) fn loses_arriving(&self, from: usize, to: usize) -> bool {
        !self.counts.is_empty() && self.counts(from, to).lost_on_arrival > 0
    }

    /// Keeps what arrives over a clogged link. Whether it was.
    pub(crate) fn park(&mut self, parked: Parked) -> bool {
        let Counts { lost_on_arrival, held, .. } = self.counts(parked.from as usize, parked.to as usize);
        let clogged = held > 0 && lost_on_arrival == 0;
        if clogged {
            self.parked.push(parked);
        }
        clogged
    }

    /// Puts a block in the way.
    pub(crate) fn add(
        &mut self,
        links: Vec<Links>,
        blocking: Blocking,
        addresses: &[Address],
    ) -> PartitionId {
        self.made += 1;
        let id = PartitionId(self.made);
        self.in_force.push((id, links, blocking));
        self.count(addresses);
        id
    }

    /// Takes a block away. Returns what it alone held, in the order of arrival.
    pub(crate) fn remove(&mut self, id: PartitionId, addresses: &[Address]) -> Vec<Parked> {
        let at = self.in_force.iter().position(|(other, ..)| *other == id);
        self.in_force.remove(at.expect("a partition heals once"));
        self.count(addresses);
        let parked = std::mem::take(&mut self.parked);
        let is_held = |parked: &Parked| self.counts(parked.from as usize, parked.to as usize).held > 0;
        let (held, free) = parked.into_iter().partition(is_held);
        self.parked = held;
        free
    }

    fn count(&mut self, addresses: &[Address]) {
        self.counts.clear();
        self.width = 0;
        if self.in_force.is_empty() {
            return;
        }
        let is_node = |address: &Address| matches!(address, Address::Node(_));
        let among_nodes = |list: &[Address]| !list.is_empty() && list.iter().all(is_node);
        let links = || self.in_force.iter().flat_map(|(_, links, _)| links);
        let nodes_only = links().all(|links| among_nodes(&links.from) && among_nodes(&links.to));
        self.width = if nodes_only { self.nodes } else { addresses.len() };
        self.counts.resize(self.width * self.width, Counts::default());
        let everyone: Vec<usize> = (0..self.width).collect();
        let index = |address: &Address| match address {
            Address::Node(node) => node.slot(),
            Address::Client(client) => self.nodes + client.slot(),
        };
        let indices = |list: &[Address]| {
            if list.is_empty() { everyone.clone() } else { list.iter().map(index).collect() }
        };
        for (_, links, blocking) in &self.in_force {
            // A link that several parts of one block name is blocked once: counts are per block.
            let mut own = std::collections::BTreeSet::new();
            for links in links {
                let (from, to) = (indices(&links.from), indices(&links.to));
                for (a, b) in
                    from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b)
                {
                    own.insert(a * self.width + b);
                    if links.both_ways {
                        own.insert(b * self.width + a);
                    }
                }
            }
            for place in own {
                let counts = &mut self.counts[place];
                counts.lost_when_sent += u16::from(*blocking != Blocking::Hold);
                counts.lost_on_arrival += u16::from(*blocking == Blocking::Drop);
                counts.held += u16::from(*blocking != Blocking::Drop);
            }
        }
    }
}

/// The links that a partition into groups cuts.
///
/// # Panics
/// If a node is in two groups.
pub(crate) fn between(groups: &[Vec<NodeId>]) -> Vec<Links> {
    let mut members: Vec<NodeId> = groups.iter().flatten().copied().collect();
    members.sort_unstable();
    let twice = members.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "a node is in two groups of a partition: {twice:?}");
    Links::between_groups(groups)
}

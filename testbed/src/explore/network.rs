//! What is under way between nodes.
//!
//! *Datagrams* are a multiset: any of them may arrive next. None is ever lost, for a lost message is one
//! that never arrives: with it still under way all that is possible without it is possible too. A
//! message to a node that is down is one that arrives after its restart, or never.
//!
//! *Streams* are a queue per direction. A connection begins with the first message and ends when it
//! breaks or one of its sides crashes; a notice of the end stands behind what was sent before. The
//! notice may overtake that, which is then lost. Who sends before it had the notice sends in vain.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use contract::{Channel, NodeId};

/// A value that is shared and hashed once. What a state holds is hashed anew for each of its successors
/// otherwise.
#[derive(Clone, Debug)]
pub(super) struct Printed<T> {
    pub(super) value: Arc<T>,
    pub(super) print: u64,
}

/// A hash that is the same in every run.
pub(super) fn print(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<T: Hash> Printed<T> {
    pub(super) fn new(value: T) -> Self {
        let print = print(&value);
        Self { value: Arc::new(value), print }
    }
}

impl<T: Clone + PartialEq + Hash> Printed<T> {
    /// Changes the value.
    pub(super) fn change<A>(&mut self, change: impl FnOnce(&mut T) -> A) -> A {
        let mut value = T::clone(&self.value);
        let answer = change(&mut value);
        if value != *self.value {
            *self = Self::new(value);
        }
        answer
    }
}

impl<T> Hash for Printed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
    }
}

impl<T: PartialEq> PartialEq for Printed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print && (Arc::ptr_eq(&self.value, &other.value) || self.value == other.value)
    }
}

impl<T: Eq> Eq for Printed<T> {}

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Packet<M> {
    Message(Printed<M>),
    /// The connection is no more.
    End,
}

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight<M> {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) packet: Packet<M>,
}

/// All that is on its way: links in order, and on each link the packets in the order of their arrival
/// or, of datagrams, in their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network<M> {
    flights: Vec<Flight<M>>,
    /// Connections, each by its lower node first.
    open: BTreeSet<(NodeId, NodeId)>,
}

impl<M> Default for Network<M> {
    fn default() -> Self {
        Self { flights: Vec::new(), open: BTreeSet::new() }
    }
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl<M: Ord> Network<M> {
    pub(super) fn send(&mut self, channel: Channel, from: NodeId, to: NodeId, message: Printed<M>) {
        let place = match channel {
            Channel::Datagram => self.flights.partition_point(|flight| {
                let content = match &flight.packet {
                    Packet::Message(other) => &other.value,
                    Packet::End => unreachable!("datagrams have no connections"),
                };
                (flight.from, flight.to, content) < (from, to, &message.value)
            }),
            Channel::Stream if self.end_on(to, from).is_some() => return,
            Channel::Stream => {
                self.open.insert(pair(from, to));
                self.behind(from, to)
            }
        };
        self.flights.insert(place, Flight { from, to, packet: Packet::Message(message) });
    }
}

impl<M> Network<M> {
    pub(super) fn flights(&self) -> &[Flight<M>] {
        &self.flights
    }

    /// The connections.
    pub(super) fn open(&self) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        self.open.iter().copied()
    }

    /// The places of what may arrive next, of equal datagrams one.
    pub(super) fn next(&self, channel: Channel) -> impl Iterator<Item = usize> + '_
    where
        M: PartialEq,
    {
        (0..self.flights.len()).filter(move |place| {
            let Some(before) = place.checked_sub(1).map(|before| &self.flights[before]) else { return true };
            let flight = &self.flights[*place];
            match channel {
                Channel::Datagram => before != flight,
                Channel::Stream => (before.from, before.to) != (flight.from, flight.to),
            }
        })
    }

    /// Takes out what arrives.
    pub(super) fn take(&mut self, place: usize) {
        self.flights.remove(place);
    }

    /// The links on which a notice of the end could overtake what was sent before.
    pub(super) fn impatient(&self) -> Vec<(NodeId, NodeId)> {
        let ends = (1..self.flights.len()).filter(|place| {
            let (before, flight) = (&self.flights[place - 1], &self.flights[*place]);
            let is_first = self.end_on(flight.from, flight.to) == Some(*place);
            is_first && (before.from, before.to) == (flight.from, flight.to)
        });
        ends.map(|place| (self.flights[place].from, self.flights[place].to)).collect()
    }

    /// The notice of the end overtakes what was sent before, which is lost.
    pub(super) fn overtake(&mut self, from: NodeId, to: NodeId) {
        let end = self.end_on(from, to).expect("a connection has ended");
        let start = self.flights.partition_point(|flight| (flight.from, flight.to) < (from, to));
        self.flights.drain(start..=end);
    }

    /// A connection breaks.
    pub(super) fn disconnect(&mut self, one: NodeId, other: NodeId) {
        assert!(self.open.remove(&pair(one, other)), "only what is open breaks");
        self.end(one, other);
        self.end(other, one);
    }

    /// A node closes its connection to a peer, who will learn of it: nothing of it reaches the node.
    pub(super) fn close(&mut self, node: NodeId, peer: NodeId) {
        self.flights.retain(|flight| (flight.from, flight.to) != (peer, node));
        if self.open.remove(&pair(node, peer)) {
            self.end(node, peer);
        }
    }

    /// A node crashes: nothing reaches it any more, and its peers will learn of it.
    pub(super) fn crash(&mut self, channel: Channel, node: NodeId) {
        if channel == Channel::Datagram {
            return;
        }
        self.flights.retain(|flight| flight.to != node);
        let (ended, open) = self.open.iter().partition(|(one, other)| *one == node || *other == node);
        self.open = open;
        let ended: BTreeSet<(NodeId, NodeId)> = ended;
        for (one, other) in ended {
            self.end(node, if one == node { other } else { one });
        }
    }

    fn end(&mut self, from: NodeId, to: NodeId) {
        let place = self.behind(from, to);
        self.flights.insert(place, Flight { from, to, packet: Packet::End });
    }

    fn behind(&self, from: NodeId, to: NodeId) -> usize {
        self.flights.partition_point(|flight| (flight.from, flight.to) <= (from, to))
    }

    /// The first notice of an end on a link.
    fn end_on(&self, from: NodeId, to: NodeId) -> Option<usize> {
        let ends = |flight: &Flight<M>| {
            (flight.from, flight.to) == (from, to) && matches!(flight.packet, Packet::End)
        };
        self.flights.iter().position(ends)
    }
}

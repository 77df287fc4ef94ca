//! Connections: what makes FIFO channels out of links that lose and reorder.
//!
//! A connection joins two endpoints, both ways, and has an epoch: a number that grows with each new
//! connection of the two over one of their streams. Each side knows the connection that it believes in. What arrives for an
//! older one is answered with a reset; what arrives for a newer one ends the older. Segments are
//! numbered; what comes early waits for what is missing, and tells the sender of it: after three it sends
//! that again at once, if it was lost (fast retransmit). Two sides that open at the same time share
//! one connection. *Not modelled:* windows, congestion control, acknowledgements (but for those that tell
//! of a gap), keep-alive: a side that only listens never notices that the other lost its power.

use std::collections::BTreeMap;

use contract::StreamId;

use crate::slab::Ticket;

#[derive(Debug, Default)]
pub(crate) struct Side {
    /// The connection that this side believes in; 0: none.
    pub(crate) epoch: u32,
    /// The newest that it ever took part in, or that an earlier incarnation of it may have.
    seen: u32,
    /// The newest of whose end its software is to be told, and up to which it knows.
    ended: u32,
    told: u32,
    sent: u64,
    received: u64,
    early: BTreeMap<u64, Ticket>,
    /// What it sent and was lost, and will be sent again.
    lost: BTreeMap<u64, Ticket>,
}

/// How many segments come early before the sender takes the one before them for lost (RFC 5681).
const DUPLICATE_ACKS: usize = 3;

#[derive(Debug, Default)]
struct Connection {
    /// Of the newest connection.
    epoch: u32,
    /// The endpoint with the lower index first.
    sides: [Side; 2],
}

/// From whom to whom, over which of their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) stream: StreamId,
}

impl Way {
    /// The other way over the same stream.
    pub(crate) fn back(self) -> Self {
        Self { from: self.to, to: self.from, stream: self.stream }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// By the endpoints, the lower index first, and the stream.
    by_pair: BTreeMap<(u32, u32, StreamId), Connection>,
}

/// What a side makes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it on; then the early one that follows, if there is one.
    Next(Option<Ticket>),
    /// It waits for those before it.
    Early,
    /// It belongs to a connection that is no more.
    Stale,
    /// The older connection of this epoch must end first.
    Supersedes(u32),
}

impl Connections {
    /// The side from which a way leads, and the other one.
    fn sides(&mut self, way: Way) -> (&mut u32, &mut Side, &mut Side) {
        let Way { from, to, stream } = way;
        let connection = self.by_pair.entry((from.min(to), from.max(to), stream)).or_default();
        let [low, high] = &mut connection.sides;
        let (own, peer) = if from < to { (low, high) } else { (high, low) };
        (&mut connection.epoch, own, peer)
    }

    /// The next segment of a side: its epoch and number, and whether it opens a connection. `None`: what its
    /// software writes to has ended, and it has not heard of that yet.
    pub(crate) fn send(&mut self, way: Way) -> Option<(u32, u64, bool)> {
        let (newest, own, peer) = self.sides(way);
        if own.is_untold() {
            return None;
        }
        let opens = own.epoch == 0;
        if opens {
            let joins = own.seen < *newest && peer.epoch == *newest;
            *newest += u32::from(!joins);
            own.open(*newest);
        }
        own.sent += 1;
        Some((own.epoch, own.sent, opens))
    }

    /// Whether a side still believes in a connection.
    pub(crate) fn believes(&mut self, way: Way, epoch: u32) -> bool {
        self.sides(way).1.epoch == epoch
    }

    /// A segment arrives.
    pub(crate) fn receive(&mut self, way: Way, (epoch, number): (u32, u64), ticket: Ticket) -> Verdict {
        let own = self.sides(way.back()).1;
        if own.epoch != epoch {
            if epoch <= own.seen {
                return Verdict::Stale;
            }
            if own.epoch != 0 {
                return Verdict::Supersedes(own.epoch);
            }
            own.open(epoch);
        }
        assert!(number > own.received, "segment {number} of epoch {epoch} arrived twice");
        if number > own.received + 1 {
            own.early.insert(number, ticket);
            return Verdict::Early;
        }
        own.received = number;
        Verdict::Next(own.early.get(&(number + 1)).copied())
    }

    /// A side's segment was lost.
    pub(crate) fn lose(&mut self, way: Way, number: u64, ticket: Ticket) {
        self.sides(way).1.lost.insert(number, ticket);
    }

    /// A side sends a lost segment again.
    pub(crate) fn resend(&mut self, way: Way, number: u64) {
        self.sides(way).1.lost.remove(&number);
    }

    /// What a sender learns from the segments that came early: which lost one is missing before them.
    pub(crate) fn missing(&mut self, way: Way) -> Option<Ticket> {
        let (_, receiver, sender) = self.sides(way.back());
        let tells = receiver.early.len() >= DUPLICATE_ACKS && receiver.epoch == sender.epoch;
        tells.then(|| sender.lost.remove(&(receiver.received + 1))).flatten()
    }

    /// An early segment's turn has come.
    pub(crate) fn no_longer_early(&mut self, way: Way, number: u64) {
        self.sides(way.back()).1.early.remove(&number);
    }

    /// The connection that a side's software gives up, if it has not ended without its knowledge: then what
    /// has come since, if anything, is another one, and the software need not be told.
    pub(crate) fn give_up(&mut self, way: Way) -> Option<u32> {
        let side = self.sides(way).1;
        if side.is_untold() {
            side.told = side.ended;
            return None;
        }
        Some(side.epoch).filter(|epoch| *epoch > 0)
    }

    /// A connection ends, and the side's software is yet to be told. Returns what waited there, unless the
    /// side did not believe in it.
    pub(crate) fn end(&mut self, way: Way, epoch: u32) -> Option<Vec<Ticket>> {
        let waited = self.close(way, epoch)?;
        self.sides(way).1.ended = epoch;
        Some(waited)
    }

    /// A side's software is told of an end. Whether that is news to it.
    pub(crate) fn tell(&mut self, way: Way, epoch: u32) -> bool {
        let side = self.sides(way).1;
        let is_news = epoch > side.told;
        side.told = epoch.max(side.told);
        is_news
    }

    /// A side gives up a connection. Returns what waited there, unless it did not believe in it.
    pub(crate) fn close(&mut self, way: Way, epoch: u32) -> Option<Vec<Ticket>> {
        let side = self.sides(way).1;
        (side.epoch == epoch && epoch > 0).then(|| side.close())
    }

    /// An endpoint is gone. Returns the ways over which it had connections, their epochs, and what
    /// waited.
    pub(crate) fn crash(&mut self, endpoint: u32) -> (Vec<(Way, u32)>, Vec<Ticket>) {
        let (mut peers, mut waited) = (Vec::new(), Vec::new());
        for ((low, high, stream), connection) in &mut self.by_pair {
            let (side, peer) = match endpoint {
                _ if endpoint == *low => (0, *high),
                _ if endpoint == *high => (1, *low),
                _ => continue,
            };
            let side = &mut connection.sides[side];
            if side.epoch > 0 {
                peers.push((Way { from: endpoint, to: peer, stream: *stream }, side.epoch));
            }
            waited.extend(side.close());
            (side.seen, side.told) = (connection.epoch, side.ended);
        }
        (peers, waited)
    }
}

impl Side {
    fn open(&mut self, epoch: u32) {
        assert!(epoch > self.seen, "epoch {epoch} is opened again after {}", self.seen);
        (self.epoch, self.seen, self.sent, self.received) = (epoch, epoch, 0, 0);
    }

    /// Whether a connection ended and the software does not know yet.
    fn is_untold(&self) -> bool {
        self.ended > self.told
    }

    fn close(&mut self) -> Vec<Ticket> {
        self.epoch = 0;
        self.lost.clear();
        std::mem::take(&mut self.early).into_values().collect()
    }
}

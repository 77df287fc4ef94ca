//! Streams: segments on their way over [connections](crate::network::stream).
//!
//! A segment that is lost is sent again after a while, which doubles with each attempt, or once later
//! segments tell of it, until its sender takes the connection for broken. Both sides are told of a broken connection by
//! [`Event::Disconnect`]: the side that gave up at once, the other when it next hears of it. A side that
//! breaks a connection itself knows, and is not told.

use std::hash::Hash;
use std::time::Duration;

use contract::{Address, StreamId, Time, WireSize};

use crate::digest::{Kind, content_hash};
use crate::gate::Pending;
use crate::kernel::{Incarnation, State};
use crate::latency::nanos;
use crate::network::blocks::Parked;
use crate::network::stream::{Verdict, Way};
use crate::network::{Fate, Passage};
use crate::queue::Topic;
use crate::slab::Ticket;
use crate::world::{Event, Inner};

/// What travels over connections.
pub(crate) struct Segment<M> {
    way: Way,
    epoch: u32,
    /// In its epoch, from 1; of news of an end: the incarnation that is told.
    number: u64,
    phase: Phase,
    bytes: usize,
    hash: u64,
    first_sent: Time,
    /// How long until it is sent again, if it is lost now.
    patience: Duration,
    /// `None`: this says that the connection is no more.
    message: Option<M>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Flying,
    /// It was lost, and is sent again when its event pops.
    Lost,
    /// It is its receiver's.
    Accepted,
}

impl<M: Hash + WireSize> Inner<M> {
    /// Sends a message over the stream to an endpoint, which is opened if it is not open.
    pub(crate) fn send_stream(&self, owner: Incarnation, to: Address, message: M) {
        let state = &mut *self.kernel.state.borrow_mut();
        if !state.is_alive(owner) {
            return;
        }
        let (from, to) = (owner.endpoint, state.index(to));
        assert!(from != to, "{} opens no stream to itself", state.address(from));
        let bytes = message.wire_size();
        state.stats.messages_sent += 1;
        state.stats.message_bytes_sent += bytes as u64;
        let hash = content_hash(&message);
        let way = Way { from, to, stream: message.stream() };
        let Some((epoch, number, opens)) = state.connections.send(way) else {
            state.stats.count_lost(Fate::Cut);
            state.digest.event(Kind::Unheard, [state.now.0, state.way(way), hash]);
            return state.trace(|state| {
                format!("segment {} > {} to a stream that has ended", state.address(from), state.address(to))
            });
        };
        let segment = Segment {
            way,
            epoch,
            number,
            phase: Phase::Flying,
            bytes,
            hash,
            first_sent: state.now,
            patience: state.streams.resend_after,
            message: Some(message),
        };
        let ticket = self.segments.borrow_mut().insert(segment);
        // Opening takes one turn there and back before the first segment may leave.
        let handshake = if opens { state.round_trip(from, to) } else { 0 };
        let computing = if state.gates.any() { state.gates.charge(from, state.now, bytes) } else { 0 };
        self.transmit(state, ticket, handshake + computing);
    }
}

impl<M> Inner<M> {
    /// One attempt to get a segment across.
    fn transmit(&self, state: &mut State, ticket: Ticket, delay: u64) {
        let segments = &mut *self.segments.borrow_mut();
        let segment = segments.get_mut(ticket).expect("a segment that is sent is there");
        let way @ Way { from, to, .. } = segment.way;
        let mut passage = state.network.draw_stream(state.now, from as usize, to as usize, segment.bytes);
        if state.network.blocks.loses_sent(from as usize, to as usize) {
            passage.fate = Fate::Cut;
        }
        let arrival = Time(state.now.0 + delay + passage.latency);
        let words = [state.now.0, state.way(way), segment.hash, passage.fate as u64, arrival.0];
        state.digest.event(Kind::Segment, words);
        let (epoch, number) = (segment.epoch, segment.number);
        state.trace(|state| {
            let (from, to) = (state.address(from), state.address(to));
            format!("segment {from} > {to} {epoch}#{number} {:?} {arrival}", passage.fate)
        });
        match passage.fate {
            Fate::Arrives => {
                segment.phase = Phase::Flying;
                state.queue.push(arrival, passage.tie, Topic::Stream, ticket);
            }
            fate => {
                state.stats.count_lost(fate);
                lost(state, segment, ticket);
            }
        }
    }

    /// An endpoint breaks its stream to another one, which is told by a reset: or, should that be lost,
    /// when it next sends something, or hears of a newer connection.
    pub(crate) fn close_stream(&self, owner: Incarnation, to: Address, stream: StreamId) {
        let state = &mut *self.kernel.state.borrow_mut();
        if !state.is_alive(owner) {
            return;
        }
        let (from, to) = (owner.endpoint, state.index(to));
        let way = Way { from, to, stream };
        let Some(epoch) = state.connections.give_up(way) else { return };
        let waited = state.connections.close(way, epoch).expect("the side believes in it");
        for ticket in waited {
            drop(self.segments.borrow_mut().remove(ticket));
        }
        state.digest.event(Kind::Close, [state.now.0, state.way(way), epoch.into()]);
        state.trace(|state| format!("close {} > {} {epoch}", state.address(from), state.address(to)));
        let passage = state.network.draw_stream(state.now, from as usize, to as usize, 0);
        self.reset_after(state, way, epoch, passage);
    }

    /// A segment's event popped.
    pub(crate) fn segment_pops(&self, ticket: Ticket, through: bool) -> Option<Event<M>> {
        let state = &mut *self.kernel.state.borrow_mut();
        let mut segments = self.segments.borrow_mut();
        let segment = segments.get_mut(ticket)?;
        let (way @ Way { from, to, .. }, epoch) = (segment.way, segment.epoch);
        let pair = (from as usize, to as usize);
        state.stats.events += 1;
        match segment.phase {
            Phase::Lost => {
                if !state.connections.believes(way, epoch) {
                    segments.remove(ticket);
                } else if state.now.since(segment.first_sent) >= state.streams.give_up_after {
                    segments.remove(ticket);
                    drop(segments);
                    self.ends(state, way.back(), epoch);
                } else {
                    state.stats.segments_resent += 1;
                    state.connections.resend(way, segment.number);
                    drop(segments);
                    self.transmit(state, ticket, 0);
                }
                return None;
            }
            Phase::Flying => {
                let parked = Parked { from, to, is_stream: true, ticket };
                if !state.network.blocks.is_empty() && state.network.blocks.park(parked) {
                    return None;
                }
                let cut = state.network.blocks.loses_arriving(pair.0, pair.1);
                let is_reset = segment.message.is_none();
                if cut || !state.is_powered(to) {
                    if is_reset {
                        segments.remove(ticket);
                    } else {
                        state.stats.count_lost(Fate::Cut);
                        lost(state, segment, ticket);
                    }
                    return None;
                }
                if is_reset {
                    segments.remove(ticket);
                    drop(segments);
                    self.ends(state, way, epoch);
                    return None;
                }
                let known = (epoch, segment.number);
                let verdict = match state.is_up(to) {
                    true => state.connections.receive(way, known, ticket),
                    false => Verdict::Stale,
                };
                match verdict {
                    Verdict::Next(follower) => {
                        segment.phase = Phase::Accepted;
                        if let Some(follower) = follower {
                            let number = segment.number + 1;
                            state.connections.no_longer_early(way, number);
                            state.queue.push(state.now, 0, Topic::Stream, follower);
                        }
                    }
                    Verdict::Early => {
                        drop(segments);
                        self.hasten(state, way);
                        return None;
                    }
                    Verdict::Stale => {
                        segments.remove(ticket);
                        drop(segments);
                        let passage = state.network.draw_stream(state.now, pair.1, pair.0, 0);
                        self.reset_after(state, way.back(), epoch, passage);
                        return None;
                    }
                    Verdict::Supersedes(old) => {
                        drop(segments);
                        self.ends(state, way, old);
                        state.queue.push(state.now, 1, Topic::Stream, ticket);
                        return None;
                    }
                }
            }
            Phase::Accepted => {}
        }
        if !through && state.gates.any() && state.gates.is_shut(to, state.now) {
            state.hold(to, Pending::Event(Topic::Stream, ticket));
            segment.phase = Phase::Accepted;
            return None;
        }
        let segment = segments.remove(ticket).expect("it was there a moment ago");
        drop(segments);
        self.take_in(state, segment)
    }

    /// What came early tells the sender which segment is missing. If that was lost, it is sent again as
    /// soon as the sender hears of it, and the loss is no sign that it should wait longer for the next.
    fn hasten(&self, state: &mut State, way: Way) {
        let Way { from, to, .. } = way;
        if state.network.blocks.loses_sent(to as usize, from as usize) {
            return;
        }
        let Some(ticket) = state.connections.missing(way) else { return };
        let mut segments = self.segments.borrow_mut();
        // Under a new ticket: its timer finds nothing.
        let mut segment = segments.remove(ticket).expect("what was lost is there to be sent again");
        segment.patience /= 2;
        let back = state.network.draw_stream(state.now, to as usize, from as usize, 0).latency;
        let ticket = segments.insert(segment);
        state.queue.push(Time(state.now.0 + back), 0, Topic::Stream, ticket);
    }

    /// A segment's receiver takes it in, if it still believes in the connection.
    fn take_in(&self, state: &mut State, segment: Segment<M>) -> Option<Event<M>> {
        let Segment { way, epoch, number, hash, bytes, message, .. } = segment;
        let Way { from, to, stream } = way;
        let (to_address, from_address) = (state.address(to), state.address(from));
        let Some(message) = message else {
            let current = state.endpoints[to as usize].incarnation;
            if u64::from(current) != number || !state.connections.tell(way.back(), epoch) {
                return None;
            }
            state.digest.event(Kind::Disconnect, [state.now.0, state.way(way), epoch.into()]);
            state.trace(|_| format!("disconnect {to_address} < {from_address} {epoch}"));
            state.stats.disconnects += 1;
            return Some(Event::Disconnect { at: to_address, peer: from_address, stream });
        };
        if !state.is_up(to) || !state.connections.believes(way.back(), epoch) {
            return None;
        }
        state.digest.event(Kind::Deliver, [state.now.0, state.way(way), hash]);
        if state.is_traced() {
            let text = (self.format.borrow())(&message);
            state.trace(|_| format!("deliver {to_address} < {from_address} {epoch}#{number}: {text}"));
        }
        state.stats.messages_delivered += 1;
        if state.gates.any() {
            state.gates.charge(to, state.now, bytes);
        }
        Some(Event::Message { to: to_address, from: from_address, message })
    }

    /// An endpoint's machine learns that a connection is no more, and tells it: in order with all else
    /// that comes for it, and after a pause. Until then what it sends goes nowhere, whoever may have opened
    /// a new connection meanwhile: it was meant for the old one.
    fn ends(&self, state: &mut State, way: Way, epoch: u32) {
        let Some(waited) = state.connections.end(way.back(), epoch) else { return };
        let incarnation = state.endpoints[way.to as usize].incarnation;
        let mut segments = self.segments.borrow_mut();
        waited.into_iter().for_each(|ticket| drop(segments.remove(ticket)));
        let news =
            Segment { number: incarnation.into(), phase: Phase::Accepted, ..end(state.now, way, epoch) };
        let ticket = segments.insert(news);
        state.queue.push(state.now, 0, Topic::Stream, ticket);
    }

    fn reset_after(&self, state: &mut State, way: Way, epoch: u32, passage: Passage) {
        let cut = state.network.blocks.loses_sent(way.from as usize, way.to as usize);
        if passage.fate == Fate::Arrives && !cut {
            let ticket = self.segments.borrow_mut().insert(end(state.now, way, epoch));
            state.queue.push(Time(state.now.0 + passage.latency), passage.tie, Topic::Stream, ticket);
        }
    }

    /// An endpoint is gone. If its machine goes on, it tells its peers.
    pub(crate) fn streams_crash(&self, endpoint: u32, machine_goes_on: bool) {
        let state = &mut *self.kernel.state.borrow_mut();
        let (ways, waited) = state.connections.crash(endpoint);
        for ticket in waited {
            drop(self.segments.borrow_mut().remove(ticket));
        }
        for (way, epoch) in ways.into_iter().filter(|_| machine_goes_on) {
            let passage = state.network.draw_stream(state.now, way.from as usize, way.to as usize, 0);
            self.reset_after(state, way, epoch, passage);
        }
    }
}

/// What says that a connection is no more.
fn end<M>(now: Time, way: Way, epoch: u32) -> Segment<M> {
    Segment {
        way,
        epoch,
        number: 0,
        phase: Phase::Flying,
        bytes: 0,
        hash: 0,
        first_sent: now,
        patience: Duration::ZERO,
        message: None,
    }
}

/// A segment did not get across: when it is sent again, or given up.
fn lost<M>(state: &mut State, segment: &mut Segment<M>, ticket: Ticket) {
    segment.phase = Phase::Lost;
    let last = segment.first_sent + state.streams.give_up_after;
    let again = (state.now + segment.patience).min(last.max(state.now));
    segment.patience = Duration::from_nanos(nanos(segment.patience).saturating_mul(2));
    let Segment { way, epoch, number, .. } = *segment;
    if state.connections.believes(way, epoch) {
        state.connections.lose(way, number, ticket);
    }
    state.queue.push(again, 0, Topic::Stream, ticket);
}

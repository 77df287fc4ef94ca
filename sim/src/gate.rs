//! What keeps an endpoint from taking in what happens: that it is busy, or that it is paused.
//!
//! Messages, timers, wake-ups and disconnections that come meanwhile wait at its gate, in order, the
//! timers before all else: a lease that ran out in a pause is found out before a request is served.
//! One queued event per gate lets them in, one after the other.

use std::collections::VecDeque;

use contract::Time;

use crate::config::CpuConfig;
use crate::kernel::{Incarnation, State};
use crate::latency::nanos;
use crate::queue::Topic;
use crate::slab::Ticket;
use crate::task::Sleeping;

/// Something that waits at a gate.
#[derive(Debug)]
pub(crate) enum Pending {
    Event(Topic, Ticket),
    /// A disk request is done, and somebody waits for it.
    Wake(Sleeping),
}

#[derive(Debug, Default)]
struct Gate {
    paused: bool,
    busy_until: u64,
    /// Beside the world's own cost: thousandths of it (0: once), and nanoseconds per message.
    slow: Option<(u64, u64)>,
    timers: VecDeque<Ticket>,
    inbox: VecDeque<Pending>,
    /// An event is queued that opens it.
    opening: bool,
    /// Counted in [`Gates::shut`].
    shut: bool,
}

#[derive(Debug)]
pub(crate) struct Gates {
    cpu: CpuConfig,
    /// How many gates are paused, slowed down or have something waiting.
    shut: usize,
    /// Computing takes time everywhere.
    costly: bool,
    gates: Vec<Gate>,
}

impl Gates {
    pub(crate) fn new(cpu: CpuConfig, nodes: usize) -> Self {
        let mut gates = Vec::new();
        gates.resize_with(nodes, Gate::default);
        Self { cpu, shut: 0, costly: !cpu.is_free(), gates }
    }

    /// Whether any gate must be looked at.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.costly || self.shut > 0
    }

    fn update(&mut self, endpoint: u32) {
        let gate = &mut self.gates[endpoint as usize];
        let shut = gate.paused || gate.slow.is_some() || !gate.inbox.is_empty() || !gate.timers.is_empty();
        if shut != gate.shut {
            gate.shut = shut;
            if shut { self.shut += 1 } else { self.shut -= 1 }
        }
    }

    /// Whether what happens to an endpoint now must wait. Clients never wait.
    pub(crate) fn is_shut(&self, endpoint: u32, now: Time) -> bool {
        self.gates.get(endpoint as usize).is_some_and(|gate| {
            gate.paused || gate.busy_until > now.0 || !gate.inbox.is_empty() || !gate.timers.is_empty()
        })
    }

    /// Lets something wait. Returns when the gate must be opened, if nobody sees to that yet.
    pub(crate) fn hold(&mut self, endpoint: u32, pending: Pending, now: Time) -> Option<Time> {
        let gate = &mut self.gates[endpoint as usize];
        match pending {
            Pending::Event(Topic::Timer, ticket) => gate.timers.push_back(ticket),
            pending => gate.inbox.push_back(pending),
        }
        let opens = gate.opens(now);
        self.update(endpoint);
        opens
    }

    /// The gate opens: what comes in, and when it must be opened again.
    pub(crate) fn open(&mut self, endpoint: u32, now: Time) -> (Option<Pending>, Option<Time>) {
        let gate = &mut self.gates[endpoint as usize];
        gate.opening = false;
        let mut first = None;
        if !gate.paused && gate.busy_until <= now.0 {
            let timer = gate.timers.pop_front().map(|ticket| Pending::Event(Topic::Timer, ticket));
            first = timer.or_else(|| gate.inbox.pop_front());
        }
        let opens = gate.opens(now);
        self.update(endpoint);
        (first, opens)
    }

    /// An endpoint computes. Returns how long until it is done, in nanoseconds.
    pub(crate) fn charge(&mut self, endpoint: u32, now: Time, bytes: usize) -> u64 {
        let Some(gate) = self.gates.get_mut(endpoint as usize) else { return 0 };
        let own = nanos(self.cpu.per_message) + bytes as u64 * self.cpu.ps_per_byte / 1000;
        let cost = gate.slow.map_or(own, |(permille, extra)| own * permille / 1000 + extra);
        if cost == 0 && gate.busy_until <= now.0 {
            return 0;
        }
        gate.busy_until = gate.busy_until.max(now.0) + cost;
        gate.busy_until - now.0
    }

    /// Stops an endpoint. Whether it was going.
    pub(crate) fn pause(&mut self, endpoint: u32) -> bool {
        let was_going = !std::mem::replace(&mut self.gates[endpoint as usize].paused, true);
        self.update(endpoint);
        was_going
    }

    /// Lets it go on. Returns when its gate must be opened.
    pub(crate) fn resume(&mut self, endpoint: u32, now: Time) -> Option<Time> {
        let gate = &mut self.gates[endpoint as usize];
        gate.paused = false;
        let opens = gate.opens(now);
        self.update(endpoint);
        opens
    }

    /// The endpoint is gone: nothing keeps it busy any more.
    pub(crate) fn crash(&mut self, endpoint: u32, now: Time) -> Option<Time> {
        self.gates[endpoint as usize].busy_until = 0;
        self.resume(endpoint, now)
    }

    /// Makes computing slower, or as it was.
    pub(crate) fn slow(&mut self, endpoint: u32, slow: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let before = std::mem::replace(&mut self.gates[endpoint as usize].slow, slow);
        self.update(endpoint);
        before
    }
}

impl Gate {
    /// When an event must open the gate, unless one is queued or nothing waits.
    fn opens(&mut self, now: Time) -> Option<Time> {
        if self.paused || self.opening || self.inbox.is_empty() && self.timers.is_empty() {
            return None;
        }
        self.opening = true;
        Some(Time(self.busy_until.max(now.0)))
    }
}

impl State {
    /// Whether what happens to somebody now waits at a gate; then it is put there.
    pub(crate) fn holds_back(&mut self, topic: Topic, ticket: Ticket) -> bool {
        let endpoint = match topic {
            Topic::Timer => self.timers.endpoint(ticket),
            Topic::Sleep => match self.sleepers.get_mut(ticket) {
                Some(sleeper) => sleeper.endpoint,
                None => return false,
            },
            _ => return false,
        };
        let shut = self.gates.is_shut(endpoint, self.now);
        if shut {
            self.hold(endpoint, Pending::Event(topic, ticket));
        }
        shut
    }

    pub(crate) fn hold(&mut self, endpoint: u32, pending: Pending) {
        let opens = self.gates.hold(endpoint, pending, self.now);
        self.gate_opens(endpoint, opens);
    }

    pub(crate) fn gate_opens(&mut self, endpoint: u32, at: Option<Time>) {
        if let Some(at) = at {
            self.queue.push(at, 0, Topic::Gate, Ticket { slot: endpoint, generation: 0 });
        }
    }

    /// A gate opens: what comes in.
    pub(crate) fn gate_pops(&mut self, endpoint: u32) -> Option<Pending> {
        let (pending, opens) = self.gates.open(endpoint, self.now);
        self.gate_opens(endpoint, opens);
        pending
    }

    /// Stops a node. Nothing happens to one that is down or stands still already.
    pub(crate) fn pause(&mut self, node: u32, clock_stops: bool) -> Option<Incarnation> {
        if !self.is_up(node) || !self.gates.pause(node) {
            return None;
        }
        self.endpoints[node as usize].paused = Some((self.now, clock_stops));
        Some(Incarnation { endpoint: node, number: self.endpoints[node as usize].incarnation })
    }

    /// Lets a node go on that was stopped, if it has not crashed since.
    pub(crate) fn resume(&mut self, paused: Incarnation) {
        let node = paused.endpoint;
        let since = self.endpoints[node as usize].paused.filter(|_| self.is_alive(paused));
        let Some((since, clock_stops)) = since else { return };
        self.endpoints[node as usize].paused = None;
        if clock_stops {
            let stood = self.now.since(since);
            self.timers.put_off(node, stood);
            let endpoint = &mut self.endpoints[node as usize];
            endpoint.frozen += stood;
            endpoint.clock.jump(self.now, -(nanos(stood) as i64));
        }
        let opens = self.gates.resume(node, self.now);
        self.gate_opens(node, opens);
    }
}

//! One election, again and again: the survivors of a leader's crash, from its last heartbeat until one of
//! them leads. Replicas alone, on links and disks that take a drawn time: nothing else takes part in the
//! published measurements.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::RangeInclusive;
use std::time::Duration;

use contract::{
    Cluster, Effect, Effects, Entry, Epoch, Index, Mark, NodeId, Payload, Recovered, Replica, Role, Time,
    Token,
};
use protocols::raft::{Options, Raft, Record, Timer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is the same in all trials of a measurement.
pub(super) struct Trial {
    /// The replicas' tuning.
    pub(super) options: Options,
    /// Nodes 1 to this founded the cluster; node 1 led it.
    pub(super) servers: u16,
    /// Who survives, and whether their logs are as long as the leader's was.
    pub(super) survivors: Vec<(NodeId, bool)>,
    /// How long a message takes.
    pub(super) link: RangeInclusive<Duration>,
    /// How long a write takes until it is durable.
    pub(super) write: RangeInclusive<Duration>,
}

/// What a trial came to, in time since the last heartbeat arrived everywhere.
pub(super) struct Elected {
    /// When the first of them stood for election.
    pub(super) first_candidate: Duration,
    /// When one of them led.
    pub(super) leader: Duration,
}

enum Event {
    Arrives { to: NodeId, from: NodeId, message: <Raft as Replica>::Message },
    Fires { at: NodeId, timer: Timer, armed: u64 },
    Durable { at: NodeId, token: Token },
}

struct Server {
    replica: Raft,
    fx: Effects<Raft>,
    /// Per timer, the number of its latest arming.
    armed: BTreeMap<Timer, u64>,
    pending: BTreeSet<Token>,
    held: Vec<(Token, NodeId, <Raft as Replica>::Message)>,
    /// When the writes before the next one are done: a disk writes one after the other.
    disk_free: Time,
}

struct Race<'a> {
    trial: &'a Trial,
    rng: ChaCha8Rng,
    now: Time,
    servers: BTreeMap<NodeId, Server>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    numbered: u64,
}

impl Trial {
    /// Runs the trial of a number.
    pub(super) fn run(&self, number: u64) -> Elected {
        let mut race = Race {
            trial: self,
            rng: ChaCha8Rng::seed_from_u64(number),
            now: Time::ZERO,
            servers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            numbered: 0,
        };
        for (node, is_complete) in &self.survivors {
            race.start(*node, *is_complete);
        }
        race.until_elected()
    }
}

/// What the disk of a server holds that followed node 1 through term 1.
fn records(entries: u64) -> Vec<Record> {
    let mark = |index| Mark { epoch: Epoch(1), index: Index(index) };
    let entry = |index| Record::Entry(Entry { mark: mark(index), payload: Payload::Noop });
    let state = Record::State { term: Epoch(1), vote: Some(NodeId(1)) };
    [state].into_iter().chain((1..=entries).map(entry)).collect()
}

impl Race<'_> {
    fn start(&mut self, node: NodeId, is_complete: bool) {
        let cluster = Cluster::new(node, self.trial.servers, self.trial.options.clone());
        let mut fx = Effects::default();
        let recovered = Recovered { records: records(if is_complete { 2 } else { 1 }), applied: Mark::ZERO };
        let replica = Raft::start(&cluster, recovered, &mut fx);
        let server = Server {
            replica,
            fx,
            armed: BTreeMap::new(),
            pending: BTreeSet::new(),
            held: Vec::new(),
            disk_free: Time::ZERO,
        };
        self.servers.insert(node, server);
        self.step(node, |_, _| ());
    }

    fn draw(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        self.rng.random_range(range.clone())
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.numbered += 1;
        self.events.insert(self.numbered, event);
        self.queue.push(Reverse((at, self.numbered)));
    }

    fn step(&mut self, node: NodeId, event: impl FnOnce(&mut Raft, &mut Effects<Raft>)) {
        let server = self.servers.get_mut(&node).expect("it survives");
        event(&mut server.replica, &mut server.fx);
        let effects: Vec<_> = server.fx.drain().collect();
        for effect in effects {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: NodeId, effect: Effect<Raft>) {
        let trial = self.trial;
        match effect {
            Effect::Send { to, message, after } => {
                let server = self.servers.get_mut(&node).expect("it survives");
                match after.filter(|token| server.pending.contains(token)) {
                    Some(token) => server.held.push((token, to, message)),
                    None => self.send(node, to, message),
                }
            }
            Effect::Persist { token, .. } => {
                let takes = self.draw(&trial.write);
                let server = self.servers.get_mut(&node).expect("it survives");
                server.pending.insert(token);
                server.disk_free = server.disk_free.max(self.now) + takes;
                let done = server.disk_free;
                self.schedule(done, Event::Durable { at: node, token });
            }
            Effect::SetTimer { timer, within } => {
                let at = self.now + self.draw(&within);
                let server = self.servers.get_mut(&node).expect("it survives");
                let armed = server.armed.entry(timer).or_default();
                *armed += 1;
                let armed = *armed;
                self.schedule(at, Event::Fires { at: node, timer, armed });
            }
            Effect::CancelTimer(timer) => {
                let server = self.servers.get_mut(&node).expect("it survives");
                *server.armed.entry(timer).or_default() += 1;
            }
            _ => {}
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: <Raft as Replica>::Message) {
        if self.servers.contains_key(&to) {
            let at = self.now + self.draw(&self.trial.link.clone());
            self.schedule(at, Event::Arrives { to, from, message });
        }
    }

    fn until_elected(mut self) -> Elected {
        let mut first_candidate = None;
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = at;
            let node = match self.events.remove(&number).expect("each event is scheduled once") {
                Event::Arrives { to, from, message } => {
                    self.step(to, |replica, fx| replica.on_message(from, message, fx));
                    to
                }
                Event::Fires { at, timer, armed } => {
                    if self.servers[&at].armed[&timer] == armed {
                        self.step(at, |replica, fx| replica.on_timer(timer, fx));
                    }
                    at
                }
                Event::Durable { at, token } => {
                    let server = self.servers.get_mut(&at).expect("it survives");
                    server.pending.remove(&token);
                    let (released, held) =
                        std::mem::take(&mut server.held).into_iter().partition(|h| h.0 == token);
                    server.held = held;
                    let released: Vec<_> = released;
                    for (_, to, message) in released {
                        self.send(at, to, message);
                    }
                    self.step(at, |replica, fx| replica.on_durable(token, fx));
                    at
                }
            };
            let role = self.servers[&node].replica.view().role;
            let since = self.now.since(Time::ZERO);
            if role != Role::Follower {
                first_candidate.get_or_insert(since);
            }
            if let (Role::Leader, Some(first_candidate)) = (role, first_candidate) {
                return Elected { first_candidate, leader: since };
            }
        }
        unreachable!("election timers are armed until one leads")
    }
}

//! A protocol under random schedules: messages are delivered in any order, repeated and lost; writes and
//! the service's work take any time; replicas crash and lose what was not durable; operators ask for
//! anything. Then everything heals, and the group must work.

mod splitmix;

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    Bug, Bugs, Bytes, Cluster, Command, Control, Effect, Index, Membership, NodeId, Payload, Replica,
    RequestId, Role, Time,
};

pub(crate) use crate::host::Fx;
use crate::host::Outgoing;
pub(crate) use splitmix::Random;
pub(crate) type Host<R> = crate::host::Host<R>;

/// What a schedule has to know of a protocol.
pub(crate) trait Subject: Replica {
    /// Draws its options: small bounds, so that a short run reaches them.
    fn options(random: &mut Random) -> Self::Options;
    /// The timers that say that somebody should stand, and whether its leader is still there.
    const ELECTIONS: &'static [Self::Timer];
    /// All other timers.
    const OTHERS: &'static [Self::Timer];
}

/// What is true of a group by its protocol's laws; says which law a step broke.
pub(crate) trait Judge<R: Replica>: Default {
    fn check(&mut self, host: &Host<R>, effects: &Fx<R>) -> Result<(), &'static str>;
}

/// How hostile a run is.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) bug: Option<Bug>,
    /// The journal reports writes as durable that a crash may still lose.
    pub(crate) lying_disk: bool,
    /// Violations end the run.
    pub(crate) judged: bool,
    pub(crate) steps: usize,
}

pub(crate) const FAIR: Weather = Weather { bug: None, lying_disk: false, judged: true, steps: 20_000 };

#[derive(Clone, Copy)]
enum Action {
    Deliver,
    Lose,
    Write,
    Work,
    Flush,
    Propose,
    Read,
    Timer,
    Election,
    Operator,
    Crash,
    Cut,
    Mend,
}

/// How often what happens: drawn anew for each run, so that runs differ in kind (swarm testing).
struct Climate {
    weights: [(Action, usize); 13],
    in_order_percent: usize,
    duplicate_percent: usize,
    downtime_steps: usize,
    reconfigures: bool,
}

impl Climate {
    fn draw(random: &mut Random) -> Self {
        let mut between = |low: usize, high: usize| low + random.below(high - low);
        let weights = [
            (Action::Deliver, between(4000, 7000)),
            (Action::Lose, between(0, 600)),
            (Action::Write, between(300, 3000)),
            (Action::Work, between(500, 3000)),
            (Action::Flush, between(50, 400)),
            (Action::Propose, between(500, 2000)),
            (Action::Read, between(100, 800)),
            (Action::Timer, between(200, 1200)),
            (Action::Election, between(6, 240)),
            (Action::Operator, between(0, 300)),
            (Action::Crash, between(0, 200)),
            (Action::Cut, between(0, 30)),
            (Action::Mend, between(10, 100)),
        ];
        Self {
            weights,
            in_order_percent: between(0, 100),
            duplicate_percent: between(0, 15),
            downtime_steps: between(1, 200),
            reconfigures: between(0, 2) == 0,
        }
    }
}

/// The laws of any replicated log, as clients and operators see it.
#[derive(Default)]
pub(crate) struct Seen {
    /// Who led each epoch.
    pub(crate) leaders: BTreeMap<contract::Epoch, NodeId>,
    /// What was committed, by index from 1.
    pub(crate) committed: Vec<Payload>,
    /// How much was committed when each read began.
    reads: BTreeMap<RequestId, Index>,
    /// Snapshots installed.
    pub(crate) snapshots: usize,
    /// Memberships committed.
    pub(crate) changes: usize,
    /// Reads served.
    pub(crate) served: usize,
    /// Requests that were answered: none is twice.
    answered: BTreeSet<RequestId>,
}

impl Seen {
    fn check<R: Replica>(
        &mut self,
        host: &Host<R>,
        before: &contract::View,
        effects: &Fx<R>,
    ) -> Result<(), &'static str> {
        let view = host.replica.view();
        if view.commit < before.commit || view.epoch < before.epoch {
            return Err("a commit index or an epoch fell");
        }
        for effect in effects {
            match effect {
                Effect::Commit(entries) => {
                    for entry in entries {
                        match self.committed.get(entry.mark.index.0 as usize - 1) {
                            Some(other) if *other != entry.payload => return Err("two values at one index"),
                            Some(_) => {}
                            None => {
                                self.changes += usize::from(matches!(entry.payload, Payload::Membership(_)));
                                self.committed.push(entry.payload.clone());
                            }
                        }
                    }
                }
                Effect::ReadAt { request, index } => {
                    self.served += 1;
                    if *index < self.reads[request] {
                        return Err("a stale read");
                    }
                }
                Effect::Install { .. } => self.snapshots += 1,
                _ => {}
            }
            if let Effect::ReadAt { request, .. }
            | Effect::Reject { request, .. }
            | Effect::Proposed { request, .. }
            | Effect::Controlled { request } = effect
                && !self.answered.insert(*request)
            {
                return Err("a request was answered twice");
            }
        }
        let me = host.cluster.me;
        if view.role == Role::Leader && *self.leaders.entry(view.epoch).or_insert(me) != me {
            return Err("two leaders of one epoch");
        }
        Ok(())
    }
}

pub(crate) struct World<R: Subject, J> {
    climate: Climate,
    random: Random,
    pub(crate) hosts: Vec<Option<Host<R>>>,
    down: Vec<bool>,
    flying: Vec<(NodeId, NodeId, R::Message)>,
    /// Nodes on one side of a partition, by slot.
    cut: Vec<bool>,
    pub(crate) seen: Seen,
    judge: J,
    requests: u64,
    weather: Weather,
}

type Step = Result<(), &'static str>;

impl<R: Subject, J: Judge<R>> World<R, J> {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let mut random = Random(seed);
        let climate = Climate::draw(&mut random);
        let options = R::options(&mut random);
        let founders = if random.percent(50) { 3 } else { 5 };
        let nodes = founders + if climate.reconfigures { 2 } else { 0 };
        let hosts = (1..=nodes).map(|node| {
            let mut cluster = Cluster::new(NodeId::new(node), nodes, options.clone());
            cluster.founders = Membership::of((1..=founders).map(NodeId::new));
            cluster.bugs = Bugs(weather.bug);
            Some(Host::start(cluster).0)
        });
        Self {
            hosts: hosts.collect(),
            climate,
            random,
            down: vec![false; usize::from(nodes)],
            flying: Vec::new(),
            cut: vec![false; usize::from(nodes)],
            seen: Seen::default(),
            judge: J::default(),
            requests: 0,
            weather,
        }
    }

    fn act(&mut self, slot: usize, action: impl FnOnce(&mut Host<R>) -> Fx<R>) -> Step {
        let host = self.hosts[slot].as_mut().expect("hosts are only away while they restart");
        let before = host.replica.view();
        let effects = action(host);
        let from = host.cluster.me;
        self.flying.extend(host.outbox.drain(..).map(|(to, outgoing)| match outgoing {
            Outgoing::Message(message) => (from, to, message),
            Outgoing::Break => unreachable!("these protocols speak in datagrams"),
        }));
        if !self.weather.judged {
            return Ok(());
        }
        if host.replica.view().broken.is_some() {
            return Err("a replica saw a law broken");
        }
        self.seen.check(host, &before, &effects)?;
        self.judge.check(host, &effects)
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn propose(&mut self, slot: usize) -> Step {
        let request = self.request();
        let data: Bytes = request.to_string().as_str().into();
        let command = Command { proposed_at: Time::ZERO, data };
        self.act(slot, |host| host.step(|replica, fx| replica.propose(request, command, fx)))
    }

    fn read(&mut self, slot: usize) -> Step {
        let request = self.request();
        self.seen.reads.insert(request, Index(self.seen.committed.len() as u64));
        self.act(slot, |host| host.step(|replica, fx| replica.read(request, fx)))
    }

    fn operate(&mut self, slot: usize) -> Step {
        let request = self.request();
        let nodes = self.hosts.len();
        let someone = NodeId::new(1 + self.random.below(nodes) as u16);
        let control = match self.random.below(6) {
            0 => Control::Campaign,
            1 => Control::Transfer { to: someone },
            2 => Control::Compact,
            _ if !self.climate.reconfigures => Control::Compact,
            _ => Control::Reconfigure { to: self.membership() },
        };
        self.act(slot, |host| host.step(|replica, fx| replica.control(request, control, fx)))
    }

    /// One that differs little from a present one, or not at all like any.
    fn membership(&mut self) -> Membership {
        let nodes = self.hosts.len() as u16;
        let mut to = Membership::default();
        if self.random.percent(20) {
            to.voters = (1..=nodes).map(NodeId).filter(|_| self.random.percent(60)).collect();
        } else {
            let slot = self.random.below(usize::from(nodes));
            to.clone_from(self.hosts[slot].as_ref().expect("it is there").replica.membership());
            let changed = NodeId::new(1 + self.random.below(usize::from(nodes)) as u16);
            let voted = to.voters.remove(&changed);
            let learnt = to.learners.remove(&changed);
            if self.random.percent(30) {
                to.learners.insert(changed);
            } else if !voted || learnt {
                to.voters.insert(changed);
            }
        }
        if to.voters.len() < 2 {
            to.voters = (1..=3).map(NodeId).collect();
            to.learners.clear();
        }
        to
    }

    fn deliver(&mut self, place: usize) -> Step {
        let (from, to, message) = self.flying.remove(place);
        if self.down[to.slot()] || self.cut[from.slot()] != self.cut[to.slot()] {
            return Ok(());
        }
        if self.random.percent(self.climate.duplicate_percent) {
            self.flying.push((from, to, message.clone()));
        }
        self.act(to.slot(), |host| host.step(|replica, fx| replica.on_message(from, message, fx)))
    }

    fn fire(&mut self, slot: usize, timers: &[R::Timer]) -> Step {
        let timer = timers[self.random.below(timers.len())];
        if self.hosts[slot].as_ref().is_some_and(|host| host.timers.contains(&timer)) {
            self.act(slot, |host| host.fire(timer))?;
        }
        Ok(())
    }

    /// A power loss. What was being written may survive in part.
    fn crash(&mut self, slot: usize) -> Step {
        let host = self.hosts[slot].take().expect("hosts are only away while they restart");
        let survivors = if host.writes.is_empty() { 0 } else { self.random.below(host.writes.len() + 1) };
        let lost = if self.weather.lying_disk { self.random.below(4) } else { 0 };
        let (host, effects) = host.restart(survivors, lost);
        self.hosts[slot] = Some(host);
        self.down[slot] = false;
        self.act(slot, |_| effects)
    }

    pub(crate) fn random_step(&mut self) -> Step {
        let slot = self.random.below(self.hosts.len());
        if self.down[slot] {
            return if self.random.below(self.climate.downtime_steps) == 0 {
                self.crash(slot)
            } else {
                Ok(())
            };
        }
        match self.draw() {
            Action::Deliver if !self.flying.is_empty() => {
                let in_order = self.random.percent(self.climate.in_order_percent);
                let place = if in_order { 0 } else { self.random.below(self.flying.len()) };
                self.deliver(place)
            }
            Action::Lose if !self.flying.is_empty() => {
                let place = self.random.below(self.flying.len());
                self.flying.remove(place);
                Ok(())
            }
            Action::Deliver | Action::Lose => Ok(()),
            Action::Write => self.act(slot, |host| host.complete_write().map_or(Vec::new(), |(_, fx)| fx)),
            Action::Work => self.act(slot, |host| host.complete_work().unwrap_or_default()),
            Action::Flush => self.act(slot, Host::flush),
            Action::Propose => self.propose(slot),
            Action::Read => self.read(slot),
            Action::Timer => self.fire(slot, R::OTHERS),
            Action::Election => self.fire(slot, R::ELECTIONS),
            Action::Operator => self.operate(slot),
            Action::Crash => {
                self.down[slot] = self.random.percent(50);
                if self.down[slot] { Ok(()) } else { self.crash(slot) }
            }
            Action::Cut => {
                for side in &mut self.cut {
                    *side = self.random.percent(50);
                }
                Ok(())
            }
            Action::Mend => {
                self.cut.fill(false);
                Ok(())
            }
        }
    }

    fn draw(&mut self) -> Action {
        let total: usize = self.climate.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(total);
        for (action, weight) in self.climate.weights {
            if left < weight {
                return action;
            }
            left -= weight;
        }
        unreachable!("the weights add up to their total")
    }

    /// Everything that can happen without a timer happens, in order.
    fn settle(&mut self) -> Step {
        loop {
            let mut quiet = true;
            for slot in 0..self.hosts.len() {
                let host = self.hosts[slot].as_ref().expect("all are up");
                if !host.writes.is_empty() || !host.work.is_empty() {
                    quiet = false;
                    self.act(slot, |host| host.complete_write().map_or(Vec::new(), |(_, fx)| fx))?;
                    self.act(slot, |host| host.complete_work().unwrap_or_default())?;
                }
            }
            for (from, to, message) in std::mem::take(&mut self.flying) {
                quiet = false;
                self.act(to.slot(), |host| host.step(|replica, fx| replica.on_message(from, message, fx)))?;
            }
            if quiet {
                return Ok(());
            }
        }
    }

    fn leader(&self) -> Option<usize> {
        let views = self.hosts.iter().flatten().map(|host| host.replica.view()).enumerate();
        let leaders = views.filter(|(_, view)| view.role == Role::Leader);
        leaders.max_by_key(|(_, view)| view.epoch).map(|(slot, _)| slot)
    }

    /// Nothing fails any more: a leader must emerge, and commit what it is given, everywhere where it counts.
    pub(crate) fn heal(&mut self) -> Step {
        self.cut.fill(false);
        for slot in 0..self.hosts.len() {
            if self.down[slot] {
                self.crash(slot)?;
            }
        }
        let mut goal = None;
        for round in 0..400 {
            self.settle()?;
            for slot in 0..self.hosts.len() {
                for timer in R::OTHERS {
                    self.fire(slot, std::slice::from_ref(timer))?;
                }
            }
            self.settle()?;
            let Some(leader) = self.leader() else {
                let slot = self.random.below(self.hosts.len());
                self.fire(slot, R::ELECTIONS)?;
                continue;
            };
            let host = self.hosts[leader].as_ref().expect("all are up");
            match goal {
                None if round >= 40 => {
                    for _ in 0..5 {
                        self.propose(leader)?;
                    }
                    self.settle()?;
                    goal = Some(self.seen.committed.len());
                }
                Some(goal) if goal >= 5 => {
                    let members = host.replica.membership();
                    let takes_part = |host: &&Host<R>| members.contains(host.cluster.me);
                    let mut all = self.hosts.iter().flatten().filter(takes_part);
                    if all.all(|host| host.state.len() >= goal) {
                        return self.check_converged();
                    }
                }
                _ => {}
            }
        }
        Err("no progress")
    }

    fn check_converged(&self) -> Step {
        let differs = |host: &Host<R>| {
            host.state.iter().map(|entry| &entry.payload).ne(self
                .seen
                .committed
                .iter()
                .take(host.state.len()))
        };
        if self.hosts.iter().flatten().any(differs) { Err("states differ") } else { Ok(()) }
    }
}

/// One run; what it saw happen.
pub(crate) fn run<R: Subject, J: Judge<R>>(seed: u64, weather: Weather) -> Result<World<R, J>, &'static str> {
    let mut world = World::new(seed, weather);
    for _ in 0..weather.steps {
        world.random_step()?;
    }
    world.heal()?;
    Ok(world)
}

//! A cluster in which anything that may happen next does, and time passes meanwhile.
//!
//! Time matters to leases alone: no timer fires before its time by its host's clock, the timer of a lease
//! exactly at it, before anything else reaches the host, and every other whenever it is drawn afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::{
    Bug, Bugs, Bytes, Cluster, Command, Control, Effect, Index, Membership, NodeId, Replica, RequestId, Role,
    Time,
};
use seedbed_protocols::raft::{Message, Timer};

use crate::climate::{self, Action, Climate, Clock, Random};
use crate::judge::{Judge, Violation};
use crate::{Fx, Host};

/// How hostile a run is.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) bug: Option<Bug>,
    /// The journal reports writes as durable that a crash may still lose.
    pub(crate) lying_disk: bool,
    /// Violations end the run.
    pub(crate) judged: bool,
    /// Memberships differ and change, and leaders hand over.
    pub(crate) operated: bool,
    pub(crate) steps: usize,
}

/// When a timer may fire, in true time.
struct Due {
    from: Duration,
    to: Duration,
}

pub(crate) struct World {
    climate: Climate,
    random: Random,
    pub(crate) hosts: Vec<Option<Host>>,
    clocks: Vec<Clock>,
    now: Duration,
    due: Vec<BTreeMap<Timer, Due>>,
    down: Vec<bool>,
    flying: Vec<(NodeId, NodeId, Message)>,
    /// Nodes on one side of a partition, by slot.
    cut: Vec<bool>,
    pub(crate) judge: Judge,
    requests: u64,
    weather: Weather,
    pub(crate) seen: Seen,
}

/// Where a run went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) snapshots: usize,
    /// Changes and handovers that were done.
    pub(crate) controlled: usize,
    pub(crate) rejected: usize,
    /// Reads served in the step in which they came.
    pub(crate) read_at_once: usize,
    /// Steps of a leader that keeps no state.
    pub(crate) stateless_leader_steps: usize,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: u16, weather: Weather) -> Self {
        let mut random = Random(seed);
        let climate = Climate::draw(&mut random, weather.operated);
        let options = climate::options(&mut random);
        let all = || Membership::of((1..=nodes).map(NodeId::new));
        let founders = if weather.operated { climate::founders(&mut random, nodes) } else { all() };
        let clock = |_| Clock::draw(&mut random, options.clock_drift_bound);
        let clocks = (0..nodes).map(clock).collect();
        let mut world = Self {
            hosts: Vec::new(),
            climate,
            clocks,
            random,
            now: Duration::ZERO,
            due: (0..nodes).map(|_| BTreeMap::new()).collect(),
            down: vec![false; usize::from(nodes)],
            flying: Vec::new(),
            cut: vec![false; usize::from(nodes)],
            judge: Judge::default(),
            requests: 0,
            weather,
            seen: Seen::default(),
        };
        for node in (1..=nodes).map(NodeId::new) {
            let mut cluster = Cluster::new(node, nodes, options.clone());
            cluster.bugs = Bugs(weather.bug);
            cluster.founders.clone_from(&founders);
            let (host, effects) = Host::start(cluster);
            world.hosts.push(Some(host));
            world.note_timers(node.slot(), &effects);
        }
        world
    }

    fn host(&self, slot: usize) -> &Host {
        self.hosts[slot].as_ref().expect("hosts are only away while they restart")
    }

    fn note_timers(&mut self, slot: usize, effects: &Fx) {
        for effect in effects {
            match effect {
                Effect::SetTimer { timer, within } => {
                    let at = |bound: &Duration| self.now + self.clocks[slot].wait(*bound);
                    let due = Due { from: at(within.start()), to: at(within.end()) };
                    self.due[slot].insert(*timer, due);
                }
                Effect::CancelTimer(timer) => drop(self.due[slot].remove(timer)),
                _ => {}
            }
        }
    }

    /// Something happens at a host, after the timers that it must not miss.
    fn act(&mut self, slot: usize, action: impl FnOnce(&mut Host) -> Fx) -> Result<(), Violation> {
        for lease in [Timer::Lease(0), Timer::Lease(1)] {
            if self.due[slot].get(&lease).is_some_and(|due| due.to <= self.now) {
                self.due[slot].remove(&lease);
                self.act_now(slot, |host| host.fire(lease))?;
            }
        }
        self.act_now(slot, action)
    }

    fn act_now(&mut self, slot: usize, action: impl FnOnce(&mut Host) -> Fx) -> Result<(), Violation> {
        let host = self.hosts[slot].as_mut().expect("hosts are only away while they restart");
        let view = host.replica.view();
        let effects = action(host);
        let from = host.cluster.me;
        self.flying.extend(host.outbox.drain(..).map(|(to, outgoing)| match outgoing {
            crate::host::Outgoing::Message(message) => (from, to, message),
            crate::host::Outgoing::Break => unreachable!("Raft speaks in datagrams"),
        }));
        for effect in &effects {
            match effect {
                Effect::Install { .. } => self.seen.snapshots += 1,
                Effect::Controlled { .. } => self.seen.controlled += 1,
                Effect::Reject { .. } => self.seen.rejected += 1,
                _ => {}
            }
        }
        let stateless = host.replica.membership().is_witness(from);
        self.seen.stateless_leader_steps += usize::from(view.role == Role::Leader && stateless);
        self.note_timers(slot, &effects);
        if !self.weather.judged {
            return Ok(());
        }
        let host = self.hosts[slot].as_ref().expect("it was there just now");
        if host.replica.broken_law().is_some() && self.weather.bug.is_none() && !self.weather.lying_disk {
            return Err(Violation::BrokenLawNoticed);
        }
        self.judge.check(host, (view.epoch, view.commit), &effects)
    }

    fn request(&mut self, slot: usize) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.judge.asked(request, self.host(slot).cluster.me);
        request
    }

    fn propose(&mut self, slot: usize) -> Result<(), Violation> {
        let request = self.request(slot);
        let data: Bytes = request.to_string().as_str().into();
        let command = Command { proposed_at: Time::ZERO, data };
        self.act(slot, |host| host.step(|replica, fx| replica.propose(request, command, fx)))
    }

    fn read(&mut self, slot: usize) -> Result<(), Violation> {
        let request = self.request(slot);
        let mut at_once = false;
        self.act(slot, |host| {
            let effects = host.step(|replica, fx| replica.read(request, fx));
            at_once = effects.iter().any(|effect| matches!(effect, Effect::ReadAt { .. }));
            effects
        })?;
        self.seen.read_at_once += usize::from(at_once);
        Ok(())
    }

    /// An operator asks someone, as a rule the leader.
    fn control(&mut self, slot: usize, control: Control) -> Result<(), Violation> {
        let leader = self.leader().filter(|leader| !self.down[*leader]);
        let slot = leader.filter(|_| self.random.percent(80)).unwrap_or(slot);
        let request = self.request(slot);
        self.act(slot, |host| host.step(|replica, fx| replica.control(request, control, fx)))
    }

    fn deliver(&mut self, place: usize) -> Result<(), Violation> {
        let (from, to, message) = self.flying.remove(place);
        if self.down[to.slot()] || self.cut[from.slot()] != self.cut[to.slot()] {
            return Ok(());
        }
        if self.random.percent(self.climate.duplicate_percent) {
            self.flying.push((from, to, message.clone()));
        }
        self.act(to.slot(), |host| host.step(|replica, fx| replica.on_message(from, message, fx)))
    }

    /// Fires a timer if it is armed and its time has come.
    fn fire(&mut self, slot: usize, timer: Timer) -> Result<(), Violation> {
        let now = self.now;
        if self.due[slot].get(&timer).is_some_and(|due| due.from <= now) {
            self.due[slot].remove(&timer);
            self.act(slot, |host| host.fire(timer))?;
        }
        Ok(())
    }

    /// Waits for a timer if it is armed, and fires it.
    fn await_timer(&mut self, slot: usize, timer: Timer) -> Result<(), Violation> {
        if let Some(due) = self.due[slot].get(&timer) {
            self.now = self.now.max(due.from);
        }
        self.fire(slot, timer)
    }

    /// A power loss. What was being written may survive in part.
    fn crash(&mut self, slot: usize) -> Result<(), Violation> {
        let host = self.hosts[slot].take().expect("hosts are only away while they restart");
        self.judge.went_down(host.cluster.me);
        let survivors = if host.writes.is_empty() { 0 } else { self.random.below(host.writes.len() + 1) };
        let lost = if self.weather.lying_disk { self.random.below(4) } else { 0 };
        let (host, effects) = host.restart(survivors, lost);
        self.hosts[slot] = Some(host);
        self.down[slot] = false;
        self.due[slot].clear();
        self.note_timers(slot, &effects);
        self.act(slot, |_| Vec::new())
    }

    pub(crate) fn random_step(&mut self) -> Result<(), Violation> {
        let slot = self.random.below(self.hosts.len());
        self.now += Duration::from_nanos(self.random.below(self.climate.step_max) as u64);
        if self.down[slot] {
            return if self.random.below(self.climate.downtime_steps) == 0 {
                self.crash(slot)
            } else {
                Ok(())
            };
        }
        let nodes = self.hosts.len() as u16;
        let someone = NodeId::new(self.random.between(1, 1 + self.hosts.len()) as u16);
        match self.climate.action(&mut self.random) {
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
            Action::Heartbeat => self.fire(slot, Timer::Heartbeat),
            Action::Election => self.fire(slot, Timer::Election),
            Action::Handover => self.fire(slot, Timer::Handover),
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
            Action::Stand => self.control(slot, Control::Campaign),
            Action::Compact => self.control(slot, Control::Compact),
            Action::Transfer => self.control(slot, Control::Transfer { to: someone }),
            Action::Reconfigure => {
                let to = climate::membership(&mut self.random, nodes);
                self.control(slot, Control::Reconfigure { to })
            }
        }
    }

    /// Everything that can happen without a timer happens, in order.
    fn settle(&mut self) -> Result<(), Violation> {
        loop {
            let mut quiet = true;
            for slot in 0..self.hosts.len() {
                if !self.host(slot).writes.is_empty() || !self.host(slot).work.is_empty() {
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

    /// Nothing fails any more: a leader must emerge, stay, and commit what it is given, everywhere.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        const SETTLING: usize = 40;
        self.cut.fill(false);
        for slot in 0..self.hosts.len() {
            if self.down[slot] {
                self.crash(slot)?;
            }
        }
        let mut goal = None;
        for round in 0..SETTLING + 80 {
            self.settle()?;
            let Some(leader) = self.leader() else {
                let slot = self.random.below(self.hosts.len());
                self.await_timer(slot, Timer::Election)?;
                continue;
            };
            match goal {
                None if round >= SETTLING => {
                    for _ in 0..5 {
                        self.propose(leader)?;
                    }
                    goal = Some(self.host(leader).replica.view().last.index);
                }
                Some(goal) if self.have_reached(leader, goal) => return self.check_converged(leader),
                _ => {}
            }
            for slot in 0..self.hosts.len() {
                self.await_timer(slot, Timer::Heartbeat)?;
                self.await_timer(slot, Timer::Handover)?;
            }
            self.settle()?;
            if round >= SETTLING && self.leader() == Some(leader) {
                // A leader that everyone answers does not doubt itself.
                self.await_timer(leader, Timer::Election)?;
                assert_eq!(self.leader(), Some(leader));
            }
        }
        Err(Violation::NoProgress)
    }

    /// Whether all who keep the state have what the leader had been given.
    fn have_reached(&self, leader: usize, goal: Index) -> bool {
        let membership = self.host(leader).replica.membership();
        let mut keepers = membership.all().filter(|node| !membership.is_witness(*node));
        keepers.all(|node| self.host(node.slot()).state.len() as u64 >= goal.0)
    }

    /// Prints what each replica is and knows: why a cluster does not get on shows in it.
    pub(crate) fn show(&self) {
        for host in self.hosts.iter().flatten() {
            let (replica, applied) = (&host.replica, host.state.len());
            let (start, membership) = (replica.entries().0, replica.membership());
            println!(
                "{} {} start={start} applied={applied}, of {membership}",
                host.cluster.me,
                replica.view()
            );
        }
    }

    fn check_converged(&self, leader: usize) -> Result<(), Violation> {
        let differs = |host: &Host| {
            let committed = self.judge.committed.iter().map(|(entry, _)| entry);
            host.state.iter().ne(committed.take(host.state.len()))
        };
        if self.hosts.iter().flatten().any(differs) {
            return Err(Violation::StateMachineSafety);
        }
        if self.host(leader).replica.membership().is_joint() {
            return Err(Violation::StaysJoint);
        }
        Ok(())
    }
}

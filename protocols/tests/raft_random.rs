//! Raft under random schedules: messages are delivered in any order, repeated and lost; writes and
//! the service's work take any time; replicas crash and lose what was not durable. Meanwhile the
//! paper's laws (Fig. 3) are checked from outside. Then everything heals, and the cluster must work.

mod host;

use std::collections::BTreeMap;

use contract::{
    Bug, Bugs, Bytes, Cluster, Command, Effect, Entry, Epoch, Index, Mark, NodeId, Payload, Replica,
    RequestId, Role, Time,
};
use seedbed_protocols::Raft;
use seedbed_protocols::raft::{Message, Options, Timer};

type Host = host::Host<Raft>;
type Fx = host::Fx<Raft>;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in `n` of a hundred cases.
    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Violation {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    CommitMonotonic,
    StaleRead,
    BrokenLawNoticed,
    NoProgress,
}

/// What is true of a cluster by the protocol's laws; says which law a run broke.
#[derive(Default)]
struct Judge {
    leaders: BTreeMap<Epoch, NodeId>,
    /// Every entry ever seen in a log, with the one before it: a mark identifies a whole prefix.
    entries: BTreeMap<Mark, (Mark, Payload)>,
    /// What was committed, and the lowest term of a replica that knew it.
    committed: Vec<(Entry, Epoch)>,
    /// What was committed when each read began.
    reads: BTreeMap<RequestId, Index>,
}

impl Judge {
    fn check(&mut self, host: &Host, before: (Epoch, Index), effects: &Fx) -> Result<(), Violation> {
        let view = host.replica.view();
        if view.commit < before.1 || view.epoch < before.0 {
            return Err(Violation::CommitMonotonic);
        }
        for effect in effects {
            match effect {
                Effect::Commit(entries) => self.check_committed(entries, view.epoch)?,
                Effect::ReadAt { request, index } if *index < self.reads[request] => {
                    return Err(Violation::StaleRead);
                }
                Effect::Persist { .. } => self.check_log(host)?,
                _ => {}
            }
        }
        if view.role == Role::Leader {
            let first_seen = !self.leaders.contains_key(&view.epoch);
            if *self.leaders.entry(view.epoch).or_insert(host.cluster.me) != host.cluster.me {
                return Err(Violation::ElectionSafety);
            }
            if first_seen {
                self.check_complete(host, view.epoch)?;
            }
        }
        Ok(())
    }

    fn check_committed(&mut self, entries: &[Entry], term: Epoch) -> Result<(), Violation> {
        for entry in entries {
            match self.committed.get_mut(entry.mark.index.0 as usize - 1) {
                Some((other, _)) if other != entry => return Err(Violation::StateMachineSafety),
                Some((_, known)) => *known = term.min(*known),
                None => self.committed.push((entry.clone(), term)),
            }
        }
        Ok(())
    }

    fn check_log(&mut self, host: &Host) -> Result<(), Violation> {
        let (mut before, entries) = host.replica.entries();
        for entry in entries {
            let seen = self.entries.entry(entry.mark).or_insert((before, entry.payload.clone()));
            if *seen != (before, entry.payload.clone()) {
                return Err(Violation::LogMatching);
            }
            before = entry.mark;
        }
        Ok(())
    }

    fn check_complete(&self, host: &Host, term: Epoch) -> Result<(), Violation> {
        let (start, entries) = host.replica.entries();
        let log: BTreeMap<Index, Mark> = entries.map(|entry| (entry.mark.index, entry.mark)).collect();
        let earlier = self.committed.iter().filter(|(_, known)| *known < term);
        let mut owed = earlier.map(|(entry, _)| entry.mark).filter(|mark| mark.index > start.index);
        if owed.any(|mark| log.get(&mark.index) != Some(&mark)) {
            return Err(Violation::LeaderCompleteness);
        }
        Ok(())
    }
}

/// How hostile a run is.
#[derive(Clone, Copy)]
struct Weather {
    bug: Option<Bug>,
    /// The journal reports writes as durable that a crash may still lose.
    lying_disk: bool,
    /// Violations end the run.
    judged: bool,
    steps: usize,
}

#[derive(Clone, Copy)]
enum Action {
    Deliver,
    Lose,
    Write,
    Work,
    Flush,
    Propose,
    Read,
    Heartbeat,
    Election,
    Crash,
    Cut,
    Mend,
}

/// How often what happens: drawn anew for each run, so that runs differ in kind (swarm testing).
struct Climate {
    weights: [(Action, usize); 12],
    in_order_percent: usize,
    duplicate_percent: usize,
    downtime_steps: usize,
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
            (Action::Heartbeat, between(100, 600)),
            (Action::Election, between(3, 120)),
            (Action::Crash, between(0, 200)),
            (Action::Cut, between(0, 30)),
            (Action::Mend, between(10, 100)),
        ];
        Self {
            weights,
            in_order_percent: between(0, 100),
            duplicate_percent: between(0, 15),
            downtime_steps: between(1, 200),
        }
    }
}

struct World {
    climate: Climate,
    random: Random,
    hosts: Vec<Option<Host>>,
    down: Vec<bool>,
    flying: Vec<(NodeId, NodeId, Message)>,
    /// Nodes on one side of a partition, by slot.
    cut: Vec<bool>,
    judge: Judge,
    requests: u64,
    weather: Weather,
    /// How many were installed.
    snapshots: usize,
}

impl World {
    fn new(seed: u64, nodes: u16, weather: Weather) -> Self {
        let mut random = Random(seed);
        let climate = Climate::draw(&mut random);
        let snapshot_entries = 4 + random.below(16) as u64;
        let options = Options {
            max_append_entries: 1 + random.below(4),
            max_inflight: 1 + random.below(4),
            max_uncommitted: 20,
            snapshot_entries,
            keep_entries: random.below(snapshot_entries as usize) as u64,
            ..Options::default()
        };
        let hosts = (1..=nodes).map(|node| {
            let mut cluster = Cluster::new(NodeId::new(node), nodes, options.clone());
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
            judge: Judge::default(),
            requests: 0,
            weather,
            snapshots: 0,
        }
    }

    fn act(&mut self, slot: usize, action: impl FnOnce(&mut Host) -> Fx) -> Result<(), Violation> {
        let host = self.hosts[slot].as_mut().expect("hosts are only away while they restart");
        let view = host.replica.view();
        let effects = action(host);
        let from = host.cluster.me;
        for (to, outgoing) in host.outbox.drain(..) {
            let host::Outgoing::Message(message) = outgoing else { unreachable!("Raft uses datagrams") };
            self.flying.push((from, to, message));
        }
        self.snapshots += effects.iter().filter(|e| matches!(e, Effect::Install { .. })).count();
        if !self.weather.judged {
            return Ok(());
        }
        if host.replica.broken_law().is_some() && self.weather.bug.is_none() && !self.weather.lying_disk {
            return Err(Violation::BrokenLawNoticed);
        }
        self.judge.check(host, (view.epoch, view.commit), &effects)
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn propose(&mut self, slot: usize) -> Result<(), Violation> {
        let request = self.request();
        let data: Bytes = request.to_string().as_str().into();
        let command = Command { proposed_at: Time::ZERO, data };
        self.act(slot, |host| host.step(|replica, fx| replica.propose(request, command, fx)))
    }

    fn read(&mut self, slot: usize) -> Result<(), Violation> {
        let request = self.request();
        self.judge.reads.insert(request, Index(self.judge.committed.len() as u64));
        self.act(slot, |host| host.step(|replica, fx| replica.read(request, fx)))
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

    fn fire(&mut self, slot: usize, timer: Timer) -> Result<(), Violation> {
        if self.hosts[slot].as_ref().is_some_and(|host| host.timers.contains(&timer)) {
            self.act(slot, |host| host.fire(timer))?;
        }
        Ok(())
    }

    /// A power loss. What was being written may survive in part.
    fn crash(&mut self, slot: usize) -> Result<(), Violation> {
        let host = self.hosts[slot].take().expect("hosts are only away while they restart");
        let survivors = if host.writes.is_empty() { 0 } else { self.random.below(host.writes.len() + 1) };
        let lost = if self.weather.lying_disk { self.random.below(4) } else { 0 };
        let (host, _) = host.restart(survivors, lost);
        self.hosts[slot] = Some(host);
        self.down[slot] = false;
        self.act(slot, |_| Vec::new())
    }

    fn random_step(&mut self) -> Result<(), Violation> {
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
            Action::Heartbeat => self.fire(slot, Timer::Heartbeat),
            Action::Election => self.fire(slot, Timer::Election),
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
    fn settle(&mut self) -> Result<(), Violation> {
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

    /// Nothing fails any more: a leader must emerge, stay, and commit what it is given, everywhere.
    fn heal(&mut self) -> Result<(), Violation> {
        self.cut.fill(false);
        for slot in 0..self.hosts.len() {
            if self.down[slot] {
                self.crash(slot)?;
            }
        }
        let mut goal = None;
        for round in 0..100 {
            self.settle()?;
            let Some(leader) = self.leader() else {
                let slot = self.random.below(self.hosts.len());
                self.fire(slot, Timer::Election)?;
                continue;
            };
            match goal {
                None if round >= 20 => {
                    for _ in 0..5 {
                        self.propose(leader)?;
                    }
                    goal = Some(self.hosts[leader].as_ref().expect("all are up").replica.view().last.index);
                }
                Some(Index(goal))
                    if self.hosts.iter().flatten().all(|host| host.state.len() as u64 >= goal) =>
                {
                    return self.check_converged();
                }
                _ => {}
            }
            for slot in 0..self.hosts.len() {
                self.fire(slot, Timer::Heartbeat)?;
            }
            self.settle()?;
            if round >= 20 {
                // A leader that everyone answers does not doubt itself.
                self.fire(leader, Timer::Election)?;
                assert_eq!(self.leader(), Some(leader));
            }
        }
        Err(Violation::NoProgress)
    }

    fn check_converged(&self) -> Result<(), Violation> {
        let committed: Vec<&Entry> = self.judge.committed.iter().map(|(entry, _)| entry).collect();
        let differs = |host: &Host| host.state.iter().ne(committed.iter().copied());
        if self.hosts.iter().flatten().any(differs) {
            return Err(Violation::StateMachineSafety);
        }
        Ok(())
    }
}

/// One run; what it saw happen.
fn run(seed: u64, weather: Weather) -> Result<World, Violation> {
    let nodes = if seed.is_multiple_of(2) { 3 } else { 5 };
    let mut world = World::new(seed, nodes, weather);
    for _ in 0..weather.steps {
        world.random_step()?;
    }
    world.heal()?;
    Ok(world)
}

const FAIR: Weather = Weather { bug: None, lying_disk: false, judged: true, steps: 20_000 };

#[test]
fn the_laws_hold_and_a_healed_cluster_works() {
    let (mut terms, mut committed, mut snapshots) = (0, 0, 0);
    for seed in 0..500 {
        let world = run(seed, FAIR).unwrap_or_else(|violation| panic!("seed {seed}: {violation:?}"));
        terms += world.judge.leaders.len();
        committed += world.judge.committed.len();
        snapshots += world.snapshots;
    }
    // The runs went where it hurts.
    println!("{terms} leaders, {committed} entries committed, {snapshots} snapshots installed");
    assert!(terms > 3000 && committed > 10_000 && snapshots > 300, "{terms} {committed} {snapshots}");
}

/// The first seed that shows a planted bug, and how.
fn first_violation(weather: Weather, seeds: u64) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| run(seed, weather).err().map(|violation| (seed, violation)))
}

#[test]
fn a_vote_that_is_not_durable_is_found() {
    let found = first_violation(Weather { bug: Some(Bug::VoteNotDurable), ..FAIR }, 300);
    println!("{found:?}");
    assert!(matches!(found, Some((_, violation)) if violation != Violation::NoProgress), "{found:?}");
}

#[test]
fn a_stale_append_that_truncates_is_found() {
    let found = first_violation(Weather { bug: Some(Bug::StaleAppendTruncates), ..FAIR }, 300);
    println!("{found:?}");
    assert!(matches!(found, Some((_, violation)) if violation != Violation::NoProgress), "{found:?}");
}

#[test]
fn a_read_without_a_quorum_is_found() {
    let found = first_violation(Weather { bug: Some(Bug::ReadWithoutQuorum), ..FAIR }, 300);
    println!("{found:?}");
    assert!(matches!(found, Some((_, Violation::StaleRead))), "{found:?}");
}

/// A replica asserts what it owes to itself alone: what others, or a lying disk, do to it is no panic.
#[test]
fn no_replica_panics_over_the_faults_of_others() {
    let planted = [Bug::VoteNotDurable, Bug::StaleAppendTruncates, Bug::ReadWithoutQuorum];
    let planted = planted.map(|bug| Weather { bug: Some(bug), judged: false, ..FAIR });
    let lying = Weather { lying_disk: true, judged: false, ..FAIR };
    let mut noticed = 0;
    for weather in planted.into_iter().chain([lying]) {
        for seed in 0..60 {
            let mut world = World::new(seed, 3, weather);
            for _ in 0..weather.steps {
                world.random_step().expect("nothing is judged");
            }
            noticed +=
                world.hosts.iter().flatten().filter(|host| host.replica.broken_law().is_some()).count();
        }
    }
    println!("{noticed} replicas noticed");
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn a_disk_that_lies_is_found() {
    let weather = Weather { lying_disk: true, ..FAIR };
    let found = first_violation(weather, 300);
    println!("{found:?}");
    assert!(matches!(found, Some((_, violation)) if violation != Violation::NoProgress), "{found:?}");
}

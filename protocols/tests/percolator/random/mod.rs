//! Transactions under random schedules. Clients append their number to lists, each list a key, and read them;
//! every request may be lost, before or after it takes effect, and may come again at any later time; clients
//! crash between any two steps; leaders' clocks jump; processes lose their memory; regions move, for balance or
//! for nothing, each step of a move taken by anybody, twice or late; garbage is collected.
//!
//! What must hold (snapshot isolation, and that what is committed stays so):
//! - A transaction's number stands in all of the lists that it wrote or in none, once, whoever looks.
//! - It does where its client was told that it committed, and does not where it was told that it did not.
//! - No list ever loses a number: an update that is lost would take one away.
//! - A read at a timestamp says the same for ever.
//! - Once nothing moves any more, groups hold what the scheduler's map says.

mod client;

use std::collections::{BTreeMap, BTreeSet};

use contract::{Bug, Bugs, Bytes, GroupId, Time};
use seedbed_protocols::percolator::{
    Content, Op, Region, Ret, SCHEDULER, SchedulerOp, ShardOp, Span, Timestamp,
};

use crate::splitmix::Random;
use crate::store::Group;
use client::{Transaction, decode};

const GROUPS: u32 = 3;
const KEYS: [&str; 6] = ["a", "c", "h", "n", "s", "x"];
const CLIENTS: usize = 4;
const STEPS: usize = 3000;
/// How long locks are respected, in microseconds.
const TTL: u64 = 300;

/// A broken law.
type Broken = String;
type Lists = BTreeMap<Bytes, Vec<u64>>;

struct World {
    random: Random,
    groups: BTreeMap<GroupId, Group>,
    /// The map as clients know it.
    map: Vec<Region>,
    clock: u64,
    clients: Vec<Option<Transaction>>,
    begun: u64,
    /// Requests that may come again.
    under_way: Vec<(GroupId, Op)>,
    /// Faults are off.
    calm: bool,
    frozen: Vec<(Region, Content)>,
    installed: BTreeSet<(Bytes, u64)>,
    wrote: BTreeMap<u64, BTreeSet<Bytes>>,
    committed: BTreeMap<u64, Timestamp>,
    given_up: BTreeSet<u64>,
    seen: BTreeMap<(Bytes, Timestamp), Vec<u64>>,
    audited: Lists,
    // How much happened: a run in which nothing does proves nothing.
    moves: u64,
    balances: u64,
    collections: u64,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let span = |start: &str, end: Option<&str>| Span { start: start.into(), end: end.map(Bytes::from) };
        let region = |span, group| Region { span, version: 1, group: GroupId(group), moving_from: None };
        let founding = vec![region(span("", Some("k")), 1), region(span("k", None), 2)];
        let group = |id| (GroupId(id), Group::new(Bugs(bug), GroupId(id), &founding));
        Self {
            random: Random(seed),
            groups: (0..=GROUPS).map(group).collect(),
            map: founding.clone(),
            clock: 0,
            clients: (0..CLIENTS).map(|_| None).collect(),
            begun: 0,
            under_way: Vec::new(),
            calm: false,
            frozen: Vec::new(),
            installed: BTreeSet::new(),
            wrote: BTreeMap::new(),
            committed: BTreeMap::new(),
            given_up: BTreeSet::new(),
            seen: BTreeMap::new(),
            audited: KEYS.iter().map(|key| ((*key).into(), Vec::new())).collect(),
            moves: 0,
            balances: 0,
            collections: 0,
        }
    }

    fn key(&mut self) -> Bytes {
        KEYS[self.random.below(KEYS.len())].into()
    }

    /// A request arrives. Its leader's clock may be behind.
    fn arrive(&mut self, group: GroupId, op: &Op) -> Ret {
        let behind = if self.random.percent(10) { self.random.below(400) as u64 } else { 0 };
        let now = Time(self.clock.saturating_sub(behind) * 1000);
        self.groups.get_mut(&group).expect("the cluster has that group").ask(op, now)
    }

    /// Sends a request; `None`: no answer comes.
    fn send(&mut self, group: GroupId, op: Op) -> Option<Ret> {
        let (lost, unheard) = (self.random.percent(5), self.random.percent(5));
        if !self.calm && (lost || unheard || self.random.percent(20)) {
            self.under_way.push((group, op.clone()));
        }
        if !self.calm && lost {
            return None;
        }
        let answer = self.arrive(group, &op);
        (self.calm || !unheard).then_some(answer)
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        match self.send(SCHEDULER, Op::Scheduler(SchedulerOp::Timestamps { count: 1 }))? {
            Ret::Timestamp(timestamp) => Some(timestamp),
            other => panic!("a timestamp was asked for: {other}"),
        }
    }

    /// Sends a request to whom the client believes to hold the key; `None` also if that is somebody else.
    fn ask(&mut self, key: &[u8], op: ShardOp) -> Option<Ret> {
        let region = self.map.iter().find(|region| region.span.contains(key)).expect("the map covers all");
        let (group, version) = (region.group, region.version);
        let answer = self.send(group, Op::Shard { version, op })?;
        if answer != Ret::NotHere {
            return Some(answer);
        }
        if let Ret::Regions(map) = self.arrive(SCHEDULER, &Op::Scheduler(SchedulerOp::Regions)) {
            self.map = map;
        }
        None
    }

    /// A read at a timestamp says the same for ever.
    fn saw(&mut self, key: &Bytes, at: Timestamp, list: Vec<u64>) -> Result<(), Broken> {
        let before = self.seen.entry((key.clone(), at)).or_insert_with(|| list.clone());
        if *before == list { Ok(()) } else { Err(format!("{key} at {at} was {before:?} and is {list:?}")) }
    }

    fn read_again(&mut self) -> Result<(), Broken> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let which = self.random.below(self.seen.len());
        let (key, at) = self.seen.keys().nth(which).cloned().expect("it is one of them");
        match self.ask(&key, ShardOp::Get { key: key.clone(), at, noted: false }) {
            Some(Ret::Value(value)) => self.saw(&key, at, decode(value.as_ref())),
            _ => Ok(()),
        }
    }

    /// One step of a move, or the order to move.
    fn shift(&mut self) {
        let due: Vec<Region> =
            self.map_now().into_iter().filter(|region| region.moving_from.is_some()).collect();
        let shard = |version, op| Op::Shard { version, op };
        match (self.random.below(6), due.first().cloned()) {
            (0, _) if !self.calm => {
                let (at, to) = (self.key(), GroupId(1 + self.random.below(GROUPS as usize) as u32));
                self.send(SCHEDULER, Op::Scheduler(SchedulerOp::Split { at, to }));
            }
            (1, Some(region)) => {
                let op = ShardOp::Freeze { span: region.span.clone(), version: region.version };
                let from = region.moving_from.expect("it is due");
                if let Some(Ret::Content(content)) = self.send(from, shard(region.version, op)) {
                    self.frozen.push((region, content));
                }
            }
            (2, _) if !self.frozen.is_empty() => {
                // Any of them: most are late.
                let last = self.random.percent(70);
                let which = if last { self.frozen.len() - 1 } else { self.random.below(self.frozen.len()) };
                let (region, content) = self.frozen[which].clone();
                let Region { span, version, group, .. } = region;
                let start = span.start.clone();
                if self.send(group, shard(version, ShardOp::Install { span, version, content }))
                    == Some(Ret::Done)
                {
                    self.installed.insert((start, version));
                }
            }
            (3, Some(region)) if self.installed.contains(&(region.span.start.clone(), region.version)) => {
                let (start, version) = (region.span.start.clone(), region.version);
                let from = region.moving_from.expect("it is due");
                if self.send(SCHEDULER, Op::Scheduler(SchedulerOp::Moved { start, version })).is_some() {
                    self.moves += 1;
                    self.send(from, shard(version, ShardOp::Release { span: region.span, version }));
                }
            }
            (4, _) => {
                let group = GroupId(1 + self.random.below(GROUPS as usize) as u32);
                if let Some(Ret::Held(regions)) = self.send(group, shard(0, ShardOp::Sizes)) {
                    self.send(SCHEDULER, Op::Scheduler(SchedulerOp::Heartbeat { group, regions }));
                }
            }
            (5, _) if !self.calm => {
                let tolerance = self.random.below(3) as u64;
                let before = self.map_now();
                self.send(SCHEDULER, Op::Scheduler(SchedulerOp::Balance { tolerance }));
                self.balances += u64::from(self.map_now() != before);
            }
            _ => {}
        }
    }

    /// The map as the scheduler has it.
    fn map_now(&mut self) -> Vec<Region> {
        match self.arrive(SCHEDULER, &Op::Scheduler(SchedulerOp::Regions)) {
            Ret::Regions(regions) => regions,
            other => panic!("regions were asked for: {other}"),
        }
    }

    /// Where nothing moves, groups hold what the map says, and each region is held.
    fn all_report(&mut self) {
        let mut held = 0;
        for group in (1..=GROUPS).map(GroupId) {
            let sizes = self.arrive(group, &Op::Shard { version: 0, op: ShardOp::Sizes });
            let Ret::Held(regions) = sizes else { panic!("sizes were asked for: {sizes}") };
            held += regions.len();
            let answer = self.arrive(SCHEDULER, &Op::Scheduler(SchedulerOp::Heartbeat { group, regions }));
            assert_eq!(answer, Ret::Stale(Vec::new()), "{group} holds what the map does not say");
        }
        assert_eq!(held, self.map_now().len(), "each region of the map is held");
    }

    /// Faults stop; what has begun to move arrives.
    fn settle(&mut self) {
        self.calm = true;
        for _ in 0..1000 {
            if self.map_now().iter().all(|region| region.moving_from.is_none()) {
                self.all_report();
                return;
            }
            self.shift();
        }
        panic!("a move never ends");
    }

    /// All lists as of a timestamp, whatever is in the way.
    fn lists(&mut self, at: Timestamp) -> Result<Lists, Broken> {
        let mut lists = Lists::new();
        for key in KEYS.map(Bytes::from) {
            let list = (0..100).find_map(|_| {
                self.clock += TTL;
                match self.ask(&key, ShardOp::Get { key: key.clone(), at, noted: true })? {
                    Ret::Value(value) => Some(decode(value.as_ref())),
                    Ret::Locked(lock) => {
                        self.clear(&lock);
                        None
                    }
                    other => panic!("a value was asked for: {other}"),
                }
            });
            lists.insert(key.clone(), list.ok_or_else(|| format!("{key} cannot be read"))?);
        }
        Ok(lists)
    }

    /// What everybody must agree on.
    fn audit(&mut self) -> Result<(), Broken> {
        self.settle();
        let at = self.timestamp().expect("faults are off");
        let lists = self.lists(at)?;
        for (key, list) in &lists {
            self.saw(key, at, list.clone())?;
            if !list.starts_with(&self.audited[key]) {
                return Err(format!("{key} was {:?} and is {list:?}", self.audited[key]));
            }
            if list.iter().collect::<BTreeSet<_>>().len() != list.len() {
                return Err(format!("{key} holds a number twice: {list:?}"));
            }
        }
        let mut standing: BTreeMap<u64, BTreeSet<Bytes>> = BTreeMap::new();
        for (key, list) in &lists {
            for number in list {
                standing.entry(*number).or_default().insert(key.clone());
            }
        }
        for (number, keys) in &standing {
            if self.wrote[number] != *keys {
                return Err(format!("of {number} there is {keys:?}, it wrote {:?}", self.wrote[number]));
            }
            if self.given_up.contains(number) {
                return Err(format!("{number} was given up, and stands in {keys:?}"));
            }
        }
        if let Some((number, commit)) =
            self.committed.iter().find(|(number, _)| !standing.contains_key(number))
        {
            return Err(format!("{number} has committed at {commit}, and stands nowhere"));
        }
        self.audited = lists;
        self.calm = false;
        Ok(())
    }

    /// Resolves all locks of transactions that are over, and forgets what nobody reads.
    fn collect(&mut self) -> Result<(), Broken> {
        self.settle();
        let begun = self.clients.iter().flatten().map(|transaction| transaction.start).min();
        let safepoint = match begun {
            Some(start) => start,
            None => self.timestamp().expect("faults are off"),
        };
        for key in KEYS.map(Bytes::from) {
            for _ in 0..100 {
                self.clock += TTL;
                let get = ShardOp::Get { key: key.clone(), at: Timestamp::MAX, noted: false };
                match self.ask(&key, get) {
                    Some(Ret::Locked(lock)) if lock.start < safepoint => {
                        self.clear(&lock);
                    }
                    Some(_) => break,
                    None => {}
                }
            }
        }
        for group in 1..=GROUPS {
            for _ in 0..20 {
                let collect = Op::Shard { version: 0, op: ShardOp::Collect { safepoint } };
                match self.arrive(GroupId(group), &collect) {
                    Ret::Locked(lock) => {
                        self.clear(&lock);
                    }
                    _ => {
                        self.collections += 1;
                        break;
                    }
                }
            }
        }
        self.seen.retain(|(_, at), _| *at >= safepoint);
        self.calm = false;
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Broken> {
        self.clock += self.random.below(20) as u64;
        match self.random.below(100) {
            0 => return self.audit(),
            1 if self.random.percent(20) => return self.collect(),
            2 => {
                let group = GroupId(self.random.below(GROUPS as usize + 1) as u32);
                self.groups.get_mut(&group).expect("the cluster has that group").restart();
            }
            3..13 if !self.under_way.is_empty() => {
                let which = self.random.below(self.under_way.len());
                let again = self.random.percent(30);
                let (group, op) =
                    if again { self.under_way[which].clone() } else { self.under_way.swap_remove(which) };
                self.arrive(group, &op);
            }
            13..20 => self.shift(),
            20..30 => return self.read_again(),
            _ => {
                let client = self.random.below(CLIENTS);
                let Some(mut transaction) = self.clients[client].take().or_else(|| self.begin()) else {
                    return Ok(());
                };
                let over = self.step(&mut transaction)? == Some(false);
                // A client that crashes is replaced by another one.
                if !over && !self.random.percent(1) {
                    self.clients[client] = Some(transaction);
                }
            }
        }
        Ok(())
    }
}

fn run(seed: u64, bug: Option<Bug>) -> Result<World, Broken> {
    let mut world = World::new(seed, bug);
    for _ in 0..STEPS {
        world.turn()?;
    }
    world.audit()?;
    Ok(world)
}

#[test]
fn transactions_are_isolated_whatever_comes_late() {
    let (mut committed, mut given_up, mut moves, mut balances, mut collections) = (0, 0, 0, 0, 0);
    for seed in 0..100 {
        let world = run(seed, None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        committed += world.committed.len();
        given_up += world.given_up.len();
        moves += world.moves;
        balances += world.balances;
        collections += world.collections;
    }
    let told = format!(
        "{committed} committed, {given_up} given up, {moves} moves, {balances} balances, {collections} collections"
    );
    println!("{told}");
    assert!(
        committed > 5000 && given_up > 1000 && moves > 1000 && balances > 100 && collections > 500,
        "{told}"
    );
}

/// The first schedule in which a planted bug breaks a law, and which.
fn found(bug: Bug) -> Option<(u64, Broken)> {
    (0..100).find_map(|seed| match std::panic::catch_unwind(|| run(seed, Some(bug))) {
        Ok(Ok(_)) => None,
        Ok(Err(broken)) => Some((seed, broken)),
        Err(_) => Some((seed, "a panic".to_owned())),
    })
}

#[test]
fn planted_bugs_are_found_by_random_schedules() {
    for bug in [
        Bug::LatePrewriteAccepted,
        Bug::RollbackCollapsed,
        Bug::TimestampFallsBack,
        Bug::ReadSkipsLock,
        Bug::EpochNotChecked,
        Bug::OldOwnerWrites,
        Bug::MaxTsNotReplicated,
        Bug::CommitWithoutLock,
        Bug::ConflictIgnored,
        Bug::BalanceIgnoresMoves,
        Bug::SplitKeepsVersion,
        Bug::GivenAwayReported,
        Bug::HeartbeatMustBeNewer,
        Bug::CommitKeepsLock,
        Bug::CommitAtReadMissed,
        Bug::NewestRead,
        Bug::RecordAtStart,
        Bug::OlderLockOverwritten,
        Bug::SecondaryNotLocked,
        Bug::RepeatedCommitRefused,
        Bug::CommitNotLookedFor,
        Bug::ResolveTakesAnyLock,
    ] {
        let (seed, broken) = found(bug).unwrap_or_else(|| panic!("{bug} breaks no law"));
        println!("{bug}, seed {seed}: {broken}");
    }
}

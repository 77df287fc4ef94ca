//! The store as a client sees it: one space of keys, with a clock.

use std::cell::RefCell;
use std::rc::Rc;

use contract::{Bug, Bugs, Bytes, GroupId, Time};
use futures::future::join_all;
use protocols::percolator::{LockInfo, Op, Region, Ret, SCHEDULER, SchedulerOp, ShardOp, Span, Timestamp};

use super::link::{Link, Wire};
use super::record::SharedRecords;
use crate::plan::TransactionPlan;

/// How long to wait for a region on the move, in milliseconds.
const MOVING_MS: (u64, u64) = (5, 20);
/// How long to wait for a transaction that is alive, in milliseconds.
const LOCKED_MS: (u64, u64) = (5, 40);

/// Nobody answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// A client's view of the store. A clone is another handle on the same one.
pub(crate) struct Database<M> {
    pub(crate) link: Link<M>,
    pub(crate) plan: Rc<TransactionPlan>,
    /// Bugs planted in clients.
    pub(crate) bugs: Bugs,
    pub(crate) records: SharedRecords,
    /// The map of regions as it was when this client last asked.
    regions: Rc<RefCell<Vec<Region>>>,
}

impl<M> Clone for Database<M> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            plan: Rc::clone(&self.plan),
            bugs: self.bugs,
            records: Rc::clone(&self.records),
            regions: Rc::clone(&self.regions),
        }
    }
}

/// What a part of the keys of a request was answered.
pub(crate) type Parts = Vec<(Vec<Bytes>, Ret)>;

impl<M: Wire> Database<M> {
    pub(crate) fn new(link: Link<M>, plan: Rc<TransactionPlan>, bugs: Bugs, records: SharedRecords) -> Self {
        let mut regions = plan.regions();
        if bugs.has(Bug::MapGuessed) {
            let group = regions[0].group;
            regions.iter_mut().for_each(|region| region.group = group);
        }
        let regions = Rc::new(RefCell::new(regions));
        Self { link, plan, bugs, records, regions }
    }

    /// Whether transactions lock what they read, so that it still holds when they commit.
    pub(crate) fn locks_reads(&self) -> bool {
        let (never, always) = (self.bugs.has(Bug::ReadsNotLocked), self.bugs.has(Bug::ReadsAlwaysLocked));
        (self.plan.serializable() || always) && !never
    }

    /// A timestamp above all that were given out before this was asked.
    pub(crate) async fn timestamp(&self, until: Time) -> Result<Timestamp, Unanswered> {
        let before = self.records.borrow().latest;
        let op = Op::Scheduler(SchedulerOp::Timestamps { count: 1 });
        match self.link.ask(SCHEDULER, op, until).await.ok_or(Unanswered)? {
            Ret::Timestamp(timestamp) => {
                self.records.borrow_mut().gave(timestamp, before);
                Ok(timestamp)
            }
            other => unreachable!("the oracle answered {other}"),
        }
    }

    /// The map of regions as it is now.
    pub(crate) async fn ask_for_regions(
        &self,
        op: SchedulerOp,
        until: Time,
    ) -> Result<Vec<Region>, Unanswered> {
        match self.link.ask(SCHEDULER, Op::Scheduler(op), until).await.ok_or(Unanswered)? {
            Ret::Regions(regions) => {
                self.regions.borrow_mut().clone_from(&regions);
                Ok(regions)
            }
            other => unreachable!("the scheduler answered {other}"),
        }
    }

    async fn refresh(&self, until: Time) -> Result<(), Unanswered> {
        self.records.borrow_mut().counts.misdirected += 1;
        self.ask_for_regions(SchedulerOp::Regions, until).await?;
        let (least, most) = MOVING_MS;
        self.link.pause(least, most).await;
        Ok(())
    }

    fn region_of(&self, key: &[u8]) -> Region {
        let regions = self.regions.borrow();
        let region = regions.iter().find(|region| region.span.contains(key));
        region.expect("every key is in a region").clone()
    }

    /// Keys by the region that holds them, in the order of the regions.
    fn by_region(&self, keys: &[Bytes]) -> Vec<(Region, Vec<Bytes>)> {
        let regions = self.regions.borrow();
        let within = |region: &Region| keys.iter().filter(|key| region.span.contains(key)).cloned().collect();
        let parts = regions.iter().map(|region| (region.clone(), within(region)));
        parts.filter(|(_, keys): &(_, Vec<Bytes>)| !keys.is_empty()).collect()
    }

    /// Asks the shard that holds all of these keys; `None` if no region does.
    pub(crate) async fn ask_together(
        &self,
        keys: &[Bytes],
        op: ShardOp,
        until: Time,
    ) -> Result<Option<Ret>, Unanswered> {
        loop {
            let parts = self.by_region(keys);
            let [(region, _)] = &parts[..] else { return Ok(None) };
            let op = Op::Shard { version: region.version, op: op.clone() };
            match self.link.ask(region.group, op, until).await.ok_or(Unanswered)? {
                Ret::NotHere => self.refresh(until).await?,
                answer => return Ok(Some(answer)),
            }
        }
    }

    /// Asks every shard that holds some of the keys for its part, all at once.
    pub(crate) async fn spread(
        &self,
        keys: &[Bytes],
        op: impl Fn(Vec<Bytes>) -> ShardOp,
        until: Time,
    ) -> Result<Parts, Unanswered> {
        let mut answered = Parts::new();
        let mut left = keys.to_vec();
        while !left.is_empty() {
            let parts = self.by_region(&left);
            let asked = parts.into_iter().map(|(region, keys)| {
                let op = Op::Shard { version: region.version, op: op(keys.clone()) };
                async move { (keys, self.link.ask(region.group, op, until).await) }
            });
            left.clear();
            for (keys, answer) in join_all(asked).await {
                match answer.ok_or(Unanswered)? {
                    Ret::NotHere => left.extend(keys),
                    answer => answered.push((keys, answer)),
                }
            }
            if !left.is_empty() {
                self.refresh(until).await?;
            }
        }
        Ok(answered)
    }

    /// Asks the shard that holds a key.
    pub(crate) async fn ask(&self, key: &Bytes, op: ShardOp, until: Time) -> Result<Ret, Unanswered> {
        loop {
            let region = self.region_of(key);
            let op = Op::Shard { version: region.version, op: op.clone() };
            match self.link.ask(region.group, op, until).await.ok_or(Unanswered)? {
                Ret::NotHere => self.refresh(until).await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Asks a group something of all that it holds.
    pub(crate) async fn ask_group(
        &self,
        group: GroupId,
        op: ShardOp,
        until: Time,
    ) -> Result<Ret, Unanswered> {
        self.link.ask(group, Op::Shard { version: 0, op }, until).await.ok_or(Unanswered)
    }

    /// The value of a key as of a timestamp.
    pub(crate) async fn get(
        &self,
        key: &Bytes,
        at: Timestamp,
        until: Time,
    ) -> Result<Option<Bytes>, Unanswered> {
        let noted = self.plan.mode.shards_choose();
        loop {
            let op = ShardOp::Get { key: key.clone(), at, noted };
            match self.ask(key, op, until).await? {
                Ret::Value(value) => return Ok(value),
                Ret::Locked(lock) => self.wait_for(lock, until).await?,
                other => unreachable!("a read was answered {other}"),
            }
        }
    }

    /// All pairs as of a timestamp, region by region.
    pub(crate) async fn scan(&self, at: Timestamp, until: Time) -> Result<Vec<(Bytes, Bytes)>, Unanswered> {
        self.scan_all(at, self.plan.mode.shards_choose(), until).await
    }

    /// Waits until no lock stands anywhere that stood when this was asked.
    pub(crate) async fn resolve_all(&self, until: Time) -> Result<(), Unanswered> {
        // Whoever reads at the end of time meets every lock. No later commit need mind such a read.
        self.scan_all(Timestamp::MAX, false, until).await.map(drop)
    }

    /// A transaction's read is `noted` where shards choose commit timestamps.
    async fn scan_all(
        &self,
        at: Timestamp,
        noted: bool,
        until: Time,
    ) -> Result<Vec<(Bytes, Bytes)>, Unanswered> {
        let mut pairs = Vec::new();
        let mut next = Some(Bytes::default());
        while let Some(start) = next {
            let region = self.region_of(&start);
            let span = Span { start: start.clone(), end: region.span.end.clone() };
            let op = ShardOp::Scan { span, at, limit: u32::MAX, noted };
            let op = Op::Shard { version: region.version, op };
            match self.link.ask(region.group, op, until).await.ok_or(Unanswered)? {
                Ret::Pairs(found) => {
                    pairs.extend(found);
                    next = region.span.end;
                    continue;
                }
                Ret::Locked(lock) => self.wait_for(lock, until).await?,
                Ret::NotHere => self.refresh(until).await?,
                other => unreachable!("a scan was answered {other}"),
            }
            next = Some(start);
        }
        Ok(pairs)
    }

    /// Clears away a lock if its transaction is over, and gives it time otherwise.
    pub(crate) async fn wait_for(&self, lock: LockInfo, until: Time) -> Result<(), Unanswered> {
        self.records.borrow_mut().counts.locks_met += 1;
        let LockInfo { key, primary, start, .. } = lock;
        let status = ShardOp::CheckStatus { primary: primary.clone(), start };
        let commit = match self.ask(&primary, status, until).await? {
            Ret::Committed { commit } => Some(commit),
            Ret::RolledBack => None,
            Ret::Locked(LockInfo { expired: true, secondaries: Some(others), min_commit, .. }) => {
                return self.decide(primary, others, start, min_commit, until).await;
            }
            Ret::Locked(_) => {
                let (least, most) = LOCKED_MS;
                self.link.pause(least, most).await;
                return Ok(());
            }
            other => unreachable!("the status of a transaction is {other}"),
        };
        self.resolve(&[key], start, commit, until).await
    }

    /// An async commit whose client is gone: it has committed if all its keys are written.
    async fn decide(
        &self,
        primary: Bytes,
        others: Vec<Bytes>,
        start: Timestamp,
        least: Timestamp,
        until: Time,
    ) -> Result<(), Unanswered> {
        let check = |keys| ShardOp::CheckSecondaries { keys, start };
        let mut commit = Some(least);
        for (_, answer) in self.spread(&others, check, until).await? {
            match answer {
                Ret::Prewritten { min_commit } => commit = commit.map(|commit| commit.max(min_commit)),
                // Somebody has decided before.
                Ret::Committed { commit: decided } => {
                    commit = Some(decided);
                    break;
                }
                Ret::RolledBack => {
                    commit = None;
                    break;
                }
                other => unreachable!("other keys of a transaction are {other}"),
            }
        }
        let keys: Vec<_> = std::iter::once(primary).chain(others).collect();
        self.resolve(&keys, start, commit, until).await
    }

    async fn resolve(
        &self,
        keys: &[Bytes],
        start: Timestamp,
        commit: Option<Timestamp>,
        until: Time,
    ) -> Result<(), Unanswered> {
        self.records.borrow_mut().counts.locks_resolved += keys.len() as u64;
        self.spread(keys, |keys| ShardOp::Resolve { keys, start, commit }, until).await?;
        Ok(())
    }
}

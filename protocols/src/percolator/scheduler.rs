//! The scheduler: the timestamp oracle, which group holds which region, which should, and who should lead it.
//!
//! | Key | Value |
//! |---|---|
//! | `t` | postcard: the last timestamp that was given |
//! | `r` | postcard: the regions, in key order |
//! | `s` | postcard: which groups have reported, and the size that each region had |
//! | `l` | postcard: which servers live, and which groups they lead |
//!
//! Percolator's oracle (§2.3) and PD's run ahead of what they have written by a window, so that most requests
//! need no write. Here each request is a command of the log, which is batched anyway; a counter that is
//! replicated with what it gave cannot fall back.

use contract::{Batch, Bug, Bugs, Bytes, EngineError, GroupId, ReadStore};

use crate::mvcc::Timestamp;

use super::SCHEDULER;
use super::layout::{decode, encode};
use super::leaders::Leaders;
use super::op::{Held, Region, Ret, SchedulerOp, Span};
use super::reports::Reports;

const TIMESTAMP_KEY: &[u8] = b"t";
const REGIONS_KEY: &[u8] = b"r";
const REPORTS_KEY: &[u8] = b"s";
const LEADERS_KEY: &[u8] = b"l";
/// Planted: [`Bug::TimestampFallsBack`]. Timestamps between two that are written down.
const WINDOW: u64 = 1000;

/// The scheduler.
#[derive(Clone, Debug)]
pub struct Scheduler {
    /// Bugs planted in it.
    pub bugs: Bugs,
    founding: Vec<Region>,
    /// Planted: [`Bug::TimestampFallsBack`]. The last timestamp that this process gave.
    remembered: Timestamp,
}

/// The map covers each key once.
fn check(regions: &[Region]) {
    let first = regions.first().expect("there are regions");
    let last = regions.last().expect("there are regions");
    assert!(first.span.start.is_empty() && last.span.end.is_none(), "the map covers every key");
    let adjoins = |pair: &[Region]| pair[0].span.end.as_ref() == Some(&pair[1].span.start);
    assert!(regions.windows(2).all(adjoins), "regions adjoin each other");
    assert!(
        regions.iter().all(|region| region.span.end.as_ref().is_none_or(|end| region.span.start < *end)),
        "no region is empty"
    );
}

/// Cuts a region at a key and gives the part from there on to a group; whether anything changed.
fn split(regions: &mut Vec<Region>, at: &Bytes, to: GroupId, bugs: Bugs) -> bool {
    let place = regions.iter().position(|region| region.span.contains(at)).expect("the map covers every key");
    let region = &regions[place];
    // What stays behind while a part is on its way still is a region of the old version at its shard.
    let is_busy = regions.iter().any(|other| other.moving_from == Some(region.group));
    if region.moving_from.is_some() || is_busy || region.group == to || to == SCHEDULER {
        return false;
    }
    give(regions, place, at, to, bugs);
    true
}

/// Gives the part of a region from a key of it on to a group, whatever else is under way.
fn give(regions: &mut Vec<Region>, place: usize, at: &Bytes, to: GroupId, bugs: Bugs) {
    let region = regions[place].clone();
    let version = region.version + 1;
    let part = |start: &Bytes, end: &Option<Bytes>, group, moving_from| Region {
        span: Span { start: start.clone(), end: end.clone() },
        version,
        group,
        moving_from,
    };
    let moved = part(at, &region.span.end, to, Some(region.group));
    let mut stays =
        (region.span.start < *at).then(|| part(&region.span.start, &Some(at.clone()), region.group, None));
    if bugs.has(Bug::SplitKeepsVersion) {
        stays.iter_mut().for_each(|stays| stays.version = region.version);
    }
    regions.splice(place..=place, stays.into_iter().chain([moved]));
    check(regions);
}

impl Scheduler {
    /// A scheduler whose map begins with these regions, which must cover every key.
    pub fn new(bugs: Bugs, founding: Vec<Region>) -> Self {
        check(&founding);
        Self { bugs, founding, remembered: Timestamp::ZERO }
    }

    async fn regions(&self, store: &impl ReadStore) -> Result<Vec<Region>, EngineError> {
        let stored = store.get(REGIONS_KEY).await?;
        Ok(stored.map_or_else(|| self.founding.clone(), |bytes| decode(&bytes, "regions")))
    }

    async fn reports(&self, store: &impl ReadStore) -> Result<Reports, EngineError> {
        let stored = store.get(REPORTS_KEY).await?;
        Ok(stored.map_or_else(Reports::default, |bytes| decode(&bytes, "reports")))
    }

    /// Lets the leaders take down what is heard of them, and keeps them.
    async fn leaders<A>(
        &self,
        store: &impl ReadStore,
        batch: &mut Batch,
        hear: impl FnOnce(&mut Leaders) -> A,
    ) -> Result<A, EngineError> {
        let stored = store.get(LEADERS_KEY).await?;
        let mut leaders: Leaders = stored.map_or_else(Leaders::default, |bytes| decode(&bytes, "leaders"));
        let answer = hear(&mut leaders);
        batch.put(LEADERS_KEY, encode(&leaders));
        Ok(answer)
    }

    /// Hears what a group holds.
    async fn heartbeat(
        &self,
        group: GroupId,
        held: Vec<Held>,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Ret, EngineError> {
        let (regions, before) = (self.regions(store).await?, self.reports(store).await?);
        let mut reports = before.clone();
        let stale = reports.hear(group, held, &regions, self.bugs);
        if reports != before {
            batch.put(REPORTS_KEY, encode(&reports));
        }
        Ok(Ret::Stale(stale))
    }

    /// Begins a move that makes loads more even, if there is one.
    async fn balance(
        &self,
        tolerance: u64,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Ret, EngineError> {
        let (mut regions, reports) = (self.regions(store).await?, self.reports(store).await?);
        if let Some((place, to)) = reports.balance(&regions, tolerance, self.bugs) {
            let start = regions[place].span.start.clone();
            if self.bugs.has(Bug::BalanceIgnoresMoves) {
                give(&mut regions, place, &start, to, self.bugs);
            } else {
                let begins = split(&mut regions, &start, to, self.bugs);
                assert!(begins, "a group that takes part in no move can begin one");
            }
            batch.put(REGIONS_KEY, encode(&regions));
        }
        Ok(Ret::Regions(regions))
    }

    /// So many timestamps in a row: the first.
    async fn timestamps(
        &mut self,
        count: u32,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Timestamp, EngineError> {
        let stored = store.get(TIMESTAMP_KEY).await?;
        let stored = stored.map_or(Timestamp::ZERO, |bytes| decode(&bytes, "a timestamp"));
        let falls_back = self.bugs.has(Bug::TimestampFallsBack);
        let before = if falls_back { stored.max(self.remembered) } else { stored };
        let last = Timestamp(before.0 + u64::from(count.max(1)));
        assert!(last > before, "timestamps grow");
        if !falls_back || last.0 / WINDOW > before.0 / WINDOW {
            batch.put(TIMESTAMP_KEY, encode(&last));
        }
        if falls_back {
            self.remembered = last;
        }
        Ok(before.next())
    }

    async fn largest(&self, above: u64, store: &impl ReadStore) -> Result<Ret, EngineError> {
        let (regions, reports) = (self.regions(store).await?, self.reports(store).await?);
        Ok(Ret::Largest(reports.largest(&regions, above, self.bugs)))
    }

    /// The effect of an operation, and its answer.
    pub(super) async fn apply(
        &mut self,
        op: SchedulerOp,
        store: &impl ReadStore,
        batch: &mut Batch,
    ) -> Result<Ret, EngineError> {
        match op {
            SchedulerOp::Timestamps { count } => {
                Ok(Ret::Timestamp(self.timestamps(count, store, batch).await?))
            }
            SchedulerOp::Regions => Ok(Ret::Regions(self.regions(store).await?)),
            SchedulerOp::Split { at, to } => {
                let mut regions = self.regions(store).await?;
                if !self.bugs.has(Bug::MoveNeverBegins) && split(&mut regions, &at, to, self.bugs) {
                    batch.put(REGIONS_KEY, encode(&regions));
                }
                Ok(Ret::Regions(regions))
            }
            SchedulerOp::Moved { start, version } => {
                let mut regions = self.regions(store).await?;
                let moved = regions.iter_mut().find(|region| {
                    region.span.start == start && region.version == version && region.moving_from.is_some()
                });
                if let Some(region) = moved {
                    region.moving_from = None;
                    batch.put(REGIONS_KEY, encode(&regions));
                }
                Ok(Ret::Done)
            }
            SchedulerOp::Heartbeat { group, regions } => self.heartbeat(group, regions, store, batch).await,
            SchedulerOp::Balance { tolerance } => self.balance(tolerance, store, batch).await,
            SchedulerOp::Largest { above } => self.largest(above, store).await,
            SchedulerOp::Alive { server } => {
                self.leaders(store, batch, |leaders| leaders.lives(server)).await?;
                Ok(Ret::Done)
            }
            SchedulerOp::Leads { group, epoch, server, candidates } => {
                let hear =
                    |leaders: &mut Leaders| leaders.hear(group, (epoch, server), &candidates, self.bugs);
                let to = self.leaders(store, batch, hear).await?;
                Ok(to.map_or(Ret::Done, |to| Ret::HandOver { group, to }))
            }
        }
    }

    /// Answers a read.
    pub(super) async fn query(&self, read: &SchedulerOp, store: &impl ReadStore) -> Result<Ret, EngineError> {
        match read {
            SchedulerOp::Regions => Ok(Ret::Regions(self.regions(store).await?)),
            SchedulerOp::Largest { above } => self.largest(*above, store).await,
            other => panic!("{other} changes the state and needs a place in the log"),
        }
    }
}

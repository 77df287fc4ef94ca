//! The scheduler: the timestamp oracle, and which group holds which region.
//!
//! | Key | Value |
//! |---|---|
//! | `t` | postcard: the last timestamp that was given |
//! | `r` | postcard: the regions, in key order |
//!
//! Percolator's oracle (§2.3) and PD's run ahead of what they have written by a window, so that most requests
//! need no write. Here each request is a command of the log, which is batched anyway; a counter that is
//! replicated with what it gave cannot fall back.

use contract::{Batch, Bug, Bugs, Bytes, EngineError, GroupId, ReadStore};

use crate::mvcc::Timestamp;

use super::layout::{decode, encode};
use super::op::{Region, Ret, SchedulerOp, Span};

const TIMESTAMP_KEY: &[u8] = b"t";
const REGIONS_KEY: &[u8] = b"r";
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
fn split(regions: &mut Vec<Region>, at: &Bytes, to: GroupId) -> bool {
    let place = regions.iter().position(|region| region.span.contains(at)).expect("the map covers every key");
    let region = regions[place].clone();
    // What stays behind while a part is on its way still is a region of the old version at its shard.
    let is_busy = regions.iter().any(|other| other.moving_from == Some(region.group));
    if region.moving_from.is_some() || is_busy || region.group == to || to == GroupId(0) {
        return false;
    }
    let version = region.version + 1;
    let part = |start: &Bytes, end: &Option<Bytes>, group, moving_from| Region {
        span: Span { start: start.clone(), end: end.clone() },
        version,
        group,
        moving_from,
    };
    let moved = part(at, &region.span.end, to, Some(region.group));
    let stays =
        (region.span.start < *at).then(|| part(&region.span.start, &Some(at.clone()), region.group, None));
    regions.splice(place..=place, stays.into_iter().chain([moved]));
    true
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
                if split(&mut regions, &at, to) {
                    check(&regions);
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
        }
    }

    /// Answers a read.
    pub(super) async fn query(&self, read: &SchedulerOp, store: &impl ReadStore) -> Result<Ret, EngineError> {
        match read {
            SchedulerOp::Regions => Ok(Ret::Regions(self.regions(store).await?)),
            other => panic!("{other} changes the state and needs a place in the log"),
        }
    }
}

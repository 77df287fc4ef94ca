//! Evens out what shards hold, as PD does for TiKV: groups report the sizes of their regions to the scheduler,
//! which moves one from the fullest to the emptiest. A region that has become large is split first.

use std::cmp::Reverse;

use contract::{Bytes, GroupId, Time};
use protocols::percolator::{Held, Op, Region, Ret, SCHEDULER, SchedulerOp, ShardOp};

use super::database::{Database, Unanswered};
use super::link::Wire;

/// How far two groups may be apart, in pairs, before anything moves.
const TOLERANCE: u64 = 0;

/// What a group holds.
struct Load {
    group: GroupId,
    regions: Vec<Held>,
}

impl Load {
    fn pairs(&self) -> u64 {
        self.regions.iter().map(|held| held.pairs).sum()
    }
}

/// Begins one split or one move, if there is anything to be won by it; the map after it.
pub(super) async fn even_out<M: Wire>(
    database: &Database<M>,
    split_above: Option<u64>,
    until: Time,
) -> Result<Vec<Region>, Unanswered> {
    let mut loads = Vec::new();
    for group in database.plan.all_shards() {
        loads.push(report(database, group, until).await?);
    }
    if let Some(above) = split_above
        && let Some((at, to)) = split_of_largest(database, &loads, above, until).await?
    {
        let regions = database.ask_for_regions(SchedulerOp::Split { at: at.clone(), to }, until).await?;
        let is_new =
            |region: &Region| region.span.start == at && region.group == to && region.moving_from.is_some();
        database.records.borrow_mut().counts.regions_split += u64::from(regions.iter().any(is_new));
        return Ok(regions);
    }
    database.ask_for_regions(SchedulerOp::Balance { tolerance: TOLERANCE }, until).await
}

/// Asks a group what it holds, and tells the scheduler.
async fn report<M: Wire>(database: &Database<M>, group: GroupId, until: Time) -> Result<Load, Unanswered> {
    let regions = match database.ask_group(group, ShardOp::Sizes, until).await? {
        Ret::Held(regions) => regions,
        other => unreachable!("a shard that was asked for sizes answered {other}"),
    };
    let heartbeat = Op::Scheduler(SchedulerOp::Heartbeat { group, regions: regions.clone() });
    // What the scheduler does not know yet, or no longer, it will be told again.
    database.link.ask(SCHEDULER, heartbeat, until).await.ok_or(Unanswered)?;
    Ok(Load { group, regions })
}

/// Where to split the largest region, if it is too large, and who gets its second half: whoever holds least.
async fn split_of_largest<M: Wire>(
    database: &Database<M>,
    loads: &[Load],
    above: u64,
    until: Time,
) -> Result<Option<(Bytes, GroupId)>, Unanswered> {
    let regions = loads.iter().flat_map(|load| load.regions.iter().map(move |held| (load.group, held)));
    let largest = regions.max_by_key(|(group, held)| (held.pairs, Reverse(*group)));
    let Some((group, held)) = largest.filter(|(_, held)| held.pairs > above) else { return Ok(None) };
    let others = loads.iter().filter(|load| load.group != group);
    let Some(least) = others.min_by_key(|load| (load.pairs(), load.group)) else { return Ok(None) };
    let op = ShardOp::Middle { span: held.span.clone() };
    let asked = Op::Shard { version: held.version, op };
    match database.link.ask(group, asked, until).await.ok_or(Unanswered)? {
        Ret::Middle(middle) => Ok(middle.map(|at| (at, least.group))),
        // It has gone elsewhere since.
        Ret::NotHere => Ok(None),
        other => unreachable!("a shard that was asked for a middle answered {other}"),
    }
}

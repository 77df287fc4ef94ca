//! Evens out what shards hold, as PD does for TiKV: the scheduler, to which the leaders of shards report what they
//! hold, moves a region from the fullest to the emptiest. A region that has become large is split first.

use contract::{Bytes, GroupId, Time};
use protocols::percolator::{Op, Region, Ret, SCHEDULER, SchedulerOp, ShardOp};

use super::database::{Database, Unanswered};
use super::link::Wire;

/// How far two groups may be apart, in pairs, before anything moves.
const TOLERANCE: u64 = 0;

/// Begins one split or one move, if there is anything to be won by it; the map after it.
pub(super) async fn even_out<M: Wire>(
    database: &Database<M>,
    split_above: Option<u64>,
    until: Time,
) -> Result<Vec<Region>, Unanswered> {
    if let Some(above) = split_above
        && let Some((at, to)) = split_of_largest(database, above, until).await?
    {
        let regions = database.ask_for_regions(SchedulerOp::Split { at: at.clone(), to }, until).await?;
        let is_new =
            |region: &Region| region.span.start == at && region.group == to && region.moving_from.is_some();
        database.records.borrow_mut().counts.regions_split += u64::from(regions.iter().any(is_new));
        return Ok(regions);
    }
    database.ask_for_regions(SchedulerOp::Balance { tolerance: TOLERANCE }, until).await
}

/// Where to split the largest region, if it is too large, and who gets its second half.
async fn split_of_largest<M: Wire>(
    database: &Database<M>,
    above: u64,
    until: Time,
) -> Result<Option<(Bytes, GroupId)>, Unanswered> {
    let asked = Op::Scheduler(SchedulerOp::Largest { above });
    let (region, least) = match database.link.ask(SCHEDULER, asked, until).await.ok_or(Unanswered)? {
        Ret::Largest(Some(found)) => found,
        Ret::Largest(None) => return Ok(None),
        other => unreachable!("the scheduler was asked for the largest region and answered {other}"),
    };
    let op = ShardOp::Middle { span: region.span };
    let asked = Op::Shard { version: region.version, op };
    match database.link.ask(region.group, asked, until).await.ok_or(Unanswered)? {
        Ret::Middle(middle) => Ok(middle.map(|at| (at, least))),
        // It has gone elsewhere since.
        Ret::NotHere => Ok(None),
        other => unreachable!("a shard that was asked for a middle answered {other}"),
    }
}

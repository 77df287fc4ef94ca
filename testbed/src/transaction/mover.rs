//! Brings regions from one group to another, as the scheduler has it in its map.
//!
//! The scheduler gives a part of a region to another group. From there on anybody can do the rest, and several
//! at once: the old group freezes the part and hands out what it holds, the new one takes it over, the scheduler
//! notes it, and the old one forgets it. Each step can be done twice (MIT 6.5840, shardkv).

use std::time::Duration;

use contract::Time;
use protocols::percolator::{Op, Region, Ret, SCHEDULER, SchedulerOp, ShardOp};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::balance;
use super::database::{Database, Unanswered};
use super::link::Wire;

/// How long one move may take before it is left to the next one, or to others.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a mover moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    /// Whatever comes to its mind.
    AtRandom,
    /// What makes shards hold about the same; regions that have become large are split.
    Evenly { split_above: Option<u64> },
}

/// Has regions split and moved until the faults end, and then sees to it that what was begun is finished.
pub(crate) async fn run<M: Wire>(
    database: Database<M>,
    moves: Moves,
    every: Duration,
    quiet_from: Time,
    mut draws: ChaCha8Rng,
) {
    loop {
        database.link.sleep(gap(every, &mut draws)).await;
        let at = database.plan.key(draws.random_range(0..database.plan.keys));
        let to = database.plan.shard(draws.random_range(0..database.plan.groups()));
        let until = database.link.now() + PATIENCE;
        let regions = match moves {
            _ if database.link.now() >= quiet_from => {
                database.ask_for_regions(SchedulerOp::Regions, until).await
            }
            Moves::AtRandom => database.ask_for_regions(SchedulerOp::Split { at, to }, until).await,
            Moves::Evenly { split_above } => balance::even_out(&database, split_above, until).await,
        };
        for region in regions.unwrap_or_default() {
            if bring(&database, region, until).await.is_err() {
                break;
            }
        }
    }
}

/// A time until the next of what happens once in so long, in the mean.
pub(super) fn gap(every: Duration, draws: &mut ChaCha8Rng) -> Duration {
    let uniform: f64 = draws.random();
    Duration::from_secs_f64(-libm::log(1.0 - uniform) * every.as_secs_f64())
}

/// Brings a region over, if it is to be.
async fn bring<M: Wire>(database: &Database<M>, region: Region, until: Time) -> Result<(), Unanswered> {
    let Region { span, version, group, moving_from } = region;
    let Some(from) = moving_from else { return Ok(()) };
    let ask =
        async |group, op| database.link.ask(group, Op::Shard { version, op }, until).await.ok_or(Unanswered);
    let content = match ask(from, ShardOp::Freeze { span: span.clone(), version }).await? {
        Ret::Content(content) => content,
        // Somebody has brought it over, and more has happened since.
        Ret::NotHere => return Ok(()),
        other => unreachable!("a freeze was answered {other}"),
    };
    match ask(group, ShardOp::Install { span: span.clone(), version, content }).await? {
        Ret::Done => {}
        other => unreachable!("an installation was answered {other}"),
    }
    let moved = Op::Scheduler(SchedulerOp::Moved { start: span.start.clone(), version });
    database.link.ask(SCHEDULER, moved, until).await.ok_or(Unanswered)?;
    ask(from, ShardOp::Release { span, version }).await?;
    database.records.borrow_mut().counts.regions_moved += 1;
    Ok(())
}

//! Collects garbage, in TiKV's order: a safepoint below which no transaction runs any more; then no lock from
//! before it stands anywhere; then each shard forgets what nobody can read.

use std::time::Duration;

use contract::{Bug, Time};
use protocols::percolator::{Ret, ShardOp, Timestamp};
use rand_chacha::ChaCha8Rng;

use super::database::{Database, Unanswered};
use super::link::Wire;
use super::mover::gap;

/// How long one collection may take before it is left to the next one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Collects garbage until the faults end. A transaction that has run for its `lifetime` has ended.
pub(crate) async fn run<M: Wire>(
    database: Database<M>,
    every: Duration,
    lifetime: Duration,
    quiet_from: Time,
    mut draws: ChaCha8Rng,
) {
    while database.link.now() < quiet_from {
        database.link.sleep(gap(every, &mut draws)).await;
        let asked = database.timestamp(database.link.now() + PATIENCE).await;
        let Ok(safepoint) = asked else { continue };
        if !database.bugs.has(Bug::SafepointOfNow) {
            database.link.sleep(lifetime).await;
        }
        if collect(&database, safepoint, database.link.now() + PATIENCE).await.is_ok() {
            database.records.borrow_mut().counts.collections += 1;
        }
    }
}

async fn collect<M: Wire>(
    database: &Database<M>,
    safepoint: Timestamp,
    until: Time,
) -> Result<(), Unanswered> {
    // A lock's fate is told by its primary, which may stand on another shard: while there is one, none forgets.
    if !database.bugs.has(Bug::CollectedBeforeResolved) {
        database.resolve_all(until).await?;
    }
    for group in database.plan.all_shards() {
        loop {
            match database.ask_group(group, ShardOp::Collect { safepoint }, until).await? {
                Ret::Done => break,
                Ret::Locked(lock) => database.wait_for(lock, until).await?,
                other => unreachable!("a collection of garbage was answered {other}"),
            }
        }
    }
    Ok(())
}

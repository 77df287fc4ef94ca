//! Reads that may be stale, but not for longer than a bound.
//!
//! A read that was invoked at `t` and may be stale for Δ can take effect at any moment from `t − Δ` on.
//! So the history keeps the promise if and only if it is linearizable once every read was invoked Δ
//! earlier (Golab, Li & Shah, "Analyzing consistency properties for fun and profit", 2011). Operations
//! that may change something keep their moments. A client's own order is given up for its reads: whoever
//! is promised no more may read what was there before its own write.

use std::time::Duration;

use contract::{History, Time};

use super::Consistency;
use crate::division::outlines;
use crate::explain::clock;
use crate::judge::{Budget, Verdict, judge_parts};
use crate::parts::{Interval, Malformed, NEVER, Operation};
use crate::spec::Spec;

pub(super) fn judge<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    bound: Duration,
    budget: Budget,
) -> Result<Verdict, Malformed> {
    let events = history.events().len();
    if events >= NEVER as usize / 2 {
        return Err(Malformed::TooLong { events });
    }
    let times: Vec<Time> = history.events().iter().map(|event| event.time).collect();
    let outlines = outlines(history, initial)?.into_iter();
    let outlines = outlines.map(|outline| {
        outline.with_intervals(|operation| reads_begin_earlier::<S>(operation, &times, bound))
    });
    let mut verdict = judge_parts(outlines.collect(), initial, budget);
    if let Verdict::Violation(violation) = &mut verdict {
        violation.check = Consistency::STALE_BOUNDED.to_owned();
        let allowed = clock(Time::ZERO + bound);
        violation.reason.sentence += &format!("; a read may be stale for {allowed} at most");
    }
    Ok(verdict)
}

/// When an operation may take effect if reads were invoked earlier. Each event gets two places, so that
/// an invocation that is moved comes directly before an event, not upon it.
fn reads_begin_earlier<S: Spec>(
    operation: &Operation<'_, S::Op, S::Ret>,
    times: &[Time],
    bound: Duration,
) -> Interval {
    let mut call = operation.call;
    if S::is_read(operation.op, None) && !bound.is_zero() {
        let from = Time(operation.invoked.0.saturating_sub((Time::ZERO + bound).0));
        call = call.min(times.partition_point(|time| *time < from) as u32);
    }
    let end = if operation.end == NEVER { NEVER } else { 2 * operation.end + 1 };
    Interval { call: 2 * call, end }
}

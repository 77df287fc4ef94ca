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
use crate::explain::clock;
use crate::judge::{Budget, Verdict, judge_parts};
use crate::parts::{Malformed, NEVER, Part, split};
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
    let mut parts = split::<S>(history)?;
    parts.iter_mut().for_each(|part| reads_begin_earlier(part, &times, bound));
    let mut verdict = judge_parts(&parts, initial, budget);
    if let Verdict::Violation(violation) = &mut verdict {
        violation.check = Consistency::STALE_BOUNDED.to_owned();
        let allowed = clock(Time::ZERO + bound);
        violation.reason.sentence += &format!("; a read may be stale for {allowed} at most");
    }
    Ok(verdict)
}

/// Moves the invocations of reads. Each event gets two places, so that an invocation that is moved comes
/// directly before an event, not upon it.
fn reads_begin_earlier<S: Spec>(part: &mut Part<'_, S>, times: &[Time], bound: Duration) {
    for operation in &mut part.operations {
        let mut call = operation.call;
        if S::is_read(operation.op, None) && !bound.is_zero() {
            let from = Time(operation.invoked.0.saturating_sub((Time::ZERO + bound).0));
            call = call.min(times.partition_point(|time| *time < from) as u32);
        }
        operation.call = 2 * call;
        if operation.end != NEVER {
            operation.end = 2 * operation.end + 1;
        }
    }
}

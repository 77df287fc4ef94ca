//! A known order, checked instead of searched for.
//!
//! Who runs a service in a simulator knows in which order it applied its operations. If that order
//! explains the history, the history is linearizable, and no search is needed.

use contract::{History, OpId};

use crate::parts::{Malformed, Operation, operations};
use crate::spec::Spec;

/// Whether `order` is a linearization: it holds every answered operation once, and of those with
/// unknown outcome some once; none stands before one that had returned when it was invoked; and the
/// object, from state `initial` on, gives every answer. Takes time linear in the history.
///
/// `false` does not mean that there is no other order.
///
/// # Errors
/// [`Malformed`] if no clients can have produced the history.
pub fn witness<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    order: &[OpId],
) -> Result<bool, Malformed> {
    let mut left: Vec<Option<Operation<'_, S::Op, S::Ret>>> =
        (0..history.operations()).map(|_| None).collect();
    for operation in operations(history)? {
        let place = operation.id.0 as usize;
        left[place] = Some(operation);
    }
    let mut state = initial.clone();
    let mut latest_call = 0;
    for id in order {
        let Some(operation) = left.get_mut(id.0 as usize).and_then(Option::take) else { return Ok(false) };
        latest_call = latest_call.max(operation.call);
        if operation.end < latest_call {
            return Ok(false);
        }
        match state.step(operation.op, operation.ret) {
            Some(after) => state = after,
            None => return Ok(false),
        }
    }
    Ok(left.iter().flatten().all(|operation| !operation.is_answered()))
}

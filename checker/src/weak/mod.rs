//! Weaker promises than linearizability, for services that do not make that one.
//!
//! - [`Consistency::Sequential`] (Lamport, 1979): one order explains every answer and keeps each
//!   client's own order; what different clients do has no order of its own (`sequential`).
//! - The session guarantees (Terry et al., "Session guarantees for weakly consistent replicated data",
//!   1994), per key: each asks for one order of a key's versions that some things must not contradict
//!   (`sessions`).
//! - [`Consistency::StaleBounded`]: what is linearizable once every read may have been invoked so much
//!   earlier (Δ-atomicity; Golab, Li & Shah, 2011) (`staleness`).
//!
//! What is linearizable keeps all of these promises, and what is sequentially consistent keeps the
//! session guarantees; but it may be arbitrarily stale.

mod precedence;
mod sequential;
mod sessions;
mod staleness;
mod versions;

use std::fmt;
use std::time::Duration;

use contract::History;
use serde::{Deserialize, Serialize};

use crate::explain::clock;
use crate::judge::{Budget, Verdict, judge};
use crate::parts::Malformed;
use crate::spec::Spec;

/// What a service promises its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// Each operation takes effect at one moment between its invocation and its return.
    #[default]
    Linearizable,
    /// Operations take effect one after the other, those of one client in the order in which it
    /// invoked them.
    Sequential,
    /// What a client reads of a key never gets older.
    MonotonicReads,
    /// Nobody who reads what one client wrote to a key reads its earlier writes after its later ones.
    MonotonicWrites,
    /// A client that wrote to a key reads nothing older there.
    ReadYourWrites,
    /// What a client writes to a key is newer, for everybody, than what it had read there.
    WritesFollowReads,
    /// A read returns what was there at some moment between so long before its invocation and its
    /// return.
    StaleBounded(Duration),
}

impl Consistency {
    /// All of them with their names, but for [`Consistency::StaleBounded`], which needs a duration.
    pub const NAMED: [(Self, &'static str); 6] = [
        (Self::Linearizable, "linearizable"),
        (Self::Sequential, "sequential"),
        (Self::MonotonicReads, "monotonic-reads"),
        (Self::MonotonicWrites, "monotonic-writes"),
        (Self::ReadYourWrites, "read-your-writes"),
        (Self::WritesFollowReads, "writes-follow-reads"),
    ];
    /// The name of [`Consistency::StaleBounded`], in front of `=` and a duration.
    pub const STALE_BOUNDED: &'static str = "stale-bounded";

    /// Its name, without the duration.
    pub fn name(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(known, _)| *known == self);
        named.map_or(Self::STALE_BOUNDED, |(_, name)| name)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleBounded(bound) => {
                write!(f, "{}={}", self.name(), clock(contract::Time::ZERO + *bound))
            }
            _ => f.write_str(self.name()),
        }
    }
}

/// Why a history cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakError {
    /// No clients can have produced it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The session guarantees are about what is read and written under a key, and these operations are
    /// something else.
    #[error("{0} is about registers, and the operations are no reads and writes of one")]
    NoRegister(Consistency),
}

/// Judges whether a history keeps a promise, with respect to an object in state `initial`. For
/// [`Consistency::Linearizable`] it is [`judge`].
///
/// The session guarantees need values that have one writer each: [`Verdict::Unknown`] says that the rest
/// of what was read shows no violation, but that some reads could not be told apart. Their work is
/// linear and takes nothing from the budget.
///
/// # Errors
/// [`WeakError`].
pub fn judge_weak<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    consistency: Consistency,
    budget: Budget,
) -> Result<Verdict, WeakError> {
    Ok(match consistency {
        Consistency::Linearizable => judge(history, initial, budget)?,
        Consistency::Sequential => sequential::judge(history, initial, budget)?,
        Consistency::StaleBounded(bound) => staleness::judge(history, initial, bound, budget)?,
        Consistency::MonotonicReads
        | Consistency::MonotonicWrites
        | Consistency::ReadYourWrites
        | Consistency::WritesFollowReads => sessions::judge(history, initial, consistency)?,
    })
}

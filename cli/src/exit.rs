//! What the process says when it ends.

use std::process::ExitCode;

use testbed::Verdict;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All that was asked for holds.
    Holds = 0,
    /// Something does not hold.
    Violation = 1,
    /// Bad input or usage.
    BadInput = 2,
    /// A checker or a budget ran out.
    Inconclusive = 3,
    /// A run was not deterministic, or a replay diverged.
    Diverged = 4,
    /// A bug of Seedbed's own (`EX_SOFTWARE`).
    OwnBug = 70,
    /// Interrupted; it can be gone on with (`EX_TEMPFAIL`).
    Interrupted = 75,
}

impl Exit {
    /// For one run.
    pub(crate) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::Holds,
            Verdict::Violation(_) => Self::Violation,
            Verdict::Inconclusive { .. } => Self::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

//! The only clock of the machine that Seedbed looks at: to tell how fast it is, and when to stop.

#![expect(clippy::disallowed_types, reason = "what is measured here is Seedbed, not what it simulates")]

use std::time::{Duration, Instant};

/// Measures from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

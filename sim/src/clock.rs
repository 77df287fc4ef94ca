//! Clocks that run ahead, drift, jump and stand still.
//!
//! A clock is a straight line over simulated time: what it showed at some moment, and a rate. Integer
//! arithmetic throughout, so that an hour's drift is exact to the nanosecond.

use std::time::Duration;

use contract::Time;

use crate::latency::nanos;

const BILLION: i128 = 1_000_000_000;

/// One endpoint's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it showed `shown`, in simulated time.
    at: Time,
    shown: u64,
    /// How much faster than simulated time it goes, in parts per billion.
    drift_ppb: i64,
}

impl Clock {
    pub(crate) fn new(ahead: u64, drift_ppb: i64) -> Self {
        Self { at: Time::ZERO, shown: ahead, drift_ppb }
    }

    #[inline]
    pub(crate) fn read(&self, now: Time) -> Time {
        let since = now.0 - self.at.0;
        if self.drift_ppb == 0 {
            return Time(self.shown + since);
        }
        let drifted = i128::from(since) * i128::from(self.drift_ppb) / BILLION;
        Time(self.shown + since.saturating_add_signed(drifted as i64))
    }

    /// How long an endpoint waits that wants to wait for a time of its own clock.
    #[inline]
    pub(crate) fn wait(&self, duration: Duration) -> Duration {
        if self.drift_ppb == 0 {
            return duration;
        }
        let rate = BILLION + i128::from(self.drift_ppb);
        Duration::from_nanos((i128::from(nanos(duration)) * BILLION / rate) as u64)
    }

    /// Sets the clock forward, or back: at most to its zero.
    pub(crate) fn jump(&mut self, now: Time, by_ns: i64) {
        *self = Self { at: now, shown: self.read(now).0.saturating_add_signed(by_ns), ..*self };
    }

    pub(crate) fn drift_ppb(&self) -> i64 {
        self.drift_ppb
    }

    /// Lets it go at another rate from now on.
    pub(crate) fn set_drift(&mut self, now: Time, drift_ppb: i64) {
        assert!(i128::from(drift_ppb).abs() < BILLION, "a clock that drifts by {drift_ppb} ppb does not go");
        *self = Self { at: now, shown: self.read(now).0, drift_ppb };
    }
}

//! How ZAB is tuned.

use std::time::Duration;

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The tuning of a replica. In a scenario: `options = { tick-time = "20ms", sync-limit = 10 }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// How often a leader pings its learners, and counts who answers: the unit of the limits.
    #[serde(with = "duration")]
    pub tick_time: Duration,
    /// How many ticks each step of a recovery may take before it is given up.
    pub init_limit: u32,
    /// After how many ticks of silence a leader gives up a learner, and a learner its leader.
    pub sync_limit: u32,
    /// How long a server that looks for a leader waits before it repeats its vote; doubles each time.
    #[serde(with = "duration")]
    pub notification_interval: Duration,
    /// The longest such wait.
    #[serde(with = "duration")]
    pub max_notification_interval: Duration,
    /// How long a vote that a quorum shares may still be outdone, while some voters are silent.
    #[serde(with = "duration")]
    pub finalize_wait: Duration,
    /// The highest counter in an epoch: a leader that has used it up makes way for a new epoch.
    pub max_counter: u64,
    /// The most proposals that may wait to be committed; more are refused.
    pub max_outstanding: u64,
    /// The most transactions in one message of a DIFF.
    pub max_diff_entries: usize,
    /// The log is compacted when it holds more entries than this that the service durably includes.
    pub snapshot_entries: u64,
    /// How many of those stay, for followers that are a little behind.
    pub keep_entries: u64,
    /// Whether followers and observers serve linearizable reads, each behind a `sync` with the leader.
    pub follower_reads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tick_time: Duration::from_millis(50),
            init_limit: 20,
            sync_limit: 8,
            notification_interval: Duration::from_millis(200),
            max_notification_interval: Duration::from_millis(800),
            finalize_wait: Duration::from_millis(20),
            max_counter: 0xffff_ffff,
            max_outstanding: 1024,
            max_diff_entries: 64,
            snapshot_entries: 1000,
            keep_entries: 100,
            follower_reads: false,
        }
    }
}

/// Options that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A bound that lets nothing through.
    #[error("{option}: must be above zero")]
    Zero {
        /// Which option.
        option: &'static str,
    },
    /// A leader would be given up between two of its pings.
    #[error("sync-limit: must be at least 2 ticks, not {ticks}")]
    SyncLimit {
        /// `sync-limit`.
        ticks: u32,
    },
    /// A range that ends before it begins.
    #[error("max-notification-interval: {max:?} is below notification-interval, {min:?}")]
    NotificationInterval {
        /// `notification-interval`.
        min: Duration,
        /// `max-notification-interval`.
        max: Duration,
    },
    /// A compaction that would remove nothing.
    #[error("keep-entries: {keep} must be below snapshot-entries, {snapshot}")]
    Keep {
        /// `keep-entries`.
        keep: u64,
        /// `snapshot-entries`.
        snapshot: u64,
    },
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        self.consistent().map_err(|error| error.to_string())
    }
}

impl Options {
    /// The first option that cannot be, as an error.
    fn consistent(&self) -> Result<(), OptionError> {
        let bounds = [
            ("tick-time", self.tick_time.is_zero()),
            ("init-limit", self.init_limit == 0),
            ("notification-interval", self.notification_interval.is_zero()),
            ("max-counter", self.max_counter == 0),
            ("max-outstanding", self.max_outstanding == 0),
            ("max-diff-entries", self.max_diff_entries == 0),
        ];
        if let Some((option, _)) = bounds.into_iter().find(|(_, zero)| *zero) {
            return Err(OptionError::Zero { option });
        }
        if self.sync_limit < 2 {
            return Err(OptionError::SyncLimit { ticks: self.sync_limit });
        }
        let (min, max) = (self.notification_interval, self.max_notification_interval);
        if max < min {
            return Err(OptionError::NotificationInterval { min, max });
        }
        if self.keep_entries >= self.snapshot_entries {
            return Err(OptionError::Keep { keep: self.keep_entries, snapshot: self.snapshot_entries });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_work_are_refused() {
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.consistent()
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|o| o.tick_time = Duration::ZERO), Err(OptionError::Zero { option: "tick-time" }));
        assert_eq!(with(|o| o.max_counter = 0), Err(OptionError::Zero { option: "max-counter" }));
        assert_eq!(with(|o| o.sync_limit = 1), Err(OptionError::SyncLimit { ticks: 1 }));
        let (min, max) = (Duration::from_millis(200), Duration::from_millis(10));
        assert_eq!(
            with(|o| o.max_notification_interval = Duration::from_millis(10)),
            Err(OptionError::NotificationInterval { min, max })
        );
        assert_eq!(with(|o| o.keep_entries = 1000), Err(OptionError::Keep { keep: 1000, snapshot: 1000 }));
    }

    #[test]
    fn options_read_as_people_write_them() {
        let options: Options = serde_json::from_str(r#"{"tick-time": "10ms", "max-counter": 50}"#).unwrap();
        assert_eq!((options.tick_time, options.max_counter), (Duration::from_millis(10), 50));
        let written = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&written).unwrap(), options);
    }
}

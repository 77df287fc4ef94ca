//! How Viewstamped Replication is tuned.

use std::time::Duration;

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The tuning of a replica. In a scenario: `options = { view-change-timeout = ["150ms", "300ms"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// The range from which it is drawn how long a backup waits for its primary, or a replica for a view
    /// change to end; shortest first.
    #[serde(with = "duration::range")]
    pub view_change_timeout: (Duration, Duration),
    /// How often a primary is heard from, at the least; and how often anything else is repeated.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// The most entries that are repeated at once to a backup that did not acknowledge them.
    pub max_prepare_entries: usize,
    /// The most entries that may wait to be committed; more proposals are refused.
    pub max_uncommitted: u64,
    /// The log is compacted when it holds more entries than this that the service's state includes.
    pub snapshot_entries: u64,
    /// How many of those stay, for replicas that are a little behind.
    pub keep_entries: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            view_change_timeout: (Duration::from_millis(150), Duration::from_millis(300)),
            heartbeat_interval: Duration::from_millis(50),
            max_prepare_entries: 64,
            max_uncommitted: 1024,
            snapshot_entries: 200,
            keep_entries: 100,
        }
    }
}

/// Options that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A range that ends before it begins.
    #[error("view-change-timeout: the longest, {max:?}, is below the shortest, {min:?}")]
    Timeout {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Backups would take their primary for dead between two heartbeats.
    #[error(
        "heartbeat-interval: {heartbeat:?} must be above zero and below the view change timeout of {min:?}"
    )]
    Heartbeat {
        /// The interval.
        heartbeat: Duration,
        /// The shortest timeout.
        min: Duration,
    },
    /// A bound that lets nothing through.
    #[error("{option}: must be at least 1")]
    Zero {
        /// Which option.
        option: &'static str,
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
    fn consistent(&self) -> Result<(), OptionError> {
        let (min, max) = self.view_change_timeout;
        if max < min {
            return Err(OptionError::Timeout { min, max });
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= min {
            return Err(OptionError::Heartbeat { heartbeat: self.heartbeat_interval, min });
        }
        let bounds = [
            ("max-prepare-entries", self.max_prepare_entries as u64),
            ("max-uncommitted", self.max_uncommitted),
        ];
        if let Some((option, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(OptionError::Zero { option });
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
        let refused = |json: &str| serde_json::from_str::<Options>(json).unwrap().check().unwrap_err();
        assert!(refused(r#"{"view-change-timeout": ["2s", "1s"]}"#).starts_with("view-change-timeout: "));
        assert!(refused(r#"{"heartbeat-interval": "150ms"}"#).starts_with("heartbeat-interval: "));
        assert!(refused(r#"{"max-prepare-entries": 0}"#).starts_with("max-prepare-entries: "));
        assert!(refused(r#"{"max-uncommitted": 0}"#).starts_with("max-uncommitted: "));
        assert!(refused(r#"{"keep-entries": 200}"#).starts_with("keep-entries: "));
        assert_eq!(Options::default().check(), Ok(()));
    }
}

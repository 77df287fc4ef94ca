//! How Raft is tuned.

use std::time::Duration;

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The tuning of a replica. In a scenario: `options = { election-timeout = ["150ms", "300ms"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// The range from which each election timeout is drawn (§5.2), shortest first.
    #[serde(with = "duration::range")]
    pub election_timeout: (Duration, Duration),
    /// How often a leader is heard from, at the least.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// The most entries in one append.
    pub max_append_entries: usize,
    /// The most appends under way to one follower.
    pub max_inflight: usize,
    /// The most entries that may wait to be committed; more proposals are refused.
    pub max_uncommitted: u64,
    /// The log is compacted when it holds more entries than this that the service durably includes.
    pub snapshot_entries: u64,
    /// How many of those stay, for followers that are a little behind.
    pub keep_entries: u64,
    /// Whether a leader that has not heard from a quorum for an election timeout steps down
    /// (dissertation §6.2).
    pub check_quorum: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            election_timeout: (Duration::from_millis(150), Duration::from_millis(300)),
            heartbeat_interval: Duration::from_millis(50),
            max_append_entries: 64,
            max_inflight: 8,
            max_uncommitted: 1024,
            snapshot_entries: 1000,
            keep_entries: 100,
            check_quorum: true,
        }
    }
}

/// Options that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A range that ends before it begins.
    #[error("election-timeout: the longest, {max:?}, is below the shortest, {min:?}")]
    ElectionTimeout {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Followers would take their leader for dead between two heartbeats.
    #[error("heartbeat-interval: {heartbeat:?} must be above zero and below the election timeout of {min:?}")]
    Heartbeat {
        /// The interval.
        heartbeat: Duration,
        /// The shortest election timeout.
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
    /// The first two options that contradict each other, as an error.
    fn consistent(&self) -> Result<(), OptionError> {
        let (min, max) = self.election_timeout;
        if max < min {
            return Err(OptionError::ElectionTimeout { min, max });
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= min {
            return Err(OptionError::Heartbeat { heartbeat: self.heartbeat_interval, min });
        }
        let bounds = [
            ("max-append-entries", self.max_append_entries as u64),
            ("max-inflight", self.max_inflight as u64),
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

    fn parse(json: &str) -> Result<Options, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn options_read_as_people_write_them() {
        let options =
            parse(r#"{"election-timeout": ["1s", "1500ms"], "heartbeat-interval": "500us"}"#).unwrap();
        assert_eq!(options.election_timeout, (Duration::from_secs(1), Duration::from_millis(1500)));
        assert_eq!(options.heartbeat_interval, Duration::from_micros(500));
        assert_eq!(options.max_inflight, Options::default().max_inflight);
        let written = serde_json::to_string(&options).unwrap();
        assert!(written.contains(r#""election-timeout":["1s","1500ms"],"heartbeat-interval":"500us""#));
        assert_eq!(parse(&written), Ok(options));
    }

    #[test]
    fn errors_say_what_was_expected() {
        for text in ["50", "fast", "-1ms", "1.5s", "ms", "99999999999999999999s"] {
            let error = parse(&format!(r#"{{"heartbeat-interval": "{text}"}}"#)).unwrap_err();
            assert!(error.contains("a whole number with a unit"), "{text}: {error}");
        }
        assert!(parse(r#"{"heartbeat": "1s"}"#).unwrap_err().contains("unknown field `heartbeat`"));
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.consistent()
        };
        assert_eq!(with(|_| ()), Ok(()));
        let zero = Duration::ZERO;
        let min = Duration::from_millis(150);
        assert_eq!(
            with(|options| options.election_timeout.1 = Duration::ZERO),
            Err(OptionError::ElectionTimeout { min, max: zero })
        );
        assert_eq!(
            with(|options| options.heartbeat_interval = options.election_timeout.0),
            Err(OptionError::Heartbeat { heartbeat: min, min })
        );
        assert_eq!(
            with(|options| options.max_inflight = 0),
            Err(OptionError::Zero { option: "max-inflight" })
        );
        assert_eq!(
            with(|options| options.keep_entries = 1000),
            Err(OptionError::Keep { keep: 1000, snapshot: 1000 })
        );
    }
}

//! How the crate is driven.

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

/// In a scenario: `options = { snapshot-entries = 400 }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// The range from which each election timeout is drawn, in milliseconds, shortest first.
    pub election_timeout_ms: (u64, u64),
    /// How often a leader is heard from, in milliseconds.
    pub heartbeat_ms: u64,
    /// The most entries in one append.
    pub max_append_entries: usize,
    /// Whether a follower is not sent again what is on its way to it, which the crate asks for.
    pub trim_in_flight: bool,
    /// The most entries that may wait to be committed; more proposals are refused.
    pub max_uncommitted: u64,
    /// The log is compacted when it holds more entries than this that the service durably includes.
    pub snapshot_entries: u64,
    /// How many of those stay.
    pub keep_entries: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            election_timeout_ms: (150, 300),
            heartbeat_ms: 50,
            max_append_entries: 64,
            trim_in_flight: true,
            max_uncommitted: 1024,
            snapshot_entries: 1000,
            keep_entries: 100,
        }
    }
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        let (min, max) = self.election_timeout_ms;
        if max < min {
            return Err(format!("election-timeout-ms: the longest, {max}, is below the shortest, {min}"));
        }
        if self.heartbeat_ms == 0 || self.heartbeat_ms >= min {
            return Err(format!("heartbeat-ms: must be above zero and below the election timeout of {min}"));
        }
        if self.max_append_entries == 0 {
            return Err("max-append-entries: must be at least 1".to_owned());
        }
        if self.keep_entries >= self.snapshot_entries {
            return Err(format!("keep-entries: must be below snapshot-entries, {}", self.snapshot_entries));
        }
        Ok(())
    }
}

//! How Paxos is tuned.

use std::time::Duration;

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The tuning of a replica. In a scenario: `options = { retry-after = ["50ms", "150ms"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// The range from which it is drawn how long a proposer waits, shortest first: for an answer, or to try
    /// again after it was refused.
    #[serde(with = "duration::range")]
    pub retry_after: (Duration, Duration),
    /// After how many records in the journal what counts is written anew, at the least.
    pub rewrite_after: usize,
}

impl Default for Options {
    fn default() -> Self {
        let retry_after = (Duration::from_millis(20), Duration::from_millis(80));
        Self { retry_after, rewrite_after: 1000 }
    }
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        let (min, max) = self.retry_after;
        if max < min {
            return Err(format!("retry-after: the longest, {max:?}, is below the shortest, {min:?}"));
        }
        if min.is_zero() {
            return Err("retry-after: must be above zero".to_owned());
        }
        if self.rewrite_after == 0 {
            return Err("rewrite-after: must be at least 1".to_owned());
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
        assert!(refused(r#"{"retry-after": ["2ms", "1ms"]}"#).starts_with("retry-after: the longest"));
        assert!(refused(r#"{"retry-after": ["0ms", "1ms"]}"#).starts_with("retry-after: must"));
        assert!(refused(r#"{"rewrite-after": 0}"#).starts_with("rewrite-after: "));
        assert_eq!(Options::default().check(), Ok(()));
    }
}

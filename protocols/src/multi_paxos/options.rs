//! How Multi-Paxos is tuned.

use std::time::Duration;

use contract::ProtocolOptions;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The tuning of a replica. In a scenario: `options = { window = 16, phase-2-quorum = 2 }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// For how long a leader that falls silent is trusted (the first), and by when a replica that trusts
    /// none has asked whether to stand (the second).
    #[serde(with = "duration::range")]
    pub election_timeout: (Duration, Duration),
    /// How often a leader is heard from, at the least; and after how long what was asked of another
    /// replica is asked again.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// The most slots that may be open, proposed and not known to be decided, at once (α in *Paxos Made
    /// Simple*, §3).
    pub window: u64,
    /// The most entries in one message.
    pub max_batch: usize,
    /// The most proposals that may wait to be decided; more are refused.
    pub max_uncommitted: usize,
    /// The log is compacted when it holds more entries than this that the service durably includes.
    pub snapshot_entries: u64,
    /// How many of those stay, for replicas that are a little behind.
    pub keep_entries: u64,
    /// How many voters must promise before anything is proposed (Flexible Paxos). By default so many that
    /// they meet every quorum of Phase 2.
    pub phase_1_quorum: Option<usize>,
    /// How many voters decide by accepting (Flexible Paxos). By default so many that they meet every quorum
    /// of Phase 1. A majority each, if neither is given.
    pub phase_2_quorum: Option<usize>,
    /// Whether a leader reads without asking while a quorum trusts it. Sound only where clocks go as
    /// `max-drift-ppm` says.
    pub lease_reads: bool,
    /// By how much a clock may go too fast or too slow, in parts per million.
    pub max_drift_ppm: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            election_timeout: (Duration::from_millis(150), Duration::from_millis(300)),
            heartbeat_interval: Duration::from_millis(50),
            window: 64,
            max_batch: 64,
            max_uncommitted: 1024,
            snapshot_entries: 1000,
            keep_entries: 100,
            phase_1_quorum: None,
            phase_2_quorum: None,
            lease_reads: false,
            max_drift_ppm: 500,
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
    /// A clock that may stand still.
    #[error("max-drift-ppm: {ppm} must be below 500000: no lease would be left")]
    Drift {
        /// `max-drift-ppm`.
        ppm: u32,
    },
    /// Two leaders could each have a quorum, and neither would learn of the other (Flexible Paxos, §3).
    #[error("phase-2-quorum: {second} of {voters} voters may miss the {first} of phase-1-quorum")]
    Disjoint {
        /// The quorum of Phase 1.
        first: usize,
        /// The quorum of Phase 2.
        second: usize,
        /// How many vote.
        voters: usize,
    },
    /// More are asked for than there are.
    #[error("{option}: {size} is more than the {voters} voters")]
    TooLarge {
        /// Which option.
        option: &'static str,
        /// How many it asks for.
        size: usize,
        /// How many vote.
        voters: usize,
    },
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        self.consistent().map_err(|error| error.to_string())
    }

    fn check_for(&self, voters: usize) -> Result<(), String> {
        self.quorums(voters).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// How many voters each phase needs: any two such sets have a voter in common (Flexible Paxos, §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quorums {
    /// Who must have promised before anything is proposed.
    pub(super) first: usize,
    /// Who must have accepted what is decided.
    pub(super) second: usize,
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
            ("window", Some(self.window as usize)),
            ("max-batch", Some(self.max_batch)),
            ("max-uncommitted", Some(self.max_uncommitted)),
            ("phase-1-quorum", self.phase_1_quorum),
            ("phase-2-quorum", self.phase_2_quorum),
        ];
        if let Some((option, _)) = bounds.into_iter().find(|(_, bound)| *bound == Some(0)) {
            return Err(OptionError::Zero { option });
        }
        if self.keep_entries >= self.snapshot_entries {
            return Err(OptionError::Keep { keep: self.keep_entries, snapshot: self.snapshot_entries });
        }
        if self.max_drift_ppm >= 500_000 {
            return Err(OptionError::Drift { ppm: self.max_drift_ppm });
        }
        Ok(())
    }

    /// The quorums of a group of so many voters.
    pub(super) fn quorums(&self, voters: usize) -> Result<Quorums, OptionError> {
        let majority = voters / 2 + 1;
        let (first, second) = match (self.phase_1_quorum, self.phase_2_quorum) {
            (None, None) => (majority, majority),
            (Some(first), None) => (first, (voters + 1).saturating_sub(first)),
            (None, Some(second)) => ((voters + 1).saturating_sub(second), second),
            (Some(first), Some(second)) => (first, second),
        };
        for (option, size) in [("phase-1-quorum", first), ("phase-2-quorum", second)] {
            if size > voters {
                return Err(OptionError::TooLarge { option, size, voters });
            }
        }
        if first + second <= voters {
            return Err(OptionError::Disjoint { first, second, voters });
        }
        Ok(Quorums { first, second })
    }

    /// For how long a leader may rely on the trust of those that answered, by its own clock and counted
    /// from when it asked. They trust it for the shortest election timeout by theirs, from later on. With
    /// ε the bound of the drift, the leader's clock may show (1 - ε) while theirs shows (1 + ε).
    pub(super) fn lease(&self) -> Duration {
        self.election_timeout.0 * (1_000_000 - 2 * self.max_drift_ppm) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flexible(first: Option<usize>, second: Option<usize>) -> Options {
        Options { phase_1_quorum: first, phase_2_quorum: second, ..Options::default() }
    }

    proptest! {
        /// Whatever is accepted, any two quorums of the two phases have a voter in common.
        #[test]
        fn quorums_meet(
            voters in 1usize..12,
            first in prop::option::of(1usize..12),
            second in prop::option::of(1usize..12),
        ) {
            if let Ok(quorums) = flexible(first, second).quorums(voters) {
                prop_assert!(quorums.first + quorums.second > voters);
                prop_assert!((1..=voters).contains(&quorums.first) && (1..=voters).contains(&quorums.second));
            }
        }
    }

    #[test]
    fn the_other_quorum_follows_from_the_one_that_is_given() {
        let quorums = |first, second, voters| flexible(first, second).quorums(voters);
        assert_eq!(quorums(None, None, 5), Ok(Quorums { first: 3, second: 3 }));
        assert_eq!(quorums(None, Some(2), 5), Ok(Quorums { first: 4, second: 2 }));
        assert_eq!(quorums(Some(2), None, 5), Ok(Quorums { first: 2, second: 4 }));
        assert_eq!(quorums(Some(3), Some(4), 5), Ok(Quorums { first: 3, second: 4 }));
        let disjoint = OptionError::Disjoint { first: 3, second: 2, voters: 5 };
        assert_eq!(quorums(Some(3), Some(2), 5), Err(disjoint));
        let large = OptionError::TooLarge { option: "phase-2-quorum", size: 4, voters: 3 };
        assert_eq!(quorums(None, Some(4), 3), Err(large));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let refusal = |json: &str| serde_json::from_str::<Options>(json).expect("an option").check();
        let begins = |json: &str, option: &str| {
            let error = refusal(json).expect_err("it cannot work");
            assert!(error.starts_with(&format!("{option}:")), "{error}");
        };
        begins(r#"{"election-timeout": ["300ms", "150ms"]}"#, "election-timeout");
        begins(r#"{"heartbeat-interval": "150ms"}"#, "heartbeat-interval");
        begins(r#"{"window": 0}"#, "window");
        begins(r#"{"phase-2-quorum": 0}"#, "phase-2-quorum");
        begins(r#"{"keep-entries": 1000}"#, "keep-entries");
        begins(r#"{"max-drift-ppm": 500000}"#, "max-drift-ppm");
        assert_eq!(refusal("{}"), Ok(()));
    }

    #[test]
    fn a_lease_ends_before_the_trust_it_rests_on() {
        let options = Options { max_drift_ppm: 10_000, ..Options::default() };
        let (slow, fast) =
            (options.lease().as_secs_f64() / 0.99, options.election_timeout.0.as_secs_f64() / 1.01);
        assert!(slow <= fast, "{slow} s by a slow leader's clock, {fast} s by a fast follower's");
    }
}

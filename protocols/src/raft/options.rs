//! How Raft is tuned.

use std::time::Duration;

use contract::{Membership, NodeId, ProtocolOptions};
use serde::{Deserialize, Serialize};

use super::reconfigure::one_step;
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
    /// The most bytes of entries in one append, as they are on the wire; one entry always fits.
    pub max_append_bytes: u64,
    /// The most appends under way to one follower.
    pub max_inflight: usize,
    /// While entries of so many bytes are under way to one follower it is sent no more.
    pub max_inflight_bytes: u64,
    /// The most entries that may wait to be committed; more proposals are refused.
    pub max_uncommitted: u64,
    /// While entries of so many bytes wait to be committed, more proposals are refused.
    pub max_uncommitted_bytes: u64,
    /// The log is compacted when it holds more entries than this that the service durably includes.
    pub snapshot_entries: u64,
    /// How many of those stay, for followers that are a little behind.
    pub keep_entries: u64,
    /// Whether a replica asks who would vote for it before it enters a new term (dissertation §9.6), and whoever
    /// has just heard its leader helps nobody else to office (§4.2.3).
    pub pre_vote: bool,
    /// Whether a leader that has not heard from a quorum for an election timeout steps down
    /// (dissertation §6.2).
    pub check_quorum: bool,
    /// When the election timer is armed anew beside a leader's messages.
    pub timer_rule: TimerRule,
    /// How linearizable reads are served.
    pub reads: ReadMode,
    /// How much faster or slower than true time any replica's clock may go, in parts per million. Leases are
    /// shorter than the least election timeout by as much as two such clocks can differ.
    pub clock_drift_bound: u32,
    /// How the voters are changed.
    pub membership_change: ChangeMode,
}

/// When the election timer is armed anew, beside a leader's messages. The tails of elections differ by it: a
/// server that cannot win keeps others back, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimerRule {
    /// By a granted vote (LogCabin).
    GrantedVote,
    /// By any message of a higher term, also if the vote that it asks for is refused (raft-rs, etcd).
    HigherTerm,
}

/// How linearizable reads are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadMode {
    /// A quorum confirms the leader for each (dissertation §6.4).
    ReadIndex,
    /// At once, while a quorum has promised to elect nobody else (§6.4.1); it takes `pre-vote` and
    /// `check-quorum`, and clocks that keep to `clock-drift-bound`.
    Lease,
}

/// How the voters are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeMode {
    /// By way of a membership in which the old and the new ones must agree (§6).
    Joint,
    /// One voter at a time (dissertation §4.1).
    SingleServer,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            election_timeout: (Duration::from_millis(150), Duration::from_millis(300)),
            heartbeat_interval: Duration::from_millis(50),
            max_append_entries: 64,
            max_append_bytes: 1 << 20,
            max_inflight: 8,
            max_inflight_bytes: 4 << 20,
            max_uncommitted: 1024,
            max_uncommitted_bytes: 16 << 20,
            snapshot_entries: 1000,
            keep_entries: 100,
            pre_vote: true,
            check_quorum: true,
            timer_rule: TimerRule::GrantedVote,
            reads: ReadMode::ReadIndex,
            clock_drift_bound: 1000,
            membership_change: ChangeMode::Joint,
        }
    }
}

const MILLION: u32 = 1_000_000;

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
    /// Nobody keeps the promise that a lease is made of.
    #[error("reads: a lease takes pre-vote and check-quorum")]
    Lease,
    /// A clock that may stand still, or go back.
    #[error("clock-drift-bound: {bound} parts per million must be below a million")]
    Drift {
        /// `clock-drift-bound`.
        bound: u32,
    },
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        self.consistent().map_err(|error| error.to_string())
    }

    fn clock_drift_bound(&self) -> Option<u32> {
        (self.reads == ReadMode::Lease).then_some(self.clock_drift_bound)
    }

    /// Between two joint ones there is none that holds by itself; of single steps each does.
    fn steps(&self, leader: NodeId, from: &Membership, to: &Membership) -> Vec<Membership> {
        let (mut steps, mut last) = (Vec::new(), from);
        while self.membership_change == ChangeMode::SingleServer && last != to {
            steps.push(one_step(last, to, leader));
            last = &steps[steps.len() - 1];
        }
        if steps.is_empty() { vec![to.clone()] } else { steps }
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
            ("max-append-bytes", self.max_append_bytes),
            ("max-inflight", self.max_inflight as u64),
            ("max-inflight-bytes", self.max_inflight_bytes),
            ("max-uncommitted", self.max_uncommitted),
            ("max-uncommitted-bytes", self.max_uncommitted_bytes),
        ];
        if let Some((option, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(OptionError::Zero { option });
        }
        if self.keep_entries >= self.snapshot_entries {
            return Err(OptionError::Keep { keep: self.keep_entries, snapshot: self.snapshot_entries });
        }
        if self.clock_drift_bound >= MILLION {
            return Err(OptionError::Drift { bound: self.clock_drift_bound });
        }
        if self.reads == ReadMode::Lease && !(self.pre_vote && self.check_quorum) {
            return Err(OptionError::Lease);
        }
        Ok(())
    }

    /// How long a leader may rely on the loyalty of a quorum, by its own clock; `None`: there are no leases.
    /// Followers are loyal for the least election timeout by theirs. At worst the leader's clock is as slow as
    /// the bound admits, and theirs as fast.
    pub(super) fn lease(&self) -> Option<Duration> {
        let (loyal, bound) = (self.election_timeout.0.as_nanos(), u128::from(self.clock_drift_bound));
        let nanos = loyal * (u128::from(MILLION) - bound) / (u128::from(MILLION) + bound);
        let lease = Duration::from_nanos(u64::try_from(nanos).expect("shorter than a timeout"));
        (self.reads == ReadMode::Lease).then_some(lease)
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
    fn single_steps_may_each_be_in_force_and_joint_ones_not() {
        let group = |nodes: &[u16]| Membership::of(nodes.iter().copied().map(NodeId));
        let (from, to) = (group(&[1, 2, 3]), group(&[2, 3, 4]));
        let steps = |membership_change, to: &Membership| {
            let options = Options { membership_change, ..Options::default() };
            options.steps(NodeId(2), &from, to)
        };
        assert_eq!(steps(ChangeMode::SingleServer, &to), [group(&[1, 2, 3, 4]), to.clone()]);
        assert_eq!(
            steps(ChangeMode::SingleServer, &from),
            std::slice::from_ref(&from),
            "nothing is to be done"
        );
        assert_eq!(steps(ChangeMode::Joint, &to), std::slice::from_ref(&to));
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
        assert_eq!(
            with(|options| (options.reads, options.pre_vote) = (ReadMode::Lease, false)),
            Err(OptionError::Lease)
        );
        assert_eq!(
            with(|options| options.clock_drift_bound = MILLION),
            Err(OptionError::Drift { bound: MILLION })
        );
    }

    #[test]
    fn a_lease_ends_before_the_loyalty_of_the_fastest_clock() {
        let options = Options { reads: ReadMode::Lease, clock_drift_bound: 200_000, ..Options::default() };
        let lease = options.lease().unwrap();
        assert_eq!(lease, Duration::from_millis(100), "of 150ms, by clocks at 0.8 and 1.2 times true time");
        assert_eq!(lease * 12, options.election_timeout.0 * 8);
        assert_eq!(Options::default().lease(), None);
    }
}

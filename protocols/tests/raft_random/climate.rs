//! How a run goes: what is drawn anew for each, so that runs differ in kind (swarm testing).

use std::collections::BTreeSet;
use std::time::Duration;

use contract::{Membership, NodeId};
use seedbed_protocols::raft::{ChangeMode, Options, ReadMode, TimerRule};

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low)
    }

    /// True in `n` of a hundred cases.
    pub(crate) fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Action {
    Deliver,
    Lose,
    Write,
    Work,
    Flush,
    Propose,
    Read,
    Heartbeat,
    Election,
    Handover,
    Crash,
    Cut,
    Mend,
    Stand,
    Transfer,
    Reconfigure,
    Compact,
}

pub(crate) struct Climate {
    weights: [(Action, usize); 17],
    pub(crate) in_order_percent: usize,
    pub(crate) duplicate_percent: usize,
    pub(crate) downtime_steps: usize,
    /// How much time passes between two steps at most, in nanoseconds.
    pub(crate) step_max: usize,
}

impl Climate {
    /// `operated`: whether somebody changes the membership.
    pub(crate) fn draw(random: &mut Random, operated: bool) -> Self {
        let mut between = |low: usize, high: usize| random.between(low, high);
        let mut weights = [
            (Action::Deliver, between(4000, 7000)),
            (Action::Lose, between(0, 600)),
            (Action::Write, between(300, 3000)),
            (Action::Work, between(500, 3000)),
            (Action::Flush, between(50, 400)),
            (Action::Propose, between(500, 2000)),
            (Action::Read, between(100, 800)),
            (Action::Heartbeat, between(100, 600)),
            (Action::Election, between(3, 120)),
            (Action::Handover, between(3, 30)),
            (Action::Crash, between(0, 200)),
            (Action::Cut, between(0, 30)),
            (Action::Mend, between(10, 100)),
            (Action::Stand, between(0, 20)),
            (Action::Transfer, between(0, 40)),
            (Action::Reconfigure, between(0, 60)),
            (Action::Compact, between(0, 60)),
        ];
        if !operated {
            weights[13..].iter_mut().for_each(|(_, weight)| *weight = 0);
        }
        Self {
            weights,
            in_order_percent: between(0, 100),
            duplicate_percent: between(0, 15),
            downtime_steps: between(1, 200),
            step_max: between(100_000, 20_000_000),
        }
    }

    pub(crate) fn action(&self, random: &mut Random) -> Action {
        let total: usize = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = random.below(total);
        for (action, weight) in self.weights {
            if left < weight {
                return action;
            }
            left -= weight;
        }
        unreachable!("the weights add up to their total")
    }
}

pub(crate) fn options(random: &mut Random) -> Options {
    let snapshot_entries = 4 + random.below(16) as u64;
    let lease = random.percent(40);
    Options {
        max_append_entries: 1 + random.below(4),
        max_append_bytes: 30 + random.below(100) as u64,
        max_inflight: 1 + random.below(4),
        max_inflight_bytes: 30 + random.below(200) as u64,
        max_uncommitted: 20,
        max_uncommitted_bytes: 100 + random.below(1000) as u64,
        snapshot_entries,
        keep_entries: random.below(snapshot_entries as usize) as u64,
        pre_vote: lease || random.percent(50),
        check_quorum: lease || random.percent(50),
        timer_rule: if random.percent(50) { TimerRule::GrantedVote } else { TimerRule::HigherTerm },
        reads: if lease { ReadMode::Lease } else { ReadMode::ReadIndex },
        clock_drift_bound: random.below(300_000) as u32,
        membership_change: if random.percent(50) { ChangeMode::Joint } else { ChangeMode::SingleServer },
        ..Options::default()
    }
}

/// What a clock shows of a true duration, and how long a host waits that wants to wait for one.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    /// How fast it goes, in millionths of true time.
    rate: u64,
}

impl Clock {
    pub(crate) fn draw(random: &mut Random, bound: u32) -> Self {
        let bound = u64::from(bound);
        // The worst clocks are the interesting ones.
        let rate = match random.below(3) {
            0 => 1_000_000 - bound,
            1 => 1_000_000 + bound,
            _ => 1_000_000 - bound + random.next() % (2 * bound + 1),
        };
        Self { rate }
    }

    pub(crate) fn wait(self, duration: Duration) -> Duration {
        let nanos = duration.as_nanos() * 1_000_000 / u128::from(self.rate);
        Duration::from_nanos(nanos as u64)
    }
}

/// Some of the nodes, each in some part. It may be one that no group can have.
pub(crate) fn membership(random: &mut Random, nodes: u16) -> Membership {
    let mut drawn = Membership::default();
    let witnesses = random.percent(40);
    for node in (1..=nodes).map(NodeId::new) {
        match random.below(100) {
            0..65 => {
                drawn.voters.insert(node);
                if witnesses && random.percent(30) {
                    drawn.witnesses.insert(node);
                }
            }
            65..80 => drop(drawn.learners.insert(node)),
            _ => {}
        }
    }
    drawn
}

/// A first membership: one that a group can have.
pub(crate) fn founders(random: &mut Random, nodes: u16) -> Membership {
    loop {
        let drawn = membership(random, nodes);
        let keepers: BTreeSet<_> = drawn.voters.difference(&drawn.witnesses).collect();
        if keepers.len() > 1 {
            return drawn;
        }
    }
}

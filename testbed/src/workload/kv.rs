//! Reads and writes of a few keys with values that are written once each.
//!
//! Every operation takes the same number of draws from its client's own stream, so that what one
//! operation is does not depend on how another one ended, but for the value that a compare-and-set
//! expects: that is what its client last saw of the key.

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, Seed};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::rng::{Keys, Purpose};

use crate::plan::{KvMix, WorkloadPlan};

/// One client's operations.
pub struct KvClient {
    client: ClientId,
    draws: ChaCha8Rng,
    mix: KvMix,
    keys: u32,
    value_size: usize,
    made: u64,
    /// What this client last saw of each key.
    seen: Vec<Option<Bytes>>,
}

impl KvClient {
    /// The operations of one client under a plan's workload.
    pub fn new(seed: Seed, client: ClientId, plan: &WorkloadPlan) -> Self {
        Self {
            client,
            draws: Keys::new(seed).stream(Purpose::new("workload"), u64::from(client.0)),
            mix: plan.mix,
            keys: plan.keys,
            value_size: plan.value_size,
            made: 0,
            seen: vec![None; plan.keys as usize],
        }
    }

    /// The operation of an arrival, numbered from 0. Arrivals are asked for in ascending order; those
    /// in between take their draws and come to nothing.
    pub fn op(&mut self, arrival: u64) -> Op {
        assert!(arrival >= self.made, "arrivals are asked for in their order");
        while self.made < arrival {
            self.draw();
        }
        self.draw()
    }

    fn draw(&mut self) -> Op {
        let kind: f64 = self.draws.random();
        let first = self.draws.random_range(0..self.keys);
        let second = self.draws.random_range(0..self.keys);
        self.made += 1;
        let key = key_name(first);
        let mix = self.mix;
        let shares = mix.shares();
        let mut sum = 0.0;
        let choice = shares.iter().position(|share| {
            sum += share;
            kind < sum
        });
        // The shares sum to one but for rounding.
        let last = || shares.iter().rposition(|share| *share > 0.0).expect("a mix has an operation in it");
        match Op::NAMES[choice.unwrap_or_else(last)] {
            "get" => Op::Get { key },
            "put" => Op::Put { key, value: self.value() },
            "append" => Op::Append { key, value: self.value() },
            "cas" => Op::Cas { key, expected: self.seen[first as usize].clone(), value: self.value() },
            "delete" => Op::Delete { key },
            "scan" => Op::Scan { from: key_name(first.min(second)), to: key_name(first.max(second) + 1) },
            "decide" => Op::Decide { key, value: self.value() },
            other => unreachable!("no workload knows {other}"),
        }
    }

    /// Remembers what an answer tells about a key.
    pub fn learn(&mut self, op: &Op, ret: &Ret) {
        match (op, ret) {
            (Op::Get { key } | Op::Decide { key, .. }, Ret::Value(value)) => {
                self.remember(key, value.clone())
            }
            (Op::Put { key, value }, Ret::Done) | (Op::Cas { key, value, .. }, Ret::Swapped(true)) => {
                self.remember(key, Some(value.clone()));
            }
            (Op::Delete { key }, Ret::Done) => self.remember(key, None),
            _ => {}
        }
    }

    fn remember(&mut self, key: &Bytes, value: Option<Bytes>) {
        let place = (0..self.keys).find(|place| key_name(*place) == *key).expect("a workload knows its keys");
        self.seen[place as usize] = value;
    }

    /// A value that nobody else writes: the client and the operation's number, padded with dots.
    fn value(&self) -> Bytes {
        let value = format!("{}.{} ", self.client, self.made);
        format!("{value:.<width$}", width = self.value_size).into_bytes().into()
    }
}

/// Keys sort by their number: `k00`, `k01` …
pub(crate) fn key_name(place: u32) -> Bytes {
    format!("k{place:02}").into_bytes().into()
}

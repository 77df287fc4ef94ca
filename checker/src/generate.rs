//! Histories to test checkers with.
//!
//! Clients work on one truly atomic store: at each moment a seeded draw moves one of them from idle
//! to waiting, lets its operation take effect, or gives it the answer. So a history is linearizable by
//! construction; a [`Flaw`] breaks one answer.

use std::collections::BTreeMap;

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, History, OpId, Outcome, Time};
use stateright::semantics::SequentialSpec;

use crate::models::kv::Kv;

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many clients there are, all busy all the time.
    pub clients: u16,
    /// How many operations they invoke together.
    pub operations: u32,
    /// How many keys there are: `k0`, `k1` and so on.
    pub keys: u32,
    /// How often each operation is chosen.
    pub mix: Mix,
    /// What is written.
    pub values: Values,
    /// How many of a thousand operations end with an unknown outcome. Such a write takes effect at
    /// once, later, or never.
    pub unknown_per_mille: u32,
    /// What goes wrong.
    pub flaw: Flaw,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Each write has a value of its own.
    Unique {
        /// How long it is at least, in bytes.
        bytes_min: usize,
    },
    /// Each write has one of a few.
    Few(&'static [&'static str]),
}

/// How often each operation is chosen, relative to the others.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Reads of one key.
    pub get: u32,
    /// Writes.
    pub put: u32,
    /// Additions to a value.
    pub append: u32,
    /// Removals.
    pub delete: u32,
    /// Compare-and-sets.
    pub cas: u32,
    /// Reads of all keys.
    pub scan: u32,
    /// Decisions of a key's value.
    pub decide: u32,
}

/// What goes wrong, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// The first get possible from this operation on is answered with an earlier value of its key, one
    /// that has been overwritten about as often as there are clients.
    StaleRead {
        /// From which operation on.
        from: u32,
    },
    /// The first put or append from this operation on is acknowledged and forgotten.
    LostWrite {
        /// From which operation on.
        from: u32,
    },
}

/// A small generator of random numbers: SplitMix64 (Steele, Lea & Flood, 2014).
#[derive(Clone, Debug)]
pub struct Draw(pub u64);

impl Draw {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (((mixed >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// Where a client is with its operation.
enum Client {
    Idle,
    Waiting(OpId, Op),
    Served(OpId, Ret),
}

struct World<'w> {
    workload: &'w Workload,
    draw: Draw,
    store: Kv,
    /// Per key, the values it had.
    past: BTreeMap<Bytes, Vec<Option<Bytes>>>,
    /// Writes that nobody waits for any more and that have not taken effect.
    adrift: Vec<Op>,
    written: u32,
    is_flaw_due: bool,
}

/// The history of a key-value store that was empty at the start.
pub fn kv(workload: &Workload, seed: u64) -> History<Op, Ret> {
    let is_flaw_due = workload.flaw != Flaw::None;
    let mut world = World {
        workload,
        draw: Draw(seed),
        store: Kv::default(),
        past: BTreeMap::new(),
        adrift: Vec::new(),
        written: 0,
        is_flaw_due,
    };
    let mut history = History::default();
    let mut clients: Vec<Client> = (0..workload.clients).map(|_| Client::Idle).collect();
    let mut now = Time::ZERO;
    while history.operations() < workload.operations as usize
        || clients.iter().any(|client| !matches!(client, Client::Idle))
    {
        now.0 += u64::from(world.draw.below(1_000_000));
        world.drift();
        let slot = world.draw.below(u32::from(workload.clients)) as usize;
        let id = ClientId(slot as u16 + 1);
        clients[slot] = match std::mem::replace(&mut clients[slot], Client::Idle) {
            Client::Idle if history.operations() < workload.operations as usize => {
                let op = world.op();
                Client::Waiting(history.invoke(now, id, op.clone()), op)
            }
            Client::Idle => Client::Idle,
            Client::Waiting(op_id, op) if world.draw.below(1000) < workload.unknown_per_mille => {
                match world.draw.below(3) {
                    0 => drop(world.apply(op_id, &op)),
                    1 => world.adrift.push(op),
                    _ => {}
                }
                history.complete(now, id, op_id, Outcome::Unknown);
                Client::Idle
            }
            Client::Waiting(op_id, op) => Client::Served(op_id, world.apply(op_id, &op)),
            Client::Served(op_id, ret) => {
                history.complete(now, id, op_id, Outcome::Ok(ret));
                Client::Idle
            }
        };
    }
    history
}

impl World<'_> {
    /// Now and then a forgotten write takes effect.
    fn drift(&mut self) {
        if !self.adrift.is_empty() && self.draw.below(40) == 0 {
            let op = self.adrift.swap_remove(self.draw.below(self.adrift.len() as u32) as usize);
            self.store.invoke(&op);
        }
    }

    fn apply(&mut self, id: OpId, op: &Op) -> Ret {
        match (self.workload.flaw, op) {
            (Flaw::StaleRead { from }, Op::Get { key }) if self.is_flaw_due && id.0 >= from => {
                let now = self.store.get(key).cloned();
                let past = self.past.get(key).map_or(&[][..], |past| past);
                let mut others = past.iter().rev().filter(|value| **value != now);
                if let Some(stale) = others.nth(usize::from(self.workload.clients)) {
                    self.is_flaw_due = false;
                    return Ret::Value(stale.clone());
                }
            }
            (Flaw::LostWrite { from }, Op::Put { .. } | Op::Append { .. })
                if self.is_flaw_due && id.0 >= from =>
            {
                self.is_flaw_due = false;
                return Ret::Done;
            }
            _ => {}
        }
        let ret = self.store.invoke(op);
        if let (
            Op::Put { key, .. }
            | Op::Append { key, .. }
            | Op::Cas { key, .. }
            | Op::Delete { key }
            | Op::Decide { key, .. },
            true,
        ) = (op, self.is_flaw_due)
        {
            let now = self.store.get(key).cloned();
            self.past.entry(key.clone()).or_default().push(now);
        }
        ret
    }

    fn op(&mut self) -> Op {
        let Mix { get, put, append, delete, cas, scan, decide } = self.workload.mix;
        let key: Bytes = format!("k{}", self.draw.below(self.workload.keys)).as_str().into();
        let mut choice = self.draw.below(get + put + append + delete + cas + scan + decide);
        let mut chosen = |weight: u32| {
            let is_chosen = choice < weight;
            choice = choice.wrapping_sub(weight);
            is_chosen
        };
        if chosen(get) {
            Op::Get { key }
        } else if chosen(put) {
            Op::Put { key, value: self.value() }
        } else if chosen(append) {
            Op::Append { key, value: self.value() }
        } else if chosen(delete) {
            Op::Delete { key }
        } else if chosen(cas) {
            let expected =
                if self.draw.below(2) == 0 { self.store.get(&key).cloned() } else { Some(self.value()) };
            Op::Cas { key, expected, value: self.value() }
        } else if chosen(scan) {
            Op::Scan { from: "k".into(), to: "l".into() }
        } else {
            Op::Decide { key, value: self.value() }
        }
    }

    fn value(&mut self) -> Bytes {
        let number = self.written;
        self.written += 1;
        match self.workload.values {
            Values::Few(values) => values[self.draw.below(values.len() as u32) as usize].into(),
            Values::Unique { bytes_min } => {
                format!("v{number:.<width$}", width = bytes_min.saturating_sub(1)).as_str().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Draw, Flaw, Mix, Values, Workload, kv};

    /// Seeds are named in tests and reports: what they lead to stays the same.
    #[test]
    fn a_seed_leads_to_the_same_history_for_ever() {
        let mut draw = Draw(1);
        assert_eq!([(); 5].map(|()| draw.below(1_000)), [566, 745, 971, 444, 444]);
        let few = Workload {
            clients: 4,
            operations: 300,
            keys: 2,
            mix: Mix { get: 4, put: 2, append: 1, delete: 1, cas: 1, scan: 1, decide: 1 },
            values: Values::Few(&["a", "b", "c"]),
            unknown_per_mille: 200,
            flaw: Flaw::None,
        };
        let unique = Workload { values: Values::Unique { bytes_min: 4 }, ..few };
        let lost = Workload { flaw: Flaw::LostWrite { from: 100 }, ..few };
        let stale = Workload { flaw: Flaw::StaleRead { from: 100 }, ..unique };
        let digest = |workload: Workload| {
            let lines: Vec<String> = kv(&workload, 1).events().iter().map(ToString::to_string).collect();
            // FNV-1a.
            lines.concat().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
        };
        let digests =
            [0xaddd_81a0_043d_bc67, 0xecca_0e85_f76a_b75d, 0x9412_0c4d_f018_665f, 0xfcde_1e84_9ea3_bca0];
        assert_eq!([few, unique, lost, stale].map(digest), digests);
    }
}

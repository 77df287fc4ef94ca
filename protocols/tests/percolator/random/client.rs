//! A client's transaction, a step at a time; every step may be taken again.

use std::collections::BTreeSet;

use contract::Bytes;
use seedbed_protocols::percolator::{LockInfo, Mutation, MutationKind, Prewrite, Ret, ShardOp, Timestamp};

use super::{Broken, TTL, World};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Plain,
    Pessimistic,
    Async,
    OnePhase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Read(usize),
    Prewrite(usize),
    Commit,
    CommitRest(usize),
    GiveUp(usize),
}

pub(super) struct Transaction {
    number: u64,
    mode: Mode,
    phase: Phase,
    pub(super) start: Timestamp,
    for_update: Option<Timestamp>,
    /// The latest that a shard has chosen.
    min_commit: Timestamp,
    /// A request to commit in one phase may be under way still.
    one_phase_tried: bool,
    commit: Option<Timestamp>,
    /// The primary first.
    lists: Vec<(Bytes, Vec<u64>)>,
}

pub(super) fn decode(value: Option<&Bytes>) -> Vec<u64> {
    let text = value.map(ToString::to_string).unwrap_or_default();
    text.split_terminator(',').map(|number| number.parse().expect("a list holds numbers")).collect()
}

fn encode(list: &[u64]) -> Bytes {
    list.iter().map(|number| format!("{number},")).collect::<String>().as_str().into()
}

impl World {
    /// Finds out what became of the transaction whose lock is in the way, and does that to the lock.
    pub(super) fn clear(&mut self, lock: &LockInfo) -> Option<()> {
        if !lock.expired && !self.calm && self.random.percent(80) {
            return None;
        }
        let (primary, start) = (lock.primary.clone(), lock.start);
        let commit = match self.ask(&primary, ShardOp::CheckStatus { primary: primary.clone(), start })? {
            Ret::Committed { commit } => Some(commit),
            Ret::RolledBack => None,
            Ret::Locked(LockInfo { secondaries: Some(secondaries), expired: true, min_commit, .. }) => {
                let mut commit = Some(min_commit);
                for key in secondaries {
                    let check = ShardOp::CheckSecondaries { keys: vec![key.clone()], start };
                    commit = match self.ask(&key, check)? {
                        Ret::Prewritten { min_commit } => commit.map(|commit| commit.max(min_commit)),
                        Ret::RolledBack => None,
                        // Somebody else has found out before.
                        Ret::Committed { commit } => {
                            self.ask(
                                &primary,
                                ShardOp::Resolve { keys: vec![primary.clone()], start, commit: Some(commit) },
                            )?;
                            return None;
                        }
                        other => panic!("secondaries were asked for: {other}"),
                    };
                    if commit.is_none() {
                        break;
                    }
                }
                self.ask(&primary, ShardOp::Resolve { keys: vec![primary.clone()], start, commit })?;
                commit
            }
            _ => return None,
        };
        self.ask(&lock.key, ShardOp::Resolve { keys: vec![lock.key.clone()], start, commit })?;
        Some(())
    }

    pub(super) fn begin(&mut self) -> Option<Transaction> {
        let start = self.timestamp()?;
        self.begun += 1;
        let mut keys = BTreeSet::new();
        for _ in 0..=self.random.below(3) {
            keys.insert(self.key());
        }
        let mode = [Mode::Plain, Mode::Pessimistic, Mode::Async, Mode::OnePhase][self.random.below(4)];
        let mut lists: Vec<_> = keys.into_iter().map(|key| (key, Vec::new())).collect();
        if self.random.percent(50) {
            lists.reverse();
        }
        self.wrote.insert(self.begun, lists.iter().map(|(key, _)| key.clone()).collect());
        let for_update = (mode == Mode::Pessimistic).then_some(start);
        let (phase, min_commit) = (Phase::Read(0), Timestamp::ZERO);
        let (number, one_phase_tried) = (self.begun, false);
        Some(Transaction {
            number,
            mode,
            phase,
            start,
            for_update,
            min_commit,
            one_phase_tried,
            commit: None,
            lists,
        })
    }

    /// The next step of a transaction; `None`: no answer came, and it is taken again. The transaction goes
    /// back to its client unless it is over.
    pub(super) fn step(&mut self, t: &mut Transaction) -> Result<Option<bool>, Broken> {
        let (number, start) = (t.number, t.start);
        let primary = t.lists[0].0.clone();
        Ok(match t.phase {
            Phase::Read(at) if at == t.lists.len() => {
                t.phase = Phase::Prewrite(0);
                Some(true)
            }
            Phase::Read(at) => {
                let key = t.lists[at].0.clone();
                let op = match t.for_update {
                    Some(for_update) => {
                        ShardOp::Acquire { keys: vec![key.clone()], primary, start, for_update, ttl: TTL }
                    }
                    None => ShardOp::Get { key: key.clone(), at: start, noted: true },
                };
                match self.ask(&key, op) {
                    Some(Ret::Value(value)) => {
                        t.lists[at].1 = decode(value.as_ref());
                        self.saw(&key, start, t.lists[at].1.clone())?;
                        t.phase = Phase::Read(at + 1);
                    }
                    Some(Ret::Values(values)) => {
                        t.lists[at].1 = decode(values[0].as_ref());
                        t.phase = Phase::Read(at + 1);
                    }
                    Some(Ret::Locked(lock)) => {
                        self.clear(&lock);
                    }
                    Some(Ret::Conflict { .. }) => t.for_update = self.timestamp().or(t.for_update),
                    Some(Ret::RolledBack) => t.phase = Phase::GiveUp(0),
                    Some(other) => return Err(format!("{number} reads {key}: {other}")),
                    None => return Ok(None),
                }
                Some(true)
            }
            Phase::Prewrite(at) if at == t.lists.len() => {
                t.phase = Phase::Commit;
                Some(true)
            }
            Phase::Prewrite(at) => self.prewrite(t, at)?,
            Phase::Commit => {
                if t.mode == Mode::Async {
                    // It has happened with the last lock.
                    self.committed.insert(number, t.min_commit);
                    t.commit = Some(t.min_commit);
                }
                let Some(commit) = t.commit.or_else(|| self.timestamp()) else { return Ok(None) };
                t.commit = Some(commit);
                match self.ask(&primary, ShardOp::Commit { keys: vec![primary.clone()], start, commit }) {
                    Some(Ret::Done) => {
                        self.committed.insert(number, commit);
                        t.phase = Phase::CommitRest(1);
                    }
                    Some(Ret::RolledBack) if t.mode != Mode::Async => t.phase = Phase::GiveUp(0),
                    Some(Ret::Committed { commit }) if t.one_phase_tried => {
                        self.committed.insert(number, commit);
                        return Ok(Some(false));
                    }
                    Some(other) => return Err(format!("{number} commits {primary} at {commit}: {other}")),
                    None => return Ok(None),
                }
                Some(true)
            }
            Phase::CommitRest(at) if at >= t.lists.len() => Some(false),
            Phase::CommitRest(at) => {
                let (key, commit) = (t.lists[at].0.clone(), t.commit.expect("its primary is committed"));
                match self.ask(&key, ShardOp::Commit { keys: vec![key.clone()], start, commit }) {
                    Some(Ret::Done) => t.phase = Phase::CommitRest(at + 1),
                    Some(other) => return Err(format!("{number} commits {key} at {commit}: {other}")),
                    None => return Ok(None),
                }
                Some(true)
            }
            Phase::GiveUp(at) if at == t.lists.len() => Some(false),
            Phase::GiveUp(at) => {
                let key = t.lists[at].0.clone();
                match self.ask(&key, ShardOp::Rollback { keys: vec![key.clone()], start }) {
                    Some(Ret::Done) => {
                        self.given_up.insert(number);
                        t.phase = Phase::GiveUp(at + 1);
                    }
                    Some(other) => return Err(format!("{number} is given up at {key}: {other}")),
                    None => return Ok(None),
                }
                Some(true)
            }
        })
    }

    fn prewrite(&mut self, t: &mut Transaction, at: usize) -> Result<Option<bool>, Broken> {
        let mutation = |(key, list): &(Bytes, Vec<u64>)| {
            let list = [&list[..], &[t.number]].concat();
            Mutation { key: key.clone(), kind: MutationKind::Put(encode(&list)) }
        };
        let region = self.map.iter().find(|region| region.span.contains(&t.lists[0].0)).expect("it is there");
        if t.mode == Mode::OnePhase && !t.lists.iter().all(|(key, _)| region.span.contains(key)) {
            t.mode = Mode::Plain;
        }
        let one_phase = t.mode == Mode::OnePhase;
        t.one_phase_tried |= one_phase;
        let key = t.lists[at].0.clone();
        let others = t.lists[1..].iter().map(|(key, _)| key.clone()).collect();
        let prewrite = Prewrite {
            mutations: if one_phase {
                t.lists.iter().map(mutation).collect()
            } else {
                vec![mutation(&t.lists[at])]
            },
            primary: t.lists[0].0.clone(),
            start: t.start,
            ttl: TTL,
            for_update: t.for_update,
            secondaries: (t.mode == Mode::Async && at == 0).then_some(others),
            shards_choose: t.mode == Mode::Async,
            one_phase,
        };
        match self.ask(&key, ShardOp::Prewrite(prewrite)) {
            Some(Ret::Prewritten { min_commit: commit }) if one_phase => {
                self.committed.insert(t.number, commit);
                return Ok(Some(false));
            }
            Some(Ret::Prewritten { min_commit }) => {
                t.min_commit = t.min_commit.max(min_commit);
                t.phase = Phase::Prewrite(at + 1);
            }
            // Its first answer was lost, or somebody else has found out that it was complete.
            Some(Ret::Committed { commit }) if t.one_phase_tried || t.mode == Mode::Async => {
                self.committed.insert(t.number, commit);
                return Ok(Some(false));
            }
            Some(Ret::Locked(lock)) => {
                self.clear(&lock);
            }
            Some(Ret::Conflict { .. } | Ret::RolledBack) => t.phase = Phase::GiveUp(0),
            Some(other) => return Err(format!("{} prewrites {key}: {other}", t.number)),
            None => return Ok(None),
        }
        Ok(Some(true))
    }
}

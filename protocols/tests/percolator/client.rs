//! A client's transaction, step by step: reads at its start, writes when it finishes.

use std::collections::BTreeMap;

use contract::Bytes;
use seedbed_protocols::percolator::{
    LockInfo, Mutation, MutationKind, Op, Prewrite, Ret, SCHEDULER, SchedulerOp, ShardOp, Span, Timestamp,
};

use crate::{Outcome, Script};

/// How long a scripted client's locks are respected, in microseconds.
const TTL: u64 = 1000;

pub(crate) struct Transaction {
    start: Timestamp,
    writes: BTreeMap<Bytes, MutationKind>,
}

impl Script {
    fn timestamp(&mut self) -> Timestamp {
        match self.ask(SCHEDULER, Op::Scheduler(SchedulerOp::Timestamps { count: 1 })) {
            Ret::Timestamp(timestamp) => timestamp,
            other => panic!("the scheduler gives no timestamp but {other}"),
        }
    }

    /// Finds out what became of the transaction whose lock is in the way; whether it is now out of it.
    fn clear(&mut self, lock: &LockInfo) -> bool {
        let (primary, start) = (lock.primary.clone(), lock.start);
        let commit = match self.ask_shard(&lock.primary, ShardOp::CheckStatus { primary, start }) {
            Ret::Committed { commit } => Some(commit),
            Ret::RolledBack => None,
            _ => return false,
        };
        self.ask_shard(&lock.key, ShardOp::Resolve { keys: vec![lock.key.clone()], start, commit });
        true
    }

    /// Asks until no lock is in the way, or one that stays.
    fn ask_until_clear(&mut self, key: &[u8], op: &ShardOp) -> Ret {
        loop {
            match self.ask_shard(key, op.clone()) {
                Ret::Locked(lock) if self.clear(&lock) => {}
                answer => return answer,
            }
        }
    }

    fn transaction(&mut self, name: &str) -> Outcome<&mut Transaction> {
        Ok(self.transactions.get_mut(name).ok_or_else(|| format!("{name} has not begun"))?)
    }

    pub(crate) fn step(&mut self, name: &str, texts: &[&str], until: Option<&str>) -> Outcome {
        let who = *texts.first().ok_or("whose transaction?")?;
        let key = |at: usize| Bytes::from(texts.get(at).copied().unwrap_or_default());
        match name {
            "begin" => {
                let start = self.timestamp();
                let transaction = Transaction { start, writes: BTreeMap::new() };
                self.transactions.insert(who.to_owned(), transaction);
            }
            "read" => {
                let at = self.transaction(who)?.start;
                self.ask_until_clear(&key(1), &ShardOp::Get { key: key(1), at, noted: false });
            }
            "select" => {
                let at = self.transaction(who)?.start;
                let span = Span { start: key(1), end: texts.get(2).map(|end| Bytes::from(*end)) };
                let start = span.start.clone();
                self.ask_until_clear(&start, &ShardOp::Scan { span, at, limit: 100, noted: false });
            }
            "put" => {
                let value = MutationKind::Put(key(2));
                self.transaction(who)?.writes.insert(key(1), value);
            }
            "remove" => {
                self.transaction(who)?.writes.insert(key(1), MutationKind::Delete);
            }
            "finish" => {
                let outcome = self.finish(who, until)?;
                self.say(format_args!("{who} {outcome}"));
            }
            _ => {
                let start = self.transaction(who)?.start;
                let keys: Vec<Bytes> = self.transaction(who)?.writes.keys().cloned().collect();
                for key in keys {
                    self.ask_shard(&key, ShardOp::Rollback { keys: vec![key.clone()], start });
                }
                self.say(format_args!("{who} is given up"));
            }
        }
        Ok(())
    }

    /// The two phases, key by key, the primary first.
    fn finish(&mut self, who: &str, until: Option<&str>) -> Outcome<&'static str> {
        let Transaction { start, writes } = self.transactions.remove(who).ok_or("it has not begun")?;
        let Some(primary) = writes.keys().next().cloned() else { return Ok("has only read") };
        for (key, kind) in &writes {
            let mutation = Mutation { key: key.clone(), kind: kind.clone() };
            let prewrite = Prewrite {
                mutations: vec![mutation],
                primary: primary.clone(),
                start,
                ttl: TTL,
                for_update: None,
                secondaries: None,
                shards_choose: false,
                one_phase: false,
            };
            let answer = self.ask_until_clear(key, &ShardOp::Prewrite(prewrite));
            if !matches!(answer, Ret::Prewritten { .. }) {
                for key in writes.keys() {
                    self.ask_shard(key, ShardOp::Rollback { keys: vec![key.clone()], start });
                }
                return Ok("is given up");
            }
        }
        if until == Some("primary") {
            return Ok("stops before its primary is committed");
        }
        let commit = self.timestamp();
        let answer = self.ask_shard(&primary, ShardOp::Commit { keys: vec![primary.clone()], start, commit });
        if until == Some("unheard") {
            return Ok("never hears of its primary");
        }
        if answer != Ret::Done {
            return Ok("is given up");
        }
        if until == Some("secondaries") {
            return Ok("has committed, and stops before its other keys");
        }
        for key in writes.keys().filter(|key| **key != primary) {
            self.ask_shard(key, ShardOp::Commit { keys: vec![key.clone()], start, commit });
        }
        Ok("has committed")
    }
}

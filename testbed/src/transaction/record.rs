//! What clients write down of their transactions, and how that is judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;

use checker::isolation::{Anomaly, AnomalyKind, Level, Outcome, Transaction, lists, registers};
use contract::{ClientId, Time};
use protocols::percolator::Timestamp;
use serde::Serialize;

use crate::report::{Finding, Verdict};

/// What all clients of a run share.
pub(crate) type SharedRecords = Rc<RefCell<TransactionRecords>>;

/// What became of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransactionCounts {
    /// Took effect.
    pub committed: u64,
    /// Took no effect.
    pub aborted: u64,
    /// Of these and of retries within transactions: another one had written what was to be written.
    pub conflicts: u64,
    /// Requests that clients sent, those that were sent again counted again.
    pub requests: u64,
    /// Locks of others that were in the way.
    pub locks_met: u64,
    /// Keys on which a lock of somebody else's transaction was cleared away.
    pub locks_resolved: u64,
    /// Requests that came to a shard which did not hold the region.
    pub misdirected: u64,
    /// Regions that were brought from one group to another.
    pub regions_moved: u64,
    /// Regions that were split because they had become large.
    pub regions_split: u64,
    /// Collections of garbage that reached every shard.
    pub collections: u64,
    /// Clients that went away in the middle of a commit.
    pub clients_gone: u64,
    /// Cases of write skew that the history shows.
    pub write_skews: u64,
}

/// What a transaction did, as its client saw it.
#[derive(Debug)]
pub(crate) enum Did {
    /// To lists.
    Lists(Vec<lists::Action>),
    /// To registers.
    Registers(Vec<registers::Action>),
    /// What no isolation checker looks at.
    Other,
}

/// What an isolation checker looks at, in the order in which transactions began.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TransactionHistory {
    /// Over lists.
    pub lists: Vec<Transaction<lists::Action>>,
    /// Over registers.
    pub registers: Vec<Transaction<registers::Action>>,
}

/// What clients write down of transactions.
#[derive(Debug, Default)]
pub(crate) struct TransactionRecords {
    /// Those that have ended.
    pub(crate) history: TransactionHistory,
    /// When those began that have not, and what they may leave behind.
    under_way: BTreeMap<ClientId, (Time, Did)>,
    pub(crate) counts: TransactionCounts,
    /// The latest timestamp that a client was given.
    pub(crate) latest: Timestamp,
    /// Whether a read of all keys that began in the quiet tail has ended; `None` if none has begun.
    pub(crate) audited: Option<bool>,
    /// The first thing that was seen to be wrong.
    pub(crate) finding: Option<Finding>,
}

impl TransactionRecords {
    /// The oracle gave a timestamp to somebody who asked when `before` was the latest.
    pub(crate) fn gave(&mut self, timestamp: Timestamp, before: Timestamp) {
        if timestamp <= before {
            let message = format!("the oracle gave {timestamp} after it had given {before}");
            self.found(Finding::of_run("timestamps", message, Vec::new()));
        }
        self.latest = self.latest.max(timestamp);
    }

    pub(crate) fn found(&mut self, finding: Finding) {
        self.finding.get_or_insert(finding);
    }

    /// A transaction begins, which may do this.
    pub(crate) fn began(&mut self, client: ClientId, at: Time, may_do: Did) {
        let before = self.under_way.insert(client, (at, may_do));
        assert!(before.is_none(), "{client} runs one transaction after the other");
    }

    /// A client's transaction has ended.
    pub(crate) fn ended(&mut self, client: ClientId, at: Time, outcome: Outcome, did: Did) {
        let (began, _) = self.under_way.remove(&client).expect("what ends has begun");
        self.history.add(client, (began, at), outcome, did);
    }

    /// The run is over. What is still under way may have taken effect: others may have read of it.
    pub(crate) fn close(&mut self) {
        for (client, (began, may_do)) in std::mem::take(&mut self.under_way) {
            self.history.add(client, (began, began), Outcome::Unknown, may_do);
        }
        self.history.lists.sort_by_key(|transaction| transaction.invoked);
        self.history.registers.sort_by_key(|transaction| transaction.invoked);
    }

    /// What is wrong if locks stay for ever.
    pub(crate) fn audit(&self) -> Option<Finding> {
        let message = "a read of all keys, begun when all faults had long ended, never did";
        (self.audited == Some(false)).then(|| Finding::of_run("locks", message.to_owned(), Vec::new()))
    }

    /// Whether the transactions keep to an isolation level.
    pub(crate) fn judge(&mut self, level: Level) -> Verdict {
        let TransactionHistory { lists: over_lists, registers: over_registers } = &self.history;
        let lists = lists::judge(over_lists).expect("clients record well-formed transactions");
        let registers = registers::judge(over_registers).expect("clients record well-formed transactions");
        let anomalies = lists.anomalies.iter().chain(&registers.anomalies);
        let skews = anomalies.filter(|anomaly| anomaly.kind == AnomalyKind::G2Item);
        self.counts.write_skews = skews.count() as u64;
        match (lists.first_against(level), registers.first_against(level)) {
            (Some(anomaly), _) => Verdict::Violation(finding(anomaly, level, over_lists)),
            (None, Some(anomaly)) => Verdict::Violation(finding(anomaly, level, over_registers)),
            (None, None) => Verdict::Ok,
        }
    }
}

impl TransactionHistory {
    fn add(&mut self, client: ClientId, times: (Time, Time), outcome: Outcome, did: Did) {
        match did {
            Did::Lists(actions) => self.lists.push(transaction(client, times, outcome, actions)),
            Did::Registers(actions) => self.registers.push(transaction(client, times, outcome, actions)),
            Did::Other => {}
        }
    }
}

fn transaction<A>(
    client: ClientId,
    (invoked, returned): (Time, Time),
    outcome: Outcome,
    actions: Vec<A>,
) -> Transaction<A> {
    let returned = (outcome != Outcome::Unknown).then_some(returned.0);
    Transaction { process: client.0.into(), invoked: invoked.0, returned, outcome, actions }
}

fn finding<A: Debug>(anomaly: &Anomaly, level: Level, transactions: &[Transaction<A>]) -> Finding {
    // A sentence each, and then who they are about.
    let sentences = anomaly.sentence.split("; ").map(str::to_owned);
    let lines = anomaly.transactions.iter().map(|number| line(*number, &transactions[*number as usize]));
    let (kind, among) = (anomaly.kind, anomaly.transactions.len());
    Finding {
        check: level.to_string(),
        message: format!("{kind} among {among} transactions, which {level} forbids"),
        evidence: sentences.chain(lines).collect(),
        signature: format!("isolation/{kind}"),
    }
}

/// A transaction in one line.
fn line<A: Debug>(number: u32, transaction: &Transaction<A>) -> String {
    let Transaction { process, invoked, returned, outcome, actions } = transaction;
    let ended = returned.map_or("never returned".to_owned(), |at| format!("returned at {}", Time(at)));
    format!("T{number} of c{process}, began at {}, {ended}, {outcome:?}: {actions:?}", Time(*invoked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_at_the_end_may_have_been_read() {
        let append = || Did::Lists(vec![lists::Action::Append { key: 1, value: 7 }]);
        let read = Did::Lists(vec![lists::Action::Read { key: 1, values: vec![7] }]);
        let mut records = TransactionRecords::default();
        records.began(ClientId(1), Time(10), append());
        records.began(ClientId(2), Time(20), Did::Lists(Vec::new()));
        records.ended(ClientId(2), Time(30), Outcome::Committed, read);
        let Verdict::Violation(finding) = records.judge(Level::StrongSnapshotIsolation) else {
            panic!("nobody is known to have appended what was read");
        };
        assert_eq!(finding.signature, "isolation/garbage read");
        records.close();
        assert_eq!(records.judge(Level::StrongSnapshotIsolation), Verdict::Ok);
        let clients: Vec<_> = records.history.lists.iter().map(|transaction| transaction.process).collect();
        assert_eq!(clients, [1, 2], "in the order in which they began");
    }
}

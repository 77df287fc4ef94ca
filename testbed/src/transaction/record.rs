//! What clients write down of their transactions, and how that is judged.

use std::cell::RefCell;
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
    /// Clients that went away in the middle of a commit.
    pub clients_gone: u64,
    /// Cases of write skew that the history shows.
    pub write_skews: u64,
}

/// What a transaction did, as its client saw it.
#[derive(Debug, Default)]
pub(crate) enum Did {
    /// To lists.
    Lists(Vec<lists::Action>),
    /// To registers.
    Registers(Vec<registers::Action>),
    /// What no isolation checker looks at.
    #[default]
    Other,
}

/// What clients of transactions write down.
#[derive(Debug, Default)]
pub(crate) struct TransactionRecords {
    /// Those over lists that have ended, in the order in which they did.
    lists: Vec<Transaction<lists::Action>>,
    /// Those over registers.
    registers: Vec<Transaction<registers::Action>>,
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

    /// A transaction has ended.
    pub(crate) fn ended(&mut self, client: ClientId, times: (Time, Time), outcome: Outcome, did: Did) {
        match did {
            Did::Lists(actions) => self.lists.push(transaction(client, times, outcome, actions)),
            Did::Registers(actions) => self.registers.push(transaction(client, times, outcome, actions)),
            Did::Other => {}
        }
    }

    /// What is wrong if locks stay for ever.
    pub(crate) fn audit(&self) -> Option<Finding> {
        let message = "a read of all keys, begun when all faults had long ended, never did";
        (self.audited == Some(false)).then(|| Finding::of_run("locks", message.to_owned(), Vec::new()))
    }

    /// Whether the transactions keep to an isolation level.
    pub(crate) fn judge(&mut self, level: Level) -> Verdict {
        let lists = lists::judge(&self.lists).expect("clients record well-formed transactions");
        let registers = registers::judge(&self.registers).expect("clients record well-formed transactions");
        let anomalies = lists.anomalies.iter().chain(&registers.anomalies);
        let skews = anomalies.filter(|anomaly| anomaly.kind == AnomalyKind::G2Item);
        self.counts.write_skews = skews.count() as u64;
        match (lists.first_against(level), registers.first_against(level)) {
            (Some(anomaly), _) => Verdict::Violation(finding(anomaly, level, &self.lists)),
            (None, Some(anomaly)) => Verdict::Violation(finding(anomaly, level, &self.registers)),
            (None, None) => Verdict::Ok,
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

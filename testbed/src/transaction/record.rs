//! What clients write down of their transactions, and how that is judged.

use std::cell::RefCell;
use std::rc::Rc;

use checker::isolation::{AnomalyKind, Level, Outcome, Transaction, lists};
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

/// What clients of transactions write down.
#[derive(Debug, Default)]
pub(crate) struct TransactionRecords {
    /// Those that have ended, in the order in which they did.
    pub(crate) transactions: Vec<Transaction<lists::Action>>,
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

    /// A transaction over lists has ended.
    pub(crate) fn ended(
        &mut self,
        client: ClientId,
        (invoked, returned): (Time, Time),
        outcome: Outcome,
        actions: Vec<lists::Action>,
    ) {
        let returned = (outcome != Outcome::Unknown).then_some(returned.0);
        let process = client.0.into();
        let invoked = invoked.0;
        self.transactions.push(Transaction { process, invoked, returned, outcome, actions });
    }

    /// What is wrong if locks stay for ever.
    pub(crate) fn audit(&self) -> Option<Finding> {
        let message = "a read of all keys, begun when all faults had long ended, never did";
        (self.audited == Some(false)).then(|| Finding::of_run("locks", message.to_owned(), Vec::new()))
    }

    /// Whether the transactions keep to an isolation level.
    pub(crate) fn judge(&mut self, level: Level) -> Verdict {
        let report = lists::judge(&self.transactions).expect("clients record well-formed transactions");
        let skews = report.anomalies.iter().filter(|anomaly| anomaly.kind == AnomalyKind::G2Item);
        self.counts.write_skews = skews.count() as u64;
        let Some(anomaly) = report.first_against(level) else { return Verdict::Ok };
        let evidence = anomaly.transactions.iter().map(|number| self.line(*number));
        Verdict::Violation(Finding {
            check: level.to_string(),
            message: format!("{} breaks {level}: {}", anomaly.kind, anomaly.sentence),
            evidence: evidence.collect(),
            signature: format!("isolation/{}", anomaly.kind),
        })
    }

    /// A transaction in one line.
    fn line(&self, number: u32) -> String {
        let Transaction { process, invoked, returned, outcome, actions } =
            &self.transactions[number as usize];
        let actions: Vec<String> = actions
            .iter()
            .map(|action| match action {
                lists::Action::Append { key, value } => format!("append {value} to {key}"),
                lists::Action::Read { key, values } => format!("read {key}: {values:?}"),
            })
            .collect();
        let ended = returned.map_or("never returned".to_owned(), |at| format!("returned at {}", Time(at)));
        let (began, actions) = (Time(*invoked), actions.join("; "));
        format!("T{number} of c{process}, began at {began}, {ended}, {outcome:?}: {actions}")
    }
}

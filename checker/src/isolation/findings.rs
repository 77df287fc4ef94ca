//! What is found in transactions, whatever they do to their keys.

use super::anomaly::{Anomaly, AnomalyKind, Order, Report};
use super::graph::{Dependency, Edge};
use super::history::{Outcome, Transaction};
use super::order::report;

/// What a judge knows so far.
pub(super) struct Findings<'h, A> {
    transactions: &'h [Transaction<A>],
    /// Per transaction, whether it took effect.
    is_committed: Vec<bool>,
    anomalies: Vec<Anomaly>,
}

impl<'h, A> Findings<'h, A> {
    pub(super) fn new(transactions: &'h [Transaction<A>]) -> Self {
        let is_committed = transactions.iter().map(|t| t.outcome == Outcome::Committed).collect();
        Self { transactions, is_committed, anomalies: Vec::new() }
    }

    /// Notes that something of a transaction was read: so it took effect.
    pub(super) fn was_read(&mut self, writer: u32) {
        self.is_committed[writer as usize] = true;
    }

    pub(super) fn found(&mut self, kind: AnomalyKind, transactions: Vec<u32>, sentence: String) {
        self.anomalies.push(Anomaly { kind, order: Order::Data, transactions, sentence });
    }

    /// Two must not replace one version. Of each transaction that read a version and wrote the key: the key, the
    /// version, and its number. `told` says what two of them did.
    pub(super) fn look_for_lost_updates<V: Ord + Copy>(
        &mut self,
        mut replaced: Vec<(u64, V, u32)>,
        told: impl Fn(u64, V) -> String,
    ) {
        replaced.sort_unstable();
        for pair in replaced.windows(2) {
            let [(key, version, a), (other_key, other_version, b)] = *pair else { unreachable!("two") };
            if (key, version) == (other_key, other_version) && a != b {
                let sentence = format!("T{a} and T{b} both read {}", told(key, version));
                self.found(AnomalyKind::LostUpdate, vec![a, b], sentence);
            }
        }
    }

    /// The dependency of one transaction on another, if both took effect.
    pub(super) fn edge(&self, from: u32, to: u32, why: Dependency) -> Option<Edge> {
        let are_committed = self.is_committed[from as usize] && self.is_committed[to as usize];
        (from != to && are_committed).then_some(Edge { from, to, why })
    }

    /// All of it, with what the dependencies show. `wrote` is what these transactions do.
    pub(super) fn report(self, edges: Vec<Edge>, wrote: &str) -> Report {
        report(self.transactions, &self.is_committed, edges, self.anomalies, wrote)
    }
}

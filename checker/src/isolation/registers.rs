//! Transactions over registers: a write replaces the value, a read returns it.
//!
//! Each value is written once per key. A read tells who wrote what it returned, but not what was there before. That
//! is inferred (Elle, section 5): what was there at the start comes before all, and a transaction that reads a
//! version and then writes the key installs a later one, as in every database that orders versions by commits.
//! So less is found than over lists.

use super::anomaly::{AnomalyKind, Report};
use super::findings::Findings;
use super::graph::{Dependency, Edge};
use super::history::{self, Malformed, Outcome, Transaction};

/// What a transaction does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Replaces the value.
    Write {
        /// The register.
        key: u64,
        /// The value.
        value: u64,
    },
    /// Returns the value.
    Read {
        /// The register.
        key: u64,
        /// What was returned; `None` if nothing was ever written.
        value: Option<u64>,
    },
}

/// For how many writes of a key without a known version before them it is noted that a read of what was there at
/// the start came first: each is certain, but their number would grow with that of the reads.
const FIRST_WRITES_MAX: usize = 4;

/// Looks for all that any level forbids.
///
/// # Errors
/// [`Malformed`] if a value is written twice to a key, or times cannot be right.
pub fn judge(transactions: &[Transaction<Action>]) -> Result<Report, Malformed> {
    history::check(transactions)?;
    let mut registers = Registers::new(transactions)?;
    registers.look_inside();
    registers.look_at_reads();
    let edges = registers.dependencies();
    Ok(registers.findings.report(edges, "wrote"))
}

/// A value, and who wrote it.
#[derive(Clone, Copy, Debug)]
struct Version {
    key: u64,
    value: u64,
    writer: u32,
    /// Whether the same transaction wrote the key again.
    is_replaced: bool,
    /// What the writer had read there before, if it had.
    after: Option<Option<u64>>,
}

/// What a read showed of others.
#[derive(Clone, Copy, Debug)]
struct Seen {
    key: u64,
    value: Option<u64>,
    reader: u32,
    /// Whether the reader wrote the key afterwards.
    replaces: bool,
    /// Whether it is the last thing of a transaction that is to count.
    is_version: bool,
}

struct Registers<'h> {
    transactions: &'h [Transaction<Action>],
    findings: Findings<'h, Action>,
    /// By key and value.
    versions: Vec<Version>,
    seen: Vec<Seen>,
}

impl<'h> Registers<'h> {
    fn new(transactions: &'h [Transaction<Action>]) -> Result<Self, Malformed> {
        let mut versions: Vec<Version> = Vec::new();
        for (writer, transaction) in (0..).zip(transactions) {
            let first = versions.len();
            let mut read: Vec<(u64, Option<u64>)> = Vec::new();
            for action in &transaction.actions {
                match *action {
                    // What others read is not known, even if they turn out to have committed.
                    Action::Read { .. } if transaction.outcome != Outcome::Committed => {}
                    Action::Read { key, value } => {
                        let is_own = versions[first..].iter().any(|own| own.key == key);
                        if !is_own && read.iter().all(|(other, _)| *other != key) {
                            read.push((key, value));
                        }
                    }
                    Action::Write { key, value } => {
                        let own = versions[first..].iter_mut().filter(|own| own.key == key);
                        own.for_each(|own| own.is_replaced = true);
                        let after = read.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
                        versions.push(Version { key, value, writer, is_replaced: false, after });
                    }
                }
            }
        }
        versions.sort_by_key(|version| (version.key, version.value));
        history::written_once(versions.iter().map(|version| (version.key, version.value, version.writer)))?;
        Ok(Self { transactions, findings: Findings::new(transactions), versions, seen: Vec::new() })
    }

    fn version(&self, key: u64, value: u64) -> Option<Version> {
        let at = self.versions.binary_search_by_key(&(key, value), |version| (version.key, version.value));
        at.ok().map(|at| self.versions[at])
    }

    /// What each transaction read, compared with what it had read and written itself.
    fn look_inside(&mut self) {
        for (reader, transaction) in (0..).zip(self.transactions) {
            if transaction.outcome != Outcome::Committed {
                continue;
            }
            let first = self.seen.len();
            let mut known: Vec<(u64, Option<u64>)> = Vec::new();
            for action in &transaction.actions {
                let (Action::Read { key, .. } | Action::Write { key, .. }) = *action;
                let at = known.iter().position(|(other, _)| *other == key);
                match (*action, at) {
                    (Action::Write { value, .. }, _) => {
                        let own = self.seen[first..].iter_mut().filter(|seen| seen.key == key);
                        own.for_each(|seen| seen.replaces = true);
                        match at {
                            Some(at) => known[at].1 = Some(value),
                            None => known.push((key, Some(value))),
                        }
                    }
                    (Action::Read { value, .. }, Some(at)) => {
                        let expected = std::mem::replace(&mut known[at].1, value);
                        if expected != value {
                            let (value, expected) = (told(value), told(expected));
                            let sentence =
                                format!("T{reader} read {value} of {key}, and had to find {expected}");
                            self.findings.found(AnomalyKind::Internal, vec![reader], sentence);
                        }
                    }
                    (Action::Read { value, .. }, None) => {
                        known.push((key, value));
                        self.seen.push(Seen { key, value, reader, replaces: false, is_version: true });
                    }
                }
            }
        }
    }

    /// What no read may show, and what two must not replace.
    fn look_at_reads(&mut self) {
        for at in 0..self.seen.len() {
            let Seen { key, value: Some(value), reader, .. } = self.seen[at] else { continue };
            let Some(Version { writer, is_replaced, .. }) = self.version(key, value) else {
                self.seen[at].is_version = false;
                let sentence = format!("T{reader} read {value} of {key}, which nobody wrote");
                self.findings.found(AnomalyKind::GarbageRead, vec![reader], sentence);
                continue;
            };
            if self.transactions[writer as usize].outcome == Outcome::Aborted {
                self.seen[at].is_version = false;
                let sentence =
                    format!("T{reader} read of {key} that T{writer}, which aborted, had written {value}");
                self.findings.found(AnomalyKind::G1a, vec![writer, reader], sentence);
                continue;
            }
            self.findings.was_read(writer);
            if is_replaced && writer != reader {
                self.seen[at].is_version = false;
                let sentence = format!(
                    "T{reader} read {key} when T{writer} had written {value} to it, and it wrote again later"
                );
                self.findings.found(AnomalyKind::G1b, vec![writer, reader], sentence);
            }
        }
        let replaced: Vec<(u64, Option<u64>, u32)> = self
            .seen
            .iter()
            .filter(|seen| seen.replaces)
            .map(|seen| (seen.key, seen.value, seen.reader))
            .collect();
        let told = |key, version| format!("{} of {key}, and both wrote to it", told(version));
        self.findings.look_for_lost_updates(replaced, told);
    }

    /// What depends on what, as far as data goes.
    fn dependencies(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut add = |from: u32, to: u32, why| edges.extend(self.findings.edge(from, to, why));
        // What is known to follow a version: key, version, who installed it, and what.
        let mut following: Vec<(u64, Option<u64>, u32, u64)> = Vec::new();
        for of_key in self.versions.chunk_by(|a, b| a.key == b.key) {
            let last = of_key.iter().filter(|version| !version.is_replaced);
            for Version { key, value, writer, after, .. } in last.clone() {
                let Some(before) = *after else { continue };
                following.push((*key, before, *writer, *value));
                if let Some(before) = before.and_then(|before| self.version(*key, before)) {
                    add(before.writer, *writer, Dependency::Ww { key: *key, value: *value });
                }
            }
            let first = last.filter(|version| version.after.is_none()).take(FIRST_WRITES_MAX);
            following.extend(first.map(|version| (version.key, None, version.writer, version.value)));
        }
        following.sort_unstable();
        for Seen { key, value, reader, .. } in self.seen.iter().filter(|seen| seen.is_version) {
            if let Some(version) = value.and_then(|value| self.version(*key, value)) {
                add(version.writer, *reader, Dependency::Wr { key: *key, value: version.value });
            }
            let from = following.partition_point(|(other, version, ..)| (other, version) < (key, value));
            let next =
                following[from..].iter().take_while(|(other, version, ..)| (other, version) == (key, value));
            for (key, _, writer, value) in next {
                add(*reader, *writer, Dependency::Rw { key: *key, value: *value });
            }
        }
        edges
    }
}

fn told(value: Option<u64>) -> String {
    value.map_or("nothing".to_owned(), |value| value.to_string())
}

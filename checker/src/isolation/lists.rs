//! Transactions over lists: a write appends one element, a read returns the whole list.
//!
//! Each element is appended once per key, so a read names every version before the one that it returned, in
//! order (Elle, section 4). The longest read of a key is its order of versions; elements that nobody read come
//! behind it, in an order that nobody knows.

use super::anomaly::{AnomalyKind, Report};
use super::findings::Findings;
use super::graph::{Dependency, Edge};
use super::history::{self, Malformed, Outcome, Transaction};

/// What a transaction does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Adds an element at the end.
    Append {
        /// The list.
        key: u64,
        /// The element.
        value: u64,
    },
    /// Returns the list.
    Read {
        /// The list.
        key: u64,
        /// What was returned.
        values: Vec<u64>,
    },
}

/// After how many elements that nobody read no more dependencies on such elements are noted: each is certain,
/// but their number would grow with that of the reads.
const UNREAD_MAX: usize = 4;

/// Looks for all that any level forbids.
///
/// # Errors
/// [`Malformed`] if an element is appended twice, or times cannot be right.
pub fn judge(transactions: &[Transaction<Action>]) -> Result<Report, Malformed> {
    history::check(transactions)?;
    let mut lists = Lists::new(transactions)?;
    lists.look_inside();
    lists.order_versions();
    lists.look_at_reads();
    let edges = lists.dependencies();
    Ok(lists.findings.report(edges, "appended"))
}

/// An element, and who appended it.
#[derive(Clone, Copy, Debug)]
struct Element {
    key: u64,
    value: u64,
    writer: u32,
    /// Whether the same transaction appended to the list again.
    is_replaced: bool,
    /// Its place in the order of versions, if it was read.
    place: Option<u32>,
}

/// What a read showed of others, without what its own transaction had appended.
struct Seen<'h> {
    key: u64,
    reader: u32,
    values: &'h [u64],
    /// Whether it showed but a part of what another appended: that is no version (G1b).
    is_half: bool,
}

/// What a transaction knows of a list.
struct Known<'h> {
    key: u64,
    /// What it read last.
    read: Option<&'h [u64]>,
    /// What it appended since.
    own: Vec<u64>,
}

/// The order of versions of one list.
struct Versions<'h> {
    key: u64,
    values: &'h [u64],
}

struct Lists<'h> {
    transactions: &'h [Transaction<Action>],
    findings: Findings<'h, Action>,
    /// By key and value.
    elements: Vec<Element>,
    seen: Vec<Seen<'h>>,
    /// By key.
    versions: Vec<Versions<'h>>,
}

impl<'h> Lists<'h> {
    fn new(transactions: &'h [Transaction<Action>]) -> Result<Self, Malformed> {
        let mut elements = Vec::new();
        for (writer, transaction) in (0..).zip(transactions) {
            let first = elements.len();
            for action in &transaction.actions {
                let Action::Append { key, value } = *action else { continue };
                let own: &mut [Element] = &mut elements[first..];
                own.iter_mut().filter(|other| other.key == key).for_each(|other| other.is_replaced = true);
                elements.push(Element { key, value, writer, is_replaced: false, place: None });
            }
        }
        elements.sort_by_key(|element| (element.key, element.value));
        history::written_once(elements.iter().map(|element| (element.key, element.value, element.writer)))?;
        let findings = Findings::new(transactions);
        Ok(Self { transactions, findings, elements, seen: Vec::new(), versions: Vec::new() })
    }

    fn element(&self, key: u64, value: u64) -> Option<usize> {
        self.elements.binary_search_by_key(&(key, value), |element| (element.key, element.value)).ok()
    }

    /// What each transaction read, compared with what it had read and appended itself.
    fn look_inside(&mut self) {
        for (reader, transaction) in (0..).zip(self.transactions) {
            if transaction.outcome != Outcome::Committed {
                continue;
            }
            let mut known: Vec<Known<'h>> = Vec::new();
            for action in &transaction.actions {
                let (Action::Append { key, .. } | Action::Read { key, .. }) = *action;
                let at = known.iter().position(|other| other.key == key).unwrap_or_else(|| {
                    known.push(Known { key, read: None, own: Vec::new() });
                    known.len() - 1
                });
                let Known { read, own, .. } = &mut known[at];
                match action {
                    Action::Append { value, .. } => own.push(*value),
                    Action::Read { values, .. } => {
                        let has_own = values.ends_with(own);
                        let is_same = read.is_none_or(|read| {
                            values.len() == read.len() + own.len() && values.starts_with(read)
                        });
                        if has_own && read.is_none() {
                            let values = &values[..values.len() - own.len()];
                            self.seen.push(Seen { key, reader, values, is_half: false });
                        }
                        if !has_own || !is_same {
                            let mut sentence = format!("T{reader} read {values:?} of {key}");
                            if let Some(read) = read {
                                sentence += &format!(", and {read:?} before");
                            }
                            if !own.is_empty() {
                                sentence += &format!(", having appended {own:?}");
                            }
                            self.findings.found(AnomalyKind::Internal, vec![reader], sentence);
                        }
                        (*read, *own) = (Some(&values[..]), Vec::new());
                    }
                }
            }
        }
    }

    /// The longest read of each list is its order; every other is the beginning of it.
    fn order_versions(&mut self) {
        let mut reads: Vec<(u64, u32, &'h [u64])> = Vec::new();
        for (reader, transaction) in (0..).zip(self.transactions) {
            if transaction.outcome == Outcome::Committed {
                reads.extend(transaction.actions.iter().filter_map(|action| match action {
                    Action::Read { key, values } => Some((*key, reader, &values[..])),
                    Action::Append { .. } => None,
                }));
            }
        }
        // What aborted is undone at some time: then what showed it is the beginning of nothing.
        let is_dirty = |(key, _, values): &(u64, u32, &[u64])| self.first_aborted(*key, values).is_some();
        let (dirty, mut reads): (Vec<_>, Vec<_>) = reads.into_iter().partition(is_dirty);
        for (key, reader, values) in dirty {
            self.look_at_dirty(key, reader, values);
        }
        reads.sort_by_key(|(key, ..)| *key);
        for of_key in reads.chunk_by(|a, b| a.0 == b.0) {
            let (key, reader, values) =
                *of_key.iter().max_by_key(|(_, _, values)| values.len()).expect("a chunk has a read");
            if let Some((_, other, shorter)) = of_key.iter().find(|(_, _, other)| !values.starts_with(other))
            {
                let sentence = format!("T{reader} read {values:?} of {key}, T{other} read {shorter:?}");
                self.findings.found(AnomalyKind::IncompatibleOrder, vec![reader, *other], sentence);
            }
            self.versions.push(Versions { key, values });
            self.place(key, reader, values);
        }
    }

    /// The place of the first element that a transaction appended that aborted.
    fn first_aborted(&self, key: u64, values: &[u64]) -> Option<usize> {
        let is_aborted = |value: &u64| {
            let writer = self.element(key, *value).map(|at| self.elements[at].writer);
            writer.is_some_and(|writer| self.transactions[writer as usize].outcome == Outcome::Aborted)
        };
        values.iter().position(is_aborted)
    }

    /// A read of what was aborted.
    fn look_at_dirty(&mut self, key: u64, reader: u32, values: &[u64]) {
        let from = self.first_aborted(key, values).expect("it is dirty");
        let element = |value: &u64| self.element(key, *value).map(|at| self.elements[at]);
        let Some(Element { value, writer: aborted, .. }) = element(&values[from]) else { return };
        let survives =
            |element: &Element| self.transactions[element.writer as usize].outcome == Outcome::Committed;
        let behind = values[from..].iter().filter_map(element).find(survives);
        let sentence =
            format!("T{reader} read of {key} that T{aborted}, which aborted, had appended {value}");
        self.findings.found(AnomalyKind::G1a, vec![aborted, reader], sentence);
        if let Some(Element { value, writer, .. }) = behind {
            let sentence =
                format!("T{writer} appended {value} to {key} behind what T{aborted}, which aborted, had");
            self.findings.found(AnomalyKind::DirtyUpdate, vec![aborted, writer], sentence);
        }
    }

    fn place(&mut self, key: u64, reader: u32, values: &[u64]) {
        for (place, value) in (0..).zip(values) {
            let Some(at) = self.element(key, *value) else {
                let sentence = format!("T{reader} read {value} of {key}, which nobody appended");
                self.findings.found(AnomalyKind::GarbageRead, vec![reader], sentence);
                continue;
            };
            let element = &mut self.elements[at];
            self.findings.was_read(element.writer);
            if element.place.replace(place).is_some() {
                let sentence = format!("T{reader} read {value} of {key} twice in one list");
                self.findings.found(AnomalyKind::DuplicateElements, vec![reader], sentence);
            }
        }
    }

    /// What no read may show, and what two must not replace.
    fn look_at_reads(&mut self) {
        let mut replaced: Vec<(u64, usize, u32)> = Vec::new();
        for at in 0..self.seen.len() {
            let Seen { key, reader, values, .. } = self.seen[at];
            let writer = |value: u64| self.element(key, value).map(|at| self.elements[at]);
            let last = values.last().and_then(|value| writer(*value));
            let half = last.filter(|last| last.is_replaced && last.writer != reader);
            self.seen[at].is_half = half.is_some();
            let appends =
                |action: &Action| matches!(action, Action::Append { key: other, .. } if *other == key);
            if self.transactions[reader as usize].actions.iter().any(appends) {
                replaced.push((key, values.len(), reader));
            }
            if let Some(Element { value, writer, .. }) = half {
                let sentence = format!(
                    "T{reader} read {key} when T{writer} had appended {value} to it, and it appended more later"
                );
                self.findings.found(AnomalyKind::G1b, vec![writer, reader], sentence);
            }
        }
        let told = |key, length| format!("{length} elements of {key}, and both appended to them");
        self.findings.look_for_lost_updates(replaced, told);
    }

    /// What depends on what, as far as data goes.
    fn dependencies(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut add = |from: u32, to: u32, why| edges.extend(self.findings.edge(from, to, why));
        let element = |key, value| self.element(key, value).map(|at| self.elements[at]);
        let unread = |key: u64| {
            let from = self.elements.partition_point(|element| element.key < key);
            let of_key = self.elements[from..].iter().take_while(move |element| element.key == key);
            of_key.filter(|element| element.place.is_none()).take(UNREAD_MAX)
        };
        for Versions { key, values, .. } in &self.versions {
            for pair in values.windows(2) {
                if let (Some(a), Some(b)) = (element(*key, pair[0]), element(*key, pair[1])) {
                    add(a.writer, b.writer, Dependency::Ww { key: *key, value: b.value });
                }
            }
            if let Some(last) = values.last().and_then(|value| element(*key, *value)) {
                for next in unread(*key) {
                    add(last.writer, next.writer, Dependency::Ww { key: *key, value: next.value });
                }
            }
        }
        for Seen { key, reader, values, .. } in self.seen.iter().filter(|seen| !seen.is_half) {
            let Ok(at) = self.versions.binary_search_by_key(key, |versions| versions.key) else { continue };
            let order = &self.versions[at];
            if !order.values.starts_with(values) {
                continue;
            }
            if let Some(last) = values.last().and_then(|value| element(*key, *value)) {
                add(last.writer, *reader, Dependency::Wr { key: *key, value: last.value });
            }
            match order.values.get(values.len()) {
                Some(next) => {
                    if let Some(next) = element(*key, *next) {
                        add(*reader, next.writer, Dependency::Rw { key: *key, value: next.value });
                    }
                }
                None => {
                    for next in unread(*key) {
                        add(*reader, next.writer, Dependency::Rw { key: *key, value: next.value });
                    }
                }
            }
        }
        edges
    }
}

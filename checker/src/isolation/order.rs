//! What all kinds of transactions have in common: the orders of processes and of real time, and the names of
//! circles.

use super::anomaly::{Anomaly, AnomalyKind, Order, Report};
use super::cycles::{Reads, Walk, circles, members};
use super::graph::{Dependency, Edge, Graph, Kinds};
use super::history::Transaction;

/// All that is wrong: what was seen without dependencies, and their circles. A write is told by the word `wrote`.
pub(super) fn report<A>(
    transactions: &[Transaction<A>],
    is_committed: &[bool],
    mut edges: Vec<Edge>,
    mut anomalies: Vec<Anomaly>,
    wrote: &str,
) -> Report {
    edges.extend(in_processes(transactions, is_committed));
    edges.extend(in_real_time(transactions, is_committed));
    anomalies.extend(of_circles(&Graph::new(transactions.len(), edges), wrote));
    anomalies.sort_by_key(|anomaly| (anomaly.order, anomaly.kind));
    Report { anomalies }
}

/// Each transaction of a process before the next.
fn in_processes<A>(transactions: &[Transaction<A>], is_committed: &[bool]) -> Vec<Edge> {
    let mut order: Vec<u32> = (0..transactions.len() as u32).filter(|t| is_committed[*t as usize]).collect();
    order.sort_by_key(|t| (transactions[*t as usize].process, transactions[*t as usize].invoked));
    let follows = |pair: &[u32]| {
        let [from, to] = *pair else { unreachable!("windows of two") };
        let (a, b) = (&transactions[from as usize], &transactions[to as usize]);
        let is_after = a.process == b.process && a.returned.is_some_and(|returned| returned < b.invoked);
        is_after.then_some(Edge { from, to, why: Dependency::Process })
    };
    order.windows(2).filter_map(follows).collect()
}

/// Each transaction before those that began after it had returned; without what follows from others.
fn in_real_time<A>(transactions: &[Transaction<A>], is_committed: &[bool]) -> Vec<Edge> {
    let mut events: Vec<(u64, bool, u32)> = Vec::new();
    for (number, transaction) in (0..).zip(transactions) {
        if is_committed[number as usize] {
            events.push((transaction.invoked, false, number));
            events.extend(transaction.returned.map(|returned| (returned, true, number)));
        }
    }
    // What happens at one moment is concurrent: who is invoked then comes before who returns.
    events.sort_unstable();
    let (mut latest, mut edges): (Vec<u32>, Vec<Edge>) = (Vec::new(), Vec::new());
    for (_, returns, number) in events {
        if returns {
            let began = transactions[number as usize].invoked;
            latest.retain(|other| transactions[*other as usize].returned >= Some(began));
            latest.push(number);
        } else {
            edges.extend(latest.iter().map(|from| Edge {
                from: *from,
                to: number,
                why: Dependency::RealTime,
            }));
        }
    }
    edges
}

const DATA: Kinds = Kinds::WW.and(Kinds::WR).and(Kinds::RW);

/// What the circles are, one of each kind for each component.
fn of_circles(graph: &Graph, wrote: &str) -> Vec<Anomaly> {
    let everything = DATA.and(Kinds::PROCESS).and(Kinds::REAL_TIME);
    let all = Walk { kinds: everything, through: everything, reads: Reads::Free };
    let members = members(graph, all);
    if members.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Anomaly> = Vec::new();
    for (order, extra) in
        [(Order::Data, Kinds::NONE), (Order::Process, Kinds::PROCESS), (Order::RealTime, Kinds::REAL_TIME)]
    {
        let tiers = [
            (Kinds::WW, Kinds::WW, Reads::Free),
            (Kinds::WW.and(Kinds::WR), Kinds::WR, Reads::Free),
            (DATA, Kinds::RW, Reads::Single),
            (DATA, Kinds::RW, Reads::Apart),
            (DATA, Kinds::RW, Reads::Free),
        ];
        for (kinds, through, reads) in tiers {
            let through = if order == Order::Data { through } else { extra };
            let walk = Walk { kinds: kinds.and(extra), through, reads };
            for circle in circles(graph, walk, &members) {
                let anomaly = named(&circle, order, wrote);
                let is_known = |other: &Anomaly| {
                    other.kind == anomaly.kind
                        && other.transactions.iter().any(|t| anomaly.transactions.contains(t))
                };
                if !found.iter().any(is_known) {
                    found.push(anomaly);
                }
            }
        }
    }
    found
}

/// What a circle is called.
fn named(circle: &[Edge], order: Order, wrote: &str) -> Anomaly {
    let is_rw = |edge: &Edge| edge.why.kind() == Kinds::RW;
    let reads = circle.iter().filter(|edge| is_rw(edge)).count();
    let next = circle.iter().cycle().skip(1);
    let kind = match reads {
        0 if circle.iter().any(|edge| edge.why.kind() == Kinds::WR) => AnomalyKind::G1c,
        0 => AnomalyKind::G0,
        1 => AnomalyKind::GSingle,
        _ if circle.iter().zip(next).any(|(a, b)| is_rw(a) && is_rw(b)) => AnomalyKind::G2Item,
        _ => AnomalyKind::GNonadjacent,
    };
    let transactions = circle.iter().map(|edge| edge.from).collect();
    let sentences: Vec<String> = circle.iter().map(|edge| edge.sentence(wrote)).collect();
    Anomaly { kind, order, transactions, sentence: sentences.join("; ") }
}

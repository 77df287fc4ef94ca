//! What must come before what in every sequential order, where it is known what each read saw.
//!
//! A read comes after the write that it saw, and a client's operations come in its own order. From that
//! follows more: of two writes to one key, where a read saw the one, the other comes before that or after
//! the read. So if it must come before the read, it must come before the write that was seen; and if it
//! must come after that write, it must come after the read (Gibbons & Korach, "Testing shared memories",
//! 1997, section 4). This is repeated until nothing new follows. A cycle is a proof that there is no
//! order; without one there may be an order, which a search must find.
//!
//! Per operation a clock tells how many operations of each *line* come no later (a vector clock). The
//! answered operations of a client are a line, and so is each operation of unknown outcome alone.

use super::versions::{Accesses, Order, START};
use crate::parts::Operation;

/// How many numbers the clocks may take together.
const CLOCKS_MAX: usize = 1 << 25;

/// Where an operation stands: in which line, and as the how manieth, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) nth: u32,
}

/// The operations in their lines.
pub(super) struct Lines {
    pub(super) places: Vec<Place>,
    /// Per operation the one that its client's order puts directly in front of it.
    pub(super) own_before: Vec<Option<u32>>,
    /// Per client with answered operations a line, then per operation of unknown outcome one.
    pub(super) lines: Vec<Vec<u32>>,
    /// How many lines are of clients.
    pub(super) clients: usize,
}

impl Lines {
    pub(super) fn new<O, R>(operations: &[Operation<'_, O, R>]) -> Self {
        let mut by_call: Vec<u32> = (0..operations.len() as u32).collect();
        by_call.sort_unstable_by_key(|at| operations[*at as usize].call);
        let mut line_of = vec![None; 1 + operations.iter().map(|o| o.client.0 as usize).max().unwrap_or(0)];
        let mut this = Self {
            places: vec![Place { line: 0, nth: 0 }; operations.len()],
            own_before: vec![None; operations.len()],
            lines: Vec::new(),
            clients: 0,
        };
        let (known, unknown): (Vec<u32>, Vec<u32>) =
            by_call.into_iter().partition(|at| operations[*at as usize].is_answered());
        for at in known {
            let line = *line_of[operations[at as usize].client.0 as usize].get_or_insert_with(|| {
                this.lines.push(Vec::new());
                this.lines.len() - 1
            });
            this.own_before[at as usize] = this.lines[line].last().copied();
            this.add(at, line);
        }
        this.clients = this.lines.len();
        for at in unknown {
            let operation = &operations[at as usize];
            this.own_before[at as usize] = line_of[operation.client.0 as usize].and_then(|line: usize| {
                let line = &this.lines[line];
                let earlier = line.partition_point(|o| operations[*o as usize].call < operation.call);
                earlier.checked_sub(1).map(|last| line[last])
            });
            this.lines.push(Vec::new());
            this.add(at, this.lines.len() - 1);
        }
        this
    }

    fn add(&mut self, at: u32, line: usize) {
        self.lines[line].push(at);
        self.places[at as usize] = Place { line: line as u32, nth: self.lines[line].len() as u32 };
    }
}

/// Why an operation comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its client's order.
    Own,
    /// It was seen.
    Seen,
    /// `reader` saw `source` (nothing: the start), and not `other`.
    Between { reader: u32, source: Option<u32>, other: u32 },
}

/// What was found out.
pub(super) enum Found {
    /// Nothing contradicts itself.
    Clocks(Clocks),
    /// There is no order: a reason on a cycle.
    Cycle(Why, u32, u32),
}

/// Per operation and line, how many operations of the line come no later.
pub(super) struct Clocks {
    width: usize,
    numbers: Vec<u32>,
}

impl Clocks {
    pub(super) fn of(&self, at: u32) -> &[u32] {
        &self.numbers[at as usize * self.width..][..self.width]
    }

    fn is_before(&self, lines: &Lines, a: u32, b: u32) -> bool {
        let Place { line, nth } = lines.places[a as usize];
        self.of(b)[line as usize] >= nth
    }
}

/// What one read saw under one key.
struct Sight {
    key: usize,
    reader: u32,
    source: Option<u32>,
}

/// Finds out all that follows, or as much as about `steps` steps allow. `None` if that takes too much
/// memory.
pub(super) fn found(lines: &Lines, keys: &[Accesses], steps: &mut u64) -> Option<Found> {
    let (count, width) = (lines.places.len(), lines.lines.len());
    if count.saturating_mul(width) > CLOCKS_MAX {
        return None;
    }
    let (sights, writes, is_certain) = facts(lines, keys);
    // Per operation those that come before it.
    let mut before: Vec<Vec<(u32, Why)>> = vec![Vec::new(); count];
    for at in 0..count as u32 {
        before[at as usize].extend(lines.own_before[at as usize].map(|own| (own, Why::Own)));
    }
    for Sight { reader, source, .. } in &sights {
        before[*reader as usize].extend(source.map(|source| (source, Why::Seen)));
    }
    loop {
        let Some(clocks) = clocks(lines, &before, &is_certain) else { return Some(cycle(&before)) };
        let cost = (count * width) as u64;
        let mut is_new = false;
        if *steps >= cost {
            *steps -= cost;
            for sight in &sights {
                for line in &writes[sight.key] {
                    is_new |= follow(lines, &clocks, sight, line, &mut before);
                }
            }
        }
        if !is_new {
            return Some(Found::Clocks(clocks));
        }
    }
}

/// What the reads of each key saw; per key and line the writes that certainly happened, in order; and per
/// operation whether it certainly happened.
fn facts(lines: &Lines, keys: &[Accesses]) -> (Vec<Sight>, Vec<Vec<Vec<u32>>>, Vec<bool>) {
    let is_answered = |at: usize| (lines.places[at].line as usize) < lines.clients;
    let mut is_certain: Vec<bool> = (0..lines.places.len()).map(is_answered).collect();
    let source =
        |accesses: &Accesses, saw: u32| (saw != START).then(|| accesses.list[saw as usize - 1].at as u32);
    // What an operation of unknown outcome saw counts only if it was seen itself.
    for accesses in keys {
        let mut open: Vec<usize> =
            (0..accesses.list.len()).filter(|place| is_answered(accesses.list[*place].at)).collect();
        while let Some(place) = open.pop() {
            let Some(saw) = accesses.list[place].saw.filter(|saw| *saw != START) else { continue };
            let seen = saw as usize - 1;
            if !std::mem::replace(&mut is_certain[accesses.list[seen].at], true) {
                open.push(seen);
            }
        }
    }
    let mut sights = Vec::new();
    let mut writes = Vec::with_capacity(keys.len());
    for (key, accesses) in keys.iter().enumerate() {
        let mut by_line: Vec<Vec<u32>> = vec![Vec::new(); lines.lines.len()];
        for access in accesses.list.iter().filter(|access| is_certain[access.at]) {
            let at = access.at as u32;
            if access.writes {
                by_line[lines.places[access.at].line as usize].push(at);
            }
            if let Some(saw) = access.saw {
                sights.push(Sight { key, reader: at, source: source(accesses, saw) });
            }
        }
        by_line.retain(|line| !line.is_empty());
        writes.push(by_line);
    }
    (sights, writes, is_certain)
}

/// What follows from one sight for the writes of one line; whether there is anything new.
fn follow(
    lines: &Lines,
    clocks: &Clocks,
    sight: &Sight,
    writes: &[u32],
    before: &mut [Vec<(u32, Why)>],
) -> bool {
    let Sight { reader, source, .. } = *sight;
    let mut is_new = false;
    let mut add = |older: u32, newer: u32, other: u32| {
        if older != newer && !clocks.is_before(lines, older, newer) {
            before[newer as usize].push((older, Why::Between { reader, source, other }));
            is_new = true;
        }
    };
    let passed = clocks.of(reader)[lines.places[writes[0] as usize].line as usize];
    let earlier = writes.partition_point(|write| lines.places[*write as usize].nth <= passed);
    let other = writes[..earlier].iter().rev().find(|write| **write != reader).copied();
    if let (Some(other), Some(source)) = (other, source) {
        add(other, source, other);
    }
    let is_later =
        |write: &u32| source.is_none_or(|source| *write != source && clocks.is_before(lines, source, *write));
    let later = writes.partition_point(|write| !is_later(write));
    if let Some(other) = writes[later..].iter().find(|write| **write != reader).copied() {
        add(reader, other, other);
    }
    is_new
}

/// The clocks, unless the operations that certainly happened have no order.
fn clocks(lines: &Lines, before: &[Vec<(u32, Why)>], is_certain: &[bool]) -> Option<Clocks> {
    let (count, width) = (before.len(), lines.lines.len());
    let mut waits: Vec<u32> = before.iter().map(|before| before.len() as u32).collect();
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); count];
    for (newer, before) in before.iter().enumerate() {
        before.iter().for_each(|(older, _)| after[*older as usize].push(newer as u32));
    }
    let mut numbers = vec![0; count * width];
    let mut ready: Vec<u32> = (0..count as u32).filter(|at| waits[*at as usize] == 0).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        let own = at as usize * width;
        for (older, _) in &before[at as usize] {
            let other = *older as usize * width;
            for line in 0..width {
                numbers[own + line] = numbers[own + line].max(numbers[other + line]);
            }
        }
        if is_certain[at as usize] {
            let Place { line, nth } = lines.places[at as usize];
            assert!(numbers[own + line as usize] < nth, "an operation comes after those in front of it");
            numbers[own + line as usize] = nth;
        }
        for newer in &after[at as usize] {
            waits[*newer as usize] -= 1;
            if waits[*newer as usize] == 0 {
                ready.push(*newer);
            }
        }
    }
    (done == count).then_some(Clocks { width, numbers })
}

/// The reason on a cycle that says most.
fn cycle(before: &[Vec<(u32, Why)>]) -> Found {
    let mut order = Order::new(before.len());
    for (newer, before) in before.iter().enumerate() {
        before.iter().for_each(|(older, why)| order.claim(*older, newer as u32, *why));
    }
    let says = |(_, newer, why): &(u32, u32, Why)| match why {
        Why::Between { reader, .. } => (0, *reader),
        Why::Seen => (1, *newer),
        Why::Own => (2, *newer),
    };
    let contradicted = order.contradicted();
    let (older, newer, why) = contradicted.into_iter().min_by_key(says).expect("there is a cycle");
    Found::Cycle(why, older, newer)
}

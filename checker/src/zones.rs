//! The polynomial path for registers whose contents have one origin each.
//!
//! After Gibbons & Korach ("Testing shared memories", 1997). If it is known which write each read
//! observed, a write and its reads stand together in every order, with nothing between that changes the
//! register; and so does a chain of a write, the swap of what it wrote, the swap of that, and the reads
//! of each. Call that a *block*. Its operations must be in the order of the chain; beyond that all that
//! counts is the first return `f` in the block and the last invocation `s`: a block must stand before
//! another if its `f` is before the other's `s`. Such constraints have a cycle only if two blocks must
//! stand before each other, and if there is none, the blocks can stand in the order of `min(f, s)`.
//!
//! A write that nobody observed is a block of its own, and so is an append that nobody observed: the
//! next block begins by overwriting it. An operation of unknown outcome did happen if somebody observed
//! what it did, and need not have happened otherwise. Refused swaps are left aside: if the rest has no
//! order, neither has the whole; and if it has, the refused are put where they fit, and the result is
//! checked by replay.
//!
//! Equal contents of several origins are told apart first, as far as the intervals allow
//! ([`twins`](crate::twins)). What remains is left out: if the rest has no order, neither has the whole.

use crate::nearly;
use crate::origins::{Claims, INITIAL, Numbered, Origin, origins};
use crate::parts::{Interval, NEVER};
use crate::twins::Twins;

/// A place in time: events are counted from 1, and the register holds its first content from 0 on.
type Moment = u32;

const NONE: u32 = u32::MAX;

/// What was found out about a part.
pub(crate) enum Decision<'r, 'a> {
    /// There is an order.
    Linearizable,
    /// This is an order if the object explains it.
    Proposed(Vec<u32>),
    /// There is none.
    Refuted(Refuted),
    /// There is none that agrees with what was guessed.
    Misguessed(Zones<'r, 'a>),
    /// There may be one, but the blocks do not show it.
    Unsure,
}

/// That a part has no order.
pub(crate) struct Refuted {
    /// An answered operation that has no place together with all that returned before it; the first such, unless
    /// guesses were left aside.
    pub(crate) failing: usize,
    /// An order of those before it, but that some of them may be missing if guesses were left aside.
    pub(crate) placed: Vec<u32>,
}

/// A part made ready for its blocks. A *node* is a content that one operation left behind.
pub(crate) struct Zones<'r, 'a> {
    intervals: &'r [Interval],
    answered: usize,
    claims: Claims<'r, 'a>,
    nodes: Vec<Origin>,
    /// Per swap its node, per write its node if it was observed; empty where nothing is swapped or
    /// appended: then that is the write's own content.
    made: Vec<u32>,
    twins: Twins,
}

/// What the blocks say about the answered operations up to some return.
enum Finding {
    /// They have an order.
    Ordered(Blocks),
    /// They have none, and those up to this moment probably neither.
    Refuted(Moment),
}

/// Blocks in order.
struct Blocks {
    order: Vec<Root>,
    /// Per node the one that was made from it.
    next: Vec<u32>,
}

/// What a block begins with.
#[derive(Clone, Copy)]
enum Root {
    Node(u32),
    /// An operation that nobody observed.
    Alone(u32),
}

/// A block's zone.
#[derive(Clone, Copy)]
struct Block {
    root: Root,
    first_return: Moment,
    last_call: Moment,
    /// When it is certain that what was called last took effect.
    until: Moment,
}

/// What is known about the reads of a node.
#[derive(Clone, Copy)]
struct Reads {
    first_return: Moment,
    last_call: Moment,
    /// The return of the one that was called last.
    until: Moment,
    /// When the node is first certain to be in the order.
    evidence: Moment,
    is_kept: bool,
}

const NO_READS: Reads =
    Reads { first_return: NEVER, last_call: 0, until: 0, evidence: NEVER, is_kept: false };

impl<'r, 'a> Zones<'r, 'a> {
    /// The first `answered` operations were answered. `None` if it is not certain what the reads observed.
    pub(crate) fn new(
        intervals: &'r [Interval],
        answered: usize,
        mut claims: Claims<'r, 'a>,
    ) -> Option<Self> {
        let twins = Twins::told_apart(intervals, answered, &mut claims)?;
        Self::of(intervals, answered, claims, twins)
    }

    fn of(
        intervals: &'r [Interval],
        answered: usize,
        mut claims: Claims<'r, 'a>,
        twins: Twins,
    ) -> Option<Self> {
        let nobody = Origin { operation: None, before: None };
        let origins = origins(&mut claims)?;
        let mut nodes: Vec<Origin> = origins.iter().map(|origin| origin.unwrap_or(nobody)).collect();
        let mut made = Vec::new();
        if claims.has_swaps || claims.has_appends {
            made.resize(intervals.len(), NONE);
            for (value, origin) in (0..).zip(origins) {
                if let Some(Origin { operation: Some(operation), .. }) = origin {
                    made[operation as usize] = value;
                }
            }
            for (at, operation) in claims.operations.iter().enumerate() {
                if let (Numbered::Swap { old, .. }, NONE) = (operation, made[at]) {
                    made[at] = nodes.len() as u32;
                    nodes.push(Origin { operation: Some(at as u32), before: Some(*old) });
                }
            }
        }
        Some(Self { intervals, answered, claims, nodes, made, twins })
    }

    /// Judges the part.
    pub(crate) fn decide(self) -> Decision<'r, 'a> {
        match self.blocks(self.answered) {
            Finding::Ordered(blocks) if self.is_any_refused() => {
                let order = self.linearization(self.answered, &blocks);
                self.with_refused(&order).map_or(Decision::Unsure, Decision::Proposed)
            }
            Finding::Ordered(_) => Decision::Linearizable,
            Finding::Refuted(_) if self.twins.has_guesses() => Decision::Misguessed(self),
            Finding::Refuted(until) => Decision::Refuted(self.refuted(until)),
        }
    }

    /// What the blocks show without what was guessed, if they show that there is no order.
    pub(crate) fn refuted_anyway(self) -> Option<Refuted> {
        let Self { intervals, answered, mut claims, mut twins, .. } = self;
        twins.leave_guesses(&mut claims);
        let this = Self::of(intervals, answered, claims, twins)?;
        match this.blocks(answered) {
            Finding::Ordered(_) => None,
            Finding::Refuted(until) => Some(this.refuted(until)),
        }
    }

    /// Where it is that there is no order, probably before `until`.
    fn refuted(&self, until: Moment) -> Refuted {
        let (failing, blocks) = self.last_ordered(until);
        Refuted { failing, placed: self.linearization(failing, &blocks) }
    }

    /// How many of the answered operations have an order, at most, and its blocks, where all have none
    /// and those up to `until` probably neither.
    fn last_ordered(&self, until: Moment) -> (usize, Blocks) {
        let count = |until: Moment| self.intervals[..self.answered].partition_point(|o| o.end < until);
        let (mut low, mut high, mut guess) = (0, self.answered, count(until));
        let mut ordered = Blocks { order: Vec::new(), next: vec![NONE; self.nodes.len()] };
        // The guess is nearly always right, so it is tried before the middle.
        for is_guess in [true, true, true, false].into_iter().chain(std::iter::repeat(false)) {
            if high - low <= 1 {
                break;
            }
            let at = if is_guess && low < guess && guess < high {
                guess
            } else if is_guess {
                high - 1
            } else {
                low.midpoint(high)
            };
            match self.blocks(at) {
                Finding::Ordered(blocks) => (low, ordered) = (at, blocks),
                Finding::Refuted(until) => (high, guess) = (at, count(until)),
            }
        }
        (low, ordered)
    }

    /// The node of a swap, and of a write if it was observed.
    fn made(&self, at: usize) -> Option<u32> {
        match self.claims.operations[at] {
            Numbered::Write(value) if self.made.is_empty() => {
                self.claims.usage[value as usize].is_observed.then_some(value)
            }
            _ => Some(self.made[at]).filter(|node| *node != NONE),
        }
    }

    fn is_any_refused(&self) -> bool {
        self.claims.operations.iter().any(|operation| matches!(operation, Numbered::Refused(_)))
    }

    /// The blocks of the operations that were invoked before the `answered`th return. Those that
    /// returned later count as unanswered.
    fn blocks(&self, answered: usize) -> Finding {
        let mut reads = vec![NO_READS; self.nodes.len()];
        let mut blocks = Vec::with_capacity(answered);
        for (at, operation) in self.intervals[..answered].iter().enumerate() {
            let (call, end) = (operation.call + 1, operation.end + 1);
            let node = match self.claims.operations[at] {
                Numbered::Read(value) => {
                    let reads = &mut reads[value as usize];
                    reads.first_return = reads.first_return.min(end);
                    if call > reads.last_call {
                        (reads.last_call, reads.until) = (call, end);
                    }
                    value
                }
                Numbered::Write(_) | Numbered::Swap { .. } => match self.made(at) {
                    Some(node) => node,
                    None => {
                        blocks.push(alone(at, call, end));
                        continue;
                    }
                },
                Numbered::Append(_) | Numbered::Refused(_) => continue,
            };
            let reads = &mut reads[node as usize];
            reads.evidence = reads.evidence.min(end);
            reads.is_kept = true;
        }
        // What is swapped was there.
        for node in 0..if self.made.is_empty() { 0 } else { self.nodes.len() } {
            let mut node = node;
            while let (true, Some(before)) = (reads[node].is_kept, self.nodes[node].before) {
                let evidence = reads[node].evidence;
                node = before as usize;
                let reads = &mut reads[node];
                reads.evidence = reads.evidence.min(evidence);
                if std::mem::replace(&mut reads.is_kept, true) {
                    break;
                }
            }
        }
        match self.chains(answered, &reads, &mut blocks) {
            Ok(next) => in_order(&blocks, next),
            Err(until) => Finding::Refuted(until),
        }
    }

    /// Adds the blocks with more than one operation, and the appends that nobody observed. Returns per
    /// node the one that was made from it; an error is the moment from which on there is no order.
    fn chains(&self, answered: usize, reads: &[Reads], blocks: &mut Vec<Block>) -> Result<Vec<u32>, Moment> {
        let limit = match answered {
            0 => 0,
            _ if answered == self.answered => NEVER,
            _ => self.intervals[answered - 1].end + 1,
        };
        let mut next = vec![NONE; self.nodes.len()];
        let mut is_used = vec![false; if self.claims.has_appends { self.intervals.len() } else { 0 }];
        let mut kept = 0;
        for (node, origin) in self.nodes.iter().enumerate() {
            let evidence = reads[node].evidence;
            if !reads[node].is_kept {
                continue;
            }
            kept += 1;
            match origin.operation {
                Some(maker) if self.intervals[maker as usize].call + 1 > limit => return Err(evidence),
                // What is appended once is there once.
                Some(maker)
                    if self.claims.has_appends && std::mem::replace(&mut is_used[maker as usize], true) =>
                {
                    return Err(NEVER);
                }
                None if node != INITIAL as usize => return Err(evidence),
                _ => {}
            }
            if let Some(before) = origin.before {
                let other = std::mem::replace(&mut next[before as usize], node as u32);
                if other != NONE {
                    return Err(evidence.max(reads[other as usize].evidence));
                }
            }
        }
        for (node, origin) in self.nodes.iter().enumerate() {
            if reads[node].is_kept && origin.before.is_none() {
                blocks.push(self.chain(node as u32, answered, reads, &next, &mut kept)?);
            }
        }
        if kept > 0 {
            // Swaps in a circle.
            return Err(NEVER);
        }
        if self.claims.has_appends {
            for (at, operation) in self.intervals[..answered].iter().enumerate() {
                if !is_used[at] && matches!(self.claims.operations[at], Numbered::Append(_)) {
                    blocks.push(alone(at, operation.call + 1, operation.end + 1));
                }
            }
        }
        Ok(next)
    }

    /// The zone of one chain, whose operations must be in its order.
    fn chain(
        &self,
        root: u32,
        answered: usize,
        reads: &[Reads],
        next: &[u32],
        left: &mut usize,
    ) -> Result<Block, Moment> {
        let mut block = Block { root: Root::Node(root), first_return: NEVER, last_call: 0, until: 0 };
        let mut node = root;
        while node != NONE {
            *left -= 1;
            let seen = &reads[node as usize];
            let (call, end) = match self.nodes[node as usize].operation {
                None => (0, 0),
                Some(maker) if (maker as usize) < answered => {
                    let maker = &self.intervals[maker as usize];
                    (maker.call + 1, maker.end + 1)
                }
                Some(maker) => (self.intervals[maker as usize].call + 1, NEVER),
            };
            block.add(call, end, if end == NEVER { seen.evidence } else { end })?;
            if seen.first_return < block.last_call {
                return Err(seen.first_return.max(block.until));
            }
            block.first_return = block.first_return.min(seen.first_return);
            if seen.last_call > block.last_call {
                (block.last_call, block.until) = (seen.last_call, seen.until);
            }
            node = next[node as usize];
        }
        Ok(block)
    }

    /// The operations in the order of their blocks.
    fn linearization(&self, answered: usize, blocks: &Blocks) -> Vec<u32> {
        let mut starts = vec![0_u32; self.nodes.len() + 1];
        let read = |at: usize| match self.claims.operations[at] {
            Numbered::Read(value) => Some(value as usize),
            _ => None,
        };
        for value in (0..answered).filter_map(read) {
            starts[value + 1] += 1;
        }
        for node in 0..self.nodes.len() {
            starts[node + 1] += starts[node];
        }
        let mut fill = starts.clone();
        let mut readers = vec![0_u32; starts[self.nodes.len()] as usize];
        for at in 0..answered {
            if let Some(value) = read(at) {
                readers[fill[value] as usize] = at as u32;
                fill[value] += 1;
            }
        }
        let mut order = Vec::with_capacity(answered);
        for root in &blocks.order {
            let mut node = match *root {
                Root::Node(node) => node,
                Root::Alone(operation) => {
                    order.push(operation);
                    continue;
                }
            };
            while node != NONE {
                order.extend(self.nodes[node as usize].operation);
                let (from, to) = (starts[node as usize], starts[node as usize + 1]);
                order.extend_from_slice(&readers[from as usize..to as usize]);
                node = blocks.next[node as usize];
            }
        }
        order
    }

    /// An order of all other operations with the refused swaps put in; `None` if they do not fit.
    fn with_refused(&self, order: &[u32]) -> Option<Vec<u32>> {
        let known = &self.intervals[..self.answered];
        // Per place in the order, the content in front of it. Whatever was appended unobserved is no
        // content with a number, or a replay will find out.
        let mut contents = vec![INITIAL];
        let mut place_of = vec![NONE; self.intervals.len()];
        for (place, at) in order.iter().enumerate() {
            place_of[*at as usize] = place as u32;
            contents.push(match self.claims.operations[*at as usize] {
                Numbered::Write(value) | Numbered::Swap { new: value, .. } => value,
                Numbered::Append(_) => self.made[*at as usize],
                Numbered::Read(_) | Numbered::Refused(_) => contents[place],
            });
        }
        // Per number of returns, the place behind all that had returned.
        let mut behind = vec![0];
        let mut inserted: Vec<(u32, u32)> = Vec::new();
        for (at, operation) in known.iter().enumerate() {
            let mut place = behind[at];
            if let Numbered::Refused(old) = self.claims.operations[at] {
                let returned = nearly::low(known, at, |o| o.end < operation.call);
                let mut own = behind[returned];
                while contents.get(own as usize).is_some_and(|content| self.twins.is_one(*content, old)) {
                    own += 1;
                }
                if own as usize >= contents.len() {
                    return None;
                }
                inserted.push((own, at as u32));
                place = place.max(own);
            } else {
                place = place.max(place_of[at] + 1);
            }
            behind.push(place);
        }
        inserted.sort_unstable();
        let mut inserted = inserted.into_iter().peekable();
        let mut whole = Vec::with_capacity(self.intervals.len());
        for place in 0..=order.len() {
            while let Some((_, at)) = inserted.next_if(|(own, _)| *own as usize == place) {
                whole.push(at);
            }
            whole.extend(order.get(place));
        }
        Some(whole)
    }
}

impl Block {
    /// Puts an operation behind all others.
    fn add(&mut self, call: Moment, end: Moment, until: Moment) -> Result<(), Moment> {
        if end < self.last_call {
            return Err(end.max(self.until));
        }
        self.first_return = self.first_return.min(end);
        if call > self.last_call {
            (self.last_call, self.until) = (call, until);
        }
        Ok(())
    }
}

fn alone(at: usize, call: Moment, end: Moment) -> Block {
    Block { root: Root::Alone(at as u32), first_return: end, last_call: call, until: end }
}

/// Puts the blocks in order, unless two must stand before each other.
fn in_order(blocks: &[Block], next: Vec<u32>) -> Finding {
    let moment = |place: u32| blocks[place as usize].first_return.min(blocks[place as usize].last_call);
    let places = nearly::sorted(blocks.len(), moment);
    let (mut last_call, mut until) = (0, 0);
    let mut order = Vec::with_capacity(blocks.len());
    for place in places {
        let block = &blocks[place as usize];
        if block.first_return < last_call {
            return Finding::Refuted(until.max(block.until));
        }
        if block.last_call > last_call {
            (last_call, until) = (block.last_call, block.until);
        }
        order.push(block.root);
    }
    Finding::Ordered(Blocks { order, next })
}

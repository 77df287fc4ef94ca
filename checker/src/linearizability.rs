//! The search for a linearization: an order of the operations that the object explains and in which
//! no operation stands before one that had returned when it was invoked.
//!
//! After Wing & Gong ("Testing and verifying concurrent objects", 1993) and Lowe ("Testing for
//! linearizability", 2017): place one operation after the other, depth first; never visit twice a
//! configuration, which is the set of placed operations and the state.
//!
//! Answered operations are numbered in the order in which they returned. The *front* is the first of
//! them that has no place yet. Whatever is placed next must have been invoked before the front
//! returned; of the answered operations these are the ones that were open at that moment, at most one
//! per client. So:
//!
//! - a configuration is the front, one bit for each *other* operation open at the front's return, the
//!   set of operations of unknown outcome that are used up, and the number of the state: its size
//!   depends on how many clients there are, not on how long the history is;
//! - candidates are tried in the order of their return, and operations of unknown outcome after all
//!   others, because most of them never happened or are over;
//! - an operation of unknown outcome that does not change the state is not tried, and a configuration
//!   is not visited if one with fewer of them used up was: what the one leads to, the other does too.
//!
//! The front that the search never gets past is the first return of the history that no order
//! explains, whichever way the search took.

use crate::cache::{Configurations, States};
use crate::parts::{Operation, Part};
use crate::spec::Spec;

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is an order.
    Linearizable,
    /// There is none.
    Refuted,
    /// Not known yet: [`Search::run`] goes on.
    Paused,
}

/// A search for a linearization of one part. It can pause and go on.
pub struct Search<'p, 'h, S: Spec> {
    part: &'p Part<'h, S>,
    windows: Windows,
    states: States<S>,
    visited: Configurations,
    /// Per operation, whether it has a place.
    placed: Vec<bool>,
    /// The operations of unknown outcome that have a place, one bit each.
    used: Vec<u64>,
    path: Vec<Placement>,
    front: usize,
    state: u32,
    /// The next candidate of the current configuration.
    candidate: usize,
    longest: Longest,
    words: Vec<u64>,
    steps: u64,
}

/// One operation's place on the current path, and how to take it back.
#[derive(Clone, Copy)]
struct Placement {
    operation: u32,
    front_before: u32,
    state_before: u32,
    candidate: u32,
}

impl<'p, 'h, S: Spec> Search<'p, 'h, S> {
    /// A search that starts with the object in state `initial`.
    pub fn new(part: &'p Part<'h, S>, initial: &S) -> Self {
        let windows = Windows::new(&part.operations, part.answered);
        let optional = part.operations.len() - part.answered;
        let width = 1 + windows.widest.saturating_sub(1).div_ceil(64);
        let mut states = States::new();
        Self {
            part,
            state: states.number(initial.clone()),
            states,
            visited: Configurations::new(width, optional.div_ceil(64)),
            placed: vec![false; part.operations.len()],
            used: vec![0; optional.div_ceil(64)],
            path: Vec::with_capacity(part.operations.len()),
            front: 0,
            candidate: 0,
            longest: Longest::default(),
            words: Vec::with_capacity(width),
            steps: 0,
            windows,
        }
    }

    /// Goes on for about `steps` steps.
    pub fn run(&mut self, steps: u64) -> Status {
        let until = self.steps.saturating_add(steps);
        while self.front < self.part.answered {
            if self.steps >= until {
                return Status::Paused;
            }
            match self.next_candidate() {
                Some(operation) => self.place(operation),
                None if self.path.is_empty() => return Status::Refuted,
                None => self.take_back(),
            }
        }
        Status::Linearizable
    }

    /// What is searched.
    pub fn part(&self) -> &'p Part<'h, S> {
        self.part
    }

    /// The steps taken so far. A step applies one operation to one state, or compares a configuration
    /// with sixteen others.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many states are stored.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// The place in the part of the first operation in the order of returns that could not be placed
    /// so far together with all before it; the number of answered operations if all could.
    pub fn front(&self) -> usize {
        self.longest.front.max(self.front)
    }

    /// An order in which all operations that returned before [`Search::front`] have a place, as places
    /// in the part.
    pub fn longest(&self) -> Vec<usize> {
        if self.front >= self.longest.front {
            return self.path.iter().map(|placement| placement.operation as usize).collect();
        }
        self.longest.order.iter().map(|operation| *operation as usize).collect()
    }

    fn next_candidate(&mut self) -> Option<usize> {
        let open = self.windows.open(self.front);
        let optional = self.windows.optional[self.front] as usize;
        loop {
            let at = self.candidate;
            let operation = if at < open.len() {
                open[at] as usize
            } else if at < open.len() + optional {
                // What was invoked last is the likeliest to have happened just now.
                self.part.answered + optional - 1 - (at - open.len())
            } else {
                return None;
            };
            self.candidate += 1;
            if !self.placed[operation] {
                return Some(operation);
            }
        }
    }

    fn place(&mut self, operation: usize) {
        self.steps += 1;
        let Operation { op, ret, .. } = self.part.operations[operation];
        let Some(after) = self.states.get(self.state).step(op, ret) else { return };
        let after = self.states.number(after);
        if ret.is_none() && after == self.state {
            return;
        }
        let placement = Placement {
            operation: operation as u32,
            front_before: self.front as u32,
            state_before: self.state,
            candidate: self.candidate as u32,
        };
        self.mark(operation, true);
        while self.front < self.part.answered && self.placed[self.front] {
            self.front += 1;
        }
        self.state = after;
        if self.front < self.part.answered && !self.visit() {
            self.undo(placement);
            return;
        }
        self.path.push(placement);
        self.candidate = 0;
    }

    /// Whether the configuration can do more than those visited before.
    fn visit(&mut self) -> bool {
        self.words.clear();
        self.words.push((self.front as u64) << 32 | u64::from(self.state));
        let others = &self.windows.open(self.front)[1..];
        for word in others.chunks(64) {
            let bits = word.iter().enumerate();
            self.words.push(bits.fold(0, |set, (bit, o)| set | u64::from(self.placed[*o as usize]) << bit));
        }
        self.words.resize(self.visited.width(), 0);
        let visit = self.visited.visit(&self.words, &self.used);
        self.steps += visit.compared / 16;
        visit.is_new
    }

    fn take_back(&mut self) {
        self.longest.note(self.front, &self.path);
        let last = self.path.pop().expect("there is a placement to take back");
        self.longest.shared = self.longest.shared.min(self.path.len());
        self.undo(last);
    }

    fn undo(&mut self, placement: Placement) {
        self.mark(placement.operation as usize, false);
        self.front = placement.front_before as usize;
        self.state = placement.state_before;
        self.candidate = placement.candidate as usize;
    }

    fn mark(&mut self, operation: usize, placed: bool) {
        assert!(self.placed[operation] != placed, "an operation has one place or none");
        self.placed[operation] = placed;
        if let Some(optional) = operation.checked_sub(self.part.answered) {
            self.used[optional / 64] ^= 1 << (optional % 64);
        }
    }
}

/// Which operations can be placed while a given one is the front.
struct Windows {
    /// The answered operations that were open at each front's return, itself first, in the order of
    /// their returns; all fronts' lists behind each other.
    open: Vec<u32>,
    /// Where each front's list begins; one more at the end.
    starts: Vec<u32>,
    /// Per front, how many operations of unknown outcome were invoked before it returned.
    optional: Vec<u32>,
    /// The length of the longest list.
    widest: usize,
}

impl Windows {
    fn new<O, R>(operations: &[Operation<'_, O, R>], answered: usize) -> Self {
        let (known, unknown) = operations.split_at(answered);
        let mut by_call: Vec<u32> = (0..answered as u32).collect();
        by_call.sort_unstable_by_key(|o| known[*o as usize].call);
        let mut calls = by_call.into_iter().peekable();
        let mut windows =
            Self { open: Vec::new(), starts: vec![0], optional: Vec::with_capacity(answered), widest: 0 };
        let mut now_open: Vec<u32> = Vec::new();
        for (front, operation) in known.iter().enumerate() {
            while let Some(called) = calls.next_if(|o| known[*o as usize].call < operation.end) {
                now_open.insert(now_open.partition_point(|o| *o < called), called);
            }
            assert!(now_open[0] as usize == front, "what returned earlier is no longer open");
            windows.open.extend_from_slice(&now_open);
            windows.starts.push(u32::try_from(windows.open.len()).expect("windows fit into memory"));
            windows.optional.push(unknown.partition_point(|o| o.call < operation.end) as u32);
            windows.widest = windows.widest.max(now_open.len());
            now_open.remove(0);
        }
        windows
    }

    fn open(&self, front: usize) -> &[u32] {
        &self.open[self.starts[front] as usize..self.starts[front + 1] as usize]
    }
}

/// The path that came furthest.
#[derive(Default)]
struct Longest {
    front: usize,
    order: Vec<u32>,
    /// How much of `order` the current path still begins with, so that growing it costs only what is
    /// new.
    shared: usize,
}

impl Longest {
    /// Looks at a path that is about to be left.
    fn note(&mut self, front: usize, path: &[Placement]) {
        if front > self.front || (front == self.front && path.len() > self.order.len()) {
            self.front = front;
            self.order.truncate(self.shared);
            self.order.extend(path[self.shared..].iter().map(|placement| placement.operation));
            self.shared = path.len();
        }
    }
}

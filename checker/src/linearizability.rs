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
//! per client. So a configuration is the front, one bit for each *other* operation open at the front's
//! return, the set of operations of unknown outcome that are used up, and the number of the state: its
//! size depends on how many clients there are, not on how long the history is.
//!
//! What is tried is less than all that is possible, but enough, because of any linearization it leaves
//! one that has as few operations of unknown outcome as possible, each as late as possible:
//!
//! - *Focus.* Only operations that share keys with the front, directly or through others that are open
//!   with it, are tried: the others could as well stand behind the front (a persistent set, Godefroid).
//! - *Reads first.* A read whose answer fits the state is placed, and nothing else is tried there: it
//!   could stand nowhere better.
//! - *Helpers.* An operation of unknown outcome is placed only for the sake of an answered one, the
//!   *target*, which must follow with nothing but further helpers between ([`Spec::helpers`]), and only
//!   if it changes the state and can lead to the target from there ([`Spec::is_helped`]); and of several
//!   that do the same, the one that was invoked first.
//! - *Dominance.* A configuration is not visited if one was that differs only in that fewer operations
//!   of unknown outcome are used up: what the one leads to, the other does too.
//!
//! The front that the search never gets past is the first return of the history that no order
//! explains, given how what was open then was answered later, whichever way the search took.

use crate::cache::{Configurations, States};
use crate::parts::{Operation, Part};
use crate::spec::{Helpers, RegisterOp, Spec};
use crate::windows::Windows;

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

/// What looks for a linearization of one part, in turns.
pub(crate) trait Attempt {
    /// Goes on for about `steps` steps.
    fn run(&mut self, steps: u64) -> Status;
    /// The steps taken so far.
    fn steps(&self) -> u64;
    /// About how many bytes what is stored takes.
    fn bytes(&self) -> u64;
    /// The first answered operation that could not be placed so far together with all before it.
    fn front(&self) -> usize;
    /// An order in which all before the front have a place.
    fn longest(&self) -> Vec<u32>;
}

impl<S: Spec> Attempt for Search<'_, '_, S> {
    fn run(&mut self, steps: u64) -> Status {
        self.run(steps)
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn bytes(&self) -> u64 {
        self.states.bytes()
    }

    fn front(&self) -> usize {
        self.front()
    }

    fn longest(&self) -> Vec<u32> {
        self.longest_places()
    }
}

/// A search for a linearization of one part. It can pause and go on.
pub struct Search<'p, 'h, S: Spec> {
    part: &'p Part<'h, S>,
    windows: Windows,
    /// Per answered operation, whether it never changes the state.
    is_read: Vec<bool>,
    /// Per answered operation its helpers, once they were asked for.
    helpers: Vec<Option<Box<Helpers>>>,
    states: States<S>,
    visited: Configurations,
    /// Per operation, whether it has a place.
    placed: Vec<bool>,
    /// The operations of unknown outcome that have a place, one bit each.
    used: Vec<u64>,
    /// Set if these may have as many places as one likes: the configurations in which a target was helped.
    lavish: Option<Configurations>,
    path: Vec<Placement>,
    at: Configuration,
    longest: Longest,
    words: Vec<u64>,
    steps: u64,
}

/// Where a search stands, besides the operations that are placed.
#[derive(Clone, Copy)]
struct Configuration {
    front: u32,
    state: u32,
    /// The operation that the helpers placed last must help.
    target: Option<u32>,
    next: Choice,
}

/// What is tried next in a configuration.
#[derive(Clone, Copy)]
enum Choice {
    /// The reads in focus, from this place of the focus on.
    Read(u32),
    /// Any other operation in focus, from this place on.
    Write(u32),
    /// The helpers of the operation at a place in focus, from this helper on.
    Helper(u32, u32),
    /// The target of the helpers before.
    Target,
    /// Another helper of the same target, from this helper on.
    More(u32),
    /// Nothing is left to try.
    Nothing,
}

/// One operation's place on the current path, and where the search stood before.
#[derive(Clone, Copy)]
struct Placement {
    operation: u32,
    before: Configuration,
}

impl<'p, 'h, S: Spec> Search<'p, 'h, S> {
    /// A search that starts with the object in state `initial`.
    pub fn new(part: &'p Part<'h, S>, initial: &S) -> Self {
        let windows = Windows::new(part);
        let optional = part.operations.len() - part.answered;
        // The front and the state, the window, and the target if there can be one.
        let width = 1 + windows.widest().saturating_sub(1).div_ceil(64) + usize::from(optional > 0);
        let mut states = States::new();
        let state = states.start(initial.clone(), 0);
        let answered = &part.operations[..part.answered];
        Self {
            part,
            windows,
            is_read: answered.iter().map(|operation| S::is_read(operation.op, operation.ret)).collect(),
            helpers: answered.iter().map(|_| None).collect(),
            states,
            visited: Configurations::new(width, optional.div_ceil(64)),
            placed: vec![false; part.operations.len()],
            used: vec![0; optional.div_ceil(64)],
            lavish: None,
            path: Vec::with_capacity(part.operations.len()),
            at: Configuration { front: 0, state, target: None, next: Choice::Read(0) },
            longest: Longest::default(),
            words: Vec::with_capacity(width),
            steps: 0,
        }
    }

    /// Lets operations of unknown outcome take effect as often as one likes. Then it does not matter which
    /// were used, so that the search is short; and if even so there is no order, there is none.
    pub(crate) fn lavish(part: &'p Part<'h, S>, initial: &S) -> Self {
        let search = Self::new(part, initial);
        Self { lavish: Some(Configurations::new(search.visited.width(), 0)), ..search }
    }

    /// Goes on for about `steps` steps.
    pub fn run(&mut self, steps: u64) -> Status {
        let until = self.steps.saturating_add(steps);
        while (self.at.front as usize) < self.part.answered {
            if self.steps >= until {
                return Status::Paused;
            }
            match self.candidate() {
                Some((operation, target)) => self.place(operation, target),
                None if self.path.is_empty() => return Status::Refuted,
                None => self.take_back(),
            }
        }
        Status::Linearizable
    }

    /// The steps taken so far. A step applies one operation to one state, or compares a configuration
    /// with sixteen others.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The place in the part of the first operation in the order of returns that could not be placed
    /// so far together with all before it; the number of answered operations if all could.
    pub fn front(&self) -> usize {
        self.longest.front.max(self.at.front) as usize
    }

    /// An order in which all operations that returned before [`Search::front`] have a place, as places
    /// in the part.
    pub fn longest(&self) -> Vec<usize> {
        self.longest_places().into_iter().map(|place| place as usize).collect()
    }

    fn longest_places(&self) -> Vec<u32> {
        if self.at.front >= self.longest.front {
            return self.path.iter().map(|placement| placement.operation).collect();
        }
        self.longest.order.clone()
    }

    /// The next operation to try, and the target if it is a helper.
    fn candidate(&mut self) -> Option<(usize, Option<u32>)> {
        let front = self.at.front as usize;
        loop {
            let focus = self.windows.focus(front);
            match self.at.next {
                Choice::Read(at) => {
                    let Some(&operation) = focus.get(at as usize) else {
                        self.at.next = Choice::Write(0);
                        continue;
                    };
                    self.at.next = Choice::Read(at + 1);
                    if self.is_read[operation as usize] && !self.placed[operation as usize] {
                        return Some((operation as usize, None));
                    }
                }
                Choice::Write(at) => {
                    let Some(&operation) = focus.get(at as usize) else {
                        let no_helpers = self.windows.optional(front) == 0;
                        self.at.next = if no_helpers { Choice::Nothing } else { Choice::Helper(0, 0) };
                        continue;
                    };
                    self.at.next = Choice::Write(at + 1);
                    if !self.is_read[operation as usize] && !self.placed[operation as usize] {
                        return Some((operation as usize, None));
                    }
                }
                Choice::Helper(at, from) => {
                    let target = *focus.get(at as usize)?;
                    let helper = match self.placed[target as usize] || self.is_helped(target) {
                        true => None,
                        false => self.helper(target, from),
                    };
                    if let Some((helper, next)) = helper {
                        self.at.next = Choice::Helper(at, next);
                        return Some((helper, Some(target)));
                    }
                    self.at.next = Choice::Helper(at + 1, 0);
                }
                Choice::Target => {
                    self.at.next = Choice::More(0);
                    return Some((self.at.target.expect("helpers have a target") as usize, None));
                }
                Choice::More(from) => {
                    let target = self.at.target.expect("helpers have a target");
                    if self.is_helped(target) {
                        return None;
                    }
                    let (helper, next) = self.helper(target, from)?;
                    self.at.next = Choice::More(next);
                    return Some((helper, Some(target)));
                }
                Choice::Nothing => return None,
            }
        }
    }

    /// The first helper of `target` from number `from` on that can be placed, and the number after it.
    /// Those that are alike have one number.
    fn helper(&mut self, target: u32, from: u32) -> Option<(usize, u32)> {
        let invoked = self.part.answered + self.windows.optional(self.at.front as usize);
        let (part, windows, placed) = (self.part, &self.windows, &self.placed);
        // Of those that do the same the first will do if it has no place yet, or may have another.
        let is_possible = |helper: usize| {
            let is_next = |twin: usize| placed[part.answered + twin];
            helper < invoked && !placed[helper] && windows.twin(helper - part.answered).is_none_or(is_next)
        };
        let helpers = &mut self.helpers[target as usize];
        let Helpers { each, alike } =
            &**helpers.get_or_insert_with(|| Box::new(S::helpers(part, target as usize)));
        let rest = each.get(from as usize..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|helper| is_possible(*helper)) {
            return Some((rest[at], from + at as u32 + 1));
        }
        if from as usize > each.len() {
            return None;
        }
        let one = alike.iter().find(|helper| is_possible(**helper))?;
        Some((*one, each.len() as u32 + 1))
    }

    /// Whether helpers led to this target before from the same front with the same operations placed, and
    /// whatever else leads there ends in the same state.
    fn is_helped(&mut self, target: u32) -> bool {
        self.describe(u64::from(self.at.front), Some(target));
        self.lavish.as_ref().is_some_and(|helped| helped.contains(&self.words))
    }

    /// Notes that helpers led to their target, if the state behind it does not depend on the one before.
    fn note_helped(&mut self, target: u32) {
        let Operation { op, ret, .. } = self.part.operations[target as usize];
        let determines =
            matches!(S::register_op(op, ret), Some(RegisterOp::Read(_) | RegisterOp::Swap { .. }));
        if determines && self.part.keys.len() == 1 {
            self.describe(u64::from(self.at.front), Some(target));
            if let Some(helped) = &mut self.lavish {
                helped.visit(&self.words, &[]);
            }
        }
    }

    fn place(&mut self, operation: usize, target: Option<u32>) {
        self.steps += 1;
        let after = self.states.after(self.at.state, operation as u32, &self.part.operations[operation]);
        let Some(after) = after else { return };
        if let Some(target) = target
            && (after == self.at.state
                || !self.states.get(after).is_helped(self.part, operation, target as usize))
        {
            return;
        }
        if target.is_none() && self.is_read[operation] {
            self.at.next = Choice::Nothing;
        }
        if self.lavish.is_some() && self.at.target == Some(operation as u32) {
            self.note_helped(operation as u32);
        }
        self.mark(operation, true);
        self.path.push(Placement { operation: operation as u32, before: self.at });
        let next = if target.is_some() { Choice::Target } else { Choice::Read(0) };
        self.at = Configuration { front: self.at.front, state: after, target, next };
        while (self.at.front as usize) < self.part.answered && self.placed[self.at.front as usize] {
            self.at.front += 1;
        }
        if (self.at.front as usize) < self.part.answered && !self.visit() {
            self.at.next = Choice::Nothing;
        }
    }

    /// Whether the configuration can do more than those visited before.
    fn visit(&mut self) -> bool {
        self.describe(u64::from(self.at.front) << 32 | u64::from(self.at.state), self.at.target);
        let visit = self.visited.visit(&self.words, &self.used);
        self.steps += visit.compared / 16;
        visit.is_new
    }

    /// Puts into words what is `first`, the target if there can be one, and which operations have a place.
    fn describe(&mut self, first: u64, target: Option<u32>) {
        self.words.clear();
        self.words.push(first);
        if !self.used.is_empty() {
            self.words.push(target.map_or(0, |target| u64::from(target) + 1));
        }
        for others in self.windows.open(self.at.front as usize)[1..].chunks(64) {
            let mut word = 0;
            for (bit, operation) in others.iter().enumerate() {
                word |= u64::from(self.placed[*operation as usize]) << bit;
            }
            self.words.push(word);
        }
        self.words.resize(self.visited.width(), 0);
    }

    fn take_back(&mut self) {
        self.longest.note(self.at.front, &self.path);
        let last = self.path.pop().expect("there is a placement to take back");
        self.longest.shared = self.longest.shared.min(self.path.len());
        self.mark(last.operation as usize, false);
        self.at = last.before;
    }

    fn mark(&mut self, operation: usize, placed: bool) {
        let optional = operation.checked_sub(self.part.answered);
        if self.lavish.is_some() && optional.is_some() {
            return;
        }
        assert!(self.placed[operation] != placed, "an operation has one place or none");
        self.placed[operation] = placed;
        if let Some(optional) = optional {
            self.used[optional / 64] ^= 1 << (optional % 64);
        }
    }
}

/// The path that came furthest.
#[derive(Default)]
struct Longest {
    front: u32,
    order: Vec<u32>,
    /// How much of `order` the current path still begins with, so that growing it costs only what is
    /// new.
    shared: usize,
}

impl Longest {
    /// Looks at a path that is about to be left.
    fn note(&mut self, front: u32, path: &[Placement]) {
        if front > self.front || (front == self.front && path.len() > self.order.len()) {
            self.front = front;
            self.order.truncate(self.shared);
            self.order.extend(path[self.shared..].iter().map(|placement| placement.operation));
            self.shared = path.len();
        }
    }
}

//! Sequential consistency: one order of all operations, in which those of each client stand as it invoked
//! them.
//!
//! It is not local: keys cannot be judged apart (Herlihy & Wing, 1990, section 3.3), and the question is
//! hard even where it is known what each read saw (Gibbons & Korach, 1997). So there are three answers that
//! cost little, and a search for the rest:
//!
//! 1. What is linearizable is sequential.
//! 2. Where it is known what each read saw, much must come before much else ([`precedence`](super::precedence)).
//!    If that is a contradiction, there is no order.
//! 3. Else an order is sought, depth first, which keeps to what is known. Usually that needs no step back.
//!
//! In the search a configuration is how far each client has come, the operations of unknown outcome that
//! were used, and the state. What is left out is as in [`linearizability`](crate::linearizability):
//! a read whose answer fits is placed and nothing else is tried there; an operation of unknown outcome is
//! placed only for a target, directly before it; and a configuration in which more of these were used is
//! not visited. None of these arguments is about real time.

use contract::{History, OpId};

use super::Consistency;
use super::precedence::{self, Clocks, Found, Lines, Why};
use super::versions::{Accesses, by_key};
use crate::cache::{Configurations, States};
use crate::explain::{Violation, short, told};
use crate::judge::{self, Budget, Exhausted, Resource, STATE_BYTES_MAX, Verdict};
use crate::parts::{Malformed, Operation, Part, operations, single_keys};
use crate::spec::{Helpers, Reason, Spec};

pub(super) fn judge<S: Spec>(
    history: &History<S::Op, S::Ret>,
    initial: &S,
    budget: Budget,
) -> Result<Verdict, Malformed> {
    // If this cannot be decided soon, the rest is for the question that was asked.
    if judge::judge(history, initial, Budget { steps: budget.steps / 4 })? == Verdict::Ok {
        return Ok(Verdict::Ok);
    }
    let mut steps = budget.steps - budget.steps / 4;
    let mut all = operations(history)?;
    all.retain(|operation| operation.is_answered() || !S::is_read(operation.op, None));
    let lines = Lines::new(&all);
    let mut clocks = None;
    if let Some(keys) = accesses(&all, initial) {
        let key_of = |accesses: &Accesses| Some(accesses.list[accesses.from_nowhere?].at);
        if let Some(at) = keys.iter().filter_map(key_of).min() {
            let sentence = format!("{}, but nothing can have left that behind", told(&all[at]));
            let reason = Reason { kind: "never-written".to_owned(), sentence, named: Vec::new() };
            return Ok(violation::<S>(&all, at, reason));
        }
        match precedence::found(&lines, &keys, &mut steps) {
            Some(Found::Cycle(why, older, newer)) => {
                let (failing, reason) = reason(&all, why, older as usize, newer as usize);
                return Ok(violation::<S>(&all, failing, reason));
            }
            Some(Found::Clocks(found)) => clocks = Some(found),
            None => {}
        }
    }
    let part = whole::<S>(&all);
    let mut search = Search::new(&part, initial, &lines, clocks);
    Ok(match search.run(steps) {
        Outcome::Ordered => Verdict::Ok,
        Outcome::None => {
            let (failing, before) = search.stuck();
            let sentence = format!(
                "no order of the {} operations that keeps each client's own explains every answer: \
                 the longest ends before {}{}",
                part.operations.len(),
                told(&part.operations[failing]),
                before.map_or_else(String::new, |at| format!(", after {}", told(&part.operations[at])))
            );
            let named: Vec<OpId> = before.iter().map(|at| part.operations[*at].id).collect();
            violation::<S>(&all, failing, Reason { kind: "no-order".to_owned(), sentence, named })
        }
        Outcome::Exhausted(what) => Verdict::Unknown(Exhausted {
            what,
            steps: budget.steps - steps + search.steps,
            linearized: search.longest,
            operations: part.answered,
        }),
    })
}

/// What was seen under each key, if the operations are about registers.
fn accesses<S: Spec>(all: &[Operation<'_, S::Op, S::Ret>], initial: &S) -> Option<Vec<Accesses>> {
    let keys = by_key::<S>(all)?;
    keys.iter().map(|(key, touches)| Some(Accesses::new(touches, initial.register(key)?))).collect()
}

/// All operations as one part.
fn whole<'h, S: Spec>(all: &[Operation<'h, S::Op, S::Ret>]) -> Part<'h, S> {
    let keys = single_keys::<S>(all);
    Part::of(all, &(0..all.len()).collect::<Vec<_>>(), keys)
}

fn violation<S: Spec>(all: &[Operation<'_, S::Op, S::Ret>], failing: usize, reason: Reason) -> Verdict {
    Verdict::Violation(Violation::of_promise(
        Consistency::Sequential.name(),
        &whole::<S>(all),
        failing,
        reason,
    ))
}

/// Why what is known has no order, and the operation that shows it.
fn reason<O, R>(all: &[Operation<'_, O, R>], why: Why, older: usize, newer: usize) -> (usize, Reason)
where
    O: std::fmt::Display,
    R: std::fmt::Display,
{
    let by = |at: usize| format!("{} by {}", short(all[at].op), all[at].client);
    let rule = "in every order that keeps each client's own";
    let (reader, named, because) = match why {
        Why::Between { reader, source: Some(source), other } => {
            let (source, other) = (source as usize, other as usize);
            let because = format!("{} comes between {} and it {rule}", by(other), by(source));
            (reader as usize, vec![other, source], because)
        }
        Why::Between { reader, source: None, other } => {
            (reader as usize, vec![other as usize], format!("{} comes before it {rule}", by(other as usize)))
        }
        Why::Seen | Why::Own => (newer, vec![older], format!("{} comes after it {rule}", by(older))),
    };
    let sentence = format!("{}, but {because}", told(&all[reader]));
    let named = named.into_iter().filter(|at| *at != reader).map(|at| all[at].id).collect();
    (reader, Reason { kind: "contradiction".to_owned(), sentence, named })
}

enum Outcome {
    Ordered,
    None,
    Exhausted(Resource),
}

struct Search<'p, 'h, S: Spec> {
    part: &'p Part<'h, S>,
    lines: &'p Lines,
    clocks: Option<Clocks>,
    helpers: Vec<Option<Box<Helpers>>>,
    states: States<S>,
    bytes: u64,
    visited: Configurations,
    /// Per line how many of its operations have a place.
    placed: Vec<u32>,
    used: Vec<u64>,
    path: Vec<Placement>,
    at: At,
    answered: usize,
    longest: usize,
    /// Where the longest path ended: the operation that returned first of those without a place, and the
    /// last with one.
    stuck: (usize, Option<usize>),
    words: Vec<u64>,
    steps: u64,
}

#[derive(Clone, Copy)]
struct At {
    state: u32,
    target: Option<u32>,
    next: Choice,
}

/// What is tried next: the next operation of each client, the reads first; then helpers.
#[derive(Clone, Copy)]
enum Choice {
    Read(u32),
    Write(u32),
    Helper(u32, u32),
    Target,
    More(u32),
    Nothing,
}

#[derive(Clone, Copy)]
struct Placement {
    operation: u32,
    before: At,
}

impl<'p, 'h, S: Spec> Search<'p, 'h, S> {
    fn new(part: &'p Part<'h, S>, initial: &S, lines: &'p Lines, clocks: Option<Clocks>) -> Self {
        let optional = part.operations.len() - part.answered;
        let width = 1 + lines.clients.div_ceil(2);
        let mut states = States::new();
        let state = states.start(initial.clone(), 0);
        Self {
            part,
            lines,
            clocks,
            helpers: (0..part.answered).map(|_| None).collect(),
            states,
            bytes: 0,
            visited: Configurations::new(width, optional.div_ceil(64)),
            placed: vec![0; lines.lines.len()],
            used: vec![0; optional.div_ceil(64)],
            path: Vec::with_capacity(part.operations.len()),
            at: At { state, target: None, next: Choice::Read(0) },
            answered: 0,
            longest: 0,
            stuck: (0, None),
            words: Vec::with_capacity(width),
            steps: 0,
        }
    }

    fn run(&mut self, steps: u64) -> Outcome {
        while self.answered < self.part.answered {
            if self.steps >= steps {
                return Outcome::Exhausted(Resource::Steps);
            }
            if self.states.bytes() + self.bytes > STATE_BYTES_MAX {
                return Outcome::Exhausted(Resource::Memory);
            }
            match self.candidate() {
                Some((operation, target)) => self.place(operation, target),
                None if self.path.is_empty() => return Outcome::None,
                None => self.take_back(),
            }
        }
        Outcome::Ordered
    }

    fn stuck(&self) -> (usize, Option<usize>) {
        self.stuck
    }

    /// The next operation of a client, if all that must come before it has a place.
    fn head(&self, line: usize) -> Option<u32> {
        let at = *self.lines.lines[line].get(self.placed[line] as usize)?;
        let is_ready = |clocks: &Clocks| {
            let others = clocks.of(at).iter().zip(&self.placed).enumerate();
            others.into_iter().all(|(other, (needed, placed))| other == line || needed <= placed)
        };
        self.clocks.as_ref().is_none_or(is_ready).then_some(at)
    }

    /// The `nth` client's next operation, those first that were invoked first: most services do not stray
    /// far from that.
    fn writer(&self, nth: usize) -> Option<u32> {
        let heads = (0..self.lines.clients).filter_map(|line| self.head(line));
        let mut writers: Vec<u32> = heads.filter(|at| !self.is_read(*at)).collect();
        writers.sort_unstable_by_key(|at| self.part.operations[*at as usize].call);
        writers.get(nth).copied()
    }

    fn is_read(&self, at: u32) -> bool {
        let Operation { op, ret, .. } = self.part.operations[at as usize];
        S::is_read(op, ret)
    }

    fn candidate(&mut self) -> Option<(u32, Option<u32>)> {
        loop {
            match self.at.next {
                Choice::Read(line) if (line as usize) < self.lines.clients => {
                    self.at.next = Choice::Read(line + 1);
                    if let Some(at) = self.head(line as usize).filter(|at| self.is_read(*at)) {
                        return Some((at, None));
                    }
                }
                Choice::Read(_) => self.at.next = Choice::Write(0),
                Choice::Write(nth) => {
                    if let Some(at) = self.writer(nth as usize) {
                        self.at.next = Choice::Write(nth + 1);
                        return Some((at, None));
                    }
                    let no_helpers = self.part.answered == self.part.operations.len();
                    self.at.next = if no_helpers { Choice::Nothing } else { Choice::Helper(0, 0) };
                }
                Choice::Helper(line, from) if (line as usize) < self.lines.clients => {
                    let line_now = line as usize;
                    let target = self.lines.lines[line_now].get(self.placed[line_now] as usize).copied();
                    let helper = target.and_then(|target| Some((self.helper(target, from)?, target)));
                    if let Some(((helper, next), target)) = helper {
                        self.at.next = Choice::Helper(line, next);
                        return Some((helper, Some(target)));
                    }
                    self.at.next = Choice::Helper(line + 1, 0);
                }
                Choice::Helper(..) | Choice::Nothing => return None,
                Choice::Target => {
                    let target = self.at.target.expect("helpers have a target");
                    self.at.next = Choice::More(0);
                    if self.head(self.lines.places[target as usize].line as usize) == Some(target) {
                        return Some((target, None));
                    }
                }
                Choice::More(from) => {
                    let target = self.at.target.expect("helpers have a target");
                    let (helper, next) = self.helper(target, from)?;
                    self.at.next = Choice::More(next);
                    return Some((helper, Some(target)));
                }
            }
        }
    }

    /// The first helper of `target` from number `from` on that can be placed, and the number after it.
    /// Those that are alike have one number.
    fn helper(&mut self, target: u32, from: u32) -> Option<(u32, u32)> {
        let (part, lines, placed) = (self.part, self.lines, &self.placed);
        let is_possible = |helper: usize| {
            let own = lines.own_before[helper].is_none_or(|before| {
                let before = lines.places[before as usize];
                placed[before.line as usize] >= before.nth
            });
            own && placed[lines.places[helper].line as usize] == 0
        };
        let helpers = &mut self.helpers[target as usize];
        let Helpers { each, alike } =
            &**helpers.get_or_insert_with(|| Box::new(S::helpers(part, target as usize)));
        let rest = each.get(from as usize..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|helper| is_possible(*helper)) {
            return Some((rest[at] as u32, from + at as u32 + 1));
        }
        if from as usize > each.len() {
            return None;
        }
        let one = alike.iter().find(|helper| is_possible(**helper))?;
        Some((*one as u32, each.len() as u32 + 1))
    }

    fn place(&mut self, operation: u32, target: Option<u32>) {
        self.steps += 1;
        let after = self.states.after(self.at.state, operation, &self.part.operations[operation as usize]);
        let Some(after) = after else { return };
        if target.is_some() && after == self.at.state {
            return;
        }
        if target.is_none() && self.is_read(operation) {
            self.at.next = Choice::Nothing;
        }
        self.path.push(Placement { operation, before: self.at });
        self.mark(operation as usize, true);
        let next = if target.is_some() { Choice::Target } else { Choice::Read(0) };
        self.at = At { state: after, target, next };
        if self.answered < self.part.answered && !self.visit() {
            self.at.next = Choice::Nothing;
        }
    }

    /// Whether the configuration can do more than those visited before. One with a target is on the way
    /// to one that has none.
    fn visit(&mut self) -> bool {
        if self.at.target.is_some() {
            return true;
        }
        self.words.clear();
        self.words.push(u64::from(self.at.state));
        for pair in self.placed[..self.lines.clients].chunks(2) {
            self.words.push(u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32);
        }
        let visit = self.visited.visit(&self.words, &self.used);
        self.steps += visit.compared / 16;
        if visit.is_new {
            self.bytes += 8 * (self.words.len() + self.used.len() + 2) as u64;
        }
        visit.is_new
    }

    fn take_back(&mut self) {
        let last = self.path.last().copied().expect("there is a placement to take back");
        if self.answered > self.longest || self.path.len() == 1 && self.longest == 0 {
            self.longest = self.answered;
            self.stuck = (self.first_left(), Some(last.operation as usize));
        }
        self.path.pop();
        self.mark(last.operation as usize, false);
        self.at = last.before;
    }

    /// Of the operations without a place, the answered one that returned first.
    fn first_left(&self) -> usize {
        let heads = (0..self.lines.clients)
            .filter_map(|line| self.lines.lines[line].get(self.placed[line] as usize).copied());
        heads.min().expect("a search that is stuck has operations left") as usize
    }

    fn mark(&mut self, operation: usize, is_placed: bool) {
        let line = self.lines.places[operation].line as usize;
        if is_placed {
            self.placed[line] += 1
        } else {
            self.placed[line] -= 1
        }
        match operation.checked_sub(self.part.answered) {
            Some(optional) => self.used[optional / 64] ^= 1 << (optional % 64),
            None if is_placed => self.answered += 1,
            None => self.answered -= 1,
        }
    }
}

//! Shrinking: from a plan that fails to a small one that still fails in the same way.
//!
//! "The same way" is the finding's signature, and "small" is a weight: what a reader has to take in
//! (faults first, then operations, nodes, clients, time, and whatever in the world is not plain). Three
//! kinds of changes take turns until none of them finds anything lighter:
//!
//! 1. *Cuts* leave out what the failure does not need: the time behind it, faults, operations. Lists
//!    are cut by delta debugging (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing
//!    Input*, 2002). Every draw is keyed, so leaving something out leaves the rest as it was; but what
//!    comes later in the run shifts all the same, and a failure that needs a moment is lost with it.
//! 2. *Draws* go the other way: a few of the faults that struck, close together in a short run, their
//!    moment a time or the state that a node reached then, their targets as they were or others, with
//!    few operations or none, and new draws of the world. Such runs are so short that thousands cost no
//!    more than the one that failed, and one that fails in the same way is as good a witness.
//! 3. *Steps* make one thing simpler: two faults one, a shape a single isolated node, half the length,
//!    a plain disk, one key. Each is tried with the draws as they are, then with others (the seed of
//!    the world beside that of the plan), since a smaller plan that fails in one world of a hundred is
//!    still a smaller plan.
//!
//! What comes out is a plan like any other, with a digest of its own. The effort is counted in runs and
//! events, never in time, and of the plans that are tried at once the first success in order counts: so
//! the result is a function of the plan and the effort, on any number of threads.

mod cut;
mod draw;
mod fault_steps;
mod search;
mod steps;
mod weight;
mod workers;

use contract::Time;

use crate::plan::Plan;
use crate::report::{Report, Verdict};
use search::{Best, Search};

pub use workers::{InTurn, Workers};

/// How much work shrinking may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs tried.
    pub runs: u64,
    /// Events of all runs together.
    pub events: u64,
}

impl Default for Effort {
    /// A minute or two at most.
    fn default() -> Self {
        Self { runs: 100_000, events: 100_000_000 }
    }
}

/// How large a failing plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Faults of the plan; those that wait for a state count as often as they struck.
    pub faults: usize,
    /// Operations invoked until it fails.
    pub operations: usize,
    /// Clients.
    pub clients: u16,
    /// Nodes.
    pub nodes: u16,
    /// How long it runs.
    pub time: Time,
}

/// How far shrinking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs tried so far.
    pub runs: u64,
    /// The smallest failing plan so far.
    pub size: Size,
}

/// What shrinking came to.
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// What its run came to.
    pub report: Report,
    /// How large the plan was.
    pub before: Size,
    /// How large it is.
    pub after: Size,
    /// Runs tried.
    pub runs: u64,
    /// Whether the effort ran out, or shrinking was stopped, before nothing more could be left out.
    pub cut_short: bool,
}

/// The plan does not fail, so there is nothing to shrink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan does not fail: its verdict is {verdict}")]
pub struct DoesNotFail {
    /// What its run came to.
    pub verdict: Verdict,
}

/// Shrinks a failing plan, on threads that `workers` lends. `proceed` hears of the progress every few
/// runs, and stops the work by returning `false`; what was found so far is kept.
///
/// # Errors
/// If the plan does not fail.
pub fn shrink(
    plan: &Plan,
    effort: Effort,
    workers: &dyn Workers,
    mut proceed: impl FnMut(Progress) -> bool,
) -> Result<Shrunk, DoesNotFail> {
    let first = Best::of(plan.clone());
    let Verdict::Violation(finding) = &first.report.verdict else {
        return Err(DoesNotFail { verdict: first.report.verdict });
    };
    let signature = finding.signature.clone();
    let before = first.size();
    let mut search = Search::new(first, signature, effort, workers, &mut proceed);
    search.exhaust();
    let after = search.best.size();
    let Search { best, runs, stopped: cut_short, .. } = search;
    assert!(matches!(best.report.verdict, Verdict::Violation(_)), "only what fails is ever the best");
    Ok(Shrunk { plan: best.plan, report: best.report, before, after, runs, cut_short })
}

/// How many small plans are drawn until one fails as it should.
const FIRST_DRAWS: u64 = 40_000;
/// How many are drawn in vain after that, before no more are.
const MORE_DRAWS: u64 = 4_000;
/// In how many worlds each step is tried.
const SALTS: usize = 24;

impl Search<'_> {
    fn exhaust(&mut self) {
        let quarry = draw::Quarry::new(&self.best);
        self.cut();
        let drawn = self.draw(&quarry, 0, FIRST_DRAWS);
        self.descend();
        // What was too heavy to be lighter than the old best was not tried against the new one.
        self.draw(&quarry, drawn, MORE_DRAWS);
        self.descend();
    }

    /// Draws until so many were in vain; returns the number of the next draw.
    fn draw(&mut self, quarry: &draw::Quarry, mut from: u64, mut in_vain: u64) -> u64 {
        while !self.is_liveness() {
            let drawn = quarry.small(&self.best, from..from + in_vain);
            let Some(place) = self.first(drawn) else { return from + in_vain };
            (from, in_vain) = (from + place as u64 + 1, MORE_DRAWS);
            self.cut();
        }
        from
    }

    /// Takes steps until none leads on, in the present world or in others.
    fn descend(&mut self) {
        while !self.stopped {
            let steps = steps::steps(&self.best, self.is_liveness());
            if self.first(steps.iter().cloned()).is_some() {
                continue;
            }
            let worlds = (0..SALTS).flat_map(|_| &steps);
            let salted: Vec<Plan> = worlds.map(|plan| self.salted(plan.clone())).collect();
            if self.first(salted).is_none() {
                return;
            }
        }
    }

    /// Whether the failure is that too little was answered: then what clients do must stay as it is,
    /// and so must the quiet tail, or any plan would fail so.
    fn is_liveness(&self) -> bool {
        self.signature == "liveness"
    }
}

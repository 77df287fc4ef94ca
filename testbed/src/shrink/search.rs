//! The search: the lightest failing plan so far, and what it costs to look for a lighter one.

use std::sync::OnceLock;

use contract::{Bugs, ClientId, Seed};

use super::weight::{least, weight};
use super::{Effort, Progress, Size, Workers};
use crate::plan::Plan;
use crate::registry;
use crate::report::{Report, Verdict};
use crate::run::RunOptions;

/// How many plans are handed out at once. What is found does not depend on it, nor on who runs them:
/// the first success in order counts, and nothing behind it.
const BATCH: usize = 32;

/// A plan that fails as it should, and its run.
pub(super) struct Best {
    pub(super) plan: Plan,
    pub(super) report: Report,
    pub(super) invoked: Vec<(ClientId, u64)>,
    weight: u64,
}

impl Best {
    /// A plan carried out.
    pub(super) fn of(plan: Plan) -> Self {
        let run = registry::run(&plan, RunOptions::default());
        let struck = run.report.fired.iter().filter(|fired| fired.action.is_some()).count();
        let weight = weight(&plan, struck, run.invoked.len(), run.report.simulated);
        Self { plan, report: run.report, invoked: run.invoked, weight }
    }

    pub(super) fn size(&self) -> Size {
        let struck = self.report.fired.iter().filter(|fired| fired.action.is_some()).count();
        Size {
            faults: struck.max(self.plan.faults.len()),
            operations: self.invoked.len(),
            clients: self.plan.world.clients,
            nodes: self.plan.world.nodes,
            time: self.report.simulated,
        }
    }

    fn fails_as(&self, signature: &str) -> bool {
        match &self.report.verdict {
            Verdict::Violation(finding) => finding.signature == signature,
            Verdict::Ok | Verdict::Inconclusive { .. } => false,
        }
    }
}

/// What a trial came to: how many events it took, and the plan with its run if it is the new best.
struct Outcome {
    events: u64,
    better: Option<Box<Best>>,
}

pub(super) struct Search<'a> {
    pub(super) best: Best,
    pub(super) signature: String,
    pub(super) stopped: bool,
    pub(super) runs: u64,
    events: u64,
    effort: Effort,
    workers: &'a dyn Workers,
    proceed: &'a mut dyn FnMut(Progress) -> bool,
    /// How many seeds for the draws of the world were used so far.
    salts: u64,
    /// A planted bug is what makes the plan fail: one that fails without it fails for another reason.
    bug_decides: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        best: Best,
        signature: String,
        effort: Effort,
        workers: &'a dyn Workers,
        proceed: &'a mut dyn FnMut(Progress) -> bool,
    ) -> Self {
        let bug_decides = best.plan.bugs != Bugs::NONE && passes_without_its_bug(&best.plan);
        Self {
            best,
            signature,
            stopped: false,
            runs: 0,
            events: 0,
            effort,
            workers,
            proceed,
            salts: 0,
            bug_decides,
        }
    }

    pub(super) fn accept(&mut self, plan: Plan) -> bool {
        self.first([plan]).is_some()
    }

    /// Tries plans in this order. The first that fails in the same way and is lighter than the best is
    /// the best from now on; its place is returned.
    pub(super) fn first(&mut self, plans: impl IntoIterator<Item = Plan>) -> Option<usize> {
        let mut plans = plans.into_iter();
        let mut before = 0;
        while !self.stopped {
            let batch: Vec<Plan> = plans.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return None;
            }
            if let Some(place) = self.batch(&batch) {
                return Some(before + place);
            }
            before += batch.len();
        }
        None
    }

    fn batch(&mut self, plans: &[Plan]) -> Option<usize> {
        let outcomes: Vec<OnceLock<Option<Outcome>>> = plans.iter().map(|_| OnceLock::new()).collect();
        let (signature, lighter, bug_decides) = (&self.signature, self.best.weight, self.bug_decides);
        self.workers.until(plans.len(), &|place| {
            let outcome = attempt(&plans[place], signature, lighter, bug_decides);
            let better = outcome.as_ref().is_some_and(|outcome| outcome.better.is_some());
            assert!(outcomes[place].set(outcome).is_ok(), "each job is done once");
            better
        });
        let mut found = None;
        for (place, outcome) in outcomes.into_iter().enumerate() {
            let outcome = outcome.into_inner().expect("all jobs up to the first success are done");
            let Some(outcome) = outcome else { continue };
            self.runs += 1;
            self.events += outcome.events;
            if let Some(better) = outcome.better {
                self.best = *better;
                found = Some(place);
                break;
            }
        }
        let spent = self.runs >= self.effort.runs || self.events >= self.effort.events;
        let progress = Progress { runs: self.runs, size: self.best.size() };
        self.stopped |= !(self.proceed)(progress) || spent;
        found
    }

    /// The same plan with other draws of the world.
    pub(super) fn salted(&mut self, mut plan: Plan) -> Plan {
        self.salts += 1;
        plan.world.seed = Seed(plan.seed.0.wrapping_add(self.salts));
        plan
    }
}

/// Whether nothing is wrong with a plan's run but the bug that was planted in it.
fn passes_without_its_bug(plan: &Plan) -> bool {
    let healthy = Plan { bugs: Bugs::NONE, ..plan.clone() };
    !matches!(registry::run(&healthy, RunOptions::default()).report.verdict, Verdict::Violation(_))
}

/// `None` if the plan is too heavy whatever it does.
fn attempt(plan: &Plan, signature: &str, lighter: u64, bug_decides: bool) -> Option<Outcome> {
    if least(plan) >= lighter {
        return None;
    }
    let best = Best::of(plan.clone());
    let events = best.report.world.events;
    let better =
        best.fails_as(signature) && best.weight < lighter && (!bug_decides || passes_without_its_bug(plan));
    let better = better.then(|| Box::new(best));
    Some(Outcome { events, better })
}

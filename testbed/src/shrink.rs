//! Shrinking: from a plan that fails to the smallest that still fails in the same way.
//!
//! A plan is plain data, and every draw is keyed, so leaving something out leaves the rest as it was.
//! What is left out, in this order, as long as it helps: the triggers of state-aware faults (each
//! becomes the concrete fault that it fired), the time after the failure, faults, operations, clients,
//! nodes, the length of faults, loss and the spread of latencies. Lists are cut by delta debugging
//! (Zeller & Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002).
//!
//! "The same way" is the finding's signature. The effort is counted in runs and events, never in time,
//! so that shrinking is a function of the plan.

use std::time::Duration;

use contract::Time;
use sim::config::{Latency, NetConfig};

use crate::plan::{Draw, Plan, PlannedFault, Target, Trigger};
use crate::registry;
use crate::report::{Report, Verdict};
use crate::run::{Run, RunOptions};

/// How much work shrinking may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs tried.
    pub runs: u64,
    /// Events of all runs together.
    pub events: u64,
}

impl Default for Effort {
    /// Enough for a minute of faults; it takes a minute or two at most.
    fn default() -> Self {
        Self { runs: 5_000, events: 100_000_000 }
    }
}

/// How large a failing plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Faults of the plan.
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

/// Shrinks a failing plan. `proceed` hears of each improvement and each hundredth run, and stops the
/// work by returning `false`; what was found so far is kept.
///
/// # Errors
/// If the plan does not fail.
pub fn shrink(
    plan: &Plan,
    effort: Effort,
    proceed: impl FnMut(Progress) -> bool,
) -> Result<Shrunk, DoesNotFail> {
    let run = registry::run(plan, RunOptions::default());
    let Verdict::Violation(finding) = &run.report.verdict else {
        return Err(DoesNotFail { verdict: run.report.verdict });
    };
    let signature = finding.signature.clone();
    let before = size(plan, &run);
    let mut search =
        Search { best: plan.clone(), run, signature, effort, runs: 0, events: 0, proceed, stopped: false };
    search.exhaust();
    let after = size(&search.best, &search.run);
    let cut_short = search.stopped;
    Ok(Shrunk { plan: search.best, report: search.run.report, before, after, runs: search.runs, cut_short })
}

fn size(plan: &Plan, run: &Run) -> Size {
    Size {
        faults: plan.faults.len(),
        operations: run.invoked.len(),
        clients: plan.world.clients,
        nodes: plan.world.nodes,
        time: run.report.simulated,
    }
}

struct Search<P> {
    best: Plan,
    run: Run,
    signature: String,
    effort: Effort,
    runs: u64,
    events: u64,
    proceed: P,
    stopped: bool,
}

impl<P: FnMut(Progress) -> bool> Search<P> {
    fn exhaust(&mut self) {
        self.make_concrete();
        self.cut_time();
        loop {
            let before = size(&self.best, &self.run);
            self.leave_out_faults();
            self.leave_out_operations();
            self.cut_time();
            self.leave_out_clients();
            self.leave_out_nodes();
            self.shorten_faults();
            self.simplify_links();
            if self.stopped || size(&self.best, &self.run) == before {
                return;
            }
        }
    }

    /// Whether a plan still fails in the same way; if so it is the best now.
    fn accept(&mut self, plan: Plan) -> bool {
        if self.stopped {
            return false;
        }
        let run = registry::run(&plan, RunOptions::default());
        self.runs += 1;
        self.events += run.report.world.events;
        let same = match &run.report.verdict {
            Verdict::Violation(finding) => finding.signature == self.signature,
            Verdict::Ok | Verdict::Inconclusive { .. } => false,
        };
        if same {
            (self.best, self.run) = (plan, run);
        }
        if same || self.runs.is_multiple_of(100) {
            let progress = Progress { runs: self.runs, size: size(&self.best, &self.run) };
            self.stopped |= !(self.proceed)(progress);
        }
        self.stopped |= self.runs >= self.effort.runs || self.events >= self.effort.events;
        same
    }

    /// Replaces state-aware faults by what they did, at the moment at which they did it: the world lets
    /// all else at that moment come first, as it did then.
    fn make_concrete(&mut self) {
        let fired = self.run.report.fired.iter().filter(|fired| fired.action.is_some());
        let concrete: Vec<_> = (0..)
            .zip(fired)
            .map(|(id, fired)| PlannedFault {
                id,
                name: fired.name.clone(),
                trigger: Trigger::At(fired.at),
                action: fired.action.clone().expect("only those are kept"),
            })
            .collect();
        let plan = Plan { faults: concrete, ..self.best.clone() };
        self.accept(plan);
    }

    /// Ends the run where it fails, or as early as it still does.
    fn cut_time(&mut self) {
        if self.signature == "liveness" {
            return;
        }
        let ended_early = self.run.report.simulated < self.best.until;
        let end = self.run.report.simulated + Duration::from_nanos(1);
        if ended_early && self.accept(ending(&self.best, end)) {
            return;
        }
        let mut too_short = Time::ZERO;
        while !self.stopped && self.best.until.since(too_short) > Duration::from_millis(50) {
            let middle = Time(too_short.0.midpoint(self.best.until.0));
            if !self.accept(ending(&self.best, middle)) {
                too_short = middle;
            }
        }
    }

    fn leave_out_faults(&mut self) {
        let faults = self.best.faults.clone();
        self.reduce(faults, |plan, faults| plan.faults = faults);
    }

    fn leave_out_operations(&mut self) {
        let invoked = self.run.invoked.clone();
        self.reduce(invoked, |plan, only| plan.only = Some(only));
    }

    /// Delta debugging: leaves out half of a list, then quarters, and so on down to single elements.
    fn reduce<T: Clone>(&mut self, list: Vec<T>, put: impl Fn(&mut Plan, Vec<T>)) {
        let mut list = list;
        let mut chunk = list.len().div_ceil(2);
        // None of them may be needed at all.
        if !list.is_empty() && self.accept_with(Vec::new(), &put) {
            return;
        }
        while chunk > 0 && !self.stopped {
            let mut from = 0;
            let mut any = false;
            while from < list.len() && !self.stopped {
                let to = (from + chunk).min(list.len());
                let rest: Vec<T> = list[..from].iter().chain(&list[to..]).cloned().collect();
                if self.accept_with(rest.clone(), &put) {
                    (list, any) = (rest, true);
                } else {
                    from = to;
                }
            }
            // What could not go before may go once others have gone.
            if !any || chunk > 1 {
                chunk /= 2;
            }
        }
    }

    fn accept_with<T>(&mut self, list: Vec<T>, put: impl Fn(&mut Plan, Vec<T>)) -> bool {
        let mut plan = self.best.clone();
        put(&mut plan, list);
        self.accept(plan)
    }

    /// Leaves out the clients behind the last one that is needed. The others keep their pace.
    fn leave_out_clients(&mut self) {
        let needed = self.run.invoked.iter().map(|(client, _)| client.0).max().unwrap_or(1);
        if self.best.workloads.len() != 1 || needed >= self.best.world.clients {
            return;
        }
        let mut plan = self.best.clone();
        plan.workloads[0].rate *= f64::from(needed) / f64::from(plan.world.clients);
        plan.world.clients = needed;
        self.accept(plan);
    }

    fn leave_out_nodes(&mut self) {
        for nodes in [3, 5] {
            if nodes < self.best.world.nodes && self.best.faults.iter().all(|fault| fits(fault, nodes)) {
                let mut plan = self.best.clone();
                plan.world.nodes = nodes;
                if self.accept(plan) {
                    return;
                }
            }
        }
    }

    /// Halves the length of each fault as long as that helps.
    fn shorten_faults(&mut self) {
        for place in 0..self.best.faults.len() {
            loop {
                let mut plan = self.best.clone();
                let Some(length) = &mut plan.faults[place].action.lasts else { break };
                let half = length.max() / 2;
                *length = Draw::Fixed(half);
                if half < Duration::from_millis(1) || !self.accept(plan) {
                    break;
                }
            }
        }
    }

    fn simplify_links(&mut self) {
        let net = self.best.world.net;
        let simpler = [
            NetConfig { loss: 0.0, ..net },
            NetConfig { latency: Latency::Constant(Duration::from_millis(1)), ..net },
        ];
        for simpler in simpler.into_iter().filter(|simpler| *simpler != net) {
            let mut plan = self.best.clone();
            plan.world.net = simpler;
            self.accept(plan);
        }
    }
}

fn ending(plan: &Plan, end: Time) -> Plan {
    let mut plan = plan.clone();
    (plan.until, plan.quiet_from) = (end, plan.quiet_from.min(end));
    plan.checks.liveness = None;
    plan.faults.retain(|fault| match fault.trigger {
        Trigger::At(time) => time < end,
        Trigger::When { .. } | Trigger::Nth(_) => true,
    });
    plan
}

/// Whether a fault names no node beyond `nodes`.
fn fits(fault: &PlannedFault, nodes: u16) -> bool {
    let within = |target: &Target| !matches!(target, Target::Node(node) if node.0 > nodes);
    fault.action.aim.targets().iter().all(within)
}

//! Cuts: what the failure does not need, in large pieces first, with all draws as they were.

use std::time::Duration;

use contract::Time;

use super::fault_steps::as_struck;
use super::search::Search;
use crate::plan::{Plan, Trigger};

/// What is not worth being cut off a run.
const TIME_GRAIN: Duration = Duration::from_millis(20);

impl Search<'_> {
    pub(super) fn cut(&mut self) {
        let concrete = as_struck(&self.best, |_| None);
        self.accept(concrete);
        self.cut_time();
        let faults = self.best.plan.faults.clone();
        self.reduce(faults, |plan, faults| plan.faults = faults);
        self.cut_time();
        if !self.is_liveness() {
            let invoked = self.best.invoked.clone();
            self.reduce(invoked, |plan, only| plan.only = Some(only));
            self.cut_time();
        }
    }

    /// Ends the run where it fails, or as early as it still does.
    fn cut_time(&mut self) {
        if self.is_liveness() {
            return;
        }
        let end = self.best.report.simulated + Duration::from_nanos(1);
        if end < self.best.plan.until {
            let sooner = ending(&self.best.plan, end);
            self.accept(sooner);
        }
        let mut too_short = Time::ZERO;
        while !self.stopped && self.best.plan.until.since(too_short) > TIME_GRAIN {
            let middle = Time(too_short.0.midpoint(self.best.plan.until.0));
            let sooner = ending(&self.best.plan, middle);
            if !self.accept(sooner) {
                too_short = middle;
            }
        }
    }

    /// Delta debugging: leaves out all of a list, then halves, and so on down to single elements.
    fn reduce<T: Clone>(&mut self, mut list: Vec<T>, put: impl Fn(&mut Plan, Vec<T>)) {
        let mut chunk = list.len();
        while chunk > 0 && !self.stopped {
            let mut from = 0;
            while from < list.len() {
                let starts: Vec<usize> = (from..list.len()).step_by(chunk).collect();
                let (plan, whole) = (self.best.plan.clone(), list.clone());
                let shorter = starts.iter().map(|start| {
                    let (mut plan, mut rest) = (plan.clone(), whole.clone());
                    rest.drain(*start..(start + chunk).min(whole.len()));
                    put(&mut plan, rest);
                    plan
                });
                let Some(place) = self.first(shorter) else { break };
                from = starts[place];
                list.drain(from..(from + chunk).min(list.len()));
            }
            chunk /= 2;
        }
    }
}

/// The same plan with an end, and without what would come later.
pub(super) fn ending(plan: &Plan, end: Time) -> Plan {
    let mut plan = plan.clone();
    (plan.until, plan.quiet_from) = (end, plan.quiet_from.min(end));
    plan.checks.liveness = None;
    plan.faults.retain(|fault| match fault.trigger {
        Trigger::At(time) => time < end,
        Trigger::When { .. } | Trigger::Nth(_) => true,
    });
    plan
}

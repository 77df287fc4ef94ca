//! What a run's history is judged by: as a whole once the run is over, or while it goes on.
//!
//! On the fly, events are forgotten as soon as they are judged, so that a run of any length takes a
//! bounded memory; and the first operation that has no place ends the run.

use checker::isolation::Level;
use checker::models::Kv;
use checker::stream::Stream;
use checker::{Budget, Options, Violation, judge_with};
use contract::kv::{Op, Ret};
use contract::{History, OpId};

use crate::client::Records;
use crate::plan::Plan;
use crate::report::{Finding, Verdict};

/// The isolation level that transactions are judged by.
pub(crate) fn level(plan: &Plan) -> Level {
    let name = plan.checks.history.as_str();
    Level::named(name).unwrap_or_else(|| panic!("no transactions are judged by {name}"))
}

/// The verdict on a whole history; `order` is a guess at how its operations took effect.
pub(crate) fn judge(plan: &Plan, history: &History<Op, Ret>, order: &[OpId]) -> Verdict {
    let options = Options { budget: Budget { steps: plan.checks.steps }, witness: Some(order) };
    let judged = judge_with(history, &Kv::default(), &options);
    verdict(judged.expect("clients record well-formed histories"))
}

fn verdict(verdict: checker::Verdict) -> Verdict {
    match verdict {
        checker::Verdict::Ok => Verdict::Ok,
        checker::Verdict::Violation(violation) => Verdict::Violation(finding(&violation)),
        checker::Verdict::Unknown(exhausted) => Verdict::Inconclusive { what: exhausted.to_string() },
    }
}

fn finding(violation: &Violation) -> Finding {
    Finding {
        check: "linearizable".to_owned(),
        message: violation.to_string(),
        signature: violation.signature(),
        evidence: violation.window.clone(),
    }
}

/// Judges while the run goes on.
pub(crate) struct OnTheFly {
    stream: Stream<Kv>,
    /// What was judged, if it is wanted afterwards.
    kept: Option<Vec<contract::Event<Op, Ret>>>,
}

impl OnTheFly {
    pub(crate) fn new(plan: &Plan, keep: bool) -> Self {
        let budget = Budget { steps: plan.checks.steps };
        let scans = plan.workloads.iter().any(|workload| workload.mix.scan > 0.0);
        // A scan joins the keys that it reads.
        let stream =
            if scans { Stream::whole(Kv::default(), budget) } else { Stream::by_key(Kv::default(), budget) };
        Self { stream, kept: keep.then(Vec::new) }
    }

    /// Takes in what clients have written down since; the evidence, if that cannot be.
    pub(crate) fn listen(&mut self, records: &mut Records) -> Option<Finding> {
        if records.history.events().is_empty() {
            return None;
        }
        let events = records.history.take_events();
        let mut found = None;
        for event in &events {
            let judged = self.stream.event(event).expect("clients record well-formed histories");
            found = found.or(judged.map(|violation| finding(&violation)));
            if found.is_some() {
                break;
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.extend(events);
        }
        found
    }

    /// What was kept goes back where it was.
    pub(crate) fn put_back(&mut self, records: &mut Records) {
        if let Some(kept) = self.kept.take() {
            records.history.put_back(kept);
        }
    }

    /// The verdict once nothing more comes.
    pub(crate) fn finish(mut self, records: &mut Records) -> Verdict {
        let last = self.listen(records);
        self.put_back(records);
        match last {
            Some(finding) => Verdict::Violation(finding),
            None => verdict(self.stream.finish()),
        }
    }
}

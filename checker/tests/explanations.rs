//! What is shown of a violation is what it needs: with any one operation of its core relaxed, there is
//! an order.

use std::collections::BTreeMap;

use contract::kv::{Op, Ret};
use contract::{EventKind, History, OpId, Outcome};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Spec, Verdict, Violation, judge_kv};

fn workload(draw: &mut Draw) -> Workload {
    let mut weight = |max: u32| draw.below(max + 1);
    Workload {
        clients: 2 + weight(6) as u16,
        operations: 100 + weight(200),
        keys: 1 + weight(3),
        mix: Mix {
            get: 2 + weight(4),
            put: 1 + weight(3),
            append: weight(1) * weight(3),
            delete: weight(1),
            cas: weight(1) * weight(3),
            scan: u32::from(weight(9) == 0),
        },
        values: match weight(2) {
            0 => Values::Few(&["a", "b", "c", "d", "e"]),
            _ => Values::Unique { bytes_min: 1 },
        },
        unknown_per_mille: weight(1) * weight(20),
        flaw: match weight(1) {
            0 => Flaw::LostWrite { from: weight(80) },
            _ => Flaw::StaleRead { from: 20 + weight(50) },
        },
    }
}

/// The history in which everything but the operations in `kept` is relaxed.
fn relaxed(history: &History<Op, Ret>, kept: &[OpId]) -> History<Op, Ret> {
    let mut answers: BTreeMap<OpId, &Ret> = BTreeMap::new();
    for event in history.events() {
        if let EventKind::Return(Outcome::Ok(ret)) = &event.kind {
            answers.insert(event.op, ret);
        }
    }
    let mut relaxed = History::default();
    let mut number: BTreeMap<OpId, OpId> = BTreeMap::new();
    for event in history.events() {
        match &event.kind {
            EventKind::Invoke(op) => {
                let is_observer = Kv::is_read(op, answers.get(&event.op).copied());
                if kept.contains(&event.op) || !is_observer {
                    number.insert(event.op, relaxed.invoke(event.time, event.client, op.clone()));
                }
            }
            EventKind::Return(outcome) => {
                let Some(op) = number.get(&event.op) else { continue };
                let outcome = if kept.contains(&event.op) { outcome.clone() } else { Outcome::Unknown };
                relaxed.complete(event.time, event.client, *op, outcome);
            }
        }
    }
    relaxed
}

fn is_ok(history: &History<Op, Ret>) -> bool {
    match judge_kv(history, Budget::default()).expect("well formed") {
        Verdict::Ok => true,
        Verdict::Violation(_) => false,
        Verdict::Unknown(exhausted) => panic!("{exhausted}"),
    }
}

fn violations(count: usize) -> impl Iterator<Item = (u64, History<Op, Ret>, Violation)> {
    let one = |seed: u64| {
        let history = generate::kv(&workload(&mut Draw(seed ^ 0x3e1a)), seed);
        match judge_kv(&history, Budget::default()).expect("well formed") {
            Verdict::Violation(violation) => Some((seed, history, violation)),
            _ => None,
        }
    };
    (0..).filter_map(one).take(count)
}

#[test]
fn cores_are_minimal() {
    let (mut sizes, mut lines) = (Vec::new(), Vec::new());
    for (seed, history, violation) in violations(1_000) {
        lines.push(violation.window.len());
        if violation.core.is_empty() {
            continue;
        }
        sizes.push(violation.core.len());
        let core = &violation.core;
        assert!(core.contains(&violation.failing), "seed {seed}: {violation:#?}");
        assert!(!is_ok(&relaxed(&history, core)), "seed {seed}: the core is no violation: {violation:#?}");
        for one in core {
            let fewer: Vec<OpId> = core.iter().copied().filter(|op| op != one).collect();
            assert!(is_ok(&relaxed(&history, &fewer)), "seed {seed}: {one} can be relaxed: {violation:#?}");
        }
    }
    sizes.sort_unstable();
    lines.sort_unstable();
    println!("{} cores, {sizes:?}", sizes.len());
    assert!(sizes.len() >= 950, "{} of 1 000 violations have a core", sizes.len());
    assert!(sizes[sizes.len() / 2] <= 8, "the median core has {} operations", sizes[sizes.len() / 2]);
    assert!(lines[lines.len() / 2] <= 8, "the median window has {} lines", lines[lines.len() / 2]);
}

/// The core still holds, or shows beside it, who wrote what the failing read observed.
#[test]
fn windows_show_the_observed_writers() {
    let mut shown = 0;
    for (seed, history, violation) in violations(300) {
        let answer = history.events().iter().find_map(|event| match &event.kind {
            EventKind::Return(Outcome::Ok(Ret::Value(Some(value)))) if event.op == violation.failing => {
                Some(value.clone())
            }
            _ => None,
        });
        let (Some(answer), false) = (answer, violation.core.is_empty()) else { continue };
        let is_end = |event: &contract::Event<Op, Ret>| {
            event.op == violation.failing && matches!(event.kind, EventKind::Return(_))
        };
        let writers: Vec<OpId> = history
            .events()
            .iter()
            .take_while(|event| !is_end(event))
            .filter(|event| match &event.kind {
                EventKind::Invoke(Op::Put { value, key }) => {
                    *value == answer && violation.keys.contains(&key.to_string())
                }
                _ => false,
            })
            .map(|event| event.op)
            .collect();
        if let [writer] = writers[..] {
            let name = format!(" {writer} ");
            assert!(
                violation.window.len() == 12 || violation.window.iter().any(|line| line.contains(&name)),
                "seed {seed}: {writer} is not in {violation:#?}"
            );
            shown += 1;
        }
    }
    assert!(shown > 30, "only {shown} cases");
}

//! What is shown of a violation is what it needs: with any one operation of its core relaxed, there is
//! an order.

use std::collections::BTreeMap;

use contract::kv::{Op, Ret};
use contract::{ClientId, Event, EventKind, History, OpId, Outcome, Time};
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Spec, Verdict, Violation, judge_kv};

fn workload(draw: &mut Draw) -> Workload {
    let mut weight = |max: u32| draw.below(max + 1);
    // Every fifth history is long.
    let (operations, from) = match weight(4) {
        0 => (2_000, 1_000),
        _ => (100 + weight(200), 20 + weight(50)),
    };
    Workload {
        clients: 2 + weight(6) as u16,
        operations,
        keys: 1 + weight(3),
        mix: Mix {
            get: 2 + weight(4),
            put: 1 + weight(3),
            append: weight(1) * weight(3),
            delete: weight(1),
            cas: weight(1) * weight(3),
            scan: u32::from(weight(9) == 0),
            decide: u32::from(weight(9) == 0),
        },
        values: match weight(2) {
            0 => Values::Few(&["a", "b", "c", "d", "e"]),
            _ => Values::Unique { bytes_min: 1 },
        },
        unknown_per_mille: weight(1) * weight(20),
        flaw: match weight(1) {
            0 => Flaw::LostWrite { from },
            _ => Flaw::StaleRead { from },
        },
    }
}

/// How many violations are explained; `VIOLATIONS` sets another number.
fn count() -> usize {
    std::env::var("VIOLATIONS").map_or(300, |text| text.parse().expect("a number"))
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

/// `None` if that is too hard to tell.
fn is_ok(history: &History<Op, Ret>) -> Option<bool> {
    match judge_kv(history, Budget { steps: 500_000 }).expect("well formed") {
        Verdict::Ok => Some(true),
        Verdict::Violation(_) => Some(false),
        Verdict::Unknown(_) => None,
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
    let (mut asked, mut too_hard) = (0, 0);
    for (seed, history, violation) in violations(count()) {
        lines.push(violation.window.len());
        if violation.core.is_empty() {
            continue;
        }
        sizes.push(violation.core.len());
        let core = &violation.core;
        assert!(core.contains(&violation.failing), "seed {seed}: {violation:#?}");
        let mut expect = |kept: &[OpId], expected: bool| {
            let found = is_ok(&relaxed(&history, kept));
            asked += 1;
            too_hard += usize::from(found.is_none());
            found.is_none_or(|found| found == expected)
        };
        assert!(expect(core, false), "seed {seed}: the core is no violation: {violation:#?}");
        for one in core {
            let fewer: Vec<OpId> = core.iter().copied().filter(|op| op != one).collect();
            assert!(expect(&fewer, true), "seed {seed}: {one} can be relaxed: {violation:#?}");
        }
    }
    sizes.sort_unstable();
    lines.sort_unstable();
    let (core, window) = (sizes[sizes.len() / 2], lines[lines.len() / 2]);
    println!(
        "{} of {} violations have a core, of {core} operations in the median; a window has {window} lines; \
         {asked} questions, {too_hard} too hard for the judge",
        sizes.len(),
        lines.len()
    );
    assert!(
        sizes.len() * 100 >= 98 * lines.len(),
        "{} of {} violations have a core",
        sizes.len(),
        lines.len()
    );
    assert!(too_hard * 50 <= asked, "{too_hard} of {asked} questions could not be answered");
    assert!(core <= 8 && window <= 8, "in the median a core has {core} operations, a window {window} lines");
}

/// The core still holds, or shows beside it, who wrote what its reads observed.
#[test]
fn windows_show_the_observed_writers() {
    let mut shown = 0;
    for (seed, history, violation) in violations(count()) {
        if violation.core.is_empty() || violation.window.len() > 12 {
            continue;
        }
        let read = |event: &Event<Op, Ret>| match &event.kind {
            EventKind::Return(Outcome::Ok(Ret::Value(Some(value)))) if violation.core.contains(&event.op) => {
                Some(value.clone())
            }
            _ => None,
        };
        for value in history.events().iter().filter_map(read) {
            let writes = |event: &Event<Op, Ret>| match &event.kind {
                EventKind::Invoke(
                    Op::Put { value: written, .. }
                    | Op::Cas { value: written, .. }
                    | Op::Decide { value: written, .. },
                ) => *written == value,
                EventKind::Invoke(Op::Append { value: added, .. }) => value.ends_with(added),
                _ => false,
            };
            let writers: Vec<OpId> =
                history.events().iter().filter(|event| writes(event)).map(|event| event.op).collect();
            if let [writer] = writers[..] {
                let name = format!(" {writer} ");
                assert!(
                    violation.window.iter().any(|line| line.contains(&name)),
                    "seed {seed}: {writer} is not in {violation:#?}"
                );
                shown += 1;
            }
        }
    }
    assert!(shown > count() / 3, "only {shown} reads");
}

/// One client reads `a` and `b` in turns, seven times each, of which `b` was written six times: all reads from the
/// first `b` to the last are needed, and more than are shown.
#[test]
fn a_violation_that_takes_much_says_how_much() {
    let mut history = History::default();
    let put = |value: &str| Op::Put { key: "k".into(), value: value.into() };
    let writes: Vec<OpId> = (2..15)
        .map(|client| history.invoke(Time(1), ClientId(client), put(["a", "b"][client as usize % 2])))
        .collect();
    for value in ["a", "b"].into_iter().cycle().take(14) {
        let id = history.invoke(Time(2), ClientId(1), Op::Get { key: "k".into() });
        history.complete(Time(2), ClientId(1), id, Outcome::Ok(Ret::Value(Some(value.into()))));
    }
    for (client, id) in (2..).zip(writes) {
        history.complete(Time(3), ClientId(client), id, Outcome::Ok(Ret::Done));
    }
    let Ok(Verdict::Violation(violation)) = judge_kv(&history, Budget::default()) else {
        panic!("b is read too often")
    };
    assert_eq!(violation.core, (14..27).map(OpId).collect::<Vec<OpId>>());
    assert_eq!(violation.window.len(), 13, "{:#?}", violation.window);
    assert_eq!(violation.window[12], "  and 3 more that it takes");
}

//! Registers: what is said about their violations, and what the polynomial path decides where values
//! are written more than once.

use contract::kv;
use contract::{ClientId, EventKind, History, Outcome, Time};
use seedbed_checker::division::split;
use seedbed_checker::generate::{self, Flaw, Mix, Values, Workload};
use seedbed_checker::models::register::{Op, Register, Ret};
use seedbed_checker::{Budget, Spec, Verdict, judge, judge_kv};

/// One operation a second, each half a second long; `None` is an unknown outcome.
fn history(steps: &[(u16, Op, Option<Ret>)]) -> History<Op, Ret> {
    let mut history = History::default();
    for (at, (client, op, ret)) in (1..).zip(steps) {
        let (begin, end) = (Time(at * 1_000_000_000), Time(at * 1_000_000_000 + 500_000_000));
        let id = history.invoke(begin, ClientId(*client), *op);
        history.complete(end, ClientId(*client), id, ret.map_or(Outcome::Unknown, Outcome::Ok));
    }
    history
}

#[track_caller]
fn assert_said(steps: &[(u16, Op, Option<Ret>)], kind: &str, sentence: &str) {
    let judged = judge(&history(steps), &Register::default(), Budget::default());
    let Ok(Verdict::Violation(violation)) = judged else { panic!("{judged:?}") };
    assert_eq!(violation.to_string(), sentence);
    assert_eq!(violation.reason.kind, kind);
}

const DONE: Option<Ret> = Some(Ret::Done);

fn read(value: i64) -> Option<Ret> {
    Some(Ret::Value(Some(value)))
}

#[test]
fn a_sentence_says_why_a_register_is_wrong() {
    let (one, two) = (Op::Write(1), Op::Write(2));
    assert_said(
        &[(1, one, DONE), (1, two, DONE), (2, Op::Read, read(1))],
        "stale",
        "read by c2 returned 1 at 3.500s, but write(2) had returned at 2.500s and nothing wrote 1 after it",
    );
    assert_said(
        &[(1, one, DONE), (2, Op::Read, Some(Ret::Value(None)))],
        "missing",
        "read by c2 returned nothing at 2.500s, but write(1) had returned at 1.500s and nothing wrote nothing \
         after it",
    );
    assert_said(
        &[(2, Op::Read, read(1)), (1, one, DONE)],
        "from-the-future",
        "read by c2 returned 1 at 1.500s, but write(1) by c1 was invoked only at 2.000s",
    );
    assert_said(
        &[(2, Op::Read, read(7))],
        "never-written",
        "read by c2 returned 7 at 1.500s, but nothing ever wrote 7",
    );
    let cas = Op::Cas { old: 1, new: 3 };
    assert_said(
        &[(1, one, DONE), (3, Op::Read, read(1)), (1, two, DONE), (2, cas, Some(Ret::Swapped(true)))],
        "stale",
        "cas(1, 3) by c2 returned swapped at 4.500s, but write(2) had returned at 3.500s and nothing wrote 1 \
         after it",
    );
    assert_said(
        &[(1, one, DONE), (3, Op::Read, read(1)), (2, cas, Some(Ret::Swapped(false)))],
        "refused",
        "cas(1, 3) by c2 returned not swapped at 3.500s, but write(1) had returned at 1.500s and nothing wrote \
         after it",
    );
}

/// A linearizable history of a key-value store with one key, as one of a register.
fn as_register(history: &History<kv::Op, kv::Ret>) -> History<Op, Ret> {
    let number = |value: &contract::Bytes| i64::from(value[0]);
    let mut changed = History::default();
    for event in history.events() {
        match &event.kind {
            EventKind::Invoke(op) => {
                let op = match op {
                    kv::Op::Get { .. } => Op::Read,
                    kv::Op::Put { value, .. } => Op::Write(number(value)),
                    // Nobody expects zero: such a cas is always refused, as it was if the key was missing.
                    kv::Op::Cas { expected, value, .. } => {
                        Op::Cas { old: expected.as_ref().map_or(0, number), new: number(value) }
                    }
                    other => unreachable!("{other}"),
                };
                changed.invoke(event.time, event.client, op);
            }
            EventKind::Return(outcome) => {
                let outcome = match outcome {
                    Outcome::Ok(kv::Ret::Value(value)) => Outcome::Ok(Ret::Value(value.as_ref().map(number))),
                    Outcome::Ok(kv::Ret::Swapped(swapped)) => Outcome::Ok(Ret::Swapped(*swapped)),
                    Outcome::Ok(_) => Outcome::Ok(Ret::Done),
                    _ => Outcome::Unknown,
                };
                changed.complete(event.time, event.client, event.op, outcome);
            }
        }
    }
    changed
}

/// A reason proves that a history is not linearizable: so no operation of a linearizable one has any.
#[test]
fn reasons_are_true() {
    let (mut judged, mut swapped) = (0, 0);
    for seed in 0..3_000 {
        let workload = Workload {
            clients: 3,
            operations: 14,
            keys: 1,
            mix: Mix { get: 3, put: 3, append: 0, delete: 0, cas: 2, scan: 0, decide: 0 },
            values: Values::Few(&["1", "2", "3"]),
            unknown_per_mille: (seed % 3) as u32 * 100,
            flaw: Flaw::None,
        };
        let history = as_register(&generate::kv(&workload, seed));
        // A cas that expected a missing key swapped where the register's cannot.
        if judge(&history, &Register::default(), Budget::default()) != Ok(Verdict::Ok) {
            continue;
        }
        for part in split(&history, &Register::default()).expect("well formed") {
            for operation in 0..part.answered {
                let reason = Register::reason(&part, &Register::default(), operation);
                assert_eq!(reason, None, "seed {seed}");
                judged += 1;
                swapped += u32::from(part.operations[operation].ret == Some(&Ret::Swapped(true)));
            }
        }
    }
    assert!(judged > 15_000 && swapped > 500, "{judged}, {swapped}");
}

/// Deletes leave the same behind as each other and as the start. Where they are not all at once, no search
/// is needed: a budget that leaves no step for one is enough.
#[test]
fn deletes_are_told_apart() {
    let (mut decided, mut broken) = (0, 0);
    for seed in 0..200 {
        let workload = Workload {
            clients: 3,
            operations: 400,
            keys: 2,
            mix: Mix { get: 50, put: 40, append: 0, delete: 5, cas: 5, scan: 0, decide: 0 },
            values: Values::Unique { bytes_min: 1 },
            unknown_per_mille: 2,
            flaw: if seed % 2 == 0 { Flaw::None } else { Flaw::StaleRead { from: 200 } },
        };
        let history = generate::kv(&workload, seed);
        match judge_kv(&history, Budget { steps: 0 }).expect("well formed") {
            Verdict::Ok => decided += 1,
            Verdict::Violation(_) => (decided, broken) = (decided + 1, broken + 1),
            Verdict::Unknown(_) => {}
        }
    }
    assert!(decided > 150, "{decided} of 200 histories are decided without a search");
    assert!(broken > 80, "{broken} of 100 violations are found without a search");
}

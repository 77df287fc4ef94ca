//! Cases by hand: what is said about each kind of violation, what is refused, what a budget does, and
//! which parts a history is divided into.

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, History, OpId, Outcome, Time};
use seedbed_checker::division::split;
use seedbed_checker::generate::{self, Draw, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Malformed, Options, Spec, Verdict, Violation, judge_kv, judge_with, witness};

fn get(key: &str) -> Op {
    Op::Get { key: key.into() }
}
fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}
fn append(key: &str, value: &str) -> Op {
    Op::Append { key: key.into(), value: value.into() }
}
fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}
fn cas(key: &str, expected: &str, value: &str) -> Op {
    Op::Cas { key: key.into(), expected: Some(expected.into()), value: value.into() }
}
fn scan(from: &str, to: &str) -> Op {
    Op::Scan { from: from.into(), to: to.into() }
}
fn value(value: &str) -> Option<Ret> {
    Some(Ret::Value(Some(value.into())))
}
const NOTHING: Option<Ret> = Some(Ret::Value(None));
const DONE: Option<Ret> = Some(Ret::Done);
const SWAPPED: Option<Ret> = Some(Ret::Swapped(true));
const REFUSED: Option<Ret> = Some(Ret::Swapped(false));
const UNKNOWN: Option<Ret> = None;

/// Whose operation, from when to when in milliseconds, what, and the answer.
type Line = (u16, u64, u64, Op, Option<Ret>);

/// Operations are numbered in the order of their invocations.
fn history(lines: &[Line]) -> History<Op, Ret> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (at, (_, from, to, ..)) in lines.iter().enumerate() {
        events.extend([(*from, true, at), (*to, false, at)]);
    }
    events.sort_unstable();
    let mut history = History::default();
    let mut ids = vec![OpId(0); lines.len()];
    for (ms, is_invocation, at) in events {
        let (client, _, _, op, ret) = &lines[at];
        let (time, client) = (Time(ms * 1_000_000), ClientId(*client));
        if is_invocation {
            ids[at] = history.invoke(time, client, op.clone());
        } else {
            history.complete(time, client, ids[at], ret.clone().map_or(Outcome::Unknown, Outcome::Ok));
        }
    }
    history
}

fn violation(lines: &[Line]) -> Violation {
    match judge_kv(&history(lines), Budget::default()) {
        Ok(Verdict::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

fn assert_said(lines: &[Line], signature: &str, sentence: &str) {
    let violation = violation(lines);
    assert_eq!(violation.to_string(), sentence);
    assert_eq!(violation.signature(), signature);
}

#[test]
fn stale_read() {
    let lines = [
        (1, 9_000, 9_500, put("k3", "v17"), DONE),
        (1, 10_900, 11_100, put("k3", "v21"), DONE),
        (3, 11_150, 11_180, get("k3"), value("v21")),
        (2, 12_000, 12_204, get("k3"), value("v17")),
        (1, 12_100, 12_300, put("k3", "v22"), DONE),
    ];
    assert_said(
        &lines,
        "linearizable/get/stale",
        "get(k3) by c2 returned \"v17\" at 12.204s, \
         but put(k3, \"v21\") had returned at 11.100s and nothing wrote \"v17\" after it",
    );
    let violation = violation(&lines);
    assert_eq!(violation.failing, OpId(3));
    assert_eq!(violation.keys, ["k3"]);
    assert_eq!(violation.reason.named, [OpId(1)]);
    assert_eq!(violation.core, [OpId(0), OpId(1), OpId(3)]);
    assert_eq!(violation.placed[..3], [OpId(0), OpId(1), OpId(2)]);
    assert_eq!(
        violation.window,
        [
            "  9.000s to 9.500s c1 op0 put(k3, \"v17\"): done",
            "  10.900s to 11.100s c1 op1 put(k3, \"v21\"): done",
            "> 12.000s to 12.204s c2 op3 get(k3): \"v17\"",
        ]
    );
}

/// With a right order no search is needed; a wrong one changes nothing.
#[test]
fn a_witness_saves_the_search() {
    let mut lines = built_to_explode("k");
    let read: String = (2..32).map(|client| format!("{client}.")).collect();
    lines[30].4 = value(&read);
    let history = history(&lines);
    // The read is operation 31: it was invoked last, after the delete.
    let right: Vec<OpId> = [30].into_iter().chain(0..30).chain([31]).map(OpId).collect();
    let wrong: Vec<OpId> = (0..32).map(OpId).collect();
    let judged = |order: &[OpId]| {
        let options = Options { budget: Budget { steps: 100 }, witness: Some(order) };
        judge_with(&history, &Kv::default(), &options).expect("well formed")
    };
    assert_eq!(judged(&right), Verdict::Ok);
    assert!(matches!(judged(&wrong), Verdict::Unknown(_)), "{}", judged(&wrong));
}

#[test]
fn stale_read_shown_by_another_read() {
    assert_said(
        &[
            (1, 1, 5, put("k", "old"), DONE),
            (1, 10, 90, put("k", "new"), DONE),
            (2, 20, 30, get("k"), value("new")),
            (3, 40, 50, get("k"), value("old")),
        ],
        "linearizable/get/stale",
        "get(k) by c3 returned \"old\" at 0.050s, \
         but get(k) by c2 had returned \"new\" at 0.030s and nothing wrote \"old\" after it",
    );
}

#[test]
fn lost_write() {
    assert_said(
        &[(1, 1, 2, put("k", "v"), DONE), (2, 3, 4, get("k"), NOTHING)],
        "linearizable/get/missing",
        "get(k) by c2 returned nothing at 0.004s, \
         but put(k, \"v\") had returned at 0.002s and nothing deleted k after it",
    );
}

#[test]
fn value_never_written() {
    assert_said(
        &[(1, 1, 2, put("k", "v"), DONE), (2, 3, 4, get("k"), value("w"))],
        "linearizable/get/never-written",
        "get(k) by c2 returned \"w\" at 0.004s, but nothing ever wrote \"w\"",
    );
}

#[test]
fn value_from_the_future() {
    assert_said(
        &[(2, 3, 4, get("k"), value("v")), (1, 5, 6, put("k", "v"), DONE)],
        "linearizable/get/from-the-future",
        "get(k) by c2 returned \"v\" at 0.004s, but put(k, \"v\") by c1 was invoked only at 0.005s",
    );
}

#[test]
fn cas_swapped_though_the_value_had_changed() {
    assert_said(
        &[
            (1, 1, 2, put("k", "a"), DONE),
            (1, 3, 4, delete("k"), DONE),
            (2, 5, 6, cas("k", "a", "b"), SWAPPED),
        ],
        "linearizable/cas/stale",
        "cas(k, \"a\", \"b\") by c2 returned swapped at 0.006s, \
         but delete(k) had returned at 0.004s and nothing wrote \"a\" after it",
    );
}

#[test]
fn cas_refused_though_the_value_was_there() {
    let mut lines = vec![
        (1, 1, 2, put("k", "a"), DONE),
        (3, 3, 9, put("l", "z"), DONE),
        (2, 5, 6, cas("k", "a", "b"), REFUSED),
    ];
    assert_said(
        &lines,
        "linearizable/cas/refused",
        "cas(k, \"a\", \"b\") by c2 returned not swapped at 0.006s, \
         but put(k, \"a\") had returned at 0.002s and nothing changed k after it",
    );
    lines.insert(1, (4, 1, 2, append("k", "!"), UNKNOWN));
    assert_eq!(judge_kv(&history(&lines), Budget::default()), Ok(Verdict::Ok));
}

#[test]
fn append_order() {
    let lines = |read| {
        [
            (1, 1, 2, append("k", "a"), DONE),
            (2, 3, 4, append("k", "b"), DONE),
            (3, 5, 6, get("k"), value(read)),
        ]
    };
    assert_eq!(judge_kv(&history(&lines("ab")), Budget::default()), Ok(Verdict::Ok));
    assert_said(
        &lines("ba"),
        "linearizable/get/stale",
        "get(k) by c3 returned \"ba\" at 0.006s, \
         but append(k, \"b\") had returned at 0.004s and nothing wrote \"ba\" after it",
    );
    assert_said(
        &lines("b"),
        "linearizable/get/lost-append",
        "get(k) by c3 returned \"b\" at 0.006s, \
         but append(k, \"a\") had returned at 0.002s and nothing overwrote k after it",
    );
}

#[test]
fn scan_misses_a_key() {
    let pairs = vec![(Bytes::from("k1"), Bytes::from("v"))];
    let lines = [
        (1, 1, 2, put("k1", "v"), DONE),
        (1, 3, 4, put("k2", "w"), DONE),
        (2, 5, 6, scan("k1", "k3"), Some(Ret::Pairs(pairs))),
        (3, 1, 9, get("k7"), NOTHING),
    ];
    assert_said(
        &lines,
        "linearizable/scan/missing",
        "scan(k1..k3) by c2 returned no k2 at 0.006s, \
         but put(k2, \"w\") had returned at 0.004s and nothing deleted k2 after it",
    );
    assert_eq!(violation(&lines).keys, ["k1", "k2"]);
}

#[test]
fn what_no_single_sentence_explains() {
    assert_said(
        &[
            (1, 1, 100, put("k", "a"), DONE),
            (2, 1, 100, put("k", "b"), DONE),
            (3, 10, 20, get("k"), value("a")),
            (3, 30, 40, get("k"), value("b")),
            (3, 50, 60, get("k"), value("a")),
        ],
        "linearizable/get/no-order",
        "no order of the 5 operations on k explains that get(k) by c3 returned \"a\" at 0.060s",
    );
}

/// A reason proves that a history is not linearizable: so no operation of a linearizable one has any.
#[test]
fn reasons_are_true() {
    let mut judged = 0;
    for seed in 0..3_000 {
        let mut draw = Draw(seed);
        let mut weight = |max: u32| draw.below(max + 1);
        let workload = Workload {
            clients: 3,
            operations: 12,
            keys: 2,
            mix: Mix {
                get: 3,
                put: weight(3),
                append: weight(3),
                delete: weight(1),
                cas: weight(3),
                scan: weight(1),
                decide: weight(1),
            },
            values: Values::Few(&["a", "b", "ab", ""]),
            unknown_per_mille: weight(300),
            flaw: Flaw::None,
        };
        let history = generate::kv(&workload, seed);
        for part in split(&history, &Kv::default()).expect("well formed") {
            for operation in 0..part.answered {
                assert_eq!(Kv::reason(&part, &Kv::default(), operation), None, "seed {seed}");
                judged += 1;
            }
        }
    }
    assert!(judged > 20_000);
}

#[test]
fn explanations_have_a_bounded_size() {
    let long = "x".repeat(1_000);
    let mut lines: Vec<Line> =
        (2..60).map(|client| (client, 1, 5_000, put("k", &format!("{client}{long}")), DONE)).collect();
    lines.push((1, 10, 20, get("k"), value(&format!("1{long}"))));
    let violation = violation(&lines);
    assert!(violation.window.len() <= 12);
    assert!(violation.window.iter().chain([&violation.to_string()]).all(|line| line.len() < 400));
}

/// Thirty concurrent appends have 2^30 subsets; none of their orders has the first one twice. That the
/// key may have been deleted keeps a judge from seeing that at once.
fn built_to_explode(key: &str) -> Vec<Line> {
    let mut lines: Vec<Line> =
        (2..32).map(|client| (client, 1, 1_000, append(key, &format!("{client}.")), DONE)).collect();
    let read: String = (1..32).map(|client| format!("{}.", client.max(2))).collect();
    lines.push((1, 2_000, 3_000, get(key), value(&read)));
    lines.push((32, 1, 1_000, delete(key), DONE));
    lines
}

#[test]
fn a_history_built_to_explode_is_never_ok() {
    for steps in [0, 1, 1_000, 500_000] {
        match judge_kv(&history(&built_to_explode("k")), Budget { steps }).expect("well formed") {
            Verdict::Unknown(exhausted) => {
                assert!(exhausted.steps < steps + 1_000, "{exhausted}");
                assert!(exhausted.linearized < exhausted.operations, "{exhausted}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_answer_that_cannot_be_right_ends_a_search_that_would_not() {
    let mut lines = built_to_explode("k");
    lines[30].4 = value("31.impossible");
    let Verdict::Violation(violation) =
        judge_kv(&history(&lines), Budget { steps: 10_000 }).expect("well formed")
    else {
        panic!("nothing wrote what was read")
    };
    assert_eq!(violation.reason.kind, "never-written");
}

/// The broken part is found although one that is larger, but not by much, never ends.
#[test]
fn parts_race() {
    let mut lines = built_to_explode("hard");
    for at in 0..40 {
        lines.push((40, 2 * at, 2 * at + 1, put("simple", &at.to_string()), DONE));
    }
    lines.push((40, 90, 91, get("simple"), value("7")));
    let Verdict::Violation(violation) =
        judge_kv(&history(&lines), Budget { steps: 10_000 }).expect("well formed")
    else {
        panic!("the simple part is broken")
    };
    assert_eq!(violation.keys, ["simple"]);
}

#[test]
fn malformed_histories_are_refused() {
    let parse = |text: &str| serde_json::from_str::<History<Op, Ret>>(text).expect("a history");
    let event = |time: u64, client: u16, op: u32, kind: &str| {
        format!("{{\"time\":{time},\"client\":{client},\"op\":{op},\"kind\":{kind}}}")
    };
    let ask = r#"{"Invoke":{"Delete":{"key":[107]}}}"#;
    let done = r#"{"Return":{"Ok":"Done"}}"#;
    let judged = |operations: u32, events: &[String]| {
        let text = format!("{{\"events\":[{}],\"operations\":{operations}}}", events.join(","));
        judge_kv(&parse(&text), Budget::default())
    };
    let (op, client) = (OpId(0), ClientId(1));
    assert_eq!(judged(1, &[event(1, 1, 0, ask), event(2, 1, 0, done)]), Ok(Verdict::Ok));
    assert_eq!(
        judged(1, &[event(1, 1, 0, ask), event(2, 1, 0, done), event(3, 1, 0, done)]),
        Err(Malformed::NotAwaited { event: 2, client, op })
    );
    assert_eq!(judged(1, &[event(1, 1, 0, done)]), Err(Malformed::NotAwaited { event: 0, client, op }));
    assert_eq!(
        judged(1, &[event(1, 1, 0, ask), event(2, 2, 0, done)]),
        Err(Malformed::NotAwaited { event: 1, client: ClientId(2), op })
    );
    assert_eq!(
        judged(2, &[event(1, 1, 0, ask), event(2, 1, 1, ask)]),
        Err(Malformed::Busy { event: 1, client, op: OpId(1), open: op })
    );
    assert_eq!(
        judged(1, &[event(1, 1, 0, ask), event(2, 2, 0, ask)]),
        Err(Malformed::InvokedTwice { event: 1, op })
    );
    assert_eq!(judged(1, &[event(1, 1, 3, ask)]), Err(Malformed::Unnumbered { event: 0, op: OpId(3) }));
    assert_eq!(
        judged(1, &[event(5, 1, 0, ask), event(4, 1, 0, done)]),
        Err(Malformed::Backwards { event: 1 })
    );
}

#[test]
fn failed_operations_took_no_effect() {
    let mut history = history(&[(1, 1, 2, put("k", "a"), DONE)]);
    let failed = history.invoke(Time(3_000_000), ClientId(1), put("k", "b"));
    history.complete(Time(4_000_000), ClientId(1), failed, Outcome::Fail);
    let read = history.invoke(Time(5_000_000), ClientId(1), get("k"));
    let mut good = history.clone();
    good.complete(Time(6_000_000), ClientId(1), read, Outcome::Ok(Ret::Value(Some("a".into()))));
    history.complete(Time(6_000_000), ClientId(1), read, Outcome::Ok(Ret::Value(Some("b".into()))));
    assert_eq!(judge_kv(&good, Budget::default()), Ok(Verdict::Ok));
    assert!(matches!(judge_kv(&history, Budget::default()), Ok(Verdict::Violation(_))));
}

/// At equal times the order of the events counts.
#[test]
fn equal_times_are_told_apart_by_their_order() {
    let judged = |read_first: bool| {
        let (time, mut history) = (Time(7), History::default());
        let write = history.invoke(time, ClientId(1), put("k", "v"));
        let early = read_first.then(|| history.invoke(time, ClientId(2), get("k")));
        history.complete(time, ClientId(1), write, Outcome::Ok(Ret::Done));
        let read = early.unwrap_or_else(|| history.invoke(time, ClientId(2), get("k")));
        history.complete(time, ClientId(2), read, Outcome::Ok(Ret::Value(None)));
        judge_kv(&history, Budget::default())
    };
    assert_eq!(judged(true), Ok(Verdict::Ok));
    assert!(matches!(judged(false), Ok(Verdict::Violation(_))));
}

#[test]
fn scans_join_the_keys_that_occur() {
    let empty = || Some(Ret::Pairs(Vec::new()));
    let history = history(&[
        (1, 1, 2, get("a"), NOTHING),
        (1, 3, 4, get("b"), NOTHING),
        (1, 5, 6, get("c"), NOTHING),
        (1, 7, 8, get("d"), NOTHING),
        (1, 9, 10, scan("a", "b1"), empty()),
        (1, 11, 12, scan("x", "z"), empty()),
        // What nobody knows the outcome of says nothing and joins nothing.
        (2, 1, 12, scan("a", "z"), UNKNOWN),
    ]);
    let start = Kv::default();
    let parts = split(&history, &start).expect("well formed");
    let names: Vec<String> = parts.iter().map(|part| part.name()).collect();
    assert_eq!(names, ["c", "d", "no key", "a and b"]);
    assert_eq!(judge_kv(&history, Budget::default()), Ok(Verdict::Ok));
}

#[test]
fn a_known_order_is_checked() {
    let history = history(&[
        (1, 1, 10, put("k", "a"), DONE),
        (2, 2, 3, get("k"), NOTHING),
        (3, 4, 5, append("k", "b"), UNKNOWN),
        (2, 11, 12, get("k"), value("ab")),
    ]);
    let judged = |order: &[u32]| {
        let order: Vec<OpId> = order.iter().copied().map(OpId).collect();
        witness(&history, &Kv::default(), &order).expect("well formed")
    };
    assert!(judged(&[1, 0, 2, 3]));
    assert!(!judged(&[0, 1, 2, 3]), "op1 would read \"a\"");
    assert!(!judged(&[1, 0, 3]), "op3 would read \"a\"");
    assert!(!judged(&[1, 0, 2]), "op3 is missing");
    assert!(!judged(&[1, 0, 2, 2, 3]), "op2 is there twice");
    assert!(!judged(&[1, 0, 2, 3, 4]), "there is no op4");
    let mut late = history.clone();
    let read = late.invoke(Time(13_000_000), ClientId(2), get("k"));
    late.complete(Time(14_000_000), ClientId(2), read, Outcome::Ok(Ret::Value(None)));
    let order: Vec<OpId> = [4, 1, 0, 2, 3].map(OpId).to_vec();
    assert_eq!(witness(&late, &Kv::default(), &order), Ok(false), "op4 stands before what it followed");
}

/// Twelve thousand operations with twenty unknown writes and scans over all keys need few steps.
#[test]
fn long_histories_need_few_steps() {
    let workload = Workload {
        clients: 5,
        operations: 12_000,
        keys: 5,
        mix: Mix { get: 40, put: 25, append: 10, delete: 5, cas: 15, scan: 5, decide: 0 },
        values: Values::Unique { bytes_min: 16 },
        unknown_per_mille: 2,
        flaw: Flaw::None,
    };
    let budget = Budget { steps: 100_000 };
    for seed in 0..3 {
        let ok = generate::kv(&workload, seed);
        assert_eq!(judge_kv(&ok, budget), Ok(Verdict::Ok), "seed {seed}");
        let stale = Workload { flaw: Flaw::StaleRead { from: 11_000 }, ..workload };
        let verdict = judge_kv(&generate::kv(&stale, seed), budget).expect("well formed");
        assert!(matches!(verdict, Verdict::Violation(_)), "seed {seed}: {verdict}");
    }
}

//! What a budget does where a search does not end: it is told what was spent on what, and a reason or another part
//! ends it earlier.

use contract::kv::{Op, Ret};
use contract::{ClientId, History, Outcome, Time};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::{Budget, Consistency, Exhausted, Stream, Verdict, judge_kv, judge_weak};

/// What clients do one after the other, all that is in one stage at once. What has no answer is of unknown outcome.
type Stage = Vec<(Op, Option<Ret>)>;

fn history(stages: &[Stage]) -> History<Op, Ret> {
    let mut history = History::default();
    for (stage, now) in stages.iter().zip((1..).step_by(2)) {
        let invoked: Vec<_> = (1..)
            .zip(stage)
            .map(|(client, (op, ret))| (client, history.invoke(Time(now), ClientId(client), op.clone()), ret))
            .collect();
        for (client, id, ret) in invoked {
            let outcome = ret.clone().map_or(Outcome::Unknown, Outcome::Ok);
            history.complete(Time(now + 1), ClientId(client), id, outcome);
        }
    }
    history
}

fn put(key: &str, value: &str) -> (Op, Option<Ret>) {
    (Op::Put { key: key.into(), value: value.into() }, Some(Ret::Done))
}

fn append(key: &str, value: &str) -> (Op, Option<Ret>) {
    (Op::Append { key: key.into(), value: value.into() }, Some(Ret::Done))
}

fn get(key: &str, value: &str) -> (Op, Option<Ret>) {
    (Op::Get { key: key.into() }, Some(Ret::Value(Some(value.into()))))
}

/// So many appends at once, the first two of them of the same, and then an answer in which that is three times and the
/// last is missing: nearly all their subsets lead to different contents. That the key may have been deleted keeps a
/// judge from seeing it at once.
fn hard(key: &str, appends: usize) -> [Stage; 2] {
    let mut stage: Stage = (0..appends).map(|number| append(key, &format!("{}.", number.max(1)))).collect();
    stage.push((Op::Delete { key: key.into() }, Some(Ret::Done)));
    let read: String = (0..appends).map(|number| format!("{}.", number.max(2) - 1)).collect();
    [stage, vec![get(key, &read)]]
}

fn exhausted(stages: &[Stage], steps: u64) -> Exhausted {
    match judge_kv(&history(stages), Budget { steps }).expect("well formed") {
        Verdict::Unknown(exhausted) => exhausted,
        other => panic!("{other}"),
    }
}

/// One part needs no search, one a short one, and two searches do not end.
#[test]
fn it_is_told_what_was_spent() {
    let mut stages: Vec<Stage> = vec![vec![put("blocks", "a")], vec![get("blocks", "a")]];
    stages.extend(hard("first", 20));
    stages.extend(hard("second", 20));
    // Without the delete's twin in the other order this is one search of few steps.
    stages.push(vec![append("search", "a"), append("search", "a"), put("search", "")]);
    stages.push(vec![get("search", "aa")]);
    let told = |steps| exhausted(&stages, steps).to_string();
    let expected = [
        "out of steps after 296 steps, with 2 of 50 operations in order",
        "out of steps after 10000 steps, with 48 of 50 operations in order",
        "out of steps after 100000 steps, with 48 of 50 operations in order",
    ];
    assert_eq!([0, 10_000, 100_000].map(told), expected);
}

/// Two keys that a scan joins are no register, so that there is only the search, and it does not come past the first
/// stage. What nobody can have read is found among the answers that are still to come.
#[test]
fn a_reason_ends_a_search_that_does_not_end() {
    let mut stages: Vec<Stage> = hard("a", 20).into();
    let pairs = Ret::Pairs(vec![("a".into(), "x".into())]);
    stages.push(vec![(Op::Scan { from: "a".into(), to: "c".into() }, Some(pairs))]);
    let verdict = judge_kv(&history(&stages), Budget { steps: 20_000 }).expect("well formed");
    let Verdict::Violation(violation) = verdict else { panic!("nobody wrote it: {verdict}") };
    assert_eq!(violation.signature(), "linearizable/scan/never-written");
}

/// A quarter goes to the question whether there is even an order in real time; what follows from what was seen costs
/// too.
#[test]
fn an_order_of_each_clients_own_has_the_same_budget() {
    let stages = hard("k", 20);
    let told = |steps| {
        let verdict =
            judge_weak(&history(&stages), &Kv::default(), Consistency::Sequential, Budget { steps });
        verdict.expect("well formed").to_string()
    };
    let expected = [
        "unknown: out of steps after 0 steps, with 0 of 22 operations in order",
        "unknown: out of steps after 10000 steps, with 21 of 22 operations in order",
    ];
    assert_eq!([0, 10_000].map(told), expected);
}

/// What was judged in earlier stretches has a place too.
#[test]
fn a_stream_tells_what_was_spent_on_a_stretch() {
    let mut stages: Vec<Stage> = (0..10).map(|number| vec![put("k", &number.to_string())]).collect();
    stages.extend(hard("k", 20));
    let told = |steps| {
        let mut stream = Stream::by_key(Kv::default(), Budget { steps }).with_stretch(5);
        for event in history(&stages).events() {
            assert!(stream.event(event).expect("well formed").is_none());
        }
        stream.finish().to_string()
    };
    let expected = [
        "unknown: out of steps after 0 steps, with 0 of 5 operations in order",
        "unknown: out of steps after 10017 steps, with 10 of 32 operations in order",
    ];
    assert_eq!([0, 10_000].map(told), expected);
}

//! The judges of weaker promises against their definitions, tried out in full on small histories; and
//! against each other: what keeps a promise keeps all weaker ones.

use std::time::Duration;

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, EventKind, History, OpId, Outcome, Time};
use seedbed_checker::generate::Draw;
use seedbed_checker::models::kv::Kv;
use seedbed_checker::models::queue::Queue;
use seedbed_checker::{Budget, Consistency, Verdict, Violation, WeakError, judge_kv, judge_weak};
use stateright::semantics::SequentialSpec;

const SESSIONS: [Consistency; 4] = [
    Consistency::MonotonicReads,
    Consistency::MonotonicWrites,
    Consistency::ReadYourWrites,
    Consistency::WritesFollowReads,
];

/// A small history of a store whose reads now and then answer with something old, or with something
/// from anywhere. Every write has a value of its own.
fn loose(seed: u64, has_scans: bool) -> History<Op, Ret> {
    loose_with(seed, has_scans, false)
}

/// The same; with `has_few` values are written again and again, and added to.
fn loose_with(seed: u64, has_scans: bool, has_few: bool) -> History<Op, Ret> {
    let mut draw = Draw(seed ^ 0x3ea7);
    let (clients, keys) = (2 + draw.below(2), 1 + draw.below(4) / 3);
    let (operations, unknown, loose) = (5 + draw.below(6), draw.below(2) * 100, draw.below(5) * 220);
    let mut store = Kv::default();
    let mut past: Vec<Vec<Option<Bytes>>> = vec![vec![None]; keys as usize];
    let mut open: Vec<Option<(OpId, Op, Option<Ret>)>> = vec![None; clients as usize];
    let mut history = History::default();
    let (mut now, mut written) = (Time::ZERO, 0);
    while history.operations() < operations as usize || open.iter().any(Option::is_some) {
        now.0 += u64::from(draw.below(3));
        let slot = draw.below(clients) as usize;
        let client = ClientId(slot as u16 + 1);
        let at = draw.below(keys) as usize;
        let key = Bytes::from(format!("k{at}").as_str());
        match open[slot].take() {
            None if history.operations() < operations as usize => {
                written += 1;
                let value = match has_few {
                    true => Bytes::from(["a", "b"][written % 2]),
                    false => Bytes::from(format!("v{written}").as_str()),
                };
                let op = match draw.below(12) {
                    9 if has_few => Op::Append { key, value },
                    8 if has_few => Op::Delete { key },
                    0..5 => Op::Get { key },
                    5..10 => Op::Put { key, value },
                    10 if has_scans => Op::Scan { from: "k".into(), to: "l".into() },
                    _ => {
                        let expected = past[at][draw.below(past[at].len() as u32) as usize].clone();
                        Op::Cas { key, expected, value }
                    }
                };
                open[slot] = Some((history.invoke(now, client, op.clone()), op, None));
            }
            None => {}
            Some((id, op, None)) if draw.below(1000) < unknown => {
                if draw.below(2) == 0 {
                    store.invoke(&op);
                }
                history.complete(now, client, id, Outcome::Unknown);
            }
            Some((id, op, None)) => {
                let mut ret = store.invoke(&op);
                if let (
                    Op::Put { key, .. } | Op::Append { key, .. } | Op::Cas { key, .. },
                    Ret::Done | Ret::Swapped(true),
                ) = (&op, &ret)
                {
                    let at = usize::from(key[1] - b'0');
                    past[at].push(store.get(key).cloned());
                }
                let other = |key: &Bytes, draw: &mut Draw| {
                    let past = &past[usize::from(key[1] - b'0')];
                    past[draw.below(past.len() as u32) as usize].clone()
                };
                match (&op, &mut ret) {
                    (Op::Get { key }, Ret::Value(value)) => {
                        let wrong = other(key, &mut draw);
                        if draw.below(1000) < loose {
                            *value = wrong;
                        }
                    }
                    (Op::Scan { .. }, Ret::Pairs(pairs)) => {
                        for pair in pairs {
                            let wrong = other(&pair.0, &mut draw);
                            if let (true, Some(wrong)) = (draw.below(1000) < loose, wrong) {
                                pair.1 = wrong;
                            }
                        }
                    }
                    _ => {}
                }
                open[slot] = Some((id, op, Some(ret)));
            }
            Some((id, _, Some(ret))) => history.complete(now, client, id, Outcome::Ok(ret)),
        }
    }
    history
}

/// An operation of a history.
#[derive(Debug)]
struct Seen<'h> {
    client: ClientId,
    op: &'h Op,
    ret: Option<&'h Ret>,
    call: usize,
    end: usize,
    invoked: Time,
    returned: Time,
}

fn seen(history: &History<Op, Ret>) -> Vec<Seen<'_>> {
    let mut all: Vec<Seen<'_>> = Vec::new();
    for (at, event) in history.events().iter().enumerate() {
        match &event.kind {
            EventKind::Invoke(op) => all.push(Seen {
                client: event.client,
                op,
                ret: None,
                call: at,
                end: usize::MAX,
                invoked: event.time,
                returned: Time::FAR,
            }),
            EventKind::Return(Outcome::Ok(ret)) => {
                let seen = &mut all[event.op.0 as usize];
                (seen.ret, seen.end, seen.returned) = (Some(ret), at, event.time);
            }
            EventKind::Return(_) => {}
        }
    }
    all
}

/// Whether there is an order of the answered operations, and of others as it likes, in which none stands
/// before one that `precedes` it.
fn has_an_order(store: &Kv, left: &[&Seen<'_>], precedes: &impl Fn(&Seen<'_>, &Seen<'_>) -> bool) -> bool {
    left.iter().all(|operation| operation.ret.is_none())
        || left.iter().enumerate().any(|(at, next)| {
            let is_possible = left.iter().all(|other| !precedes(other, next));
            let mut after = store.clone();
            let answer = after.invoke(next.op);
            let mut rest = left.to_vec();
            rest.remove(at);
            is_possible && next.ret.is_none_or(|ret| *ret == answer) && has_an_order(&after, &rest, precedes)
        })
}

fn is_sequential(history: &History<Op, Ret>) -> bool {
    let all = seen(history);
    let precedes = |a: &Seen<'_>, b: &Seen<'_>| a.client == b.client && a.ret.is_some() && a.call < b.call;
    has_an_order(&Kv::default(), &all.iter().collect::<Vec<_>>(), &precedes)
}

fn is_stale_bounded(history: &History<Op, Ret>, bound: Duration) -> bool {
    let all = seen(history);
    let precedes = |a: &Seen<'_>, b: &Seen<'_>| match b.op.is_read() && !bound.is_zero() {
        true => a.returned != Time::FAR && a.returned + bound < b.invoked,
        false => a.end < b.call,
    };
    has_an_order(&Kv::default(), &all.iter().collect::<Vec<_>>(), &precedes)
}

/// What an operation saw and wrote under a key; a value that is not there is `""`.
fn touched<'h>(o: &Seen<'h>, key: &Bytes) -> (Option<Bytes>, Option<&'h Bytes>) {
    match (o.op, o.ret) {
        (Op::Get { key: k }, Some(Ret::Value(value))) if k == key => {
            (Some(value.clone().unwrap_or_default()), None)
        }
        (Op::Scan { .. }, Some(Ret::Pairs(pairs))) => {
            let pair = pairs.iter().find(|(known, _)| known == key);
            (Some(pair.map_or_else(Bytes::empty, |(_, value)| value.clone())), None)
        }
        (Op::Put { key: k, value }, _) if k == key => (None, Some(value)),
        (Op::Cas { key: k, expected, value }, Some(Ret::Swapped(true)) | None) if k == key => {
            (Some(expected.clone().unwrap_or_default()), Some(value))
        }
        _ => (None, None),
    }
}

/// Tries every order of the versions of every key, and every pair of operations.
fn keeps(history: &History<Op, Ret>, guarantee: Consistency) -> bool {
    let all = seen(history);
    ["k0", "k1"].into_iter().all(|key| {
        let key = Bytes::from(key);
        let touches: Vec<_> = all.iter().map(|o| (o, touched(o, &key))).collect();
        let mut versions: Vec<Bytes> = touches.iter().filter_map(|(_, (_, wrote))| wrote.cloned()).collect();
        assert!(versions.len() <= 9);
        let any = |order: &[Bytes]| {
            let rank =
                |value: &Bytes| 1 + order.iter().position(|known| known == value).unwrap_or(usize::MAX - 1);
            let rank = |value: &Bytes| if value.is_empty() { 0 } else { rank(value) };
            let writer = |value: &Bytes| {
                touches.iter().find(|(_, (_, wrote))| *wrote == Some(value)).map(|(o, _)| o.client)
            };
            touches.iter().all(|(a, (saw, wrote))| match (saw, wrote) {
                (Some(saw), Some(wrote)) => {
                    a.ret.is_none() && !observed(&touches, wrote) || rank(saw) < rank(wrote)
                }
                _ => true,
            }) && touches.iter().enumerate().all(|(place, (b, (b_saw, b_wrote)))| {
                touches[..place].iter().all(|(a, (a_saw, a_wrote))| {
                    if a.client != b.client || a.ret.is_none() {
                        return true;
                    }
                    let b_read = b_saw.as_ref().filter(|_| b.ret.is_some());
                    let issued = a_wrote.zip(*b_wrote).is_none_or(|(a, b)| rank(a) < rank(b));
                    let reads = a_saw.as_ref().zip(b_read);
                    issued
                        && match guarantee {
                            Consistency::MonotonicReads => reads.is_none_or(|(a, b)| rank(a) <= rank(b)),
                            Consistency::MonotonicWrites => {
                                reads.is_none_or(|(a, b)| writer(a) != writer(b) || rank(a) <= rank(b))
                            }
                            Consistency::ReadYourWrites => {
                                a_wrote.zip(b_read).is_none_or(|(a, b)| rank(a) <= rank(b))
                            }
                            _ => {
                                a_saw.as_ref().zip(*b_wrote).is_none_or(|(a, b)| rank(a) < rank(b))
                                    && reads.is_none_or(|(a, b)| !had_read(&touches, a, b))
                            }
                        }
                })
            })
        };
        permutations(&mut versions, 0, &any)
    })
}

type Touches<'t, 'h> = Vec<(&'t Seen<'h>, (Option<Bytes>, Option<&'h Bytes>))>;

/// Whether a value must have been there.
fn observed(touches: &Touches<'_, '_>, value: &Bytes) -> bool {
    touches.iter().any(|(o, (saw, wrote))| {
        saw.as_ref() == Some(value)
            && (o.ret.is_some() || wrote.is_some_and(|wrote| observed(touches, wrote)))
    })
}

/// Whether the writer of `value` had read `before`.
fn had_read(touches: &Touches<'_, '_>, value: &Bytes, before: &Bytes) -> bool {
    let Some(at) = touches.iter().position(|(_, (_, wrote))| *wrote == Some(value)) else { return false };
    let writer = touches[at].0.client;
    // A client that goes on after an unknown outcome is still the same client.
    touches[..at]
        .iter()
        .any(|(o, (saw, _))| o.client == writer && o.ret.is_some() && saw.as_ref() == Some(before))
}

fn permutations(values: &mut Vec<Bytes>, from: usize, is_right: &impl Fn(&[Bytes]) -> bool) -> bool {
    if from == values.len() {
        return is_right(values);
    }
    (from..values.len()).any(|at| {
        values.swap(from, at);
        let found = permutations(values, from + 1, is_right);
        values.swap(from, at);
        found
    })
}

fn verdict(history: &History<Op, Ret>, consistency: Consistency) -> bool {
    match judge_weak(history, &Kv::default(), consistency, Budget::default()).expect("well formed") {
        Verdict::Ok => true,
        Verdict::Violation(violation) => {
            assert_eq!(violation.check, consistency.name());
            false
        }
        Verdict::Unknown(exhausted) => panic!("{consistency}: {exhausted}"),
    }
}

#[test]
fn sequential_agrees_with_every_order() {
    let mut found = [0, 0];
    for seed in 0..12_000 {
        let history = loose(seed, true);
        let expected = is_sequential(&history);
        assert_eq!(
            verdict(&history, Consistency::Sequential),
            expected,
            "seed {seed}: {:#?}",
            history.events()
        );
        found[usize::from(expected)] += 1;
    }
    assert!(found.iter().all(|count| *count > 2_000), "{found:?}");
}

/// Where it is not known what was seen, there is only the search.
#[test]
fn sequential_agrees_with_every_order_of_few_values() {
    let mut found = [0, 0];
    for seed in 0..12_000 {
        let history = loose_with(seed, true, true);
        let expected = is_sequential(&history);
        assert_eq!(
            verdict(&history, Consistency::Sequential),
            expected,
            "seed {seed}: {:#?}",
            history.events()
        );
        found[usize::from(expected)] += 1;
    }
    assert!(found.iter().all(|count| *count > 1_000), "{found:?}");
}

#[test]
fn session_guarantees_agree_with_every_order_of_versions() {
    let mut broken = [0; 4];
    for seed in 0..12_000 {
        let history = loose(seed, true);
        for (guarantee, broken) in SESSIONS.into_iter().zip(&mut broken) {
            let expected = keeps(&history, guarantee);
            let judged = verdict(&history, guarantee);
            assert_eq!(judged, expected, "seed {seed}, {guarantee}: {:#?}", history.events());
            *broken += u32::from(!expected);
        }
    }
    assert!(broken.iter().all(|count| *count > 100), "{broken:?}");
}

#[test]
fn bounded_staleness_agrees_with_every_order() {
    let mut found = [0, 0];
    for seed in 0..12_000 {
        let history = loose(seed, false);
        let bound = Duration::from_nanos(seed % 7);
        let expected = is_stale_bounded(&history, bound);
        let judged = verdict(&history, Consistency::StaleBounded(bound));
        assert_eq!(judged, expected, "seed {seed}, {bound:?}: {:#?}", history.events());
        found[usize::from(expected)] += 1;
    }
    assert!(found.iter().all(|count| *count > 2_000), "{found:?}");
}

#[test]
fn what_keeps_a_promise_keeps_all_weaker_ones() {
    let mut only = [0; 3];
    for seed in 0..20_000 {
        let history = loose(seed ^ 0xabcd, true);
        let is_linearizable = judge_kv(&history, Budget::default()) == Ok(Verdict::Ok);
        let is_sequential = verdict(&history, Consistency::Sequential);
        let stale = |ns| verdict(&history, Consistency::StaleBounded(Duration::from_nanos(ns)));
        let sessions = SESSIONS.map(|guarantee| verdict(&history, guarantee));
        assert!(!is_linearizable || is_sequential, "seed {seed}: {:#?}", history.events());
        assert_eq!(is_linearizable, stale(0), "seed {seed}: {:#?}", history.events());
        assert!(stale(2) || !stale(0), "seed {seed}: {:#?}", history.events());
        assert!(stale(5) || !stale(2), "seed {seed}: {:#?}", history.events());
        assert!(!is_sequential || sessions == [true; 4], "seed {seed}: {:#?}", history.events());
        assert!(!sessions[0] || sessions[1], "seed {seed}: {:#?}", history.events());
        only[0] += u32::from(is_sequential && !is_linearizable);
        only[1] += u32::from(stale(5) && !is_linearizable);
        only[2] += u32::from(sessions == [true; 4] && !is_sequential);
    }
    assert!(only.iter().all(|count| *count > 50), "{only:?}");
}

/// A history in which nothing overlaps: who, what, and the answer to a get.
fn told(steps: &[(u16, &str, &str)]) -> History<Op, Ret> {
    let mut history = History::default();
    for (at, (client, what, value)) in (1..).zip(steps) {
        let (begin, end) = (Time(at * 1_000_000_000), Time(at * 1_000_000_000 + 500_000_000));
        let key = Bytes::from("k");
        let some = (!value.is_empty()).then(|| Bytes::from(*value));
        let (op, ret) = match *what {
            "put" => (Op::Put { key, value: Bytes::from(*value) }, Ret::Done),
            "get" => (Op::Get { key }, Ret::Value(some)),
            "append" => (Op::Append { key, value: Bytes::from(*value) }, Ret::Done),
            // Nobody knows whether it took effect.
            "cas from" => (Op::Cas { key, expected: some, value: "z".into() }, Ret::Swapped(true)),
            _ => unreachable!("{what}"),
        };
        let id = history.invoke(begin, ClientId(*client), op);
        let outcome = if *what == "cas from" { Outcome::Unknown } else { Outcome::Ok(ret) };
        history.complete(end, ClientId(*client), id, outcome);
    }
    history
}

fn violation(history: &History<Op, Ret>, consistency: Consistency) -> Violation {
    match judge_weak(history, &Kv::default(), consistency, Budget::default()).expect("well formed") {
        Verdict::Violation(violation) => violation,
        other => panic!("{consistency}: {other}"),
    }
}

#[test]
fn a_violation_names_two_operations_and_says_why() {
    let went_back = told(&[(1, "put", "a"), (1, "put", "b"), (2, "get", "b"), (2, "get", "a")]);
    let found = violation(&went_back, Consistency::MonotonicReads);
    assert_eq!(
        found.to_string(),
        "get(k) by c2 returned \"a\" at 4.500s, but get(k) by c2 had returned \"b\" at 3.500s, which is newer: \
         c1 invoked put(k, \"a\") before put(k, \"b\")"
    );
    assert_eq!((found.failing, found.reason.named[0]), (OpId(3), OpId(2)));
    assert_eq!(found.signature(), "monotonic-reads/get/went-back");
    assert_eq!(violation(&went_back, Consistency::MonotonicWrites).failing, OpId(3));

    let missed = told(&[(1, "put", "a"), (1, "get", "")]);
    assert_eq!(
        violation(&missed, Consistency::ReadYourWrites).to_string(),
        "get(k) by c1 returned nothing at 2.500s, but put(k, \"a\") by c1 had returned at 1.500s, which is newer: \
         nothing is older than what was there at the start"
    );
    let overtaken =
        told(&[(1, "put", "a"), (2, "get", "a"), (2, "put", "b"), (3, "get", "b"), (3, "get", "a")]);
    assert_eq!(
        violation(&overtaken, Consistency::WritesFollowReads).to_string(),
        "get(k) by c3 returned \"a\" at 5.500s, but get(k) by c3 had returned \"b\" at 4.500s, which is newer: \
         c2 had seen them in that order by 3.500s"
    );
    assert_eq!(
        violation(&went_back, Consistency::Sequential).to_string(),
        "get(k) by c2 returned \"a\" at 4.500s, but put(k, \"b\") by c1 comes between put(k, \"a\") by c1 and it \
         in every order that keeps each client's own"
    );
    let bound = Consistency::StaleBounded(Duration::from_millis(800));
    assert_eq!(
        violation(&told(&[(1, "put", "a"), (1, "put", "b"), (2, "get", "b"), (2, "get", "a")]), bound)
            .to_string(),
        "get(k) by c2 returned \"a\" at 4.500s, but put(k, \"b\") had returned at 2.500s and nothing wrote \"a\" \
         after it; a read may be stale for 0.800s at most"
    );
}

#[test]
fn what_cannot_be_told_apart_is_not_called_right() {
    let twice = told(&[(1, "put", "a"), (2, "put", "a"), (1, "get", "a"), (1, "put", "b"), (1, "get", "b")]);
    let verdict = judge_weak(&twice, &Kv::default(), Consistency::MonotonicReads, Budget::default());
    assert_eq!(
        verdict.expect("well formed").to_string(),
        "unknown: 1 of 2 reads returned what more than one operation may have written"
    );
    let wrong = told(&[(1, "put", "a"), (2, "put", "a"), (1, "get", "a"), (1, "put", "b"), (1, "get", "")]);
    assert_eq!(violation(&wrong, Consistency::ReadYourWrites).failing, OpId(4));
    let nowhere = told(&[(1, "get", "a")]);
    assert_eq!(violation(&nowhere, Consistency::WritesFollowReads).reason.kind, "never-written");
}

#[test]
fn a_queue_has_no_versions() {
    let history: History<<Queue as seedbed_checker::Spec>::Op, _> = {
        let mut history = History::default();
        history.invoke(Time(1), ClientId(1), seedbed_checker::models::queue::Op::Dequeue);
        history
    };
    let judged = judge_weak(&history, &Queue::default(), Consistency::MonotonicReads, Budget::default());
    assert_eq!(judged, Err(WeakError::NoRegister(Consistency::MonotonicReads)));
}

/// What an operation appended is there once, and in one place.
#[test]
fn what_is_appended_once_is_there_once() {
    let twice = told(&[(1, "append", "a"), (2, "get", "aa")]);
    let by_turns = told(&[(1, "append", "a"), (2, "append", "b"), (3, "get", "abab")]);
    let both_ways = told(&[(1, "append", "a"), (2, "append", "b"), (3, "get", "ab"), (4, "get", "ba")]);
    for promise in SESSIONS.into_iter().chain([Consistency::Sequential]) {
        assert_eq!(violation(&twice, promise).reason.kind, "never-written", "{promise}");
        assert_eq!(violation(&by_turns, promise).failing, OpId(2), "{promise}");
        assert_eq!(violation(&both_ways, promise).failing, OpId(3), "{promise}");
    }
}

/// What somebody expected to find, and perhaps did not, says nothing about where something was appended.
#[test]
fn what_was_only_expected_is_no_origin() {
    let steps =
        [(2, "append", "a"), (3, "put", "x"), (1, "get", "a"), (1, "get", "x"), (4, "cas from", "xa")];
    for promise in SESSIONS.into_iter().chain([Consistency::Sequential]) {
        assert!(verdict(&told(&steps), promise), "{promise}");
    }
}

/// Whatever its key, the violation that is complete first is told.
#[test]
fn of_several_violations_the_first_is_told() {
    for (early, late) in [("a", "b"), ("b", "a")] {
        let mut history = History::default();
        let mut done = |client: u16, op: Op, ret: Ret| {
            let now = Time(history.operations() as u64);
            let id = history.invoke(now, ClientId(client), op);
            history.complete(now, ClientId(client), id, Outcome::Ok(ret));
        };
        let steps =
            [("put", late), ("get", late), ("put", early), ("get", early), ("lost", early), ("lost", late)];
        for (what, key) in steps {
            let key = Bytes::from(key);
            match what {
                "put" => done(1, Op::Put { key, value: "v".into() }, Ret::Done),
                "get" => done(2, Op::Get { key }, Ret::Value(Some("v".into()))),
                _ => done(2, Op::Get { key }, Ret::Value(None)),
            }
        }
        let found = violation(&history, Consistency::MonotonicReads);
        assert_eq!((found.keys, found.failing), (vec![early.to_owned()], OpId(4)));
    }
}

/// Where nothing but the search shows it, it is told how far the longest order comes.
#[test]
fn a_search_tells_where_it_is_stuck() {
    use seedbed_checker::models::answer::Answer;
    use seedbed_checker::models::queue::Op;
    let told = |steps: &[(u16, Op, Answer)]| {
        let mut history = History::default();
        for (at, (client, op, ret)) in (1..).zip(steps) {
            let id = history.invoke(Time(at * 1_000_000), ClientId(*client), op.clone());
            history.complete(Time(at * 1_000_000), ClientId(*client), id, Outcome::Ok(ret.clone()));
        }
        match judge_weak(&history, &Queue::default(), Consistency::Sequential, Budget::default()) {
            Ok(Verdict::Violation(violation)) => {
                (violation.failing, violation.reason.named, violation.reason.sentence)
            }
            other => panic!("{other:?}"),
        }
    };
    let taken = |value: i64| Answer::Value(Some(value.into()));
    let enqueue = |value: i64| Op::Enqueue(value.into());
    let nobody = [(1, enqueue(1), Answer::Done), (2, Op::Dequeue, taken(2))];
    let sentence = "no order of the 2 operations that keeps each client's own explains every answer: the longest ends \
                    before dequeue by c2 returned 2 at 0.002s, after enqueue(1) by c1 returned done at 0.001s";
    assert_eq!(told(&nobody), (OpId(1), vec![OpId(0)], sentence.to_owned()));
    let twice = [
        (1, enqueue(1), Answer::Done),
        (1, enqueue(2), Answer::Done),
        (2, Op::Dequeue, taken(1)),
        (2, Op::Dequeue, taken(1)),
        (3, enqueue(3), Answer::Done),
    ];
    let sentence = "no order of the 5 operations that keeps each client's own explains every answer: the longest ends \
                    before dequeue by c2 returned 1 at 0.004s, after enqueue(3) by c3 returned done at 0.005s";
    assert_eq!(told(&twice), (OpId(3), vec![OpId(4)], sentence.to_owned()));
}

/// Three clients whose reads are all late by a while: nothing is linearizable, everything sequential, and
/// the order is found without stepping back.
#[test]
fn a_long_late_history_is_ordered_quickly() {
    let mut draw = Draw(7);
    let mut history = History::default();
    let mut past: Vec<Option<Bytes>> = vec![None];
    // How far each client's replica has come.
    let mut applied = [0; 4];
    for number in 0..4_000_u64 {
        let slot = draw.below(4) as usize;
        let client = ClientId(slot as u16 + 1);
        let key = Bytes::from("k");
        let (op, ret) = if slot == 0 {
            let value = Bytes::from(format!("v{number}").as_str());
            past.push(Some(value.clone()));
            (Op::Put { key, value }, Ret::Done)
        } else {
            let behind = past.len() - 1 - applied[slot];
            applied[slot] += draw.below(behind as u32 / 3 + 1) as usize;
            (Op::Get { key }, Ret::Value(past[applied[slot]].clone()))
        };
        let id = history.invoke(Time(10 * number), client, op);
        history.complete(Time(10 * number + 5), client, id, Outcome::Ok(ret));
    }
    assert!(matches!(judge_kv(&history, Budget::default()), Ok(Verdict::Violation(_))));
    let budget = Budget { steps: 400_000 };
    assert_eq!(judge_weak(&history, &Kv::default(), Consistency::Sequential, budget), Ok(Verdict::Ok));
    SESSIONS.into_iter().for_each(|guarantee| assert!(verdict(&history, guarantee)));
}

//! What models make of a record and show of it, which of their operations change nothing, and that different states
//! are not taken for the same.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher};

use seedbed_checker::Spec;
use seedbed_checker::models::Recorded;
use seedbed_checker::models::answer::{Answer, Datum};
use seedbed_checker::models::any_of::AnyOf;
use seedbed_checker::models::consensus::Consensus;
use seedbed_checker::models::counter::Counter;
use seedbed_checker::models::keyed::Keyed;
use seedbed_checker::models::kv::Kv;
use seedbed_checker::models::lock::Lock;
use seedbed_checker::models::log::Log;
use seedbed_checker::models::queue::Queue;
use seedbed_checker::models::register::Register;
use seedbed_checker::models::set::{self, Set};
use seedbed_checker::models::unordered_queue::UnorderedQueue;
use serde_json::{Value, json};

fn state<S: Recorded>(text: Value) -> S {
    S::initial(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn op<S: Recorded>(f: &str, value: Value) -> S::Op {
    S::op(f, &json!("k"), &value).unwrap_or_else(|error| panic!("{f} {value}: {error}"))
}

#[test]
fn states_are_shown_as_they_are_read() {
    fn shown<S: Recorded>(text: Value) -> String {
        state::<S>(text).to_string()
    }
    assert_eq!(shown::<Counter>(json!(7)), "7");
    assert_eq!(shown::<Counter>(Value::Null), "0");
    assert_eq!(shown::<Consensus>(json!("x")), "\"x\"");
    assert_eq!(shown::<Consensus>(Value::Null), "nothing");
    assert_eq!(shown::<Register>(json!(-3)), "-3");
    assert_eq!(shown::<Kv>(json!({"a": "1", "b": "2"})), "[a=\"1\", b=\"2\"]");
    let locks = [Value::Null, json!(false), json!(true), json!("a")];
    assert_eq!(locks.map(shown::<Lock>), ["free", "free", "held", "held by \"a\""]);
    assert_eq!(shown::<Log>(json!([1, "b"])), "[1, \"b\"]");
    assert_eq!(shown::<Queue>(json!([2, 1])), "[2, 1]");
    assert_eq!(shown::<Set>(json!([3, 1])), "[1, 3]");
    assert_eq!(shown::<AnyOf<UnorderedQueue>>(json!([3, 1, 3])), "[1, 3, 3]");
    assert_eq!(shown::<Log>(Value::Null), "[]");
    assert!(Log::initial(&json!("a")).is_err(), "a text is no list");
    let queue = state::<AnyOf<UnorderedQueue>>(json!([1, 2]));
    let queue = queue.step(&op::<Queue>("dequeue", Value::Null), None).expect("one of them came out");
    assert_eq!(queue.to_string(), "[1] or [2]");
}

#[test]
fn operations_are_shown_as_calls() {
    fn shown<S: Recorded<Op: Display>>(operations: &[(&str, Value)]) -> Vec<String> {
        operations.iter().map(|(f, value)| op::<S>(f, value.clone()).to_string()).collect()
    }
    let (nothing, one) = (|| Value::Null, || json!(1));
    let shown_of = shown::<Counter>(&[("add", one()), ("add-and-get", one()), ("read", nothing())]);
    assert_eq!(shown_of, ["add(1)", "add-and-get(1)", "read"]);
    let shown_of = shown::<Consensus>(&[("propose", json!("x")), ("write", one()), ("read", nothing())]);
    assert_eq!(shown_of, ["propose(\"x\")", "write(1)", "read"]);
    let shown_of = shown::<Lock>(&[("acquire", nothing()), ("acquire", json!("a")), ("release", one())]);
    assert_eq!(shown_of, ["acquire", "acquire(\"a\")", "release(1)"]);
    let shown_of = shown::<Log>(&[("append", one()), ("read", nothing()), ("read", one())]);
    assert_eq!(shown_of, ["append(1)", "read", "read(1)"]);
    let shown_of = shown::<Queue>(&[("enqueue", one()), ("dequeue", nothing())]);
    assert_eq!(shown_of, ["enqueue(1)", "dequeue"]);
    let shown_of =
        shown::<Set>(&[("add", one()), ("remove", one()), ("contains", one()), ("read", nothing())]);
    assert_eq!(shown_of, ["add(1)", "remove(1)", "contains(1)", "read"]);
    assert_eq!(shown::<Keyed<Register>>(&[("write", one())]), ["\"k\": write(1)"]);
    assert_eq!(shown::<Kv>(&[("decide", json!("v"))]), ["decide(k, \"v\")"]);
}

/// A search places such operations at once, wherever they fit.
#[test]
fn reads_are_what_never_changes_the_state() {
    fn is_read<S: Recorded>(f: &str, value: Value, answer: Option<Value>) -> bool {
        let op = op::<S>(f, value);
        let ret = answer.map(|answer| S::ret(&op, &answer).unwrap_or_else(|error| panic!("{f}: {error}")));
        S::is_read(&op, ret.as_ref())
    }
    let (nothing, one) = (|| Value::Null, || json!(1));
    let (yes, no) = (|| Some(json!(true)), || Some(json!(false)));
    assert!(is_read::<Counter>("read", nothing(), Some(one())));
    assert!(!is_read::<Counter>("add", one(), Some(nothing())));
    assert!(is_read::<Consensus>("read", nothing(), Some(one())));
    assert!(is_read::<Consensus>("write", one(), no()), "it was refused");
    assert!(!is_read::<Consensus>("write", one(), yes()));
    assert!(is_read::<Consensus>("propose", one(), Some(json!(2))), "another had been decided");
    assert!(
        !is_read::<Consensus>("propose", one(), Some(one())) && !is_read::<Consensus>("propose", one(), None)
    );
    assert!(is_read::<Lock>("acquire", nothing(), no()) && !is_read::<Lock>("acquire", nothing(), yes()));
    assert!(is_read::<Log>("read", one(), Some(one())) && !is_read::<Log>("append", one(), Some(nothing())));
    assert!(is_read::<Queue>("dequeue", nothing(), Some(nothing())), "it was empty");
    assert!(
        !is_read::<Queue>("dequeue", nothing(), Some(one())) && !is_read::<Queue>("dequeue", nothing(), None)
    );
    assert!(!is_read::<Queue>("enqueue", one(), Some(nothing())));
    assert!(
        is_read::<Register>("read", nothing(), Some(one()))
            && is_read::<Register>("cas", json!([1, 2]), no())
    );
    assert!(!is_read::<Register>("write", one(), None) && !is_read::<Register>("cas", json!([1, 2]), yes()));
    assert!(is_read::<Set>("read", nothing(), Some(json!([]))) && is_read::<Set>("contains", one(), yes()));
    assert!(is_read::<Set>("add", one(), no()) && !is_read::<Set>("add", one(), yes()));
    assert!(
        is_read::<Keyed<Register>>("read", nothing(), None)
            && !is_read::<Keyed<Register>>("write", one(), None)
    );
    // With a choice, even what finds nothing says which of the states it was.
    assert!(!is_read::<AnyOf<UnorderedQueue>>("dequeue", nothing(), Some(nothing())));
}

/// No two of these are the same, nor have the same hash.
fn assert_different<S: Spec>(states: &[S]) {
    let hash = |state: &S| {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    for (at, a) in states.iter().enumerate() {
        for (other, b) in states.iter().enumerate() {
            assert_eq!((a == b, hash(a) == hash(b)), (at == other, at == other), "{at} and {other}");
        }
    }
}

#[test]
fn different_states_are_told_apart() {
    let lists = [json!([]), json!([1]), json!([2]), json!(["1"]), json!([1, 2]), json!([3, 2]), json!([256])];
    assert_different(&lists.clone().map(state::<Log>));
    assert_different(&lists.clone().map(state::<Queue>));
    assert_different(&lists.clone().map(state::<Set>));
    assert_different(&lists.map(state::<AnyOf<UnorderedQueue>>));
    assert_different(&[json!([1, 2]), json!([2, 1]), json!([1, 1]), json!([1])].map(state::<Log>));
    assert_different(&[json!([1, 2]), json!([2, 1]), json!([1, 1]), json!([1])].map(state::<Queue>));
    let maps =
        [json!({}), json!({"a": "1"}), json!({"b": "1"}), json!({"a": "2"}), json!({"a": "1", "b": "1"})];
    assert_different(&maps.map(state::<Kv>));
}

#[test]
fn states_take_memory() {
    let datum = size_of::<Datum>();
    let queue = state::<AnyOf<UnorderedQueue>>(json!([1, 2, 3]));
    assert_eq!(queue.bytes_beyond(&queue), 64 + 64 + 3 * datum);
    let start = state::<Keyed<Register>>(Value::Null);
    let one = start.step(&op::<Keyed<Register>>("write", json!(1)), None).expect("a write fits");
    assert_eq!((start.bytes_beyond(&start), one.bytes_beyond(&start)), (64, 64 + 32 + 64));
    let before = state::<Kv>(json!({"a": "long", "k": "longer"}));
    let after = before.step(&op::<Kv>("put", json!("short")), None).expect("a put fits");
    assert_eq!(after.bytes_beyond(&before), 64 + 2 * 16 + 5, "what is shared is counted once");
}

#[test]
fn a_range_ends_before_its_end() {
    let store = state::<Kv>(json!({"a": "1", "b": "2", "c": "3"}));
    let scan = op::<Kv>("scan", json!(["a", "c"]));
    let answer = |text: Value| Kv::ret(&scan, &text).expect("pairs");
    assert!(store.step(&scan, Some(&answer(json!([["a", "1"], ["b", "2"]])))).is_some());
    assert!(store.step(&scan, Some(&answer(json!([["a", "1"], ["b", "2"], ["c", "3"]])))).is_none());
    let answered_done = Set::default().step(&set::Op::Read, Some(&Answer::Done));
    assert_eq!(answered_done, None, "who reads is told something");
}

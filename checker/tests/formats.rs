//! Recorded histories: small ones of our own for every format and model, what is said of broken ones,
//! and that nothing is lost between two formats.

use std::path::{Path, PathBuf};

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, History, Outcome, Time};
use seedbed_checker::formats::{
    Format, Kind, Located, Recording, edn, folder, jepsen_log, jsonl, kv_log, read,
};
use seedbed_checker::generate::{self, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::models::{MODELS, Model};
use seedbed_checker::{Budget, Exhausted, Resource, Verdict, judge_kv};

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

#[test]
fn a_folder_is_judged_as_expected() {
    let known = folder::known(&histories()).expect("the table can be read");
    for history in &known {
        let verdict = history.judge(&histories(), Budget::default());
        let verdict = verdict.unwrap_or_else(|error| panic!("{error}"));
        assert!(history.agrees(&verdict), "{}: {verdict}", history.file);
        let (what, steps, linearized, operations) = (Resource::Steps, 0, 0, 0);
        let unknown = Verdict::Unknown(Exhausted { what, steps, linearized, operations });
        let other = if history.is_ok { unknown } else { Verdict::Ok };
        assert!(!history.agrees(&other), "{}: {other}", history.file);
    }
    // Every model has histories that it must accept, and such that it must not.
    for model in MODELS {
        for is_ok in [true, false] {
            let has_one = known.iter().any(|history| {
                let text = std::fs::read_to_string(histories().join(&history.file)).expect("it was judged");
                let told = read(&history.file, &text).expect("it was judged").model;
                history.is_ok == is_ok && history.model.clone().or(told).as_deref() == Some(model.name)
            });
            assert!(has_one, "no history of {} that is {is_ok}", model.name);
        }
    }
}

#[test]
fn broken_lines_are_named() {
    let line = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n";
    let said = |last: &str| {
        let read = jepsen_log::read(&format!("{line}{last}"));
        let error = read.expect_err("the last line is broken");
        assert_eq!(error.line(), Some(2));
        error.to_string()
    };
    assert_eq!(
        said("INFO  jepsen.util - 1\t:ok\t:read\t3"),
        "line 2: process 1 returns, but has invoked nothing"
    );
    assert_eq!(said("INFO  jepsen.util - 0\t:ok\t:read\tx"), "line 2: expected a whole number, found x");
    assert_eq!(
        said("INFO  jepsen.util - 1\t:invoke\t:cas\t[1]"),
        "line 2: expected [old new], two whole numbers, found [1]"
    );
    assert_eq!(
        said("INFO  jepsen.util - 0\t:done\t:read\t1"),
        "line 2: expected :invoke, :ok, :fail or :info of a :read, :write or :cas, found :done of a :read"
    );
    let said = |text: &str| kv_log::read(text).expect_err("the line is broken").to_string();
    assert_eq!(said("hello"), "line 1: expected :process and a number");
    assert_eq!(
        said("{:process 1, :type :invoke, :f :put, :key \"k\", :value nil}"),
        "line 1: expected :value and a string"
    );
    let said = |text: &str| edn::read(text).expect_err("the text is broken").to_string();
    assert_eq!(
        said("\n{:process 1\n :type :ok"),
        "line 3: expected a map for an event, found no EDN: UnexpectedEOF"
    );
    assert_eq!(said("[{:process :nemesis}\n7]"), "line 2: expected a map for an event, found 7");
    assert_eq!(said("[{:process :nemesis}\n"), "line 2: expected a ] at the end of the vector");
    assert_eq!(
        said(";; head\n{:process 0, :type :done, :f :read}"),
        "line 2: expected :invoke, :ok, :fail or :info, found :done"
    );
    assert_eq!(
        said(
            "{:process 0,\n :type :invoke, :f :read, :value nil}\n{:process 1, :type :ok, :f :read, :value 3}"
        ),
        "line 3: process 1 returns, but has invoked nothing"
    );
    assert_eq!(
        read("history.csv", "").expect_err("no format").to_string(),
        "neither the name nor the content tells the format"
    );
}

#[test]
fn operations_begin_and_end_in_order() {
    let said = |events: &[&str]| {
        let text = format!("{{\"history\":1,\"model\":\"register\"}}\n{}", events.join("\n"));
        jsonl::read(&text).expect_err("the events are out of order").to_string()
    };
    let invoke = r#"{"id":7,"client":1,"type":"invoke","f":"read","time":10}"#;
    let ok = r#"{"id":7,"client":1,"type":"ok","value":1,"time":20}"#;
    assert_eq!(said(&[invoke, ok, ok]), "line 4: an operation of process 1 returns twice, first in line 3");
    assert_eq!(said(&[ok]), "line 2: process 1 returns, but has invoked nothing");
    assert_eq!(
        said(&[invoke, &invoke.replace('7', "8")]),
        "line 3: process 1 invokes an operation, but that of line 2 is still open"
    );
    assert_eq!(
        said(&[invoke, &ok.replace('7', "8")]),
        "line 3: operation 8 returns to process 1, which waits for operation 7"
    );
    assert_eq!(
        said(&[invoke, ok, &invoke.replace("10", "30")]),
        "line 4: operation 7 is invoked a second time"
    );
    assert_eq!(
        said(&[invoke, &ok.replace("20", "9")]),
        "line 3: the time is before that of the event in front of it"
    );
    assert_eq!(
        said(&[invoke, r#"{"client":1,"type":"ok","f":"write"}"#]),
        "line 3: expected the return of the read of line 2, found another operation or key"
    );
    assert_eq!(said(&[r#"{"client":1,"type":"invoke"}"#]), "line 2: expected `f`, the operation's name");
    assert_eq!(
        said(&[r#"{"client":1,"type":"begin"}"#]),
        "line 2: expected an event with `client` and `type`: unknown variant `begin`, expected one of `invoke`, `ok`, `fail`, `info` in column 26"
    );
}

#[test]
fn a_model_says_what_it_expected() {
    let said = |model: &str, event: &str| {
        let text = format!("{{\"client\":1,\"type\":\"invoke\",{event}}}");
        let recording = jsonl::read(&text).expect("the format is right");
        let model = Model::named(model).expect("it is listed");
        model.judge(&recording, Budget::default()).expect_err("the model has no such operation").to_string()
    };
    assert_eq!(
        said("kv", r#""f":"fetch","key":"k""#),
        "line 1: expected one of the operations get, put, append, delete, cas, scan, decide, found fetch"
    );
    assert_eq!(said("kv", r#""f":"get""#), "line 1: expected a key, found null");
    assert_eq!(
        said("register", r#""f":"write","value":"x""#),
        "line 1: expected a whole number, found \"x\""
    );
    assert_eq!(
        said("queue", r#""f":"pop""#),
        "line 1: expected one of the operations enqueue, dequeue, found pop"
    );
}

/// A store's history with all that it can hold: unknown outcomes, scans, bytes that are no text.
fn store(flaw: Flaw, seed: u64) -> History<Op, Ret> {
    let mix = Mix { get: 40, put: 25, append: 10, delete: 5, cas: 15, scan: 5, decide: 0 };
    let values = Values::Unique { bytes_min: 4 };
    let workload =
        Workload { clients: 4, operations: 200, keys: 3, mix, values, unknown_per_mille: 20, flaw };
    let mut history = generate::kv(&workload, seed);
    let end = history.events().last().map_or(Time::ZERO, |event| event.time);
    let op = Op::Put { key: Bytes::from(&[0xff, b'k'][..]), value: "\"\n\\".into() };
    let put = history.invoke(end, ClientId(9), op);
    history.complete(end, ClientId(9), put, Outcome::Fail);
    history
}

#[test]
fn nothing_is_lost_between_formats() {
    for seed in 0..20 {
        let flaw = if seed % 2 == 0 { Flaw::None } else { Flaw::StaleRead { from: 50 } };
        let history = store(flaw, seed);
        let recording = Recording::of_kv(&history);
        let text = jsonl::write(&recording);
        let again = Format::Jsonl.read(&text).expect("what was written can be read");
        assert_eq!(again, recording);
        let Located { history: same, lines } = again.history::<Kv>().expect("a store's history");
        assert_eq!(same, history);
        assert_eq!(lines.len(), history.operations());

        let edn = edn::write(&recording);
        let again = Format::Edn.read(&edn).expect("what was written can be read");
        let again_typed = again.history::<Kv>().expect("a store's history");
        assert_eq!(again_typed.history, history);
        assert_eq!(edn::write(&again), edn);
    }
}

#[test]
fn a_violation_is_found_by_its_line() {
    let history = store(Flaw::StaleRead { from: 50 }, 1);
    let Ok(Verdict::Violation(violation)) = judge_kv(&history, Budget::default()) else {
        panic!("a read is stale");
    };
    let recording = jsonl::read(&jsonl::write(&Recording::of_kv(&history))).expect("it can be read");
    let judged = recording.model(None).expect("it names its model").judge(&recording, Budget::default());
    let judged = judged.expect("a store's history");
    assert_eq!(judged.verdict, Verdict::Violation(violation.clone()));
    let line = judged.line.expect("a violation has a line");
    let record = recording.records().iter().find(|record| record.line == line).expect("it is an event's");
    assert_eq!(record.f, violation.operation);
}

#[test]
fn formats_are_told_apart() {
    let guess = |name: &str, text: &str| Format::guess(name, text);
    assert_eq!(guess("h.edn", ""), Some(Format::Edn));
    assert_eq!(guess("h.jsonl", ""), Some(Format::Jsonl));
    assert_eq!(guess("h", "{\"history\":1,\"model\":\"kv\"}\n"), Some(Format::Jsonl));
    assert_eq!(guess("h", "[{:process 0, :type :invoke}]"), Some(Format::Edn));
    assert_eq!(guess("h", "#jepsen.history.Op{:process 0}"), Some(Format::Edn));
    assert_eq!(guess("h.log", "x\nINFO  jepsen.util - 0\t:invoke\t:read\tnil"), Some(Format::JepsenLog));
    assert_eq!(
        guess("h.txt", "{:process 0, :type :invoke, :f :get, :key \"0\", :value nil}"),
        Some(Format::KvLog)
    );
    assert_eq!(guess("h", "x\nINFO  jepsen.util - 0\t:invoke\t:read\tnil"), Some(Format::JepsenLog));
    assert_eq!(guess("h", "{:process 0, :type :invoke, :f :get, :key \"0\"}"), Some(Format::KvLog));
    assert_eq!(guess("h", "{:process 0, :type :invoke}"), Some(Format::Edn));
    assert_eq!(guess("h", "[{:process 0, :key \"0\"}]"), Some(Format::Edn));
    assert_eq!(guess("h.log", "x"), Some(Format::JepsenLog));
    assert_eq!(guess("h.txt", "x"), Some(Format::KvLog));
    assert_eq!(guess("h.csv", "time,client"), None);
}

#[test]
fn porcupine_is_given_each_part_and_an_order_of_it() {
    let text = "\
{\"history\":1,\"model\":\"queue\"}
{\"client\":1,\"type\":\"invoke\",\"f\":\"enqueue\",\"key\":\"a\",\"value\":5,\"time\":1}
{\"client\":2,\"type\":\"invoke\",\"f\":\"dequeue\",\"key\":\"b\",\"time\":2}
{\"client\":1,\"type\":\"ok\",\"time\":3}
{\"client\":2,\"type\":\"ok\",\"value\":null,\"time\":4}
{\"client\":1,\"type\":\"invoke\",\"f\":\"dequeue\",\"key\":\"a\",\"time\":5}
{\"client\":1,\"type\":\"ok\",\"value\":5,\"time\":6}
{\"client\":1,\"type\":\"invoke\",\"f\":\"enqueue\",\"key\":\"a\",\"value\":6,\"time\":7}
";
    let recording = jsonl::read(text).expect("it can be read");
    let model = recording.model(None).expect("it names its model");
    let document = model.porcupine(&recording, Budget::default()).expect("a queue's history");
    let part = &document["Partitions"][1];
    assert_eq!(part["History"][0]["Description"], "\"a\": enqueue(5) -> done");
    assert_eq!(part["History"][2]["End"], 7, "what never returned ends with the history");
    assert_eq!(part["PartialLinearizations"][0][0]["StateDescription"], "\"a\": [5]");
    assert_eq!(part["Largest"]["1"], 0);
    assert_eq!(document["Partitions"].as_array().map(Vec::len), Some(2));
}

/// A cas that failed without an error was refused: it says that the value was another one. Clients repeat what they
/// asked when they have nothing to tell.
#[test]
fn jepsens_files_are_written_as_they_are_read() {
    let text = "\
{:index 0, :type :invoke, :process 0, :f :cas, :value [1 2], :time 1}
{:index 1, :type :fail, :process 0, :f :cas, :value [1 2], :time 2}
{:index 2, :type :invoke, :process 0, :f :cas, :value [2 3], :time 3}
{:index 3, :type :ok, :process 0, :f :cas, :value [2 3], :time 4}
{:index 4, :type :invoke, :process 0, :f :cas, :value [3 4], :time 5}
{:index 5, :type :fail, :process 0, :f :cas, :value [3 4], :time 6, :error :failed}
{:index 6, :type :invoke, :process 1, :f :write, :value \"a\\\"b\\\\\", :time 7}
{:index 7, :type :ok, :process 1, :f :write, :value \"a\\\"b\\\\\", :time 8}
{:index 8, :type :invoke, :process 1, :f :read, :value nil, :time 9}
{:index 9, :type :ok, :process 1, :f :read, :value nil, :time 10}
";
    let recording = edn::read(text).expect("it can be read");
    let kinds: Vec<_> =
        recording.records().iter().map(|record| (record.kind, record.value.clone())).collect();
    assert_eq!(kinds[1], (Kind::Ok, false.into()));
    assert_eq!(kinds[3], (Kind::Ok, true.into()));
    assert_eq!(kinds[5].0, Kind::Fail);
    assert_eq!(edn::write(&recording), text);
}

/// Where a format has no times, its lines stand for milliseconds. What adds nothing is no operation.
#[test]
fn a_log_of_a_store_is_read() {
    let text = "\
{:process 0, :type :invoke, :f :append, :key \"k\", :value \"a\"}
{:process 0, :type :ok, :f :append, :key \"k\", :value \"a\"}
{:process 0, :type :invoke, :f :append, :key \"k\", :value \"\"}
{:process 0, :type :ok, :f :append, :key \"k\", :value \"\"}
{:process 1, :type :invoke, :f :put, :key \"k\", :value \"b\"}
{:process 1, :type :info, :f :put, :key \"k\", :value \"b\"}
{:process 2, :type :invoke, :f :put, :key \"k\", :value \"c\"}
{:process 2, :type :fail, :f :put, :key \"k\", :value \"c\"}
{:process 0, :type :invoke, :f :get, :key \"k\", :value nil}
{:process 0, :type :ok, :f :get, :key \"k\", :value \"b\"}
";
    let recording = kv_log::read(text).expect("it can be read");
    let kinds: Vec<Kind> = recording.records().iter().map(|record| record.kind).collect();
    assert_eq!(
        kinds,
        [Kind::Invoke, Kind::Ok, Kind::Invoke, Kind::Info, Kind::Invoke, Kind::Fail, Kind::Invoke, Kind::Ok]
    );
    let times: Vec<u64> = recording.records().iter().map(|record| record.time.0 / 1_000_000).collect();
    assert_eq!(times, [1, 2, 5, 6, 7, 8, 9, 10]);
    let judged = recording.model(Some("kv")).expect("it is listed").judge(&recording, Budget::default());
    let judged = judged.expect("a store's history");
    assert_eq!((judged.verdict, judged.operations, judged.answered), (Verdict::Ok, 4, 2));
}

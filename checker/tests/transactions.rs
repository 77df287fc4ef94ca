//! Recorded histories of transactions: what is read, what is said of broken ones, and that a history that was
//! written is judged as before.

mod database;

use database::{Database, Isolation};
use seedbed_checker::formats::{FormatError, Kind, LocatedTransactions, Recording, edn, jsonl};
use seedbed_checker::generate::Draw;
use seedbed_checker::isolation::lists::Action::{Append, Read};
use seedbed_checker::isolation::{Level, Outcome, Transaction, lists, registers};
use seedbed_checker::models::TransactionModel;
use seedbed_checker::models::transactions::RecordedAction;

/// As Jepsen writes it: with a nemesis, a process that goes on under another number, and one that waits for ever.
const EDN: &str = r#";; list-append
{:index 0, :type :invoke, :process 0, :f :txn, :value [[:append 3 1] [:r 4 nil]], :time 10}
{:type :invoke, :process 1, :f :txn, :value [[:r 3 nil]], :time 20}
{:type :info, :process :nemesis, :f :start-partition, :value nil, :time 25}
{:type :ok, :process 0, :f :txn, :value [[:append 3 1] [:r 4 [5 6]]], :time 30}
{:type :fail, :process 1, :f :txn, :value [[:r 3 nil]], :time 40, :error :conflict}
#jepsen.history.Op{:type :invoke, :process 0, :f :txn, :value [[:append 4 7]], :time 50}
{:type :info, :process 0, :f :txn, :value [[:append 4 7]], :time 60, :error :timeout}
{:type :invoke, :process 3, :f :txn, :value [[:r 4 nil]], :time 70}
{:type :ok, :process 3, :f :txn, :value [[:r 4 nil]], :time 80}
{:type :invoke, :process 1, :f :txn, :value [], :time 90}
"#;

fn transaction<A>(
    process: u32,
    (invoked, returned): (u64, Option<u64>),
    outcome: Outcome,
    actions: Vec<A>,
) -> Transaction<A> {
    Transaction { process, invoked, returned, outcome, actions }
}

/// What `EDN` says.
fn expected() -> Vec<Transaction<lists::Action>> {
    vec![
        transaction(
            0,
            (10, Some(30)),
            Outcome::Committed,
            vec![Append { key: 3, value: 1 }, Read { key: 4, values: vec![5, 6] }],
        ),
        transaction(1, (20, Some(40)), Outcome::Aborted, vec![Read { key: 3, values: vec![] }]),
        transaction(0, (50, None), Outcome::Unknown, vec![Append { key: 4, value: 7 }]),
        transaction(3, (70, Some(80)), Outcome::Committed, vec![Read { key: 4, values: vec![] }]),
        transaction(1, (90, None), Outcome::Unknown, vec![]),
    ]
}

#[test]
fn a_history_of_jepsens_is_read() {
    let LocatedTransactions { transactions, lines } =
        edn::read(EDN).and_then(|recording| recording.transactions()).expect("it can be read");
    assert_eq!(transactions, expected());
    assert_eq!(lines, [2, 3, 7, 9, 11]);
}

#[test]
fn registers_are_read() {
    use registers::Action::{Read, Write};
    let text = r#"{"history":1,"model":"rw-register"}
{"client":7,"type":"invoke","f":"txn","value":[["w",3,1],["r",4,null]],"time":10}
{"client":7,"type":"ok","value":[["w",3,1],["r",4,2]],"time":30}
{"client":7,"type":"invoke","f":"txn","value":[["r",5,null]],"time":40}
{"client":7,"type":"ok","value":[["r",5,null]],"time":50}
"#;
    let recording = jsonl::read(text).expect("it can be read");
    let expected = [
        transaction(
            7,
            (10, Some(30)),
            Outcome::Committed,
            vec![Write { key: 3, value: 1 }, Read { key: 4, value: Some(2) }],
        ),
        transaction(7, (40, Some(50)), Outcome::Committed, vec![Read { key: 5, value: None }]),
    ];
    assert_eq!(recording.transactions().expect("they are transactions").transactions, expected);
}

#[test]
fn transactions_are_written_in_both_formats() {
    let written = Recording::of_transactions(&expected()).expect("processes take turns");
    let text = "\
{:index 0, :type :invoke, :process 0, :f :txn, :value [[:append 3 1] [:r 4 nil]], :time 10}
{:index 1, :type :invoke, :process 1, :f :txn, :value [[:r 3 nil]], :time 20}
{:index 2, :type :ok, :process 0, :f :txn, :value [[:append 3 1] [:r 4 [5 6]]], :time 30}
{:index 3, :type :fail, :process 1, :f :txn, :value [[:r 3 nil]], :time 40, :error :failed}
{:index 4, :type :invoke, :process 0, :f :txn, :value [[:append 4 7]], :time 50}
{:index 5, :type :invoke, :process 3, :f :txn, :value [[:r 4 nil]], :time 70}
{:index 6, :type :ok, :process 3, :f :txn, :value [[:r 4 []]], :time 80}
{:index 7, :type :invoke, :process 1, :f :txn, :value [], :time 90}
";
    assert_eq!(edn::write(&written), text);
    let text = r#"{"history":1,"model":"list-append","initial":null}
{"id":0,"client":0,"type":"invoke","f":"txn","value":[["append",3,1],["r",4,null]],"time":10}
{"id":1,"client":1,"type":"invoke","f":"txn","value":[["r",3,null]],"time":20}
{"id":0,"client":0,"type":"ok","f":"txn","value":[["append",3,1],["r",4,[5,6]]],"time":30}
{"id":1,"client":1,"type":"fail","f":"txn","value":null,"time":40}
"#;
    assert!(jsonl::write(&written).starts_with(text), "{}", jsonl::write(&written));
    for again in [edn::read(&edn::write(&written)), jsonl::read(&jsonl::write(&written))] {
        let again = again.and_then(|recording| recording.transactions()).expect("it was written");
        assert_eq!(again.transactions, expected());
    }
}

/// Keys and values as they are, with some outcomes that nobody knows, in the order of their invocations.
fn generated(isolation: Isolation, seed: u64) -> Vec<Transaction<lists::Action>> {
    let mut history = Database::new(isolation, Draw(seed)).run(12, 3);
    history.sort_by_key(|transaction| transaction.invoked);
    let mut draw = Draw(seed);
    for transaction in &mut history {
        if draw.below(5) == 0 {
            (transaction.outcome, transaction.returned) = (Outcome::Unknown, None);
        }
    }
    history
}

fn judged_alike<A: RecordedAction + std::fmt::Debug>(history: &[Transaction<A>]) -> bool {
    let report = A::judge(history).expect("well formed");
    let model = TransactionModel::named(A::MODEL).expect("it is listed");
    let recording = Recording::of_transactions(history).expect("processes take turns");
    for again in [edn::read(&edn::write(&recording)), jsonl::read(&jsonl::write(&recording))] {
        let judged = model.judge(&again.expect("it was written")).expect("they are transactions");
        assert_eq!(judged.report, report, "{history:#?}");
    }
    !report.anomalies.is_empty()
}

#[test]
fn what_was_written_is_judged_alike() {
    let levels = [
        Isolation::ReadUncommitted,
        Isolation::ReadCommitted,
        Isolation::Snapshot,
        Isolation::StaleSnapshot,
        Isolation::Serializable,
    ];
    let (mut in_lists, mut in_registers) = (0, 0);
    for seed in 0..2_000 {
        let history = generated(levels[seed as usize % 5], seed);
        in_lists += u32::from(judged_alike(&history));
        in_registers += u32::from(judged_alike(&database::as_registers(&history)));
    }
    let expected = 200..1_800;
    assert!(expected.contains(&in_lists), "{in_lists} of 2 000 show something over lists");
    assert!(expected.contains(&in_registers), "{in_registers} of 2 000 show something over registers");
}

#[test]
fn what_happens_at_one_moment_stays_concurrent() {
    let read = |process, times, values| {
        transaction(process, times, Outcome::Committed, vec![Read { key: 1, values }])
    };
    let append = |times| transaction(1, times, Outcome::Committed, vec![Append { key: 1, value: 1 }]);
    // The one that misses the element begins when the one that appends it returns, and then a moment later.
    for (begins, holds) in [(5, true), (6, false)] {
        let history = [append((0, Some(5))), read(2, (begins, Some(9)), vec![])];
        assert_eq!(lists::judge(&history).expect("well formed").holds(Level::StrictSerializable), holds);
        judged_alike(&history);
    }
}

#[test]
fn the_order_of_events_counts_where_no_times_tell() {
    let text = "[{:type :invoke, :process 0, :f :txn, :value [[:append 1 1]]} \
        {:type :ok, :process 0, :f :txn, :value [[:append 1 1]]} \
        {:type :invoke, :process 1, :f :txn, :value [[:r 1 nil]]} \
        {:type :ok, :process 1, :f :txn, :value [[:r 1 []]]}]";
    let recording = edn::read(text).expect("it can be read");
    let judged = TransactionModel::named("list-append").expect("it is listed").judge(&recording);
    let report = judged.expect("they are transactions").report;
    assert_eq!(report.strongest(), [Level::StrongSessionSnapshotIsolation, Level::Serializable]);
}

fn said(model: &str, read: Result<Recording, FormatError>) -> String {
    let model = TransactionModel::named(model).expect("it is listed");
    let judged = read.and_then(|recording| model.judge(&recording));
    judged.expect_err("something is wrong").to_string()
}

#[test]
fn broken_lines_are_named() {
    let invoke = "{:type :invoke, :process 0, :f :txn, :value [[:append 3 1] [:r 4 nil]]}\n";
    let lists = |events: &str| said("list-append", edn::read(&format!("{invoke}{events}")));
    let asks = |value: &str| lists(&format!("{{:type :invoke, :process 1, :f :txn, :value {value}}}"));
    let answers = |value: &str| lists(&format!("{{:type :ok, :process 0, :f :txn, :value {value}}}"));
    let action = "line 2: expected [name key value], an action, in a list of them, found";
    assert_eq!(asks("7"), format!("{action} 7"));
    assert_eq!(asks("nil"), format!("{action} null"));
    assert_eq!(asks("[[:append 3]]"), format!("{action} [\"append\",3]"));
    assert_eq!(asks("[[:append 3 1] :r]"), format!("{action} \"r\""));
    assert_eq!(asks("[[:w 3 1]]"), "line 2: expected one of the actions append, r, found w");
    assert_eq!(asks("[[:append :x 1]]"), "line 2: expected a key, a whole number, found \"x\"");
    assert_eq!(asks("[[:append -3 1]]"), "line 2: expected a key, a whole number, found -3");
    assert_eq!(asks("[[:append 3 nil]]"), "line 2: expected an element, a whole number, found null");
    let others = "line 2: expected the actions of line 1 with what they read, found others";
    assert_eq!(answers("[[:append 3 2] [:r 4 []]]"), others);
    assert_eq!(answers("[[:append 3 1]]"), others);
    assert_eq!(answers("[[:append 3 1] [:r 5 []]]"), others);
    assert_eq!(answers("[[:append 3 1] [:r 4 5]]"), "line 2: expected a list of whole numbers, found 5");
    assert_eq!(answers("nil"), format!("{action} null"));
    assert_eq!(
        lists("{:type :invoke, :process 4294967296, :f :txn, :value []}"),
        "line 2: expected a process below 2^32, found 4294967296"
    );
    assert_eq!(
        lists("{:type :invoke, :process 1, :f :read, :value nil}"),
        "line 2: expected a txn of several actions, found read"
    );
    assert_eq!(
        asks("[[:append 3 1]]"),
        "line 2: 1 is written to 3 again, first in line 1: each value must be written once per key"
    );
    assert!(lists("{:type :ok, :process 0").starts_with("line 2: expected a map for an event"));

    let registers = |value: &str| {
        let line = format!(r#"{{"client":1,"type":"invoke","f":"txn","value":{value}}}"#);
        said("rw-register", jsonl::read(&line))
    };
    assert_eq!(registers(r#"[["append",1,2]]"#), "line 1: expected one of the actions w, r, found append");
    assert_eq!(registers(r#"[["w",1,"a"]]"#), "line 1: expected a value, a whole number, found \"a\"");
    assert!(registers("[[").starts_with("line 1: expected an event with `client` and `type`: "));
}

#[test]
fn transactions_begin_and_end_in_order() {
    let said = |events: &[&str]| {
        let line = |event: &&str| format!("{{{event}, :process 0, :f :txn, :value []}}\n");
        said("list-append", edn::read(&events.iter().map(line).collect::<String>()))
    };
    let (invoke, ok) = (":type :invoke", ":type :ok");
    assert_eq!(said(&[ok]), "line 1: process 0 returns, but has invoked nothing");
    assert_eq!(said(&[invoke, ok, ok]), "line 3: an operation of process 0 returns twice, first in line 2");
    assert_eq!(
        said(&[invoke, invoke]),
        "line 2: process 0 invokes an operation, but that of line 1 is still open"
    );
    // Who goes on at once has returned; all others of that moment are concurrent.
    let at_once = [(1, 0, 5), (1, 5, 9), (2, 2, 5)].map(|(process, invoked, returned)| {
        transaction::<lists::Action>(process, (invoked, Some(returned)), Outcome::Committed, vec![])
    });
    let recording = Recording::of_transactions(&at_once).expect("processes take turns");
    let order = recording.records().iter().map(|record| (record.process, record.kind));
    let (invoke, ok) = (Kind::Invoke, Kind::Ok);
    assert!(order.eq([(1, invoke), (2, invoke), (1, ok), (1, invoke), (2, ok), (1, ok)]));
    // What cannot be read is not written either.
    let overlapping = [(0, 5), (3, 9)].map(|(invoked, returned)| {
        transaction::<lists::Action>(1, (invoked, Some(returned)), Outcome::Committed, vec![])
    });
    let error = Recording::of_transactions(&overlapping).expect_err("they overlap");
    assert!(matches!(error, FormatError::StillOpen { line: 3, process: 1, open: 2 }), "{error}");
    let backwards = [transaction::<lists::Action>(1, (5, Some(3)), Outcome::Committed, vec![])];
    let error = Recording::of_transactions(&backwards).expect_err("it ends before it begins");
    assert!(matches!(error, FormatError::NotInvoked { line: 2, process: 1 }), "{error}");
}

//! `seedbed check` and `seedbed history` as their users meet them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

const STALE: &str = "INFO  jepsen.util - 0\t:invoke\t:write\t1
INFO  jepsen.util - 0\t:ok\t:write\t1
INFO  jepsen.util - 1\t:invoke\t:cas\t[2 3]
INFO  jepsen.util - 1\t:fail\t:cas\t[2 3]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:ok\t:read\tnil
";
const GOOD: &str = r#"{"history":1,"model":"queue","initial":[7]}
{"client":1,"type":"invoke","f":"enqueue","value":"a"}
{"client":2,"type":"invoke","f":"dequeue"}
{"client":2,"type":"ok","value":7}
{"client":2,"type":"invoke","f":"dequeue"}
{"client":2,"type":"ok","value":"a"}
"#;

/// A folder of its own for a test, with some histories in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder that can be written to");
        let place = Self(folder);
        place.write("stale.log", STALE);
        place.write("good.jsonl", GOOD);
        place
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("a folder that can be written to");
    }

    /// Runs the command; its stdout and stderr.
    #[track_caller]
    fn run(&self, args: &[&str], code: i32) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seedbed"));
        let output = command.args(args).current_dir(&self.0).env("NO_COLOR", "1").output();
        let output = output.expect("the command can be started");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
        (out, err)
    }
}

#[test]
fn several_histories_are_judged_and_counted() {
    let place = Place::new("check");
    let (out, err) = place.run(&["check", "good.jsonl", "stale.log"], 1);
    assert_eq!(err, "");
    assert!(
        out.starts_with("good.jsonl: ok (queue, 3 operations, 2 answered)\nstale.log: violation"),
        "{out}"
    );
    assert!(out.contains("\n  invoked in  stale.log:5\n  signature   linearizable/read/"), "{out}");
    assert!(out.contains("\n    > 0.005s to 0.006s c0 op2 read: nothing\n"), "{out}");
    assert!(out.contains("\n2 histories: 1 ok, 1 violation, 0 unknown, 0 unreadable, in "), "{out}");
    place.run(&["check", "good.jsonl"], 0);

    let (out, err) = place.run(&["check", "stale.log", "--json"], 1);
    let document: Value = serde_json::from_str(&out).expect("stdout is one document");
    assert_eq!(document["histories"][0]["line"], 5);
    assert!(err.starts_with("stale.log: violation"), "text for people goes to stderr: {err}");
}

#[test]
fn what_cannot_be_decided_is_said() {
    let place = Place::new("steps");
    let (out, _) = place.run(&["check", "good.jsonl", "--steps", "0"], 3);
    assert!(out.starts_with("good.jsonl: unknown: out of steps"), "{out}");
}

#[test]
fn a_broken_history_is_shown_where_it_breaks() {
    let place = Place::new("broken");
    place.write("twice.jsonl", &format!("{GOOD}{{\"client\":2,\"type\":\"ok\",\"value\":8}}\n"));
    let (out, err) = place.run(&["check", "twice.jsonl", "stale.log", "missing.log"], 2);
    let expected = "  × an operation of process 2 returns twice, first in line 6
   ╭─[twice.jsonl:7:1]
 6 │ {\"client\":2,\"type\":\"ok\",\"value\":\"a\"}
 7 │ {\"client\":2,\"type\":\"ok\",\"value\":8}
   · ──────────────────────────────────
   ╰────
error: missing.log: No such file or directory (os error 2)
";
    assert_eq!(err, expected);
    assert!(out.contains("1 violation, 0 unknown, 2 unreadable"), "the others are judged: {out}");

    let (_, err) = place.run(&["check", "good.jsonl", "--model", "set"], 2);
    assert!(
        err.contains("expected one of the operations add, remove, contains, read, found enqueue"),
        "{err}"
    );
    place.write("nameless.jsonl", "{\"client\":2,\"type\":\"invoke\",\"f\":\"read\"}");
    let (_, err) = place.run(&["check", "nameless.jsonl"], 2);
    assert!(err.contains("help: give one with --model"), "{err}");
    place.write("misnamed.jsonl", "{\"history\":1,\"model\":\"quue\"}");
    let (_, err) = place.run(&["check", "misnamed.jsonl"], 2);
    assert!(err.contains("there is no model `quue`") && err.contains("did you mean --model queue?"), "{err}");
    let (_, err) = place.run(&["check", "goods.jsonl"], 2);
    assert!(err.contains("did you mean good.jsonl?"), "{err}");
}

#[test]
fn a_converted_history_has_the_same_verdict() {
    let place = Place::new("convert");
    place.run(&["history", "convert", "stale.log", "--to", "jsonl", "-o", "stale.jsonl"], 0);
    place.run(&["history", "convert", "stale.jsonl", "--to", "edn", "-o", "stale.edn"], 0);
    let (first, _) = place.run(&["check", "stale.log"], 1);
    let (second, _) = place.run(&["check", "stale.jsonl"], 1);
    let (third, _) = place.run(&["check", "stale.edn", "--model", "cas-register"], 1);
    // The head line moves the lines by one.
    assert_eq!(second.replace("stale.jsonl:6", "stale.log:5").replace("jsonl", "log"), first);
    assert_eq!(third.replace("edn", "log"), first);
    let (text, _) = place.run(&["history", "convert", "good.jsonl", "--to", "porcupine"], 0);
    let document: Value = serde_json::from_str(&text).expect("one document");
    assert_eq!(document["Partitions"][0]["History"].as_array().map(Vec::len), Some(3));
}

/// One process writes 1 and 2; another reads 2 and then 1.
const BACK: &str = r#"{"history":1,"model":"register"}
{"client":1,"type":"invoke","f":"write","value":1,"time":1000000000}
{"client":1,"type":"ok","time":2000000000}
{"client":1,"type":"invoke","f":"write","value":2,"time":3000000000}
{"client":1,"type":"ok","time":4000000000}
{"client":2,"type":"invoke","f":"read","time":5000000000}
{"client":2,"type":"ok","value":2,"time":6000000000}
{"client":2,"type":"invoke","f":"read","time":7000000000}
{"client":2,"type":"ok","value":1,"time":8000000000}
"#;

#[test]
fn a_promise_can_be_chosen() {
    let place = Place::new("promise");
    place.write("back.jsonl", BACK);
    let (out, _) = place.run(&["check", "back.jsonl", "--consistency", "monotonic-reads"], 1);
    let expected = "back.jsonl: violation (register, monotonic-reads, 4 operations, 4 answered)
  read by c2 returned 1 at 8.000s, but read by c2 had returned 2 at 6.000s, which is newer: c1 invoked \
write(1) before write(2)
  invoked in  back.jsonl:8
  signature   monotonic-reads/read/went-back
";
    assert!(out.starts_with(expected), "{out}");
    place.run(&["check", "back.jsonl", "--consistency", "read-your-writes"], 0);
    place.run(&["check", "back.jsonl", "--consistency", "sequential"], 1);
    place.run(&["check", "back.jsonl", "--consistency", "stale-bounded=2s"], 1);
    let (out, _) = place.run(&["check", "back.jsonl", "--consistency", "stale-bounded=3500ms", "--json"], 0);
    let document: Value = serde_json::from_str(&out).expect("stdout is one document");
    assert_eq!(document["histories"][0]["consistency"], "stale-bounded=3.500s");

    let (_, err) = place.run(&["check", "good.jsonl", "--consistency", "monotonic-reads"], 2);
    assert!(err.contains("monotonic-reads is about reads and writes of registers"), "{err}");
    assert!(err.contains("help: give --consistency linearizable, sequential or"), "{err}");
    let (_, err) = place.run(&["check", "back.jsonl", "--consistency", "stale-bounded"], 2);
    assert!(err.contains("say how stale a read may be: stale-bounded=500ms"), "{err}");
    let (_, err) = place.run(&["check", "back.jsonl", "--consistency", "monotonic-read"], 2);
    assert!(err.contains("did you mean monotonic-reads? one of linearizable, sequential,"), "{err}");
    let (_, err) = place.run(&["check", "back.jsonl", "--consistency", "stale-bounded=5"], 2);
    assert!(err.contains("unit"), "{err}");
}

/// Two withdraw from what both read, one after an old read, and one finds what the others did.
const SKEW: &str = "\
{:type :invoke, :process 0, :f :txn, :value [[:r 1 nil] [:append 2 10]], :time 10}
{:type :invoke, :process 1, :f :txn, :value [[:r 2 nil] [:append 1 20]], :time 11}
{:type :ok, :process 0, :f :txn, :value [[:r 1 nil] [:append 2 10]], :time 20}
{:type :ok, :process 1, :f :txn, :value [[:r 2 nil] [:append 1 20]], :time 21}
{:type :invoke, :process 2, :f :txn, :value [[:r 1 nil] [:r 2 nil]], :time 30}
{:type :ok, :process 2, :f :txn, :value [[:r 1 [20]] [:r 2 [10]]], :time 31}
{:type :invoke, :process 0, :f :txn, :value [[:append 3 1]], :time 40}
{:type :fail, :process 0, :f :txn, :value [[:append 3 1]], :time 41}
";

#[test]
fn transactions_are_judged_by_levels() {
    let place = Place::new("transactions");
    place.write("skew.edn", SKEW);
    let (out, err) = place.run(&["check", "skew.edn", "--model", "list-append"], 1);
    let expected = "\
skew.edn: violation (list-append, strict-serializable, 4 transactions, 3 committed, 1 aborted)
  holds       strong-snapshot-isolation
  signature   isolation/G2-item
  forbidden
    G2-item: T0 read 1 before T1 appended 20 to it; T1 read 2 before T0 appended 10 to it
      invoked in lines: T0 1, T1 2
";
    assert_eq!((&out[..], &err[..]), (expected, ""));
    let weaker = ["check", "skew.edn", "--model", "list-append", "--consistency", "snapshot-isolation"];
    let (out, _) = place.run(&weaker, 0);
    let (head, rest) = expected.split_once("  signature   isolation/G2-item\n").expect("it has one");
    let head = head.replace("violation", "ok").replace("strict-serializable", "snapshot-isolation");
    assert_eq!(out, head + &rest.replace("forbidden", "allowed"));

    let (out, _) = place.run(&["check", "skew.edn", "--model", "list-append", "--json"], 1);
    let document: Value = serde_json::from_str(&out).expect("stdout is one document");
    let history = &document["histories"][0];
    assert_eq!(history["consistency"], "strict-serializable");
    assert_eq!(history["verdict"]["Violation"]["kind"], "g2-item");
    assert_eq!(history["holds"], serde_json::json!(["strong-snapshot-isolation"]));
    assert_eq!(history["anomalies"][0]["lines"], serde_json::json!([1, 2]));
    assert_eq!([&history["line"], &history["operations"], &history["answered"]], [1, 4, 3]);

    // Its own format tells the model, so that histories of all kinds can be judged at once.
    let convert =
        ["history", "convert", "skew.edn", "--model", "list-append", "--to", "jsonl", "-o", "skew.jsonl"];
    place.run(&convert, 0);
    let (out, _) = place.run(&["check", "good.jsonl", "skew.jsonl", "stale.log"], 1);
    assert!(out.contains("good.jsonl: ok (queue, "), "{out}");
    assert!(
        out.contains("skew.jsonl: violation (list-append, ") && out.contains("lines: T0 2, T1 3\n"),
        "{out}"
    );
    assert!(out.contains("3 histories: 1 ok, 2 violations, 0 unknown, 0 unreadable"), "{out}");
    let (out, _) = place.run(&["history", "convert", "skew.jsonl", "--to", "edn"], 0);
    let value = ":f :txn, :value [[:r 2 nil] [:append 1 20]], :time 11";
    assert!(out.contains(&format!("{{:index 1, :type :invoke, :process 1, {value}}}\n")), "{out}");
    let (_, err) = place.run(&["history", "convert", "skew.jsonl", "--to", "porcupine"], 2);
    assert!(err.contains("`list-append` is a model of transactions"), "{err}");
}

#[test]
fn many_anomalies_are_told_shortest_first() {
    let place = Place::new("anomalies");
    // Twelve reads that nobody can have made, and a lost update.
    let mut text = String::new();
    let mut add = |process: usize, asked: &str, told: &str| {
        let event = |kind: &str, value: &str| {
            format!("{{\"client\":{process},\"type\":\"{kind}\",\"f\":\"txn\",\"value\":[{value}]}}\n")
        };
        text += &(event("invoke", asked) + &event("ok", told));
    };
    add(0, r#"["r",1,null],["w",1,1]"#, r#"["r",1,null],["w",1,1]"#);
    add(1, r#"["r",1,null],["w",1,2]"#, r#"["r",1,null],["w",1,2]"#);
    for number in 2..14 {
        add(number, r#"["r",2,null]"#, &format!(r#"["r",2,{number}]"#));
    }
    place.write("many.jsonl", &text);
    let args = ["check", "many.jsonl", "--model", "rw-register", "--consistency", "read-committed"];
    let (out, _) = place.run(&args, 1);
    assert!(
        out.contains("  holds       no level\n  signature   isolation/garbage read\n  forbidden\n"),
        "{out}"
    );
    assert!(out.contains("    garbage read: T11 read 11 of 2, which nobody wrote\n      invoked in lines: T11 23\n    … and 2 more; --json has all of them\n  allowed\n    lost update: T0 and T1 both"), "{out}");
    let (out, _) = place.run(&[&args[..], &["--json"]].concat(), 1);
    let document: Value = serde_json::from_str(&out).expect("stdout is one document");
    let anomalies = document["histories"][0]["anomalies"].as_array().expect("a list").clone();
    let lengths: Vec<usize> = anomalies.iter().map(|a| a["lines"].as_array().map_or(0, Vec::len)).collect();
    assert!(lengths.is_sorted() && lengths.len() > 12, "{lengths:?}");
    assert_eq!([&anomalies[0]["forbidden"], &anomalies[12]["forbidden"]], [true, false]);
}

#[test]
fn what_is_no_history_of_transactions_is_said() {
    let place = Place::new("no-transactions");
    place.write("skew.edn", SKEW);
    let last = "{:type :invoke, :process 0, :f :txn, :value [[:append 3 :x]]}";
    place.write("bad.edn", &format!("{SKEW}{last}\n"));
    let (out, err) = place.run(&["check", "bad.edn", "skew.edn", "--model", "list-append"], 2);
    let expected = "  × expected an element, a whole number, found \"x\"
   ╭─[bad.edn:9:1]
 8 │ {:type :fail, :process 0, :f :txn, :value [[:append 3 1]], :time 41}
 9 │ {:type :invoke, :process 0, :f :txn, :value [[:append 3 :x]]}
   · ─────────────────────────────────────────────────────────────
   ╰────
";
    assert_eq!(err, expected);
    assert!(out.contains("2 histories: 0 ok, 1 violation, 0 unknown, 1 unreadable"), "{out}");
    let (_, err) = place.run(&["check", "skew.edn", "--model", "rw-register"], 2);
    assert!(err.contains("expected one of the actions w, r, found append"), "{err}");

    let args = ["check", "skew.edn", "--model", "list-append", "--consistency", "linearizable"];
    let (_, err) = place.run(&args, 2);
    assert!(err.contains("linearizable is no promise about transactions, and `list-append` is"), "{err}");
    assert!(err.contains("help: give --consistency one of read-uncommitted, read-committed,"), "{err}");
    let (_, err) = place.run(&["check", "good.jsonl", "--consistency", "serializable"], 2);
    assert!(err.contains("serializable is a promise about transactions, and `queue` is no model"), "{err}");
    let (_, err) = place.run(&["check", "good.jsonl", "--consistency", "serialisable"], 2);
    assert!(err.contains("did you mean serializable?"), "{err}");
    let (out, _) = place.run(&["list", "models"], 0);
    assert!(out.contains("\nlist-append ") && out.contains("\nrw-register "), "{out}");
}

//! Recorded histories: small ones of our own in the two formats, and what is said of broken lines.

use std::path::Path;

use seedbed_checker::Budget;
use seedbed_checker::formats::{jepsen, judge_folder, judge_log, key_value};

#[test]
fn a_folder_is_judged_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let rows = judge_folder(&folder, Budget::default()).expect("the folder can be read");
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert!(row.agrees(), "{}: {}", row.file, row.verdict);
    }
}

#[test]
fn broken_lines_are_named() {
    let line = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n";
    let said =
        |last: &str| jepsen(&format!("{line}{last}")).expect_err("the last line is broken").to_string();
    assert_eq!(
        said("INFO  jepsen.util - 1\t:ok\t:read\t3"),
        "line 2: process 1 returns, but has invoked nothing"
    );
    assert_eq!(said("INFO  jepsen.util - 0\t:ok\t:read\tx"), "line 2: the value is no integer");
    assert_eq!(
        said("INFO  jepsen.util - 1\t:invoke\t:cas\t[1]"),
        "line 2: a cas has two integers in brackets"
    );
    assert_eq!(
        said("INFO  jepsen.util - 0\t:done\t:read\t1"),
        "line 2: an event is :invoke, :ok, :fail or :info of a :read, :write or :cas"
    );

    let said = |text: &str| key_value(text).expect_err("the line is broken").to_string();
    assert_eq!(said("hello"), "line 1: the process is missing or no small number");
    assert_eq!(
        said("{:process 1, :type :invoke, :f :put, :key \"k\", :value nil}"),
        "line 1: the value is no string"
    );
    assert_eq!(
        judge_log("history.csv", "", Budget::default()).expect_err("no format").to_string(),
        "the name ends neither in .log nor in .txt"
    );
}

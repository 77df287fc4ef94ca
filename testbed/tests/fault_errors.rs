//! What is wrong with a fault of a scenario is shown where it stands, with what to write instead.

use seedbed_testbed::scenario::Scenario;

/// What is said about a text and overrides that make no scenario.
fn refused(text: &str, set: &[&str]) -> String {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let error = Scenario::parse("x.toml", text, &set).expect_err("the text has a mistake");
    format!("\n{error}\n")
}

#[test]
fn groups_without_enough_nodes() {
    let text = r#"
name = "x"
[cluster]
nodes = 3
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["n1", "n2", "n3"], ["*"]]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:8:10: this needs 4 nodes, and there are 3
8 | groups = [["n1", "n2", "n3"], ["*"]]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn partition_of_one_node() {
    let text = r#"
name = "x"
[cluster]
nodes = 1
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:5:8: a partition needs two nodes
5 | kind = "partition"
  |        ^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn target_that_is_misspelt() {
    let text = r#"
name = "x"
[[fault]]
kind = "crash"
at = "10s"
restart-after = "1s"
target = "@leadr"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:10: `@leadr` names no node
6 | target = "@leadr"
  |          ^^^^^^^^
  = help: did you mean `@leader`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn targets_that_do_not_fit() {
    let text = r#"
name = "x"
[[fault]]
kind = "crash"
at = "10s"
restart-after = "1s"
target = "@zone"
[[fault]]
kind = "crash"
at = "10s"
restart-after = "1s"
target = "@subject"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:10: there are no zones
6 | target = "@zone"
  |          ^^^^^^^
  = help: name them, as in [net] zones = [["n1", "n2"], ["n3"]]
x.toml:11:10: `@subject` is the node whose state a fault waits for, and this one waits for none
11 | target = "@subject"
   |          ^^^^^^^^^^
   = help: use it with `when`, or take `@leader` or `@random`
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_without_what_it_needs() {
    let text = r#"
name = "x"
[[fault]]
kind = "crash"
at = "10s"
[[fault]]
kind = "partition"
at = "10s"
[[fault]]
kind = "crash"
restart-after = "1s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:1: the crash has no `restart-after`
2 | [[fault]]
  | ^^^^^^^^^
  = help: say when the node comes back, for example restart-after = "1s"
x.toml:5:1: the partition has no `for`
5 | [[fault]]
  | ^^^^^^^^^
  = help: say how long it lasts, for example for = "5s"
x.toml:8:1: the fault does not say when it strikes
8 | [[fault]]
  | ^^^^^^^^^
  = help: give it one of `at`, `every`, `when`
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_with_two_triggers() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
every = "5s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:9: the fault says more than once when it strikes
6 | every = "5s"
  |         ^^^^
  = help: keep one of `at`, `every`, `when`
"#;
    assert_eq!(told, expected);
}

#[test]
fn keys_of_another_fault() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
target = "n1"
probability = 0.5
[[fault]]
kind = "crash"
at = "10s"
restart-after = "1s"
for = "8s"
share = 0.5
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:10: `target` is who is in the middle of a shape, and this partition has none
6 | target = "n1"
  |          ^^^^
  = help: for example groups = "isolate-one"
x.toml:7:15: `probability` belongs to a fault with `when`
7 | probability = 0.5
  |               ^^^
x.toml:12:7: a crash has no `for`
12 | for = "8s"
   |       ^^^^
   = help: it has target, restart-after
x.toml:13:9: a crash has no `share`
13 | share = 0.5
   |         ^^^
   = help: it has target, restart-after
"#;
    assert_eq!(told, expected);
}

#[test]
fn conditions_shapes_and_measures_that_are_none() {
    let text = r#"
name = "x"
faults = "most"
[[fault]]
kind = "pause"
when = "leader-elcted && term > 2"
for = "1s"
[[fault]]
kind = "pause"
when = "node == n9"
for = "1s"
[[fault]]
kind = "partition"
at = "1s"
for = "1s"
groups = "brige"
[[fault]]
kind = "loss"
at = "1s"
for = "1s"
share = 2
direction = "hold"
[[fault]]
kind = "crash"
at = "1s"
restart-after = "1s"
target = ["@majority", "@majority"]
[check]
sometimes = ["crsh"]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:10: unknown limit of faults `most`
2 | faults = "most"
  |          ^^^^^^
  = help: known: survivable, any
x.toml:5:8: unknown condition `leader-elcted`
5 | when = "leader-elcted && term > 2"
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: did you mean `leader-elected`?
x.toml:15:10: unknown shape of a partition `brige`
15 | groups = "brige"
   |          ^^^^^^^
   = help: did you mean `bridge`?
x.toml:20:9: 2 is not a share: 0 to 1
20 | share = 2
   |         ^
x.toml:28:14: unknown situation `crsh`
28 | sometimes = ["crsh"]
   |              ^^^^^^
   = help: did you mean `crash`?
"#;
    assert_eq!(told, expected);
    let set = [
        "faults=any",
        "fault=[]",
        "check.sometimes=[]",
        "swarm={ at-once = 0 }",
        "net.zones=[[\"n1\", \"@leader\"], [\"n1\"]]",
    ];
    let told = refused(&text[1..], &set);
    let expected = r#"
--set net.zones=[["n1", "@leader"], ["n1"]]: `@leader` names no node that could be in a zone
"#;
    assert!(told.contains(expected.trim().rsplit(": ").next().expect("a message")), "{told}");
    assert!(told.contains("n1 is in a zone already"), "{told}");
    assert!(told.contains("a swarm of no faults at once is none"), "{told}");
}

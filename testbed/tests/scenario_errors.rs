//! Every mistake in a scenario is shown where it stands, with what to write instead.

use seedbed_testbed::scenario::Scenario;

/// What is said about a text and overrides that make no scenario.
fn refused(text: &str, set: &[&str]) -> String {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let error = Scenario::parse("x.toml", text, &set).expect_err("the text has a mistake");
    format!("\n{error}\n")
}

#[test]
fn text_that_is_no_toml() {
    let text = r#"
[net
loss = 0.1
[cluster]
nodes =
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:1:5: unclosed table, expected `]`
1 | [net
  |     ^
x.toml:4:8: string values must be quoted, expected literal string
4 | nodes =
  |        ^
"#;
    assert_eq!(told, expected);
}

#[test]
fn key_twice() {
    let text = r#"
name = "x"
name = "y"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:1: duplicate key
2 | name = "y"
  | ^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn name_missing() {
    let text = r#"
[net]
loss = 0.1
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:1:1: `name` is missing
1 | [net]
  | ^
"#;
    assert_eq!(told, expected);
}

#[test]
fn unknown_keys_name_the_nearest() {
    let text = r#"
name = "x"
[net]
los = 0.1
[nett]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:1: unknown key `los`
3 | los = 0.1
  | ^^^
  = help: did you mean `loss`?
x.toml:4:2: unknown key `nett`
4 | [nett]
  |  ^^^^
  = help: did you mean `net`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn unknown_names_name_the_nearest() {
    let text = r#"
name = "x"
[cluster]
protocol = "rafft"
engine = "rocks"
[net]
profile = "lann"
[disk]
profile = "nvm"
[[workload]]
kind = "kw"
[check]
history = "lineariseable"
monitors = ["log-matchin"]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:12: unknown protocol `rafft`
3 | protocol = "rafft"
  |            ^^^^^^^
  = help: did you mean `raft`?
x.toml:4:10: unknown engine `rocks`
4 | engine = "rocks"
  |          ^^^^^^^
  = help: known: lsm, lsm-tiered, btree, btree-rollback, log
x.toml:6:11: unknown network profile `lann`
6 | profile = "lann"
  |           ^^^^^^
  = help: did you mean `lan`?
x.toml:8:11: unknown disk profile `nvm`
8 | profile = "nvm"
  |           ^^^^^
  = help: did you mean `nvme`?
x.toml:10:8: unknown workload `kw`
10 | kind = "kw"
   |        ^^^^
   = help: did you mean `kv`?
x.toml:12:11: unknown history check `lineariseable`
12 | history = "lineariseable"
   |           ^^^^^^^^^^^^^^^
   = help: did you mean `linearizable`?
x.toml:13:13: unknown monitor `log-matchin`
13 | monitors = ["log-matchin"]
   |             ^^^^^^^^^^^^^
   = help: did you mean `log-matching`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn unknown_fault_and_condition() {
    let text = r#"
name = "x"
[[fault]]
kind = "partitoin"
[[fault]]
kind = "crash"
when = "leader-electd"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:8: unknown fault `partitoin`
3 | kind = "partitoin"
  |        ^^^^^^^^^^^
  = help: did you mean `partition`?
x.toml:6:8: unknown condition `leader-electd`
6 | when = "leader-electd"
  |        ^^^^^^^^^^^^^^^
  = help: did you mean `leader-elected`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn unknown_operation_in_a_mix() {
    let text = r#"
name = "x"
[[workload]]
mix = { gett = 1 }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:9: unknown key `gett`
3 | mix = { gett = 1 }
  |         ^^^^
  = help: did you mean `get`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn quantities_without_units() {
    let text = r#"
name = "x"
[engine]
memtable = 64
[clock]
skew = "5 sec"
[check]
liveness = { after-heal = "5" }
[budget]
time = 5
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:12: `64` has no unit
3 | memtable = 64
  |            ^^
  = help: the units are B, KiB, MiB, GiB, kB, MB, GB; for example "64KiB"
x.toml:5:8: `sec` is not a unit
5 | skew = "5 sec"
  |        ^^^^^^^
  = help: the units are ns, us, ms, s, m, h
x.toml:7:27: `5` has no unit
7 | liveness = { after-heal = "5" }
  |                           ^^^
  = help: the units are ns, us, ms, s, m, h; for example "5s"
x.toml:9:8: `5` has no unit
9 | time = 5
  |        ^
  = help: the units are ns, us, ms, s, m, h; for example "5s"
"#;
    assert_eq!(told, expected);
}

#[test]
fn numbers_out_of_range() {
    let text = r#"
name = "x"
[cluster]
clients = 70_000
[net]
loss = -0.1
[[workload]]
rate = 0
keys = 2.5
[[fault]]
kind = "crash"
when = "leader-elected"
probability = 1.5
restart-after = "-1s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:11: 70000 is out of range: 0 to 65535
3 | clients = 70_000
  |           ^^^^^^
x.toml:5:8: -0.1 is not a share: 0 to 1
5 | loss = -0.1
  |        ^^^^
x.toml:7:8: 0 is not a rate: more than 0, at most 1000000 per second
7 | rate = 0
  |        ^
x.toml:8:8: expected a whole number, found a number with a fraction
8 | keys = 2.5
  |        ^^^
x.toml:12:15: 1.5 is not a share: 0 to 1
12 | probability = 1.5
   |               ^^^
x.toml:13:17: `-1s` is negative
13 | restart-after = "-1s"
   |                 ^^^^^
   = help: write a duration such as "50ms"
"#;
    assert_eq!(told, expected);
}

#[test]
fn nobody_takes_part() {
    let text = r#"
name = "x"
[cluster]
nodes = 0
clients = { min = 0, max = 3 }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:9: a cluster has at least one node
3 | nodes = 0
  |         ^
x.toml:4:11: a run needs at least one client
4 | clients = { min = 0, max = 3 }
  |           ^^^^^^^^^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn mix_of_nothing() {
    let text = r#"
name = "x"
[[workload]]
mix = { get = 0, put = 0 }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:7: the weights of a mix sum to 0
3 | mix = { get = 0, put = 0 }
  |       ^^^^^^^^^^^^^^^^^^^^
  = help: give at least one operation a weight, for example { get = 1 }
"#;
    assert_eq!(told, expected);
}

#[test]
fn workload_without_a_client() {
    let text = r#"
name = "x"
[cluster]
clients = 1
[[workload]]
[[workload]]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:5:1: there is no client for this workload, `clients` is 1
5 | [[workload]]
  | ^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_beyond_the_end() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "50s"
for = "20s"
[[fault]]
kind = "crash"
at = "60s"
restart-after = "1s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:5:7: it would last until 70s, but the run ends at 60s
5 | for = "20s"
  |       ^^^^^
  = help: shorten `for`, or lengthen `budget.time`
x.toml:8:6: it would strike at 60s, but the run ends at 60s
8 | at = "60s"
  |      ^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_in_the_quiet_tail() {
    let text = r#"
name = "x"
[[fault]]
kind = "crash"
at = "55s"
restart-after = "1s"
[check]
liveness = { after-heal = "10s" }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:4:6: it would strike at 55s, but the quiet tail begins at 50s
4 | at = "55s"
  |      ^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn quiet_tail_longer_than_the_run() {
    let text = r#"
name = "x"
[check]
liveness = { after-heal = "60s" }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:27: a quiet tail of 60s leaves nothing of a run of 60s
3 | liveness = { after-heal = "60s" }
  |                           ^^^^^
  = help: lengthen `budget.time` or shorten the tail
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_too_often() {
    let text = r#"
name = "x"
[[fault]]
kind = "crash"
every = "1us"
restart-after = "1s"
[[fault]]
kind = "crash"
every = "0s"
restart-after = "1s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:4:9: it would strike up to 60000000 times in one run
4 | every = "1us"
  |         ^^^^^
  = help: take a longer interval
x.toml:8:9: an interval is more than 0
8 | every = "0s"
  |         ^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn node_that_does_not_exist() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["@leader", "n9"], ["*"]]
[[fault]]
kind = "crash"
at = "10s"
restart-after = "1s"
target = "n6"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:23: there is no node n9
6 | groups = [["@leader", "n9"], ["*"]]
  |                       ^^^^
  = help: the nodes are n1 to n5
x.toml:11:10: there is no node n6
11 | target = "n6"
   |          ^^^^
   = help: the nodes are n1 to n5
"#;
    assert_eq!(told, expected);
}

#[test]
fn node_that_some_seeds_lack() {
    let text = r#"
name = "x"
[cluster]
nodes = { one_of = [3, 5] }
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["n4"], ["*"]]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:8:12: there is no node n4
8 | groups = [["n4"], ["*"]]
  |            ^^^^
  = help: the nodes are n1 to n3
"#;
    assert_eq!(told, expected);
}

#[test]
fn groups_that_overlap() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["n1", "n2"], ["n2", "*"]]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:26: `n2` is in a group already
6 | groups = [["n1", "n2"], ["n2", "*"]]
  |                          ^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn groups_that_cut_nothing() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["n1", "n2"]]
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [[], ["*"]]
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:6:10: a partition has at least two groups
6 | groups = [["n1", "n2"]]
  |          ^^^^^^^^^^^^^^
  = help: add ["*"] for all other nodes
x.toml:11:11: the group is empty
11 | groups = [[], ["*"]]
   |           ^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn fault_names() {
    let text = r#"
name = "x"
[[fault]]
name = "a.b"
kind = "crash"
at = "1s"
restart-after = "1s"
[[fault]]
name = "c"
kind = "crash"
at = "1s"
restart-after = "1s"
[[fault]]
name = "c"
kind = "crash"
at = "1s"
restart-after = "1s"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:8: `a.b` cannot be a fault's name
3 | name = "a.b"
  |        ^^^^^
  = help: names are made of letters, digits, `-` and `_`
x.toml:13:8: another fault is named `c` too
13 | name = "c"
   |        ^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn draws_that_are_none() {
    let text = r#"
name = "x"
[cluster]
nodes = { one_of = [] }
clients = { min = 3 }
[net]
loss = { min = 0.2, max = 0.1 }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:20: a draw needs something to choose from
3 | nodes = { one_of = [] }
  |                    ^^
x.toml:4:11: a draw is either { min = a, max = b } or { one_of = [a, b, …] }
4 | clients = { min = 3 }
  |           ^^^^^^^^^^^
x.toml:6:8: the draw's `min` is above its `max`
6 | loss = { min = 0.2, max = 0.1 }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn latencies_that_are_none() {
    let text = r#"
name = "x"
[net]
latency = { log-normal = { median = "5ms", p99 = "1ms" } }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:11: `median` is above `p99`
3 | latency = { log-normal = { median = "5ms", p99 = "1ms" } }
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn latencies_that_are_misspelt() {
    let text = r#"
name = "x"
[net]
latency = { uniforn = { min = "1ms", max = "2ms" } }
[disk]
read = { uniform = { min = "5ms" } }
write = true
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:13: unknown key `uniforn`
3 | latency = { uniforn = { min = "1ms", max = "2ms" } }
  |             ^^^^^^^
  = help: did you mean `uniform`?
x.toml:5:20: `max` is missing
5 | read = { uniform = { min = "5ms" } }
  |                    ^^^^^^^^^^^^^^^
x.toml:6:9: expected a duration such as "50ms", found true or false
6 | write = true
  |         ^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn options_the_protocol_does_not_know() {
    let text = r#"
name = "x"
[cluster]
options = { election-timeot = ["1s", "2s"] }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:3:13: unknown option `election-timeot` of raft
3 | options = { election-timeot = ["1s", "2s"] }
  |             ^^^^^^^^^^^^^^^
  = help: did you mean `election-timeout`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn options_of_another_type() {
    let text = r#"
name = "x"
[cluster.options]
election-timeout = ["1s", "2s"]
heartbeat-interval = 50
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:4:22: invalid type: integer `50`, expected a string
4 | heartbeat-interval = 50
  |                      ^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn options_that_cannot_work() {
    let text = r#"
name = "x"
[cluster.options]
snapshot-entries = 20
keep-entries = 50
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:4:16: keep-entries: 50 must be below snapshot-entries, 20
4 | keep-entries = 50
  |                ^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn drawn_options_that_cannot_work() {
    let text = r#"
name = "x"
[cluster.options]
snapshot-entries = 20
keep-entries = { one_of = [50, 60] }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:1: keep-entries: 50 must be below snapshot-entries, 20
2 | [cluster.options]
  | ^^^^^^^^^^^^^^^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn types() {
    let text = r#"
name = 5
about = []
net = 3
fault = { kind = "crash" }
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:1:8: expected a string, found an integer
1 | name = 5
  |        ^
x.toml:2:9: expected a string, found a list
2 | about = []
  |         ^^
x.toml:3:7: expected a table, found an integer
3 | net = 3
  |       ^
x.toml:4:9: expected a list, found a table
4 | fault = { kind = "crash" }
  |         ^^^^^^^^^^^^^^^^^^
  = help: several tables of one name are written with two brackets, as in [[fault]]
"#;
    assert_eq!(told, expected);
}

#[test]
fn places_are_counted_in_characters() {
    let text = r#"
name = "äöü"
net = { profile = "lan", loss = "ü" } # ß
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:33: expected a number, found a string
2 | net = { profile = "lan", loss = "ü" } # ß
  |                                 ^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn overrides_that_lead_nowhere() {
    let text = r#"
name = "x"
[[fault]]
name = "cut"
kind = "partition"
at = "10s"
for = "8s"
"#;
    let told = refused(&text[1..], &["fault.cat.at=4s", "cluster.nodes", "fault.cut=3", "net..loss=1"]);
    let expected = r#"
--set:1:7: no fault is named `cat`
1 | fault.cat.at=4s
  |       ^^^
  = help: did you mean `cut`?
--set:1:1: an override is a path, `=` and a value
1 | cluster.nodes
  | ^^^^^^^^^^^^^
  = help: write it as --set net.loss=0.1
--set:1:7: say which field of the fault to set
1 | fault.cut=3
  |       ^^^
  = help: for example --set fault.cut.kind=…
--set:1:5: a path is made of names with dots between them
1 | net..loss=1
  |     ^
"#;
    assert_eq!(told, expected);
}

#[test]
fn overrides_with_unknown_names() {
    let text = r#"
name = "x"
[[fault]]
name = "cut"
kind = "partition"
at = "10s"
for = "8s"
"#;
    let told =
        refused(&text[1..], &["net.los=0.1", "fault.cut.att=4s", "cluster.protocol=zap", "nett.loss=5"]);
    let expected = r#"
--set:1:5: unknown key `los`
1 | net.los=0.1
  |     ^^^
  = help: did you mean `loss`?
--set:1:11: unknown key `att`
1 | fault.cut.att=4s
  |           ^^^
  = help: did you mean `at`?
--set:1:18: unknown protocol `zap`
1 | cluster.protocol=zap
  |                  ^^^
  = help: did you mean `zab`?
--set:1:1: unknown key `nett`
1 | nett.loss=5
  | ^^^^
  = help: did you mean `net`?
"#;
    assert_eq!(told, expected);
}

#[test]
fn override_below_a_number() {
    let text = r#"
name = "x"
[cluster]
nodes = 5
"#;
    let told = refused(&text[1..], &["cluster.nodes.x=3"]);
    let expected = r#"
--set:1:15: `nodes` has no fields
1 | cluster.nodes.x=3
  |               ^
"#;
    assert_eq!(told, expected);
}

#[test]
fn overrides_of_another_type() {
    let text = r#"
name = "x"
"#;
    let told = refused(&text[1..], &["cluster.nodes=many", "net.latency={min=1ms,max=2ms}"]);
    let expected = r#"
--set:1:18: string values must be quoted, expected literal string
1 | net.latency={min=1ms,max=2ms}
  |                  ^^^
"#;
    assert_eq!(told, expected);
}

#[test]
fn override_that_breaks_the_file() {
    let text = r#"
name = "x"
[[fault]]
kind = "partition"
at = "10s"
for = "8s"
groups = [["n4"], ["*"]]
"#;
    let told = refused(&text[1..], &["cluster.nodes=3"]);
    let expected = r#"
x.toml:6:12: there is no node n4
6 | groups = [["n4"], ["*"]]
  |            ^^^^
  = help: the nodes are n1 to n3
"#;
    assert_eq!(told, expected);
}

#[test]
fn workloads_and_stores_that_do_not_fit() {
    let text = r#"
name = "x"
[[workload]]
kind = "bank"
"#;
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:2:1: `bank` is a workload of transactions
2 | [[workload]]
  | ^^^^^^^^^^^^
  = help: add a table [transactions]
"#;
    assert_eq!(told, expected);

    let text = r#"
name = "x"
cluster = { protocol = "abd" }
check = { history = "linearizable" }
[transactions]
shards = 9
[[workload]]
kind = "kv"
"#;
    let told = refused(&text[1..], &["transactions.commit=optimist"]);
    let expected = r#"
--set:1:21: `optimist` is not a way to commit
1 | transactions.commit=optimist
  |                     ^^^^^^^^
  = help: did you mean `optimistic`?
"#;
    assert_eq!(told, expected);
    let told = refused(&text[1..], &[]);
    let expected = r#"
x.toml:4:1: abd replicates no shards
4 | [transactions]
  | ^^^^^^^^^^^^^^
  = help: take one that keeps a log, for example `cluster.protocol = "raft"`
x.toml:4:1: transactions are judged by an isolation level
4 | [transactions]
  | ^^^^^^^^^^^^^^
  = help: leave `check.history` out, or name a level
x.toml:5:10: there are fewer keys than shards
5 | shards = 9
  |          ^
  = help: raise `keys` of the workload
x.toml:6:1: `kv` is no workload of transactions
6 | [[workload]]
  | ^^^^^^^^^^^^
  = help: those are list-append, rw-register, write-skew, long-fork, bank, timestamps
"#;
    assert_eq!(told, expected);
    let told = refused("name = \"x\"", &["check.history=serializable"]);
    assert!(told.contains("`check.history` is serializable, which is said of transactions"), "{told}");
}

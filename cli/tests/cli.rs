//! The command as its users meet it: output, exit codes, files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const SCENARIO: &str = r#"
name = "small"
[cluster]
nodes = 3
clients = 2
[[fault]]
name = "outage"
kind = "crash"
at = { min = "1s", max = "2s" }
restart-after = "500ms"
[check]
liveness = { after-heal = "1s", operations = 1 }
[budget]
time = "4s"
"#;

/// No run of `SCENARIO` answers that many operations.
const IMPOSSIBLE: &str = "check.liveness.operations=1_000_000";

/// A folder of its own for a test, with the scenario in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder that can be written to");
        fs::write(folder.join("small.toml"), SCENARIO).expect("a folder that can be written to");
        Self(folder)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seedbed"));
        command.args(args).current_dir(&self.0).env("NO_COLOR", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("the command can be started"))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).expect(file)
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("it was not killed");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("stdout is one document")
    }

    fn row(&self, label: &str) -> &str {
        let row = self.out.lines().find_map(|line| line.strip_prefix(label));
        row.unwrap_or_else(|| panic!("no `{label}` in:\n{}", self.out)).trim()
    }
}

#[test]
fn a_run_tells_its_verdict_and_is_the_same_again() {
    let place = Place::new("run");
    let first = place.run(&["run", "small.toml", "--seed", "7"]).exits(0);
    assert_eq!(first.row("verdict"), "Ok");
    assert_eq!(first.row("cluster"), "3 nodes of raft on lsm, 2 clients");
    assert!(first.out.contains("outage (at "), "{}", first.out);
    assert_eq!(first.err, "");
    let other = place.run(&["run", "small.toml", "--seed", "8"]).exits(0);
    assert_ne!(first.row("digest"), other.row("digest"));

    // Looking closer changes nothing.
    let traced = ["run", "small.toml", "--seed", "7", "--trace", "t", "--history", "h", "--json"];
    let traced = place.run(&traced).exits(0);
    assert_eq!(traced.json()["report"]["digest"], first.row("digest"));
    assert_eq!(traced.json()["report"]["verdict"], "ok");
    assert!(traced.err.contains("verdict     Ok"), "text for people goes to stderr: {}", traced.err);
    let events = traced.json()["report"]["world"]["events"].as_u64().expect("a count");
    assert!(place.read("t").lines().count() as u64 >= events);
    let operations = traced.json()["report"]["operations"]["invoked"].as_u64().expect("a count");
    let checked = place.run(&["check", "h", "--json"]).exits(0).json()["histories"][0].clone();
    assert_eq!(checked["operations"].as_u64(), Some(operations));
    assert_eq!((&checked["model"], &checked["verdict"]), (&"kv".into(), &"Ok".into()));
}

#[test]
fn a_violation_comes_with_the_command_that_reproduces_it() {
    let place = Place::new("violation");
    let failed = place.run(&["run", "small.toml", "--seed", "3", "--set", IMPOSSIBLE]).exits(1);
    assert_eq!(failed.row("verdict"), "Violation of liveness");
    let command = failed.row("reproduce:");
    assert_eq!(command, format!("seedbed run small.toml --seed 3 --set {IMPOSSIBLE}"));
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    assert_eq!(place.run(&args).exits(1).row("digest"), failed.row("digest"));
}

#[test]
fn a_budget_that_runs_out_is_inconclusive() {
    let place = Place::new("budget");
    let ran = place.run(&["run", "small.toml", "--set", "budget.events=100"]).exits(3);
    assert!(ran.row("verdict").starts_with("Unknown: the budget of 100 events ended at "), "{}", ran.out);
    let swept = place.run(&["sweep", "small.toml", "--seeds", "0..3", "--set", "budget.events=100"]).exits(3);
    assert_eq!(swept.row("  inconclusive:"), "seeds 0, 1, 2");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let place = Place::new("mistake");
    fs::write(place.0.join("bad.toml"), "name = \"x\"\n[net]\nlos = 0.1\n").expect("a folder");
    let ran = place.run(&["run", "bad.toml", "--set", "cluster.nodes=0"]).exits(2);
    assert_eq!(ran.out, "");
    let expected = "  × unknown key `los`
   ╭─[bad.toml:3:1]
 2 │ [net]
 3 │ los = 0.1
   · ───
   ╰────
  help: did you mean `loss`?
  × a cluster has at least one node
   ╭─[--set:1:15]
 1 │ cluster.nodes=0
   ·               ─
   ╰────
";
    assert_eq!(ran.err, expected);
}

#[test]
fn misuse_is_told_from_failure() {
    let place = Place::new("misuse");
    let told = |args: &[&str]| place.run(args).exits(2).err;
    assert!(told(&[]).contains("Usage: seedbed <COMMAND>"));
    let missing = told(&["run", "smal.toml"]);
    assert!(
        missing.contains("smal.toml: No such file") && missing.contains("did you mean smal"),
        "{missing}"
    );
    assert!(told(&["run", "small.toml", "--bug", "vote-not-durabel"]).contains("'vote-not-durable'"));
    assert!(told(&["sweep", "small.toml"]).contains("--seeds <A..B>|--for <DURATION>"));
    assert!(told(&["sweep", "small.toml", "--seeds", "10..5"]).contains("did you mean 5..10?"));
    assert!(told(&["sweep", "small.toml", "--for", "10"]).contains("for example \"10s\""));
    assert!(told(&["replay", "small.toml"]).contains(": not a replay: "));
    assert!(
        told(&["run", "small.toml", "--trace", "no/such/folder"]).contains("no/such/folder: No such file")
    );
    place.run(&["--help"]).exits(0);
}

#[test]
fn a_sweep_of_several_scenarios_says_at_its_end_what_was_found() {
    let place = Place::new("several");
    let rows = format!("{SCENARIO}[[row]]\nname = \"a\"\n[[row]]\nname = \"b\"\n");
    fs::write(place.0.join("rows.toml"), rows).expect("a folder that can be written to");
    let ran = place.run(&["sweep", "rows.toml", "small.toml", "--seeds", "5..7"]).exits(0);
    assert!(ran.out.contains("\n3 scenarios, 6 runs in "), "{}", ran.out);
    assert!(ran.out.ends_with(": 0 violations, 0 inconclusive\nseeds 5..7 are done\n"), "{}", ran.out);
    let ran = place.run(&["sweep", "rows.toml", "--seeds", "5..7", "--set", IMPOSSIBLE]).exits(1);
    let end = ran.out.find("\n2 scenarios, 4 runs in ").expect("it sums up");
    let found: Vec<_> = ran.out[end..].lines().skip(2).collect();
    let again = |row| format!("    reproduce: seedbed run rows.toml --row {row} --seed 5 --set {IMPOSSIBLE}");
    assert_eq!(
        found,
        [
            "  finding liveness of small/a: 2 seeds",
            &again("a"),
            "  finding liveness of small/b: 2 seeds",
            &again("b"),
            "seeds 5..7 are done",
        ]
    );
}

#[test]
fn a_sweep_groups_its_failures_and_saves_them() {
    let place = Place::new("sweep");
    place.run(&["sweep", "small.toml", "--seeds", "0..4"]).exits(0);
    let sweep = ["sweep", "small.toml", "--seeds", "5..17", "--set", IMPOSSIBLE, "--out", "found"];
    let ran = place.run(&sweep).exits(1);
    assert!(ran.out.contains("  0 ok, 12 violations, 0 inconclusive\n"), "{}", ran.out);
    assert_eq!(ran.row("  crash ").split_whitespace().collect::<Vec<_>>(), ["100.0", "%", "12"]);
    assert_eq!(ran.row("  finding"), "liveness: 12 seeds");
    assert_eq!(ran.row("    reproduce:"), format!("seedbed run small.toml --seed 5 --set {IMPOSSIBLE}"));
    assert_eq!(ran.out.lines().last(), Some("seeds 5..17 are done"));
    assert!(ran.err.starts_with("finding: liveness of small with seed "), "{}", ran.err);
    assert_eq!(
        fs::read_dir(place.0.join("found")).expect("replays").count(),
        10,
        "of one finding ten are enough"
    );

    // Threads do not matter.
    let json = |jobs: &str| {
        let ran = place.run(&[&sweep[..], &["--json", "--jobs", jobs]].concat()).exits(1);
        ran.json()["scenarios"][0]["tally"].clone()
    };
    assert_eq!(json("1"), json("3"));
}

#[test]
fn a_replay_reproduces_or_says_what_changed() {
    let place = Place::new("replay");
    place.run(&["sweep", "small.toml", "--seeds", "5", "--set", IMPOSSIBLE]).exits(1);
    let file = "runs/small-5.json";
    let same = place.run(&["replay", file]).exits(1);
    assert_eq!(same.row("reproduced"), "Violation of liveness");
    assert!(!same.out.contains("note"), "{}", same.out);

    fs::write(place.0.join("small.toml"), "# another one").expect("a folder");
    let same = place.run(&["replay", file]).exits(1);
    assert_eq!(same.row("note"), "small.toml has changed since; the saved plan is what runs");

    let saved = place.read(file);
    fs::write(place.0.join(file), saved.replace("\"loss\": 0.0", "\"loss\": 0.1")).expect("a folder");
    let other = place.run(&["replay", file, "--json"]).exits(4);
    assert_eq!(other.json()["replays"][0]["reproduced"], false);
    let plan_too = saved.replacen("\"operations\": 1000000", "\"operations\": 1", 1);
    fs::write(place.0.join(file), plan_too).expect("a folder");
    let other = place.run(&["replay", file]).exits(4);
    assert!(other.out.contains("changed verdict  saved Violation of liveness\n"), "{}", other.out);
    assert!(other.out.contains("this binary gives the same digest each time"), "{}", other.out);

    fs::write(place.0.join(file), &saved[..saved.len() / 2]).expect("a folder");
    assert!(place.run(&["replay", file]).exits(2).err.contains("it was cut off"));
}

#[test]
fn different_findings_end_a_sweep() {
    let place = Place::new("enough");
    let ran =
        place.run(&["sweep", "small.toml", "--seeds", "0..", "--set", IMPOSSIBLE, "--max-failures", "1"]);
    let ran = ran.exits(1);
    assert!(ran.out.contains("enough was found (--max-failures); seeds done: 0.."), "{}", ran.out);
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_says_how_to_go_on() {
    let place = Place::new("interrupt");
    let rows = format!("{SCENARIO}[[row]]\nname = \"a\"\n[[row]]\nname = \"b\"\n");
    fs::write(place.0.join("rows.toml"), rows).expect("a folder that can be written to");
    let asked = ["--row", "b", "--set", IMPOSSIBLE, "--require-sometimes", "--out", "found"];
    let mut sweep = place.command(&[&["sweep", "rows.toml", "--seeds", "100.."], &asked[..]].concat());
    let mut child = sweep.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    // Once it has found something it is surely at work.
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut said).expect("text");
    assert!(said.starts_with("finding: "), "{said}");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill can be started").success());
    let ran = Ran::from(child.wait_with_output().expect("it ends")).exits(75);
    let (_, done) = ran.out.split_once("interrupted; seeds done: 100..").expect("it says what was done");
    let (done, next) = done.split_once("; go on with\n").expect("it says how to go on");
    assert_eq!(next, format!("  seedbed sweep rows.toml --seeds {done}.. {}\n", asked.join(" ")));
}

#[test]
fn lists_and_schema() {
    let place = Place::new("list");
    let all = place.run(&["list"]).exits(0).out;
    for name in [
        "raft",
        "lsm",
        "partition",
        "leader-elected",
        "kv",
        "linearizable",
        "queue",
        "nvme",
        "ack-before-fsync",
    ] {
        assert!(all.contains(name), "{name} in:\n{all}");
    }
    assert!(place.run(&["list", "bugs"]).exits(0).out.lines().count() >= 4);
    assert_eq!(place.run(&["schema"]).exits(0).json()["required"], serde_json::json!(["name"]));
}

#[test]
fn cells_of_a_comparison_meet_the_same_and_differ_by_themselves() {
    let place = Place::new("compare");
    let vary = ["--vary", "cluster.engine=lsm,btree", "--vary", "disk.profile=nvme,hdd"];
    let args =
        [&["compare", "small.toml", "--seeds", "0..3", "--json", "--csv", "c.csv"], &vary[..]].concat();
    let compared = place.run(&args).exits(0);
    let cells = compared.json()["cells"].as_array().expect("a list").clone();
    assert_eq!(cells.len(), 4);
    assert_eq!(cells[3]["set"], serde_json::json!(["cluster.engine=btree", "disk.profile=hdd"]));
    let flush = |cell: &Value| cell["figures"]["latency p50"]["value"]["mean"].as_f64().expect("a number");
    assert!(flush(&cells[1]) > 2.0 * flush(&cells[0]), "a hard disk flushes in milliseconds");
    let apart = &cells[1]["figures"]["latency p50"]["difference"]["paired"];
    assert!(apart["mean"].as_f64() > apart["half_width"].as_f64(), "{apart}");
    assert_eq!(place.read("c.csv").lines().count(), 1 + 4 * 3);
    assert!(compared.err.contains("separates lsm hdd from lsm nvme most"), "{}", compared.err);

    // The same matrix on one thread comes to the same.
    let again = place.run(&[&args[..], &["--jobs", "1"]].concat()).exits(0);
    assert_eq!(again.out, compared.out);
    let wrong = place.run(&["compare", "small.toml", "--vary", "cluster.engine=lsm,btee"]).exits(2);
    assert!(wrong.err.contains("did you mean `btree`?"), "{}", wrong.err);
    let red =
        ["compare", "small.toml", "--seeds", "0..1", "--vary", "cluster.nodes=3,5", "--set", IMPOSSIBLE];
    let red = place.run(&red).exits(1);
    assert!(red.out.contains("liveness of 5: 1 seed; reproduce: seedbed run small.toml"), "{}", red.out);
}

#[test]
fn a_history_of_transactions_is_written_and_can_be_checked() {
    let place = Place::new("transactions");
    let scenario = |kind: &str| {
        let workload = format!("[[workload]]\nkind = \"{kind}\"\nkeys = 4\nrate = 80.0\n");
        let text = format!(
            "name = \"t\"\n[cluster]\nclients = 8\n[transactions]\n{workload}[budget]\ntime = \"3s\"\n"
        );
        fs::write(place.0.join(format!("{kind}.toml")), text).expect("a folder that can be written to");
    };
    scenario("write-skew");
    place.run(&["run", "write-skew.toml", "--history", "h.jsonl"]).exits(0);
    let holds = place.run(&["check", "h.jsonl", "--consistency", "snapshot-isolation"]).exits(0);
    assert!(!holds.out.contains(" 0 transactions"), "{}", holds.out);
    let skew = place.run(&["check", "h.jsonl", "--consistency", "serializable"]).exits(1);
    assert!(skew.out.contains("G2-item"), "{}", skew.out);
    scenario("bank");
    let nothing = place.run(&["run", "bank.toml", "--history", "none.jsonl"]).exits(2);
    assert!(nothing.err.contains("no workload of this scenario leaves a history"), "{}", nothing.err);
}

//! Replays come back as they went in, and what is none says why.

use std::fs;
use std::path::PathBuf;

use contract::{Bug, Seed, Time};
use seedbed_testbed::replay::{FORMAT, Replay};
use seedbed_testbed::report::{Finding, Fired, Verdict};
use seedbed_testbed::scenario::Scenario;
use seedbed_testbed::trail::Trail;
use sim::Digest;

/// A folder that no other test uses.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn replay() -> Replay {
    let text = r#"
name = "x"
[net]
loss = { min = 0, max = 0.2 }
[[workload]]
mix = { get = { min = 0.1, max = 1 }, put = 1, cas = 1 }
[[fault]]
kind = "crash"
every = { min = "1s", max = "3s" }
restart-after = { min = "200ms", max = "2s" }
"#;
    let scenario = Scenario::parse("x.toml", text, &["cluster.nodes=3".to_owned()]).expect("a scenario");
    let plan = scenario.plan(Seed(4711), Some(Bug::AckBeforeFsync)).expect("a plan");
    let fired = Fired {
        at: Time(1),
        name: "crash-1#1".to_owned(),
        because: "at 1s".to_owned(),
        what: "crash of n1".to_owned(),
        action: None,
        cause: None,
    };
    let finding = Finding::of_run("liveness", "nothing was answered".to_owned(), vec!["evidence".to_owned()]);
    Replay {
        format: FORMAT,
        seedbed: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: scenario.source().clone(),
        plan,
        verdict: Verdict::Violation(finding),
        digest: Digest(7),
        fired: vec![fired],
        trail: Trail::default(),
    }
}

#[test]
fn a_replay_comes_back_as_it_went_in() {
    let path = folder("round").join("deeper").join("replay.json");
    let written = replay();
    written.save(&path).expect("a folder that can be written to");
    written.save(&path).expect("an old file is replaced");
    let read = Replay::load(&path).expect("what was just written");
    assert_eq!(read, written);
    let scenario = read.scenario.parse().expect("the scenario comes along");
    assert_eq!(scenario.plan(read.plan.seed, read.plan.bugs.0).expect("a plan"), read.plan);
    let left: Vec<_> = fs::read_dir(path.parent().expect("a folder")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
}

#[test]
fn what_is_no_replay_says_why() {
    let folder = folder("bad");
    fs::create_dir_all(&folder).expect("a folder that can be written to");
    let path = folder.join("replay.json");
    let told = |text: &str| {
        fs::write(&path, text).expect("a folder that can be written to");
        let error = Replay::load(&path).expect_err("this is no replay").to_string();
        error.replace(&path.display().to_string(), "R")
    };
    replay().save(&path).expect("a folder that can be written to");
    let whole = fs::read_to_string(&path).expect("what was just written");

    let half = &whole[..whole.len() / 2];
    let line = half.matches('\n').count() + 1;
    let truncated = told(half);
    assert!(truncated.starts_with(&format!("R: the file ends at line {line}, column ")), "{truncated}");
    assert!(truncated.ends_with("in the middle of a replay: it was cut off"), "{truncated}");
    assert_eq!(told("name = 3"), "R:1:2: not a replay: expected ident");
    assert_eq!(told("{}"), "R:1:2: not a replay: missing field `format`");
    assert_eq!(told(r#"{"format": 2}"#), "R:1:13: not a replay: missing field `seedbed`");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        told(r#"{"format": 9, "seedbed": "7.1.0", "plan": "of another shape"}"#),
        format!(
            "R: written by Seedbed 7.1.0 in replay format 9, and this is Seedbed {version} with format 2; \
             run its scenario and seed again, or replay it with that version"
        )
    );
    assert_eq!(
        told(&whole.replace("\"raft\"", "\"chain\"")),
        format!("R: protocol `chain` is not known to Seedbed {version}; replay it with {version}")
    );
    assert_eq!(
        told(&whole.replace("\"options\": {}", "\"options\": {\"keep-entries\": 5000}")),
        "R: the options of raft cannot be used: keep-entries: 5000 must be below snapshot-entries, 1000"
    );
    fs::remove_file(&path).expect("it is there");
    let missing = Replay::load(&path).expect_err("it is gone").to_string();
    assert!(missing.contains("replay.json: No such file"), "{missing}");
}

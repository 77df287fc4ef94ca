//! The guest holds under faults, and a bug that is planted in its adapter shows.

use std::path::Path;
use std::process::Command;

/// What a command says when it holds, and when something does not.
const HOLDS: Option<i32> = Some(0);
const VIOLATION: Option<i32> = Some(1);

#[track_caller]
fn ends(arguments: &str, out: &str, code: Option<i32>, says: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedbed-guests"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments.split_whitespace());
    let output = command.arg("--out").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(out)).output();
    let output = output.expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), code, "{arguments}\n{text}");
    assert!(text.contains(says), "{arguments}: not `{says}` but\n{text}");
}

#[test]
fn it_holds_under_a_swarm_of_faults() {
    ends("sweep scenarios/noraft/swarm.toml --seeds 0..20", "swarm", HOLDS, "");
}

#[test]
fn a_read_that_nobody_confirms_is_found() {
    let sweep = "sweep ../scenarios/kv/one-partition.toml --set cluster.protocol=noraft --seeds 0..20";
    let planted = format!("{sweep} --bug read-without-quorum --max-failures 1");
    ends(&planted, "planted", VIOLATION, "linearizable");
    ends(sweep, "sound", HOLDS, "");
}

#[test]
fn a_vote_that_is_not_durable_is_found() {
    let explore = "explore noraft --writes 0 --epochs 1 --options {trim-in-flight=false}";
    let planted = format!("{explore} --bug vote-not-durable");
    ends(&planted, "planted.json", VIOLATION, "one-leader-per-term: n2 became leader");
    ends(explore, "sound.json", HOLDS, "");
}

#[test]
fn an_acknowledgement_that_is_not_durable_is_found() {
    let explore = "explore noraft --epochs 2 --options {trim-in-flight=false} --bug ack-before-durable";
    ends(explore, "hasty.json", VIOLATION, "leader-completeness: n2 became leader");
}

/// A leader of the crate that votes alone commits before its write is done. (Handed out at once, such a commit is
/// lost in five actions.)
#[test]
fn a_commit_waits_for_the_write_that_it_rests_on() {
    ends(
        "explore noraft --nodes 1 --options {trim-in-flight=false}",
        "alone.json",
        HOLDS,
        "write-lost-in-crash",
    );
}

#[test]
fn it_sends_what_is_on_its_way_unless_it_is_held_back() {
    let sweep = "sweep scenarios/noraft/pipelining.toml --seeds 0..2";
    let as_asked = format!("{sweep} --set cluster.options.trim-in-flight=false");
    ends(&as_asked, "as-asked", VIOLATION, "in-few-messages");
    ends(sweep, "held-back", HOLDS, "");
}

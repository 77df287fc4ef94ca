//! Names that have no place in a crate: what would make two runs of one plan differ, and what a crate
//! must not know of.

/// What differs from run to run or from machine to machine.
const UNREPEATABLE: &[&str] = &[
    "HashMap",
    "HashSet",
    "RandomState",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "thread_rng",
    "rand::rng(",
    "std::thread",
    "futures::select!",
    ".ln()",
    ".exp()",
    ".powf(",
    ".sin()",
    ".cos()",
];
/// What reaches the machine. `storage/src/std_fs.rs` alone opens real files.
const MACHINE: &[&str] = &["std::fs", "std::net", "std::process", "std::env", "tokio"];
/// What a pure state machine has no use for.
const IMPURE: &[&str] = &["futures::", "Rng", "rand::", "SimFs", "Env<"];
/// What the host must not know.
const WORLDS: &[&str] = &["sim::", "SimFs", "Raft", "raft", "Paxos", "Zab"];

/// The banned names of a crate's sources.
fn banned(name: &str, path: &str) -> Vec<&'static str> {
    let mut banned = Vec::new();
    if ["contract", "sim", "storage", "protocols", "node", "checker", "testbed"].contains(&name) {
        banned.extend(UNREPEATABLE);
    }
    if ["contract", "sim", "storage", "protocols", "node"].contains(&name) && !path.ends_with("std_fs.rs") {
        banned.extend(MACHINE);
    }
    if name == "protocols" {
        banned.extend(IMPURE);
    }
    if name == "node" {
        banned.extend(WORLDS);
    }
    banned
}

pub(crate) fn check(name: &str, path: &str, text: &str) -> Vec<String> {
    // Tests and examples may measure and may use a real folder; what they run is held by the rule.
    if !path.starts_with(&format!("{name}/src/")) {
        return Vec::new();
    }
    let banned = banned(name, path);
    let mut complaints = Vec::new();
    for (line, code) in (1..).zip(text.lines()) {
        let code = code.split("//").next().unwrap_or_default();
        for word in banned.iter().filter(|word| code.contains(*word)) {
            complaints.push(format!("{path}:{line}: `{word}` has no place in `{name}`"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_runs_differ_is_found() {
        let text = "use std::collections::HashMap;\nlet x = y.ln();";
        let complaints = check("sim", "sim/src/net.rs", text);
        assert_eq!(
            complaints,
            [
                "sim/src/net.rs:1: `HashMap` has no place in `sim`",
                "sim/src/net.rs:2: `.ln()` has no place in `sim`",
            ]
        );
    }

    #[test]
    fn a_protocol_that_draws_or_waits_is_found() {
        let complaints = check("protocols", "protocols/src/raft/mod.rs", "use rand::Rng;");
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn a_host_that_knows_its_world_is_found() {
        assert_eq!(check("node", "node/src/host.rs", "use sim::World;").len(), 1);
        assert_eq!(check("node", "node/src/host.rs", "let r: Raft;").len(), 1);
    }

    #[test]
    fn only_one_file_opens_real_files() {
        assert_eq!(check("storage", "storage/src/lsm/mod.rs", "use std::fs::File;").len(), 1);
        assert_eq!(check("storage", "storage/src/std_fs.rs", "use std::fs::File;").len(), 0);
    }

    #[test]
    fn comments_and_tests_are_free() {
        assert_eq!(check("sim", "sim/src/net.rs", "// no HashMap here").len(), 0);
        assert_eq!(check("sim", "sim/examples/speed.rs", "Instant::now()").len(), 0);
    }
}

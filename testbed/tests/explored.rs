//! Exploration finds what is planted, and nothing where nothing is. What it found is saved in `explored/`: each
//! counterexample is carried out again, with its bug and without.

use std::fs;
use std::path::PathBuf;

use seedbed_testbed::explore::{Bounds, Ending, Exploration, Order, Outcome, Search, Trace};
use seedbed_testbed::replay::Saved;
use seedbed_testbed::{Bug, Bugs, registry};

fn counterexamples() -> Vec<(PathBuf, Trace)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/explored");
    let files = fs::read_dir(folder).expect("the folder can be listed");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let load = |path: PathBuf| match Saved::load(&path).unwrap_or_else(|error| panic!("{error}")) {
        Saved::Exploration(trace) => (path, *trace),
        Saved::Run(_) => panic!("{} is the replay of a run", path.display()),
    };
    paths.into_iter().map(load).collect()
}

#[test]
fn counterexamples_break_the_same_law_again() {
    let all = counterexamples();
    assert!(all.len() >= 10, "at least ten bugs are found by exploration");
    for (path, trace) in all {
        let ready = registry::explore(&trace.exploration).unwrap_or_else(|error| panic!("{error}"));
        let followed = ready.follow(&trace.actions);
        let path = path.display();
        match followed.ending {
            Ending::Broken { law, .. } => assert_eq!(law, trace.law, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(followed.steps.len(), trace.actions.len(), "{path}: it is the last action that breaks it");
    }
}

/// Without its bug the protocol does not let itself be led there, or nothing is broken at the end.
#[test]
fn without_the_bug_nothing_is_broken() {
    for (path, mut trace) in counterexamples() {
        assert!(trace.exploration.bugs.0.is_some(), "{}: something is planted", path.display());
        trace.exploration.bugs = Bugs::NONE;
        let ready = registry::explore(&trace.exploration).unwrap_or_else(|error| panic!("{error}"));
        let ending = ready.follow(&trace.actions).ending;
        assert!(!matches!(ending, Ending::Broken { .. }), "{}: {ending:?}", path.display());
    }
}

fn explore(protocol: &str, options: &str, bug: Option<Bug>, bounds: Bounds) -> Outcome {
    let options = serde_json::from_str(options).expect("options are a table");
    let exploration = Exploration { protocol: protocol.to_owned(), options, bugs: Bugs(bug), bounds };
    let ready = registry::explore(&exploration).unwrap_or_else(|error| panic!("{error}"));
    ready.search(Search { order: Order::Breadth, threads: 1 }).finish()
}

const PLAIN: &str = r#"{"pre-vote": false, "check-quorum": false}"#;

#[test]
fn a_shortest_counterexample_is_found() {
    let bounds = Bounds { writes: 0, epochs: Some(1), ..Bounds::default() };
    let outcome = explore("raft", PLAIN, Some(Bug::VoteNotDurable), bounds.clone());
    let found = outcome.found.expect("two are elected by one vote that was forgotten");
    assert_eq!((found.law.as_str(), found.steps.len()), ("one-leader-per-term", 11));
    assert!(!outcome.complete);
    let healthy = explore("raft", PLAIN, None, Bounds { timers: 1, ..bounds });
    assert!(healthy.complete && healthy.found.is_none(), "{healthy:?}");
}

#[test]
fn a_complete_exploration_comes_to_where_it_matters() {
    let bounds = Bounds { timers: 1, crashes: 0, epochs: Some(1), ..Bounds::default() };
    let outcome = explore("raft", PLAIN, None, bounds);
    assert!(outcome.complete && outcome.found.is_none(), "{outcome:?}");
    for situation in ["leader-elected", "entry-committed", "write-answered"] {
        assert!(outcome.reached.contains(&situation), "{situation}: {:?}", outcome.reached);
    }
    assert_eq!(outcome.progress.unique, 1378, "a change of what is told from what changes this");
}

/// VR's log is in memory: whoever leads has it without having written it.
#[test]
fn what_is_kept_in_memory_is_not_looked_for_in_the_journal() {
    let bounds = Bounds { crashes: 0, depth: Some(9), ..Bounds::default() };
    let outcome = explore("vr", "{}", None, bounds);
    assert!(outcome.complete && outcome.found.is_none(), "{outcome:?}");
    assert!(outcome.reached.contains(&"led-twice"), "{:?}", outcome.reached);
}

//! Every planted bug has a replay that turns red: a saved failure that the tests run again, with the
//! bug and without it. Those of the storage engines have a test of the storage crate instead.

use std::path::PathBuf;

use testbed::replay::Replay;
use testbed::{Bug, Verdict};

pub(crate) fn check(replays: &[PathBuf]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut red = Vec::new();
    for path in replays {
        match Replay::load(path) {
            Ok(replay) if matches!(replay.verdict, Verdict::Violation(_)) => red.extend(replay.plan.bugs.0),
            Ok(_) => complaints.push(format!("{}: shows no violation", path.display())),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    let needed = Bug::ALL.iter().filter(|(bug, ..)| !Bug::OF_ENGINES.contains(bug));
    let missing = needed.filter(|(bug, ..)| !red.contains(bug));
    complaints.extend(missing.map(|(bug, ..)| format!("replays/: none shows the planted bug `{bug}`")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_without_a_replay_is_found() {
        assert_eq!(check(&[]).len(), Bug::ALL.len() - Bug::OF_ENGINES.len());
    }
}

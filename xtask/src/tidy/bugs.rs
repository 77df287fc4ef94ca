//! Every planted bug has a replay that turns red: a saved failure that the tests run again, with the
//! bug and without it.

use testbed::replay::Replay;
use testbed::{Bug, Verdict};

pub fn check(replays: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut red = Vec::new();
    for text in replays {
        match Replay::parse("replays/", text) {
            Ok(replay) if matches!(replay.verdict, Verdict::Violation(_)) => red.extend(replay.plan.bugs.0),
            Ok(replay) => complaints.push(format!("a replay of {} shows no violation", replay.plan.scenario)),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    let missing = Bug::ALL.iter().filter(|(bug, ..)| !red.contains(bug));
    complaints.extend(missing.map(|(bug, ..)| format!("replays/: none shows the planted bug `{bug}`")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_without_a_replay_is_found() {
        assert_eq!(check(&[]).len(), Bug::ALL.len());
    }
}

//! Every planted bug is proved to show: by a replay, a saved failure that the tests run again with the bug and
//! without it, or by a test or a golden script that names it.

use std::path::PathBuf;

use testbed::replay::Replay;
use testbed::{Bug, Verdict};

/// `tests`: what stands in the tests and the scripts.
pub(crate) fn check(replays: &[PathBuf], tests: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut red = Vec::new();
    for path in replays {
        match Replay::load(path) {
            Ok(replay) if matches!(replay.verdict, Verdict::Violation(_)) => red.extend(replay.plan.bugs.0),
            Ok(_) => complaints.push(format!("{}: shows no violation", path.display())),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    let named = |bug: &Bug| {
        let (variant, script) = (format!("Bug::{bug:?}"), format!("bug={bug}"));
        let whole = |text: &str, name: &str| {
            text.match_indices(name).any(|(at, _)| {
                !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-')
            })
        };
        tests.iter().any(|text| whole(text, &variant) || whole(text, &script))
    };
    let shown = |bug: &Bug| red.contains(bug) || named(bug);
    let missing = Bug::ALL.iter().filter(|(bug, ..)| !shown(bug));
    let told =
        |(bug, ..): &(Bug, &str, &str)| format!("neither a replay nor a test shows the planted bug `{bug}`");
    complaints.extend(missing.map(told));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_without_a_replay_is_found() {
        assert_eq!(check(&[], &[]).len(), Bug::ALL.len());
        let tests =
            ["plant(Bug::AckBeforeFsyncs)".to_owned(), "cluster bug=vote-not-durable nodes=3".to_owned()];
        assert_eq!(check(&[], &tests).len(), Bug::ALL.len() - 1, "one is named, the other one nearly");
    }
}

//! Every planted bug is proved to show: by a replay, a saved failure that the tests run again with the bug and
//! without it, or by a test or a golden script that names it. `docs/bugs.md` tells of each what the code and its
//! replays say.

use std::path::PathBuf;

use testbed::replay::Replay;
use testbed::{Bug, Verdict};

/// `tests`: what stands in the tests and the scripts. `document`: `docs/bugs.md`.
pub(crate) fn check(replays: &[PathBuf], tests: &[String], document: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut red = Vec::new();
    for path in replays {
        match Replay::load(path) {
            Ok(replay) => match &replay.verdict {
                Verdict::Violation(finding) => {
                    red.extend(replay.plan.bugs.0.map(|bug| (bug, found(&replay, &finding.signature))));
                }
                _ => complaints.push(format!("{}: shows no violation", path.display())),
            },
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
    let shown = |bug: &Bug| red.iter().any(|(shown, _)| shown == bug) || named(bug);
    let missing = Bug::ALL.iter().filter(|(bug, ..)| !shown(bug));
    let told =
        |(bug, ..): &(Bug, &str, &str)| format!("neither a replay nor a test shows the planted bug `{bug}`");
    complaints.extend(missing.map(told));
    complaints.extend(untold(&red, document));
    complaints
}

/// How the document tells of what a replay shows.
fn found(replay: &Replay, signature: &str) -> String {
    let file = replay.scenario.file.trim_start_matches("scenarios/");
    let row = replay.scenario.row.as_ref().map_or_else(String::new, |row| format!(", row `{row}`"));
    format!("`{signature}` in `{file}`{row}, seed {}", replay.plan.seed)
}

/// What the document does not tell of the bugs that need a cluster: what each breaks, and where it was found.
fn untold(red: &[(Bug, String)], document: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (bug, name, about) in Bug::ALL.iter().filter(|(bug, ..)| !Bug::OF_ENGINES.contains(bug)) {
        let begins = format!("| `{name}` |");
        let row = document.lines().find(|line| line.starts_with(&begins)).unwrap_or_default();
        let found = red.iter().filter(|(shown, _)| shown == bug).map(|(_, found)| found.as_str());
        let missing = found.chain([*about]).filter(|text| !row.contains(text));
        complaints
            .extend(missing.map(|text| format!("docs/bugs.md: the row of `{name}` does not say: {text}")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document that tells what every bug breaks.
    fn document() -> String {
        Bug::ALL.iter().map(|(_, name, about)| format!("| `{name}` | - | {about} |\n")).collect()
    }

    #[test]
    fn a_bug_without_a_replay_is_found() {
        assert_eq!(check(&[], &[], &document()).len(), Bug::ALL.len());
        let tests =
            ["plant(Bug::AckBeforeFsyncs)".to_owned(), "cluster bug=vote-not-durable nodes=3".to_owned()];
        let complaints = check(&[], &tests, &document());
        assert_eq!(complaints.len(), Bug::ALL.len() - 1, "one is named, the other one nearly");
    }

    #[test]
    fn a_document_that_tells_otherwise_is_found() {
        assert_eq!(untold(&[], &document()), Vec::<String>::new());
        assert_eq!(untold(&[], "").len(), Bug::ALL.len() - Bug::OF_ENGINES.len());
        let red = [(Bug::AckBeforeFsync, "`log-matching` in `a.toml`, seed 3".to_owned())];
        assert_eq!(untold(&red, &document()).len(), 1, "where it was found is not told");
        let about = format!("| `ack-before-fsync` | - | {} |", Bug::ALL[0].2);
        let told = document().replace(&about, &format!("{about} `log-matching` in `a.toml`, seed 3 |"));
        assert_eq!(untold(&red, &told), Vec::<String>::new());
    }
}

//! `cargo xtask scenarios`: which scenario stands for which test of the courses, what it asserts, and which
//! planted bug turns it red. `docs/scenarios.md` is what this prints, and tidy compares the two.
//!
//! All of it is read from where it is used: rows and expectations from the scenario files, bugs and seeds from
//! `scenarios/course/planted.tsv`, golden scripts from `protocols/testscripts/courses.tsv`. Tests run both
//! tables again (`testbed/tests/courses.rs`, `protocols/tests/scripts`), so that what is printed is true.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use contract::{Seed, Time};
use testbed::plan::Plan;
use testbed::scenario::Scenario;

/// The families, each a file with a row for each test: or single scenarios that stand for one.
const FAMILIES: [(&str, &str, &[&str]); 5] = [
    (
        "Raft itself",
        "MIT 6.5840 `raft1`, talent-plan `dss`, MadRaft, TinyKV 2A",
        &["course/raft.toml", "raft/figure-8-unreliable.toml"],
    ),
    (
        "Key-value service",
        "MIT 6.5840 `kvraft`, talent-plan `dss`",
        &["course/kv.toml", "kv/one-partition.toml"],
    ),
    ("Replicated state machine", "MIT 6.5840 `rsm`", &["course/rsm.toml"]),
    ("Sharded store", "MIT 6.5840 `shardkv`, TinyKV 3B", &["course/shards.toml"]),
    (
        "Transactions",
        "talent-plan `percolator`, TinyKV's timestamp oracle, Hermitage's names",
        &["course/percolator.toml", "percolator/write-skew.toml"],
    ),
];

const INTRODUCTION: &str = "\
# The courses' tests, and what turns them red

<!-- Printed by `cargo xtask scenarios`, which `cargo xtask tidy` compares with this file. -->

Each test of the courses is a row of a scenario file: `seedbed run FILE --row ROW`. It is judged by the laws of
every run (linearizability, the monitors, progress after the last fault) and by expectations of its own, which say
what the test is about. A test that cannot fail proves nothing: so for each row a bug is planted, with which
the seed beside it is red, by what stands in the last column: an expectation, the law that is broken
first, or a situation that is not reached. `testbed/tests/courses.rs` runs them all, and `seedbed run FILE --row ROW --bug BUG --seed SEED` one. A dash
says that none of the planted bugs is known to turn the row red.
";

const SCRIPTS: &str = "
## Golden scripts

Tests of single steps are scripts of commands and messages, one file each in `protocols/testscripts`. What such a
test asserts is its whole text. With the bug beside it planted it comes out otherwise, as `protocols/tests`
checks; a dash says that none of the planted bugs changes it.
";

/// What `docs/scenarios.md` should be.
pub(crate) fn document(root: &Path) -> Result<String, String> {
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path));
        text.map_err(|error| format!("{path}: {error}"))
    };
    let planted = read("scenarios/course/planted.tsv")?;
    let mut planted = planted
        .lines()
        .skip(1)
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [file, row, bug, seed, shows] => Ok(((file.to_owned(), row.to_owned()), (bug, seed, shows))),
            _ => Err(format!("scenarios/course/planted.tsv: `{line}` has not five fields")),
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut text = INTRODUCTION.to_owned();
    let (mut rows, mut red) = (0, 0);
    for (title, suites, files) in FAMILIES {
        let _ = write!(text, "\n## {title}\n\n{suites}.\n\n");
        text += "| Test | File | Expects | Planted | Seed | Red by |\n|---|---|---|---|---|---|\n";
        for file in files {
            let scenarios = Scenario::parse_all(file, &read(&format!("scenarios/{file}"))?, &[]);
            for scenario in scenarios.map_err(|error| error.to_string())? {
                let row = scenario.source().row.as_deref().unwrap_or("-");
                let name = if row == "-" { scenario.name() } else { row.to_owned() };
                let plan = scenario.plan(Seed(0), None).map_err(|error| error.to_string())?;
                let key = ((*file).to_owned(), row.to_owned());
                let (bug, seed, shows) = planted.remove(&key).unwrap_or(("-", "-", "-"));
                let bug = if bug == "-" { "-".to_owned() } else { format!("`{bug}`") };
                rows += 1;
                red += u32::from(bug != "-");
                let expects = expectations(&plan);
                let _ = writeln!(text, "| {name} | `{file}` | {expects} | {bug} | {seed} | {shows} |");
            }
        }
    }
    if let Some((file, row)) = planted.keys().next() {
        return Err(format!("scenarios/course/planted.tsv: {file} has no row {row}"));
    }
    let _ = writeln!(text, "\nOf {rows} rows {red} have a planted bug that turns them red.");
    text += SCRIPTS;
    text += "\n| Suite | Case | Script | Planted |\n|---|---|---|---|\n";
    for line in read("protocols/testscripts/courses.tsv")?.lines().skip(1) {
        let [suite, case, protocol, script, bug] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("protocols/testscripts/courses.tsv: `{line}` has not five fields"));
        };
        let bug = if bug == "-" { "-".to_owned() } else { format!("`{bug}`") };
        let _ = writeln!(text, "| {suite} | {case} | `{protocol}/{script}` | {bug} |");
    }
    Ok(text)
}

/// Whether the document that stands is what should.
pub(crate) fn check(stands: &str, should: &Result<String, String>) -> Vec<String> {
    match should {
        Ok(should) if should == stands => Vec::new(),
        Ok(_) => {
            vec!["docs/scenarios.md: is not what `cargo xtask scenarios` prints; write it anew".to_owned()]
        }
        Err(error) => vec![error.clone()],
    }
}

/// What a row expects of its numbers, and within which part of the run.
fn expectations(plan: &Plan) -> String {
    let told = plan.expectations.iter().map(|expected| {
        let window = match (expected.from > Time::ZERO, expected.until < plan.until) {
            (false, false) => String::new(),
            (true, false) => format!(" from {}", expected.from),
            (false, true) => format!(" until {}", expected.until),
            (true, true) => format!(" from {} to {}", expected.from, expected.until),
        };
        format!("{}: `{}`{window}", expected.name, expected.that)
    });
    let reached = plan.checks.sometimes.iter().map(|situation| format!("reaches {}", situation.situation));
    let all: Vec<String> = told.chain(reached).collect();
    if all.is_empty() { "the laws of every run".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_fell_behind_is_found() {
        let should = Ok("as it is".to_owned());
        assert!(check("as it is", &should).is_empty());
        assert!(check("as it was", &should).concat().contains("write it anew"));
        assert_eq!(check("", &Err("a table is broken".to_owned())), ["a table is broken"]);
    }
}

//! One file for each command, and what several of them share.

pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod explore;
pub(crate) mod list;
pub(crate) mod replay;
mod retrace;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod shrink;
pub(crate) mod storage;
pub(crate) mod sweep;

use testbed::Seed;
use testbed::explore::Step;
use testbed::scenario::Source;

use crate::args::Changes;
use crate::text::quoted;

/// The command that runs one seed again.
pub(crate) fn reproduce(scenario: &Source, changes: &Changes, seed: Seed) -> String {
    let mut words = vec!["seedbed".to_owned(), "run".to_owned(), quoted(&scenario.file)];
    words.extend(scenario.row.iter().flat_map(|row| ["--row".to_owned(), row.clone()]));
    words.extend(["--seed".to_owned(), seed.to_string()]);
    words.extend(changed(changes));
    words.join(" ")
}

/// The arguments that change a scenario, as they were given.
pub(crate) fn changed(changes: &Changes) -> Vec<String> {
    let set = changes.set.iter().flat_map(|set| ["--set".to_owned(), quoted(set)]);
    let bug = changes.bug.iter().flat_map(|bug| ["--bug".to_owned(), bug.to_string()]);
    set.chain(bug).collect()
}

/// The steps of a counterexample, one a line.
pub(crate) fn numbered(steps: &[Step]) -> String {
    (1..).zip(steps).map(|(number, step)| format!("{number:>4}  {step}\n")).collect()
}

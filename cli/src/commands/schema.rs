//! `seedbed schema`

use testbed::scenario;

use crate::exit::Exit;
use crate::term::{Out, Term};

/// Prints the schema of scenario files.
pub(crate) fn run(term: &Term) -> Exit {
    let text = serde_json::to_string_pretty(&scenario::schema()).expect("a schema is plain data");
    term.write(Out::Stdout, &(text + "\n"));
    Exit::Holds
}

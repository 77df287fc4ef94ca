//! The counterexample of an exploration, carried out again.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testbed::explore::{Ending, Trace};
use testbed::registry;

use super::numbered;
use crate::args::ReplayArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::term::{Out, Style, Term};

/// Carries it out, and tells whether the same law is broken.
pub(super) fn one(
    args: &ReplayArgs,
    (file, trace): (&Path, &Trace),
    out: Out,
    term: &Term,
) -> Result<(Exit, Value), Problem> {
    let refuse = |error| Problem::Exploration(format!("{}: {error}", file.display()));
    let ready = registry::explore(&trace.exploration).map_err(refuse)?;
    let followed = ready.follow(&trace.actions);
    let whole = followed.steps.len() == trace.actions.len();
    let same = whole && matches!(&followed.ending, Ending::Broken { law, .. } if *law == trace.law);
    let steps = numbered(&followed.steps);
    if let Some(path) = &args.trace {
        fs::write(path, &steps).map_err(|error| Problem::Write(path.clone(), error))?;
    }
    let mut text = format!("{}\n", term.paint(out, Style::Bold, file.display()));
    let bug = trace.exploration.bugs.0.map_or(String::new(), |bug| format!(", with {bug} planted"));
    text += &format!("exploration {}{bug}\n{steps}", trace.exploration.protocol);
    let now = match &followed.ending {
        Ending::Broken { law, message } => format!("{law}: {message}"),
        Ending::Holds => "all laws hold".to_owned(),
        Ending::Impossible { possible } => {
            let action = trace.actions.get(followed.steps.len()).map_or("", String::as_str);
            format!("`{action}` is not possible there; possible is\n    {}", possible.join("\n    "))
        }
    };
    let exit = if same {
        text += &format!("reproduced  {}\n", term.paint(out, Style::Red, &now));
        Exit::Violation
    } else {
        let diverged = term.paint(out, Style::Red, "diverged");
        text += &format!("{diverged}\n  saved {}: {}\n  now   {now}\n", trace.law, trace.message);
        Exit::Diverged
    };
    term.write(out, &(text + "\n"));
    let saved = json!({ "law": trace.law, "message": trace.message });
    Ok((exit, json!({ "file": file, "reproduced": same, "followed": followed, "saved": saved })))
}

//! `seedbed history convert`: a history in another format.

use std::fs;

use testbed::checker::Budget;
use testbed::checker::formats::{edn, jsonl};

use super::check::read;
use crate::args::{ConvertArgs, Target};
use crate::exit::Exit;
use crate::problem::{BadHistory, Problem};
use crate::term::{Out, Term};

/// Reads, converts and writes it.
pub(crate) fn run(args: &ConvertArgs, term: &Term) -> Result<Exit, Problem> {
    let (mut recording, model, text) = read(&args.file, &args.reading).map_err(Problem::History)?;
    if let Some(model) = model {
        recording.model = Some(model.name().to_owned());
    }
    let converted = match args.to {
        Target::Jsonl => jsonl::write(&recording),
        Target::Edn => edn::write(&recording),
        Target::Porcupine => {
            let document =
                recording.model(None).and_then(|model| model.porcupine(&recording, Budget::default()));
            let bad = |error| Problem::History(Box::new(BadHistory { path: args.file.clone(), text, error }));
            format!("{}\n", document.map_err(bad)?)
        }
    };
    match &args.out {
        Some(path) => fs::write(path, converted).map_err(|error| Problem::Write(path.clone(), error))?,
        None => term.write(Out::Stdout, &converted),
    }
    Ok(Exit::Holds)
}

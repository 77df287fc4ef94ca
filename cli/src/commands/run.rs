//! `seedbed run`: one scenario, one seed.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

use serde_json::json;
use testbed::checker::formats::jsonl;
use testbed::scenario::Scenario;
use testbed::{RunOptions, Seed, Verdict};

use super::reproduce;
use crate::args::RunArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::show;
use crate::stopwatch::Stopwatch;
use crate::term::{Out, Style, Term};

/// Runs it and tells what it came to.
pub(crate) fn run(args: &RunArgs, term: &Term) -> Result<Exit, Problem> {
    let scenario = Scenario::load_row(&args.scenario, &args.changes.set, args.changes.row.as_deref())?;
    let plan = scenario.plan(Seed(args.seed), args.changes.bug)?;
    // Opened before the run: nobody wants to learn of a bad path after it.
    let history = match args.history.as_deref() {
        Some(path) => Some((plan.recorded().map_err(Problem::NotRecorded)?, Lines::create(path)?)),
        None => None,
    };
    let trace = args.trace.as_deref().map(Lines::create).transpose()?;

    let watch = Stopwatch::start();
    let trace_line =
        trace.clone().map(|lines| Box::new(move |line: &str| lines.write(line)) as Box<dyn FnMut(&str)>);
    let run = testbed::run(&plan, RunOptions { trace: trace_line, keep_history: history.is_some() });
    let took = watch.elapsed();

    if let Some((recorded, lines)) = &history {
        jsonl::write(&run.recording(*recorded)).lines().for_each(|line| lines.write(line));
    }
    for lines in [history.map(|(_, lines)| lines), trace].into_iter().flatten() {
        lines.finish()?;
    }
    let report = run.report;
    let again = reproduce(scenario.source(), &args.changes, report.seed);
    if args.json {
        let document = json!({ "report": &report, "plan": &plan, "reproduce": &again });
        term.write(Out::Stdout, &format!("{document:#}\n"));
    }
    let out = Term::people(args.json);
    let mut text = show::report(&plan, &report, took, out, term);
    if report.verdict != Verdict::Ok {
        text += &format!("{} {again}\n", term.paint(out, Style::Bold, "reproduce: "));
    }
    term.write(out, &text);
    Ok(Exit::of(&report.verdict))
}

/// A file that is written line by line. The first error is kept until the end: a run is not stopped
/// in the middle for it.
#[derive(Clone)]
struct Lines {
    path: std::path::PathBuf,
    state: Rc<RefCell<(BufWriter<File>, io::Result<()>)>>,
}

impl Lines {
    fn create(path: &Path) -> Result<Self, Problem> {
        let file = File::create(path).map_err(|error| Problem::Write(path.to_owned(), error))?;
        let state = Rc::new(RefCell::new((BufWriter::new(file), Ok(()))));
        Ok(Self { path: path.to_owned(), state })
    }

    fn write(&self, line: &str) {
        let (file, result) = &mut *self.state.borrow_mut();
        if result.is_ok() {
            *result = writeln!(file, "{line}");
        }
    }

    fn finish(self) -> Result<(), Problem> {
        let (file, result) = &mut *self.state.borrow_mut();
        let result = std::mem::replace(result, Ok(())).and_then(|()| file.flush());
        result.map_err(|error| Problem::Write(self.path.clone(), error))
    }
}

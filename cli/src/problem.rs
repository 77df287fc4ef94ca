//! Errors that a user can cause, and how they are shown.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity,
};
use testbed::NotRecorded;
use testbed::checker::Consistency;
use testbed::checker::formats::FormatError;
use testbed::checker::isolation::Level;
use testbed::checker::models::AnyModel;
use testbed::replay::ReplayError;
use testbed::scenario::{Diagnostic, ScenarioError, nearest};
use testbed::storage::inspect::NotOurs;

use crate::term::{Out, Style, Term};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A scenario that is none.
    Scenario(ScenarioError),
    /// A replay that is none.
    Replay(ReplayError),
    /// A history that is none, or not of the model.
    History(Box<BadHistory>),
    /// A scenario whose runs leave no history.
    NotRecorded(NotRecorded),
    /// A folder without a store in it.
    NoStore(PathBuf),
    /// A file that is none of a store's.
    NoFileOfAStore(PathBuf, NotOurs),
    /// An exploration that cannot be made.
    Exploration(String),
    /// A file that could not be read.
    Read(PathBuf, io::Error),
    /// A file that could not be written.
    Write(PathBuf, io::Error),
}

/// A file that was to hold a history.
#[derive(Debug)]
pub(crate) struct BadHistory {
    /// Which file.
    pub(crate) path: PathBuf,
    /// What it holds; empty if it could not be read.
    pub(crate) text: String,
    /// What is wrong.
    pub(crate) error: FormatError,
}

/// A line longer than this is not shown: some histories are one line.
const LINE_BYTES_MAX: usize = 400;

impl From<ScenarioError> for Problem {
    fn from(error: ScenarioError) -> Self {
        Self::Scenario(error)
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl Problem {
    /// Tells the user, on stderr.
    pub(crate) fn show(&self, term: &Term) {
        match self {
            Self::Scenario(error @ ScenarioError::Unreadable { path, .. }) => {
                let help = similar(Path::new(path));
                let usual =
                    || "give the path of a scenario file, such as scenarios/quickstart.toml".to_owned();
                error_line(term, error, Some(help.unwrap_or_else(usual)));
            }
            Self::Scenario(ScenarioError::Invalid { diagnostics }) => {
                for diagnostic in diagnostics {
                    term.write(Out::Stderr, &graphical(diagnostic, term));
                }
            }
            Self::Replay(error) => error_line(term, error, None),
            Self::History(bad) => bad.show(term),
            Self::NotRecorded(why) => {
                error_line(term, "`--history` has nothing to write", Some(why.to_string()));
            }
            Self::NoStore(path) => error_line(
                term,
                format!("{}: there is no store in it or below it", path.display()),
                Some("a store has a file CURRENT (LSM), data (B-tree), *.segment (log-structured) or *.journal".to_owned()),
            ),
            Self::NoFileOfAStore(path, error) => error_line(term, format!("{}: {error}", path.display()), None),
            Self::Exploration(error) => error_line(term, error, None),
            Self::Read(path, error) | Self::Write(path, error) => {
                error_line(term, format!("{}: {error}", path.display()), None)
            }
        }
    }
}

impl BadHistory {
    /// Tells the user, with the line and a mark under it.
    fn show(&self, term: &Term) {
        let message = self.message();
        let help = match &self.error {
            FormatError::NoModel => {
                Some("give one with --model; `seedbed list models` shows them".to_owned())
            }
            FormatError::NoFormat => Some("give one with --format".to_owned()),
            FormatError::UnknownModel(name) => nearest(name, AnyModel::all().map(AnyModel::name))
                .map(|name| format!("did you mean --model {name}?")),
            FormatError::NoRegister(_) => Some(
                "give --consistency linearizable, sequential or stale-bounded=DURATION, which are about any \
                 model, or a --model of registers: kv, register, cas-register"
                    .to_owned(),
            ),
            FormatError::NoLevel(..) => {
                let levels = Level::ALL.map(Level::name).join(", ");
                Some(format!("give --consistency one of {levels}"))
            }
            FormatError::NoPromise(..) => {
                let promises = Consistency::NAMED.map(|(_, name)| name).join(", ");
                Some(format!("give --consistency one of {promises}, or a --model of transactions"))
            }
            FormatError::Io { .. } => similar(&self.path),
            _ => None,
        };
        let place = self.error.line().and_then(|line| Some((line, self.line(line)?)));
        let Some((line, span)) = place else {
            let path = self.path.display();
            let place = self.error.line().map_or_else(|| path.to_string(), |line| format!("{path}:{line}"));
            return error_line(term, format!("{place}: {message}"), help);
        };
        let diagnostic = Diagnostic {
            source: self.path.display().to_string(),
            text: self.text.as_str().into(),
            line,
            column: 1,
            span,
            message,
            help,
        };
        term.write(Out::Stderr, &graphical(&diagnostic, term));
    }

    /// What is wrong, without the place.
    pub(crate) fn message(&self) -> String {
        let text = match &self.error {
            FormatError::Io { source, .. } => source.to_string(),
            error => error.to_string(),
        };
        let place = self.error.line().map_or(String::new(), |line| format!("line {line}: "));
        text.strip_prefix(&place).unwrap_or(&text).to_owned()
    }

    /// Where a line stands in the text, if it can be shown.
    fn line(&self, line: usize) -> Option<Range<usize>> {
        let lines = self.text.split_inclusive('\n');
        let start = lines.clone().take(line - 1).map(str::len).sum();
        let content = lines.clone().nth(line - 1)?.trim_end();
        (content.len() <= LINE_BYTES_MAX).then(|| start..start + content.len())
    }
}

fn error_line(term: &Term, what: impl Display, help: Option<String>) {
    let mut text = format!("{}: {what}\n", term.paint(Out::Stderr, Style::Red, "error"));
    if let Some(help) = help {
        text += &format!("  {}: {help}\n", term.paint(Out::Stderr, Style::Bold, "help"));
    }
    term.write(Out::Stderr, &text);
}

/// The file that a misspelt path most likely means.
fn similar(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension() == path.extension())
        .collect();
    let name = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(format!("did you mean {}?", path.with_file_name(name).display()))
}

/// The diagnostic with its line and a mark under its place.
fn graphical(diagnostic: &Diagnostic, term: &Term) -> String {
    let label = LabeledSpan::underline(diagnostic.span.clone());
    let mut shown =
        MietteDiagnostic::new(&diagnostic.message).with_severity(Severity::Error).with_label(label);
    shown.help = diagnostic.help.clone();
    let source = NamedSource::new(&diagnostic.source, diagnostic.text.to_string());
    let report = Report::new(shown).with_source_code(source);
    let theme = match term.colour(Out::Stderr) {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::unicode_nocolor(),
    };
    let mut text = String::new();
    GraphicalReportHandler::new_themed(theme)
        .with_context_lines(1)
        .with_width(100)
        .render_report(&mut text, report.as_ref())
        .expect("a string takes all that is written to it");
    text
}

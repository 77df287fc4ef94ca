//! Errors that a user can cause, and how they are shown.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity,
};
use testbed::replay::ReplayError;
use testbed::scenario::{Diagnostic, ScenarioError, nearest};

use crate::term::{Out, Style, Term};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A scenario that is none.
    Scenario(ScenarioError),
    /// A replay that is none.
    Replay(ReplayError),
    /// A file that could not be written.
    Write(PathBuf, io::Error),
}

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
            Self::Write(path, error) => error_line(term, format!("{}: {error}", path.display()), None),
        }
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
        .filter(|name| name.ends_with(".toml"))
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

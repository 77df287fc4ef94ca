//! What is wrong with a scenario, where, and what to write instead.
//!
//! A scenario is read from several texts: its file and each `--set`. They share one line of byte
//! positions, laid end to end, so that a span alone tells which text it lies in.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A scenario that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system said.
        cause: String,
    },
    /// The text is no scenario. At least one diagnostic, in order of place.
    #[error("{}", Rendered(diagnostics))]
    Invalid {
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
}

impl ScenarioError {
    /// What is wrong with the text; empty if the file could not be read at all.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { diagnostics } => diagnostics,
        }
    }
}

/// One thing that is wrong. Its `Display` is plain text with a caret under the span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, or `--set`.
    pub source: String,
    /// The whole text of the file, or of the override.
    pub text: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The bytes of `text` it is about.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.text.lines().nth(self.line - 1).unwrap_or_default();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let rest_of_line = line.chars().count().saturating_sub(self.column - 1);
        let width = self.text[self.span.clone()].chars().count().clamp(1, rest_of_line.max(1));
        writeln!(f, "{}:{}:{}: {}", self.source, self.line, self.column, self.message)?;
        writeln!(f, "{number} | {}", line.replace('\t', " "))?;
        write!(f, "{margin} | {}{}", " ".repeat(self.column - 1), "^".repeat(width))?;
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

struct Rendered<'a>(&'a [Diagnostic]);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            write!(f, "{}{diagnostic}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// A place in the texts of a scenario.
pub(super) type Span = Range<usize>;

/// The texts of a scenario, end to end.
#[derive(Debug)]
pub(super) struct Sources {
    texts: Vec<(String, Arc<str>)>,
}

impl Sources {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self { texts: vec![(file.to_owned(), text.into())] }
    }

    /// Adds a text and returns the position of its first byte.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        let base = self.texts.iter().map(|(_, text)| text.len() + 1).sum();
        self.texts.push((name.to_owned(), text.into()));
        base
    }

    fn locate(&self, span: &Span) -> (&str, &Arc<str>, Span) {
        let mut base = 0;
        for (name, text) in &self.texts {
            // One position more than bytes, so that the end of a text is a place in it.
            if span.start <= base + text.len() {
                let start = floor_char(text, span.start - base);
                let end = floor_char(text, span.end.saturating_sub(base).min(text.len()));
                return (name, text, start..end.max(start));
            }
            base += text.len() + 1;
        }
        unreachable!("a span lies in one of the texts it was made from")
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Collects what is wrong, so that one look at a file finds several errors.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<(Span, String, Option<String>)>,
}

impl Problems {
    /// Notes something that is wrong. Returns `None`, for decoders to hand on.
    pub(super) fn add<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.found.push((span, message.into(), None));
        None
    }

    /// Notes something that is wrong and what to write instead.
    pub(super) fn add_with_help<T>(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.found.push((span, message.into(), Some(help.into())));
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The error to report.
    ///
    /// # Panics
    /// If nothing is wrong.
    pub(super) fn into_error(mut self, sources: &Sources) -> ScenarioError {
        assert!(!self.found.is_empty(), "an error says what is wrong");
        self.found.sort_by_key(|(span, ..)| span.start);
        self.found.dedup();
        // What encloses another mistake is most likely its consequence.
        let inner: Vec<Span> = self.found.iter().map(|(span, ..)| span.clone()).collect();
        let encloses = |outer: &Span, span: &Span| {
            outer != span && outer.start <= span.start && span.end <= outer.end && !span.is_empty()
        };
        self.found.retain(|(span, ..)| !inner.iter().any(|other| encloses(span, other)));
        let diagnostics = self.found.into_iter().map(|(span, message, help)| {
            let (source, text, span) = sources.locate(&span);
            let before = &text[..span.start];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Diagnostic {
                source: source.to_owned(),
                text: Arc::clone(text),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                span,
                message,
                help,
            }
        });
        ScenarioError::Invalid { diagnostics: diagnostics.collect() }
    }
}

/// The known name that a misspelt one most likely stands for.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), candidate);
    let best = known.into_iter().min_by_key(distance)?;
    // A third of the letters: enough for a slip or two, too little for another word.
    (distance(&best) <= (name.chars().count().max(best.len()) / 3).max(1)).then_some(best)
}

/// Help for a name that is not among the known ones.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(best) => format!("did you mean `{best}`?"),
        None => format!("known: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

//! Where text goes, and whether it may be coloured.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

/// What is known of the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// Whether someone watches stderr, so that a moving bar makes sense.
    pub(crate) watched: bool,
    colour_out: bool,
    colour_err: bool,
}

/// A terminal's way to make text stand out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

/// Text for people, on stdout or, where stdout is a document for machines, on stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Out {
    Stdout,
    Stderr,
}

impl Term {
    /// Looks at the process's streams. `NO_COLOR` with any content turns colours off.
    pub(crate) fn detect() -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self { watched: err, colour_out: colour && out, colour_err: colour && err }
    }

    /// Where text for people goes.
    pub(crate) fn people(json: bool) -> Out {
        if json { Out::Stderr } else { Out::Stdout }
    }

    /// Whether text that goes there may be coloured.
    pub(crate) fn colour(&self, out: Out) -> bool {
        match out {
            Out::Stdout => self.colour_out,
            Out::Stderr => self.colour_err,
        }
    }

    /// Writes text as it is. A reader that went away is no error: nobody is left to tell.
    pub(crate) fn write(&self, out: Out, text: &str) {
        let _ = match out {
            Out::Stdout => io::stdout().lock().write_all(text.as_bytes()),
            Out::Stderr => io::stderr().lock().write_all(text.as_bytes()),
        };
    }

    /// Text in a style, if it may be coloured there.
    pub(crate) fn paint<T: Display>(&self, out: Out, style: Style, text: T) -> Painted<T> {
        Painted { style: self.colour(out).then_some(style), text }
    }
}

/// Text in a style.
pub(crate) struct Painted<T> {
    style: Option<Style>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.style {
            None => return self.text.fmt(f),
            Some(Style::Bold) => 1,
            Some(Style::Dim) => 2,
            Some(Style::Red) => 31,
            Some(Style::Green) => 32,
            Some(Style::Yellow) => 33,
        };
        write!(f, "\x1b[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

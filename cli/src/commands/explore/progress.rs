//! What is seen of an exploration while it runs, on stderr: a line that moves on a terminal, else one
//! now and then.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use testbed::explore::Progress;

use crate::memory::Memory;
use crate::term::{Out, Term};
use crate::text::{bytes, count, short, span};

/// How often a line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The line.
pub(super) struct Line {
    bar: ProgressBar,
    term: Term,
    time: Option<Duration>,
    last: Cell<Duration>,
}

impl Line {
    /// For an exploration that may take so long.
    pub(super) fn start(time: Option<Duration>, term: &Term) -> Self {
        let target = if term.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{elapsed_precise} {spinner} {msg}");
        bar.set_style(style.expect("the template is well-formed"));
        Self { bar, term: *term, time, last: Cell::new(Duration::ZERO) }
    }

    /// Shows how far the exploration is.
    pub(super) fn tick(&self, progress: Progress, elapsed: Duration, memory: Option<Memory>) {
        let rate = progress.unique as f64 / elapsed.as_secs_f64().max(1e-3);
        let mut text =
            format!("{} states, {} deep, {} states/s", count(progress.unique), progress.depth, short(rate));
        if let Some(memory) = memory {
            text += &format!(", {}", bytes(memory.now));
        }
        if let Some(time) = self.time {
            text += &format!(", {} left", span(time.saturating_sub(elapsed)));
        }
        if self.term.watched {
            self.bar.set_message(text);
            self.bar.tick();
        } else if elapsed >= self.last.get() + LINE_EVERY {
            self.last.set(elapsed);
            self.term.write(Out::Stderr, &format!("{} {text}\n", span(elapsed)));
        }
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

//! What is seen of a sweep while it runs, on stderr: a bar on a terminal, else a line now and then.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Part;
use crate::args::SweepArgs;
use crate::term::{Out, Term};
use crate::text::{count, counted, short, span};

/// How often a line is written where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Findings that are named in the bar.
const NAMED: usize = 3;

/// The bar, or what stands in its place.
pub(super) struct Progress {
    bar: ProgressBar,
    term: Term,
    places: Option<u64>,
    time: Option<Duration>,
    last_line: Cell<Duration>,
}

impl Progress {
    /// For a sweep of so many runs.
    pub(super) fn start(args: &SweepArgs, places: u64, term: &Term) -> Self {
        // A sweep that only time or the user ends has no length.
        let places = args.seeds.as_ref().is_some_and(|seeds| !seeds.is_open()).then_some(places);
        let target = if term.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(places, target);
        let template = match places {
            Some(_) => "{elapsed_precise} {bar:30} {human_pos}/{human_len} runs  {msg}",
            None => "{elapsed_precise} {spinner} {human_pos} runs  {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        Self { bar, term: *term, places, time: args.time, last_line: Cell::new(Duration::ZERO) }
    }

    /// Says something without disturbing the bar.
    pub(super) fn say(&self, line: &str) {
        if self.term.watched {
            self.bar.println(line);
        } else {
            self.term.write(Out::Stderr, &format!("{line}\n"));
        }
    }

    /// Shows how far the sweep is.
    pub(super) fn tick(&self, parts: &[Part], elapsed: Duration) {
        let runs: u64 = parts.iter().map(|part| part.tally.runs).sum();
        if self.term.watched {
            self.bar.set_position(runs);
            self.bar.set_message(self.message(parts, runs, elapsed));
            self.bar.tick();
        } else if elapsed >= self.last_line.get() + LINE_EVERY {
            self.last_line.set(elapsed);
            let of = self.places.map_or(String::new(), |places| format!(" of {}", count(places)));
            let message = self.message(parts, runs, elapsed);
            self.say(&format!("{} {}{of} runs, {message}", span(elapsed), count(runs)));
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn message(&self, parts: &[Part], runs: u64, elapsed: Duration) -> String {
        let rate = runs as f64 / elapsed.as_secs_f64().max(1e-3);
        let mut text = format!("{} runs/s", short(rate));
        let by_seeds = self.places.filter(|_| runs > 0).map(|places| (places - runs) as f64 / rate);
        let by_time = self.time.map(|time| time.saturating_sub(elapsed).as_secs_f64());
        if let Some(left) = by_seeds.into_iter().chain(by_time).reduce(f64::min) {
            text += &format!(", {} left", span(Duration::from_secs_f64(left.clamp(0.0, 1e9))));
        }
        let mut findings: Vec<(&str, u64)> = parts
            .iter()
            .flat_map(|part| part.tally.findings.iter().map(|(name, group)| (name.as_str(), group.seeds)))
            .collect();
        findings.sort_by_key(|(_, seeds)| std::cmp::Reverse(*seeds));
        for (signature, seeds) in findings.iter().take(NAMED) {
            text += &format!(", {signature} × {}", count(*seeds));
        }
        if findings.len() > NAMED {
            text += &format!(", {} more", counted((findings.len() - NAMED) as u64, "finding"));
        }
        text
    }
}

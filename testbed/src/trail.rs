//! A thin record of a run's trace, by which a later run finds where it left the path.
//!
//! Of every line of the trace a 16-bit hash is made that covers all lines before it. A few thousand of
//! these marks, evenly spaced, are kept: the first that another run does not share bounds the first
//! line that differs, exactly in a short run, and to one stride in a long one.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::run::TraceSink;

/// The most marks that are kept.
const MARKS_MAX: usize = 4096;

/// The marks of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// How many lines the trace has.
    lines: u64,
    /// After how many lines a mark stands.
    stride: u64,
    /// Four hexadecimal digits each.
    marks: String,
}

/// Where two runs first differ: after so many lines that they share, and before that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// All lines up to this one, counted from 1, are the same.
    pub same: u64,
    /// A line up to this one differs, or is missing in one of the two.
    pub differs_by: u64,
}

/// Makes a [`Trail`] out of a trace.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    hash: u64,
    lines: u64,
    stride: u64,
    marks: Vec<u16>,
}

impl Default for State {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, stride: 1, marks: Vec::new() }
    }
}

impl State {
    fn line(&mut self, line: &str) {
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.lines += 1;
        if !self.lines.is_multiple_of(self.stride) {
            return;
        }
        self.marks.push((self.hash >> 48) as u16);
        if self.marks.len() > MARKS_MAX {
            // Every second mark goes: the others are those of twice the stride.
            let mut place = 0;
            self.marks.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.stride *= 2;
        }
    }
}

impl Recorder {
    /// Where a run sends its trace.
    pub fn sink(&self) -> TraceSink {
        let state = Rc::clone(&self.0);
        Box::new(move |line: &str| state.borrow_mut().line(line))
    }

    /// What was recorded.
    pub fn trail(&self) -> Trail {
        let state = self.0.borrow();
        let marks = state.marks.iter().map(|mark| format!("{mark:04x}")).collect();
        Trail { lines: state.lines, stride: state.stride, marks }
    }
}

impl Trail {
    fn mark(&self, line: u64) -> Option<&str> {
        let place = usize::try_from(line / self.stride - 1).ok()?;
        self.marks.get(4 * place..4 * place + 4)
    }

    /// Where two runs part; `None` if they do not, as far as their marks tell.
    pub fn parting(&self, other: &Self) -> Option<Parting> {
        if self == other || self.stride == 0 || other.stride == 0 {
            return None;
        }
        let stride = self.stride.max(other.stride);
        let shorter = self.lines.min(other.lines);
        let mut line = stride;
        while line <= shorter && self.mark(line) == other.mark(line) {
            line += stride;
        }
        let differs_by = if line <= shorter { line } else { self.lines.max(other.lines) };
        Some(Parting { same: line - stride, differs_by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(lines: impl Iterator<Item = u64>) -> Trail {
        let recorder = Recorder::default();
        let mut sink = recorder.sink();
        lines.for_each(|line| sink(&line.to_string()));
        recorder.trail()
    }

    #[test]
    fn the_first_difference_is_found() {
        let short = trail(0..100);
        assert_eq!(short.parting(&short), None);
        let changed = trail((0..100).map(|line| if line == 41 { 7 } else { line }));
        assert_eq!(short.parting(&changed), Some(Parting { same: 41, differs_by: 42 }));
        assert_eq!(short.parting(&trail(0..90)), Some(Parting { same: 90, differs_by: 100 }));

        let long = trail(0..1_000_000);
        let changed = trail((0..1_000_000).map(|line| if line == 654_321 { 7 } else { line }));
        let Some(Parting { same, differs_by }) = long.parting(&changed) else { panic!("they differ") };
        assert!(same <= 654_321 && 654_321 < differs_by && differs_by - same <= 512, "{same} {differs_by}");
        assert!(long.marks.len() <= 4 * MARKS_MAX);
    }
}

//! `cargo xtask published`: published results, and what comes of them here.

mod elections;
mod partitions;
mod regions;
mod trial;

/// How near to a published value a measured one must be.
#[derive(Clone, Copy)]
enum Tolerance {
    /// Within this share of it.
    Share(f64),
    /// Not above it.
    AtMost,
    /// It is only told.
    Reported,
}

/// A published value and the measured one.
struct Line {
    what: String,
    expected: f64,
    measured: f64,
    unit: &'static str,
    tolerance: Tolerance,
}

impl Line {
    fn holds(&self) -> bool {
        match self.tolerance {
            Tolerance::Share(share) => (self.measured / self.expected - 1.0).abs() <= share,
            Tolerance::AtMost => self.measured <= self.expected,
            Tolerance::Reported => true,
        }
    }

    fn print(&self) {
        let tolerance = match self.tolerance {
            Tolerance::Share(share) => format!("±{:.0} %", share * 100.0),
            Tolerance::AtMost => "at most".to_owned(),
            Tolerance::Reported => "told".to_owned(),
        };
        let off = (self.measured / self.expected - 1.0) * 100.0;
        println!(
            "{:<52} {:>9.2} {:>9.2} {:<3} {off:>+7.1} %  {tolerance:<8} {}",
            self.what,
            self.expected,
            self.measured,
            self.unit,
            if self.holds() { "holds" } else { "DOES NOT HOLD" }
        );
    }
}

/// Prints expected and measured; whether all is within its tolerance.
pub(crate) fn run() -> bool {
    println!("{:<52} {:>9} {:>9}", "", "published", "measured");
    let mut holds = true;
    for section in [elections::figure_16, elections::wide_area, elections::first_timeout, regions::latencies]
    {
        for line in section() {
            line.print();
            holds &= line.holds();
        }
    }
    partitions::print() && holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_fail() {
        let line =
            |measured, tolerance| Line { what: String::new(), expected: 10.0, measured, unit: "", tolerance };
        assert!(line(10.4, Tolerance::Share(0.05)).holds() && !line(10.6, Tolerance::Share(0.05)).holds());
        assert!(line(10.0, Tolerance::AtMost).holds() && !line(10.1, Tolerance::AtMost).holds());
    }

    #[test]
    fn the_first_timeout_follows_its_closed_form() {
        assert!(elections::first_timeout().iter().all(Line::holds));
    }
}

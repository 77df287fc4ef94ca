//! Laws: what is known of real devices, and theory, each measured in the simulator.

mod metered;
mod storage;
mod world;

use sim::{DiskConfig, disk_profile};

/// Whose laws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Of {
    /// Of the simulated disks, networks and clocks.
    #[default]
    World,
    /// Of the storage engines.
    Storage,
}

/// What a law expects.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// This, within a share of it.
    About(f64, f64),
    /// Anything from here to there.
    Between(f64, f64),
}

/// One law, measured.
struct Law {
    name: String,
    unit: &'static str,
    expected: Expected,
    measured: f64,
}

impl Law {
    fn holds(&self) -> bool {
        match self.expected {
            Expected::About(value, share) => (self.measured - value).abs() <= share * value.abs(),
            Expected::Between(low, high) => (low..=high).contains(&self.measured),
        }
    }

    fn print(&self) {
        let (expected, tolerance) = match self.expected {
            Expected::About(value, share) if share > 0.0 && share < 1e-4 => {
                (format!("{value:.6}"), format!("{:.0} ppm", share * 1e6))
            }
            Expected::About(value, share) => (format!("{value:.2}"), format!("{:.0} %", share * 100.0)),
            Expected::Between(low, f64::INFINITY) => (format!("at least {low:.0}"), "-".to_owned()),
            Expected::Between(low, high) => {
                let digits = usize::from(low.fract() != 0.0 || high.fract() != 0.0);
                (format!("{low:.digits$} to {high:.digits$}"), "-".to_owned())
            }
        };
        let Self { name, unit, measured, .. } = self;
        let digits = if tolerance.ends_with("ppm") { 6 } else { 2 };
        let pass = if self.holds() { "yes" } else { "NO" };
        println!("{name:<64} {expected:>22} {measured:>14.digits$} {tolerance:>10}  {pass}  {unit}");
    }
}

/// Measures and prints every law. Whether all hold.
pub(crate) fn run(of: Of) -> bool {
    println!("{:<64} {:>22} {:>14} {:>10}  holds", "", "expected", "measured", "tolerance");
    let (mut held, mut all) = (0, 0);
    let mut tell = |law: &Law| {
        law.print();
        all += 1;
        held += u32::from(law.holds());
    };
    match of {
        Of::World => world::laws().iter().for_each(&mut tell),
        Of::Storage => storage::measure(|law| tell(&law)),
    }
    println!("laws: {held} of {all} hold");
    held == all
}

fn profile(name: &str) -> DiskConfig {
    disk_profile(name).expect("a known profile")
}

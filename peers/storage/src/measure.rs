//! Timing pieces of work, and tables of what they took.

use std::collections::BTreeMap;
use std::time::Instant;

use cpu_time::ProcessTime;

use crate::store::Store;

/// What one store needed for one piece of work, for each operation of it.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// On the clock, in microseconds; what it does in the background does not count.
    pub wall: f64,
    /// Of processors, in microseconds; what it does in the background counts.
    pub cpu: f64,
}

/// The pieces of work of one workload, in their order, and what each store took for them.
#[derive(Default)]
pub struct Meter {
    pieces: Vec<&'static str>,
    took: BTreeMap<(&'static str, &'static str), Took>,
    system: &'static str,
}

impl Meter {
    /// What is measured next is this system's.
    pub fn system(&mut self, name: &'static str) {
        self.system = name;
    }

    /// Measures one piece of work of so many operations.
    pub fn time(
        &mut self,
        piece: &'static str,
        operations: u64,
        store: &mut dyn Store,
        work: impl FnOnce(&mut dyn Store),
    ) {
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        work(store);
        let wall = wall.elapsed();
        store.settle();
        let each = |nanos: u128| nanos as f64 / 1000.0 / operations.max(1) as f64;
        let took = Took { wall: each(wall.as_nanos()), cpu: each(cpu.elapsed().as_nanos()) };
        eprintln!("{:>16} {piece:<44} {:>9.2} us, {:>9.2} us CPU", self.system, took.wall, took.cpu);
        if !self.pieces.contains(&piece) {
            self.pieces.push(piece);
        }
        self.took.insert((piece, self.system), took);
    }

    /// A row per piece of work; `against` says whom each system of ours is compared with.
    pub fn print(&self, title: &str, systems: &[&'static str], against: &[(&'static str, &'static str)]) {
        let heads: Vec<String> = against.iter().map(|(ours, peer)| format!("{ours} : {peer}")).collect();
        println!("\n| {title} | {} | {} |", systems.join(" | "), heads.join(" | "));
        println!("|---|{}", "---|".repeat(systems.len() + heads.len()));
        for piece in &self.pieces {
            let took = |system| self.took.get(&(*piece, system));
            let figures = systems.iter().map(|system| {
                took(*system).map_or("-".to_owned(), |took| format!("{:.2} / {:.2}", took.wall, took.cpu))
            });
            let ratios = against.iter().map(|(ours, peer)| match (took(*ours), took(*peer)) {
                (Some(ours), Some(peer)) => {
                    format!("{:.2} / {:.2}", ours.wall / peer.wall, ours.cpu / peer.cpu)
                }
                _ => "-".to_owned(),
            });
            let cells: Vec<String> = figures.chain(ratios).collect();
            println!("| {piece} | {} |", cells.join(" | "));
        }
    }
}

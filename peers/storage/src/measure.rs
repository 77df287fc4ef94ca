//! Timing pieces of work, and tables of what they took.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::store::Store;

/// What one store needed for one piece of work: microseconds for each operation of it.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// On the clock, until whoever asked was done.
    pub wall: f64,
    /// On the clock, until all was done that was put off meanwhile.
    pub settled: f64,
    /// Of processors, with all that was put off.
    pub cpu: f64,
}

/// How much longer settling must take than the work for a table of it to tell anything.
const TELLING: f64 = 1.02;

/// Whose turn it is. All do the same pieces of work, each in a thread of its own, and one piece at a time: so a
/// machine that is slow for a while is slow for all.
pub struct Turns {
    of: usize,
    taken: Mutex<usize>,
    passed: Condvar,
}

impl Turns {
    /// Turns of so many, who must all take as many.
    pub fn new(of: usize) -> Self {
        Self { of, taken: Mutex::default(), passed: Condvar::new() }
    }

    fn take<T>(&self, place: usize, work: impl FnOnce() -> T) -> T {
        let taken = self.taken.lock().expect("nobody fails");
        let mut taken =
            self.passed.wait_while(taken, |taken| *taken % self.of != place).expect("nobody fails");
        let done = work();
        *taken += 1;
        self.passed.notify_all();
        done
    }
}

/// What one store took for the pieces of one workload, in their order.
pub struct Meter<'a> {
    system: &'static str,
    turns: &'a Turns,
    place: usize,
    pieces: Vec<(&'static str, Took)>,
}

impl<'a> Meter<'a> {
    /// The meter of a system, and whose turn it is at first: those of the lowest places.
    pub fn new(system: &'static str, turns: &'a Turns, place: usize) -> Self {
        Self { system, turns, place, pieces: Vec::new() }
    }

    /// Does something that is not measured, while the others wait.
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        self.turns.take(self.place, work)
    }

    /// Measures one piece of work of so many operations.
    pub fn time(
        &mut self,
        piece: &'static str,
        operations: u64,
        store: &mut dyn Store,
        work: impl FnOnce(&mut dyn Store),
    ) {
        let took = self.alone(|| {
            let (clock, cpu) = (Instant::now(), ProcessTime::now());
            work(store);
            let wall = clock.elapsed();
            store.settle();
            let each = |time: Duration| time.as_nanos() as f64 / 1000.0 / operations.max(1) as f64;
            Took { wall: each(wall), settled: each(clock.elapsed()), cpu: each(cpu.elapsed()) }
        });
        let Took { wall, settled, cpu } = took;
        eprintln!("{:>8} {piece:<40} {wall:>8.2} us, {settled:>8.2} settled, {cpu:>8.2} CPU", self.system);
        self.pieces.push((piece, took));
    }
}

/// A row per piece of work; `against` says which meter is compared with which. Behind it, the same of pieces that
/// left something to be done.
pub fn print(title: &str, meters: &[Meter<'_>], against: &[(&str, &str)]) {
    let pieces = 0..meters.first().map_or(0, |meter| meter.pieces.len());
    table(&format!("{title}, clock / CPU"), meters, against, pieces.clone(), |took| {
        vec![took.wall, took.cpu]
    });
    let left_some = |piece: &usize| {
        meters.iter().map(|meter| meter.pieces[*piece].1).any(|took| took.settled > took.wall * TELLING)
    };
    let (title, pieces) = (format!("{title}, clock, until all is settled"), pieces.filter(left_some));
    table(&title, meters, against, pieces, |took| vec![took.settled]);
}

fn table(
    title: &str,
    meters: &[Meter<'_>],
    against: &[(&str, &str)],
    pieces: impl Iterator<Item = usize>,
    figures: impl Fn(Took) -> Vec<f64>,
) {
    let cell = |figures: &[f64]| {
        let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:.2}")).collect();
        figures.join(" / ")
    };
    let of = |name: &str| meters.iter().find(|meter| meter.system == name);
    let pairs: Vec<_> = against.iter().filter_map(|(ours, peer)| of(ours).zip(of(peer))).collect();
    let heads = meters.iter().map(|meter| meter.system.to_owned());
    let heads = heads.chain(pairs.iter().map(|(ours, peer)| format!("{} : {}", ours.system, peer.system)));
    let heads: Vec<String> = heads.collect();
    println!("\n| {title} | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(heads.len()));
    for piece in pieces {
        let took = |meter: &Meter<'_>| figures(meter.pieces[piece].1);
        let own = meters.iter().map(|meter| cell(&took(meter)));
        let ratios = pairs.iter().map(|(ours, peer)| {
            let ratios: Vec<f64> = took(ours).iter().zip(took(peer)).map(|(a, b)| a / b).collect();
            cell(&ratios)
        });
        println!("| {} | {} |", meters[0].pieces[piece].0, own.chain(ratios).collect::<Vec<_>>().join(" | "));
    }
}

//! Simulators side by side: the same work in each, in one run, in CPU time of one process.
//!
//! *Ping-pong*: five nodes; every client of a node sends a request to the next node and waits for the
//! response before it sends another, over links that take 1 to 10 ms and lose nothing. *Timers*: 1000 tasks
//! of one node that sleep for about a millisecond each time. Only ratios within one run say something.
//!
//! `cargo run --release -- [RUNS]`: medians of so many runs (7).

mod madsim_peer;
mod seedbed;
mod turmoil_peer;

use cpu_time::ProcessTime;

/// Nodes of a ping-pong.
const NODES: u16 = 5;
/// Tasks that sleep.
const SLEEPERS: u64 = 1000;

/// So much work of one kind: how many units it was.
type Work = fn(size: u64) -> u64;

/// What one system needs for one kind of work.
struct Row {
    system: &'static str,
    work: Work,
    /// How much of it makes a measurement long enough.
    size: u64,
}

fn rows() -> [(&'static str, Vec<Row>); 3] {
    let row = |system, work: Work, size| Row { system, work, size };
    [
        (
            "ping-pong, 5 nodes, 1 client each, ns per message",
            vec![
                row("seedbed, typed", |rounds| seedbed::typed(1, rounds), 100_000),
                row("seedbed, async tasks", |rounds| seedbed::tasks(1, rounds), 100_000),
                row("madsim 0.2.34, Endpoint::call", |rounds| madsim_peer::call(1, rounds), 20_000),
                row("madsim 0.2.34, raw datagrams", |rounds| madsim_peer::datagrams(1, rounds), 20_000),
                row("turmoil 0.7.2, UDP", |rounds| turmoil_peer::datagrams(1, rounds), 5_000),
            ],
        ),
        (
            "ping-pong, 5 nodes, 20 clients each, ns per message",
            vec![
                row("seedbed, typed", |rounds| seedbed::typed(20, rounds), 5_000),
                row("seedbed, async tasks", |rounds| seedbed::tasks(20, rounds), 5_000),
                row("madsim 0.2.34, Endpoint::call", |rounds| madsim_peer::call(20, rounds), 1_000),
                row("madsim 0.2.34, raw datagrams", |rounds| madsim_peer::datagrams(20, rounds), 1_000),
                row("turmoil 0.7.2, UDP", |rounds| turmoil_peer::datagrams(20, rounds), 1_000),
            ],
        ),
        (
            "1000 sleeping tasks, ns per timer",
            vec![
                row("seedbed", seedbed::sleepers, 1_000),
                row("madsim 0.2.34", madsim_peer::sleepers, 300),
                row("turmoil 0.7.2, one host", turmoil_peer::sleepers, 300),
            ],
        ),
    ]
}

/// Nanoseconds per unit.
fn measure(row: &Row) -> f64 {
    let start = ProcessTime::now();
    let units = (row.work)(row.size);
    start.elapsed().as_nanos() as f64 / units as f64
}

fn main() {
    let runs: usize = std::env::args().nth(1).map_or(7, |runs| runs.parse().expect("a number of runs"));
    for (what, rows) in rows() {
        println!("\n| {what} | median | least | times |\n|---|---|---|---|");
        // Runs of all systems take turns, so that a busy machine is busy for all of them.
        let mut figures = vec![Vec::new(); rows.len()];
        for _ in 0..runs.max(1) {
            rows.iter().zip(&mut figures).for_each(|(row, figures)| figures.push(measure(row)));
        }
        figures.iter_mut().for_each(|figures| figures.sort_by(f64::total_cmp));
        let median = |figures: &[f64]| figures[figures.len() / 2];
        let ours = median(&figures[0]);
        for (row, figures) in rows.iter().zip(&figures) {
            let times = median(figures) / ours;
            println!("| {} | {:.0} | {:.0} | {times:.1} |", row.system, median(figures), figures[0]);
        }
    }
}

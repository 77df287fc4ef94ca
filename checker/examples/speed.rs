//! How fast histories are judged, in milliseconds: the best of five runs per line.
//!
//! `cargo run --release -p seedbed-checker --example speed`

use std::fmt::Display;

use contract::History;
use contract::kv::{Op, Ret};
use seedbed_checker::generate::{self, Flaw, Mix, Values, Workload};
use seedbed_checker::linearizability::Search;
use seedbed_checker::models::kv::Kv;
use seedbed_checker::parts::split;
use seedbed_checker::{Budget, judge_kv};

const MIXED: Mix = Mix { get: 40, put: 25, append: 10, delete: 5, cas: 15, scan: 5 };
const QUICKSTART: Workload = Workload {
    clients: 5,
    operations: 12_000,
    keys: 5,
    mix: MIXED,
    values: Values::Unique { bytes_min: 16 },
    unknown_per_mille: 2,
    flaw: Flaw::None,
};

fn main() {
    let per_key = Workload { mix: Mix { scan: 0, ..MIXED }, ..QUICKSTART };
    report("quickstart, one part", &QUICKSTART);
    report(
        "quickstart, stale read at the end",
        &Workload { flaw: Flaw::StaleRead { from: 11_900 }, ..QUICKSTART },
    );
    report(
        "quickstart, lost write in the middle",
        &Workload { flaw: Flaw::LostWrite { from: 6_000 }, ..QUICKSTART },
    );
    report("quickstart, 60 unknown", &Workload { unknown_per_mille: 5, ..QUICKSTART });
    report("per key", &per_key);
    report("per key, stale read at the end", &Workload { flaw: Flaw::StaleRead { from: 11_900 }, ..per_key });
    report(
        "per key, lost write in the middle",
        &Workload { flaw: Flaw::LostWrite { from: 6_000 }, ..per_key },
    );
    report("per key, 100 000 operations", &Workload { operations: 100_000, keys: 10, ..per_key });
    let register = Workload {
        clients: 10,
        keys: 1,
        mix: Mix { get: 50, put: 50, append: 0, delete: 0, cas: 0, scan: 0 },
        unknown_per_mille: 0,
        ..QUICKSTART
    };
    report("1 register, 10 clients, 10 000 operations", &Workload { operations: 10_000, ..register });
    report(
        "… stale read at the end",
        &Workload { operations: 10_000, flaw: Flaw::StaleRead { from: 9_900 }, ..register },
    );
    report("1 register, 10 clients, 100 000 operations", &Workload { operations: 100_000, ..register });
    report(
        "1 register, 10 clients, 1 000 operations, 50 unknown",
        &Workload { operations: 1_000, unknown_per_mille: 50, ..register },
    );
    report(
        "10 keys, 10 clients, 10 000 operations, unpartitioned",
        &Workload { keys: 10, operations: 10_000, mix: Mix { scan: 1, ..register.mix }, ..register },
    );
}

fn report(name: &str, workload: &Workload) {
    for seed in 1..=3 {
        let history = generate::kv(workload, seed);
        line(&format!("{name}, seed {seed}"), &history);
    }
}

#[expect(clippy::disallowed_types, reason = "this program measures time, it judges nothing by it")]
fn line(name: &dyn Display, history: &History<Op, Ret>) {
    let mut best = f64::INFINITY;
    let mut verdict = String::new();
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let judged = judge_kv(history, Budget::default()).expect("generated histories are well formed");
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        verdict = judged.to_string();
        if best > 500.0 {
            break;
        }
    }
    let (mut steps, mut states) = (0, 0);
    for part in &split::<Kv>(history).expect("generated histories are well formed") {
        let mut search = Search::new(part, &Kv::default());
        search.run(Budget::default().steps);
        steps += search.steps();
        states += search.states();
    }
    verdict.truncate(verdict.char_indices().nth(110).map_or(verdict.len(), |(at, _)| at));
    println!("{name:<60} {best:>9.2} ms {steps:>9} steps {states:>8} states  {verdict}");
}

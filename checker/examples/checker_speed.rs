//! How fast histories are judged and how much memory that takes: a line per case, with the mean
//! processor time of enough runs.
//!
//! `cargo run --release -p seedbed-checker --example checker_speed [CASE]`. Each case runs in a process of its
//! own, so that the peak is its own too.

use std::fs;
use std::hash::Hash;
use std::process::Command;

use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, History, Outcome, Time};
use seedbed_checker::generate::{self, Flaw, Mix, Values, Workload};
use seedbed_checker::models::kv::Kv;
use seedbed_checker::spec::Whole;
use seedbed_checker::{Budget, Keys, Spec, Stream, Verdict, judge};

const MIXED: Mix = Mix { get: 40, put: 25, append: 10, delete: 5, cas: 15, scan: 5, decide: 0 };
const READ_WRITE: Mix = Mix { get: 50, put: 50, append: 0, delete: 0, cas: 0, scan: 0, decide: 0 };
const UNIQUE: Values = Values::Unique { bytes_min: 1 };
const FEW: Values = Values::Few(&["a", "b", "c", "d", "e"]);

const QUICKSTART: Workload = Workload {
    clients: 5,
    operations: 12_000,
    keys: 5,
    mix: MIXED,
    values: Values::Unique { bytes_min: 16 },
    unknown_per_mille: 2,
    flaw: Flaw::None,
};
const REGISTER: Workload = Workload {
    clients: 10,
    operations: 100_000,
    keys: 1,
    mix: READ_WRITE,
    values: UNIQUE,
    unknown_per_mille: 0,
    flaw: Flaw::None,
};
const APPENDS: Workload = Workload {
    clients: 50,
    operations: 2_000,
    keys: 5,
    mix: Mix { get: 50, put: 0, append: 50, delete: 0, cas: 0, scan: 0, decide: 0 },
    ..REGISTER
};

/// A case: its name, whether it is judged without regard to keys, and its history.
struct Case {
    name: String,
    is_whole: bool,
    workload: Workload,
}

/// A workload as it is, with a stale read in the middle and at the end, and with a lost write.
fn good_and_broken(cases: &mut Vec<Case>, name: &str, is_whole: bool, workload: Workload) {
    let n = workload.operations;
    let flaws = [
        ("ok", Flaw::None),
        ("stale-mid", Flaw::StaleRead { from: n / 2 }),
        ("stale-end", Flaw::StaleRead { from: n - n / 50 }),
        ("lost", Flaw::LostWrite { from: n / 2 }),
    ];
    for (flaw_name, flaw) in flaws {
        cases.push(Case {
            name: format!("{name}/{flaw_name}"),
            is_whole,
            workload: Workload { flaw, ..workload },
        });
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut one = |name: &str, workload| {
        cases.push(Case { name: name.to_owned(), is_whole: false, workload });
    };
    one("keys-10-100k/unique", Workload { keys: 10, ..REGISTER });
    one("keys-10-100k/few", Workload { keys: 10, values: FEW, ..REGISTER });
    one("keys-100-100k/unique", Workload { keys: 100, ..REGISTER });
    one("keys-100-100k/few", Workload { keys: 100, values: FEW, ..REGISTER });
    let busy = Workload { operations: 1_000, unknown_per_mille: 50, ..REGISTER };
    one("register-1k-50-unknown/unique", busy);
    one("register-1k-50-unknown/few", Workload { values: FEW, ..busy });
    one(
        "cas-100k",
        Workload { values: FEW, mix: Mix { get: 34, put: 33, cas: 33, ..READ_WRITE }, ..REGISTER },
    );
    let deletes = Workload {
        mix: Mix { get: 50, put: 45, delete: 5, append: 0, cas: 0, scan: 0, decide: 0 },
        ..REGISTER
    };
    good_and_broken(&mut cases, "deletes-100k", false, deletes);
    let unsure = Workload { operations: 10_000, unknown_per_mille: 10, ..deletes };
    good_and_broken(&mut cases, "deletes-10k-unknown", false, unsure);
    good_and_broken(&mut cases, "register-100k/unique", false, REGISTER);
    good_and_broken(&mut cases, "register-100k/few", false, Workload { values: FEW, ..REGISTER });
    let ten = Workload { keys: 10, operations: 10_000, ..REGISTER };
    good_and_broken(&mut cases, "whole-10-keys-10k/unique", true, ten);
    good_and_broken(&mut cases, "whole-10-keys-10k/few", true, Workload { values: FEW, ..ten });
    good_and_broken(
        &mut cases,
        "scans-10-keys-10k",
        false,
        Workload { mix: Mix { scan: 1, ..READ_WRITE }, ..ten },
    );
    good_and_broken(&mut cases, "appends-50-clients-2k", false, APPENDS);
    let few_reads = Workload {
        mix: Mix { get: 10, put: 0, append: 90, delete: 0, cas: 0, scan: 0, decide: 0 },
        ..APPENDS
    };
    good_and_broken(&mut cases, "appends-few-reads", false, few_reads);
    let unknown = Workload { unknown_per_mille: 20, ..APPENDS };
    good_and_broken(&mut cases, "appends-unknown", false, unknown);
    good_and_broken(&mut cases, "quickstart-12k", false, QUICKSTART);
    let apart = Workload { mix: Mix { scan: 0, ..MIXED }, ..QUICKSTART };
    good_and_broken(&mut cases, "quickstart-12k-no-scans", false, apart);
    cases
}

/// The store as one object: no keys, and no hints but which operations read.
#[derive(Clone, PartialEq, Hash)]
struct Undivided(Kv);

impl Spec for Undivided {
    type Op = Op;
    type Ret = Ret;
    type Key = Whole;

    fn step(&self, op: &Op, ret: Option<&Ret>) -> Option<Self> {
        self.0.step(op, ret).map(Self)
    }

    fn keys(_op: &Op) -> Keys<&Whole> {
        Keys::One(&Whole)
    }

    fn is_read(op: &Op, ret: Option<&Ret>) -> bool {
        Kv::is_read(op, ret)
    }
}

/// A million operations, told one event after the other.
fn stream(name: &str) {
    let workload = match name {
        "stream-1m-10-keys" => Workload { keys: 10, operations: 1_000_000, unknown_per_mille: 0, ..REGISTER },
        _ => Workload {
            clients: 25,
            keys: 20,
            operations: 1_000_000,
            mix: Mix { scan: 0, ..MIXED },
            unknown_per_mille: 1,
            ..QUICKSTART
        },
    };
    let history = generate::kv(&workload, 1);
    let before = memory("VmRSS:");
    let _ = fs::write("/proc/self/clear_refs", "5");
    let start = processor_ms();
    let mut stream = Stream::by_key(Kv::default(), Budget::default());
    let mut most = 0;
    for event in history.events() {
        assert!(stream.event(event).expect("generated histories are well formed").is_none());
        most = most.max(stream.remembered());
    }
    let verdict = stream.finish();
    let (ms, mib) = (processor_ms() - start, memory("VmHWM:").saturating_sub(before) / 1024);
    println!("{name:<36} {ms:>9.2} ms {mib:>5} MiB  {verdict}, at most {most} operations remembered");
}

const STREAMS: [&str; 2] = ["stream-1m-10-keys", "stream-1m-25-clients-unknown"];

/// Thirty writes at once, and a read of what none of them wrote, for a search without hints.
fn explode() {
    let mut history = History::default();
    let (key, mut time) = (Bytes::from("k"), Time::ZERO);
    let mut open = Vec::new();
    for client in 1..=30 {
        time.0 += 1;
        let op = Op::Put { key: key.clone(), value: format!("v{client}").as_str().into() };
        open.push((ClientId(client), history.invoke(time, ClientId(client), op)));
    }
    let read = history.invoke(time, ClientId(31), Op::Get { key: key.clone() });
    for (client, op) in open {
        time.0 += 1;
        history.complete(time, client, op, Outcome::Ok(Ret::Done));
    }
    history.complete(time, ClientId(31), read, Outcome::Ok(Ret::Value(Some("v31".into()))));
    let before = memory("VmRSS:");
    let _ = fs::write("/proc/self/clear_refs", "5");
    for (name, (ms, verdict)) in [
        ("explode/with hints", measure(&history, &Kv::default())),
        ("explode/without", measure(&history, &Undivided(Kv::default()))),
    ] {
        let mib = memory("VmHWM:").saturating_sub(before) / 1024;
        println!("{name:<36} {ms:>9.2} ms {mib:>5} MiB  {verdict}");
    }
}

/// What a thousand violations cost, against the same histories without their flaw.
fn explain() {
    let (mut good, mut bad, mut lines, mut cores) = (0.0, 0.0, Vec::new(), Vec::new());
    for seed in 0.. {
        if lines.len() == 1_000 {
            break;
        }
        let workload = Workload {
            operations: 2_000,
            clients: 2 + seed as u16 % 9,
            keys: 1 + seed as u32 % 4,
            mix: if seed % 2 == 0 { READ_WRITE } else { Mix { scan: 0, ..MIXED } },
            values: if seed % 3 == 0 { FEW } else { UNIQUE },
            flaw: Flaw::StaleRead { from: 1_000 },
            ..QUICKSTART
        };
        let history = generate::kv(&workload, seed);
        let start = processor_ns();
        let verdict = judge(&history, &Kv::default(), Budget::default()).expect("well formed");
        let took = processor_ns() - start;
        let Verdict::Violation(violation) = verdict else { continue };
        bad += took;
        lines.push(violation.window.len());
        cores.push(violation.core.len());
        let history = generate::kv(&Workload { flaw: Flaw::None, ..workload }, seed);
        let start = processor_ns();
        let verdict = judge(&history, &Kv::default(), Budget::default()).expect("well formed");
        good += processor_ns() - start;
        assert_eq!(verdict, Verdict::Ok);
    }
    lines.sort_unstable();
    cores.sort_unstable();
    println!(
        "{EXPLAIN}: {:.2} ms each, without the flaw {:.2} ms; median window {} lines, core {} operations",
        bad / 1e9,
        good / 1e9,
        lines[lines.len() / 2],
        cores[cores.len() / 2]
    );
}

const EXPLODE: &str = "explode";
const EXPLAIN: &str = "explain-1000-violations";

fn main() {
    let cases = cases();
    let chosen = std::env::args().nth(1);
    match chosen.as_deref() {
        Some(name) if STREAMS.contains(&name) => return stream(name),
        Some(EXPLODE) => return explode(),
        Some(EXPLAIN) => return explain(),
        _ => {}
    }
    match cases.iter().find(|case| Some(&case.name) == chosen.as_ref()) {
        Some(case) => run(case),
        None => {
            let this = std::env::current_exe().expect("a program knows where it is");
            let names = cases.iter().map(|case| case.name.as_str());
            let all = names.chain(STREAMS).chain([EXPLODE, EXPLAIN]);
            for name in all.filter(|name| name.contains(chosen.as_deref().unwrap_or(""))) {
                Command::new(&this).arg(name).status().expect("it can run itself");
            }
        }
    }
}

fn run(case: &Case) {
    for seed in 1..=3 {
        let history = generate::kv(&case.workload, seed);
        let before = memory("VmRSS:");
        // Resets the peak.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (ms, verdict) = if case.is_whole {
            measure(&history, &Undivided(Kv::default()))
        } else {
            measure(&history, &Kv::default())
        };
        let mib = memory("VmHWM:").saturating_sub(before) / 1024;
        let mut verdict = verdict.to_string();
        verdict.truncate(verdict.char_indices().nth(90).map_or(verdict.len(), |(at, _)| at));
        println!("{:<34} {seed} {ms:>9.2} ms {mib:>5} MiB  {verdict}", case.name);
    }
}

/// A figure from the kernel in KiB; zero where there is none.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// The processor time that this process took, in milliseconds.
fn processor_ms() -> f64 {
    processor_ns() / 1e6
}

fn processor_ns() -> f64 {
    let figures = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    figures.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn measure<S: Spec<Op = Op, Ret = Ret>>(history: &History<Op, Ret>, initial: &S) -> (f64, Verdict) {
    // The kernel may count in ticks of milliseconds, so that only the mean of many runs says something.
    let (start, mut runs) = (processor_ms(), 0.0);
    loop {
        let verdict =
            judge(history, initial, Budget::default()).expect("generated histories are well formed");
        runs += 1.0;
        let total = processor_ms() - start;
        if total > 300.0 || runs >= 2_000.0 {
            return (total / runs, verdict);
        }
    }
}

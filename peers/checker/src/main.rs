//! Other checkers of linearizability on the histories of this one's generator, in one run: a line per
//! history, with the processor time that each checker took.
//!
//! `cargo run --release --manifest-path peers/checker/Cargo.toml [CASE]`. Each checker runs in a process of
//! its own, which ends when it has taken [`LIMIT_S`] seconds or [`LIMIT_MIB`] of memory.
//!
//! - *stateright* 0.31, `LinearizabilityTester`: tries the orders of all threads, without a memory of what it
//!   has tried. A client goes on as a new thread after an operation of unknown outcome.
//! - *todc-utils* 0.1, `WGLChecker`: Wing & Gong's search with Lowe's memory. It knows no unknown outcomes, and
//!   neither of the two divides a history by key; here they are given the parts one by one.
//!
//! A verdict that differs is printed and makes the exit code 1.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use checker::generate::{self, Flaw, Mix, Values, Workload};
use checker::models::kv::Kv;
use checker::{Budget, Verdict, judge_kv};
use contract::kv::{Op, Ret};
use contract::{Bytes, ClientId, EventKind, History, Outcome};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use todc_utils::{Action, Specification, WGLChecker};

/// How many seconds of processor time a checker may take.
const LIMIT_S: u64 = 20;
/// For how many milliseconds a checker is measured at least.
const MEASURE_MS: f64 = 200.0;
/// How much memory a checker may take.
const LIMIT_MIB: u64 = 4096;
/// The checkers, as columns.
const CHECKERS: [&str; 3] = ["seedbed", "todc-utils", "stateright"];

const REGISTER: Workload = Workload {
    clients: 10,
    operations: 1_000,
    keys: 1,
    mix: Mix { get: 50, put: 50, append: 0, delete: 0, cas: 0, scan: 0, decide: 0 },
    values: Values::Unique { bytes_min: 1 },
    unknown_per_mille: 0,
    flaw: Flaw::None,
};
const FEW: Values = Values::Few(&["a", "b", "c", "d", "e"]);

/// The histories that are compared on.
fn cases() -> Vec<(&'static str, Workload)> {
    let stale = |operations: u32| Flaw::StaleRead { from: operations - operations / 50 };
    let long = Workload { operations: 10_000, ..REGISTER };
    let longest = Workload { operations: 100_000, ..REGISTER };
    let cas = Mix { get: 34, put: 33, cas: 33, ..REGISTER.mix };
    let appends = Mix { get: 50, put: 0, append: 50, ..REGISTER.mix };
    vec![
        ("register-100", Workload { operations: 100, clients: 4, ..REGISTER }),
        ("register-1k", REGISTER),
        ("register-1k-stale", Workload { flaw: stale(1_000), ..REGISTER }),
        ("register-10k", long),
        ("register-10k-stale", Workload { flaw: stale(10_000), ..long }),
        ("register-100k", longest),
        ("register-100k-stale", Workload { flaw: stale(100_000), ..longest }),
        ("register-1k-unknown", Workload { unknown_per_mille: 50, ..REGISTER }),
        ("keys-10-10k", Workload { keys: 10, ..long }),
        ("keys-10-100k", Workload { keys: 10, ..longest }),
        ("cas-10k", Workload { values: FEW, mix: cas, ..long }),
        ("cas-100k", Workload { values: FEW, mix: cas, ..longest }),
        ("appends-c50-2k", Workload { clients: 50, keys: 5, operations: 2_000, mix: appends, ..REGISTER }),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [checker, case] = &arguments[..] {
        let (_, workload) = cases().into_iter().find(|(name, _)| name == case).expect("a known case");
        let history = generate::kv(&workload, 1);
        // The kernel counts in ticks of milliseconds: what is short is done often.
        let (before, mut runs) = (processor_ms(), 0.0);
        loop {
            let verdict = verdict(checker, &history);
            runs += 1.0;
            let took = processor_ms() - before;
            if took >= MEASURE_MS {
                println!("{} {:.2} {}", verdict, took / runs, memory_mib());
                return ExitCode::SUCCESS;
            }
        }
    }
    let chosen = arguments.first().map_or("", String::as_str);
    println!("| History | {} |", CHECKERS.map(|checker| format!("{checker}, ms (MiB)")).join(" | "));
    println!("|---|{}", "---|".repeat(CHECKERS.len()));
    let mut agree = true;
    for (case, _) in cases().into_iter().filter(|(name, _)| name.contains(chosen)) {
        let told = CHECKERS.map(|checker| measured(checker, case));
        let known: Vec<&str> = told.iter().filter_map(|told| told.verdict.as_deref()).collect();
        let cells: Vec<&str> = told.iter().map(|told| told.figures.as_str()).collect();
        println!("| {case}, {} | {} |", known.first().unwrap_or(&"undecided"), cells.join(" | "));
        if known.iter().any(|verdict| *verdict != known[0]) {
            eprintln!("{case}: the verdicts differ: {known:?}");
            agree = false;
        }
    }
    if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a checker said.
struct Told {
    /// `None` if it came to none.
    verdict: Option<String>,
    /// What that took, or the limit that ended it.
    figures: String,
}

fn measured(checker: &str, case: &str) -> Told {
    let undecided = |figures: String| Told { verdict: None, figures };
    if checker == "todc-utils" && case.contains("unknown") {
        return undecided("–".to_owned());
    }
    let this = std::env::current_exe().expect("a program knows where it is");
    // The shell's limits end a process that takes too much.
    let limits = format!("ulimit -t {LIMIT_S}; ulimit -v {}; exec \"$0\" \"$1\" \"$2\"", LIMIT_MIB * 1024);
    let output = Command::new("sh").args(["-c", &limits]).arg(this).args([checker, case]).output();
    let output = output.expect("there is a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    match (&words[..], output.status.code()) {
        ([verdict, ms, mib], Some(0)) => {
            Told { verdict: Some((*verdict).to_owned()), figures: format!("{ms} ({mib})") }
        }
        (_, Some(_)) => undecided(format!("> {LIMIT_MIB} MiB")),
        (_, None) if String::from_utf8_lossy(&output.stderr).contains("memory") => {
            undecided(format!("> {LIMIT_MIB} MiB"))
        }
        (_, None) => undecided(format!("> {LIMIT_S} s")),
    }
}

fn verdict(checker: &str, history: &History<Op, Ret>) -> &'static str {
    let is_ok = match checker {
        "seedbed" => match judge_kv(history, Budget::default()).expect("generated histories are well formed")
        {
            Verdict::Ok => true,
            Verdict::Violation(_) => false,
            Verdict::Unknown(_) => return "unknown",
        },
        "todc-utils" => by_key(history).values().all(todc),
        "stateright" => by_key(history).values().all(stateright),
        other => panic!("there is no checker {other}"),
    };
    if is_ok { "ok" } else { "violation" }
}

/// The history of each key.
fn by_key(history: &History<Op, Ret>) -> BTreeMap<Bytes, History<Op, Ret>> {
    let mut parts: BTreeMap<Bytes, History<Op, Ret>> = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for event in history.events() {
        if let EventKind::Invoke(op) = &event.kind {
            let (Op::Get { key }
            | Op::Put { key, .. }
            | Op::Append { key, .. }
            | Op::Delete { key }
            | Op::Cas { key, .. }) = op
            else {
                panic!("{op} is about several keys")
            };
            let part = parts.entry(key.clone()).or_default();
            numbers.insert(event.op, (key.clone(), part.invoke(event.time, event.client, op.clone())));
        }
        if let EventKind::Return(outcome) = &event.kind {
            let (key, op) = &numbers[&event.op];
            let part = parts.get_mut(key).expect("it was invoked");
            part.complete(event.time, event.client, *op, outcome.clone());
        }
    }
    parts
}

fn stateright(history: &History<Op, Ret>) -> bool {
    let mut tester = LinearizabilityTester::new(Kv::default());
    let mut lives: BTreeMap<ClientId, u32> = BTreeMap::new();
    for event in history.events() {
        let life = lives.entry(event.client).or_default();
        match &event.kind {
            EventKind::Invoke(op) => drop(tester.on_invoke((event.client.0, *life), op.clone())),
            EventKind::Return(Outcome::Ok(ret)) => {
                drop(tester.on_return((event.client.0, *life), ret.clone()))
            }
            EventKind::Return(Outcome::Unknown) => *life += 1,
            EventKind::Return(Outcome::Fail) => unreachable!("the generator makes none"),
        }
    }
    tester.is_consistent()
}

/// The store as todc-utils takes it.
struct Store;

impl Specification for Store {
    type State = Kv;
    type Operation = (Op, Option<Ret>);

    fn init() -> Kv {
        Kv::default()
    }

    fn apply((op, ret): &(Op, Option<Ret>), state: &Kv) -> (bool, Kv) {
        let mut after = state.clone();
        let is_right = ret.as_ref().is_some_and(|ret| after.is_valid_step(op, ret));
        (is_right, after)
    }
}

fn todc(history: &History<Op, Ret>) -> bool {
    let mut asked = BTreeMap::new();
    let mut actions = Vec::new();
    for event in history.events() {
        let process = usize::from(event.client.0);
        match &event.kind {
            EventKind::Invoke(op) => {
                asked.insert(event.op, op.clone());
                actions.push((process, Action::Call((op.clone(), None))));
            }
            EventKind::Return(Outcome::Ok(ret)) => {
                actions.push((process, Action::Response((asked[&event.op].clone(), Some(ret.clone())))));
            }
            EventKind::Return(_) => unreachable!("these histories have no unknown outcomes"),
        }
    }
    WGLChecker::<Store>::is_linearizable(todc_utils::History::from_actions(actions))
}

/// The processor time that this process took, in milliseconds.
fn processor_ms() -> f64 {
    let figures = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns: f64 = figures.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
    ns / 1e6
}

/// The most memory that this process had, in MiB.
fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

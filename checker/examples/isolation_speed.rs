//! What judging the isolation of long histories costs: `isolation_speed [OPERATIONS]`, a million by default.
//!
//! Ten processes run transactions of one to four actions, half of them reads, one transaction after the other
//! in the order of their moments between invocation and return. A key is given up after 32 appends.

use std::fs;

use seedbed_checker::generate::Draw;
use seedbed_checker::isolation::lists::{self, Action};
use seedbed_checker::isolation::{Level, Outcome, Transaction};

const PROCESSES: u64 = 10;
const KEYS: usize = 10;
const APPENDS_MAX: usize = 32;

fn history(operations: u64, draw: &mut Draw) -> Vec<Transaction<Action>> {
    let mut lists: Vec<(u64, Vec<u64>)> = (0..KEYS as u64).map(|key| (key, Vec::new())).collect();
    let (mut next_key, mut next_value, mut done) = (KEYS as u64, 0, 0);
    let mut transactions = Vec::new();
    while done < operations {
        let number = transactions.len() as u64;
        let mut actions = Vec::new();
        for _ in 0..1 + draw.below(4) {
            let (key, values) = &mut lists[draw.below(KEYS as u32) as usize];
            if draw.below(2) == 0 {
                actions.push(Action::Read { key: *key, values: values.clone() });
                continue;
            }
            next_value += 1;
            values.push(next_value);
            actions.push(Action::Append { key: *key, value: next_value });
            if values.len() == APPENDS_MAX {
                (*key, *values) = (next_key, Vec::new());
                next_key += 1;
            }
        }
        done += actions.len() as u64;
        // Each is under way for as long as the others take one turn each.
        let moment = number * 10;
        transactions.push(Transaction {
            process: (number % PROCESSES) as u32,
            invoked: moment.saturating_sub(PROCESSES * 4 + u64::from(draw.below(5))),
            returned: Some(moment + PROCESSES * 4 + u64::from(draw.below(5))),
            outcome: Outcome::Committed,
            actions,
        });
    }
    transactions
}

/// A figure from the kernel; zero where there is none.
fn figure(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn main() {
    let operations = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("a number"));
    let history = history(operations, &mut Draw(1));
    let (memory, start) = (figure("/proc/self/status", "VmRSS:"), figure("/proc/self/schedstat", ""));
    let report = lists::judge(&history).expect("well formed");
    let milliseconds = (figure("/proc/self/schedstat", "") - start) / 1_000_000;
    let peak = figure("/proc/self/status", "VmHWM:").saturating_sub(memory) / 1024;
    println!(
        "{operations} operations, {} transactions: {milliseconds} ms, {peak} MiB beside the history, {}",
        history.len(),
        if report.holds(Level::StrictSerializable) { "strict serializable" } else { "anomalies" }
    );
}

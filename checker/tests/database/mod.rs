//! A database of lists in memory that really runs at an isolation level: several processes, whose actions a
//! seeded draw mixes.

use seedbed_checker::generate::Draw;
use seedbed_checker::isolation::lists::Action;
use seedbed_checker::isolation::{Outcome, Transaction, registers};

/// At which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Writes are locked up to the end, and seen at once.
    ReadUncommitted,
    /// Writes are locked up to the end, and seen when committed.
    ReadCommitted,
    /// Reads are of the moment of the beginning; of two that change a key the first to commit wins.
    Snapshot,
    /// The same, and the moment may lie before the beginning.
    StaleSnapshot,
    /// What is read is locked too.
    Serializable,
}

const PROCESSES: usize = 3;

/// A transaction that runs.
struct Running {
    transaction: Transaction<Action>,
    /// How many actions are to come.
    left: u32,
    /// How many transactions had committed when it began.
    snapshot: usize,
    /// Keys that it has locked.
    locks: Vec<u64>,
}

pub(crate) struct Database {
    isolation: Isolation,
    draw: Draw,
    /// All committed states, the first is empty.
    states: Vec<Vec<Vec<u64>>>,
    running: Vec<Option<Running>>,
    next_value: u64,
    now: u64,
    done: Vec<Transaction<Action>>,
}

impl Database {
    pub(crate) fn new(isolation: Isolation, draw: Draw) -> Self {
        let running = (0..PROCESSES).map(|_| None).collect();
        Self { isolation, draw, states: Vec::new(), running, next_value: 1, now: 0, done: Vec::new() }
    }

    /// Runs so many transactions, and one at the end that reads all keys.
    pub(crate) fn run(mut self, transactions: usize, keys: u64) -> Vec<Transaction<Action>> {
        self.states.push(vec![Vec::new(); keys as usize]);
        let mut begun = 0;
        while self.done.len() < transactions {
            self.now += 1;
            let process = self.draw.below(PROCESSES as u32) as usize;
            match self.running[process].take() {
                None if begun < transactions => {
                    begun += 1;
                    self.running[process] = Some(self.begin(process as u32));
                }
                None => {}
                Some(running) => self.running[process] = self.step(process, running, keys),
            }
        }
        let all = self.states.last().expect("there is a first state").iter();
        let actions =
            (0..).zip(all).map(|(key, values)| Action::Read { key, values: values.clone() }).collect();
        let (process, invoked) = (PROCESSES as u32, self.now + 1);
        let returned = Some(self.now + 2);
        self.done.push(Transaction { process, invoked, returned, outcome: Outcome::Committed, actions });
        self.done
    }

    fn begin(&mut self, process: u32) -> Running {
        let newest = self.states.len() - 1;
        let snapshot = match self.isolation {
            Isolation::StaleSnapshot => newest.saturating_sub(self.draw.below(4) as usize),
            _ => newest,
        };
        let (invoked, outcome) = (self.now, Outcome::Committed);
        let transaction = Transaction { process, invoked, returned: None, outcome, actions: Vec::new() };
        Running { transaction, left: 1 + self.draw.below(4), snapshot, locks: Vec::new() }
    }

    /// One action, or the end.
    fn step(&mut self, process: usize, mut running: Running, keys: u64) -> Option<Running> {
        if running.left == 0 {
            self.end(running);
            return None;
        }
        let (key, reads) = (u64::from(self.draw.below(keys as u32)), self.draw.below(2) == 0);
        let locks = match self.isolation {
            Isolation::Serializable => true,
            Isolation::ReadUncommitted | Isolation::ReadCommitted => !reads,
            Isolation::Snapshot | Isolation::StaleSnapshot => false,
        };
        let is_locked = |other: &Running| other.locks.contains(&key);
        if locks && self.running.iter().flatten().any(is_locked) {
            // It would wait, perhaps for ever.
            running.transaction.outcome = Outcome::Aborted;
            self.end(running);
            return None;
        }
        if locks && !running.locks.contains(&key) {
            running.locks.push(key);
        }
        running.left -= 1;
        let action = if reads {
            let values = self.read(process, &running, key);
            Action::Read { key, values }
        } else {
            self.next_value += 1;
            Action::Append { key, value: self.next_value }
        };
        running.transaction.actions.push(action);
        Some(running)
    }

    fn read(&self, process: usize, running: &Running, key: u64) -> Vec<u64> {
        let newest = self.states.len() - 1;
        let state = match self.isolation {
            Isolation::Snapshot | Isolation::StaleSnapshot => running.snapshot,
            _ => newest,
        };
        let mut values = self.states[state][key as usize].clone();
        if self.isolation == Isolation::ReadUncommitted {
            assert!(self.running[process].is_none(), "who reads is not among the others");
            let others = self.running.iter().flatten();
            others.for_each(|other| values.extend(appended(&other.transaction, key)));
        }
        values.extend(appended(&running.transaction, key));
        values
    }

    fn end(&mut self, mut running: Running) {
        running.transaction.returned = Some(self.now);
        let newest = self.states.last().expect("there is a first state");
        let mut after = newest.clone();
        for (key, list) in (0..).zip(&mut after) {
            let own: Vec<u64> = appended(&running.transaction, key).collect();
            let is_snapshot = matches!(self.isolation, Isolation::Snapshot | Isolation::StaleSnapshot);
            if is_snapshot && !own.is_empty() && *list != self.states[running.snapshot][key as usize] {
                running.transaction.outcome = Outcome::Aborted;
            }
            list.extend(own);
        }
        if running.transaction.outcome == Outcome::Committed {
            self.states.push(after);
        }
        self.done.push(running.transaction);
    }
}

fn appended(transaction: &Transaction<Action>, key: u64) -> impl Iterator<Item = u64> {
    transaction.actions.iter().filter_map(move |action| match action {
        Action::Append { key: other, value } if *other == key => Some(*value),
        _ => None,
    })
}

/// The same with registers, which keep the last element of each list.
pub(crate) fn as_registers(history: &[Transaction<Action>]) -> Vec<Transaction<registers::Action>> {
    let action = |action: &Action| match action {
        Action::Append { key, value } => registers::Action::Write { key: *key, value: *value },
        Action::Read { key, values } => registers::Action::Read { key: *key, value: values.last().copied() },
    };
    let transaction = |transaction: &Transaction<Action>| Transaction {
        process: transaction.process,
        invoked: transaction.invoked,
        returned: transaction.returned,
        outcome: transaction.outcome,
        actions: transaction.actions.iter().map(action).collect(),
    };
    history.iter().map(transaction).collect()
}

//! What transactions do: lists that grow, accounts whose sum stays, pairs that invite write skew.

use checker::isolation::{lists, registers};
use contract::{Bytes, ClientId, Seed};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use sim::rng::{Keys, Purpose};

use crate::plan::{TransactionPlan, WorkloadPlan};
use crate::recording::Recorded;
use crate::report::Finding;
use crate::transaction::record::Did;
use crate::transaction::{Failed, Transaction, Wire};
use crate::workload::kv::key_name;

/// What every account holds until it is written.
const OPENING: u64 = 100;

/// What one transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Reads lists and appends to lists, in order.
    Lists(Vec<Step>),
    /// Reads registers and writes registers, in order.
    Registers(Vec<Step>),
    /// Begins, and is done: it asks for a timestamp.
    Nothing,
    /// Moves an amount between two accounts, if the first has so much.
    Transfer { from: u32, to: u32, amount: u64 },
    /// Reads all accounts: their sum is always the same.
    Total { accounts: u32 },
}

/// One step over lists or registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read(u32),
    Write(u32, u64),
}

/// What a program did and saw.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What the isolation checker looks at: what it may do, until it has done it.
    pub(crate) did: Did,
    /// What it saw cannot be, should it commit.
    pub(crate) wrong: Option<Finding>,
}

/// One client's programs. Each takes draws of its own, so that none depends on how another one ended.
pub(crate) struct Programs {
    client: ClientId,
    draws: ChaCha8Rng,
    kind: &'static str,
    keys: u32,
    actions: (u32, u32),
    reads: f64,
    made: u64,
}

/// The kinds of workloads whose clients run transactions, and what an isolation checker sees of each.
pub(crate) const KINDS: [(&str, Option<Recorded>); 6] = [
    ("list-append", Some(Recorded::Lists)),
    ("rw-register", Some(Recorded::Registers)),
    ("write-skew", Some(Recorded::Lists)),
    ("long-fork", Some(Recorded::Lists)),
    ("bank", None),
    ("timestamps", None),
];

/// The workload's entry among [`KINDS`], if its clients run transactions.
pub(crate) fn kind(name: &str) -> Option<(&'static str, Option<Recorded>)> {
    KINDS.into_iter().find(|(kind, _)| *kind == name)
}

impl Programs {
    pub(crate) fn new(
        seed: Seed,
        client: ClientId,
        workload: &WorkloadPlan,
        transactions: &TransactionPlan,
    ) -> Self {
        let (kind, _) = kind(&workload.kind).expect("a scenario's workloads are checked");
        Self {
            client,
            draws: Keys::new(seed).stream(Purpose::new("workload"), u64::from(client.0)),
            kind,
            keys: transactions.keys,
            actions: workload.actions,
            reads: workload.reads,
            made: 0,
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Program {
        match self.kind {
            "list-append" => Program::Lists(self.steps()),
            "rw-register" => Program::Registers(self.steps()),
            "long-fork" => self.fork(),
            "timestamps" => Program::Nothing,
            "write-skew" => self.skew(),
            "bank" => self.banking(),
            other => unreachable!("{other} is no kind of transactions"),
        }
    }

    /// A value that nobody else appends.
    fn value(&mut self) -> u64 {
        self.made += 1;
        u64::from(self.client.0) << 32 | self.made
    }

    fn steps(&mut self) -> Vec<Step> {
        let (least, most) = self.actions;
        let steps = self.draws.random_range(least..=most);
        let step = |_| {
            let key = self.draws.random_range(0..self.keys);
            if self.draws.random::<f64>() < self.reads {
                Step::Read(key)
            } else {
                Step::Write(key, self.value())
            }
        };
        (0..steps).map(step).collect()
    }

    /// Either writes one register or reads two: do all see single writes come in one order?
    fn fork(&mut self) -> Program {
        let (one, other) = (self.draws.random_range(0..self.keys), self.draws.random_range(0..self.keys));
        let reads = self.draws.random::<f64>() < self.reads;
        Program::Lists(if reads {
            vec![Step::Read(one), Step::Read(other)]
        } else {
            vec![Step::Write(one, self.value())]
        })
    }

    /// Reads two lists, and appends to one of them.
    fn skew(&mut self) -> Program {
        let pair = self.draws.random_range(0..self.keys.div_ceil(2)) * 2;
        let (one, other) = (pair, (pair + 1) % self.keys);
        let written = if self.draws.random() { one } else { other };
        Program::Lists(vec![Step::Read(one), Step::Read(other), Step::Write(written, self.value())])
    }

    fn banking(&mut self) -> Program {
        let (from, to) = (self.draws.random_range(0..self.keys), self.draws.random_range(0..self.keys));
        let amount = self.draws.random_range(1..=5);
        let reads: f64 = self.draws.random();
        if reads < self.reads || from == to {
            Program::Total { accounts: self.keys }
        } else {
            Program::Transfer { from, to, amount }
        }
    }
}

/// What the key of an account ends with: it stands right behind the list of the same number.
const ACCOUNT: u8 = b'a';

fn account_name(place: u32) -> Bytes {
    [&key_name(place)[..], &[ACCOUNT]].concat().into()
}

fn register_name(place: u32) -> Bytes {
    [&key_name(place)[..], b"r"].concat().into()
}

impl Program {
    /// What it may leave behind, whatever becomes of it.
    pub(crate) fn may_do(&self) -> Did {
        match self {
            Self::Lists(steps) => Did::Lists(steps.iter().filter_map(append).collect()),
            Self::Registers(steps) => Did::Registers(steps.iter().filter_map(write).collect()),
            Self::Nothing | Self::Transfer { .. } | Self::Total { .. } => Did::Other,
        }
    }

    /// The keys that it may write; with `all`, those that it reads, too.
    pub(crate) fn may_write(&self, all: bool) -> Vec<Bytes> {
        let of_steps = |steps: &[Step], name: fn(u32) -> Bytes| {
            let writes = steps.iter().any(|step| matches!(step, Step::Write(..)));
            let wanted = steps.iter().filter_map(|step| match step {
                Step::Write(key, _) => Some(name(*key)),
                Step::Read(key) => (all && writes).then(|| name(*key)),
            });
            wanted.collect()
        };
        let mut keys: Vec<Bytes> = match self {
            Self::Lists(steps) => of_steps(steps, key_name),
            Self::Registers(steps) => of_steps(steps, register_name),
            Self::Transfer { from, to, .. } => [*from, *to].map(account_name).to_vec(),
            Self::Total { .. } | Self::Nothing => Vec::new(),
        };
        // Whoever locks in one order does not wait in a circle.
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Runs it up to its commit.
    pub(crate) async fn run<M: Wire>(
        &self,
        transaction: &mut Transaction<M>,
        ran: &mut Ran,
    ) -> Result<(), Failed> {
        match self {
            Self::Lists(steps) => run_lists(steps, transaction, ran).await?,
            Self::Registers(steps) => run_registers(steps, transaction, ran).await?,
            Self::Nothing => {}
            Self::Transfer { from, to, amount } => {
                let (from, to) = (account_name(*from), account_name(*to));
                let rich = decode_amount(transaction.get(&from).await?);
                let poor = decode_amount(transaction.get(&to).await?);
                if let Some(rest) = rich.checked_sub(*amount) {
                    transaction.put(from, encode_number(rest));
                    transaction.put(to, encode_number(poor + amount));
                }
            }
            Self::Total { accounts } => {
                let mut pairs = transaction.scan().await?;
                pairs.retain(|(key, _)| key.last() == Some(&ACCOUNT));
                let written: u64 = pairs.iter().map(|(_, value)| decode_amount(Some(value.clone()))).sum();
                let untouched = u64::from(*accounts) - pairs.len() as u64;
                let (total, expected) = (written + untouched * OPENING, u64::from(*accounts) * OPENING);
                if total != expected {
                    let line = |(key, value): &(Bytes, Bytes)| format!("{key} holds {value}");
                    let evidence = pairs.iter().map(line).collect();
                    let message =
                        format!("a snapshot of all accounts sums up to {total} instead of {expected}");
                    ran.wrong = Some(Finding::of_run("bank", message, evidence));
                }
            }
        }
        Ok(())
    }
}

fn append(step: &Step) -> Option<lists::Action> {
    match *step {
        Step::Write(key, value) => Some(lists::Action::Append { key: key.into(), value }),
        Step::Read(_) => None,
    }
}

fn write(step: &Step) -> Option<registers::Action> {
    match *step {
        Step::Write(key, value) => Some(registers::Action::Write { key: key.into(), value }),
        Step::Read(_) => None,
    }
}

async fn run_lists<M: Wire>(
    steps: &[Step],
    transaction: &mut Transaction<M>,
    ran: &mut Ran,
) -> Result<(), Failed> {
    let mut actions = Vec::new();
    for step in steps {
        let (Step::Read(key) | Step::Write(key, _)) = *step;
        let name = key_name(key);
        let mut values = decode_list(transaction.get(&name).await?);
        if let Step::Write(_, value) = *step {
            values.push(value);
            transaction.put(name, encode_list(&values));
        }
        let read = lists::Action::Read { key: key.into(), values };
        actions.push(append(step).unwrap_or(read));
    }
    ran.did = Did::Lists(actions);
    Ok(())
}

async fn run_registers<M: Wire>(
    steps: &[Step],
    transaction: &mut Transaction<M>,
    ran: &mut Ran,
) -> Result<(), Failed> {
    let mut actions = Vec::new();
    for step in steps {
        match *step {
            Step::Read(key) => {
                let value = transaction.get(&register_name(key)).await?.map(decode_number);
                actions.push(registers::Action::Read { key: key.into(), value });
            }
            Step::Write(key, value) => {
                transaction.put(register_name(key), encode_number(value));
                actions.extend(write(step));
            }
        }
    }
    ran.did = Did::Registers(actions);
    Ok(())
}

fn encode_number(number: u64) -> Bytes {
    number.to_string().into_bytes().into()
}

fn decode_number(stored: Bytes) -> u64 {
    let decode = |bytes: &Bytes| std::str::from_utf8(bytes).ok()?.parse().ok();
    decode(&stored).expect("a number is what was encoded")
}

fn encode_list(values: &[u64]) -> Bytes {
    postcard::to_stdvec(values).expect("a list encodes into memory").into()
}

fn decode_list(stored: Option<Bytes>) -> Vec<u64> {
    let decode = |bytes: Bytes| postcard::from_bytes(&bytes).expect("a list is what was encoded");
    stored.map_or_else(Vec::new, decode)
}

fn decode_amount(stored: Option<Bytes>) -> u64 {
    stored.map_or(OPENING, decode_number)
}

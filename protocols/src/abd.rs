//! Atomic registers without consensus, after H. Attiya, A. Bar-Noy and D. Dolev, *Sharing Memory
//! Robustly in Message-Passing Systems* (J. ACM 42(1), 1995), in the form for many writers (N. Lynch and
//! A. Shvartsman, *Robust Emulation of Shared Memory Using Dynamic Quorum-Acknowledged Broadcasts*,
//! FTCS 1997). It is the protocol to read first, and to copy for one of your own.
//!
//! # The protocol
//!
//! Every voter keeps a copy of every key's register: a value and a *tag*, which orders the values. Any
//! node serves any client, and there is no leader. Each operation is two rounds, and each round ends when
//! a majority has answered:
//!
//! 1. *Query*: what do you hold? The answer with the highest tag is the latest value that any finished
//!    operation has left, since two majorities have a member in common.
//! 2. *Store*: hold this, unless you hold something newer. A put stores its value under a tag above the
//!    highest, a get stores what it found.
//!
//! **Why a get writes.** A put may have reached one copy only. Of two gets, one after the other, the first
//! might meet that copy and the second miss it: time would run backwards. So a get makes sure that a
//! majority holds what it returns.
//!
//! **A tag names one value.** It is a number and the node that chose it. A node chooses above every tag that
//! it has stored, and lets others hear of its choice only when its own copy is durable: then neither two of
//! its puts nor a restart can choose one tag twice.
//!
//! **Durability.** `Stored` promises a copy: it leaves once the copy is durable. Nothing else is promised.
//!
//! # What it cannot do
//!
//! A put has no place in any log at which to find that it has taken effect already. Sent again it would get
//! a higher tag, and bring its value back after others had replaced it. So requests are not sent again
//! ([`Replica::RETRIES_ARE_SAFE`]); one that the network repeats is found by its number. For the same
//! reason there is no compare-and-set, and there cannot be: it would solve consensus, which no protocol
//! does without waiting for somebody (Herlihy, *Wait-Free Synchronization*, 1991).
//!
//! # Deviations from the papers
//!
//! - A server stands between client and copies, so a client needs to know one address only.
//! - Nodes restart with what is durable, so stores wait for the disk. (With such nodes a put takes two
//!   writes one after the other, its coordinator's and the others': Guerraoui and Levy, *Robust Emulations
//!   of Shared Memory in a Crash-Recovery Model*, 2004.)
//! - A node writes to itself like to anyone else, and rounds are repeated until a majority has answered.
//!
//! The group never changes. The journal stays short as `keyed_journal` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use contract::kv::{Op, Ret};
use contract::{
    Answers, Bug, Bytes, Channel, ClientId, Cluster, Command, Effect, Effects, Entry, Epoch, FailureModel,
    Index, JournalRecord, LogShape, Mark, Membership, NodeId, ProtocolOptions, Recovered, Rejection, Replica,
    RequestId, Role, Service, SnapshotChunk, Token, View, WireSize,
};
use serde::{Deserialize, Serialize};

use crate::keyed_journal::KeyedJournal;
use crate::{KvService, duration};

/// The order of a register's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// One above the highest that its node had met.
    pub number: u64,
    /// Who chose it.
    pub node: NodeId,
}

/// A copy of a register. The one without a value is older than any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Register {
    /// Which of the register's values.
    pub tag: Tag,
    /// The value.
    pub value: Option<Bytes>,
}

/// A client's operation: clients number theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(ClientId, u64);

/// A replica: a copy of each register, and the operations of its clients. See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Abd {
    cluster: Arc<Cluster<Options>>,
    registers: BTreeMap<Bytes, Register>,
    journal: KeyedJournal,
    open: BTreeMap<Operation, Open>,
    /// The latest operation of each client.
    latest: BTreeMap<ClientId, u64>,
}

/// An operation under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    request: RequestId,
    key: Bytes,
    /// What a put writes.
    put: Option<Bytes>,
    round: Round,
    /// The latest that was heard of; in the second round, what is stored.
    register: Register,
    /// Who has answered in this round.
    heard: BTreeSet<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Round {
    Query,
    Store,
}

impl Abd {
    /// A client's operation begins.
    fn begin(&mut self, request: RequestId, operation: Operation, op: Op, fx: &mut Effects<Self>) {
        let (key, put) = match op {
            Op::Get { key } => (key, None),
            Op::Put { key, value } => (key, Some(value)),
            other => unreachable!("{} is none of the operations served", other.name()),
        };
        if self.open.is_empty() {
            self.arm_timer(fx);
        }
        let (round, register, heard) = (Round::Query, Register::default(), BTreeSet::new());
        self.open.insert(operation, Open { request, key, put, round, register, heard });
        self.ask(operation, None, fx);
    }

    /// Sends a round's question to whoever has not answered it.
    fn ask(&self, operation: Operation, after: Option<Token>, fx: &mut Effects<Self>) {
        let Open { key, round, register, heard, .. } = &self.open[&operation];
        for voter in self.cluster.founders.voters.difference(heard) {
            let key = key.clone();
            let message = match round {
                Round::Query => Message::Query { operation, key },
                Round::Store => Message::Store { operation, key, register: register.clone() },
            };
            fx.send(*voter, message, after);
        }
    }

    /// A node has answered in a round; it held `register`, if that was asked.
    fn on_answer(
        &mut self,
        from: NodeId,
        operation: Operation,
        answered: Round,
        register: Register,
        fx: &mut Effects<Self>,
    ) {
        // Whatever else arrives is late, or comes twice.
        let Some(open) = self.open.get_mut(&operation).filter(|open| open.round == answered) else { return };
        open.heard.insert(from);
        if register.tag > open.register.tag {
            open.register = register;
        }
        if !self.cluster.founders.is_quorum(|node| open.heard.contains(&node)) {
            return;
        }
        let skip = open.put.is_none() && self.cluster.bugs.has(Bug::ReadWithoutWriteBack);
        match answered {
            Round::Query if !skip => self.begin_storing(operation, fx),
            Round::Query | Round::Store => {
                let Open { request, put, register, .. } = self.open.remove(&operation).expect("it is open");
                let answer = put.map_or(Ret::Value(register.value), |_| Ret::Done);
                fx.push(Effect::Reply { request, answer: KvService::encode_answer(&answer), after: None });
            }
        }
    }

    fn begin_storing(&mut self, operation: Operation, fx: &mut Effects<Self>) {
        let open = self.open.get_mut(&operation).expect("it is open");
        (open.round, open.heard) = (Round::Store, BTreeSet::new());
        if open.put.is_none() {
            return self.ask(operation, None, fx);
        }
        // Its own copy may be newer than all it heard of, by another of its puts.
        let own = self.registers.get(&open.key).map(|held| held.tag).unwrap_or_default();
        let tag = Tag { number: open.register.tag.max(own).number + 1, node: self.cluster.me };
        open.register = Register { tag, value: open.put.clone() };
        let (key, register) = (open.key.clone(), open.register.clone());
        self.store(key, register, fx);
        self.ask(operation, self.journal.writing(), fx);
    }

    /// Holds a register's value, unless it holds a newer one.
    fn store(&mut self, key: Bytes, register: Register, fx: &mut Effects<Self>) {
        let held = self.registers.get(&key).map(|held| held.tag).unwrap_or_default();
        if held >= register.tag {
            return;
        }
        self.registers.insert(key.clone(), register.clone());
        let all = self.registers.iter();
        let all = all.map(|(key, held)| Record { key: key.clone(), register: held.clone() });
        self.journal.write(Record { key, register }, || all.collect(), fx);
    }

    fn arm_timer(&self, fx: &mut Effects<Self>) {
        let interval = self.cluster.options.resend_after;
        fx.push(Effect::SetTimer { timer: Timer::Resend, within: interval..=interval });
    }
}

impl Replica for Abd {
    const NAME: &'static str = "abd";
    const CHANNEL: Channel = Channel::Datagram;
    const FAILURES: FailureModel = FailureModel { stable_storage: true, tolerated_percent: 50 };
    const LOG: LogShape = LogShape::None;
    const ANSWERS: Answers = Answers::Replica;
    const OPERATIONS: &'static [&'static str] = &["get", "put"];
    /// A put that is sent again would get a second tag, and may take effect twice.
    const RETRIES_ARE_SAFE: bool = false;
    type Options = Options;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;

    fn start(cluster: &Cluster<Options>, durable: Recovered<Record>, _: &mut Effects<Self>) -> Self {
        let journal = KeyedJournal::recovered(durable.records.len(), cluster.options.rewrite_after);
        let mut registers = BTreeMap::<Bytes, Register>::new();
        // What was written later is newer.
        for Record { key, register } in durable.records {
            let held = registers.insert(key, register.clone()).unwrap_or_default();
            assert!(held.tag <= register.tag, "a copy is never replaced by an older one");
        }
        Self {
            cluster: Arc::new(cluster.clone()),
            registers,
            journal,
            open: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects<Self>) {
        match message {
            Message::Query { operation, key } => {
                let register = self.registers.get(&key).cloned().unwrap_or_default();
                fx.send(from, Message::Found { operation, register }, None);
            }
            Message::Found { operation, register } => {
                self.on_answer(from, operation, Round::Query, register, fx);
            }
            Message::Store { operation, key, register } => {
                self.store(key, register, fx);
                let after = self.journal.writing().filter(|_| !self.cluster.bugs.has(Bug::TagNotDurable));
                fx.send(from, Message::Stored { operation }, after);
            }
            Message::Stored { operation } => {
                self.on_answer(from, operation, Round::Store, Register::default(), fx);
            }
        }
    }

    fn on_timer(&mut self, _: Timer, fx: &mut Effects<Self>) {
        for operation in self.open.keys() {
            self.ask(*operation, self.journal.writing(), fx);
        }
        if !self.open.is_empty() {
            self.arm_timer(fx);
        }
    }

    fn on_durable(&mut self, token: Token, _: &mut Effects<Self>) {
        self.journal.on_durable(token);
    }

    /// What waits for this write, or for a later one, never leaves.
    fn on_failed(&mut self, _: Token, _: &mut Effects<Self>) {}

    fn propose(&mut self, request: RequestId, command: Command, fx: &mut Effects<Self>) {
        let contract::Request { client, seq, op } = KvService::decode(&command.data);
        let latest = self.latest.entry(client).or_default();
        if seq <= *latest {
            // The network repeated it. What becomes of the first one the client hears by that.
            return fx.push(Effect::Reject { request, reason: Rejection::Lost });
        }
        *latest = seq;
        self.begin(request, Operation(client, seq), op, fx);
    }

    fn read(&mut self, request: RequestId, _: &mut Effects<Self>) {
        unreachable!("{request}: of a protocol that answers by itself, reads are proposed");
    }

    fn on_applied(&mut self, applied: Index, _: Mark, _: &mut Effects<Self>) {
        unreachable!("{applied} was never committed: there is no log");
    }

    fn on_chunk(&mut self, to: NodeId, _: SnapshotChunk, _: &mut Effects<Self>) {
        unreachable!("no snapshot is sent to {to}");
    }

    fn view(&self) -> View {
        let (epoch, last, commit) = (Epoch::ZERO, Mark::ZERO, Index::ZERO);
        View { role: Role::Follower, epoch, leader: None, last, commit, broken: None }
    }

    fn membership(&self) -> &Membership {
        &self.cluster.founders
    }
}

/// How a replica is tuned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Options {
    /// How long an answer may take before a node is asked again.
    #[serde(with = "duration")]
    pub resend_after: Duration,
    /// After how many records in the journal the registers are written anew, at the least.
    pub rewrite_after: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { resend_after: Duration::from_millis(50), rewrite_after: 1000 }
    }
}

impl ProtocolOptions for Options {
    fn check(&self) -> Result<(), String> {
        match self {
            _ if self.resend_after.is_zero() => Err("resend-after: must be above zero".to_owned()),
            _ if self.rewrite_after == 0 => Err("rewrite-after: must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Rounds are repeated, to those who have not answered.
    Resend,
}

/// What replicas say to each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// What do you hold?
    Query {
        /// For which operation.
        operation: Operation,
        /// Of which register.
        key: Bytes,
    },
    /// The answer to [`Message::Query`].
    Found {
        /// For which operation.
        operation: Operation,
        /// What the sender holds.
        register: Register,
    },
    /// Hold this, unless you hold something newer.
    Store {
        /// For which operation.
        operation: Operation,
        /// Of which register.
        key: Bytes,
        /// What to hold.
        register: Register,
    },
    /// The sender durably holds what [`Message::Store`] told, or something newer.
    Stored {
        /// For which operation.
        operation: Operation,
    },
}

/// A copy in the journal. It replaces what was written before of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Of which register.
    pub key: Bytes,
    /// What the node holds.
    pub register: Register,
}

impl JournalRecord for Record {
    fn entry(&self) -> Option<&Entry> {
        None
    }

    fn log_start(&self) -> Option<Mark> {
        None
    }

    fn is_hard_state(&self) -> bool {
        true
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "\"{value}\"@{}.{}", self.tag.number, self.tag.node),
            None => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0, self.1)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query { operation, key } => write!(f, "query {operation} {key}"),
            Self::Found { operation, register } => write!(f, "found {operation} {register}"),
            Self::Store { operation, key, register } => write!(f, "store {operation} {key}={register}"),
            Self::Stored { operation } => write!(f, "stored {operation}"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.register)
    }
}

/// Kind and operation, and of a register its tag and its value.
impl WireSize for Message {
    fn wire_size(&self) -> usize {
        let of = |register: &Register| 11 + register.value.as_ref().map_or(0, |value| value.len());
        11 + match self {
            Self::Query { key, .. } => key.len(),
            Self::Found { register, .. } => of(register),
            Self::Store { key, register, .. } => key.len() + of(register),
            Self::Stored { .. } => 0,
        }
    }
}
